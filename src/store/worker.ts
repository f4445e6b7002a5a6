/**
 * The thread that owns a database file, so that waiting for the disk stops nobody else.
 *
 * Invariant: requests are served in the order in which they came; transactions that wait together
 * are committed together (one fsync), and are answered only after that commit.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { type Engine, type HistoryLimits, openEngine, type Transaction } from './engine.ts';
import type { KeyRange, Revision } from './store.ts';

export type Call =
  | { readonly call: 'list'; readonly prefix: string }
  | { readonly call: 'transact'; readonly transaction: Transaction }
  | { readonly call: 'history'; readonly prefix: string; readonly since: Revision }
  | { readonly call: 'compact'; readonly before: Revision }
  | { readonly call: 'range'; readonly range: KeyRange }
  | { readonly call: 'backup'; readonly path: string }
  | { readonly call: 'close' };
export type Request = Call & { readonly id: number };
export type Reply =
  | { readonly id: number; readonly result: unknown }
  | { readonly id: number; readonly error: string };
export interface Replies {
  readonly revision: Revision;
  readonly replies: readonly Reply[];
}
export interface WorkerOptions {
  readonly path: string;
  readonly limits: HistoryLimits;
}
/** Transactions of one commit. */
const GROUP_MAX = 256;

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

function serve(engine: Engine, requests: readonly Request[]): Reply[] {
  const replies: Reply[] = [];
  let group: Extract<Request, { call: 'transact' }>[] = [];
  const attempt = (ids: readonly number[], work: () => readonly unknown[]): void => {
    try {
      const results = work();
      for (const [i, id] of ids.entries()) replies.push({ id, result: results[i] });
    } catch (error) {
      for (const id of ids) replies.push({ id, error: textOf(error) });
    }
  };
  const commit = (): void => {
    if (group.length === 0) return;
    const batch = group;
    group = [];
    attempt(
      batch.map(({ id }) => id),
      () => engine.transact(batch.map(({ transaction }) => transaction)),
    );
  };
  for (const request of requests) {
    if (request.call === 'transact') {
      if (group.push(request) >= GROUP_MAX) commit();
      continue;
    }
    commit();
    if (request.call === 'backup') continue;
    attempt([request.id], () => [other(engine, request)]);
  }
  commit();
  return replies;
}

type Other = Exclude<Request, { call: 'transact' | 'backup' }>;
function other(engine: Engine, request: Other): unknown {
  switch (request.call) {
    case 'list':
      return engine.list(request.prefix);
    case 'history':
      return engine.history(request.prefix, request.since);
    case 'compact':
      return engine.compact(request.before);
    case 'range':
      return engine.range(request.range);
    case 'close':
      return engine.close();
  }
}

/** Opens at the first request, so that a failure to open is that request's answer. */
function run(options: WorkerOptions, port: NonNullable<typeof parentPort>): void {
  let engine: Engine | undefined;
  let waiting: Request[] = [];
  const copy = (engine: Engine, { id, path }: Extract<Request, { call: 'backup' }>): void => {
    const answer = (reply: Reply): void =>
      port.postMessage({ revision: engine.revision(), replies: [reply] } satisfies Replies);
    engine.backup(path).then(
      () => answer({ id, result: undefined }),
      (error: unknown) => answer({ id, error: textOf(error) }),
    );
  };
  const drain = (): void => {
    const requests = waiting;
    waiting = [];
    let replies: readonly Reply[];
    let revision = 0;
    try {
      engine ??= openEngine(options.path, options.limits);
      revision = engine.revision();
      replies = serve(engine, requests);
      for (const request of requests) if (request.call === 'backup') copy(engine, request);
      revision = engine.revision();
    } catch (error) {
      replies = requests.map(({ id }) => ({ id, error: textOf(error) }));
    }
    port.postMessage({ revision, replies } satisfies Replies);
    if (requests.some(({ call }) => call === 'close')) port.close();
  };
  port.on('message', (request: Request) => {
    if (waiting.push(request) === 1) setImmediate(drain);
  });
}

if (parentPort !== null) run(workerData as WorkerOptions, parentPort);
