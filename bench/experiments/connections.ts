/**
 * Half a million connections through a stateful filter: how long they take to come, what they
 * weigh, whether they carry traffic afterwards, how they go; and what a flood of SYNs from one port
 * costs another. A whole edge on the kernel datapath, in a namespace of its own; only the API is
 * not there. Every connection is made by packets: SYN, SYN ACK, ACK.
 */
import { parseArgs } from 'node:util';
import type { Edge } from '#agent/edge.ts';
import { LIMITS } from '#agent/limits.ts';
import { SLOTS_MAX } from '#datapath/ebpf/maps.ts';
import type { EbpfDatapath } from '#datapath/ebpf/open.ts';
import { sweep, Testbed } from '#datapath/ebpf/testbed.ts';
import { HALF_OPEN_SHARE } from '#flow/connections.ts';
import { CONNECTION_TIMEOUTS } from '#flow/connection-timeouts.ts';
import type { DpPort } from '#flow/flow.ts';
import { parseFrameText } from '#net/text.ts';
import { testRun } from '#os/bpf.ts';
import type { HostId } from '#virtual/ids.ts';
import type { TopologyObject } from '#virtual/topology.ts';
import { cpuMs, id, mac, mapBytes, mib, ms, object, openEdge, post, print } from './inside.ts';

const RING_BYTES = 1 << 23;
/** Frames of one direction before those of the other: as many connections are half-open. */
const BATCH = 128;
/** Connections between two ticks of the agent, which expire what is idle as they would in life. */
const TICK_EVERY = 16_384;
/** Source ports in use with one address of the server. */
const PORTS_EACH = 50_000;
const FIRST_PORT = 10_000;
const COUNT = { most: 500_000, least: 1_000 } as const;
const HOST = id(3, 1) as HostId;
const [CHAIN, BRIDGE] = [id(7, 1), id(1, 1)];

const rule = (position: number, fields: object): TopologyObject =>
  object('rule', { id: id(8, position), chain: CHAIN, position, invert: false, ...fields });

/** Three workloads of one bridge; to the first and the third nothing comes but answers. */
const topology: TopologyObject[] = [
  object('host', { id: HOST, name: 'h1' }),
  object('bridge', { id: BRIDGE, name: 'b1', floodKey: 0x800011 }),
  object('chain', { id: CHAIN, name: 'answers' }),
  rule(100, { action: 'accept', connection: ['established', 'related'] }),
  rule(200, { action: 'drop' }),
  ...[1, 2, 3].map((n) =>
    object('port', {
      ...{ id: id(2, n), name: `p${n}`, type: 'bridge', bridge: BRIDGE, hairpin: false },
      ...{ host: HOST, interface: `v${n}`, addresses: [{ mac: mac(n), ip: `10.0.0.${n}` }] },
      ...(n !== 2 && { outboundFilter: CHAIN }),
    }),
  ),
];

/** Where the headers have what differs between connections. */
const AT = { ipSrc: 26, ipDst: 30, tpSrc: 34, tpDst: 36 } as const;
interface Template {
  readonly frame: Uint8Array;
  readonly view: DataView;
  readonly ifindex: DpPort;
}

class Stage {
  readonly datapath: EbpfDatapath;
  readonly edge: Edge;
  readonly seen: ReturnType<typeof openEdge>['seen'];
  readonly #testbed: Testbed;
  readonly #program: number;
  readonly #templates = new Map<string, Template>();
  /** Time spent on deciding and installing. */
  pumpMs = 0;

  constructor(testbed: Testbed, sizes: { slots: number; connections: number }) {
    this.#testbed = testbed;
    const made = openEdge(testbed, HOST, topology, { ...sizes, ringBytes: RING_BYTES });
    this.datapath = made.datapath;
    this.edge = made.edge;
    this.seen = made.seen;
    this.#program = this.datapath.programs.port_in;
  }

