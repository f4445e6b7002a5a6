/**
 * Requests to agents: sent on the stream of the host that is asked, answered by requests of its
 * own.
 *
 * Invariants: only the host that was asked answers, and only while somebody waits; everything is
 * bounded (asks of a caller and to a host, bytes and parts of an answer, time), and what ends early
 * says why. A host's stream is on one node, and that node alone can ask it: with one node, that is
 * every host that is connected. What its agent answers is valid by the row of `ASKS`, and believed
 * no further: whose ports and flows these are is for whoever asks to check.
 */
import {
  type Answer,
  type Ask,
  ASK_LASTS_MAX_MS,
  ASK_TIMEOUT_MAX_MS,
  ASK_TIMEOUT_MS,
  ASKS,
  type PartOf,
} from '#client/asks.ts';
import { type Clock, after } from '#store/clock.ts';
import { Refusal } from './problems.ts';
import type { HostLink, Watch } from './watch.ts';

/** Asks to one host at a time; its agent refuses more as well. */
export const ASKS_PER_HOST_MAX = 32;
/** Requests of one caller that ask agents, at a time. */
export const ASKS_PER_CALLER_MAX = 16;
/** Bytes, as JSON, of all that one request is answered. */
export const ANSWERED_BYTES_MAX = 64 * 1024 * 1024;
/** Of what lasts: bytes that wait for their reader, and parts in a second. */
export const WAITING_BYTES_MAX = 4 * 1024 * 1024;
/** Parts a second of what lasts; who sends more is ended. */
export const PARTS_PER_SECOND_MAX = 10_000;
/** Ids that are over, and still known to have been: later ones are answered 404. */
const OVER_KEPT_MAX = 4_096;

/** Why there is no answer. */
export type AskFailure =
  | 'away'
  | 'too-old'
  | 'busy'
  | 'deadline'
  | 'reconnected'
  | 'too-much'
  | 'failed'
  | 'not-valid'
  | 'gone';

/** No answer, or not all of it. Its text names no host: callers differ in what they may know. */
export class AskFailed extends Refusal {
  readonly why: AskFailure;
  constructor(why: AskFailure, detail: string) {
    super(503, { detail });
    this.why = why;
  }
}

export interface AskOptions {
  /** The caller went away. */
  readonly signal: AbortSignal;
  /** Whose request it is: the id of a token; undefined: the operator on the unix socket. */
  readonly caller: string | undefined;
  readonly timeoutMs?: number;
}

/** What one of several hosts answered, or why it did not. */
export type HostAnswer<P> =
  | { readonly host: string; readonly parts: readonly P[]; readonly failed?: undefined }
  | { readonly host: string; readonly failed: AskFailed };

interface Pending {
  readonly host: string;
  readonly ask: Ask;
  readonly link: HostLink;
  /** Throws AskFailed when it is too much. */
  take(parts: readonly unknown[]): void;
  end(failed: AskFailed | undefined): void;
}

/** Bytes that may still come for one request. */
interface Allowance {
  left: number;
}

export class Asks {
  /** Since the start: by how they ended. */
  readonly stats: Record<AskFailure | 'answered', number> = {
    answered: 0,
    away: 0,
    'too-old': 0,
    busy: 0,
    deadline: 0,
    reconnected: 0,
    'too-much': 0,
    failed: 0,
    'not-valid': 0,
    gone: 0,
  };
  readonly #watch: Watch;
  readonly #clock: Clock;
  readonly #pending = new Map<string, Pending>();
  readonly #perHost = new Map<string, number>();
  readonly #perCaller = new Map<string, number>();
  /** The last ids that are over, with their hosts, oldest first. */
  readonly #over = new Map<string, string>();

