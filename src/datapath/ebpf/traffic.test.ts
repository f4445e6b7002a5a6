/**
 * Real stacks at both ends: super-packets and partial checksums survive being handed up and sent
 * again, an MTU is that of their segments, and a bound interface and the host's stack have nothing
 * to say to each other.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DpPort, FlowRef } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { writeEntry } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { addAddress } from '#os/netlink/addresses.ts';
import { linkByIndex } from '#os/netlink/links.ts';
import { run } from '#os/run.ts';
import { readSysctl } from '#os/sysctl.ts';
import { fieldSet } from '#virtual/match.ts';
import { UPCALL_BUDGET } from '../budget.ts';
import { Turns } from '../turns.ts';
import type { Upcall } from '../datapath.ts';
import type { EbpfDatapath } from './open.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const FIELDS = fieldSet(['ethSrc', 'ethDst', 'ethType', 'ipProto', 'tpSrc', 'tpDst']);
const FLUSH_MS = 20;
const BATCHES_MAX = 16;
const DEADLINE_MS = 30_000;

/** Forwards between two ports, and forgets all flows again and again. */
class Forwarder {
  upcalls = 0;
  superPackets = 0;
  readonly #dp: EbpfDatapath;
  readonly #peer: ReadonlyMap<DpPort, DpPort>;
  readonly #flows = new Map<string, FlowRef>();
  #slot = 0;
  #generation = 1;
  #timer: NodeJS.Immediate | undefined;
  #flushedMs = performance.now();

