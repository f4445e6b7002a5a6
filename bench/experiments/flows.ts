/**
 * A quarter of a million flows: how long they take to come, what they weigh, how long an edit
 * takes that 100,000 of them depend on, and how long they take to go. A whole edge on the kernel
 * datapath, in a namespace of its own; only the API is not there. Frames are run through the
 * program itself, so that nothing else is measured with them.
 */
import type { Edge } from '#agent/edge.ts';
import { LIMITS } from '#agent/limits.ts';
import type { EbpfDatapath } from '#datapath/ebpf/open.ts';
import { sweep, Testbed } from '#datapath/ebpf/testbed.ts';
import type { DpPort } from '#flow/flow.ts';
import { parseFrameText } from '#net/text.ts';
import { testRun } from '#os/bpf.ts';
import type { HostId } from '#virtual/ids.ts';
import type { TopologyObject } from '#virtual/topology.ts';
import { cpuMs, id, mac, mapBytes, mib, ms, object, openEdge, post, print } from './inside.ts';

const SLOTS = 524_288;
const EDITED = 100_000;
const OTHERS = 150_000;
const RING_BYTES = 1 << 23;
const BATCH = 128;

const HOST = id(3, 1) as HostId;
/** The route by which everything leaves router `n`. */
const routeOf = (n: number, gateway: string): TopologyObject =>
  object('route', {
    ...{ id: id(6, n), router: id(5, n), destination: '20.0.0.0/6', type: 'port', weight: 100 },
    ...{ port: id(2, 70 + n), gateway },
  });

/** Router `n` between bridge `n`, where port `n` is, and bridge 3. */
function tenant(n: number): TopologyObject[] {
  const bridgePort = { hairpin: false, addresses: [], type: 'bridge' };
  const routerPort = { type: 'router', router: id(5, n) };
  return [
    object('bridge', { id: id(1, n), name: `b${n}`, floodKey: 0x800010 + n }),
    object('router', { id: id(5, n), name: `r${n}`, networkKey: 0x800020 + n }),
    object('port', {
      ...bridgePort,
      ...{ id: id(2, n), name: `p${n}`, bridge: id(1, n), host: HOST, interface: `v${n}` },
      addresses: [{ mac: mac(n), ip: `10.${n}.0.2` }],
    }),
    ...[
      { bridge: id(1, n), link: 60 + n, own: 80 + n, network: `10.${n}.0.1/24`, at: mac(n + 4) },
      { bridge: id(1, 3), link: 50 + n, own: 70 + n, network: `10.3.0.${n}/24`, at: mac(n + 6) },
    ].flatMap(({ bridge, link, own, network, at }) => [
      object('port', {
        ...bridgePort,
        ...{ id: id(2, link), name: `l${link}`, bridge, peer: id(2, own) },
      }),
      object('port', {
        ...routerPort,
        ...{ id: id(2, own), name: `r${own}`, peer: id(2, link), mac: at, networks: [network] },
      }),
    ]),
    routeOf(n, '10.3.0.9'),
  ];
}
const topology: TopologyObject[] = [
  object('host', { id: HOST, name: 'h1' }),
  object('bridge', { id: id(1, 3), name: 'b3', floodKey: 0x800013 }),
  object('port', {
    ...{ id: id(2, 3), name: 'p3', type: 'bridge', bridge: id(1, 3), host: HOST, interface: 'v3' },
    ...{ hairpin: false, addresses: [9, 10].map((n) => ({ mac: mac(3), ip: `10.3.0.${n}` })) },
  }),
  ...tenant(1),
  ...tenant(2),
];

const DESTINATION = 30;
function frameOf(n: number): Uint8Array {
  const frame = parseFrameText(`${mac(n)} > ${mac(n + 4)} udp 10.${n}.0.2:1 > 20.0.0.0:2`);
  if (frame instanceof Uint8Array) return frame;
  throw new Error(frame.error);
}

class Stage {
  readonly datapath: EbpfDatapath;
  readonly edge: Edge;
  readonly seen: ReturnType<typeof openEdge>['seen'];
  readonly #testbed: Testbed;
  #revision = 1;
  /** Time spent on deciding and installing. */
  pumpMs = 0;

  constructor(testbed: Testbed) {
    this.#testbed = testbed;
    const made = openEdge(testbed, HOST, topology, { slots: SLOTS, ringBytes: RING_BYTES });
    this.datapath = made.datapath;
    this.edge = made.edge;
    this.seen = made.seen;
  }

