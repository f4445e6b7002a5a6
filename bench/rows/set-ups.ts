/**
 * Flow set-ups on real wires: every frame is the first of its flow, goes through switch, router and
 * switch, and has to be decided by the agent; Open vSwitch decides each by its OpenFlow table.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { agentOf, countersOf, type Lab } from '#lab/lab.ts';
import { find, type Process } from '#lab/processes.ts';
import type { Line } from '../line.ts';
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { appctl, vswitchOf } from '../sides/ovs.ts';
import { FAR } from '../sides/recipes.ts';
import { processTimes, threadsSince, threadTimes } from '../tools/cpu.ts';
import { OpenLoop, type Offer } from '../tools/open-loop.ts';

/** Rates offered, each so much higher than the last, until two in a row were no better. */
const LADDER = {
  whole: { first: 5_000, factor: 1.35 },
  quick: { first: 5_000, factor: 2 },
  most: 110_000,
  idleMax: 2,
} as const;
/** A pace so much better is worth trying a higher rate. */
const BETTER = 1.05;
const SECONDS = 0.4;
/** Frames of one rate at most: Open vSwitch starts with room for 10,000 flows. */
const FRAMES_MAX = 8_000;
const REPORT_MS = 1_500;
const WAIT_MS = 10_000;
const THREADS_SHOWN = 4;

/** Who decides about first packets. */
interface Decider {
  readonly loop: OpenLoop;
  /** Afterwards every frame is a first packet. */
  forget(): Promise<unknown>;
  /** First packets, since it began, that were sent on or lost without becoming a flow. */
  failed(): Promise<number>;
}

interface Climb {
  /** Of the rates at which nothing was lost, the best pace. */
  readonly best: Offer;
  readonly lossy: Offer | undefined;
}

const secondsAt = (rate: number): number => Math.min(SECONDS, FRAMES_MAX / rate);

async function climb({ loop, forget, failed }: Decider, quick: boolean): Promise<Climb> {
  const { first, factor } = quick ? LADDER.quick : LADDER.whole;
  let [best, lossy]: [Offer | undefined, Offer | undefined] = [undefined, undefined];
  let idle = 0;
  for (let rate = first; rate <= LADDER.most && idle < LADDER.idleMax; rate *= factor) {
    await forget();
    const before = await failed();
    const offer = await loop.offer(rate, secondsAt(rate));
    const whole = offer.arrived >= offer.sent && (await failed()) === before;
    if (!whole) lossy ??= offer;
    idle = whole && offer.pace > (best?.pace ?? 0) * BETTER ? 0 : idle + 1;
    if (whole && offer.pace > (best?.pace ?? 0)) best = offer;
  }
  if (best === undefined) throw new Error(`of ${first} set-ups a second some were lost`);
  return { best, lossy };
}

/** A change of the route that all flows go by: all of them are decided anew. */
function forgetting(lab: Lab): () => Promise<unknown> {
  let weight = 100;
  return async () => {
    const route = (await lab.client.listAll('route')).find(
      (each) => 'destination' in each && each.destination === FAR,
    );
    const { revision } = await lab.client.update('route', route?.id ?? '', { weight: ++weight });
    await lab.client.wait(revision, WAIT_MS);
  };
}

interface Cost {
  /** CPU time of the process that decides, for a set-up, in microseconds. */
  readonly eachUs: number;
  /** The same by thread, and in the kernel on its behalf. */
  readonly text: string;
}

/** What a set-up costs whoever decides it, at a rate that it can keep. */
async function costOf(process: Process | undefined, loop: OpenLoop, rate: number): Promise<Cost> {
  if (process === undefined) throw new Error('nobody decides: the process is not there');
  const { pid } = process;
  const before = { threads: threadTimes(pid), times: processTimes(pid) };
  const { arrived } = await loop.offer(rate, secondsAt(rate));
  const threads = threadsSince(pid, before.threads);
  const kernelMs = processTimes(pid).systemMs - before.times.systemMs;
  const eachUs = (ms: number): number => (ms * 1000) / arrived;
  const shown = threads
    .slice(0, THREADS_SHOWN)
    .map(({ name, cpuMs }) => `${name} ${eachUs(cpuMs).toFixed(1)}`);
  return {
    eachUs: threads.reduce((sum, { cpuMs }) => sum + eachUs(cpuMs), 0),
    text: `by thread, in µs: ${shown.join(', ')}; in the kernel: ${eachUs(kernelMs).toFixed(1)}`,
  };
}

