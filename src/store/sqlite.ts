/**
 * The embedded store: a database file with its own thread, or `:memory:` in this one.
 *
 * Invariants: a resolved transaction is durable; a watcher keeps no buffer of its own but reads
 * pages of the bounded history, so a slow one costs nothing and learns Compacted when history has
 * gone on without it. The file belongs to exactly one process at a time, because watches are woken
 * in the process that commits.
 */
import { stat, statfs } from 'node:fs/promises';
import { Worker } from 'node:worker_threads';
import { type Clock, systemClock } from './clock.ts';
import { HISTORY_LIMITS, type HistoryLimits, type HistoryPage, openEngine } from './engine.ts';
import { LeasedMemory } from './leased.ts';
import { checkLimits } from './limits.ts';
import { BackupFailed, Compacted, StoreUnavailable } from './store.ts';
import type { Compare, Entry, KeyRange, Operation, Revision, Store } from './store.ts';
import type { StoreChange, StoreStats } from './store.ts';
import type { Call, Replies, Request, WorkerOptions } from './worker.ts';

/** Requests that may wait for the store's thread; more are refused as StoreUnavailable. */
export const REQUESTS_WAITING_MAX = 10_000;

export interface SqliteOptions extends Partial<HistoryLimits> {
  readonly clock?: Clock;
}

interface Backend {
  list(
    prefix: string,
  ): Promise<{ readonly revision: Revision; readonly entries: readonly Entry[] }>;
  transact(
    compares: readonly Compare[],
    operations: readonly Operation[],
  ): Promise<{ readonly ok: boolean; readonly revision: Revision }>;
  history(prefix: string, since: Revision): Promise<HistoryPage>;
  compact(before: Revision): Promise<void>;
  range(range: KeyRange): ReturnType<Store['range']>;
  backup(path: string): Promise<void>;
  close(): Promise<void>;
}

/** Opens or makes the store. A file that cannot be opened fails the first request. */
export function openSqlite(path: string, options: SqliteOptions = {}): Store {
  const limits: HistoryLimits = {
    historyRevisionsMax: options.historyRevisionsMax ?? HISTORY_LIMITS.historyRevisionsMax,
    historyBytesMax: options.historyBytesMax ?? HISTORY_LIMITS.historyBytesMax,
  };
  const watchers = new Set<() => void>();
  const onCommit = (): void => {
    for (const wake of watchers) wake();
  };
  const backend =
    path === ':memory:' ? inProcess(limits, onCommit) : inThread(path, limits, onCommit);
  const leased = new LeasedMemory(options.clock ?? systemClock);
  let closed = false;
  return {
    leased,
    list: (prefix) => backend.list(prefix),
    transact: async (compares, operations) => {
      checkLimits(compares, operations);
      return backend.transact(compares, operations);
    },
    watch: (prefix, since, signal) =>
      watch({ prefix, since, signal, backend, watchers, closed: () => closed }),
    compact: (before) => backend.compact(before),
    stats: async () => {
      // A page beyond every revision holds nothing but how far back history reaches.
      const { compacted } = await backend.history('', Number.MAX_SAFE_INTEGER);
      return { compacted, ...(path !== ':memory:' && (await sizesOf(path))) };
    },
    range: (range) => backend.range(range),
    backup: async (path) => {
      try {
        await backend.backup(path);
      } catch (error) {
        throw closed ? error : new BackupFailed((error as Error).message, { cause: error });
      }
    },
    [Symbol.asyncDispose]: async () => {
      if (closed) return;
      closed = true;
      leased.close();
      onCommit();
      await backend.close();
    },
  };
}

/** Of the files of a database, and of their disk. */
async function sizesOf(path: string): Promise<Omit<StoreStats, 'compacted'>> {
  try {
    const log = await stat(`${path}-wal`).catch(() => undefined);
    const [{ size }, { blocks, bavail, bsize }] = await Promise.all([stat(path), statfs(path)]);
    return {
      bytes: size + (log?.size ?? 0),
      diskBytes: blocks * bsize,
      diskFreeBytes: bavail * bsize,
    };
  } catch (error) {
    throw new StoreUnavailable(`the store's files cannot be read: ${(error as Error).message}`);
  }
}

