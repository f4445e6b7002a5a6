/**
 * How long changes take to be in force: from the moment this node has one until every live host has
 * it in its kernel; and how old the oldest change is that a host lacks.
 *
 * Invariants: a change is measured once, when the last live host reports it; hosts that are not
 * alive hold up nothing. The times of the last changes are kept (bounded); what goes unmeasured is
 * counted.
 */
import type { Latencies } from '#client/types.ts';
import type { Clock } from '#store/clock.ts';
import type { Replica } from './replica.ts';

/** Changes whose time is kept. Of older ones a host may lack, only this much age is known. */
export const CHANGES_TIMED_MAX = 4_096;
/** Measurements that the quantiles are of. */
export const LATENCIES_KEPT_MAX = 1_000;

interface Timed {
  readonly revision: number;
  readonly atMs: number;
}

export class Enforcement {
  readonly stats = { unmeasured: 0 };
  readonly #clock: Clock;
  readonly #took: (ms: number) => void;
  #changes: Timed[] = [];
  /** Changes up to here were measured, or will not be. */
  #measured = 0;
  #kept: number[] = [];

  /** `took`: told of each measurement. */
  constructor(replica: Replica, clock: Clock, took: (ms: number) => void) {
    this.#clock = clock;
    this.#took = took;
    replica.listen({
      changed: ({ revision, rows }) => {
        if (rows.length > 0) this.#add(revision);
      },
      replaced: () => {
        this.#changes = [];
        this.#measured = replica.revision;
      },
    });
  }

  /** All live hosts enforce everything up to `revision`; undefined: there is no live host. */
  enforced(revision: number | undefined): void {
    if (revision === undefined) {
      this.#measured = this.#changes.at(-1)?.revision ?? this.#measured;
      return;
    }
    const nowMs = this.#clock.now();
    for (const change of this.#changes.slice(this.#after(this.#measured))) {
      if (change.revision > revision) return;
      const ms = nowMs - change.atMs;
      this.#measured = change.revision;
      this.#took(ms);
      this.#kept.push(ms);
      if (this.#kept.length > LATENCIES_KEPT_MAX) this.#kept.shift();
    }
  }
  /** Whether a change waits for hosts: else there is nothing to measure. */
  get waiting(): boolean {
    return (this.#changes.at(-1)?.revision ?? 0) > this.#measured;
  }

  /** Age of the first change after `revision`; undefined: there is none. */
  behindMs(revision: number): number | undefined {
    const first = this.#changes[this.#after(revision)];
    return first === undefined ? undefined : Math.max(0, this.#clock.now() - first.atMs);
  }

  /** Of the last changes; undefined: none was measured. */
  latencies(): Latencies | undefined {
    if (this.#kept.length === 0) return undefined;
    const sorted = this.#kept.toSorted((a, b) => a - b);
    const at = (part: number): number => sorted[Math.ceil(part * sorted.length) - 1] ?? 0;
    return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99) };
  }

  #add(revision: number): void {
    this.#changes.push({ revision, atMs: this.#clock.now() });
    // Cut in one piece now and then.
    if (this.#changes.length < CHANGES_TIMED_MAX * 1.25) return;
    const gone = this.#changes.splice(0, this.#changes.length - CHANGES_TIMED_MAX);
    const unmeasured = gone.filter((change) => change.revision > this.#measured);
    this.stats.unmeasured += unmeasured.length;
    this.#measured = Math.max(this.#measured, gone.at(-1)?.revision ?? 0);
  }

  /** Where the changes after `revision` begin. */
  #after(revision: number): number {
    let [low, high] = [0, this.#changes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#changes[middle]?.revision ?? 0) > revision) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
