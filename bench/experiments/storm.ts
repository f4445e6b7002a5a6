/**
 * What a noisy port costs its neighbours. A tenant's port sends attack frames as fast as one core
 * can; on the same host another tenant has an established UDP stream, a TCP stream, and set-ups of
 * its own: 200 new flows a second, each of which the agent has to decide.
 *
 * Three runs, for an attacker also takes a share of the machine: without it; with its frames all
 * dropped by one flow in the kernel (its port is administratively down): the same load of frames,
 * but nothing to decide; and with the attack. What the datapath is to blame for is the difference
 * between the last two.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from '#client/types.ts';
import { cleanLab } from '#lab/clean.ts';
import { agentOf, announce, makeLab, namespaceOf, type Lab } from '#lab/lab.ts';
import { labDir } from '#lab/names.ts';
import { PacketSocket } from '#lab/packet-socket.ts';
import { inside } from '#lab/processes.ts';
import { parseRecipe } from '#lab/recipe.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { parseFrameText } from '#net/text.ts';
import { run } from '#os/run.ts';
import { ATTACKER, type AttackKind } from './attack.ts';

const SETUPS_PER_SECOND = 200;
const UDP = { mbit: 20, bytes: 500 } as const;
const ASKED = 3;
const CPUS = cpus().length;
const ATTACK = new URL('attack.ts', import.meta.url).pathname;
const MN = new URL('../../src/mn.ts', import.meta.url).pathname;

const recipe = parseRecipe(`
about: A tenant whose port is noisy, and one that works.
hosts: [h1]
bridges:
  bx: { tenant: noisy }
  by: { tenant: noisy, seeded: true }
  ba: { tenant: quiet, seeded: true }
  bb: { tenant: quiet, seeded: true }
routers:
  rx:
    tenant: noisy
    ports:
      rx-x: { bridge: bx, networks: [${ATTACKER.routerIp}/16, 'fd08::1/64'], mac: '${ATTACKER.router}' }
      rx-y: { bridge: by, networks: [10.9.0.1/24, 'fd09::1/64'] }
    routes:
      - { destination: 20.0.0.0/6, port: rx-y, gateway: 10.9.0.2 }
      - { destination: 'fd20::/16', port: rx-y, gateway: 'fd09::2' }
  r:
    tenant: quiet
    ports:
      r-a: { bridge: ba, networks: [10.1.0.1/24], mac: '02:00:00:00:0f:01' }
      r-b: { bridge: bb, networks: [10.2.0.1/24] }
    routes: [{ destination: 20.0.0.0/6, port: r-b, gateway: 10.2.0.2 }]
workloads:
  x: { host: h1, bridge: bx, mac: '${ATTACKER.mac}', addresses: [${ATTACKER.ip}/16, 'fd08::2/64'], via: [${ATTACKER.routerIp}] }
  y: { host: h1, bridge: by, mac: '02:00:00:00:09:02', addresses: [10.9.0.2/24, 'fd09::2/64'], via: [10.9.0.1] }
  v1: { host: h1, bridge: ba, mac: '02:00:00:00:01:01', addresses: [10.1.0.11/24], via: [10.1.0.1] }
  v2: { host: h1, bridge: bb, mac: '02:00:00:00:02:01', addresses: [10.2.0.11/24], via: [10.2.0.1] }
  new: { host: h1, bridge: ba, mac: '02:00:00:00:01:02', addresses: [10.1.0.12/24], via: [10.1.0.1] }
  to: { host: h1, bridge: bb, mac: '02:00:00:00:02:02', addresses: [10.2.0.2/24], via: [10.2.0.1] }
`);
const VICTIM = '10.2.0.11';

/** What the quiet tenant got in one run. */
interface Measured {
  readonly attackPerSecond: number;
  readonly udpLostPercent: number;
  readonly udpPerSecond: number;
  readonly tcpMbit: number;
  readonly offered: number;
  readonly arrived: number;
  /** Of the attacker's own questions for its router's MAC. */
  readonly resolved: number;
  /** Of one core: what the agent took, and what the machine had left (of all cores). */
  readonly agentPercent: number;
  readonly idlePercent: number;
}

/** Clock ticks of the agent, and of the machine: idle and all (proc(5)). */
function ticks(lab: Lab) {
  const agent = readFileSync(`/proc/${agentOf(lab, 'h1')?.pid}/stat`, 'latin1');
  const [user = '0', system = '0'] = agent
    .slice(agent.lastIndexOf(')') + 2)
    .split(' ')
    .slice(11);
  const [line = ''] = readFileSync('/proc/stat', 'latin1').split('\n');
  const all = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return {
    agent: Number(user) + Number(system),
    idle: all[3] ?? 0,
    all: all.reduce((sum, n) => sum + n, 0),
  };
}

