/**
 * The tables of the embedded store and what is done to them: synchronous, and the only file with
 * SQL.
 *
 * Invariants: a commit is durable when `transact` returns (WAL, synchronous=FULL); the revision
 * only grows; history is bounded in revisions and in bytes, and `compacted` says how far back it no
 * longer reaches.
 */
import { DatabaseSync } from 'node:sqlite';
import { backupTo } from './backup.ts';
import { RANGE_BYTES_MAX } from './store.ts';
import type { Compare, Entry, KeyRange, Operation, Revision } from './store.ts';
import type { StoreChange, StoreEvent } from './store.ts';

export interface HistoryLimits {
  readonly historyRevisionsMax: number;
  readonly historyBytesMax: number;
}
export const HISTORY_LIMITS: HistoryLimits = {
  historyRevisionsMax: 20_000,
  historyBytesMax: 256 * 1024 * 1024,
};
/** A page of history ends after so many bytes, at the end of a revision. */
export const HISTORY_PAGE_BYTES_MAX = 2_000_000;

export interface Transaction {
  readonly compares: readonly Compare[];
  readonly operations: readonly Operation[];
}
export interface HistoryPage {
  readonly changes: readonly StoreChange[];
  /** The page covers everything up to here. */
  readonly through: Revision;
  readonly more: boolean;
  /** History up to here is gone. */
  readonly compacted: Revision;
}
export interface Engine {
  list(prefix: string): { readonly revision: Revision; readonly entries: readonly Entry[] };
  /**
   * All of the batch in one durable commit, each transaction with its own compares and revision.
   */
  transact(batch: readonly Transaction[]): { readonly ok: boolean; readonly revision: Revision }[];
  history(prefix: string, since: Revision): HistoryPage;
  compact(before: Revision): void;
  revision(): Revision;
  range(range: KeyRange): { readonly entries: readonly Entry[]; readonly more: boolean };
  /** The one thing here that takes its time: others are served meanwhile. */
  backup(path: string): Promise<void>;
  close(): void;
}

const SCHEMA = `
  pragma locking_mode = exclusive;
  pragma journal_mode = wal;
  pragma synchronous = full;
  create table if not exists current(
    key text primary key, value text not null, modified integer not null) without rowid;
  create table if not exists history(
    revision integer not null, key text not null, value text, primary key(revision, key)) without rowid;
  create table if not exists meta(name text primary key, number integer not null) without rowid;
  insert or ignore into meta values('revision', 0), ('compacted', 0), ('format', 1);
`;
const FORMAT = 1;
/** Sorts after every key that starts with the prefix: no key holds the last code point. */
const above = (prefix: string): string => `${prefix}\u{10ffff}`;

interface HistoryRow {
  readonly revision: number;
  readonly key: string;
  readonly value: string | null;
}
const sizeOf = (row: { readonly key: string; readonly value: string | null }): number =>
  Buffer.byteLength(row.key) + Buffer.byteLength(row.value ?? '');

/**
 * Opens or makes the database. Throws when another process has it open, or the file is not ours.
 */
export function openEngine(path: string, limits: HistoryLimits = HISTORY_LIMITS): Engine {
  const db = new DatabaseSync(path);
  try {
    db.exec(SCHEMA);
  } catch (error) {
    db.close();
    throw error;
  }
  return overDatabase(db, limits);
}

function prepare(db: DatabaseSync) {
  return {
    meta: db.prepare('select number from meta where name = ?'),
    setMeta: db.prepare('update meta set number = ? where name = ?'),
    upwards: db.prepare(
      'select key, value, modified from current where key >= ? and key < ? order by key',
    ),
    downwards: db.prepare(
      'select key, value, modified from current where key >= ? and key < ? order by key desc',
    ),
    modified: db.prepare('select modified from current where key = ?'),
    put: db.prepare(
      'insert into current values(?, ?, ?) on conflict(key) do update ' +
        'set value = excluded.value, modified = excluded.modified',
    ),
    remove: db.prepare('delete from current where key = ?'),
    log: db.prepare('insert into history values(?, ?, ?)'),
    since: db.prepare(
      'select revision, key, value from history ' +
        'where revision > ? and key >= ? and key < ? order by revision, key',
    ),
    oldest: db.prepare('select revision, key, value from history order by revision limit 256'),
    bytes: db.prepare(
      'select coalesce(sum(octet_length(key) + coalesce(octet_length(value), 0)), 0) as number from history',
    ),
    bytesUpTo: db.prepare(
      'select coalesce(sum(octet_length(key) + coalesce(octet_length(value), 0)), 0) as number ' +
        'from history where revision <= ?',
    ),
    forget: db.prepare('delete from history where revision <= ?'),
  };
}
type Statements = ReturnType<typeof prepare>;
const numberOf = (row: unknown): number => (row as { number: number }).number;

