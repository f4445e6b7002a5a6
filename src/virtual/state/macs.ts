/**
 * Learned MAC addresses: where the last sender with a MAC was, per bridge and VLAN (IEEE 802.1Q
 * §8.8).
 *
 * Invariants: time is an argument; whatever alters an answer of `port` or `mayLearn` answers the
 * tags of it (law 2); memory is bounded by `perPortMax` for each port (a port at its budget learns
 * no more) and by `entriesMax` for all (the entry heard of longest ago goes). "Last" is the order
 * of calls: the caller passes what other hosts learned in the store's order.
 */
import type { Mac } from '#net/mac.ts';
import type { BridgeId, PortId } from '../ids.ts';
import { learningTag, macTag, type Tag } from '../tags.ts';
import type { LearnedView } from '../view.ts';

/** Learned MACs that an agent knows, of all hosts; for a further one the oldest goes. */
export const LEARNED_ENTRIES_MAX = 1_000_000;

/** `vlan`: the VID, 0 for untagged frames. */
export interface LearnedPlace {
  readonly bridge: BridgeId;
  readonly vlan: number;
  readonly mac: Mac;
  readonly port: PortId;
}
/**
 * `here`: this host saw it, and it ages. `elsewhere`: another host did, and says when it is over.
 */
export type Origin = 'here' | 'elsewhere';

export interface LearnedEntry extends LearnedPlace {
  readonly origin: Origin;
  /** When a frame of it was last seen, in the caller's monotonic milliseconds. */
  readonly seenAtMs: number;
}

export interface MacTableOptions {
  /** MACs one port may hold; further ones are refused and counted. */
  readonly perPortMax: number;
  /** A MAC of this host that was not seen for so long is forgotten by `expire`. */
  readonly ageMs: number;
  readonly entriesMax?: number;
}

type Mutable = { -readonly [K in keyof LearnedEntry]: LearnedEntry[K] };
type Vlans = Map<number, Map<Mac, Mutable>>;

export class MacTable implements LearnedView {
  readonly #options: Required<MacTableOptions>;
  readonly #bridges = new Map<BridgeId, Vlans>();
  readonly #byPort = new Map<PortId, Set<Mutable>>();
  /** Oldest first: a set keeps the order of insertion, and what is seen again is inserted again. */
  readonly #here = new Set<Mutable>();
  readonly #elsewhere = new Set<Mutable>();
  #refused = 0;
  #evicted = 0;
  #aged = 0;

  constructor(options: MacTableOptions) {
    this.#options = { entriesMax: LEARNED_ENTRIES_MAX, ...options };
  }

