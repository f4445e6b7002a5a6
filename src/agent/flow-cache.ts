/**
 * The flows of this host: the table that knows why each is there, and the datapath that carries
 * frames by them, kept in step.
 *
 * Invariants: a flow goes stale in both in the same turn, and is deleted from both later, a part at
 * a time; frames that were decided by it before, and still wait in the batch, leave first.
 */
import type { Datapath } from '#datapath/datapath.ts';
import type { Actions, DpPeer, FlowRef } from '#flow/flow.ts';
import { entryOf } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import type { Added, FlowTable, NewFlow } from '#flow/table.ts';
import type { Tag } from '#virtual/tags.ts';
import { LIMITS } from './limits.ts';

/** A frame that a flow is to take along. */
export interface Carried {
  readonly key: Uint8Array;
  readonly frame: Uint8Array;
  readonly gsoSize: number;
}

export class FlowCache {
  readonly #datapath: Datapath;
  readonly #table: FlowTable;
  readonly #onRemoval: (refs: readonly FlowRef[]) => void;
  /** Stale flows, not deleted yet. */
  readonly #removals: FlowRef[] = [];
  /** By slot: the largest packet that a flow carries; 0: any. */
  readonly #mtus: Uint16Array;
  /** Flows given to the datapath since the start. */
  installed = 0;

  /** `onRemoval`: is told of flows before both forget them. */
  constructor(datapath: Datapath, table: FlowTable, onRemoval: (refs: readonly FlowRef[]) => void) {
    this.#datapath = datapath;
    this.#table = table;
    this.#onRemoval = onRemoval;
    this.#mtus = new Uint16Array(datapath.slots);
  }

  /** The flow that takes this frame along, if it fits: the kernel has not looked at that. */
  carrying({ key, frame, gsoSize }: Carried): FlowRef | undefined {
    const found = this.#table.lookup(key);
    if (found === undefined) return undefined;
    const mtu = this.#mtus[found.slot] ?? 0;
    return mtu === 0 || packetSize(frame, gsoSize) <= mtu ? found : undefined;
  }

  /**
   * Gives a flow to both; in the kernel with the next commit. Undefined: there is no room for it,
   * and the frame goes without one.
   */
  add(flow: NewFlow, actions: Actions): FlowRef | undefined {
    const added = this.#table.add(flow) ?? this.#addWhereRoom(flow);
    if (added?.fresh === true) {
      this.#datapath.install(added.ref, { key: added.key, fields: added.fields, actions });
      this.#mtus[added.ref.slot] = actions.mtu ?? 0;
      this.installed += 1;
    }
    return added?.ref;
  }

  /**
   * There is no room: the flow's entry has its quota, or the table is full. Room is made; in the
   * latter case for the next one.
   */
  #addWhereRoom(flow: NewFlow): Added | undefined {
    const evicted = this.#table.evictFor(flow.key, {
      most: LIMITS.evictedAtOnceMax,
      sinceMs: flow.now - LIMITS.evictIdleMs,
      lastUsedMs: (ref) => this.#datapath.stats(ref).lastUsedMs,
    });
    if (evicted.length === 0) return undefined;
    this.#forget(evicted);
    return this.#table.full ? undefined : this.#table.add(flow);
  }

  /** Flows with these tags are handed up again from the moment this returns. */
  invalidate(tags: readonly Tag[] | 'all'): void {
    if (tags === 'all' || tags.length > 0) this.#forget(this.#table.invalidate(tags));
  }
  /** The same for flows by name. */
  retire(refs: readonly FlowRef[]): void {
    this.#forget(this.#table.retire(refs));
  }
  /** The same for all flows of what these hosts send; then they are deleted. */
  forgetSources(peers: ReadonlySet<DpPeer>): void {
    const from = (ref: FlowRef): DpPeer | undefined => {
      const key = this.#table.match(ref)?.key;
      return key && entryOf(key).tunnel?.source;
    };
    this.retire(this.#table.refs().filter((ref) => peers.has(from(ref) ?? (0 as DpPeer))));
    this.deleteSome();
  }
  /** The same for what was idle or lived too long; see `FlowTable.expire`. */
  expire(now: number, lastUsedMs: (ref: FlowRef) => number): void {
    this.#forget(this.#table.expire(now, lastUsedMs, LIMITS.expirySlotsPerTick));
  }
  #forget(refs: readonly FlowRef[]): void {
    if (refs.length === 0) return;
    this.#datapath.commit();
    this.#datapath.invalidate(refs);
    for (const ref of refs) this.#removals.push(ref);
  }

  /** How many flows are stale and not deleted yet. */
  get stale(): number {
    return this.#removals.length;
  }
  /**
   * Deletes of what is stale as much as is done in one turn: it carries nothing, and first packets
   * do not wait for 100,000 of them to go.
   */
  deleteSome(): void {
    if (this.#removals.length === 0) return;
    const now = this.#removals.splice(0, LIMITS.removedAtOnceMax);
    this.#onRemoval(now);
    this.#datapath.remove(now);
    this.#table.remove(now);
  }
}