  constructor(dp: EbpfDatapath, a: DpPort, b: DpPort) {
    this.#dp = dp;
    this.#peer = new Map([
      [a, b],
      [b, a],
    ]);
    const loop = (): void => {
      this.#turn();
      this.#timer = setImmediate(loop);
    };
    loop();
  }

  #turn(): void {
    const dp = this.#dp;
    // Installs when nothing waits any more: what waits would be overtaken by what follows.
    for (let i = 0; i < BATCHES_MAX && dp.upcalls(this.#take, 256) > 0; i++);
    dp.commit();
    if (performance.now() - this.#flushedMs < FLUSH_MS) return;
    this.#flushedMs = performance.now();
    dp.remove([...this.#flows.values()]);
    this.#flows.clear();
  }

  readonly #take = (upcall: Upcall): void => {
    const dp = this.#dp;
    this.upcalls++;
    if (upcall.gsoSize > 0) this.superPackets++;
    const key = new Uint8Array(KEY_SIZE);
    maskKey(upcall.key, FIELDS, key);
    const name = String(key);
    let ref = this.#flows.get(name);
    if (ref === undefined) {
      ref = { slot: this.#slot, generation: this.#generation };
      if (++this.#slot === dp.slots) [this.#slot, this.#generation] = [0, this.#generation + 1];
      this.#flows.set(name, ref);
      const port = this.#peer.get(upcall.entry.port) ?? upcall.entry.port;
      dp.install(ref, { key, fields: FIELDS, actions: { outputs: [{ port }] } });
    }
    dp.inject(ref, upcall.frame, upcall.gsoSize);
  };

  stop(): void {
    if (this.#timer !== undefined) clearImmediate(this.#timer);
  }
}

/** `Tcp: InCsumErrors` and the like, from /proc/net/snmp of a namespace. */
function snmp(namespace: string, protocol: string, counter: string): number {
  const text = inNetns(netnsPath(namespace), () =>
    readFileSync('/proc/thread-self/net/snmp', 'utf8'),
  );
  const [names = '', values = ''] = text
    .split('\n')
    .filter((line) => line.startsWith(`${protocol}: `));
  return Number(values.split(' ')[names.split(' ').indexOf(counter)]);
}

async function until(what: string, done: () => boolean | Promise<boolean>): Promise<void> {
  for (const deadline = performance.now() + DEADLINE_MS; !(await done());) {
    assert.ok(performance.now() < deadline, `not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

interface Iperf {
  readonly end: {
    readonly sum_sent: { readonly bits_per_second: number; readonly retransmits?: number };
    readonly sum_received: { readonly bits_per_second: number };
    readonly sum?: { readonly lost_packets: number; readonly packets: number };
  };
}

async function iperf(
  from: string,
  to: string,
  address: string,
  args: readonly string[],
): Promise<Iperf> {
  const server = spawn('ip', ['netns', 'exec', to, 'iperf3', '-s', '-1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(server, 'exit');
  // Port 5201 in state LISTEN: not the last connection of a server before.
  const listens = (): boolean =>
    /:1451 \S+ 0A /.test(
      inNetns(
        netnsPath(to),
        () =>
          readFileSync('/proc/thread-self/net/tcp6', 'utf8') +
          readFileSync('/proc/thread-self/net/tcp', 'utf8'),
      ),
    );
  try {
    await until('iperf3 listens', listens);
    const client = ['netns', 'exec', from, 'iperf3', '-J', '-c', address, ...args];
    const ran = await run('ip', client, { deadlineMs: DEADLINE_MS });
    assert.equal(ran.code, 0, ran.stdout);
    return JSON.parse(ran.stdout) as Iperf;
  } finally {
    server.kill('SIGKILL');
    await ended;
  }
}

test('super-packets and partial checksums go through user space and back', options, async (t) => {
  sweep();
  const testbed = new Testbed();
  try {
    const [a, b] = [testbed.port('v1'), testbed.port('v2')];
    const [left, right] = [
      testbed.workload('g1', '10.9.0.1/24'),
      testbed.workload('g2', '10.9.0.2/24'),
    ];
    using dp = testbed.open({ ringBytes: 1 << 25 });
    dp.addPort(a);
    dp.addPort(b);
    const forwarder = new Forwarder(dp, a, b);
    try {
      const tcp = await iperf(left, right, '10.9.0.2', ['-t', '2']);
      const udp = await iperf(left, right, '10.9.0.2', [
        '-u',
        '-b',
        '20M',
        '-t',
        '1',
        '-l',
        '1000',
      ]);
      const gbits = (tcp.end.sum_received.bits_per_second / 1e9).toFixed(1);
      const { retransmits } = tcp.end.sum_sent;
      const { lost_packets: lost, packets } = udp.end.sum ?? { lost_packets: 0, packets: 0 };
      t.diagnostic(
        `TCP ${gbits} Gbit/s, ${retransmits} retransmits; UDP lost ${lost} of ${packets}`,
      );
      t.diagnostic(
        `${forwarder.upcalls} handed up, ${forwarder.superPackets} of them super-packets`,
      );
      assert.ok(forwarder.superPackets > 20, 'super-packets were handed up');
      assert.equal(dp.refusals().injections, 0);
      assert.deepEqual(dp.counters().drops['malformed'] ?? 0, 0);
      for (const namespace of [left, right])
        for (const protocol of ['Tcp', 'Udp'])
          assert.equal(snmp(namespace, protocol, 'InCsumErrors'), 0);
      assert.equal(dp.counters().drops['upcall-lost'] ?? 0, 0);
      // A receiver that does not get to read on a busy machine is the only way to lose one.
      const unread = snmp(right, 'Udp', 'RcvbufErrors');
      assert.ok(lost <= unread, 'no UDP frame lost on the way');
    } finally {
      forwarder.stop();
    }
  } finally {
    testbed.close();
  }
});

/** Flows for everything between two ports, with an MTU from the first to the second. */
function joinPorts(dp: EbpfDatapath, a: DpPort, b: DpPort, mtu: number): FlowRef[] {
  const ways = [
    { from: a, actions: { outputs: [{ port: b }], mtu } },
    { from: b, actions: { outputs: [{ port: a }] } },
  ];
  const refs = ways.map(({ from, actions }, slot) => {
    const key = new Uint8Array(KEY_SIZE);
    writeEntry(key, { port: from });
    dp.install({ slot, generation: mtu }, { key, fields: 0, actions });
    return { slot, generation: mtu };
  });
  dp.commit();
  return refs;
}

test(
  'super-packets pass when their segments do, and are handed up when not',
  options,
  async (t) => {
    sweep();
    const testbed = new Testbed();
    try {
      const [a, b] = [testbed.port('v1'), testbed.port('v2')];
      const [left, right] = [
        testbed.workload('g1', '10.9.0.1/24'),
        testbed.workload('g2', '10.9.0.2/24'),
      ];
      using dp = testbed.open({ ringBytes: 1 << 25 });
      dp.addPort(a);
      dp.addPort(b);
      // The workloads' own MTU is 1500, and they fill it.
      for (const { mtu, large } of [
        { mtu: 1500, large: false },
        { mtu: 1499, large: true },
      ]) {
        const refs = joinPorts(dp, a, b, mtu);
        const up = { frames: 0, superPackets: 0 };
        const turn = setInterval(() => {
          dp.upcalls((upcall) => {
            assert.equal(upcall.reason, 'too-big');
            assert.equal(packetSize(upcall.frame, upcall.gsoSize), 1500);
            up.frames++;
            if (upcall.gsoSize > 0) up.superPackets++;
            // Whoever was handed it decides; here it goes on all the same.
            dp.execute(upcall.frame, { outputs: [{ port: b }] }, upcall.gsoSize);
          }, 1024);
          dp.commit();
        }, 1);
        try {
          await iperf(left, right, '10.9.0.2', ['-t', '1']);
        } finally {
          clearInterval(turn);
        }
        const { packets, bytes } = dp.stats(refs[0] ?? { slot: 0, generation: 0 });
        t.diagnostic(`MTU ${mtu}: ${packets} segments, ${bytes} bytes; ${JSON.stringify(up)}`);
        // All of the stream or none of it: what the two tell each other besides is small.
        assert.equal(bytes > 1e6, !large);
        assert.equal(up.frames > 0, large);
        assert.equal(up.superPackets > 20, large);
        dp.remove(refs);
      }
    } finally {
      testbed.close();
    }
  },
);

test('a bound interface and the host do not hear each other', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const port = testbed.port('v1');
    const workload = testbed.workload('g1', '10.9.0.1/24');
    using socket = testbed.socket('g1', workload);
    addAddress({ index: port, address: Uint8Array.of(10, 9, 0, 254), prefixLength: 24 });
    const ping = (namespace: string, to: string) =>
      run('ip', ['netns', 'exec', namespace, 'ping', '-n', '-c', '1', '-W', '1', to]);
    {
      using dp = testbed.open();
      dp.addPort(port);
      assert.equal(readSysctl('net/ipv6/conf/v1/disable_ipv6'), '1');
      assert.deepEqual([linkByIndex(port)?.up, linkByIndex(port)?.arp], [true, false]);
      while (socket.receive() !== undefined);
      const delivered = snmp(testbed.host, 'Ip', 'InReceives');
      // The host tries first, then the workload: neither gets an answer, neither is even heard.
      assert.notEqual((await ping(testbed.host, '10.9.0.1')).code, 0);
      assert.ok((dp.counters().drops['not-ours'] ?? 0) > 0);
      assert.equal(socket.receive(), undefined, 'nothing of the host came out of the port');
      assert.notEqual((await ping(workload, '10.9.0.254')).code, 0);
      assert.ok(dp.counters().misses > 0, 'what the workload sent was handed up');
      assert.equal(snmp(testbed.host, 'Ip', 'InReceives'), delivered);
      assert.equal(socket.receive(), undefined, 'nor did the host answer');
    }
    // The same while no agent runs.
    assert.notEqual((await ping(workload, '10.9.0.254')).code, 0);
    assert.notEqual((await ping(testbed.host, '10.9.0.1')).code, 0);
    assert.equal(socket.receive(), undefined);
    // Let go, it is down: whoever is behind it does not find the host's stack there.
    {
      using dp = testbed.open();
      dp.removePort(port);
    }
    assert.equal(linkByIndex(port)?.up, false);
    assert.notEqual((await ping(workload, '10.9.0.254')).code, 0);
    // Set up by hand, the host's stack is there again, so that the above could have failed.
    testbed.arpOn('v1');
    await until(
      'without the datapath they do hear each other',
      async () => (await ping(workload, '10.9.0.254')).code === 0,
    );
  } finally {
    testbed.close();
  }
});

const FLOOD_FRAMES = 400_000;
const PINGS = 50;
/** About what an agent takes to decide one: a reader that does nothing keeps up with any flood. */
const DECISION_MS = 0.02;

/** Sends frames of 64 bytes (checksum included), each with UDP ports of its own, at full speed. */
const floodSource = (testbed: Testbed): string => `
  import { PacketSocket } from '#os/packet-socket.ts';
  import { enterNetns } from '#os/netns.ts';
  import { linkByName } from '#os/netlink/links.ts';
  enterNetns(${JSON.stringify(netnsPath(testbed.guest))});
  const socket = new PacketSocket(linkByName('g1').index);
  const frame = new Uint8Array(60);
  frame.set([2, 0, 0, 0, 9, 9, 2, 0, 0, 0, 0, 1, 8, 0, 0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17]);
  frame.set([10, 8, 0, 1, 10, 8, 0, 2], 26);
  console.log('ready');
  let taken = 0;
  for (let i = 0; i < ${FLOOD_FRAMES}; i++) {
    new DataView(frame.buffer).setUint32(34, Math.imul(i, 0x9e3779b1));
    if (socket.send(frame)) taken++;
  }
  console.log('taken ' + taken);
`;

/** What was handed up, by port; frames between `a` and `b` are sent on, and no flow is made. */
function carry(dp: EbpfDatapath, a: DpPort, b: DpPort) {
  const up = new Map<DpPort, number>();
  const peer = new Map([
    [a, b],
    [b, a],
  ]);
  const take = ({ entry, frame, gsoSize }: Upcall): void => {
    up.set(entry.port, (up.get(entry.port) ?? 0) + 1);
    for (const decided = performance.now() + DECISION_MS; performance.now() < decided;);
    const port = peer.get(entry.port);
    if (port !== undefined) dp.execute(frame, { outputs: [{ port }] }, gsoSize);
  };
  // In turns, as an agent does: a machine under load decides less than a flood brings.
  const turns = new Turns(dp, { readMax: 4096, bytesMax: 1 << 22 });
  const timer = setInterval(() => {
    for (let i = 0; i < BATCHES_MAX && turns.serve(take, 256) > 0; i++) dp.commit();
  }, 1);
  return { up, turns, stop: () => clearInterval(timer) };
}

test('a flood of new flows takes no first packet of another port', options, async (t) => {
  sweep();
  const testbed = new Testbed();
  try {
    using stack = new DisposableStack();
    const [noisy, a, b] = ['v1', 'v2', 'v3'].map((name) => testbed.port(name)) as [
      DpPort,
      DpPort,
      DpPort,
    ];
    const left = testbed.workload('g2', '10.9.0.1/24');
    testbed.workload('g3', '10.9.0.2/24');
    using dp = testbed.open({ ringBytes: 1 << 23, upcallBudget: UPCALL_BUDGET });
    for (const port of [noisy, a, b]) dp.addPort(port);
    const { up, turns, stop } = carry(dp, a, b);
    stack.defer(stop);
    const startMs = dp.now();
    const args = ['--input-type=module-typescript', '--no-warnings', '-e', floodSource(testbed)];
    const flood = spawn(process.execPath, args, {
      cwd: join(import.meta.dirname, '../../..'),
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    stack.defer(() => flood.kill('SIGKILL'));
    const ended = once(flood, 'exit');
    let said = '';
    flood.stdout.setEncoding('utf8').on('data', (text: string) => (said += text));
    await until('the flood begins', () => (dp.counters().drops['upcall-budget'] ?? 0) > 0);
    const ping = ['netns', 'exec', left, 'ping', '-n', '-c', `${PINGS}`, '-i', '0.01', '-W', '5'];
    const { stdout } = await run('ip', [...ping, '10.9.0.2'], { deadlineMs: DEADLINE_MS });
    const during = /taken/.test(said) ? 'ended before the last ping' : 'outlasted the pings';
    await ended;
    const taken = Number(/taken (\d+)/.exec(said)?.[1]);
    const fromNoisy = (): number => up.get(noisy) ?? 0;
    const refused = (): number => dp.counters().drops['upcall-budget'] ?? 0;
    // Fewer may have entered than were sent: a busy kernel drops some on the way there.
    await until('all that entered is read', () => {
      const read = [...up.values()].reduce((sum, n) => sum + n, 0);
      return read + turns.dropped === dp.counters().misses;
    });
    const seconds = (dp.now() - startMs) / 1000;
    t.diagnostic(
      `noisy port: ${fromNoisy()} of ${taken} handed up, ${refused()} refused, ${seconds.toFixed(2)} s; ` +
        `it ${during}. Others: ${up.get(a)} and ${up.get(b)} handed up, none refused`,
    );
    assert.match(stdout, new RegExp(`${PINGS} packets transmitted, ${PINGS} received`));
    // Every ping was a first packet, in both directions, and so was whatever ARP they needed.
    assert.ok((up.get(a) ?? 0) >= PINGS && (up.get(b) ?? 0) >= PINGS);
    assert.ok(fromNoisy() + refused() <= taken && refused() > taken / 2);
    const { perSecond, burst } = UPCALL_BUDGET.frames;
    assert.ok(fromNoisy() >= burst && fromNoisy() <= burst + seconds * perSecond + 1);
    assert.equal(dp.counters().drops['upcall-lost'] ?? 0, 0);
  } finally {
    testbed.close();
  }
});
