/**
 * What this agent is asked by the API: validated, answered here or passed on to the packet worker,
 * and the parts of the answer sent back in their order.
 *
 * Invariants: every ask is answered once with its end, unless the API said that it is over; at most
 * LIMITS.requestsMax are answered at a time, and of each at most LIMITS.answerBytesWaitingMax wait
 * to be sent; an ask that this version does not understand is answered with why. A new snapshot
 * means a new connection: the API waits for nothing that was asked on the one before.
 */
import { release } from 'node:os';
import {
  ANSWER_BYTES_MAX,
  type Answer,
  type Ask,
  type AskAnswers,
  type AskEvent,
  type AskKind,
  type AskOf,
  ASKS,
  PARTS_PER_ANSWER_MAX,
  type PartOf,
} from '#client/asks.ts';
import { ApiError } from '#client/errors.ts';
import type { WatchEvent } from '#client/types.ts';
import type { Log } from './control.ts';
import { EDGE_ANSWERS } from './edge-asks.ts';
import { HEALTH_ANSWERS } from './health-answers.ts';
import { LIMITS } from './limits.ts';
import type { AgentMachine } from './machine.ts';
import type { FromEdge, ToEdge } from './messages.ts';

/** What answers of the main thread are made of. */
export interface MainContext {
  readonly version: string;
  /** The revision that is in force. */
  readonly revision: () => number;
  /** Milliseconds on any clock; 0 when the agent started. */
  readonly upMs: () => number;
  readonly log: Log;
  /** What it runs on; absent where there is none, in one process with others. */
  readonly machine?: AgentMachine | undefined;
}
/** `signal`: nobody waits any more. What it throws is told to whoever asked. */
export type MainAnswer<K extends AskKind> = (
  ask: AskOf<K>,
  context: MainContext,
  signal: AbortSignal,
) => AsyncIterable<readonly PartOf<K>[]>;

type AnyAnswer = (
  ask: Ask,
  context: MainContext,
  signal: AbortSignal,
) => AsyncIterable<readonly unknown[]>;

type EdgeKind = keyof typeof EDGE_ANSWERS;
/** Kinds that the main thread answers; all others are answered by the packet worker. */
export const MAIN_ANSWERS: { readonly [K in Exclude<AskKind, EdgeKind>]: MainAnswer<K> } = {
  async *about(_ask, { version, revision, upMs }) {
    yield [{ version, kernel: release(), revision: revision(), upMs: Math.round(upMs()) }];
  },
  ...HEALTH_ANSWERS,
};
/** What this agent says on its stream that it answers. */
export const ASKS_ANSWERED = [
  ...Object.keys(MAIN_ANSWERS),
  ...Object.keys(EDGE_ANSWERS),
] as AskKind[];

const isMain = (kind: AskKind): kind is keyof typeof MAIN_ANSWERS => kind in MAIN_ANSWERS;

/** An ask that is being answered. */
interface Running {
  readonly abort: AbortController;
  readonly atEdge: boolean;
  /** Parts as JSON, and what waits to be sent is in bytes. */
  readonly waiting: string[];
  waitingBytes: number;
  /** Set when nothing more will come. */
  end: { readonly error: string | undefined } | undefined;
  sending: boolean;
}

export interface AskDeskOptions {
  readonly client: AskAnswers;
  readonly edge: { send(message: ToEdge): void };
  readonly context: MainContext;
}

type AnswerMessage = Extract<FromEdge, { type: 'answer' }>;

export class AskDesk {
  readonly #options: AskDeskOptions;
  readonly #running = new Map<string, Running>();

  constructor(options: AskDeskOptions) {
    this.#options = options;
  }

  /** Takes an event of the stream; true when it was meant for nobody else. */
  take(event: WatchEvent): boolean {
    if (event.type === 'snapshot') this.close();
    if (event.type === 'ask-over') this.#over(event.id);
    if (event.type === 'ask') this.#start(event);
    return event.type === 'ask' || event.type === 'ask-over';
  }

