/** Echo requests from inside a workload, by the machine's own ping(8). */
import { run } from '#os/run.ts';
import type { Lab } from './lab.ts';
import { type Mark, markBytes } from './probes.ts';
import { inside } from './processes.ts';

export interface PingOptions {
  readonly count?: number;
  readonly intervalSeconds?: number;
  /** With this the packet may not be fragmented either. */
  readonly payloadBytes?: number;
  /** Carried by the request and by its reply. */
  readonly mark?: Mark;
}

export interface PingResult {
  readonly sent: number;
  readonly received: number;
  /** Round trip of the fastest in ms; undefined when none came back. */
  readonly fastestMs: number | undefined;
}

const REPLY_SECONDS = 3;
const DEADLINE_SLACK_MS = 10_000;
/** Pings under way at once, so that a matrix does not start hundreds of processes. */
const AT_ONCE = 6;

export async function ping(
  lab: Lab,
  from: string,
  address: string,
  { count = 1, intervalSeconds = 0.01, mark, payloadBytes }: PingOptions = {},
): Promise<PingResult> {
  const pattern = mark === undefined ? [] : ['-p', Buffer.from(markBytes(mark)).toString('hex')];
  const size = payloadBytes === undefined ? [] : ['-M', 'do', '-s', `${payloadBytes}`];
  const options = [
    '-n',
    '-q',
    '-c',
    `${count}`,
    '-i',
    `${intervalSeconds}`,
    '-W',
    `${REPLY_SECONDS}`,
  ];
  const [program = '', ...args] = inside(lab.name, from, [
    'ping',
    ...options,
    ...size,
    ...pattern,
    address,
  ]);
  const deadlineMs = count * intervalSeconds * 1000 + REPLY_SECONDS * 1000 + DEADLINE_SLACK_MS;
  const { stdout } = await run(program, args, { deadlineMs });
  const counts = /(\d+) packets transmitted, (\d+) received/.exec(stdout);
  const fastest = /= ([\d.]+)\//.exec(stdout)?.[1];
  return {
    sent: Number(counts?.[1] ?? 0),
    received: Number(counts?.[2] ?? 0),
    fastestMs: fastest === undefined ? undefined : Number(fastest),
  };
}

/** Calls `work` for every item, at most AT_ONCE at a time; answers in the items' order. */
export async function eachAtOnce<T, R>(
  items: readonly T[],
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const waiting = items.entries();
  const worker = async (): Promise<void> => {
    for (const [i, item] of waiting) results[i] = await work(item);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  return results;
}