  /** Frames of tenant `n`, each to another destination, through the program. */
  send(n: number, count: number): void {
    const frame = frameOf(n);
    const view = new DataView(frame.buffer);
    const ifindex = this.#testbed.port(`v${n}`) as DpPort;
    const program = this.datapath.programs.port_in;
    for (let i = 0; i < count; i++) {
      view.setUint32(DESTINATION, 0x14000000 + i);
      testRun(program, frame, { ifindex });
      if (i % BATCH === BATCH - 1) this.pump();
    }
    this.pump();
  }
  pump(): void {
    const startMs = performance.now();
    while (this.edge.pump(post) > 0);
    this.pumpMs += performance.now() - startMs;
  }
  change(changed: TopologyObject): void {
    const { kind, object: put } = changed;
    const change = { revision: ++this.#revision, rows: [{ kind, id: put.id, put }] };
    this.edge.handle({ type: 'event', event: { type: 'change', change } }, post);
  }
  get flows(): number {
    return this.edge.state().counters.flowsNow;
  }
}

function resident(stage: Stage): void {
  const [startMs, startCpu] = [performance.now(), cpuMs()];
  stage.send(1, EDITED);
  stage.send(2, OTHERS);
  const cpu = cpuMs() - startCpu;
  const seconds = (performance.now() - startMs) / 1000;
  const pace = Math.round((EDITED + OTHERS) / (stage.pumpMs / 1000));
  print(
    `set-up       ${stage.flows} flows in ${seconds.toFixed(1)} s,` +
      ` of which ${(stage.pumpMs / 1000).toFixed(1)} s in the agent: ${pace} a second;` +
      ` CPU ${(cpu / 1000).toFixed(1)} s with what sends them`,
  );
}

function edit(stage: Stage): void {
  const { seen, datapath, edge } = stage;
  const before = stage.flows;
  let up = 0;
  seen.beforeRemoval = () => {
    // In the kernel, and stale: the frames of the first, the last and some between are handed up.
    const { misses } = datapath.counters();
    const frame = frameOf(1);
    for (const n of [0, EDITED / 2, EDITED - 1]) {
      new DataView(frame.buffer).setUint32(DESTINATION, 0x14000000 + n);
      testRun(datapath.programs.port_in, frame, { ifindex: datapath.ports()[0]! });
    }
    up = datapath.counters().misses - misses;
    seen.beforeRemoval = () => {};
  };
  const [startMs, startCpu] = [performance.now(), cpuMs()];
  stage.change(routeOf(1, '10.3.0.10'));
  const editCpu = cpuMs() - startCpu;
  const gone = before - stage.flows;
  print(
    `edit         ${gone} flows stale in the kernel after ${ms(startMs, seen.staleMs)},` +
      ` of which ${seen.writesMs.toFixed(1)} ms in the datapath;` +
      ` CPU ${editCpu.toFixed(1)} ms with the first turn of deletion`,
  );
  print(`             of 3 frames of theirs ${up} are handed up then: none goes the old way`);
  const deleteMs = performance.now();
  let [turns, longest] = [1, deleteMs - seen.staleMs];
  for (; edge.busy; turns++) {
    const turnMs = performance.now();
    edge.pump(post);
    longest = Math.max(longest, performance.now() - turnMs);
  }
  print(
    `deletion     ${ms(seen.staleMs)} in ${turns} turns, the longest ${longest.toFixed(1)} ms;` +
      ' first packets are decided between them',
  );
  const againMs = performance.now();
  stage.send(1, EDITED);
  print(`             they are back, on their new way, after ${ms(againMs)}: ${stage.flows} flows`);
}

function expire(stage: Stage): void {
  const { seen } = stage;
  seen.aheadMs = LIMITS.flowIdleMs + 1_000;
  const [startMs, startCpu] = [performance.now(), cpuMs()];
  let [ticks, longest] = [0, 0];
  for (; stage.flows > 0 && ticks < 1_000; ticks++) {
    const tickMs = performance.now();
    stage.edge.tick(post);
    longest = Math.max(longest, performance.now() - tickMs);
  }
  const span = (ticks * LIMITS.tickMs) / 1000;
  print(
    `expiry       all in ${ticks} ticks, which take ${span} s: ${ms(startMs)} of work` +
      ` (CPU ${(cpuMs() - startCpu).toFixed(1)} ms), the longest ${longest.toFixed(1)} ms`,
  );
}

/** Runs the experiment and prints what it measures. */
export function flows(): void {
  sweep();
  const testbed = new Testbed();
  try {
    const rss = process.memoryUsage().rss;
    const stage = new Stage(testbed);
    print(
      `slots        ${SLOTS}, half of them for one port; agent ${mib(process.memoryUsage().rss)}, before it began ${mib(rss)}`,
    );
    resident(stage);
    const { rss: full, heapUsed } = process.memoryUsage();
    print(
      `memory       agent ${mib(full)} (heap ${mib(heapUsed)}), maps in the kernel ${mib(mapBytes(testbed.runDir))}`,
    );
    edit(stage);
    expire(stage);
    const { hits, misses, drops } = stage.datapath.counters();
    print(`counters     hits ${hits}, handed up ${misses}, dropped ${JSON.stringify(drops)}`);
    stage.datapath[Symbol.dispose]();
  } finally {
    testbed.close();
  }
}
