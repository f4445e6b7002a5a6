/**
 * What it brings that frames for a container go straight to its interface: one TCP stream, and
 * small frames as fast as one process sends them, between two namespaces of one host, by the
 * datapath with and without it and by a Linux bridge. Run: `npm run bench:containers`, as root.
 *
 * Each round measures all three one after the other; medians of the rounds are printed last.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { AMPLE_BUDGET } from '#datapath/contract/bench.ts';
import { sweep, Testbed } from '#datapath/ebpf/testbed.ts';
import type { DpPort } from '#flow/flow.ts';
import { KEY_SIZE, KEY } from '#flow/layout.ts';
import { writeEntry } from '#flow/parse.ts';
import { BROADCAST, readMac, writeMac } from '#net/mac.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { run } from '#os/run.ts';
import { writeSysctl } from '#os/sysctl.ts';
import { fieldSet } from '#virtual/match.ts';

const ROUNDS = 3;
const SECONDS = 3;
const FRAMES = 600_000;
const FIELDS = fieldSet(['ethDst']);
const WAYS = ['Linux bridge', 'plain redirect', 'peer redirect'] as const;
type Way = (typeof WAYS)[number];

const ip = (...args: string[]): string => execFileSync('ip', args, { encoding: 'utf8' });

/** Frames for the other end's MAC, and broadcasts, go there; `done` ends it. */
function connect(testbed: Testbed, way: Way): () => void {
  if (way === 'Linux bridge') {
    ip('-n', testbed.host, 'link', 'add', 'br0', 'up', 'type', 'bridge', 'mcast_snooping', '0');
    for (const name of ['v1', 'v2'])
      ip('-n', testbed.host, 'link', 'set', name, 'up', 'master', 'br0');
    // A bridge alone, and not what a host's packet filter makes of it.
    inNetns(netnsPath(testbed.host), () => {
      const filter = 'net/bridge/bridge-nf-call-iptables';
      if (existsSync(`/proc/sys/${filter}`)) writeSysctl(filter, '0');
    });
    return () => {};
  }
  const peerRedirect = way === 'peer redirect';
  const dp = testbed.open({ peerRedirect, upcallBudget: AMPLE_BUDGET });
  const ports = ['v1', 'v2'].map((name) => testbed.port(name)) as [DpPort, DpPort];
  for (const port of ports) dp.addPort(port);
  let slot = 0;
  for (const [i, port] of ports.entries()) {
    const to = ports[1 - i] ?? port;
    const { mac } = testbed.guestLink(`g${2 - i}`, `${testbed.guest}g${2 - i}`);
    for (const ethDst of [readMac(mac, 0), BROADCAST]) {
      const key = new Uint8Array(KEY_SIZE);
      writeEntry(key, { port });
      writeMac(key, KEY.eth_dst, ethDst);
      const flow = { key, fields: FIELDS, actions: { outputs: [{ port: to }] } };
      dp.install({ slot: slot++, generation: 1 }, flow);
    }
  }
  dp.commit();
  return () => dp[Symbol.dispose]();
}

async function stream(left: string, right: string): Promise<number> {
  const server = spawn('ip', ['netns', 'exec', right, 'iperf3', '-s', '-1', '--forceflush'], {
    stdio: 'pipe',
  });
  const ended = once(server, 'exit');
  await once(server.stdout, 'data');
  const client = ['netns', 'exec', left, 'iperf3', '-J', '-t', String(SECONDS), '-c', '10.9.0.2'];
  const { stdout } = await run('ip', client);
  await ended;
  const { end } = JSON.parse(stdout) as {
    readonly end: { readonly sum_received: { readonly bits_per_second: number } };
  };
  return end.sum_received.bits_per_second / 1e9;
}

const sender = (namespace: string, to: readonly number[]): string => `
  import { checksum } from '#net/checksum.ts';
  import { PacketSocket } from '#os/packet-socket.ts';
  import { enterNetns } from '#os/netns.ts';
  import { linkByName } from '#os/netlink/links.ts';
  enterNetns(${JSON.stringify(netnsPath(namespace))});
  const socket = new PacketSocket(linkByName('g1').index);
  const frame = new Uint8Array(60);
  frame.set(${JSON.stringify([...to, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17])});
  frame.set([10, 9, 0, 1, 10, 9, 0, 2, 4, 0, 4, 1, 0, 26], 26);
  new DataView(frame.buffer).setUint16(24, checksum(frame, 14, 34));
  const [start, before] = [performance.now(), process.cpuUsage()];
  for (let i = 0; i < ${FRAMES}; i++) socket.send(frame);
  const { user, system } = process.cpuUsage(before);
  console.log(performance.now() - start, (user + system) * 1000 / ${FRAMES});
`;

/**
 * Frames of 64 bytes (checksum included) that arrive, thousands a second; and the processor time of
 * each in nanoseconds, in which nearly all of its way is made.
 */
async function smallFrames(testbed: Testbed, left: string, right: string) {
  const received = (): number => {
    const [link] = JSON.parse(ip('-n', right, '-j', '-s', 'link', 'show', 'dev', 'g2')) as [
      { readonly stats64: { readonly rx: { readonly packets: number } } },
    ];
    return link.stats64.rx.packets;
  };
  const before = received();
  const { mac } = testbed.guestLink('g2', right);
  const args = ['--input-type=module-typescript', '--no-warnings', '-e', sender(left, [...mac])];
  const child = spawn(process.execPath, args, {
    cwd: join(import.meta.dirname, '..'),
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let said = '';
  child.stdout.on('data', (text: Buffer) => (said += text.toString()));
  await once(child, 'exit');
  const [ms = 0, ns = 0] = said.trim().split(' ').map(Number);
  return { perMs: (received() - before) / ms, ns };
}

sweep();
const gbits = new Map<Way, number[]>(WAYS.map((way) => [way, []]));
const kpps = new Map<Way, number[]>(WAYS.map((way) => [way, []]));
const costs = new Map<Way, number[]>(WAYS.map((way) => [way, []]));
for (let round = 0; round < ROUNDS; round++)
  for (const way of WAYS) {
    const testbed = new Testbed();
    try {
      const left = testbed.workload('g1', '10.9.0.1/24');
      const right = testbed.workload('g2', '10.9.0.2/24');
      const done = connect(testbed, way);
      gbits.get(way)?.push(await stream(left, right));
      const { perMs, ns } = await smallFrames(testbed, left, right);
      kpps.get(way)?.push(perMs);
      costs.get(way)?.push(ns);
      done();
    } finally {
      testbed.close();
    }
  }
const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
const shown = (values: readonly number[], digits: number): string =>
  `${median(values).toFixed(digits)} (${values.map((value) => value.toFixed(digits)).join(', ')})`;
console.log(`medians of ${ROUNDS} rounds (each)`);
for (const way of WAYS)
  console.log(
    `${way.padEnd(15)} one stream ${shown(gbits.get(way) ?? [], 1)} Gbit/s; ` +
      `64-byte frames ${shown(kpps.get(way) ?? [], 0)} thousand/s, ` +
      `${shown(costs.get(way) ?? [], 0)} ns each`,
  );