  #template(from: number, to: number, flags: string): Template {
    return this.#templates.getOrInsertComputed(`${from} ${to} ${flags}`, () => {
      const text = `${mac(from)} > ${mac(to)} tcp 10.0.0.${from}:1 > 20.0.0.0:2 ${flags}`;
      const frame = parseFrameText(text);
      if (!(frame instanceof Uint8Array)) throw new Error(frame.error);
      const ifindex = this.#testbed.port(`v${from}`) as DpPort;
      return { frame, view: new DataView(frame.buffer), ifindex };
    });
  }
  /** One segment of connection `i`, which workload `opener` opens with workload 2. */
  send(opener: number, i: number, back: boolean, flags: string): void {
    const { frame, view, ifindex } = back
      ? this.#template(2, opener, flags)
      : this.#template(opener, 2, flags);
    const [client, server] = [0x0a000000 + opener, 0x14000000 + Math.floor(i / PORTS_EACH)];
    const port = FIRST_PORT + (i % PORTS_EACH);
    view.setUint32(AT.ipSrc, back ? server : client);
    view.setUint32(AT.ipDst, back ? client : server);
    view.setUint16(AT.tpSrc, back ? 80 : port);
    view.setUint16(AT.tpDst, back ? port : 80);
    testRun(this.#program, frame, { ifindex });
  }
  /** Opens connections `from` … `to` − 1, each by three segments. */
  open(opener: number, from: number, to: number): void {
    for (let at = from; at < to; at += BATCH) {
      const end = Math.min(to, at + BATCH);
      for (let i = at; i < end; i++) this.send(opener, i, false, 'syn');
      this.pump();
      for (let i = at; i < end; i++) this.send(opener, i, true, 'syn ack');
      this.pump();
      for (let i = at; i < end; i++) this.send(opener, i, false, 'ack');
      this.pump();
      if (Math.floor(end / TICK_EVERY) > Math.floor(at / TICK_EVERY)) this.edge.tick(post);
    }
  }
  pump(): void {
    const startMs = performance.now();
    while (this.edge.pump(post) > 0);
    this.pumpMs += performance.now() - startMs;
  }
  get live(): number {
    return this.usage('connections');
  }
  /** What the agent last said of one of its limits. */
  usage(name: string): number {
    return this.edge.state().limits.find((limit) => limit.name === name)?.used ?? 0;
  }
  lost(): string {
    const { drops } = this.edge.state().counters;
    const some = Object.entries(drops).filter(([, n]) => n > 0);
    return some.map(([reason, n]) => `${reason} ${n}`).join(', ') || 'nothing';
  }
}

function setUp(stage: Stage, count: number, runDir: string): void {
  const [startMs, startCpu] = [performance.now(), cpuMs()];
  stage.open(1, 0, count);
  stage.edge.tick(post);
  const seconds = (performance.now() - startMs) / 1000;
  const pace = Math.round(count / (stage.pumpMs / 1000));
  const { flowsNow } = stage.edge.state().counters;
  print(
    `set-up       ${stage.live} connections, ${flowsNow} flows in ${seconds.toFixed(1)} s,` +
      ` of which ${(stage.pumpMs / 1000).toFixed(1)} s in the agent: ${pace} connections a second;` +
      ` CPU ${((cpuMs() - startCpu) / 1000).toFixed(1)} s with what sends them;` +
      ` dropped: ${stage.lost()}`,
  );
  const { rss, heapUsed } = process.memoryUsage();
  print(
    `memory       agent ${mib(rss)} (heap ${mib(heapUsed)}), maps in the kernel ` +
      mib(mapBytes(runDir)),
  );
}

/** A random tenth of them, a segment each way. */
function traffic(stage: Stage, count: number): void {
  let state = 1;
  const chosen = new Set<number>();
  while (chosen.size < count / 10) {
    // Numerical Recipes' generator: any spread will do, the same in each run.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    chosen.add(state % count);
  }
  const before = stage.datapath.counters();
  const startMs = performance.now();
  for (const i of chosen) {
    stage.send(1, i, false, 'psh ack');
    stage.send(1, i, true, 'psh ack');
  }
  const sent = 2 * chosen.size;
  const { hits, misses } = stage.datapath.counters();
  const up = misses - before.misses;
  print(
    `traffic      of ${sent} segments of ${chosen.size} random connections ${hits - before.hits}` +
      ` were carried by flows, ${up} handed up (${((100 * up) / sent).toFixed(2)} %);` +
      ` ${ms(startMs)}`,
  );
  stage.pump();
}

