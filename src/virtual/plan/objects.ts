/**
 * Creating and updating one object: from a caller's body to an object that its schema accepts.
 *
 * A body is a merge patch (RFC 7396) on what there is: on nothing for a creation. Faults of one
 * body are all told at once.
 */
import type { z } from 'zod';
import { faultsOf, ruleOf } from '../faults.ts';
import type { Kind, KindName, StoredObject } from '../kind.ts';
import { kindOf, type ObjectOf } from '../kinds.ts';
import { mapReferences } from '../references.ts';
import { sameObject } from '../same.ts';
import {
  findTarget,
  resolve,
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
};

/** Lays a new object into the draft; undefined when there are faults. */
export function createObject(
  work: Work,
  { kind, body }: CreateOperation,
): StoredObject | undefined {
  const row = kindOf(kind);
  const checked = checkBody(work, row, body, {});
  if (checked === undefined) return undefined;
  const fields = mergePatch({}, checked);
  fields['tenant'] ??= defaultTenant(work, row, fields);
  if (fields['tenant'] === undefined) delete fields['tenant'];
  fields['id'] = work.context.newId();
  for (const field of row.assigned) {
    const assign = ASSIGN[kind]?.[field];
    if (assign === undefined) throw new Error(`plan: nothing gives ${kind}.${field}`);
    fields[field] = assign(work.context);
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
  if (checked === undefined) return undefined;
  const { revision: _, ...patch } = checked;
  return store(work, row, mergePatch(before, patch), revision);
}

function store(work: Work, row: Kind, fields: Body, revision: number): StoredObject | undefined {
  const parsed = row.schema.safeParse(fields, { error: ruleOf as z.core.$ZodErrorMap });
  if (!parsed.success) {
    for (const { path, message } of faultsOf(parsed.error.issues))
      work.faults.add(400, path, message);
    return undefined;
  }
  const object = { ...parsed.data, revision } as unknown as StoredObject;
  work.draft.put(row.name, object, work.faults.operation);
  return object;
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
  if (faults.count > before) return undefined;
  const resolved = mapReferences(row.name, body, (text, kind, path) => {
    if (isOperatorsOnly(work, row, path)) return text;
    const found = resolve(work, kind, text);
    if ('id' in found) return found.id;
    faults.add(found.status === 404 ? 400 : 409, path, found.fault);
    return text;
  });
  for (const [field, value] of Object.entries(resolved))
    if (!sameObject(value ?? undefined, current[field]))
      checkField(work, row, { field, value, exists: current['id'] !== undefined });
  return faults.count > before ? undefined : resolved;
}

const isOperatorsOnly = ({ context }: Work, { operatorFields }: Kind, path: string): boolean =>
  context.caller.role !== 'operator' && operatorFields.includes(path.split('.')[0] ?? path);

interface FieldChange {
  readonly field: string;
  readonly value: unknown;
  readonly exists: boolean;
}

function checkField(work: Work, row: Kind, { field, value, exists }: FieldChange): void {
  const { caller } = work.context;
  if (field === 'id' || field === 'revision' || row.assigned.includes(field))
    work.faults.add(400, field, 'is given by the server');
  else if (exists && row.immutable.includes(field))
    work.faults.add(400, field, `cannot change once the ${wordsOf(row.name)} exists`);
  else if (isOperatorsOnly(work, row, field))
    work.faults.add(403, field, 'can be set by an operator only');
  else if (field === 'tenant' && caller.role === 'tenant' && value !== caller.tenant)
    work.faults.add(403, field, `must be your own tenant, ${JSON.stringify(caller.tenant)}`);
}

/** A tenant's own; of a port, that of its bridge. */
function defaultTenant({ draft, context }: Work, row: Kind, fields: Body): unknown {
  if (!('tenant' in row.schema.shape)) return undefined;
  if (context.caller.role === 'tenant') return context.caller.tenant;
  if (row.name !== 'port' || typeof fields['bridge'] !== 'string') return undefined;
  return (draft.get('bridge', fields['bridge']) as ObjectOf<'bridge'> | undefined)?.tenant;
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