interface Watch {
  readonly prefix: string;
  readonly since: Revision;
  readonly signal: AbortSignal;
  readonly backend: Backend;
  readonly watchers: Set<() => void>;
  closed(): boolean;
}
async function* watch(request: Watch): AsyncGenerator<StoreChange> {
  const { prefix, since, signal, backend, watchers } = request;
  let news = true;
  let resume: () => void = () => {};
  const wake = (): void => {
    news = true;
    resume();
  };
  watchers.add(wake);
  signal.addEventListener('abort', wake);
  try {
    for (let at = since; !signal.aborted && !request.closed();) {
      if (!news) await new Promise<void>((resolve) => (resume = resolve));
      if (signal.aborted || request.closed()) return;
      news = false;
      const page = await backend.history(prefix, at);
      if (at < page.compacted)
        throw new Compacted(`history starts after ${page.compacted}; asked for what follows ${at}`);
      for (const change of page.changes) {
        if (signal.aborted) return;
        yield change;
      }
      at = page.through;
      if (page.more) news = true;
    }
  } finally {
    signal.removeEventListener('abort', wake);
    watchers.delete(wake);
  }
}

function inProcess(limits: HistoryLimits, onCommit: () => void): Backend {
  const engine = openEngine(':memory:', limits);
  let open = true;
  const need = (): void => {
    if (!open) throw new StoreUnavailable('the store is closed');
  };
  return {
    list: async (prefix) => (need(), engine.list(prefix)),
    transact: async (compares, operations) => {
      need();
      const before = engine.revision();
      const [result] = engine.transact([{ compares, operations }]);
      if (result === undefined) throw new Error('a transaction had no result');
      if (engine.revision() !== before) onCommit();
      return result;
    },
    history: async (prefix, since) => (need(), engine.history(prefix, since)),
    compact: async (before) => (need(), engine.compact(before)),
    range: async (range) => (need(), engine.range(range)),
    backup: async (path) => (need(), engine.backup(path)),
    close: async () => {
      open = false;
      engine.close();
    },
  };
}

function inThread(path: string, limits: HistoryLimits, onCommit: () => void): Backend {
  const workerData: WorkerOptions = { path, limits };
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData });
  const waiting = new Map<number, PromiseWithResolvers<unknown>>();
  let lastId = 0;
  let revision = 0;
  let ended: string | undefined;
  worker.unref();
  worker.on('message', (message: Replies) => {
    const news = message.revision > revision;
    revision = Math.max(revision, message.revision);
    for (const reply of message.replies) {
      const asker = waiting.get(reply.id);
      waiting.delete(reply.id);
      if ('error' in reply) asker?.reject(new StoreUnavailable(`the store failed: ${reply.error}`));
      else asker?.resolve(reply.result);
    }
    if (waiting.size === 0) worker.unref();
    if (news) onCommit();
  });
  worker.on('exit', () => {
    ended ??= "the store's thread has ended";
    for (const asker of waiting.values()) asker.reject(new StoreUnavailable(ended));
    waiting.clear();
  });
  const ask = <T>(call: Call): Promise<T> => {
    if (ended !== undefined) return Promise.reject(new StoreUnavailable(ended));
    if (waiting.size >= REQUESTS_WAITING_MAX)
      return Promise.reject(new StoreUnavailable(`${waiting.size} requests wait for the store`));
    const id = ++lastId;
    const asker = Promise.withResolvers<unknown>();
    waiting.set(id, asker);
    worker.ref();
    worker.postMessage({ ...call, id } satisfies Request);
    return asker.promise as Promise<T>;
  };
  return {
    list: (prefix) => ask({ call: 'list', prefix }),
    transact: (compares, operations) =>
      ask({ call: 'transact', transaction: { compares, operations } }),
    history: (prefix, since) => ask({ call: 'history', prefix, since }),
    compact: (before) => ask({ call: 'compact', before }),
    range: (range) => ask({ call: 'range', range }),
    backup: (path) => ask({ call: 'backup', path }),
    close: async () => {
      const closing = ask({ call: 'close' });
      ended = 'the store is closed';
      await closing.catch(() => {});
      await worker.terminate();
    },
  };
}
