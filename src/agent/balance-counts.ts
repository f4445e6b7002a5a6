/**
 * What this host counts of balanced packets: packets and bytes of each member by VIP and way,
 * connections that began here, and totals of both.
 *
 * Invariants: a packet counts once for each member and way, however many steps of its walk say so;
 * totals never fall: what a live flow has carried is added to them a part at a time, and the rest
 * when it goes.
 */
import type { Datapath } from '#datapath/datapath.ts';
import type { FlowRef } from '#flow/flow.ts';
import type { FlowTable } from '#flow/table.ts';
import type { PoolMemberId, VipId } from '#virtual/ids.ts';
import type { Balanced, Step } from '#virtual/outcome.ts';
import { LIMITS } from './limits.ts';
import { type Hits, StepCounts } from './packet-counts.ts';

export type PairKey = `${VipId} ${PoolMemberId}`;
export type BalanceKey = `${PairKey} ${Balanced['way']}`;
export const pairKey = (vip: VipId, member: PoolMemberId): PairKey => `${vip} ${member}`;
export const pairOf = (key: BalanceKey | PairKey) => {
  const [vip, member] = key.split(' ');
  return { vip: vip as VipId, member: member as PoolMemberId };
};

/** Each once. */
export function balanceKeys(steps: readonly Step[]): Iterable<BalanceKey> {
  let keys: Set<BalanceKey> | undefined;
  for (const { balanced } of steps)
    if (balanced !== undefined)
      (keys ??= new Set()).add(`${pairKey(balanced.vip, balanced.member)} ${balanced.way}`);
  return keys ?? [];
}

/** Of all VIPs, since the agent began. */
export interface BalanceTotals {
  readonly opened: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

export interface BalanceCountsOptions {
  readonly table: Pick<FlowTable, 'cause' | 'refsIn' | 'slots'>;
  readonly datapath: Pick<Datapath, 'stats'>;
  readonly isPair: (vip: VipId, member: PoolMemberId) => boolean;
  /** Whether there is any VIP: without, flows are not looked at for them. */
  readonly hasVips: () => boolean;
}

/** What is known of the flow in a slot. */
const WAY = { in: 1, out: 2, looked: 4 } as const;

export class BalanceCounts {
  readonly #options: BalanceCountsOptions;
  /** Beside live flows. */
  readonly carried: StepCounts<BalanceKey>;
  readonly #opened = new Map<PairKey, number>();
  readonly #totals = { opened: 0, bytesIn: 0, bytesOut: 0 };
  /** By slot: the ways of its flow, and the bytes of it that totals have. */
  readonly #ways: Uint8Array;
  readonly #had: Float64Array;
  #cursor = 0;

  constructor(options: BalanceCountsOptions) {
    this.#options = options;
    this.carried = new StepCounts(balanceKeys, (key) => this.#isKnown(key));
    this.#ways = new Uint8Array(options.table.slots);
    this.#had = new Float64Array(options.table.slots);
  }
  #isKnown(key: BalanceKey | PairKey): boolean {
    const { vip, member } = pairOf(key);
    return this.#options.isPair(vip, member);
  }

  /** A first packet has opened a connection. */
  began(steps: readonly Step[]): void {
    const pairs = new Set<PairKey>();
    for (const { balanced } of steps)
      if (balanced?.way === 'in') pairs.add(pairKey(balanced.vip, balanced.member));
    for (const pair of pairs)
      if (this.#isKnown(pair)) this.#opened.set(pair, (this.#opened.get(pair) ?? 0) + 1);
    if (pairs.size > 0) this.#totals.opened += 1;
  }
  opened(vip: VipId, member: PoolMemberId): number {
    return this.#opened.get(pairKey(vip, member)) ?? 0;
  }
  /** Of whatever there is a count for, beside live flows; some more than once. */
  *keys(): Generator<BalanceKey | PairKey> {
    yield* this.carried.keys();
    yield* this.#opened.keys();
  }
  totals(): BalanceTotals {
    return { ...this.#totals };
  }

  /** A packet that no flow carried, or not yet. */
  one(steps: readonly Step[], bytes: number): void {
    const ways = waysOf(steps);
    if (ways === 0) return;
    this.carried.add(steps, { packets: 1, bytes });
    this.#add(ways, bytes);
  }
  /** A flow that goes, with all that it has carried. */
  removed({ slot }: FlowRef, steps: readonly Step[], hits: Readonly<Hits>): void {
    const ways = waysOf(steps);
    if (ways === 0) return;
    this.carried.add(steps, hits);
    this.#add(ways, Math.max(0, hits.bytes - this.#had[slot]!));
  }
  /** Its slot may be another flow's. */
  leave({ slot }: FlowRef): void {
    this.#ways[slot] = 0;
    this.#had[slot] = 0;
  }
  #add(ways: number, bytes: number): void {
    if ((ways & WAY.in) !== 0) this.#totals.bytesIn += bytes;
    if ((ways & WAY.out) !== 0) this.#totals.bytesOut += bytes;
  }

  /** What the next live flows in turn have carried. */
  tick(): void {
    const { table, hasVips } = this.#options;
    if (!hasVips()) return;
    for (const ref of table.refsIn(this.#cursor, LIMITS.balanceSlotsPerTick)) this.#look(ref);
    this.#cursor += LIMITS.balanceSlotsPerTick;
    if (this.#cursor >= table.slots) this.#cursor = 0;
  }
  #look(ref: FlowRef): void {
    const { table, datapath } = this.#options;
    const { slot } = ref;
    if (this.#ways[slot] === 0) {
      const steps = table.cause(ref)?.steps;
      // An adopted flow, of which nobody knows yet why it is there.
      if (steps === undefined) return;
      this.#ways[slot] = WAY.looked | waysOf(steps);
    }
    if (this.#ways[slot] === WAY.looked) return;
    const { bytes } = datapath.stats(ref);
    this.#add(this.#ways[slot]!, Math.max(0, bytes - this.#had[slot]!));
    this.#had[slot] = Math.max(bytes, this.#had[slot]!);
  }

  /** VIPs or members that were deleted, or may have been. */
  forget(): void {
    this.carried.forget();
    for (const key of this.#opened.keys()) if (!this.#isKnown(key)) this.#opened.delete(key);
  }
}

function waysOf(steps: readonly Step[]): number {
  let ways = 0;
  for (const { balanced } of steps) if (balanced !== undefined) ways |= WAY[balanced.way];
  return ways;
}
