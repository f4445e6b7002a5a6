/**
 * `--follow` of what only agents know: looked at once a second until the run's signal, or until
 * whoever looks has seen enough.
 *
 * Invariant: the first look tells what is wrong; later ones wait for the API to come back.
 */
import { Unavailable } from '#client/errors.ts';
import { styled } from './format.ts';
import type { CliIo } from './io.ts';
import { pause } from './watching.ts';

/** Between two looks. */
export const FOLLOW_MS = 1_000;

/** `look` answers whether to go on. */
export async function followLooks(io: CliIo, look: () => Promise<boolean>): Promise<void> {
  for (let isFirst = true; io.signal?.aborted !== true; isFirst = false) {
    try {
      if (!(await look())) return;
    } catch (error) {
      if (isFirst || !(error instanceof Unavailable)) throw error;
      io.err(`${styled(io, 'yellow', 'note:')} ${error.message}; trying again\n`);
    }
    await pause(io, FOLLOW_MS, io.signal);
  }
}
