/** Act: the first packet of a flow is decided by the agent, every later one by the kernel alone. */
import { parseFrameText } from '#net/text.ts';
import type { AgentCounters } from '#client/types.ts';
import { countersWhen } from '../lab.ts';
import { ping } from '../ping.ts';
import { markBytes } from '../probes.ts';
import { until } from '../processes.ts';
import { Stage } from '../stage.ts';
import { type Act, hostOf, KIND, settled } from './act.ts';
import { stream } from './iperf.ts';

const FRAMES = 1_000;
const PINGS = 50;
const STREAM_SECONDS = 3;
const ARRIVE_MS = 10_000;

export async function flows(act: Act, from: string, to: string): Promise<void> {
  const [a, b] = [hostOf(act.lab, from), hostOf(act.lab, to)];
  await frames(act, [from, to], [a, b]);
  await packets(act, [from, to], [a, b]);
}

type Two = readonly [string, string];

const upcalls = (n: number): string => `${n} ${n === 1 ? 'upcall' : 'upcalls'}`;

/** What a host counted between two readings. */
const since = (before: AgentCounters | undefined, now: AgentCounters): string =>
  upcalls(now.upcalls - (before?.upcalls ?? 0));

async function frames({ lab, report }: Act, [from, to]: Two, [a, b]: Two): Promise<void> {
  using stage = new Stage(lab);
  const sender = stage.numberOf(from);
  const receiver = stage.numberOf(to);
  const mark = markBytes({ kind: KIND.fresh, from: sender, to: receiver });
  const data = Buffer.from(mark).toString('hex');
  const text = `02:00:00:00:aa:01 > ${stage.station(receiver).mac} type 0x88b7 data ${data}`;
  const frame = parseFrameText(text);
  if ('error' in frame) throw new Error(frame.error);
  const arrived = (): number =>
    stage.arrivals().filter(({ mark: m, at }) => m?.kind === KIND.fresh && at === receiver).length;

  const before = await settled(lab);
  stage.forget();
  stage.send(sender, frame);
  await until('the first frame arrives', ARRIVE_MS, () => arrived() === 1);
  const upcallsBefore = before.get(a)?.upcalls ?? 0;
  const first = await countersWhen(lab, a, (now) => now.upcalls > upcallsBefore);
  report.check(
    first.upcalls > upcallsBefore,
    `the first frame of a new sender goes to the agent of ${a}: ${since(before.get(a), first)}`,
    {
      expected: 'one upcall at least',
      actual: 0,
    },
  );

  const quiet = await settled(lab);
  for (let i = 0; i < FRAMES; i++) stage.send(sender, frame);
  await until('all frames arrive', ARRIVE_MS, () => arrived() === FRAMES + 1).catch(() => {});
  report.equal(arrived(), FRAMES + 1, `${FRAMES} more of the flow arrive`);
  const hits = quiet.get(a)?.hits ?? 0;
  const later = await countersWhen(lab, a, (now) => now.hits >= hits + FRAMES);
  const far = (await settled(lab)).get(b);
  report.equal(
    since(quiet.get(a), later),
    '0 upcalls',
    `${a}'s agent has no part in it: ${since(quiet.get(a), later)}, ${later.hits - hits} hits`,
  );
  if (far)
    report.equal(
      since(quiet.get(b), far),
      '0 upcalls',
      `nor has ${b}'s, where the port key in the tunnel says it all: ${since(quiet.get(b), far)}`,
    );
}

async function packets({ lab, cast, report }: Act, [from, to]: Two, [a, b]: Two): Promise<void> {
  const address = cast.station(cast.numberOf(to)).ip4;
  await ping(lab, from, address);
  await stream(lab, { from, to, address, seconds: 1, mbitPerSecond: 10 });
  const before = await settled(lab);
  const echo = await ping(lab, from, address, { count: PINGS });
  report.equal(
    echo.received,
    PINGS,
    `${PINGS} pings ${from} > ${to} across hosts, fastest ${echo.fastestMs} ms`,
  );
  const tcp = await stream(lab, { from, to, address, seconds: STREAM_SECONDS });
  report.check(
    tcp.error === undefined && tcp.gbitPerSecond > 0,
    `an iperf3 stream of ${STREAM_SECONDS} s: ${tcp.gbitPerSecond.toFixed(1)} Gbit/s`,
    {
      expected: 'a stream',
      actual: tcp.error,
    },
  );
  const after = await settled(lab);
  for (const host of [a, b]) {
    const [was, is] = [before.get(host), after.get(host)];
    if (was === undefined || is === undefined) continue;
    const carried = is.hits - was.hits + is.tunnelHits - was.tunnelHits;
    report.equal(
      since(was, is),
      '0 upcalls',
      `on ${host}: ${since(was, is)}; ${carried} packets carried by the kernel alone`,
    );
  }
}
