/**
 * Creating and updating one object: from a caller's body to an object that its schema accepts.
 *
 * A body is a merge patch (RFC 7396) on what there is: on nothing for a creation. Faults of one
 * body are all told at once.
 */
import type { z } from 'zod';
import type { Draft } from '../draft.ts';
import { faultsOf, ruleOf } from '../faults.ts';
import type { Kind, KindName, StoredObject } from '../kind.ts';
import { kindOf, type ObjectOf } from '../kinds.ts';
import { isServicePort } from '../member-health/service-port.ts';
import { mapReferences } from '../references.ts';
import { POSITION_STEP } from '../rule/rule.ts';
import { sameObject } from '../same.ts';
import {
  findTarget,
  resolve,
  visibleTo,
  wordsOf,
  type Body,
  type CreateOperation,
  type PlanContext,
  type UpdateOperation,
  type Work,
} from './work.ts';

/** Values of the fields that the server gives, by kind and field. */
const ASSIGN: {
  readonly [K in KindName]?: Readonly<Record<string, (context: PlanContext) => unknown>>;
} = {
  bridge: { floodKey: (context) => context.nextFloodKey() },
  router: { networkKey: (context) => context.nextFloodKey() },
  // Only `plan/member-health.ts` makes ports that have it.
  port: { service: () => undefined },
};

/**
 * The first byte of MACs made here: locally administered, unicast (IEEE 802 §8.4). The others are
 * the first five of the port's id, which are random (RFC 9562 §5.4).
 */
const MADE_MAC = '6e';
/** The MAC of a router's port that is given none. */
export const madeMac = (id: string): string =>
  [MADE_MAC, ...(id.replaceAll('-', '').slice(0, 10).match(/../g) ?? [])].join(':');

/** Lays a new object into the draft; undefined when there are faults. */
export function createObject(
  work: Work,
  { kind, body }: CreateOperation,
): StoredObject | undefined {
  const row = kindOf(kind);
  const checked = checkBody(work, row, withVariant(row, body), {});
  if (checked === undefined) return undefined;
  const fields = mergePatch({}, checked);
  fields['tenant'] ??= defaultTenant(work, row, fields);
  if (fields['tenant'] === undefined) delete fields['tenant'];
  const newId = work.context.newId();
  fields['id'] = newId;
  for (const field of row.assigned) {
    const assign = ASSIGN[kind]?.[field];
    if (assign === undefined) throw new Error(`plan: nothing gives ${kind}.${field}`);
    const value = assign(work.context);
    if (value !== undefined) fields[field] = value;
  }
  return store(work, row, fields, 0);
}

/** Lays the changed object into the draft; undefined when there are faults. */
export function updateObject(work: Work, operation: UpdateOperation): StoredObject | undefined {
  const row = kindOf(operation.kind);
  const current = findTarget(work, operation);
  if (current === undefined) return undefined;
  const { revision, ...before } = current as StoredObject & Body;
  const checked = checkBody(work, row, operation.body, current as StoredObject & Body);
  if (checked === undefined || !keepsAddresses(work, current as StoredObject & Body, checked))
    return undefined;
  const { revision: _, ...patch } = checked;
  return store(work, row, mergePatch(before, patch), revision);
}

/**
 * What a router's port says of itself holds on the bridge it is linked to, before whatever was
 * learned there: on a bridge of somebody else a tenant could take an address over from its owner.
 */
export function keepsAddresses(
  { draft, faults, context }: Work,
  current: Body,
  body: Body,
): boolean {
  const { caller } = context;
  const peer = draft.get('port', String(current['peer'])) as ObjectOf<'port'> | undefined;
  if (caller.role !== 'tenant' || current['type'] !== 'router') return true;
  if (peer?.type !== 'bridge' || visibleTo(caller, peer)) return true;
  const before = faults.count;
  for (const field of ['mac', 'networks'])
    if (field in body && !sameObject(body[field] ?? undefined, current[field]))
      faults.add(403, field, 'can be set by an operator only: the bridge is of another tenant');
  return faults.count === before;
}

