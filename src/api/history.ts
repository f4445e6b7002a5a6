/**
 * What changed before: one entry of every change of the topology, written in the change's own
 * transaction, and the topology as it was at any revision since the oldest entry.
 *
 * Invariants: entries form a chain (each names the state that it changed), and a topology is told
 * only when the chain is whole from now back to it, so it is exactly the one that was there. Memory
 * holds a few topologies and never the history: that is read from the store in parts. The oldest
 * entries are forgotten in steps of bounded size.
 */
import type { Clock } from '#store/clock.ts';
import { type Operation, type Store, StoreUnavailable } from '#store/store.ts';
import type { RowChange } from '#virtual/change.ts';
import type { TopologyObject } from '#virtual/topology.ts';
import { Topology } from '#virtual/topology.ts';
import {
  decodeEntry,
  encodeEntry,
  floorOf,
  type HistoryLimits,
  type KeptEntry,
  rowsOf,
  sizeOfEntry,
  type StoredAuthor,
  tallyOf,
} from './history-rows.ts';
import { FLOOR_KEY, HEAD_KEY, HISTORY_END, HISTORY_PREFIX, historyKey } from './keys.ts';
import type { Replica } from './replica.ts';

/** Entries read from the store at once. */
const READ_MAX = 200;
/** Entries forgotten in one transaction: with the floor they fit into any store's. */
export const FORGET_MAX = 100;
/** Topologies of older revisions that are kept for whoever asks again. */
export const TOPOLOGIES_KEPT_MAX = 4;

export interface HistoryOptions {
  readonly store: Store;
  readonly replica: Replica;
  readonly clock: Clock;
  readonly limits: HistoryLimits;
  readonly signal: AbortSignal;
}
/** Who writes, and the id of the request. */
export interface Signed {
  readonly by: StoredAuthor;
  readonly request?: string;
}
/** A topology of old, and the change that made it; or the oldest revision that can be told. */
type Old =
  | { readonly topology: Topology; readonly head: number }
  | { readonly topology?: undefined; readonly oldest: number };

interface Objects {
  objects(): Iterable<TopologyObject>;
}

export class History {
  readonly stats = { forgotten: 0, rebuilt: 0 };
  readonly #store: Store;
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #limits: HistoryLimits;
  readonly #signal: AbortSignal;
  /** By revision, the one asked for last at the end. */
  readonly #topologies = new Map<number, Promise<Old>>();
  #forgetting: Promise<void> | undefined;

