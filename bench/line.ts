/**
 * One line of the bench's table: both sides of one comparison, and how it is judged. Pure.
 *
 * Invariant: what is judged is the median over the runs of what was measured side by side, and
 * the verdict says nothing that the printed figures do not.
 */
import { median, paired, spread, type Spread } from './statistics.ts';

/** What the design asks for: of the ratio to the peer, of what comes on top of it, or of us. */
export type Reach =
  | { readonly of: 'ratio'; readonly value: number }
  | { readonly of: 'added'; readonly value: number }
  | { readonly of: 'ours'; readonly value: number };

export interface Peer {
  readonly name: string;
  readonly values: readonly number[];
}

export interface Line {
  readonly what: string;
  readonly unit: string;
  /** Which side of the other is the good one. */
  readonly better: 'more' | 'less';
  /** A value a run. */
  readonly ours: readonly number[];
  readonly peer?: Peer;
  readonly reach?: Reach;
}

/**
 * `parity`: it misses what it should reach by less than what a busy machine moves two runs apart.
 */
export type Verdict = 'reached' | 'parity' | 'below';

const PARITY = 0.15;

/** Of each pair of runs; without a peer undefined. `added`: ours minus the peer's. */
export function comparison({ ours, peer, reach }: Line): number[] | undefined {
  if (peer === undefined) return undefined;
  const by =
    reach?.of === 'added' ? (a: number, b: number) => a - b : (a: number, b: number) => a / b;
  return paired(ours, peer.values, by);
}

/** The value that is held against the reach; undefined when none is asked for. */
export function judged(line: Line): number | undefined {
  if (line.reach === undefined) return undefined;
  const compared = line.reach.of === 'ours' ? line.ours : comparison(line);
  return compared === undefined ? undefined : median(compared);
}

/** Undefined: nothing is asked for. */
export function verdictOf(line: Line): Verdict | undefined {
  const value = judged(line);
  if (value === undefined || line.reach === undefined) return undefined;
  const { value: wanted } = line.reach;
  if (line.better === 'more') {
    if (value >= wanted) return 'reached';
    return value >= wanted * (1 - PARITY) ? 'parity' : 'below';
  }
  if (value <= wanted) return 'reached';
  return value <= wanted * (1 + PARITY) ? 'parity' : 'below';
}

export interface Summary {
  readonly median: number;
  readonly spread: Spread;
}

/** What a reader of the JSON needs not compute. */
export const summaryOf = (values: readonly number[]): Summary => ({
  median: median(values),
  spread: spread(values),
});
