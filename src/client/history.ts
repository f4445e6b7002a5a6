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

export interface HistoryClient {
  /** What `operations` would change, decided by the API; nothing is written. */
  dryRun(operations: readonly Operation[]): Promise<Written>;
}

/** `pathOf`: where an object of a kind is. */
export const historyClient = (
  { send }: Requests,
  pathOf: (kind: KindName, idOrName?: string) => string,
): HistoryClient => ({
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