  /** Takes what the packet worker answers. */
  answered({ id, parts, done, error }: AnswerMessage): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#add(id, running, parts);
    if (done) this.#end(id, running, error);
  }

  /** Stops all that runs; nothing more is sent. */
  close(): void {
    for (const id of this.#running.keys()) this.#over(id);
  }

  #start({ id, ask: given, timeoutMs }: Extract<AskEvent, { type: 'ask' }>): void {
    if (this.#running.size >= LIMITS.requestsMax)
      return void this.#send(id, { parts: [], done: true, error: 'is busy with other requests' });
    const abort = new AbortController();
    const kind = given.kind as AskKind;
    const atEdge = kind in EDGE_ANSWERS;
    const running: Running = {
      abort,
      atEdge,
      waiting: [],
      waitingBytes: 0,
      end: undefined,
      sending: false,
    };
    this.#running.set(id, running);
    const row = Object.hasOwn(ASKS, kind) ? ASKS[kind] : undefined;
    const parsed = row?.ask.safeParse(given);
    if (parsed?.success !== true) {
      const why = parsed?.error.issues[0]?.message ?? 'this version does not know it';
      return this.#end(id, running, `cannot answer "${given.kind}": ${why}`);
    }
    const timer = setTimeout(() => this.#over(id), timeoutMs);
    timer.unref();
    abort.signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
    if (atEdge) this.#options.edge.send({ type: 'ask', id, ask: parsed.data });
    else if (isMain(kind)) void this.#answer(id, running, kind, parsed.data as AskOf<typeof kind>);
  }

  /** `ask` is of this kind. */
  async #answer(
    id: string,
    running: Running,
    kind: keyof typeof MAIN_ANSWERS,
    ask: Ask,
  ): Promise<void> {
    const answer = MAIN_ANSWERS[kind] as AnyAnswer;
    const { signal } = running.abort;
    const { context } = this.#options;
    try {
      for await (const parts of answer(ask, context, signal)) {
        if (signal.aborted) return;
        this.#add(id, running, parts);
      }
      this.#end(id, running, undefined);
    } catch (error) {
      if (signal.aborted) return;
      context.log.warn({ ask: kind, error: String(error) }, 'could not answer what was asked');
      this.#end(id, running, error instanceof Error ? error.message : String(error));
    }
  }

  #over(id: string): void {
    const running = this.#running.get(id);
    if (running === undefined) return;
    this.#running.delete(id);
    running.abort.abort();
    if (running.atEdge && running.end === undefined)
      this.#options.edge.send({ type: 'ask-over', id });
  }

  #add(id: string, running: Running, parts: readonly unknown[]): void {
    if (running.end !== undefined) return;
    for (const part of parts) {
      const text = JSON.stringify(part);
      running.waiting.push(text);
      running.waitingBytes += text.length;
    }
    if (running.waitingBytes > LIMITS.answerBytesWaitingMax) {
      if (running.atEdge) this.#options.edge.send({ type: 'ask-over', id });
      this.#end(id, running, 'the API does not take the answer as fast as it comes');
    } else void this.#flush(id, running);
  }
  #end(id: string, running: Running, error: string | undefined): void {
    running.end ??= { error };
    void this.#flush(id, running);
  }

  /** Sends what waits, one request at a time, until nothing does. */
  async #flush(id: string, running: Running): Promise<void> {
    if (running.sending) return;
    running.sending = true;
    while (this.#running.get(id) === running) {
      const parts = takeSome(running);
      const last = running.end !== undefined && running.waiting.length === 0;
      if (parts.length === 0 && !last) break;
      const error = last ? running.end?.error?.slice(0, ERROR_MAX) : undefined;
      const sent = await this.#send(id, {
        parts,
        done: last,
        ...(error !== undefined && { error }),
      });
      if (last) this.#running.delete(id);
      else if (!sent) this.#over(id);
    }
    running.sending = false;
    if (this.#running.get(id) !== running) running.abort.abort();
  }

  /** False: the API does not want more of it, or cannot be reached. */
  async #send(id: string, answer: Answer): Promise<boolean> {
    try {
      await this.#options.client.answerAsk(id, answer);
      return true;
    } catch (error) {
      const over = error instanceof ApiError && [404, 410].includes(error.problem.status);
      if (!over)
        this.#options.context.log.warn(
          { ask: id, error: String(error) },
          'an answer was not taken',
        );
      return false;
    }
  }
}
const ERROR_MAX = 1_000;

/** The first parts that fit into one request; what is too large by itself goes alone. */
function takeSome(running: Running): unknown[] {
  let bytes = 0;
  let n = 0;
  for (; n < running.waiting.length && n < PARTS_PER_ANSWER_MAX; n++) {
    bytes += running.waiting[n]?.length ?? 0;
    if (n > 0 && bytes > ANSWER_BYTES_MAX) break;
  }
  const texts = running.waiting.splice(0, n);
  for (const text of texts) running.waitingBytes -= text.length;
  return texts.map((text) => JSON.parse(text) as unknown);
}
