/**
 * How many packets this host counts for what steps of their walks name: those of live flows, those
 * of flows that are gone, and those that no flow carried.
 *
 * Invariants: a packet counts by whatever way it went; there is a count for nothing that is not
 * there. It begins with the agent; flows that were there before count whole.
 */
import type { Datapath, FlowStats } from '#datapath/datapath.ts';
import type { FlowRef } from '#flow/flow.ts';
import type { FlowTable } from '#flow/table.ts';
import type { RuleId } from '#virtual/ids.ts';
import type { Step } from '#virtual/outcome.ts';
import type { BalanceCounts } from './balance-counts.ts';

export interface Hits {
  packets: number;
  bytes: number;
}
export type LiveHits = Hits & { flows: number };
export type KeysOf<Key> = (steps: readonly Step[]) => Iterable<Key>;

export const NO_HITS: Readonly<LiveHits> = Object.freeze({ packets: 0, bytes: 0, flows: 0 });

/** What is not with live flows, by key. */
export class StepCounts<Key extends string> {
  readonly #keysOf: KeysOf<Key>;
  readonly #isKnown: (key: Key) => boolean;
  readonly #gone = new Map<Key, Hits>();

  /** `isKnown`: flows of what was deleted are removed after it: they bring it no count. */
  constructor(keysOf: KeysOf<Key>, isKnown: (key: Key) => boolean) {
    this.#keysOf = keysOf;
    this.#isKnown = isKnown;
  }

  add(steps: readonly Step[], { packets, bytes }: Readonly<Hits>): void {
    for (const key of this.#keysOf(steps)) {
      if (!this.#isKnown(key)) continue;
      const hits = this.#gone.getOrInsertComputed(key, () => ({ packets: 0, bytes: 0 }));
      hits.packets += packets;
      hits.bytes += bytes;
    }
  }
  beside(key: Key): Readonly<Hits> {
    return this.#gone.get(key) ?? NO_HITS;
  }
  keys(): Iterable<Key> {
    return this.#gone.keys();
  }
  /** What was deleted, or may have been. */
  forget(): void {
    for (const key of this.#gone.keys()) if (!this.#isKnown(key)) this.#gone.delete(key);
  }
}

/** Of live flows, as they are come by: by key. */
export function addLive<Key>(
  counts: Map<Key, LiveHits>,
  keys: Iterable<Key>,
  { packets, bytes }: Pick<FlowStats, 'packets' | 'bytes'>,
): void {
  for (const key of keys) {
    const hits = counts.getOrInsertComputed(key, () => ({ ...NO_HITS }));
    hits.packets += packets;
    hits.bytes += bytes;
    hits.flows += 1;
  }
}

/** Once for every step that a rule took, so once for each copy that a filter was asked about. */
export function* ruleKeys(steps: readonly Step[]): Generator<RuleId> {
  for (const { rule } of steps) if (rule !== undefined) yield rule;
}

export interface PacketCountsOptions {
  readonly table: Pick<FlowTable, 'cause'>;
  readonly datapath: Pick<Datapath, 'stats'>;
  readonly isRule: (id: RuleId) => boolean;
  readonly balanced: BalanceCounts;
}

const isCounted = ({ rule, balanced }: Step): boolean =>
  rule !== undefined || balanced !== undefined;

/** All that is counted so. */
export class PacketCounts {
  readonly rules: StepCounts<RuleId>;
  readonly balanced: BalanceCounts;
  readonly #options: PacketCountsOptions;

  constructor(options: PacketCountsOptions) {
    this.#options = options;
    this.rules = new StepCounts(ruleKeys, options.isRule);
    this.balanced = options.balanced;
  }

  /** A packet that no flow carried, or not yet. */
  one(steps: readonly Step[], bytes: number): void {
    const hits = { packets: 1, bytes };
    this.rules.add(steps, hits);
    this.balanced.one(steps, bytes);
  }

  /** Flows that are about to be removed from table and datapath. */
  removed(refs: readonly FlowRef[]): void {
    for (const ref of refs) {
      const steps = this.#options.table.cause(ref)?.steps;
      if (steps?.some(isCounted) === true) {
        const { packets, bytes } = this.#options.datapath.stats(ref);
        if (packets > 0) this.rules.add(steps, { packets, bytes });
        if (packets > 0) this.balanced.removed(ref, steps, { packets, bytes });
      }
      this.balanced.leave(ref);
    }
  }
}
