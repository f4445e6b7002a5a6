/**
 * Act: the agents at both ends of a running TCP stream are killed -9 and started again. The kernel
 * goes on forwarding meanwhile; the new agents adopt what they find. Nothing may be lost on the
 * way.
 */
import { parseFrameText } from '#net/text.ts';
import { agentOf, killAgent, startAgent, waitForAgents } from '../lab.ts';
import { ping } from '../ping.ts';
import { markBytes } from '../probes.ts';
import { until } from '../processes.ts';
import { Stage } from '../stage.ts';
import { type Act, hostOf, KIND } from './act.ts';
import { stream } from './iperf.ts';

const SECONDS = 8;
/** Paced, so that what is lost is not lost to a full queue. */
const MBIT_PER_SECOND = 200;
const PINGS = 700;
const PING_INTERVAL_SECONDS = 0.01;
const FIRST_BYTES_MS = 5_000;
const HEADLESS_MS = 1_500;
const DECIDE_MS = 20_000;

export async function restart(act: Act, from: string, to: string): Promise<void> {
  const { lab, cast, report } = act;
  const hosts = [...new Set([hostOf(lab, from), hostOf(lab, to)])];
  const address = cast.station(cast.numberOf(to)).ip4;
  const running = Promise.all([
    stream(lab, {
      ...{ from, to, address, seconds: SECONDS, mbitPerSecond: MBIT_PER_SECOND },
      intervalSeconds: 0.5,
    }),
    ping(lab, from, address, { count: PINGS, intervalSeconds: PING_INTERVAL_SECONDS }),
  ]);
  running.catch(() => {}); // Awaited below; what fails before must not leave it unheard.
  const ended = await killAndStart(act, hosts);
  report.note(ended);
  await decidesAnew(act, from, to);
  const [tcp, echo] = await running;
  const stalls = tcp.intervalBytes.filter((bytes) => bytes === 0).length;
  const rate = (tcp.gbitPerSecond * 1000).toFixed(0);
  const kept = tcp.error === undefined && tcp.intervalBytes.length > 0;
  report.check(
    kept,
    `the TCP stream ${from} > ${to} (${rate} Mbit/s) lived on; ${tcp.retransmits} retransmitted`,
    {
      expected: 'a whole stream',
      actual: tcp.error ?? 'no data',
    },
  );
  report.equal(
    stalls,
    0,
    `it never stalled: bytes in each of ${tcp.intervalBytes.length} half seconds`,
  );
  report.equal(
    echo.received,
    echo.sent,
    `no ping was lost meanwhile: ${echo.received} of ${echo.sent}, one every 10 ms`,
  );
  using stage = new Stage(lab);
  const heard = await stage.hello();
  const wrong = [
    ...stage.pairs(true).filter(([a, b]) => !heard.has(`${a}>${b}`)),
    ...stage.pairs(false).filter(([a, b]) => heard.has(`${a}>${b}`)),
  ];
  report.equal(wrong.length, 0, 'afterwards everybody reaches exactly its own network, as before');
}

async function killAndStart({ lab }: Act, hosts: readonly string[]): Promise<string> {
  const counted = await lab.client.status();
  await until('the stream runs', FIRST_BYTES_MS, async () => {
    const now = await lab.client.status();
    return hosts.every((name) => carried(now.hosts, name) > carried(counted.hosts, name));
  });
  const old = hosts.map((host) => `${host} (${agentOf(lab, host)?.pid})`);
  await Promise.all(hosts.map((host) => killAgent(lab, host)));
  const since = performance.now();
  await until(
    'the kernel is alone for a while',
    HEADLESS_MS * 2,
    () => performance.now() - since > HEADLESS_MS,
  );
  for (const host of hosts) startAgent(lab, host);
  const pause = `${HEADLESS_MS / 1000} s`;
  return `killed -9: the agents of ${old.join(' and ')}; started again after ${pause}`;
}

const carried = (
  hosts: readonly {
    readonly name: string;
    readonly report?: { readonly counters: { readonly hits: number; readonly tunnelHits: number } };
  }[],
  name: string,
): number => {
  const counters = hosts.find((host) => host.name === name)?.report?.counters;
  return (counters?.hits ?? 0) + (counters?.tunnelHits ?? 0);
};

/** A frame of a sender never seen before needs a living agent: sent until it arrives. */
async function decidesAnew({ lab, report }: Act, from: string, to: string): Promise<void> {
  using stage = new Stage(lab);
  const [a, b] = [stage.numberOf(from), stage.numberOf(to)];
  const mark = Buffer.from(markBytes({ kind: KIND.fresh, from: a, to: b })).toString('hex');
  const frame = parseFrameText(
    `02:00:00:00:aa:02 > ${stage.station(b).mac} type 0x88b7 data ${mark}`,
  );
  if ('error' in frame) throw new Error(frame.error);
  const since = performance.now();
  const arrives = (): boolean => {
    stage.send(a, frame);
    return stage.arrivals().some(({ at, mark: found }) => at === b && found?.kind === KIND.fresh);
  };
  const done = await until('a new flow', DECIDE_MS, arrives).then(
    () => true,
    () => false,
  );
  const seconds = ((performance.now() - since) / 1000).toFixed(1);
  report.check(done, `the new agents decide new flows again after ${seconds} s`, {
    expected: 'a new flow',
    actual: `none in ${DECIDE_MS / 1000} s`,
  });
  await waitForAgents(lab);
}