  port(bridge: BridgeId, vlan: number, mac: Mac): PortId | undefined {
    return this.#bridges.get(bridge)?.get(vlan)?.get(mac)?.port;
  }
  mayLearn(port: PortId): boolean {
    return (this.#byPort.get(port)?.size ?? 0) < this.#options.perPortMax;
  }
  get(bridge: BridgeId, vlan: number, mac: Mac): LearnedEntry | undefined {
    return this.#bridges.get(bridge)?.get(vlan)?.get(mac);
  }
  /** Those of this host first, each origin oldest first. */
  *entries(): Generator<LearnedEntry> {
    yield* this.#here;
    yield* this.#elsewhere;
  }
  /** How many the port has that has the most. */
  get mostOfOnePort(): number {
    let most = 0;
    for (const { size } of this.#byPort.values()) if (size > most) most = size;
    return most;
  }
  get size(): number {
    return this.#here.size + this.#elsewhere.size;
  }
  /**
   * `refused`: the port's budget was spent. `evicted`: the table was full. `aged`: not seen for
   * `ageMs`.
   */
  get counters(): { readonly refused: number; readonly evicted: number; readonly aged: number } {
    return { refused: this.#refused, evicted: this.#evicted, aged: this.#aged };
  }

  /**
   * A sender was seen, or is still there. No tags when it was known at this port already, or when
   * the port's budget is spent (then a former place stays: the port did not prove that it moved).
   */
  learn(place: LearnedPlace, now: number, origin: Origin = 'here'): Tag[] {
    const known = this.#bridges.get(place.bridge)?.get(place.vlan)?.get(place.mac);
    if (known?.port === place.port) {
      this.#listOf(known).delete(known);
      known.origin = origin;
      known.seenAtMs = now;
      this.#listOf(known).add(known);
      return [];
    }
    if (!this.mayLearn(place.port)) {
      this.#refused++;
      return [];
    }
    const tags = new Set<Tag>();
    if (known !== undefined) this.#remove(known, tags);
    else if (this.size >= this.#options.entriesMax) this.#evict(tags);
    const { bridge, vlan, mac, port } = place;
    this.#add({ bridge, vlan, mac, port, origin, seenAtMs: now }, tags);
    return [...tags];
  }

  /** Forgets one MAC; with `port`, only while it is there. */
  forget(place: Omit<LearnedPlace, 'port'> & { readonly port?: PortId }): Tag[] {
    const known = this.#bridges.get(place.bridge)?.get(place.vlan)?.get(place.mac);
    if (known === undefined || (place.port !== undefined && known.port !== place.port)) return [];
    const tags = new Set<Tag>();
    this.#remove(known, tags);
    return [...tags];
  }

  /** Forgets all that was learned at a port: it was unbound, moved or deleted. */
  forgetPort(port: PortId): Tag[] {
    const tags = new Set<Tag>();
    for (const entry of this.#byPort.get(port) ?? []) this.#remove(entry, tags);
    return [...tags];
  }

  /** Forgets what this host has not seen for `ageMs`. Costs what it forgets. */
  expire(now: number): Tag[] {
    const tags = new Set<Tag>();
    for (const entry of this.#here) {
      if (now - entry.seenAtMs < this.#options.ageMs) break;
      this.#aged++;
      this.#remove(entry, tags);
    }
    return [...tags];
  }

  #listOf(entry: LearnedEntry): Set<Mutable> {
    return entry.origin === 'here' ? this.#here : this.#elsewhere;
  }

  #evict(tags: Set<Tag>): void {
    const [here] = this.#here;
    const [elsewhere] = this.#elsewhere;
    const oldest =
      here !== undefined && (elsewhere === undefined || here.seenAtMs <= elsewhere.seenAtMs)
        ? here
        : elsewhere;
    if (oldest === undefined) return;
    this.#evicted++;
    this.#remove(oldest, tags);
  }

  #add(entry: Mutable, tags: Set<Tag>): void {
    const vlans: Vlans = this.#bridges.get(entry.bridge) ?? new Map();
    this.#bridges.set(entry.bridge, vlans);
    const macs = vlans.get(entry.vlan) ?? new Map<Mac, Mutable>();
    vlans.set(entry.vlan, macs);
    macs.set(entry.mac, entry);
    this.#listOf(entry).add(entry);
    const atPort = this.#byPort.get(entry.port) ?? new Set();
    this.#byPort.set(entry.port, atPort.add(entry));
    tags.add(macTag(entry.bridge, entry.vlan, entry.mac));
    if (atPort.size === this.#options.perPortMax) tags.add(learningTag(entry.port));
  }

  #remove(entry: Mutable, tags: Set<Tag>): void {
    const vlans = this.#bridges.get(entry.bridge);
    const macs = vlans?.get(entry.vlan);
    macs?.delete(entry.mac);
    if (macs?.size === 0) vlans?.delete(entry.vlan);
    if (vlans?.size === 0) this.#bridges.delete(entry.bridge);
    this.#listOf(entry).delete(entry);
    const atPort = this.#byPort.get(entry.port);
    if (atPort?.size === this.#options.perPortMax) tags.add(learningTag(entry.port));
    atPort?.delete(entry);
    if (atPort?.size === 0) this.#byPort.delete(entry.port);
    tags.add(macTag(entry.bridge, entry.vlan, entry.mac));
  }
}
