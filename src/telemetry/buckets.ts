/**
 * Durations counted by bucket, as a histogram tells them: a few additions for each, no memory.
 * Plain data, so that one thread may count and another tell.
 */
export interface CountedBuckets {
  /** One for each bucket, and one for what is beyond the last. */
  readonly counts: readonly number[];
  readonly sumSeconds: number;
}

export class Buckets {
  readonly #ends: readonly number[];
  readonly #counts: number[];
  #sumSeconds = 0;

  /** `ends`: upper ends in seconds, in order. */
  constructor(ends: readonly number[]) {
    this.#ends = ends;
    this.#counts = [...ends, Infinity].map(() => 0);
  }

  observe(seconds: number): void {
    let at = 0;
    while (at < this.#ends.length && seconds > (this.#ends[at] ?? Infinity)) at += 1;
    this.#counts[at]! += 1;
    this.#sumSeconds += seconds;
  }

  /** A copy. */
  counted(): CountedBuckets {
    return { counts: [...this.#counts], sumSeconds: this.#sumSeconds };
  }
}

export const countOf = ({ counts }: CountedBuckets): number =>
  counts.reduce((sum, n) => sum + n, 0);

/**
 * The duration that a part (0 to 1) of all do not exceed, in seconds, by the line between the ends
 * of its bucket; beyond the last bucket: its end. 0 when nothing was counted.
 */
export function quantile(ends: readonly number[], counted: CountedBuckets, part: number): number {
  const wanted = part * countOf(counted);
  let sum = 0;
  for (const [at, end] of ends.entries()) {
    const n = counted.counts[at] ?? 0;
    if (n > 0 && sum + n >= wanted) {
      const start = ends[at - 1] ?? 0;
      return start + (end - start) * ((wanted - sum) / n);
    }
    sum += n;
  }
  return sum === countOf(counted) ? 0 : (ends.at(-1) ?? 0);
}