  constructor({ store, replica, clock, limits, signal }: HistoryOptions) {
    this.#store = store;
    this.#replica = replica;
    this.#clock = clock;
    this.#limits = limits;
    this.#signal = signal;
    replica.listen({ changed: () => this.#tidy(), replaced: () => this.#tidy() });
  }

  /** Entries and bytes kept. */
  get kept(): { readonly entries: number; readonly bytes: number } {
    const written = tallyOf(this.#replica.headValue);
    const forgotten = floorOf(this.#replica.floorValue);
    return {
      entries: written.entries - forgotten.entries,
      bytes: written.bytes - forgotten.bytes,
    };
  }

  /** What a change of the topology writes beside its rows: its entry, and the head. */
  operations(rows: readonly RowChange[], { by, request }: Signed): Operation[] {
    const { topology, headModified, headValue } = this.#replica;
    const put = historyKey(headModified);
    const at = Math.round(this.#clock.wall?.() ?? this.#clock.now());
    const kept = { at, by, ...(request !== undefined && { request }) };
    const value = encodeEntry({ ...kept, rows: rowsOf(topology, rows) });
    const { entries, bytes } = tallyOf(headValue);
    const tally = { entries: entries + 1, bytes: bytes + sizeOfEntry({ key: put, value }) };
    // Whoever follows the topology hears by the head whose change it was.
    const head = { ...tally, ...(request !== undefined && { request }) };
    return [
      { put, value },
      { put: HEAD_KEY, value: JSON.stringify(head) },
    ];
  }

  /** Entries of revisions below `before`, the newest first, read as they are asked for. */
  async *newestFirst(before: number): AsyncGenerator<KeptEntry> {
    let to = historyKey(before);
    for (let more = true; more;) {
      const page = await this.#store.range({
        from: HISTORY_PREFIX,
        to,
        limit: READ_MAX,
        backwards: true,
      });
      for (const entry of page.entries) {
        to = entry.key;
        if (entry.modified < before) yield decodeEntry(entry);
      }
      more = page.more;
    }
  }

  /** The topology as it was at `revision`; without one, the oldest revision that can be told. */
  async at(revision: number): Promise<Old> {
    const known = this.#topologies.get(revision);
    if (known !== undefined) {
      this.#topologies.delete(revision);
      this.#topologies.set(revision, known);
      return known;
    }
    if (revision > this.#replica.revision)
      return { oldest: floorOf(this.#replica.floorValue).revision };
    const work = this.#rebuild(revision);
    this.#topologies.set(revision, work);
    for (const oldest of this.#topologies.keys())
      if (this.#topologies.size > TOPOLOGIES_KEPT_MAX) this.#topologies.delete(oldest);
    const forget = (): void => {
      if (this.#topologies.get(revision) === work) this.#topologies.delete(revision);
    };
    work.then(({ topology }) => topology ?? forget(), forget);
    return work;
  }

  /** Undoes what came after, from the nearest topology there is. */
  async #rebuild(revision: number): Promise<Old> {
    this.stats.rebuilt += 1;
    const base = await this.#nearest(revision);
    const objects = new Map<string, TopologyObject>();
    for (const each of base.topology.objects()) objects.set(`${each.kind}/${each.object.id}`, each);
    let { head } = base;
    if (head > revision)
      for await (const entry of this.#chain(head)) {
        for (const { kind, id, before } of entry.rows)
          if (before === undefined) objects.delete(`${kind}/${id}`);
          else objects.set(`${kind}/${id}`, { kind, object: before });
        head = entry.previous;
        if (head <= revision) break;
      }
    if (head > revision) return { oldest: head };
    const topology = new Topology();
    topology.reset(revision, objects.values());
    return { topology, head };
  }

  /** Entries from the one that made the state `head`, for as long as none is missing. */
  async *#chain(head: number): AsyncGenerator<KeptEntry> {
    let next = head;
    for await (const entry of this.newestFirst(head + 1)) {
      if (entry.revision !== next) return;
      next = entry.previous;
      yield entry;
    }
  }

  /** Of the topologies kept the closest that is not older, else the present one. */
  async #nearest(revision: number): Promise<{ topology: Objects; head: number }> {
    const [closest] = [...this.#topologies.keys()]
      .filter((kept) => kept > revision)
      .sort((a, b) => a - b);
    const old = closest === undefined ? undefined : await this.#topologies.get(closest);
    if (old?.topology !== undefined) return old;
    // The present one goes on changing while the store is read.
    const { topology, headModified } = this.#replica;
    const objects = [...topology.objects()];
    return { topology: { objects: () => objects }, head: headModified };
  }

  /** Forgets in the background what is too much. */
  #tidy(): void {
    if (this.#forgetting !== undefined || this.#surplus() === undefined) return;
    this.#forgetting = this.#forget()
      .catch((error: unknown) => {
        // The next change tries again.
        if (!(error instanceof StoreUnavailable)) throw error;
      })
      .finally(() => (this.#forgetting = undefined));
  }

  /** How much is too much. Entries are forgotten many at once, so some more than the limit stay. */
  #surplus(): { readonly entries: number; readonly bytes: number } | undefined {
    const { entries, bytes } = this.kept;
    const over = {
      entries: entries - this.#limits.entriesMax,
      bytes: bytes - this.#limits.bytesMax,
    };
    return over.entries >= FORGET_MAX || over.bytes > 0 ? over : undefined;
  }

  async #forget(): Promise<void> {
    for (let over = this.#surplus(); over !== undefined; over = this.#surplus()) {
      if (this.#signal.aborted) return;
      const { floorModified, floorValue } = this.#replica;
      const from = HISTORY_PREFIX;
      const page = await this.#store.range({ from, to: HISTORY_END, limit: FORGET_MAX });
      let { revision, entries, bytes } = floorOf(floorValue);
      const gone: Operation[] = [];
      let { entries: count, bytes: size } = over;
      for (const entry of page.entries) {
        if (count <= 0 && size <= 0) break;
        gone.push({ delete: entry.key });
        revision = entry.modified;
        entries += 1;
        bytes += sizeOfEntry(entry);
        count -= 1;
        size -= sizeOfEntry(entry);
      }
      if (gone.length === 0) return;
      const value = JSON.stringify({ revision, entries, bytes });
      const floor = { key: FLOOR_KEY, modified: floorModified };
      const operations = [...gone, { put: FLOOR_KEY, value }];
      const done = await this.#store.transact([floor], operations);
      if (done.ok) this.stats.forgotten += gone.length;
      await this.#replica.reached(done.revision);
    }
  }

  async close(): Promise<void> {
    await this.#forgetting;
  }
}
