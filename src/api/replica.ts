/**
 * This node's copy of the store: the topology, the counters and the tokens, following the store's
 * watch.
 *
 * Invariants: the copy is always of exactly one revision, `topology.revision`; listeners hear every
 * change once, in order, after it was applied. The last changes are kept (bounded) for streams that
 * resume.
 */
import { type Clock, after } from '#store/clock.ts';
import { Compacted, StoreUnavailable } from '#store/store.ts';
import type { Entry, Store, StoreChange } from '#store/store.ts';
import type { RowChange } from '#virtual/change.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { Topology } from '#virtual/topology.ts';
import { requestOf } from './history-rows.ts';
import { COUNTER_PREFIX, FLOOR_KEY, HEAD_KEY, parseObjectKey, TOKEN_PREFIX } from './keys.ts';

/** Changes that a stream can resume from; who comes back later gets all anew. */
export const CHANGES_KEPT_MAX = 4_096;
/** What these changes may take as text; the oldest go first. */
export const CHANGES_KEPT_CHARACTERS_MAX = 64 * 1024 * 1024;
const RETRY_MS_MIN = 50;
const RETRY_MS_MAX = 2_000;

/** A change as applied here. `before` is what each row replaced, in the order of the rows. */
export interface Applied {
  readonly revision: number;
  readonly rows: readonly RowChange[];
  readonly before: readonly (StoredObject | undefined)[];
  /** The request that made it. */
  readonly request?: string | undefined;
  /** Encoded events by the rows that they hold: shared by all streams that show the same rows. */
  readonly encoded: Map<string, Uint8Array>;
  readonly size: number;
}
export interface ReplicaListener {
  changed(applied: Applied): void;
  /** Everything was read anew: what was known of the past is gone. */
  replaced(): void;
}

const PREFIX = '/';

export class Replica {
  readonly topology = new Topology();
  readonly counters = new Map<string, number>();
  /** Token records as stored, by key. */
  readonly tokens = new Map<string, string>();
  headModified = 0;
  /** The value of the head, and of how far back the history is kept, with its revision. */
  headValue = '';
  floorValue = '';
  floorModified = 0;
  /** How often the copy had to be read anew, and how often reading failed. */
  readonly stats = { replaced: 0, failures: 0 };
  readonly ready: Promise<void>;
  readonly #store: Store;
  readonly #clock: Clock;
  readonly #stop = new AbortController();
  readonly #listeners = new Set<ReplicaListener>();
  readonly #run: Promise<void>;
  #kept: Applied[] = [];
  #keptSize = 0;
  #waiters: { readonly revision: number; readonly done: PromiseWithResolvers<void> }[] = [];
  #isReady = Promise.withResolvers<void>();

  constructor(store: Store, clock: Clock) {
    this.#store = store;
    this.#clock = clock;
    this.ready = this.#isReady.promise;
    this.ready.catch(() => {});
    this.#run = this.#follow();
  }

  get revision(): number {
    return this.topology.revision;
  }

