/**
 * Datapaths of two layouts in processes of their own, on one run directory: for tests of restarts.
 *
 * A process opens the datapath, does what its part says, says what it found, and waits. It is of
 * this tree, or of the copy with the next layout.
 */
import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { KEY, KEY_SIZE } from '#flow/layout.ts';
import { parseKey } from '#flow/parse.ts';
import { until } from '#datapath/contract/rig.ts';
import type { Testbed } from '#datapath/ebpf/testbed.ts';
import { netnsPath } from '#os/netns.ts';
import { fieldSet } from '#virtual/match.ts';

export const OWN_TREE = join(import.meta.dirname, '..');
export const FIELDS = fieldSet(['ethDst', 'ethType']);
/** A flow of the flood to see that masks are told apart. */
const WIDE_FIELDS = fieldSet(['ethDst', 'ethSrc', 'ethType', 'ipDst']);
export const SLOTS = 512;

/** The test's frames: station 1 behind `v1` to station 2 behind `v2`. */
export function frame(sequence: number): Uint8Array {
  const out = new Uint8Array(60);
  out.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
  new DataView(out.buffer).setUint32(14, sequence);
  return out;
}
export const sequenceOf = (bytes: Uint8Array): number | undefined =>
  bytes[12] === 0x88 && bytes[13] === 0xb5
    ? new DataView(bytes.buffer, bytes.byteOffset).getUint32(14)
    : undefined;

/** What a process says of its datapath. */
export interface Told {
  readonly version: number;
  readonly adopted: boolean;
  readonly migration?: {
    readonly from: number;
    readonly carried: Readonly<Record<string, number>>;
    readonly left: Readonly<Record<string, number>>;
    readonly ms: number;
  };
  readonly ports: readonly number[];
  readonly keys: readonly unknown[];
  readonly senders: readonly unknown[];
  /** Flows by slot, as text, without their statistics. */
  readonly flows: readonly string[];
  readonly packets: number;
  readonly hits: number;
  /** Kill points passed by the start, and by the body. */
  readonly startPoints: number;
  readonly points: number;
}

export interface Part {
  /** The root of the tree whose datapath it is. */
  readonly tree?: string;
  /** What is done before it tells, with `dp`, `port(name)`, `key(port)` and `put(…)`. */
  readonly body?: string;
  /** The kill point, from the start; `armed` sets those of the body only. */
  readonly killAt?: number;
  readonly armed?: number;
  /** Of a new datapath. */
  readonly slots?: number;
}

/** Three ports, a flow to one output, a flood, a drop, a rewrite; a key and two senders. */
export const SET_UP = `
  const [a, b, c] = ['v1', 'v2', 'v3'].map(port);
  for (const each of [a, b, c]) dp.addPort(each);
  dp.setKey({ key: 77, port: c, network: 0x800005 });
  for (const each of [0xac1f0002, 0xac1f0063]) dp.allowSender(dp.addPeer(each), 0x800005);
  put(13, c, { outputs: [{ key: 9, remote: dp.addPeer(0xac1f0002) }] });
  put(5, a, { outputs: [{ port: b }] });
  put(9, b, { outputs: [{ port: a }, { port: c, vlan: 7, rewrite: { tpSrc: 7 } }] });
  put(11, c, { drop: 'port-down', outputs: [] }, WIDE);
  put(12, b, { ethSrc: 0x020000000001, decTtl: 2, mtu: 1400, vlan: 9, ipSrc: 9, dscp: 5,
    outputs: [{ port: c }] }, WIDE);
  dp.commit();
`;

