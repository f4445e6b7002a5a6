/**
 * The few numbers that a row of the bench is judged by. Pure. Invariant: an empty list has no
 * median, and asking for one is an error, never a NaN that would be printed as a figure.
 */

/** The `share` (0 to 1) quantile, linear between the two nearest values. Throws when empty. */
export function quantile(values: ArrayLike<number>, share: number): number {
  if (values.length === 0) throw new RangeError('there is no quantile of no values');
  if (!(share >= 0 && share <= 1)) throw new RangeError('share must be from 0 to 1');
  const sorted = Float64Array.from(values).sort();
  const at = share * (sorted.length - 1);
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (high - low) * (at - Math.floor(at));
}

export const median = (values: ArrayLike<number>): number => quantile(values, 0.5);

export interface Spread {
  readonly least: number;
  readonly most: number;
}

/** With a handful of runs the extremes say more than a deviation. Throws when empty. */
export function spread(values: readonly number[]): Spread {
  if (values.length === 0) throw new RangeError('there is no spread of no values');
  return { least: Math.min(...values), most: Math.max(...values) };
}

/**
 * `by` of each run on one side with the run beside it on the other: what a busy machine does to
 * both at once falls out. Runs without a partner are left out.
 */
export const paired = (
  ours: readonly number[],
  peer: readonly number[],
  by: (ours: number, peer: number) => number,
): number[] => ours.slice(0, peer.length).map((value, i) => by(value, peer[i]!));
