/**
 * The history as callers may see it: of each change the rows of objects that were theirs, newest
 * first, in pages of bounded work; and the topology of old for reads with `at`.
 *
 * Invariant: a tenant sees only rows of its own objects, and of who changed them only whether that
 * was itself; changes that concern none of its objects do not show.
 */
import type { HistoryEntry, HistoryPage, HistoryRow } from '#client/history.ts';
import type { Token } from '#client/types.ts';
import { kindOf } from '#virtual/kinds.ts';
import { KIND_NAMES, type KindName, type StoredObject } from '#virtual/kind.ts';
import { isServicePort } from '#virtual/member-health/service-port.ts';
import type { Topology } from '#virtual/topology.ts';
import type { KeptEntry } from './history-rows.ts';
import type { Node } from './node.ts';
import { refuseField } from './problems.ts';
import { choiceOf, integerOf, json, NOT_HOSTS, onlyQuery, type Route } from './route.ts';

export const HISTORY_LIMIT = 100;
/** Entries in one page of history; a larger page is refused. */
export const HISTORY_LIMIT_MAX = 1_000;
/** Entries looked at for one page; `next` goes on behind them. */
export const HISTORY_SCANNED_MAX = 2_000;
/** An answer ends after so many rows, at the end of an entry. */
const HISTORY_ROWS_MAX = 5_000;

/** The topology at a kept revision; undefined: it is no longer kept, or not there yet. */
export const topologyAt = async (node: Node, revision: number): Promise<Topology | undefined> =>
  (await node.history.at(revision)).topology;

/** The same; throws a Refusal of `field` that says which revisions there are. */
export async function topologyOf(node: Node, revision: number, field: string): Promise<Topology> {
  const old = await node.history.at(revision);
  if (old.topology !== undefined) return old.topology;
  const rule = `must be a revision that is kept: ${old.oldest} to ${node.replica.revision}`;
  throw refuseField(field, rule);
}

interface Filter {
  readonly token: Token;
  readonly kind: KindName | undefined;
  readonly id: string | undefined;
  readonly name: string | undefined;
  readonly by: string | undefined;
  readonly all: boolean;
}

function filterOf(query: URLSearchParams, token: Token): Filter {
  const kind = query.get('kind') ?? undefined;
  if (kind !== undefined && !(KIND_NAMES as readonly string[]).includes(kind))
    throw refuseField('kind', `must be one of ${KIND_NAMES.join(', ')}`);
  return {
    token,
    kind: kind as KindName | undefined,
    id: query.get('id')?.toLowerCase(),
    name: query.get('name') ?? undefined,
    by: query.get('by') ?? undefined,
    all: choiceOf(query, 'all'),
  };
}

const isTheirs = (token: Token, object: StoredObject | undefined): boolean =>
  token.role === 'operator' ||
  (token.role === 'tenant' && object !== undefined && object.tenant === token.tenant);

/** Whether nobody asked for it: agents write it, or the server does for them. */
const isByItself = ({ kind, before, after }: HistoryRow): boolean =>
  kindOf(kind).writer === 'host' || (kind === 'port' && isServicePort(after ?? before));

function isShown({ token, kind, id, name, all }: Filter, row: HistoryRow): boolean {
  if (!isTheirs(token, row.before) && !isTheirs(token, row.after)) return false;
  if (kind === undefined ? isByItself(row) && !all : row.kind !== kind) return false;
  if (id !== undefined && row.id !== id) return false;
  return name === undefined || row.before?.name === name || row.after?.name === name;
}

/** Who wrote, as far as the reader may know. */
function authorFor(token: Token, { by, request }: KeptEntry): Pick<HistoryEntry, 'by' | 'request'> {
  const { tenant, ...author } = by;
  const own = token.role === 'operator' || (token.role === 'tenant' && tenant === token.tenant);
  if (!own) return { by: { role: by.role, name: `another ${by.role}` } };
  return { by: author, ...(request !== undefined && { request }) };
}

/** What of an entry a reader sees; undefined: nothing. */
function shown(filter: Filter, entry: KeptEntry): HistoryEntry | undefined {
  const rows = entry.rows.filter((row) => isShown(filter, row));
  const { by, request } = authorFor(filter.token, entry);
  const isBy = [undefined, by.name, by.id, by.role].includes(filter.by);
  if (rows.length === 0 || !isBy) return undefined;
  const { revision } = entry;
  const at = new Date(entry.at).toISOString();
  return { revision, at, by, ...(request !== undefined && { request }), rows };
}

interface PageOf {
  readonly before: number;
  readonly since: number;
  readonly limit: number;
}
async function pageOf(node: Node, filter: Filter, { before, since, limit }: PageOf) {
  const items: HistoryEntry[] = [];
  let scanned = 0;
  let rows = 0;
  let last = before;
  for await (const entry of node.history.newestFirst(before)) {
    if (entry.revision <= since) return { items };
    const isFull = items.length >= limit || rows >= HISTORY_ROWS_MAX;
    if (isFull || scanned >= HISTORY_SCANNED_MAX) return { items, next: last };
    scanned += 1;
    last = entry.revision;
    const item = shown(filter, entry);
    if (item === undefined) continue;
    items.push(item);
    rows += item.rows.length;
  }
  return { items };
}

const QUERY = [
  { name: 'kind', about: 'Only objects of this kind.', type: 'string' },
  { name: 'id', about: 'Only the object with this id.', type: 'string' },
  { name: 'name', about: 'Only objects that had this name then.', type: 'string' },
  { name: 'since', about: 'Only changes after this revision.', type: 'integer' },
  { name: 'before', about: 'Only changes before it: the `next` of a page.', type: 'integer' },
  { name: 'by', about: 'Only changes by this name, token id or role.', type: 'string' },
  { name: 'all', about: 'true: what agents wrote, where ports are up, too.', type: 'boolean' },
  {
    name: 'limit',
    about: `At most so many (${HISTORY_LIMIT}, up to ${HISTORY_LIMIT_MAX}).`,
    type: 'integer',
  },
] as const;

export const historyRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/history',
    operationId: 'get-history',
    about: 'What changed, by whom and when, before and after; the newest first.',
    who: NOT_HOSTS,
    output: 'HistoryPage',
    query: QUERY,
    handle: async ({ caller, query }) => {
      onlyQuery(
        query,
        QUERY.map(({ name }) => name),
      );
      const limit = integerOf(query, 'limit', HISTORY_LIMIT);
      if (limit < 1 || limit > HISTORY_LIMIT_MAX)
        throw refuseField('limit', `must be from 1 to ${HISTORY_LIMIT_MAX}`);
      const { revision } = node.replica;
      const before = integerOf(query, 'before', revision + 1);
      const since = integerOf(query, 'since', 0);
      const filter = filterOf(query, caller.token);
      const page = await pageOf(node, filter, { before, since, limit });
      const answer: HistoryPage = { revision, ...page };
      return json(answer, { 'x-revision': String(revision) });
    },
  },
];