function overDatabase(db: DatabaseSync, limits: HistoryLimits): Engine {
  const sql = prepare(db);
  if (numberOf(sql.meta.get('format')) !== FORMAT)
    throw new Error(`the store's format is not ${FORMAT}: it belongs to another version`);
  let revision = 0;
  let compacted = 0;
  let historyBytes = 0;
  const reload = (): void => {
    revision = numberOf(sql.meta.get('revision'));
    compacted = numberOf(sql.meta.get('compacted'));
    historyBytes = numberOf(sql.bytes.get());
  };
  reload();

  const forget = (before: Revision): void => {
    if (before <= compacted) return;
    historyBytes -= numberOf(sql.bytesUpTo.get(before));
    sql.forget.run(before);
    sql.setMeta.run(before, 'compacted');
    compacted = before;
  };
  const trim = (): void => {
    forget(revision - limits.historyRevisionsMax);
    while (historyBytes > limits.historyBytesMax && compacted < revision)
      forget(Math.max(surplusUpTo(sql, historyBytes - limits.historyBytesMax), compacted + 1));
  };
  const inTransaction = <T>(work: () => T): T => {
    db.exec('begin immediate');
    try {
      const result = work();
      db.exec('commit');
      return result;
    } catch (error) {
      if (db.isTransaction) db.exec('rollback');
      reload();
      throw error;
    }
  };
  const apply = ({ compares, operations }: Transaction) => {
    const held = compares.every(({ key, modified }) => modifiedOf(sql, key) === modified);
    if (!held) return { ok: false, revision };
    const events = write(sql, operations, revision + 1);
    if (events.length > 0) revision += 1;
    for (const event of events) historyBytes += sizeOf(event);
    return { ok: true, revision };
  };

  return {
    list: (prefix) => ({
      revision,
      entries: sql.upwards
        .all(prefix, above(prefix))
        .map((row) => ({ ...row }) as unknown as Entry),
    }),
    transact: (batch) =>
      inTransaction(() => {
        const results = batch.map(apply);
        sql.setMeta.run(revision, 'revision');
        trim();
        return results;
      }),
    history: (prefix, since) => page(sql, { prefix, since, revision, compacted }),
    compact: (before) => inTransaction(() => forget(Math.min(before, revision))),
    revision: () => revision,
    range: (range) => entriesOf(sql, range),
    backup: (path) => backupTo(db, path),
    close: () => db.close(),
  };
}

/** The revision up to which history holds this many bytes too many, or the last of a first look. */
function surplusUpTo(sql: Statements, surplusBytes: number): Revision {
  let left = surplusBytes;
  let upTo = 0;
  for (const row of sql.oldest.all() as unknown as HistoryRow[]) {
    if (left <= 0 && row.revision !== upTo) break;
    left -= sizeOf(row);
    upTo = row.revision;
  }
  return upTo;
}

const modifiedOf = (sql: Statements, key: string): Revision =>
  (sql.modified.get(key) as { modified: number } | undefined)?.modified ?? 0;

/** Carries out the operations at `revision`; answers those that changed something. */
function write(sql: Statements, operations: readonly Operation[], revision: Revision) {
  const events: { readonly key: string; readonly value: string | null }[] = [];
  for (const operation of operations) {
    if ('put' in operation) {
      sql.put.run(operation.put, operation.value, revision);
      events.push({ key: operation.put, value: operation.value });
    } else if (sql.remove.run(operation.delete).changes > 0) {
      events.push({ key: operation.delete, value: null });
    }
  }
  for (const { key, value } of events) sql.log.run(revision, key, value);
  return events;
}

function entriesOf(sql: Statements, { from, to, limit, backwards = false }: KeyRange) {
  const entries: Entry[] = [];
  let bytes = 0;
  const statement = backwards ? sql.downwards : sql.upwards;
  for (const row of statement.iterate(from, to) as Iterable<unknown>) {
    if (entries.length >= limit || bytes >= RANGE_BYTES_MAX) return { entries, more: true };
    const entry = { ...(row as Entry) };
    bytes += sizeOf(entry);
    entries.push(entry);
  }
  return { entries, more: false };
}

interface PageRequest {
  readonly prefix: string;
  readonly since: Revision;
  readonly revision: Revision;
  readonly compacted: Revision;
}
function page(sql: Statements, { prefix, since, revision, compacted }: PageRequest): HistoryPage {
  const changes: { revision: Revision; events: StoreEvent[] }[] = [];
  if (since < compacted) return { changes, through: since, more: false, compacted };
  let size = 0;
  const rows = sql.since.iterate(since, prefix, above(prefix)) as Iterable<unknown>;
  for (const row of rows as Iterable<HistoryRow>) {
    let change = changes.at(-1);
    if (change?.revision !== row.revision) {
      if (change !== undefined && size >= HISTORY_PAGE_BYTES_MAX)
        return { changes, through: change.revision, more: true, compacted };
      change = { revision: row.revision, events: [] };
      changes.push(change);
    }
    size += sizeOf(row);
    change.events.push(
      row.value === null
        ? { type: 'delete', key: row.key }
        : { type: 'put', key: row.key, value: row.value },
    );
  }
  return { changes, through: Math.max(since, revision), more: false, compacted };
}