export function store(
  work: Work,
  row: Kind,
  given: Body,
  revision: number,
): StoredObject | undefined {
  const fields = withPosition(work, row, withMac(row, given));
  const parsed = row.schema.safeParse(fields, { error: ruleOf as z.core.$ZodErrorMap });
  if (!parsed.success) {
    for (const { path, message } of faultsOf(parsed.error.issues))
      work.faults.add(400, path, message);
    return undefined;
  }
  const whole: Body = parsed.data;
  const kept = Object.entries(whole).filter(
    ([field, value]) => !isForeign(row, whole, field) && !isNoLabels(field, value),
  );
  const object = { ...Object.fromEntries(kept), revision } as unknown as StoredObject;
  work.draft.put(row.name, object, work.faults.operation);
  return object;
}

/** No labels are said in one way only: by no field. */
const isNoLabels = (field: string, value: unknown): boolean =>
  field === 'labels' && (value as readonly string[] | undefined)?.length === 0;

/** A router's port always has a MAC: who gives none, or takes it away, gets the one made here. */
function withMac({ name }: Kind, fields: Body): Body {
  const { id, type, mac } = fields;
  if (name !== 'port' || type !== 'router' || mac !== undefined) return fields;
  return { ...fields, mac: madeMac(String(id)) };
}

/** A rule that is given no position goes behind the last one of its chain, with room between. */
function withPosition({ draft }: Work, { name }: Kind, fields: Body): Body {
  const { id, chain, position } = fields;
  if (name !== 'rule' || (position ?? undefined) !== undefined || typeof chain !== 'string')
    return fields;
  const positionOf = (rule: StoredObject | undefined): number =>
    (rule === undefined || rule.id === id ? undefined : (rule as ObjectOf<'rule'>).position) ?? 0;
  // A long chain is gone through once in a transaction; after that, only what it has touched.
  const known = lastPositions.getOrInsertComputed(draft, () => new Map());
  let last = known.getOrInsertComputed(chain, () =>
    draft
      .referrers('rule', 'chain', chain)
      .reduce((most, other) => Math.max(most, positionOf(draft.get('rule', other))), 0),
  );
  for (const { kind, object } of draft.touched())
    if (kind === 'rule' && (object as ObjectOf<'rule'> | undefined)?.chain === chain)
      last = Math.max(last, positionOf(object));
  return { ...fields, position: last + POSITION_STEP };
}
/** Of chains, as it was when a transaction first asked. */
const lastPositions = new WeakMap<Draft, Map<string, number>>();

/** A port that is given a router is a router's: the caller need not say so twice. */
function withVariant({ name }: Kind, body: Body): Body {
  if (name !== 'port' || (body['type'] ?? undefined) !== undefined) return body;
  if (typeof body['router'] !== 'string') return body;
  return { ...body, type: 'router' };
}

const defaultOf = ({ schema }: Kind, field: string): unknown => {
  const found = (schema.shape as Record<string, z.ZodType>)[field]?.safeParse(undefined);
  return found?.success === true ? found.data : undefined;
};

/**
 * Whether a field belongs to another variant than the object is of; that there is no such variant
 * is the schema's to say.
 */
function isForeign({ variants }: Kind, object: Body, field: string): boolean {
  if (variants === undefined) return false;
  const own = String(object[variants.field]);
  if (!Object.hasOwn(variants.of, own) || variants.of[own]?.includes(field) === true) return false;
  return Object.values(variants.of).some((of) => of.includes(field));
}

/**
 * A body with its references resolved, or undefined when this caller may not set what it sets.
 * `current`: the object as it is; an equal value is no change and always allowed.
 */
