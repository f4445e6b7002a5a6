/**
 * What a row of checks says of a member: up or down, and why.
 *
 * Invariants: the first check decides alone, for until then nothing is known; afterwards only so
 * many in a row as the monitor says turn it, or give it another reason. Who goes down again and
 * again has to succeed longer each time until it counts as up, so that clients are not moved back
 * and forth.
 */

/** What one check has found. */
export interface Checked {
  readonly ok: boolean;
  /** In a few words; of one that succeeded: what came. */
  readonly reason: string;
}
/** What is known of a member by its checks. */
export interface Verdict {
  readonly status: 'unknown' | 'up' | 'down';
  /** Why it is so. */
  readonly reason: string;
  /** Checks in a row that speak against it. */
  readonly against: number;
  /** Checks in a row that found it as it is, and for this reason instead. */
  readonly instead?: { readonly reason: string; readonly times: number } | undefined;
  /** When it went down lately, the oldest first. */
  readonly downsMs: readonly number[];
}
export const UNKNOWN: Verdict = { status: 'unknown', reason: '', against: 0, downsMs: [] };

/** Turns to down within so long count as flapping. */
export const FLAP_WINDOW_MS = 600_000;
/** So much longer at most a member that flaps has to succeed. */
export const FLAP_FACTOR_MAX = 8;

/** How many checks have to succeed in a row until a member that is down is up. */
export function riseOf({ downsMs }: Verdict, rise: number, nowMs: number): number {
  const lately = downsMs.filter((atMs) => nowMs - atMs < FLAP_WINDOW_MS).length;
  return rise * Math.min(2 ** Math.max(0, lately - 1), FLAP_FACTOR_MAX);
}

/** Reasons that come and go with each check are not worth a word. */
function because(
  { reason: known, instead }: Verdict,
  reason: string,
  needed: number,
): Pick<Verdict, 'reason' | 'instead'> {
  if (reason === known) return { reason, instead: undefined };
  const times = instead?.reason === reason ? instead.times + 1 : 1;
  if (times >= needed) return { reason, instead: undefined };
  return { reason: known, instead: { reason, times } };
}

/** With one check more. */
export function advance(
  before: Verdict,
  { ok, reason }: Checked,
  { rise, fall }: { readonly rise: number; readonly fall: number },
  nowMs: number,
): Verdict {
  const is = ok ? 'up' : 'down';
  if (before.status === is)
    return { ...before, against: 0, ...because(before, reason, ok ? rise : fall) };
  const against = before.against + 1;
  const needed = ok ? riseOf(before, rise, nowMs) : fall;
  if (before.status !== 'unknown' && against < needed)
    return { ...before, against, instead: undefined };
  const downsMs = before.downsMs.filter((atMs) => nowMs - atMs < FLAP_WINDOW_MS);
  if (!ok && before.status === 'up') downsMs.push(nowMs);
  return { status: is, reason, against: 0, downsMs };
}
