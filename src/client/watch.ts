/**
 * A watch that lasts: reconnects, resumes at the last revision, and starts anew when told to.
 *
 * Invariant: whoever applies the events in order holds what the API shows at the revision of the
 * last; the world's failures are never thrown, only waited out (bounded, jittered). A refusal (4xx)
 * is thrown.
 */
import { ASKS_HEADER, type AskKind } from './asks.ts';
import { ApiError } from './errors.ts';
import { delayMs, pause, type Retry } from './retry.ts';
import { events } from './sse.ts';
import type { WatchEvent } from './types.ts';

export interface WatchOptions {
  readonly since?: number;
  readonly asks?: readonly AskKind[];
  readonly signal: AbortSignal;
}
/** Answers the open stream, or throws ApiError or Unavailable. */
export type OpenStream = (path: string, init: RequestInit) => Promise<Response>;

const TYPES: readonly string[] = ['snapshot', 'change', 'progress', 'learned', 'ask', 'ask-over'];

export async function* watch(
  open: OpenStream,
  retry: Retry,
  { since, asks = [], signal }: WatchOptions,
): AsyncGenerator<WatchEvent> {
  let at = since;
  const headers = {
    accept: 'text/event-stream',
    ...(asks.length > 0 && { [ASKS_HEADER]: asks.join(',') }),
  };
  for (let tries = 0; !signal.aborted; tries++) {
    if (tries > 0) await pause(retry, delayMs(retry, tries - 1), signal);
    if (signal.aborted) return;
    const idle = new IdleGuard(retry, signal);
    try {
      const path = at === undefined ? '/v1/watch' : `/v1/watch?since=${at}`;
      const init = { headers, signal: idle.signal };
      const { body } = await open(path, init);
      if (body === null) continue;
      const options = { onBytes: idle.touch, signal: idle.signal };
      for await (const { event, data } of events(body, options)) {
        if (event === 'reset') at = undefined;
        if (!TYPES.includes(event)) continue;
        const news = JSON.parse(data) as WatchEvent;
        yield news;
        at = revisionOf(news) ?? at;
        tries = 0;
        if (signal.aborted) return;
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof ApiError && error.status < 500) throw error;
    } finally {
      idle.stop();
    }
  }
}

function revisionOf(event: WatchEvent): number | undefined {
  if (event.type === 'change') return event.change.revision;
  return 'revision' in event ? event.revision : undefined;
}

/** Aborts a stream that has gone silent, or when its user is done. */
class IdleGuard {
  readonly #abort = new AbortController();
  readonly #retry: Retry;
  readonly #user: AbortSignal;
  #cancel: () => void = () => {};

  constructor(retry: Retry, user: AbortSignal) {
    this.#retry = retry;
    this.#user = user;
    user.addEventListener('abort', this.#end);
    this.touch();
  }
  get signal(): AbortSignal {
    return this.#abort.signal;
  }
  readonly touch = (): void => {
    this.#cancel();
    this.#cancel = this.#retry.after(this.#retry.idleMsMax, this.#end);
  };
  readonly #end = (): void => this.#abort.abort();
  stop(): void {
    this.#cancel();
    this.#user.removeEventListener('abort', this.#end);
    this.#abort.abort();
  }
}