const source = (testbed: Testbed, { body = '', armed, slots = SLOTS }: Part): string => `
  import { openEbpf } from '#datapath/ebpf/open.ts';
  import { LAYOUT_VERSION } from '#flow/layout.ts';
  import { maskKey } from '#flow/mask.ts';
  import { killAt, killPointsPassed } from '#os/kill-point.ts';
  import { enterNetns } from '#os/netns.ts';
  import { linkByName } from '#os/netlink/links.ts';
  enterNetns(${JSON.stringify(netnsPath(testbed.host))});
  const runDir = ${JSON.stringify(testbed.runDir)};
  const [PLAIN, WIDE] = [${FIELDS}, ${WIDE_FIELDS}];
  const dp = openEbpf({ runDir, slots: ${slots}, ringBytes: 1 << 20, tunnelUdpPort: 6677 });
  const port = (name) => linkByName(name).index;
  const frameKey = ${JSON.stringify([...frameKey()])};
  const key = (from, fields) => {
    const out = Uint8Array.from(frameKey);
    new DataView(out.buffer).setUint32(${KEY.in_port}, from, true);
    maskKey(out, fields, out);
    return out;
  };
  const put = (slot, from, actions, fields = PLAIN, generation = 3) =>
    dp.install({ slot, generation }, { key: key(from, fields), fields, actions });
  const before = killPointsPassed();
  ${armed === undefined ? '' : `killAt(${armed});`}
  ${body}
  killAt(0);
  const points = killPointsPassed() - before;
  const found = dp.dump().toSorted((x, y) => x.ref.slot - y.ref.slot);
  const flows = found.map(({ ref, flow }) => JSON.stringify([ref, flow.fields, [...flow.key].join(),
    { ...flow.actions, outputs: flow.actions.outputs.map((each) => JSON.stringify(each)).sort() }]));
  const first = found.find(({ ref }) => ref.slot === 5);
  console.log('told ' + JSON.stringify({
    version: LAYOUT_VERSION, adopted: dp.adopted, migration: dp.migration,
    ports: dp.ports().toSorted(), keys: dp.keys(),
    senders: dp.senders().toSorted((x, y) => x.source - y.source), flows,
    packets: first === undefined ? 0 : dp.stats(first.ref).packets, hits: dp.counters().hits,
    startPoints: before, points,
  }));
  setInterval(() => {}, 1000);
`;

function frameKey(): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  parseKey(frame(0), key);
  return key;
}

export interface Running {
  readonly child: ChildProcess;
  readonly told: Told;
}

const children = new Set<ChildProcess>();

/** Starts a process; resolves when it told, and to undefined when it was killed before. */
export async function startPart(testbed: Testbed, part: Part = {}): Promise<Running | undefined> {
  const { tree = OWN_TREE, killAt } = part;
  const args = ['--input-type=module-typescript', '--no-warnings', '-e', source(testbed, part)];
  const counted = killAt !== undefined || part.armed !== undefined;
  const child = spawn(process.execPath, args, {
    cwd: tree,
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, ...(counted ? { MIDONET_KILL_AT: String(killAt ?? 0) } : {}) },
  });
  children.add(child);
  const ended = once(child, 'exit');
  let text = '';
  for await (const chunk of child.stdout) {
    text += String(chunk);
    const [, told] = /^told (.*)\n/m.exec(text) ?? [];
    if (told !== undefined) return { child, told: JSON.parse(told) as Told };
  }
  const [, signal] = (await ended) as [number | null, string | null];
  children.delete(child);
  if (signal === 'SIGKILL') return undefined;
  throw new Error('the process ended before it told anything');
}

/** As `startPart`, for one that must live. */
export async function told(testbed: Testbed, part: Part = {}): Promise<Running> {
  const running = await startPart(testbed, part);
  if (running === undefined) throw new Error('the process was killed');
  return running;
}

export async function kill({ child }: { readonly child: ChildProcess }): Promise<void> {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, 'exit');
  child.kill('SIGKILL');
  await ended;
}
export async function killAll(): Promise<void> {
  for (const child of [...children]) await kill({ child });
}

/** Sends one frame after another from `g1`, without end, and counts at both ends. */
export class Load implements Disposable {
  sent = 0;
  readonly #sockets;
  readonly #arrived: number[] = [];
  readonly #sender: NodeJS.Timeout;
  readonly #receiver: NodeJS.Timeout;

  /** `perMs`: frames that each millisecond sends, if the machine has time for it. */
  constructor(testbed: Testbed, perMs = 1) {
    this.#sockets = { from: testbed.socket('g1'), to: testbed.socket('g2') };
    this.#sender = setInterval(() => {
      for (let i = 0; i < perMs; i++) if (this.#sockets.from.send(frame(this.sent))) this.sent += 1;
    }, 1);
    this.#receiver = setInterval(() => this.#drain(), 1);
  }
  #drain(): void {
    const { to } = this.#sockets;
    for (let got = to.receive(); got !== undefined; got = to.receive()) {
      const sequence = sequenceOf(got);
      if (sequence !== undefined) this.#arrived.push(sequence);
    }
  }
  /** Stops sending. */
  stop(): void {
    clearInterval(this.#sender);
    this.#drain();
  }
  get arrived(): readonly number[] {
    this.#drain();
    return this.#arrived;
  }
  [Symbol.dispose](): void {
    for (const timer of [this.#sender, this.#receiver]) clearInterval(timer);
    for (const socket of Object.values(this.#sockets)) socket[Symbol.dispose]();
  }
}

/** Stops the load, and waits until every frame has arrived, in order. */
export async function allArrive(load: Load): Promise<void> {
  load.stop();
  await until('all frames arrive', () => (load.arrived.length >= load.sent ? true : undefined));
  assert.deepEqual(
    load.arrived,
    Array.from({ length: load.sent }, (_, i) => i),
  );
}
