/**
 * Words on learned MACs and neighbours that wait to be published: the newest on each, bounded. What
 * does not fit is counted and left to the renewal of the edge's table.
 *
 * Invariant: a word is published, replaced by a newer one, or refused by the API; a refused word is
 * dropped (the port is not ours any more), and never holds up the others.
 */
import type { ApiError } from '#client/errors.ts';
import { isNeighbour, type Learned } from '#client/types.ts';
import { LIMITS } from './limits.ts';

/** MACs and neighbours in one request to the API. */
export const LEARN_BATCH_MAX = 1_000;

export interface LearnedBatch {
  readonly put: readonly Learned[];
  readonly forget: readonly Learned[];
}

const keyOf = (of: Learned): string =>
  isNeighbour(of) ? `${of.of}/${of.ip}` : `${of.bridge}/${of.vlan}/${of.mac}`;

export class LearnedQueue {
  readonly #waiting = new Map<string, { readonly entry: Learned; readonly forget: boolean }>();
  #overflowed = 0;

  get size(): number {
    return this.#waiting.size;
  }
  /** Words that found no place. */
  get overflowed(): number {
    return this.#overflowed;
  }

  add({ put, forget }: LearnedBatch): void {
    for (const entry of put) this.#set(entry, false);
    for (const entry of forget) this.#set(entry, true);
  }

  /** Puts back what could not be published, unless there is a newer word meanwhile. */
  restore({ put, forget }: LearnedBatch): void {
    for (const entry of put) if (!this.#waiting.has(keyOf(entry))) this.#set(entry, false);
    for (const entry of forget) if (!this.#waiting.has(keyOf(entry))) this.#set(entry, true);
  }

  take(): LearnedBatch {
    const put: Learned[] = [];
    const forget: Learned[] = [];
    for (const [key, word] of this.#waiting) {
      if (put.length + forget.length >= LEARN_BATCH_MAX) break;
      (word.forget ? forget : put).push(word.entry);
      this.#waiting.delete(key);
    }
    return { put, forget };
  }

  #set(entry: Learned, forget: boolean): void {
    const key = keyOf(entry);
    if (this.#waiting.size < LIMITS.learnedQueueMax || this.#waiting.has(key))
      this.#waiting.set(key, { entry, forget });
    else this.#overflowed += 1;
  }
}

/**
 * What is left of a batch that the API refused: without the rows it names (`put.3.port`); nothing
 * when it names none, because the same batch would be refused for ever.
 */
export function withoutRefused(batch: LearnedBatch, error: ApiError): LearnedBatch {
  const paths = (error.problem.errors ?? []).map(({ path }) => path.split('.'));
  const named = (list: string): Set<number> =>
    new Set(paths.filter(([first]) => first === list).map(([, index]) => Number(index)));
  const [puts, forgets] = [named('put'), named('forget')];
  if (puts.size + forgets.size === 0) return { put: [], forget: [] };
  return {
    put: batch.put.filter((_, i) => !puts.has(i)),
    forget: batch.forget.filter((_, i) => !forgets.has(i)),
  };
}
