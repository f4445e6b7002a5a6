/**
 * How many packets each rule has matched on this host: those of live flows, whose walks it is a
 * step of, those of flows that are gone, and those that no flow carried.
 *
 * Invariants: a packet counts once for every step that a rule took for it (so once for each copy
 * that a filter was asked about), by whatever way it went; there is a count for no more rules than
 * there are. It begins with the agent; flows that were there before count whole.
 */
import type { Datapath, FlowStats } from '#datapath/datapath.ts';
import type { FlowRef } from '#flow/flow.ts';
import type { FlowTable } from '#flow/table.ts';
import type { RuleId } from '#virtual/ids.ts';
import type { Step } from '#virtual/outcome.ts';

export interface Hits {
  packets: number;
  bytes: number;
}

export interface RuleCountsOptions {
  readonly table: Pick<FlowTable, 'cause'>;
  readonly datapath: Pick<Datapath, 'stats'>;
  /** Flows of a rule that was deleted are removed after it: they bring it no count. */
  readonly isRule: (id: RuleId) => boolean;
}

const NO_HITS: Hits = Object.freeze({ packets: 0, bytes: 0 });

export class RuleCounts {
  readonly #options: RuleCountsOptions;
  readonly #gone = new Map<RuleId, Hits>();

  constructor(options: RuleCountsOptions) {
    this.#options = options;
  }

  /** A packet that no flow carried, or not yet. */
  one(steps: readonly Step[], bytes: number): void {
    for (const { rule } of steps) if (rule !== undefined) this.#add(rule, 1, bytes);
  }

  /** Flows that are about to be removed from table and datapath. */
  removed(refs: readonly FlowRef[]): void {
    for (const ref of refs) {
      const steps = this.#options.table.cause(ref)?.steps;
      if (steps?.some(({ rule }) => rule !== undefined) !== true) continue;
      const { packets, bytes } = this.#options.datapath.stats(ref);
      if (packets === 0) continue;
      for (const { rule } of steps) if (rule !== undefined) this.#add(rule, packets, bytes);
    }
  }

  /** What is not with live flows. */
  beside(rule: RuleId): Readonly<Hits> {
    return this.#gone.get(rule) ?? NO_HITS;
  }
  /** Rules that were deleted, or may have been. */
  forget(): void {
    for (const rule of this.#gone.keys()) if (!this.#options.isRule(rule)) this.#gone.delete(rule);
  }

  #add(rule: RuleId, packets: number, bytes: number): void {
    if (!this.#options.isRule(rule)) return;
    const hits = this.#gone.getOrInsertComputed(rule, () => ({ packets: 0, bytes: 0 }));
    hits.packets += packets;
    hits.bytes += bytes;
  }
}

/** Of live flows, as they are come by: by rule. */
export function addLive(
  counts: Map<RuleId, Hits & { flows: number }>,
  steps: readonly Step[],
  { packets, bytes }: Pick<FlowStats, 'packets' | 'bytes'>,
): void {
  for (const { rule } of steps) {
    if (rule === undefined) continue;
    const hits = counts.getOrInsertComputed(rule, () => ({ packets: 0, bytes: 0, flows: 0 }));
    hits.packets += packets;
    hits.bytes += bytes;
    hits.flows += 1;
  }
}
