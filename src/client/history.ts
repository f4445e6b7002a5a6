/**
 * The words of what changed: what a write would do, and what the writes before it did. One row is
 * one object before and after; no secret is ever in one.
 */
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { type Requests, withBody, writtenOf } from './request.ts';
import type { Operation, Written } from './types.ts';

/** What a write does to one object. */
export interface ObjectChange {
  readonly op: 'create' | 'update' | 'delete';
  readonly kind: KindName;
  readonly id: string;
  readonly before?: StoredObject;
  readonly after?: StoredObject;
}

export interface HistoryRow {
  readonly kind: KindName;
  readonly id: string;
  /** Absent: it was created. */
  readonly before?: StoredObject;
  /** Absent: it was deleted. */
  readonly after?: StoredObject;
}
/** Who wrote: `id` is that of the token, absent on the unix socket. */
export interface Author {
  readonly role: 'operator' | 'tenant' | 'host';
  readonly name: string;
  readonly id?: string;
}
/** One committed transaction. */
export interface HistoryEntry {
  readonly revision: number;
  /** By the clock of the API node that committed it, in ISO 8601. */
  readonly at: string;
  readonly by: Author;
  /** The id of the request, as in `x-request-id`. */
  readonly request?: string;
  readonly rows: readonly HistoryRow[];
}

export interface HistoryPage {
  readonly revision: number;
  /** The newest first. */
  readonly items: readonly HistoryEntry[];
  /** Pass as `before` for what is older; absent at the end. A page may hold fewer than asked. */
  readonly next?: number;
}
export interface HistoryQuery {
  readonly kind?: KindName;
  readonly id?: string;
  /** A name that the object had then. */
  readonly name?: string;
  /** Only changes after this revision, or before that one. */
  readonly since?: number;
  readonly before?: number;
  /** A name or id of a token, or a role. */
  readonly by?: string;
  /** What agents wrote too. */
  readonly all?: boolean;
  readonly limit?: number;
}

export interface RollbackRequest {
  readonly to: number;
  /** Only these, by id or by a name that they have now or had then. */
  readonly objects?: readonly { readonly kind: KindName; readonly id: string }[];
  readonly dryRun?: boolean;
}
export interface RolledBack {
  /** At which it is durable; of a dry run the present one. */
  readonly revision: number;
  readonly to: number;
  /** Objects that changed, and the transactions it took. */
  readonly objects: number;
  readonly transactions: number;
  readonly dryRun?: true;
  /** Of a dry run, bounded. */
  readonly changes?: readonly ObjectChange[];
}

/** A rollback of many objects takes many transactions. */
const ROLLBACK_MS_MAX = 600_000;
const BACKUP_MS_MAX = 3_600_000;

export interface HistoryClient {
  /** A page of what changed, the newest first. */
  history(query?: HistoryQuery): Promise<HistoryPage>;
  /** Puts objects back as they were at a revision. */
  rollback(request: RollbackRequest): Promise<RolledBack>;
  /** Writes a copy of the store to a new file on the API's machine; on the unix socket only. */
  backup(path: string): Promise<{ readonly path: string; readonly bytes: number }>;
  /** What `operations` would change, decided by the API; nothing is written. */
  dryRun(operations: readonly Operation[]): Promise<Written>;
}

/** `pathOf`: where an object of a kind is. */
export const historyClient = (
  { send, get, ask }: Requests,
  pathOf: (kind: KindName, idOrName?: string) => string,
): HistoryClient => ({
  history: (query = {}) => {
    const given = Object.entries(query).filter(([, value]) => value !== undefined);
    const text = new URLSearchParams(given.map(([name, value]) => [name, String(value)]));
    return get(`/v1/history${text.size === 0 ? '' : `?${text.toString()}`}`);
  },
  rollback: (request) => ask('POST', '/v1/rollback', request, ROLLBACK_MS_MAX),
  backup: (path) => ask('POST', '/v1/backup', { path }, BACKUP_MS_MAX),
  dryRun: async (operations) => {
    const [only] = operations;
    // A deletion by itself may sweep more than one transaction holds.
    if (operations.length === 1 && only?.op === 'delete') {
      const { kind, id, ifRevision } = only;
      const condition = ifRevision === undefined ? {} : { 'if-match': `"${ifRevision}"` };
      const path = `${pathOf(kind, id)}?dry-run=true`;
      return writtenOf(await send(path, withBody('DELETE', undefined, condition)));
    }
    const body = withBody('POST', { operations });
    return writtenOf(await send('/v1/transactions?dry-run=true', body));
  },
});
