/**
 * Objects as documents that `mn apply` takes back, on this network or an empty one: names for ids
 * where a name says which object is meant, without what the server gives or would give anyway, in
 * an order that depends on nothing but the objects.
 *
 * Law: applying what was exported to a network without these objects, and exporting that, gives the
 * same text.
 */
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { madeMac } from '#virtual/plan/objects.ts';
import { sameObject } from '#virtual/same.ts';
import { type Fields, fieldSchema, KIND_WORD, mapGiven } from './document.ts';
import { KINDS_IN_ORDER, type Stand } from './stand.ts';
import { NAMELESS, ownersOf } from './subjects.ts';

const fieldOf = (object: StoredObject, field: string): unknown =>
  (object as unknown as Fields)[field];
/** How many objects share what names them: their kind, tenant, what they belong to, their name. */
export class Namesakes {
  readonly #counts = new Map<string, number>();

  constructor(stand: Stand) {
    for (const [kind, objects] of stand.kinds())
      for (const object of objects) {
        const key = this.#keyOf(kind, object);
        this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
      }
  }

  /** Only an id tells it from another: its document holds for this network alone. */
  has(kind: KindName, object: StoredObject): boolean {
    return (this.#counts.get(this.#keyOf(kind, object)) ?? 0) > 1;
  }

  #keyOf(kind: KindName, object: StoredObject): string {
    const { name, tenant = null } = object;
    const owners = ownersOf(kind).map((field) => fieldOf(object, field) ?? null);
    const key = (NAMELESS[kind] ?? []).map((field) => fieldOf(object, field) ?? null);
    return JSON.stringify([kind, tenant, owners, name ?? key]);
  }
}

interface Exporting {
  readonly stand: Stand;
  readonly namesakes: Namesakes;
}

/** How a document of `from` names an object: as shortly as it is unmistakable. */
function nameFor(
  { stand, namesakes }: Exporting,
  from: { readonly kind: KindName; readonly object: StoredObject },
  kind: KindName,
  id: string,
): unknown {
  const object = stand.get(kind, id);
  if (object?.name === undefined || namesakes.has(kind, object)) return id;
  const { name, tenant } = object;
  const same = stand.named(kind, name);
  if (same.length === 1) return name;
  const ownTenant = same.filter((each) => each.tenant === from.object.tenant);
  if (ownTenant.length === 1 && ownTenant[0] === object) return name;
  const hasTenant = 'tenant' in kindOf(kind).schema.shape;
  const scope: Record<string, unknown> = { name, ...(hasTenant && { tenant: tenant ?? null }) };
  for (const field of ownersOf(kind)) {
    const owner = fieldOf(object, field);
    const target = kindOf(kind).references[field]?.kind;
    if (typeof owner !== 'string' || target === undefined) continue;
    const device = stand.get(target, owner);
    if (device?.name !== undefined) scope[field] = device.name;
  }
  return scope;
}

/** Whether a field is the server's to give. */
const isAssigned = (kind: KindName, field: string): boolean =>
  field === 'id' || field === 'revision' || kindOf(kind).assigned.includes(field);

/** Whether a field says what the server would say by itself. */
function isImplied(kind: KindName, object: StoredObject, field: string): boolean {
  const { references } = kindOf(kind);
  const value = fieldOf(object, field);
  if (field === 'mac' && value === madeMac(object.id)) return true;
  if (field === 'type' && references[String(value)] !== undefined) return true;
  const parsed = fieldSchema(kindOf(kind), field)?.safeParse(undefined);
  return parsed?.success === true && sameObject(parsed.data, value);
}

/** One object as a document. `whole`: also the fields that have their default. */
export function documentFor(
  exporting: Exporting,
  kind: KindName,
  object: StoredObject,
  whole = false,
): Fields {
  const row = kindOf(kind);
  const fields = mapGiven(kind, object as unknown as Fields, ({ target, given }) =>
    nameFor(exporting, { kind, object }, target, String(given)),
  );
  const out: Record<string, unknown> = { [KIND_WORD]: kind };
  if (exporting.namesakes.has(kind, object)) out['id'] = object.id;
  // Where there are tenants, an object of none must not be taken for one of theirs.
  const isDevice = 'tenant' in row.schema.shape && ownersOf(kind).length === 0;
  if (exporting.stand.hasTenants && isDevice && object.tenant === undefined) out['tenant'] = null;
  for (const field of Object.keys(row.schema.shape))
    if (fields[field] !== undefined && !isAssigned(kind, field))
      if (whole || !isImplied(kind, object, field)) out[field] = fields[field];
  return out;
}

/** Order by kind, then by what the documents say: ids, which differ, decide nothing. */
export function documentsFor(
  exporting: Exporting,
  wanted: Iterable<readonly [KindName, readonly StoredObject[]]>,
): Fields[] {
  const byKind = new Map(wanted);
  return KINDS_IN_ORDER.flatMap((kind) =>
    (byKind.get(kind) ?? [])
      .map((object) => documentFor(exporting, kind, object))
      .map((document) => ({ document, key: keyOf(document) }))
      .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
      .map(({ document }) => document),
  );
}

const keyOf = (document: Fields): string =>
  JSON.stringify([document['tenant'] ?? '', document['name'] ?? '', document]);
