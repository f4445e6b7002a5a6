/** TCP streams between workloads, by iperf3(1). */
import { readFileSync } from 'node:fs';
import { run } from '#os/run.ts';
import type { Lab } from '../lab.ts';
import { inside, isAlive, start, until, type Process } from '../processes.ts';

const LISTEN_MS = 5_000;
const SLACK_MS = 20_000;
const PORT = 5201;

/** Whether anybody in the namespace of a process listens at a port (proc_net_tcp: state 0A). */
export function isListening({ pid }: Process, port: number): boolean {
  const end = `:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return ['tcp', 'tcp6']
    .flatMap((name) => readFileSync(`/proc/${pid}/net/${name}`, 'utf8').split('\n'))
    .map((line) => line.trim().split(/\s+/))
    .some(([, local = '', , state]) => local.endsWith(end) && state === '0A');
}

/** Starts a server for one client; answers when it listens. */
async function listen(lab: Lab, part: string): Promise<Process> {
  const command = ['iperf3', '--server', '--one-off', '--port', `${PORT}`];
  const server = start({ lab: lab.name, part, name: `iperf3-${part}`, command });
  await until(`iperf3 in ${part} listens`, LISTEN_MS, () => {
    if (!isAlive(server)) throw new Error(`iperf3 in ${part} ended by itself`);
    return isListening(server, PORT);
  });
  return server;
}

export interface Stream {
  /** What iperf3 itself complained of: a lost connection, for one. */
  readonly error: string | undefined;
  readonly gbitPerSecond: number;
  readonly retransmits: number;
  /** Bytes sent in each interval. */
  readonly intervalBytes: readonly number[];
}

export interface StreamOptions {
  readonly from: string;
  readonly to: string;
  /** The receiver's address. */
  readonly address: string;
  readonly seconds: number;
  /** Paced to so much; as fast as it goes when not given. */
  readonly mbitPerSecond?: number;
  readonly intervalSeconds?: number;
}

interface IperfJson {
  readonly error?: string;
  readonly intervals?: readonly { readonly sum?: { readonly bytes?: number } }[];
  readonly end?: {
    readonly sum_sent?: { readonly retransmits?: number };
    readonly sum_received?: { readonly bits_per_second?: number };
  };
}

export async function stream(lab: Lab, options: StreamOptions): Promise<Stream> {
  const { from, to, address, seconds, mbitPerSecond, intervalSeconds = 1 } = options;
  await listen(lab, to);
  const pace = mbitPerSecond === undefined ? [] : ['--bitrate', `${mbitPerSecond}M`];
  const [program = '', ...args] = inside(lab.name, from, [
    ...['iperf3', '--client', address, '--port', `${PORT}`, '--json'],
    ...['--time', `${seconds}`, '--interval', `${intervalSeconds}`, ...pace],
  ]);
  const { stdout, stderr } = await run(program, args, { deadlineMs: seconds * 1000 + SLACK_MS });
  const answer = parse(stdout);
  const complaint =
    answer?.error ?? (answer === undefined ? stderr.trim() || 'no answer' : undefined);
  return {
    error: complaint,
    gbitPerSecond: (answer?.end?.sum_received?.bits_per_second ?? 0) / 1e9,
    retransmits: answer?.end?.sum_sent?.retransmits ?? 0,
    intervalBytes: (answer?.intervals ?? []).map((interval) => interval.sum?.bytes ?? 0),
  };
}

function parse(text: string): IperfJson | undefined {
  try {
    return JSON.parse(text) as IperfJson;
  } catch {
    return undefined;
  }
}