  listen(listener: ReplicaListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Resolves when the copy is of `revision` or later. */
  async reached(revision: number): Promise<void> {
    if (this.revision >= revision) return;
    const done = Promise.withResolvers<void>();
    this.#waiters.push({ revision, done });
    if (this.#stop.signal.aborted) this.#settle();
    await done.promise;
  }

  /** The changes after `since`; `undefined` when they are no longer (or not yet) known here. */
  changesSince(since: number): readonly Applied[] | undefined {
    const reach = (this.#kept[0]?.revision ?? this.revision + 1) - 1;
    if (since < reach || since > this.revision) return undefined;
    return this.#kept.filter(({ revision }) => revision > since);
  }

  async close(): Promise<void> {
    this.#stop.abort();
    this.#isReady.reject(new StoreUnavailable('the API is stopping'));
    this.#settle();
    await this.#run;
  }

  async #follow(): Promise<void> {
    const { signal } = this.#stop;
    for (let retryMs = RETRY_MS_MIN; !signal.aborted;) {
      try {
        const { revision, entries } = await this.#store.list(PREFIX);
        if (signal.aborted) return;
        this.#replace(revision, entries);
        retryMs = RETRY_MS_MIN;
        for await (const change of this.#store.watch(PREFIX, revision, signal)) this.#apply(change);
        if (!signal.aborted) await this.#pause(RETRY_MS_MAX);
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Compacted) continue;
        if (!(error instanceof StoreUnavailable)) throw error;
        this.stats.failures += 1;
        await this.#pause(retryMs);
        retryMs = Math.min(retryMs * 2, RETRY_MS_MAX);
      }
    }
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = after(this.#clock, ms, resolve);
      const onAbort = (): void => {
        cancel();
        resolve();
      };
      this.#stop.signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #replace(revision: number, entries: readonly Entry[]): void {
    const objects: { kind: KindName; object: StoredObject }[] = [];
    this.counters.clear();
    this.tokens.clear();
    this.#other(HEAD_KEY, undefined, 0);
    this.#other(FLOOR_KEY, undefined, 0);
    for (const { key, value, modified } of entries) {
      const name = parseObjectKey(key);
      if (name !== undefined) objects.push({ kind: name.kind, object: objectOf(value, modified) });
      else this.#other(key, value, modified);
    }
    this.topology.reset(revision, objects);
    this.#kept = [];
    this.#keptSize = 0;
    this.stats.replaced += 1;
    this.#isReady.resolve();
    for (const listener of this.#listeners) listener.replaced();
    this.#settle();
  }

  #apply({ revision, events }: StoreChange): void {
    const rows: RowChange[] = [];
    const before: (StoredObject | undefined)[] = [];
    let size = 0;
    let request: string | undefined;
    for (const event of events) {
      const name = parseObjectKey(event.key);
      const value = event.type === 'put' ? event.value : undefined;
      size += event.key.length + (value?.length ?? 0);
      if (name === undefined) {
        this.#other(event.key, value, revision);
        if (event.key === HEAD_KEY) request = requestOf(this.headValue);
        continue;
      }
      before.push(this.topology.get(name.kind, name.id));
      rows.push(value === undefined ? name : { ...name, put: objectOf(value, revision) });
    }
    this.topology.apply({ revision, rows });
    const applied: Applied = { revision, rows, before, request, encoded: new Map(), size };
    this.#keep(applied);
    for (const listener of this.#listeners) listener.changed(applied);
    this.#settle();
  }

  #other(key: string, value: string | undefined, modified: number): void {
    if (key === HEAD_KEY) {
      this.headModified = value === undefined ? 0 : modified;
      this.headValue = value ?? '';
    } else if (key === FLOOR_KEY) {
      this.floorModified = value === undefined ? 0 : modified;
      this.floorValue = value ?? '';
    } else if (key.startsWith(COUNTER_PREFIX)) {
      if (value === undefined) this.counters.delete(key);
      else this.counters.set(key, Number(value));
    } else if (key.startsWith(TOKEN_PREFIX)) {
      if (value === undefined) this.tokens.delete(key);
      else this.tokens.set(key, value);
    }
  }

  #keep(applied: Applied): void {
    this.#kept.push(applied);
    this.#keptSize += applied.size;
    let surplus = 0;
    let size = this.#keptSize;
    while (
      this.#kept.length - surplus > CHANGES_KEPT_MAX ||
      (size > CHANGES_KEPT_CHARACTERS_MAX && surplus < this.#kept.length)
    )
      size -= this.#kept[surplus++]?.size ?? 0;
    // Cut in one piece now and then: shifting a long array at every change costs more than it
    // keeps.
    if (surplus * 8 < this.#kept.length) return;
    this.#kept.splice(0, surplus);
    this.#keptSize = size;
  }

  #settle(): void {
    const stopped = this.#stop.signal.aborted;
    this.#waiters = this.#waiters.filter(({ revision, done }) => {
      if (this.revision >= revision) done.resolve();
      else if (stopped) done.reject(new StoreUnavailable('the API is stopping'));
      else return true;
      return false;
    });
  }
}

const objectOf = (value: string, revision: number): StoredObject =>
  Object.freeze({ ...(JSON.parse(value) as StoredObject), revision });
/** The text of an object in the store: all but the revision, which the store itself keeps. */
export function valueOf(object: StoredObject): string {
  const { revision: _, ...rest } = object;
  return JSON.stringify(rest);
}
