/**
 * Neighbours of router ports: which MAC was last heard to have an address (RFC 826, RFC 4861).
 *
 * Invariants: time is an argument; whatever alters an answer of `neighbour` or `mayHear` answers
 * the tags of it (law 2); memory is bounded by `perPortMax` for each router port, of which one port
 * of a bridge brings at most `perPlaceMax`, and by `entriesMax` for all (the one heard of longest
 * ago goes). "Last" is the order of calls: the caller passes what other hosts heard in the store's
 * order.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { PortId } from '../ids.ts';
import { hearingTag, neighbourTag, type Tag } from '../tags.ts';

/** Neighbours of routers that an agent knows; for a further one the oldest goes. */
export const NEIGHBOURS_MAX = 1_000_000;

/**
 * `here`: this host heard it itself, by the port `at`. `passed`: another host passed it on, and the
 * store has not said it yet. `elsewhere`: the store says it; another host keeps it alive.
 */
export type Source = 'here' | 'passed' | 'elsewhere';

export interface Neighbour {
  /** The router port. */
  readonly port: PortId;
  readonly ip: Ip;
  readonly mac: Mac;
  /** Where this host heard it; undefined for what other hosts heard. */
  readonly at: PortId | undefined;
  readonly source: Source;
  /** When it was last heard, in the caller's monotonic milliseconds. */
  readonly heardAtMs: number;
}
type Mutable = { -readonly [K in keyof Neighbour]: Neighbour[K] };

export interface NeighbourTableOptions {
  /** Neighbours one router port may have; further ones are refused and counted. */
  readonly perPortMax: number;
  /** How many may be heard here by one port, which is not the router's own. */
  readonly perPlaceMax?: number;
  readonly entriesMax?: number;
}

export class NeighbourTable {
  readonly #options: Required<NeighbourTableOptions>;
  readonly #ports = new Map<PortId, Map<Ip, Mutable>>();
  /** How many each port of a bridge has brought. */
  readonly #brought = new Map<PortId, number>();
  /**
   * Oldest first: a set keeps the order of insertion, and what is heard again is inserted again.
   */
  readonly #own = new Set<Mutable>();
  readonly #others = new Set<Mutable>();
  #refused = 0;
  #evicted = 0;

  constructor(options: NeighbourTableOptions) {
    this.#options = { entriesMax: NEIGHBOURS_MAX, perPlaceMax: NEIGHBOURS_MAX, ...options };
  }

  mac(port: PortId, ip: Ip): Mac | undefined {
    return this.#ports.get(port)?.get(ip)?.mac;
  }
  mayHear(port: PortId, by?: PortId): boolean {
    if ((this.#ports.get(port)?.size ?? 0) >= this.#options.perPortMax) return false;
    return by === undefined || by === port || this.#mayBring(by);
  }
  #mayBring(by: PortId): boolean {
    return (this.#brought.get(by) ?? 0) < this.#options.perPlaceMax;
  }
  get(port: PortId, ip: Ip): Neighbour | undefined {
    return this.#ports.get(port)?.get(ip);
  }
  /** Those that this host keeps or was passed, longest not heard first; then the others. */
  *entries(): Generator<Neighbour> {
    yield* this.#own;
    yield* this.#others;
  }
  /** Those that are not the store's to keep alive, longest not heard first. */
  own(): Iterable<Neighbour> {
    return this.#own;
  }
  /** How many the router's port has that has the most. */
  get mostOfOnePort(): number {
    let most = 0;
    for (const { size } of this.#ports.values()) if (size > most) most = size;
    return most;
  }
  get size(): number {
    return this.#own.size + this.#others.size;
  }
  get counters(): { readonly refused: number; readonly evicted: number } {
    return { refused: this.#refused, evicted: this.#evicted };
  }

  /** A neighbour was heard. No tags when that is nothing new, or the port's budget is spent. */
  hear(heard: Omit<Neighbour, 'heardAtMs'>, now: number): Tag[] {
    const known = this.#ports.get(heard.port)?.get(heard.ip);
    if (known !== undefined) {
      this.#listOf(known).delete(known);
      const tags = new Set<Tag>();
      if (known.mac !== heard.mac) tags.add(neighbourTag(heard.port, heard.ip));
      const before = { port: known.port, at: known.at };
      Object.assign(known, heard, { heardAtMs: now });
      if (before.at !== known.at) {
        this.#count(before, -1, tags);
        this.#count(known, 1, tags);
      }
      this.#listOf(known).add(known);
      return [...tags];
    }
    if (!this.mayHear(heard.port, heard.at)) {
      this.#refused++;
      return [];
    }
    const tags = new Set<Tag>();
    if (this.size >= this.#options.entriesMax) this.#evict(tags);
    this.#add({ ...heard, heardAtMs: now }, tags);
    return [...tags];
  }

  forget(port: PortId, ip: Ip): Tag[] {
    const known = this.#ports.get(port)?.get(ip);
    if (known === undefined) return [];
    const tags = new Set<Tag>();
    this.#remove(known, tags);
    return [...tags];
  }

  #listOf({ source }: Neighbour): Set<Mutable> {
    return source === 'elsewhere' ? this.#others : this.#own;
  }

  #count({ port, at }: Pick<Neighbour, 'port' | 'at'>, by: 1 | -1, tags: Set<Tag>): void {
    if (at === undefined || at === port) return;
    const might = this.#mayBring(at);
    const brought = (this.#brought.get(at) ?? 0) + by;
    if (brought === 0) this.#brought.delete(at);
    else this.#brought.set(at, brought);
    if (this.#mayBring(at) !== might) tags.add(hearingTag(at));
  }

  #evict(tags: Set<Tag>): void {
    const [own] = this.#own;
    const [other] = this.#others;
    const oldest =
      own !== undefined && (other === undefined || own.heardAtMs <= other.heardAtMs) ? own : other;
    if (oldest === undefined) return;
    this.#evicted++;
    this.#remove(oldest, tags);
  }

  #add(entry: Mutable, tags: Set<Tag>): void {
    const entries = this.#ports.get(entry.port) ?? new Map<Ip, Mutable>();
    this.#ports.set(entry.port, entries.set(entry.ip, entry));
    this.#listOf(entry).add(entry);
    this.#count(entry, 1, tags);
    tags.add(neighbourTag(entry.port, entry.ip));
    if (entries.size === this.#options.perPortMax) tags.add(hearingTag(entry.port));
  }

  #remove(entry: Mutable, tags: Set<Tag>): void {
    const entries = this.#ports.get(entry.port);
    if (entries?.size === this.#options.perPortMax) tags.add(hearingTag(entry.port));
    entries?.delete(entry.ip);
    if (entries?.size === 0) this.#ports.delete(entry.port);
    this.#listOf(entry).delete(entry);
    this.#count(entry, -1, tags);
    tags.add(neighbourTag(entry.port, entry.ip));
  }
}
