/**
 * Reading the topology for a caller: what it may see, one object by id or name, pages with filters.
 *
 * Invariant: pages are ordered by name, then id, and continue after a place in that order: an
 * object that is there from the first page to the last is listed exactly once, whatever else
 * changes meanwhile.
 */
import type { Page, Token } from '#client/types.ts';
import { entitled, objectKey as nameKey } from '#virtual/entitlement.ts';
import type { HostId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { wordsOf } from '#virtual/plan/work.ts';
import type { Topology } from '#virtual/topology.ts';
import { Refusal, refuseField } from './problems.ts';
import type { Replica } from './replica.ts';

export const PAGE_LIMIT = 100;
/** Objects in one page of a list; a larger page is refused. */
export const PAGE_LIMIT_MAX = 1_000;
/** Ids told when a name is not unique. */
const NAMESAKES_TOLD_MAX = 5;

/** Whose an object is: what was found of a member is its owner's. */
export const tenantOf = (
  topology: Pick<Topology, 'get'>,
  kind: KindName,
  object: StoredObject,
): string | undefined =>
  (kind === 'member-health' ? topology.get('pool-member', object.id) : object)?.tenant;

export type Sight = (kind: KindName, object: StoredObject) => boolean;

/**
 * What a caller may see: operators all, tenants their own objects, hosts what their agent needs.
 */
export function sightOf(token: Token, topology: Topology): Sight {
  if (token.role === 'operator') return () => true;
  if (token.role === 'tenant')
    return (kind, object) => tenantOf(topology, kind, object) === token.tenant;
  const keys: ReadonlySet<string> = entitled(topology, token.host as HostId);
  return (kind, object) => keys.has(nameKey(kind, object.id));
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** The object with this id or unique name. Throws 404, or 409 when the name is not unique. */
export function find(
  topology: Topology,
  kind: KindName,
  idOrName: string,
  sees: Sight,
): StoredObject {
  const refuse = (status: 404 | 409, message: string): Refusal =>
    new Refusal(status, { errors: [{ path: '', message }] });
  if (UUID.test(idOrName)) {
    const object = topology.get(kind, idOrName.toLowerCase());
    if (object !== undefined && sees(kind, object)) return object;
    throw refuse(404, `no ${wordsOf(kind)} has the id ${idOrName.toLowerCase()}`);
  }
  const found = topology
    .named(kind, idOrName)
    .map((id) => topology.get(kind, id))
    .filter((object) => object !== undefined && sees(kind, object))
    .sort((a, b) => ((a?.id ?? '') < (b?.id ?? '') ? -1 : 1));
  const [object] = found;
  const quoted = JSON.stringify(idOrName);
  if (object === undefined) throw refuse(404, `no ${wordsOf(kind)} is named ${quoted}`);
  if (found.length === 1) return object;
  const shown = found.slice(0, NAMESAKES_TOLD_MAX).map((one) => one?.id);
  const more = found.length > shown.length ? ', …' : '';
  const plural = kindOf(kind).path.replaceAll('-', ' ');
  const ids = `${shown.join(', ')}${more}`;
  throw refuse(409, `${found.length} ${plural} are named ${quoted}: give one of the ids ${ids}`);
}

type Place = readonly [name: string, id: string];
const placeOf = ({ name, id }: StoredObject): Place => [name ?? '', id];
const compare = ([nameA, idA]: Place, [nameB, idB]: Place): number => {
  if (nameA !== nameB) return nameA < nameB ? -1 : 1;
  return idA === idB ? 0 : idA < idB ? -1 : 1;
};

/** Objects of each kind in the order of pages; sorted again only after a change of that kind. */
export class Sorted {
  readonly #topology: Topology;
  readonly #kinds = new Map<KindName, readonly StoredObject[]>();

  constructor(replica: Replica) {
    this.#topology = replica.topology;
    replica.listen({
      changed: ({ rows }) => {
        for (const { kind } of rows) this.#kinds.delete(kind);
      },
      replaced: () => this.#kinds.clear(),
    });
  }

  of(kind: KindName): readonly StoredObject[] {
    const known = this.#kinds.get(kind);
    if (known !== undefined) return known;
    const sorted = inOrder(this.#topology.list(kind));
    this.#kinds.set(kind, sorted);
    return sorted;
  }
}

/** The objects of a topology that changes no more, in the order of pages; kept as long as it. */
const sortedOld = new WeakMap<Topology, Pick<Sorted, 'of'>>();
export function sortedOf(topology: Topology): Pick<Sorted, 'of'> {
  return sortedOld.getOrInsertComputed(topology, () => {
    const kinds = new Map<KindName, readonly StoredObject[]>();
    return {
      of: (kind) => kinds.getOrInsertComputed(kind, () => inOrder(topology.list(kind))),
    };
  });
}
const inOrder = (objects: Iterable<StoredObject>): StoredObject[] =>
  [...objects].sort((a, b) => compare(placeOf(a), placeOf(b)));

const encode = (place: Place): string => Buffer.from(JSON.stringify(place)).toString('base64url');
function decode(text: string): Place {
  try {
    const place: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (
      Array.isArray(place) &&
      place.length === 2 &&
      place.every((part) => typeof part === 'string')
    )
      return place as unknown as Place;
  } catch {
    // Not ours: refused below.
  }
  throw refuseField('after', 'must be the `next` of an earlier page');
}

function limitOf(text: string | null): number {
  if (text === null) return PAGE_LIMIT;
  const limit = /^\d{1,9}$/.test(text) ? Number(text) : 0;
  if (limit < 1 || limit > PAGE_LIMIT_MAX)
    throw refuseField('limit', `must be a number from 1 to ${PAGE_LIMIT_MAX}`);
  return limit;
}

export interface ListRequest {
  readonly topology: Topology;
  readonly sorted: Pick<Sorted, 'of'>;
  readonly kind: KindName;
  readonly query: URLSearchParams;
  readonly sees: Sight;
}

/** One page. Query: `limit`, `after`, and any field of the kind (references by id or name). */
export function list({ topology, sorted, kind, query, sees }: ListRequest): Page {
  const limit = limitOf(query.get('limit'));
  const afterText = query.get('after');
  const place = afterText === null ? undefined : decode(afterText);
  const filters = filtersOf({ topology, kind, query, sees });
  const all = sorted.of(kind);
  const items: StoredObject[] = [];
  for (let i = place === undefined ? 0 : firstAfter(all, place); i < all.length; i++) {
    const object = all[i];
    if (object === undefined || !sees(kind, object)) continue;
    if (!filters.every((passes) => passes(object))) continue;
    if (items.length === limit) {
      const last = items.at(-1);
      const next = last === undefined ? {} : { next: encode(placeOf(last)) };
      return { revision: topology.revision, items, ...next };
    }
    items.push(object);
  }
  return { revision: topology.revision, items };
}

function firstAfter(all: readonly StoredObject[], place: Place): number {
  let low = 0;
  let high = all.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const object = all[middle];
    if (object !== undefined && compare(placeOf(object), place) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * Throws a Refusal that names every parameter which is no field. A name stands only for objects
 * that the caller may see: else a filter would tell whose id it is.
 */
function filtersOf({ topology, kind, query, sees }: Omit<ListRequest, 'sorted'>) {
  const fields = Object.keys(kindOf(kind).schema.shape);
  const references = kindOf(kind).references;
  const filters: ((object: StoredObject) => boolean)[] = [];
  const errors: { path: string; message: string }[] = [];
  for (const [path, text] of query) {
    if (path === 'limit' || path === 'after' || path === 'at') continue;
    const [field = '', inner, ...rest] = path.split('.');
    if (!fields.includes(field) || rest.length > 0) {
      errors.push({ path, message: `is not a field of a ${kind}: ${fields.join(', ')}` });
      continue;
    }
    const target = references[path]?.kind;
    const isSeen = (id: string): boolean => {
      const named = target === undefined ? undefined : topology.get(target, id);
      return target !== undefined && named !== undefined && sees(target, named);
    };
    const named = target === undefined ? [] : topology.named(target, text).filter(isSeen);
    const accepted = new Set([text, ...named]);
    filters.push((object) =>
      valuesAt(object, field, inner).some((value) => accepted.has(String(value))),
    );
  }
  if (errors.length > 0) throw new Refusal(400, { errors });
  return filters;
}

/** The value of a field, each text of a list, or a field of each element of one. */
function valuesAt(object: StoredObject, field: string, inner: string | undefined): unknown[] {
  const value = (object as unknown as Record<string, unknown>)[field];
  if (inner === undefined)
    return (Array.isArray(value) ? value : [value]).filter(
      (one) => typeof one !== 'object' && one !== undefined,
    );
  if (!Array.isArray(value)) return [];
  return value.map((element) => (element as Record<string, unknown>)[inner]);
}