interface IperfEnd {
  readonly end?: {
    readonly sum?: { readonly lost_percent?: number; readonly packets?: number };
    readonly sum_received?: { readonly bits_per_second?: number; readonly packets?: number };
  };
}
const pinned = (cpu: number, command: readonly string[]): string[] => [
  'taskset',
  '-c',
  `${cpu}`,
  ...command,
];

async function iperf(lab: Lab, seconds: number, more: readonly string[]): Promise<IperfEnd> {
  const server = inside(lab.name, 'v2', pinned(0, ['iperf3', '-s', '-1']));
  const child = spawn(server[0]!, server.slice(1), { stdio: 'ignore' });
  const ended = once(child, 'exit');
  await sleep(300);
  const client = ['iperf3', '-c', VICTIM, '-J', '-t', `${seconds}`, ...more];
  const [program = '', ...args] = inside(lab.name, 'v1', pinned(0, client));
  const { stdout } = await run(program, args, { deadlineMs: (seconds + 60) * 1000 });
  child.kill('SIGKILL');
  await ended;
  return JSON.parse(stdout) as IperfEnd;
}

function frameOf(text: string): Uint8Array {
  const frame = parseFrameText(text);
  if (frame instanceof Uint8Array) return frame;
  throw new Error(frame.error);
}
let next = 0x14000000;

/** New flows at an even pace, each with a destination of its own; who of them arrived. */
async function setUps(lab: Lab, seconds: number) {
  const at = (name: string) => ({
    namespace: namespaceOf(lab, name),
    interface: WORKLOAD_INTERFACE,
  });
  using from = new PacketSocket(at('new'));
  using to = new PacketSocket(at('to'));
  const frame = frameOf('02:00:00:00:01:02 > 02:00:00:00:0f:01 udp 10.1.0.12:1 > 20.0.0.0:7');
  const view = new DataView(frame.buffer);
  const seen = new Set<number>();
  const look = (): void => {
    from.drain();
    for (const { frame: got, outgoing } of to.drain())
      if (!outgoing && got.length >= 38 && got[37] === 7)
        seen.add(new DataView(got.buffer, got.byteOffset).getUint32(30));
  };
  const [first, start] = [next, performance.now()];
  while (performance.now() - start < seconds * 1000) {
    const due = Math.floor(((performance.now() - start) / 1000) * SETUPS_PER_SECOND);
    for (; next - first < due; next++) {
      view.setUint32(30, next);
      from.send(frame);
    }
    look();
    await sleep(2);
  }
  for (let left = 100; seen.size < next - first && left > 0; left--) {
    await sleep(20);
    look();
  }
  return { offered: next - first, arrived: seen.size };
}

/** The attacker, on the other core: until `stop`, which answers how many it sent. */
function startAttack(lab: Lab, kind: AttackKind, seconds: number) {
  const command = pinned(1, [
    process.execPath,
    ATTACK,
    namespaceOf(lab, 'x'),
    WORKLOAD_INTERFACE,
    kind,
    `${seconds}`,
  ]);
  const child = spawn(command[0]!, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  const begins = new Promise<void>((resolve) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      said += text;
      if (said.includes('begins')) resolve();
    });
  });
  const ended = once(child, 'exit');
  return {
    begins: Promise.race([begins, ended]),
    async stop(): Promise<number> {
      await ended;
      return Number(/sent (\d+)/.exec(said)?.[1] ?? 0);
    },
  };
}

async function measure(
  lab: Lab,
  attack: AttackKind | undefined,
  { seconds: s, tcpMbit }: Pick<StormOptions, 'seconds' | 'tcpMbit'>,
): Promise<Measured> {
  const total = 2 * s + 4;
  const attacker = attack && startAttack(lab, attack, total);
  await attacker?.begins;
  // Past the burst, when the attacker has what comes to it a second and nothing saved up.
  await sleep(1000);
  const ask = ['arping', '-c', `${ASKED}`, '-w', '8', '-I', WORKLOAD_INTERFACE, ATTACKER.routerIp];
  const [arping = '', ...args] = inside(lab.name, 'x', ask);
  const [udp, setups, asked] = await Promise.all([
    iperf(lab, s, ['-u', '-b', `${UDP.mbit}M`, '-l', `${UDP.bytes}`]),
    setUps(lab, s),
    run(arping, args, { deadlineMs: 60_000 }),
  ]);
  const before = ticks(lab);
  const tcp = await iperf(lab, s, tcpMbit === 0 ? [] : ['-b', `${tcpMbit}M`]);
  const after = ticks(lab);
  const sent = (await attacker?.stop()) ?? 0;
  const { packets = 0, lost_percent: udpLostPercent = 100 } = udp.end?.sum ?? {};
  return {
    attackPerSecond: sent / total,
    udpLostPercent,
    udpPerSecond: (packets / s) * (1 - udpLostPercent / 100),
    tcpMbit: (tcp.end?.sum_received?.bits_per_second ?? 0) / 1e6,
    ...setups,
    resolved: Number(/Received (\d+) response/.exec(asked.stdout)?.[1] ?? 0),
    agentPercent: (100 * (after.agent - before.agent)) / ((after.all - before.all) / CPUS),
    idlePercent: (100 * (after.idle - before.idle)) / (after.all - before.all),
  };
}