function expire(stage: Stage): void {
  const before = stage.live;
  stage.seen.aheadMs = CONNECTION_TIMEOUTS.tcpEstablished + 1_000;
  const [startMs, startCpu] = [performance.now(), cpuMs()];
  let [ticks, longest] = [0, 0];
  do {
    const tickMs = performance.now();
    stage.edge.tick(post);
    longest = Math.max(longest, performance.now() - tickMs);
    stage.pump();
    ticks += 1;
  } while (stage.live > 0 && ticks < 10_000);
  const span = (ticks * LIMITS.tickMs) / 1000;
  print(
    `expiry       ${before - stage.live} of ${before} after a day of silence in ${ticks} ticks,` +
      ` which take ${span} s: ${ms(startMs)} of work (CPU ${(cpuMs() - startCpu).toFixed(1)} ms),` +
      ` the longest ${longest.toFixed(1)} ms`,
  );
}

/** Workload 1 sends SYNs that nobody answers; workload 3 opens connections meanwhile. */
function flood(stage: Stage, slots: number): void {
  const share = Math.ceil(slots * HALF_OPEN_SHARE);
  const [syns, opened] = [3 * share, Math.min(10_000, Math.ceil(slots / 13))];
  const each = Math.max(1, Math.floor(syns / opened));
  let sent = 0;
  const before = stage.datapath.counters();
  for (let i = 0; i < opened; i++) {
    for (let n = 0; n < each; n++) stage.send(1, sent++, false, 'syn');
    stage.send(3, i, false, 'syn');
    stage.pump();
    stage.send(3, i, true, 'syn ack');
    stage.pump();
    if (i % BATCH === 0) stage.edge.tick(post);
  }
  stage.edge.tick(post);
  const halfOpen = stage.usage('half-open-connections');
  const now = stage.datapath.counters();
  const lost = Object.values(now.drops).reduce((sum, n) => sum + n, 0);
  const lostBefore = Object.values(before.drops).reduce((sum, n) => sum + n, 0);
  for (let i = 0; i < opened; i++) stage.send(3, i, true, 'ack');
  const kept = stage.datapath.counters().hits - now.hits;
  print(
    `flood        ${sent} SYNs from one port, of which ${halfOpen} are remembered` +
      ` (its share: ${share}); of ${opened} connections that another port opened meanwhile` +
      ` ${kept} still carry answers; frames dropped: ${lost - lostBefore}`,
  );
  stage.datapath[Symbol.dispose]();
}

/** Runs the experiment and prints what it measures. */
export function connections(args: readonly string[]): void {
  const { values } = parseArgs({
    args: [...args],
    options: { count: { type: 'string', default: String(COUNT.most) } },
  });
  const count = Number(values.count);
  if (!Number.isInteger(count) || count < COUNT.least || count > COUNT.most)
    throw new RangeError(
      `--count must be a whole number from ${COUNT.least} to ${COUNT.most}, not ${values.count}`,
    );
  sweep();
  inside((testbed) => resident(testbed, count));
  // The clock of the other one has moved on.
  inside((testbed) => {
    const slots = Math.min(131_072, count);
    flood(new Stage(testbed, { slots: 4 * slots, connections: slots }), slots);
  });
}

function inside(run: (testbed: Testbed) => void): void {
  const testbed = new Testbed();
  try {
    run(testbed);
  } finally {
    testbed.close();
  }
}

function resident(testbed: Testbed, count: number): void {
  const { rss } = process.memoryUsage();
  // One port may have half of all flows and half of all records.
  const sizes = { slots: Math.min(SLOTS_MAX, 2 * count + 8_192), connections: 2 * count + 2 };
  const stage = new Stage(testbed, sizes);
  print(
    `room         ${sizes.connections} connections, ${sizes.slots} flows;` +
      ` agent ${mib(process.memoryUsage().rss)}, before it began ${mib(rss)}`,
  );
  setUp(stage, count, testbed.runDir);
  traffic(stage, count);
  expire(stage);
  stage.datapath[Symbol.dispose]();
}