function checkBody(work: Work, row: Kind, body: Body, current: Body): Body | undefined {
  const { faults } = work;
  const before = faults.count;
  const known = Object.keys(row.schema.shape);
  for (const field of Object.keys(body))
    if (!known.includes(field) && field !== 'revision')
      faults.add(400, field, `is not a field of a ${wordsOf(row.name)}`);
  const variant = row.variants?.field ?? '';
  const object = { [variant]: body[variant] ?? current[variant] ?? defaultOf(row, variant) };
  for (const [field, value] of Object.entries(body))
    if (value !== null && known.includes(field) && isForeign(row, object, field))
      faults.add(400, field, `is not a field of a ${String(object[variant])} ${wordsOf(row.name)}`);
  if (faults.count > before) return undefined;
  const listed = new Map<string, Set<unknown>>();
  const isThere = (path: string, text: string): boolean => {
    const [field = path] = path.split('.');
    const now = current[field];
    if (!Array.isArray(now)) return now === text;
    return listed.getOrInsertComputed(field, () => new Set(now)).has(text);
  };
  const resolved = mapReferences(row.name, body, (text, kind, path) => {
    // What is there already may be repeated, also by who may not see what it names.
    if (isOperatorsOnly(work, row, path) || isThere(path, text)) return text;
    const found = resolve(work, kind, text);
    if ('id' in found) {
      if (kind === 'port' && isServicePort(work.draft.get(kind, found.id)))
        faults.add(400, path, 'is a port of the server, by which a host checks members');
      return found.id;
    }
    faults.add(found.status === 404 ? 400 : 409, path, found.fault);
    return text;
  });
  for (const [field, value] of Object.entries(resolved))
    if (!sameObject(value ?? undefined, current[field]))
      checkField(work, row, { field, value, current });
  return faults.count > before ? undefined : resolved;
}

const isOperatorsOnly = ({ context }: Work, { operatorFields }: Kind, path: string): boolean =>
  context.caller.role !== 'operator' && operatorFields.includes(path.split('.')[0] ?? path);

interface FieldChange {
  readonly field: string;
  readonly value: unknown;
  readonly current: Body;
}

function checkField(work: Work, row: Kind, { field, value, current }: FieldChange): void {
  const { caller } = work.context;
  const exists = current['id'] !== undefined;
  if (field === 'id' || field === 'revision' || row.assigned.includes(field))
    work.faults.add(400, field, 'is given by the server');
  else if (exists && row.immutable.includes(field))
    work.faults.add(400, field, `cannot change once the ${wordsOf(row.name)} exists`);
  else if (isOperatorsOnly(work, row, field))
    work.faults.add(403, field, 'can be set by an operator only');
  else if (field === 'tenant' && caller.role === 'tenant' && value !== caller.tenant)
    work.faults.add(403, field, `must be your own tenant, ${JSON.stringify(caller.tenant)}`);
  else if (row.filled?.includes(field) === true && Array.isArray(value) && value.length === 0)
    work.faults.add(400, field, 'must not be empty: leave it out to match all');
  else if (isImposed(work, row, current[field], field))
    work.faults.add(403, field, 'is a chain of the operator, who alone can take it away');
}

/** Whether a field names a chain that this caller may not see: an operator has put it there. */
function isImposed({ draft, context }: Work, row: Kind, now: unknown, field: string): boolean {
  if (row.references[field]?.kind !== 'chain' || typeof now !== 'string') return false;
  const chain = draft.get('chain', now);
  return chain !== undefined && !visibleTo(context.caller, chain);
}

/** A tenant's own; of what belongs to a device, chain, balancer or pool, that of its owner. */
function defaultTenant({ draft, context }: Work, row: Kind, fields: Body): unknown {
  if (!('tenant' in row.schema.shape)) return undefined;
  if (context.caller.role === 'tenant') return context.caller.tenant;
  for (const field of ['bridge', 'router', 'chain', 'loadBalancer', 'pool']) {
    const { kind } = row.references[field] ?? {};
    const id = fields[field];
    if (kind !== undefined && typeof id === 'string') return draft.get(kind, id)?.tenant;
  }
  return undefined;
}

const isRecord = (value: unknown): value is Body =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** RFC 7396 §2. */
function mergePatch(target: Body, patch: Body): Record<string, unknown> {
  const out: Record<string, unknown> = { ...target };
  for (const [field, value] of Object.entries(patch)) {
    if (value === null) delete out[field];
    else if (isRecord(value))
      out[field] = mergePatch(isRecord(out[field]) ? out[field] : {}, value);
    else if (value !== undefined) out[field] = value;
  }
  return out;
}
