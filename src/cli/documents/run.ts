/**
 * Carries batches out, one transaction after the other, and says after each what it did.
 *
 * Invariant: each transaction is there as a whole or not at all, and what was said to be done is
 * done. Whatever ends a run, the next one goes on from what there is.
 */
import { ApiError, Unavailable } from '#client/errors.ts';
import type { Client, Written } from '#client/types.ts';
import type { StoredObject } from '#virtual/kind.ts';
import { TRANSACTION_ROWS_MAX } from '#virtual/plan.ts';
import { RefusedError } from '../io.ts';
import { type Batch, type Ids, operationsOf, placedFault } from './batches.ts';
import { documentsRefused, faultsText } from './read.ts';
import type { Aim, Step } from './steps.ts';

/** SIGINT came between two transactions. */
export class Interrupted extends Error {
  override name = 'Interrupted';
}

export interface RunOptions {
  readonly client: Client;
  readonly signal?: AbortSignal | undefined;
  /** These are done, as far as they had something to do. */
  readonly done: (aims: readonly Aim[]) => void;
}

export interface RunResult {
  /** The answer to the last transaction; undefined when there was none. */
  readonly written: Written | undefined;
  /** The objects that were written, by the id that their aim has. */
  readonly objects: ReadonlyMap<string, StoredObject>;
  readonly ids: Ids;
  readonly requests: number;
}

const TOO_LARGE = 413;

/** Tells after how much the run ended: that part is written. */
function leftWith(error: unknown, batch: Batch, written: number): unknown {
  const rest = `${written} before it are written; mend it and apply again: it goes on from there`;
  if (error instanceof Unavailable)
    return written === 0
      ? error
      : new Unavailable(`${error.message} (${written} are written; apply again to go on)`, error);
  if (!(error instanceof ApiError) || error.status >= 500) return error;
  const faults = (error.problem.errors ?? []).map((fault) => placedFault(batch, fault));
  if (faults.length === 0) return error;
  if (written === 0) return documentsRefused(faults);
  return new RefusedError(`a part of the documents is refused${faultsText(faults)}`, rest);
}

class Run {
  readonly ids = new Map<string, string>();
  readonly objects = new Map<string, StoredObject>();
  written: Written | undefined;
  requests = 0;
  readonly #options: RunOptions;

  constructor(options: RunOptions) {
    this.#options = options;
  }

  /** A batch that proves too large goes in halves: what it takes along only the API knows. */
  async send(batch: Batch): Promise<void> {
    const { client } = this.#options;
    const [first] = batch;
    if (first === undefined) return;
    const isSwept = first.op === 'delete' && first.rows > TRANSACTION_ROWS_MAX;
    this.requests += 1;
    let written: Written;
    try {
      written = isSwept
        ? await client.remove(first.kind, first.id)
        : await client.transact(operationsOf(batch, this.ids));
    } catch (error) {
      const isTooLarge = error instanceof ApiError && error.status === TOO_LARGE;
      if (!isTooLarge || batch.length === 1) throw error;
      const half = batch.length >> 1;
      await this.send(batch.slice(0, half));
      return this.send(batch.slice(half));
    }
    this.written = written;
    for (const [i, step] of batch.entries()) {
      const object = written.objects[i];
      if (object === undefined) continue;
      if (step.op === 'create') this.ids.set(step.id, object.id);
      this.objects.set(step.aim.id, object);
    }
  }
}

/** Runs all batches. Throws Interrupted, RefusedError, Unavailable, ApiError. */
export async function runBatches(
  batches: readonly Batch[],
  options: RunOptions,
): Promise<RunResult> {
  const last = new Map<Aim, Step>();
  for (const step of batches.flat()) last.set(step.aim, step);
  const run = new Run(options);
  let written = 0;
  for (const batch of batches) {
    if (options.signal?.aborted === true) throw new Interrupted(`${written} are written`);
    try {
      await run.send(batch);
    } catch (error) {
      throw leftWith(error, batch, written);
    }
    const done = batch.filter((step) => last.get(step.aim) === step).map(({ aim }) => aim);
    written += done.length;
    options.done(done);
  }
  return run;
}
