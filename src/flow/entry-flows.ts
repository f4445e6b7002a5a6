/**
 * The flows of the table by their entry: how many each has, with how many tags and masks, and in
 * which order they came. What is shared out among entries is counted here.
 *
 * An entry is where frames come from: a port; of the tunnel, a sending host, whatever the network.
 * Invariant: the flows in use of an entry form one list, oldest first; a mask is an entry's until
 * the last of its flows with it is removed, stale ones included.
 */
import type { FieldSet } from '#virtual/match.ts';
import { NONE } from './column.ts';

const NO_MASKS: ReadonlyMap<FieldSet, number> = new Map();

/** What one entry has. */
interface Own {
  readonly id: number;
  flows: number;
  links: number;
  first: number;
  last: number;
  /** Flows, stale ones included, by their fields. */
  readonly masks: Map<FieldSet, number>;
}

export class EntryFlows {
  readonly #own = new Map<number, Own>();
  /** By slot, until it is removed. */
  readonly #ownAt: (Own | undefined)[];
  readonly #next: Int32Array;
  readonly #previous: Int32Array;
  readonly #links: Uint32Array;
  #inUse = 0;

  constructor(slots: number) {
    this.#ownAt = Array.from({ length: slots });
    this.#next = new Int32Array(slots);
    this.#previous = new Int32Array(slots);
    this.#links = new Uint32Array(slots);
  }

  /** How many entries have flows in use. */
  get size(): number {
    return this.#inUse;
  }
  /** Flows in use, and the tags that they hold. */
  of(id: number): { readonly flows: number; readonly links: number } {
    return this.#own.get(id) ?? { flows: 0, links: 0 };
  }
  /** By entry; those with stale flows only are not among them. */
  *all(): Generator<{ readonly id: number; readonly flows: number; readonly masks: number }> {
    for (const { id, flows, masks } of this.#own.values())
      if (flows > 0) yield { id, flows, masks: masks.size };
  }
  /** How many flows, stale ones included, have which set of fields. */
  masks(id: number): ReadonlyMap<FieldSet, number> {
    return this.#own.get(id)?.masks ?? NO_MASKS;
  }

  /** A flow is in use: the youngest of its entry, with so many tags. */
  enter(slot: number, id: number, fields: FieldSet): void {
    const own = this.#own.getOrInsertComputed(id, () => ({
      ...{ id, flows: 0, links: 0, first: NONE, last: NONE },
      masks: new Map<FieldSet, number>(),
    }));
    own.masks.set(fields, (own.masks.get(fields) ?? 0) + 1);
    this.#ownAt[slot] = own;
    if (own.flows++ === 0) this.#inUse++;
    this.#append(own, slot);
  }
  /** The flow holds so many tags. */
  hold(slot: number, links: number): void {
    this.#ownAt[slot]!.links += links - this.#links[slot]!;
    this.#links[slot] = links;
  }
  /** The flow is in use no more. */
  leave(slot: number): void {
    const own = this.#ownAt[slot]!;
    this.hold(slot, 0);
    this.#unlink(own, slot);
    if (--own.flows === 0) this.#inUse--;
  }
  /** The datapath has removed a flow that left. */
  remove(slot: number, fields: FieldSet): void {
    const own = this.#ownAt[slot]!;
    this.#ownAt[slot] = undefined;
    const users = own.masks.get(fields)! - 1;
    if (users > 0) own.masks.set(fields, users);
    else own.masks.delete(fields);
    if (own.masks.size === 0) this.#own.delete(own.id);
  }

  /** The entry that has the most flows; undefined when none has any. */
  largest(): number | undefined {
    let [crowd, most] = [undefined as number | undefined, 0];
    for (const { id, flows } of this.#own.values()) if (flows > most) [crowd, most] = [id, flows];
    return crowd;
  }

  /**
   * Flows of an entry to do without, `wanted` at most, the oldest first: of twice as many those
   * that are not `busy`, which are young again; the oldest of them when all are.
   */
  idlest(id: number, wanted: number, busy: (slot: number) => boolean): number[] {
    const own = this.#own.get(id);
    const found: number[] = [];
    if (own === undefined || own.flows === 0) return found;
    const oldest = own.first;
    let slot = oldest;
    for (let looks = Math.min(2 * wanted, own.flows); looks > 0 && found.length < wanted; looks--) {
      const next = this.#next[slot]!;
      if (busy(slot)) {
        this.#unlink(own, slot);
        this.#append(own, slot);
      } else found.push(slot);
      slot = next === NONE ? own.first : next;
    }
    if (found.length === 0 && wanted > 0) found.push(oldest);
    return found;
  }

  #append(own: Own, slot: number): void {
    this.#next[slot] = NONE;
    this.#previous[slot] = own.last;
    if (own.last === NONE) own.first = slot;
    else this.#next[own.last] = slot;
    own.last = slot;
  }
  #unlink(own: Own, slot: number): void {
    const [next, previous] = [this.#next[slot]!, this.#previous[slot]!];
    if (previous === NONE) own.first = next;
    else this.#next[previous] = next;
    if (next === NONE) own.last = previous;
    else this.#previous[next] = previous;
  }
}