async function setAttacker(client: Client, up: boolean): Promise<void> {
  const port = (await client.listAll('port')).find((each) => each.name === 'x');
  if (port === undefined) throw new Error('the lab lacks the port of x');
  const { revision } = await client.update('port', port.id, { adminStateUp: up });
  await client.wait(revision, 10_000);
}

const percent = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`;

function show(name: string, got: Measured, base: Measured): string {
  return [
    name.padEnd(34),
    `${Math.round(got.attackPerSecond)}`.padStart(8),
    `${Math.round(got.udpPerSecond)} (${percent(got.udpPerSecond, base.udpPerSecond)})`.padStart(
      15,
    ),
    `${Math.round(got.tcpMbit)} (${percent(got.tcpMbit, base.tcpMbit)})`.padStart(15),
    `${got.arrived} of ${got.offered}`.padStart(12),
    `${got.resolved} of ${ASKED}`.padStart(9),
    `${Math.round(got.agentPercent)} %`.padStart(7),
    `${Math.round(got.idlePercent)} %`.padStart(5),
  ].join('  ');
}
const HEAD = [
  'run'.padEnd(34),
  'attack/s',
  'UDP packets/s'.padStart(15),
  'TCP Mbit/s'.padStart(15),
  'new flows'.padStart(12),
  'its ARP'.padStart(9),
  'agent'.padStart(7),
  'idle'.padStart(5),
].join('  ');

/** The middle one of each figure; of what was offered and answered, all. */
function middle(runs: readonly Measured[]): Measured {
  const of = (pick: (run: Measured) => number): number =>
    runs.map(pick).toSorted((a, b) => a - b)[Math.floor(runs.length / 2)] ?? 0;
  const all = (pick: (run: Measured) => number): number =>
    runs.map(pick).reduce((sum, n) => sum + n, 0);
  return {
    attackPerSecond: of((run) => run.attackPerSecond),
    udpLostPercent: of((run) => run.udpLostPercent),
    udpPerSecond: of((run) => run.udpPerSecond),
    tcpMbit: of((run) => run.tcpMbit),
    offered: all((run) => run.offered),
    arrived: all((run) => run.arrived),
    resolved: of((run) => run.resolved),
    agentPercent: of((run) => run.agentPercent),
    idlePercent: of((run) => run.idlePercent),
  };
}

async function kernelCounts(lab: Lab): Promise<string> {
  const dir = `${labDir(lab.name)}/hosts/h1`;
  const args = [MN, 'agent', 'stats', '--run-dir', dir];
  return (await run(process.execPath, args)).stdout;
}

export interface StormOptions {
  /** Of the lab. */
  readonly name: string;
  /** Of each stream in each run. */
  readonly seconds: number;
  /** How often the three runs are made, in turn. */
  readonly rounds: number;
  /** What the TCP stream is paced to; 0: as fast as it goes, so that it competes for the CPU. */
  readonly tcpMbit: number;
}

/** Runs the experiment and prints what it measures. */
export async function storm(kind: AttackKind, options: StormOptions): Promise<void> {
  const { name, rounds } = options;
  const journal = announce(name, recipe);
  const print = (line: string): void => console.log(line);
  try {
    const lab = await makeLab(journal, () => {});
    await measure(lab, undefined, { ...options, seconds: 1 });
    print(HEAD);
    const [none, dropped, attacked]: [Measured[], Measured[], Measured[]] = [[], [], []];
    for (let round = 0; round < rounds; round++) {
      const base = await measure(lab, undefined, options);
      none.push(base);
      print(show('no attack', base, base));
      await setAttacker(lab.client, false);
      dropped.push(await measure(lab, kind, options));
      print(show('its frames dropped by one flow', dropped.at(-1)!, base));
      await setAttacker(lab.client, true);
      attacked.push(await measure(lab, kind, options));
      print(show(`the attack (${kind})`, attacked.at(-1)!, base));
    }
    const [base, load, attack] = [middle(none), middle(dropped), middle(attacked)];
    print(`\nthe middle of ${rounds}, in % of no attack`);
    print(show('no attack', base, base));
    print(show('its frames dropped by one flow', load, base));
    print(show(`the attack (${kind})`, attack, base));
    print(show('the attack, in % of the drop flow', attack, load));
    print(`\nmn agent stats\n${await kernelCounts(lab)}`);
  } finally {
    await cleanLab(name);
  }
}
