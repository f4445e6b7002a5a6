/**
 * Act: whatever a workload sends, nobody of another network gets it. Every kind of frame is sent
 * from every workload to every one of the other networks; all captures stay open from the first
 * frame to the last.
 *
 * That nothing arrived is worth something only if the frames were sent and the captures listen:
 * every kind must reach somebody of the sender's own network, from every sender.
 */
import { monotonicMs } from '#os/clock.ts';
import { formatMac, readMac } from '#net/mac.ts';
import { describeFrame } from '#net/text.ts';
import { PROBES, type ProbeKind, probeFrame, SPOOFS } from '../probes.ts';
import { until } from '../processes.ts';
import { type Arrival, Stage } from '../stage.ts';
import type { Act } from './act.ts';

const CONTROL_MS = 2_000;
const REPEATS_MAX = 5;
/** After the last frame, for what might still be on its way. */
const GRACE_MS = 500;
const KINDS = [...PROBES, ...SPOOFS];

export async function isolation({ lab, report }: Act): Promise<void> {
  using stage = new Stage(lab, true);
  const strangers = stage.pairs(false);
  let repeated = 0;
  for (const [kind, probe] of KINDS.entries()) repeated += await sendAll(stage, kind, probe);
  const end = monotonicMs() + GRACE_MS;
  await until('the last frames arrive', GRACE_MS * 2, () => monotonicMs() > end);

  const arrivals = stage.arrivals();
  report.note(
    `${KINDS.length} kinds of frames, each sent over ${strangers.length} forbidden pairs:`,
  );
  for (const [kind, { name }] of KINDS.entries()) {
    const ofKind = arrivals.filter(({ mark }) => mark?.kind === kind);
    const leaks = ofKind.filter(
      ({ mark, at }) => mark !== undefined && !isOwn(stage, mark.from, at),
    );
    const silent = silentOf(stage, kind).map((from) => stage.station(from).name);
    const own = `${ofKind.length - leaks.length}`.padStart(3);
    report.none(
      [
        ...leaks.map((leak) => describeLeak(stage, leak)),
        ...silent.map((sender) => `${sender} reached not even its own network`),
      ],
      `${name.padEnd(34)} ${leaks.length} arrived; ${own} in the senders' own networks`,
    );
  }
  if (repeated > 0)
    report.note(`(${repeated} frames were sent again: nobody at all had got the first)`);
  const foreign = arrivals.filter((arrival) => isForeign(stage, arrival));
  const text = 'no other frame from an address of another network was captured either';
  report.none(
    foreign.map((leak) => describeLeak(stage, leak)),
    text,
  );

  stage.forget();
  const heard = await stage.hello();
  const lost = stage.pairs(true).filter(([a, b]) => !heard.has(`${a}>${b}`));
  report.equal(lost.length, 0, 'after all that, every network still reaches its own');
}

/**
 * A frame to every victim, then a wait until somebody of each sender's own has seen one; who is not
 * seen sends again, because a frame that nobody got proves nothing. Answers how many were sent
 * again.
 */
async function sendAll(stage: Stage, kind: number, probe: ProbeKind): Promise<number> {
  const send = (senders: readonly number[]): number => {
    const pairs = stage.pairs(false).filter(([from]) => senders.includes(from));
    for (const [from, to] of pairs) {
      const ends = [stage.station(from), stage.station(to)] as const;
      stage.send(from, probeFrame(probe, ends, { kind, from, to }));
    }
    return pairs.length;
  };
  send(stage.stations.keys().toArray());
  let repeated = 0;
  for (let tries = 0; ; tries++) {
    const all = (): boolean => silentOf(stage, kind).length === 0;
    const seen = until('every sender is seen by its own', CONTROL_MS, all);
    const done = await seen.then(
      () => true,
      () => false,
    );
    if (done || tries === REPEATS_MAX) return repeated;
    repeated += send(silentOf(stage, kind));
  }
}

/** The senders of whose frames of this kind nothing has arrived anywhere. */
function silentOf(stage: Stage, kind: number): number[] {
  const seen = new Set<number>();
  for (const { mark } of stage.arrivals()) if (mark?.kind === kind) seen.add(mark.from);
  return stage.stations
    .keys()
    .filter((from) => !seen.has(from))
    .toArray();
}

const isOwn = (stage: Stage, from: number, at: number): boolean =>
  stage.station(from).network === stage.station(at).network;

/** An unmarked frame (a kernel's own) from a MAC that only another network has. */
function isForeign(stage: Stage, { at, frame, mark }: Arrival): boolean {
  if (mark !== undefined) return false;
  const source = formatMac(readMac(frame, 6));
  const mine = stage.stations.filter(({ network }) => network === stage.station(at).network);
  const others = stage.stations.filter(({ network }) => network !== stage.station(at).network);
  return others.some(({ mac }) => mac === source) && !mine.some(({ mac }) => mac === source);
}

function describeLeak(stage: Stage, { at, frame, mark }: Arrival): string {
  const from = mark === undefined ? 'somebody' : stage.station(mark.from).name;
  return `${stage.station(at).name} got a frame of ${from}: ${describeFrame(frame)}`;
}
