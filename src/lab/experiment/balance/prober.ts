/**
 * A client that tells what became of each of its requests, as a program of a workload:
 * `prober.ts NAME ADDRESS PORT`. Some lanes open a connection for each request, others keep theirs
 * for a while. A line of output for each request, see `outcomeOf`.
 *
 * Invariant: a request is sent once: whether it arrived before its connection broke is not guessed.
 */
import { Agent, get, type IncomingMessage } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { COUNTED, MEMBER_HEADER } from './member.ts';

const LANES = { fresh: 3, kept: 6 } as const;
const PAUSE_MS = { fresh: 30, kept: 60 } as const;
/** Requests on one connection of a lane that keeps it: some three seconds. */
const KEPT_FOR = 40;
/** Whoever has no answer then has failed: longer than a SYN that is lost several times takes. */
const ANSWER_MS = 20_000;

export type LaneKind = keyof typeof LANES;
export interface ProbeOutcome {
  readonly id: string;
  readonly kind: LaneKind;
  /** Milliseconds of Unix time: everybody is on one machine. */
  readonly startMs: number;
  readonly endMs: number;
  /** Who answered; undefined: nobody did, for this reason. */
  readonly member: string | undefined;
  readonly error: string | undefined;
}

const NOTHING = '-';
const lineOf = ({ id, kind, startMs, endMs, member, error }: ProbeOutcome): string =>
  [id, kind, startMs, endMs, member ?? NOTHING, error ?? NOTHING].join(' ');

/** What a line says; undefined: it is none, or only the beginning of one. */
export function outcomeOf(line: string): ProbeOutcome | undefined {
  const [id, kind, start, end, member, error, ...more] = line.split(' ');
  if (id === undefined || error === undefined || more.length > 0) return undefined;
  if (kind !== 'fresh' && kind !== 'kept') return undefined;
  const known = (word: string | undefined) => (word === NOTHING ? undefined : word);
  const times = { startMs: Number(start), endMs: Number(end) };
  return { id, kind, ...times, member: known(member), error: known(error) };
}

interface Target {
  readonly host: string;
  readonly port: number;
}

/** Who answered; rejects with the code of what went wrong. */
function ask({ host, port }: Target, path: string, agent: Agent | false): Promise<string> {
  return new Promise((resolve, reject) => {
    let from: number | undefined;
    const fail = (error: NodeJS.ErrnoException): void => {
      const word = error.code ?? error.message.replaceAll(' ', '-');
      reject(new Error(from === undefined ? word : `${word},from-port-${from}`));
    };
    const signal = AbortSignal.timeout(ANSWER_MS);
    const request = get({ host, port, path, agent, signal }, (response: IncomingMessage) => {
      const member = response.headers[MEMBER_HEADER];
      response.on('error', fail);
      response.on('end', () => {
        const told = response.statusCode === 200 && typeof member === 'string';
        if (told) resolve(member);
        else reject(new Error(`status-${response.statusCode}`));
      });
      response.resume();
    });
    // Known once there is a connection, and gone with it.
    request.on('socket', (socket) => {
      from = socket.localPort;
      if (socket.connecting) socket.once('connect', () => (from = socket.localPort));
    });
    request.on('error', fail);
  });
}

async function lane(target: Target, kind: LaneKind, name: string): Promise<void> {
  const made = (): Agent => new Agent({ keepAlive: true, maxSockets: 1 });
  let agent = made();
  /** Who answered last on the connection that there is. */
  let last = 'nobody';
  for (let n = 0; ; n++) {
    const id = `${name}-${n}`;
    const startMs = Date.now();
    let [member, error]: [string | undefined, string | undefined] = [undefined, undefined];
    try {
      member = await ask(target, `${COUNTED}${id}`, kind === 'kept' && agent);
    } catch (failure) {
      error = `${(failure as Error).message},${kind === 'kept' ? last : 'new'}`;
    }
    console.log(lineOf({ id, kind, startMs, endMs: Date.now(), member, error }));
    last = member ?? 'nobody';
    if (kind === 'kept' && (error !== undefined || n % KEPT_FOR === KEPT_FOR - 1)) {
      last = 'nobody';
      agent.destroy();
      agent = made();
    }
    await sleep(PAUSE_MS[kind]);
  }
}

if (import.meta.main) {
  const [name = '', host = '', port] = process.argv.slice(2);
  const target = { host, port: Number(port) };
  for (const kind of ['fresh', 'kept'] as const)
    for (let n = 0; n < LANES[kind]; n++) void lane(target, kind, `${name}-${kind}${n}`);
}