/** That a frame was a flow, and what became of the others. */
async function ourCounts(lab: Lab, sent: number): Promise<string> {
  await sleep(REPORT_MS);
  const { drops, flowsInstalled } = await countersOf(lab, 'h1');
  const lost = Object.entries(drops).map(([reason, n]) => `${reason} ${n}`);
  const each = (flowsInstalled / sent).toFixed(2);
  return `ours: ${each} flows a frame; dropped in all of it: ${lost.join(', ') || 'none'}`;
}

/** Lookups of the datapath that found no flow, and of these the ones that made none. */
async function ovsLookups(lab: Lab): Promise<{ readonly missed: number; readonly lost: number }> {
  const text = await appctl(vswitchOf(lab, 'h1'), ['dpctl/show']);
  const count = (name: string): number =>
    Number(new RegExp(`${name}:(\\d+)`).exec(text)?.[1] ?? Number.NaN);
  return { missed: count('missed'), lost: count('lost') };
}

async function ovsCounts(lab: Lab, sent: number): Promise<string> {
  const { missed, lost } = await ovsLookups(lab);
  const each = ((missed + lost) / sent).toFixed(2);
  return `Open vSwitch: ${each} upcalls a frame; ${lost} of ${missed + lost} made no flow`;
}

const describe = (side: string, { best, lossy }: Climb): string =>
  `${side}: best at ${Math.round(best.perSecond)}/s offered` +
  (lossy === undefined
    ? ', no rate lost any'
    : `; at ${Math.round(lossy.perSecond)}/s ${lossy.sent - lossy.arrived} of ${lossy.sent} lost` +
      ', or others made no flow');

async function measure({ stage, runs, quick }: Bench): Promise<Measured> {
  const [ours, ovs] = [await stage.side('setups'), await stage.side('ovssetups')];
  using ourLoop = new OpenLoop(ours);
  using ovsLoop = new OpenLoop(ovs);
  const we: Decider = {
    loop: ourLoop,
    forget: forgetting(ours),
    failed: () => Promise.resolve(0),
  };
  const they: Decider = {
    loop: ovsLoop,
    forget: () => appctl(vswitchOf(ovs, 'h1'), ['dpctl/del-flows']),
    failed: () => ovsLookups(ovs).then(({ lost }) => lost),
  };
  await we.forget();
  await ourLoop.offer(LADDER.whole.first, SECONDS);
  const of = await inTurn(runs, { ours: () => climb(we, quick), peer: () => climb(they, quick) });
  const rate = Math.min(...[...of.ours, ...of.peer].map(({ best }) => best.pace)) / 2;
  const cost = await inTurn(runs, {
    ours: () => we.forget().then(() => costOf(agentOf(ours, 'h1'), ourLoop, rate)),
    peer: () => they.forget().then(() => costOf(find(ovs.name, 'vswitchd-h1'), ovsLoop, rate)),
  });
  const notes = [
    `at ${Math.round(rate)}/s ours, ${cost.ours.at(-1)?.text}`,
    'how the time in user space divides: the rows of `simulation`',
    `at ${Math.round(rate)}/s Open vSwitch, ${cost.peer.at(-1)?.text}`,
    await ourCounts(ours, ourLoop.sent),
    await ovsCounts(ovs, ovsLoop.sent),
    describe('ours', of.ours.at(-1)!),
    describe('Open vSwitch', of.peer.at(-1)!),
    'pace until the last frame had arrived, at the best rate of which none was lost; Open vSwitch',
    'forced to a flow for each pair of UDP ports, which its OpenFlow table reads',
  ];
  const paces = (all: readonly Climb[]): number[] => all.map(({ best }) => best.pace / 1000);
  const costs = (all: readonly Cost[]): number[] => all.map(({ eachUs }) => eachUs);
  const line: Line = {
    what: 'flow set-ups, open loop, none lost',
    unit: 'k/s',
    better: 'more',
    ours: paces(of.ours),
    peer: { name: 'Open vSwitch upcalls', values: paces(of.peer) },
    reach: { of: 'ratio', value: 2 },
  };
  const spent: Line = {
    what: 'CPU of who decides, for a set-up',
    unit: 'µs',
    better: 'less',
    ours: costs(cost.ours),
    peer: { name: 'ovs-vswitchd', values: costs(cost.peer) },
  };
  return { lines: [line, spent], notes };
}

export const setUps: Row = {
  name: 'set-ups',
  what: 'flow set-ups a second, beside Open vSwitch; where the time goes',
  tools: ['ip', 'nsenter', 'ethtool', 'ovs-vswitchd', 'ovs-ofctl'],
  root: true,
  sides: ['setups', 'ovssetups'],
  measure,
};