  constructor(watch: Watch, clock: Clock) {
    this.#watch = watch;
    this.#clock = clock;
    watch.onLink((host) => this.#relinked(host));
  }

  /** Asks that wait for an answer, or for more of it. */
  get waiting(): number {
    return this.#pending.size;
  }

  /** All parts of the answer of one host. Throws AskFailed. */
  async one<A extends Ask>(
    host: string,
    ask: A,
    options: AskOptions,
  ): Promise<PartOf<A['kind']>[]> {
    const leave = this.#enter(options);
    try {
      return await this.#whole(host, ask, options, { left: ANSWERED_BYTES_MAX });
    } finally {
      leave();
    }
  }

  /** The same of several hosts at once: each answers, or is named with why it did not. */
  async all<A extends Ask>(
    hosts: readonly string[],
    ask: A,
    options: AskOptions,
  ): Promise<HostAnswer<PartOf<A['kind']>>[]> {
    return this.each(
      hosts.map((host) => ({ host, ask })),
      options,
    );
  }

  /** The same with a question of its own for each host; one request of the caller, whatever. */
  async each<A extends Ask>(
    asked: readonly { readonly host: string; readonly ask: A }[],
    options: AskOptions,
  ): Promise<HostAnswer<PartOf<A['kind']>>[]> {
    const leave = this.#enter(options);
    const allowance = { left: ANSWERED_BYTES_MAX };
    const answerOf = async ({ host, ask }: (typeof asked)[number]) => {
      try {
        return { host, parts: await this.#whole(host, ask, options, allowance) };
      } catch (failed) {
        if (failed instanceof AskFailed) return { host, failed };
        throw failed;
      }
    };
    try {
      return await Promise.all(asked.map(answerOf));
    } finally {
      leave();
    }
  }

  /**
   * The parts of an answer as they come; throws AskFailed at once where nothing can be asked, and
   * while it is read when it ends early. Ends with `signal`, when its reader stops, when the agent
   * is done, and after `timeoutMs`.
   */
  stream<A extends Ask>(
    host: string,
    ask: A,
    options: AskOptions,
  ): AsyncIterableIterator<PartOf<A['kind']>> {
    const leave = this.#enter(options);
    const rate = rateOf(this.#clock);
    const waiting: { readonly part: unknown; readonly bytes: number }[] = [];
    let waitingBytes = 0;
    let ended = false;
    let failure: AskFailed | undefined;
    let wake: () => void = () => {};
    let stop: (failed: AskFailed | undefined) => void;
    try {
      stop = this.#begin(host, ask, options, {
        take: (parts) => {
          rate(parts.length);
          for (const part of parts) {
            const bytes = JSON.stringify(part).length;
            waitingBytes += bytes;
            if (waitingBytes > WAITING_BYTES_MAX)
              throw new AskFailed('too-much', 'the answer is not read as fast as it comes');
            waiting.push({ part, bytes });
          }
          wake();
        },
        end: (failed) => {
          ended = true;
          failure = failed;
          leave();
          wake();
        },
      });
    } catch (error) {
      leave();
      throw error;
    }
    type Part = PartOf<A['kind']>;
    const next = async (): Promise<IteratorResult<Part, undefined>> => {
      for (;;) {
        const first = waiting.shift();
        if (first !== undefined) {
          waitingBytes -= first.bytes;
          return { done: false, value: first.part as Part };
        }
        if (failure !== undefined && failure.why !== 'gone') throw failure;
        if (ended) return { done: true, value: undefined };
        await new Promise<void>((resolve) => (wake = resolve));
      }
    };
    return {
      next,
      return: () => {
        stop(new AskFailed('gone', 'the caller has gone'));
        return Promise.resolve({ done: true, value: undefined });
      },
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  /** What a host answers; throws a Refusal (404, 410) when nobody waits for that. */
  answer(host: string, id: string, { parts, done, error }: Answer): void {
    const pending = this.#pending.get(id);
    // Of what another host was asked, this one is told no more than of what never was.
    if (pending === undefined || pending.host !== host) {
      if (this.#over.get(id) === host) throw new Refusal(410);
      throw new Refusal(404, { detail: 'this host was asked nothing under this id' });
    }
    const { part: schema } = ASKS[pending.ask.kind];
    const valid: unknown[] = [];
    for (const part of parts) {
      const parsed = schema.safeParse(part);
      if (!parsed.success) {
        const [{ path, message } = { path: [], message: '' }] = parsed.error.issues;
        const detail = `its agent answered what cannot be: ${path.join('.')} ${message}`;
        pending.end(new AskFailed('not-valid', detail));
        throw new Refusal(400, { detail });
      }
      valid.push(parsed.data);
    }
    try {
      pending.take(valid);
    } catch (failed) {
      if (!(failed instanceof AskFailed)) throw failed;
      pending.end(failed);
      throw new Refusal(410);
    }
    if (error !== undefined) pending.end(new AskFailed('failed', `its agent: ${error}`));
    else if (done) pending.end(undefined);
  }

  close(): void {
    for (const { end } of this.#pending.values())
      end(new AskFailed('gone', 'this API node is stopping'));
  }

  #whole<A extends Ask>(
    host: string,
    ask: A,
    options: AskOptions,
    allowance: Allowance,
  ): Promise<PartOf<A['kind']>[]> {
    return new Promise((resolve, reject) => {
      const all: PartOf<A['kind']>[] = [];
      this.#begin(host, ask, options, {
        take: (parts) => {
          allowance.left -= JSON.stringify(parts).length;
          if (allowance.left < 0)
            throw new AskFailed(
              'too-much',
              `there are more than ${ANSWERED_BYTES_MAX} bytes of it`,
            );
          all.push(...(parts as PartOf<A['kind']>[]));
        },
        end: (failed) => (failed === undefined ? resolve(all) : reject(failed)),
      });
    });
  }

  /** Counts a request of a caller; answers what is to be called, once or more, when it is over. */
  #enter({ caller }: AskOptions): () => void {
    if (caller === undefined) return () => {};
    const own = this.#perCaller.get(caller) ?? 0;
    if (own >= ASKS_PER_CALLER_MAX)
      throw this.#failed('busy', `${own} of your requests wait for agents already`);
    this.#perCaller.set(caller, own + 1);
    let left = false;
    return () => {
      if (!left) lessOne(this.#perCaller, caller);
      left = true;
    };
  }

  /** Sends an ask. Answers how to end it; throws AskFailed, and `end` is not called. */
  #begin(
    host: string,
    ask: Ask,
    { signal, timeoutMs }: AskOptions,
    sink: Pick<Pending, 'take' | 'end'>,
  ): (failed: AskFailed | undefined) => void {
    const link = this.#linkFor(host, ask);
    const id = crypto.randomUUID();
    const { lasts } = ASKS[ask.kind];
    const deadlineMs = lasts
      ? Math.min(timeoutMs ?? ASK_LASTS_MAX_MS, ASK_LASTS_MAX_MS)
      : Math.min(timeoutMs ?? ASK_TIMEOUT_MS, ASK_TIMEOUT_MAX_MS);
    const late = (): void => {
      if (!lasts) return end(new AskFailed('deadline', `no answer within ${deadlineMs} ms`));
      // Its time is over as it was meant to be.
      link.push({ type: 'ask-over', id });
      end(undefined);
    };
    const gone = (): void => end(new AskFailed('gone', 'the caller has gone'));
    const end = (failed: AskFailed | undefined): void => {
      if (!this.#pending.delete(id)) return;
      cancel();
      signal.removeEventListener('abort', gone);
      lessOne(this.#perHost, host);
      this.#remember(id, host);
      this.stats[failed?.why ?? 'answered'] += 1;
      if (failed !== undefined && failed.why !== 'failed') link.push({ type: 'ask-over', id });
      sink.end(failed);
    };
    this.#perHost.set(host, (this.#perHost.get(host) ?? 0) + 1);
    this.#pending.set(id, { host, ask, link, take: sink.take, end });
    const cancel = after(this.#clock, deadlineMs, late);
    signal.addEventListener('abort', gone, { once: true });
    if (signal.aborted) gone();
    else link.push({ type: 'ask', id, ask, timeoutMs: deadlineMs });
    return end;
  }

  #linkFor(host: string, { kind }: Ask): HostLink {
    const link = this.#watch.link(host);
    if (link === undefined) throw this.#failed('away', 'no agent of it is connected');
    if (!link.asks.has(kind))
      throw this.#failed('too-old', `its agent is of a version that does not answer "${kind}"`);
    const waiting = this.#perHost.get(host) ?? 0;
    if (waiting >= ASKS_PER_HOST_MAX)
      throw this.#failed('busy', `${waiting} requests wait for its agent already`);
    return link;
  }
  #failed(why: AskFailure, detail: string): AskFailed {
    this.stats[why] += 1;
    return new AskFailed(why, detail);
  }

  #remember(id: string, host: string): void {
    this.#over.set(id, host);
    if (this.#over.size <= OVER_KEPT_MAX) return;
    for (const oldest of this.#over.keys()) {
      this.#over.delete(oldest);
      return;
    }
  }

  /** Whoever has connected now was not told of what was asked before. */
  #relinked(host: string): void {
    const link = this.#watch.link(host);
    for (const pending of this.#pending.values())
      if (pending.host === host && pending.link !== link)
        pending.end(new AskFailed('reconnected', 'its agent lost its connection meanwhile'));
  }
}

function lessOne(counts: Map<string, number>, of: string): void {
  const left = (counts.get(of) ?? 0) - 1;
  if (left > 0) counts.set(of, left);
  else counts.delete(of);
}

/** Throws AskFailed when there were too many parts in the running second. */
function rateOf(clock: Clock): (parts: number) => void {
  let sinceMs = clock.now();
  let inSecond = 0;
  return (parts) => {
    const now = clock.now();
    if (now - sinceMs >= 1_000) {
      sinceMs = now;
      inSecond = 0;
    }
    inSecond += parts;
    if (inSecond > PARTS_PER_SECOND_MAX)
      throw new AskFailed('too-much', `more than ${PARTS_PER_SECOND_MAX} parts came in a second`);
  };
}
