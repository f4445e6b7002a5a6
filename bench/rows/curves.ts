/**
 * What a packet costs in the kernel as tables grow: the real program over the real maps, run by
 * BPF_PROG_TEST_RUN on frames in memory (nothing is sent), so neither wires nor wake-ups are in it.
 *
 * Two figures each: `hot`, the same frame again and again, which is what a long stream sees; and
 * `mixed`, every frame another flow, port or connection, which is what caches see that do not fit.
 * A run on one frame counts the kernel's own clock too; the first point of a curve has it as well.
 */
import { openEbpf, type EbpfDatapath } from '#datapath/ebpf/open.ts';
import { AMPLE_BUDGET } from '#datapath/contract/bench.ts';
import { sweep, Testbed, TUNNEL_UDP_PORT } from '#datapath/ebpf/testbed.ts';
import { MASKS_MAX, type DpPort } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { ipBatch } from '#lab/wires.ts';
import { parseFrameText } from '#net/text.ts';
import { testRun } from '#os/bpf.ts';
import { fieldSet, FIELDS, type FieldSet } from '#virtual/match.ts';
import type { Line } from '../line.ts';
import { median } from '../statistics.ts';
import type { Bench, Measured, Row } from '../row.ts';

const REPEAT = { whole: 200_000, quick: 50_000 } as const;
/** Frames of a mixed figure. */
const MIXED = { whole: 4_000, quick: 1_000 } as const;
const FLOWS = { whole: [1, 1_000, 50_000, 250_000], quick: [1, 1_000, 20_000] } as const;
const MASKS = { whole: [1, 2, 4, 8, 16, 32], quick: [1, 8, 32] } as const;
const PORTS = { whole: [1, 10, 100, 1_000], quick: [1, 10, 50] } as const;
const SLOTS = 262_144;
const RING_BYTES = 1 << 21;
/** TC_ACT_REDIRECT of linux/pkt_cls.h: a flow forwarded the frame. */
const REDIRECT = 7;

const base = parseFrameText(
  '02:00:00:be:00:0a > 02:00:00:be:00:0c udp 20.0.0.0:1 > 24.0.0.0:2 length 18',
);

/** Of flow `n`, and within it of connection `port`. */
function frameOf(n: number, port = 1): Uint8Array {
  if (!(base instanceof Uint8Array)) throw new Error(base.error);
  const frame = base.slice();
  const view = new DataView(frame.buffer);
  view.setUint32(8, n);
  view.setUint32(30, 0x18000000 + n);
  view.setUint16(34, port);
  return frame;
}

/** What a bridge and a router read of a frame: not its ports. */
const ROUTED = fieldSet(['ethSrc', 'ethDst', 'ethType', 'ipDst']);

interface Place {
  readonly datapath: EbpfDatapath;
  readonly from: DpPort;
  readonly to: DpPort;
}

function install(
  { datapath, from, to }: Place,
  slot: number,
  frame: Uint8Array,
  fields: FieldSet,
): void {
  const key = new Uint8Array(KEY_SIZE);
  parseKey(frame, key);
  writeEntry(key, { port: from });
  maskKey(key, fields, key);
  datapath.install({ slot, generation: 1 }, { key, fields, actions: { outputs: [{ port: to }] } });
}

/** Nanoseconds of a run; throws when no flow forwarded the frame. */
function nsOf({ datapath, from }: Place, frame: Uint8Array, repeat: number): number {
  const { verdict, nsPerRun } = testRun(datapath.programs.port_in, frame, {
    ifindex: from,
    repeat,
  });
  if (verdict !== REDIRECT) throw new Error('a frame met no flow');
  return nsPerRun;
}

/** A fixed order that no cache can guess. */
const scattered = (i: number, of: number): number => (Math.imul(i + 1, 2_654_435_761) >>> 0) % of;

interface Point {
  readonly n: number;
  readonly hot: number[];
  readonly mixed: number[];
}

function asLines(what: string, points: readonly Point[], names: readonly [string, string]): Line[] {
  const [first] = points;
  if (first === undefined) return [];
  return (['hot', 'mixed'] as const).flatMap((kind, i) =>
    points.map((point): Line => ({
      what: `${point.n.toLocaleString('en-US')} ${what}, ${names[i]}`,
      unit: 'ns',
      better: 'less',
      ours: point[kind],
      ...(point === first ? {} : { peer: { name: `with ${first.n}`, values: first[kind] } }),
    })),
  );
}

/** A datapath of its own namespace, with ports v1, v2. */
function withPlace<T>(act: (place: Place, testbed: Testbed) => T): T {
  sweep();
  const testbed = new Testbed();
  try {
    using datapath = openEbpf({
      runDir: testbed.runDir,
      slots: SLOTS,
      ringBytes: RING_BYTES,
      tunnelUdpPort: TUNNEL_UDP_PORT,
      upcallBudget: AMPLE_BUDGET,
    });
    const [from, to] = [testbed.port('v1'), testbed.port('v2')];
    datapath.addPort(from);
    datapath.addPort(to);
    return act({ datapath, from, to }, testbed);
  } finally {
    testbed.close();
  }
}

function repeated(runs: number, take: () => number): number[] {
  take();
  return Array.from({ length: runs }, take);
}

