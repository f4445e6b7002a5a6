/**
 * What the rest of the system may ask of a network state database. Bodies: `sqlite.ts` (embedded,
 * in exactly one API process); an etcd cluster comes later. One contract suite (`contract.ts`) runs
 * against each.
 *
 * Two kinds of state. Durable keys: transactional, one revision orders them all, watched with
 * resume. Leased keys (`leased`): liveness and learning; they lapse by time, are not part of the
 * ordered log and do not survive the store. "Last" means the store's order, never a writer's clock.
 */
export type Revision = number;

export interface Entry {
  readonly key: string;
  readonly value: string;
  /** The revision of its last change. */
  readonly modified: Revision;
}
/** A condition of a transaction: `modified` 0 means that the key does not exist. */
export interface Compare {
  readonly key: string;
  readonly modified: Revision;
}
export type Operation =
  | { readonly put: string; readonly value: string }
  | { readonly delete: string };
export type StoreEvent =
  | { readonly type: 'put'; readonly key: string; readonly value: string }
  | { readonly type: 'delete'; readonly key: string };
export interface StoreChange {
  readonly revision: Revision;
  readonly events: readonly StoreEvent[];
}

/** A part of the keys, `from` and up to but without `to`. */
export interface KeyRange {
  readonly from: string;
  readonly to: string;
  /** Entries of one answer, 1 or more. */
  readonly limit: number;
  /** Begins at `to` and goes down. */
  readonly backwards?: boolean;
}
/** An answer to a range ends after so many bytes, at the end of an entry. */
export const RANGE_BYTES_MAX = 4_000_000;

/** Limits every store enforces alike (etcd's defaults). */
export const STORE_LIMITS = {
  operationsPerTransactionMax: 128,
  comparesPerTransactionMax: 128,
  transactionBytesMax: 1_500_000,
  leasedKeysMax: 1_000_000,
} as const;

export interface LeasedEntry {
  readonly key: string;
  readonly value: string;
  /** Who must keep it alive: entries of an owner are dropped together by `drop`. */
  readonly owner: string;
}
export type LeasedEvent =
  | { readonly type: 'put'; readonly key: string; readonly value: string; readonly owner: string }
  | { readonly type: 'delete'; readonly key: string; readonly owner: string };

/**
 * State that lapses. Its watchers start with everything there is, then get changes in the store's
 * order.
 */
export interface Leased {
  /**
   * Puts entries for `ttlMs` more; a put of an equal value only renews. The last put of a key wins
   * its owner.
   */
  put(entries: readonly LeasedEntry[], ttlMs: number): Promise<void>;
  /** Deletes those of `keys` that `owner` still owns. */
  delete(owner: string, keys: readonly string[]): Promise<void>;
  list(prefix: string): Promise<readonly LeasedEntry[]>;
  /**
   * First one batch with all there is (maybe empty), then every change; ends when `signal` aborts.
   */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<readonly LeasedEvent[]>;
}

/** How the store fares. Sizes are absent where there is no file. */
export interface StoreStats {
  /** Of the database and its log. */
  readonly bytes?: number;
  readonly diskBytes?: number;
  readonly diskFreeBytes?: number;
  /** Changes up to here are no longer known. */
  readonly compacted: Revision;
}

export interface Store extends AsyncDisposable {
  /** All entries whose key starts with `prefix`, by key, and the revision they are of. */
  list(
    prefix: string,
  ): Promise<{ readonly revision: Revision; readonly entries: readonly Entry[] }>;
  /** The next entries of a range in its order; `more`: it goes on behind the last of them. */
  range(range: KeyRange): Promise<{ readonly entries: readonly Entry[]; readonly more: boolean }>;
  /**
   * All or nothing and durable when it resolves; not ok when a compare failed. One transaction is
   * one revision.
   */
  transact(
    compares: readonly Compare[],
    operations: readonly Operation[],
  ): Promise<{ readonly ok: boolean; readonly revision: Revision }>;
  /**
   * Every change after `since`, in order, each once; throws Compacted when history does not reach
   * back.
   */
  watch(prefix: string, since: Revision, signal: AbortSignal): AsyncIterable<StoreChange>;
  /** Forgets history up to and with `before`. */
  compact(before: Revision): Promise<void>;
  stats(): Promise<StoreStats>;
  /**
   * Writes all durable state, of one revision, to a new file; others read and write meanwhile.
   * Rejects with BackupFailed when the file exists or cannot be written. Absent: the store's own
   * tools do it.
   */
  backup?(path: string): Promise<void>;
  readonly leased: Leased;
}

/** History no longer reaches back to the revision asked for: list again. */
export class Compacted extends Error {
  override name = 'Compacted';
}
/** A transaction breaks a limit of STORE_LIMITS; nothing was written. */
export class TooLarge extends Error {
  override name = 'TooLarge';
}
/**
 * The store cannot serve now: closed, its disk failed, or too much waits for it. Try again later.
 */
export class StoreUnavailable extends Error {
  override name = 'StoreUnavailable';
}
/** The file of a backup exists already, or cannot be written; there is none then. */
export class BackupFailed extends Error {
  override name = 'BackupFailed';
}
