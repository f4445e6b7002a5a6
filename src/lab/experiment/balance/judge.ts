/**
 * Whether a request had to fail. Pure.
 *
 * Invariants: one that a living member had taken must not fail, whatever happens to others; one
 * that nobody had taken may fail only while a member was dead and not everybody knew.
 */
import type { ProbeOutcome } from './prober.ts';

/** A member died, and was taken for dead everywhere. Milliseconds of Unix time. */
export interface Loss {
  readonly member: string;
  readonly atMs: number;
  readonly noticedMs: number;
}

/** Who was on a member that died hears of it so soon. */
const HEARD_MS = 2_000;

/**
 * `in-flight`: it was on its way when the member died. `unnoticed`: it was sent to the dead one
 * before anybody could know. `wrong`: neither.
 */
export type Verdict = 'answered' | 'in-flight' | 'unnoticed' | 'wrong';

/** `takenBy`: whose file names the request. */
export function judge(
  { startMs, endMs, error }: ProbeOutcome,
  losses: readonly Loss[],
  takenBy: string | undefined,
): Verdict {
  if (error === undefined) return 'answered';
  const loss = losses.find(
    ({ member, atMs, noticedMs }) =>
      (takenBy === undefined || takenBy === member) &&
      startMs <= noticedMs &&
      endMs >= atMs &&
      endMs <= noticedMs + HEARD_MS,
  );
  if (loss === undefined) return 'wrong';
  return startMs < loss.atMs ? 'in-flight' : 'unnoticed';
}

/** A member that was to get nothing new, from when that was in force until it was taken back. */
export interface Rest {
  readonly member: string;
  readonly fromMs: number;
  readonly toMs: number;
}

/** When a new connection went to a member that was to get none: of which rest that was. */
export const intruded = (
  { kind, startMs, member }: ProbeOutcome,
  rests: readonly Rest[],
): Rest | undefined =>
  kind === 'fresh'
    ? rests.find((rest) => rest.member === member && startMs > rest.fromMs && startMs < rest.toMs)
    : undefined;