/** The median: a run that was interrupted says nothing of the program. */
function mixedOf(count: number, take: (i: number) => number): number {
  return median(Array.from({ length: count }, (_, i) => take(i)));
}

function byFlows({ runs, quick }: Bench): Measured {
  const kind = quick ? 'quick' : 'whole';
  const points = withPlace((place) => {
    let installed = 0;
    return FLOWS[kind].map((n): Point => {
      for (; installed < n; installed++) {
        install(place, installed, frameOf(installed), ROUTED);
        if (installed % 512 === 0) place.datapath.commit();
      }
      place.datapath.commit();
      const frames = Array.from({ length: MIXED[kind] }, (_, i) => frameOf(scattered(i, n), i));
      return {
        n,
        hot: repeated(runs, () => nsOf(place, frameOf(n - 1), REPEAT[kind])),
        mixed: repeated(runs, () => mixedOf(frames.length, (i) => nsOf(place, frames[i]!, 1))),
      };
    });
  });
  return { lines: asLines('flows', points, ['one of them', 'each frame another']), notes: NOTES };
}

const NOTES = [
  'one of them: the same frame over and over; each frame another: one run each, median, with the',
  'cost of taking the time, and of caches that the system call between two runs has used',
];

/** Sets of fields that are different masks and all have the destination in them. */
const FIELD_SETS: readonly FieldSet[] = [
  ...new Set(
    Array.from({ length: 4 * MASKS_MAX }, (_, i) =>
      fieldSet([
        'ethSrc',
        ...FIELDS.filter((field, bit) => field.startsWith('ip') && ((i >> (bit % 7)) & 1) === 1),
      ]),
    ),
  ),
];

/** Undefined: the datapath does not take so many masks of one port. */
function withMasks({ runs, quick }: Bench, n: number): Point | undefined {
  const kind = quick ? 'quick' : 'whole';
  return withPlace((place) => {
    if (FIELD_SETS.length < n) throw new Error(`there are only ${FIELD_SETS.length} masks to try`);
    for (let slot = 0; slot < n; slot++) install(place, slot, frameOf(slot), FIELD_SETS[slot] ?? 0);
    place.datapath.commit();
    if (place.datapath.refusals().masks > 0) return undefined;
    let connection = 0;
    const fresh = (): number => nsOf(place, frameOf(n - 1, ++connection & 0xffff), 1);
    return {
      n,
      hot: repeated(runs, () => nsOf(place, frameOf(n - 1), REPEAT[kind])),
      mixed: repeated(runs, () => mixedOf(MIXED[kind], fresh)),
    };
  });
}

function byMasks(bench: Bench): Measured {
  const wanted = MASKS[bench.quick ? 'quick' : 'whole'];
  const points = wanted.map((n) => withMasks(bench, n)).filter((point) => point !== undefined);
  const names = ['behind the last, again', 'behind the last, new connection'] as const;
  const most = points.at(-1)?.n ?? 0;
  const refused = most === wanted.at(-1) ? [] : [`more than ${most} masks of one port: refused`];
  return { lines: asLines('masks', points, names), notes: [...NOTES, ...refused] };
}

async function byPorts({ runs, quick }: Bench): Promise<Measured> {
  const kind = quick ? 'quick' : 'whole';
  const most = PORTS[kind].at(-1) ?? 1;
  sweep();
  const testbed = new Testbed();
  try {
    await ipBatch(
      Array.from(
        { length: most },
        (_, i) => `link add w${i} type veth peer name x${i} netns ${testbed.guest}`,
      ),
      testbed.host,
    );
    using datapath = testbed.open();
    const to = testbed.port('v1');
    datapath.addPort(to);
    const ports: DpPort[] = [];
    const adding: number[] = [];
    const points = PORTS[kind].map((n): Point => {
      while (ports.length < n) {
        const port = testbed.port(`w${ports.length}`);
        const start = performance.now();
        datapath.addPort(port);
        adding.push(performance.now() - start);
        install({ datapath, from: port, to }, ports.length, frameOf(ports.length), ROUTED);
        ports.push(port);
      }
      datapath.commit();
      const at = (i: number): Place => ({ datapath, from: ports[i]!, to });
      const one = (i: number): number => {
        const port = scattered(i, n);
        return nsOf(at(port), frameOf(port, i), 1);
      };
      return {
        n,
        hot: repeated(runs, () => nsOf(at(n - 1), frameOf(n - 1), REPEAT[kind])),
        mixed: repeated(runs, () => mixedOf(MIXED[kind], one)),
      };
    });
    const notes = [...NOTES, `taking a port over: ${median(adding).toFixed(2)} ms (median)`];
    return { lines: asLines('ports', points, ['one of them', 'each frame another']), notes };
  } finally {
    testbed.close();
  }
}

const needs = { tools: ['ip'], root: true, sides: [] } as const;

export const costByFlows: Row = {
  ...needs,
  name: 'cost-flows',
  what: 'what a packet costs in the kernel, by the number of flows',
  measure: (bench) => Promise.resolve(byFlows(bench)),
};
export const costByMasks: Row = {
  ...needs,
  name: 'cost-masks',
  what: 'the same, by the number of masks',
  measure: (bench) => Promise.resolve(byMasks(bench)),
};
export const costByPorts: Row = {
  ...needs,
  name: 'cost-ports',
  what: 'the same, by the number of ports',
  measure: byPorts,
};
