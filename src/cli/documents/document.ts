/**
 * A document: one object as an operator writes it down. `kind`, then the fields that it is to have,
 * as the API names them.
 *
 *     kind: port
 *     name: vm1
 *     bridge: b1
 *     addresses:
 *       - mac: 02:00:00:00:01:02
 *
 * A field that is left out keeps its value, and has its default when the object is created; `null`
 * clears it. References are an id, a name, or an object that says whose name it is:
 * `peer: { name: p1, bridge: b1, tenant: acme }`. `delete: true`: there is to be no such object.
 *
 * Invariant: what `checkDocument` lets pass breaks no rule of a field by itself, and names no field
 * that the kind does not have, or that the server gives.
 */
import { z } from 'zod';
import { faultsOf, ruleOf } from '#virtual/faults.ts';
import { KIND_NAMES, type Fault, type Kind, type KindName } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { referencesFrom } from '#virtual/references.ts';

export type Fields = Readonly<Record<string, unknown>>;

/** Where in the files something stands. */
export interface Place {
  readonly file: string;
  /** From 1. */
  readonly line: number;
}

export interface Document {
  readonly place: Place;
  readonly kind: KindName;
  /** The id, when the document gives it: then the object must exist. */
  readonly id: string | undefined;
  /** As given, without `kind`, `id` and `delete`. */
  readonly fields: Fields;
  /** There is to be no such object. */
  readonly remove: boolean;
  /** The line of a field by its path (`members.0.host`), or of the nearest that is there. */
  lineOf(path: string): number;
}

/** Words of a document that are no fields. */
export const KIND_WORD = 'kind';
export const DELETE_WORD = 'delete';

/** The kinds that documents may be of: hosts write their rows themselves. */
export const DOCUMENT_KINDS = KIND_NAMES.filter((name) => kindOf(name).writer !== 'host');

export const isRecord = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A reference that says whose name it is. */
export interface Named {
  readonly name: string;
  /** null: it has none. */
  readonly tenant?: string | null | undefined;
  readonly bridge?: string | undefined;
  readonly router?: string | undefined;
}
const text = z.string().min(1, 'must not be empty');
const NamedSchema = z.strictObject({
  name: text,
  tenant: text.nullish(),
  bridge: text.optional(),
  router: text.optional(),
});

export interface GivenReference {
  /** As in faults: `members.0.host`. */
  readonly path: string;
  readonly target: KindName;
  readonly given: unknown;
}

/**
 * The fields with every reference replaced by what `resolve` answers; what is absent or null stays.
 */
export function mapGiven(
  kind: KindName,
  fields: Fields,
  resolve: (reference: GivenReference) => unknown,
): Fields {
  const out: Record<string, unknown> = { ...fields };
  for (const { field, inner, reference } of referencesFrom(kind)) {
    const value = fields[field] ?? undefined;
    if (value === undefined) continue;
    const target = reference.kind;
    if (inner === undefined && Array.isArray(value))
      out[field] = value.map((given: unknown, i) =>
        resolve({ path: `${field}.${i}`, target, given }),
      );
    else if (inner === undefined) out[field] = resolve({ path: field, target, given: value });
    else if (Array.isArray(value))
      out[field] = value.map((element: unknown, i) => {
        if (!isRecord(element) || element[inner] === undefined) return element;
        const path = `${field}.${i}.${inner}`;
        return { ...element, [inner]: resolve({ path, target, given: element[inner] }) };
      });
  }
  return out;
}

/** Some UUID: stands for a reference while the rest of a field is checked; no two are one. */
const someId = (n: number): string => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;

function referenceFaults(kind: KindName, fields: Fields): Fault[] {
  const faults: Fault[] = [];
  mapGiven(kind, fields, ({ path, given }) => {
    if (isRecord(given)) {
      const parsed = NamedSchema.safeParse(given, { error: ruleOf as z.core.$ZodErrorMap });
      for (const fault of parsed.success ? [] : faultsOf(parsed.error.issues))
        faults.push({ ...fault, path: fault.path === '' ? path : `${path}.${fault.path}` });
    } else if (typeof given !== 'string' || given === '')
      faults.push({ path, message: 'must be a name, an id, or { name: … }' });
    return given;
  });
  return faults;
}

/** The schema of a field, by which its value is checked and brought into its canonical form. */
export const fieldSchema = ({ schema }: Kind, field: string): z.ZodType | undefined =>
  Object.hasOwn(schema.shape, field) ? (schema.shape[field] as z.ZodType) : undefined;

/** What breaks the rules of a kind's fields, each by itself. */
export function fieldFaults(name: KindName, fields: Fields): Fault[] {
  const row = kindOf(name);
  const words = name.replaceAll('-', ' ');
  const faults = referenceFaults(name, fields);
  const error = ruleOf as z.core.$ZodErrorMap;
  let references = 0;
  const checked = mapGiven(name, fields, () => someId(references++));
  for (const [field, value] of Object.entries(checked)) {
    const schema = fieldSchema(row, field);
    if (field === 'revision' || row.assigned.includes(field))
      faults.push({ path: field, message: 'is given by the server: leave it out' });
    else if (schema === undefined)
      faults.push({ path: field, message: `is not a field of a ${words}` });
    else {
      const parsed = schema.safeParse(value ?? undefined, { error });
      if (parsed.success) continue;
      for (const fault of faultsOf(parsed.error.issues))
        faults.push({ ...fault, path: [field, fault.path].filter((part) => part).join('.') });
    }
  }
  return faults;
}

/** What a document says, or what is wrong with it. `value`: as it was read. */
export function checkDocument(
  value: unknown,
): Pick<Document, 'kind' | 'id' | 'fields' | 'remove'> | readonly Fault[] {
  if (!isRecord(value)) return [{ path: '', message: 'must be an object with a kind' }];
  const { [KIND_WORD]: given, [DELETE_WORD]: remove, id, ...fields } = value;
  const kind = DOCUMENT_KINDS.find((name) => name === given);
  if (kind === undefined) {
    const message =
      given === undefined ? 'is required' : `must be one of ${DOCUMENT_KINDS.join(', ')}`;
    return [{ path: KIND_WORD, message }];
  }
  const faults = fieldFaults(kind, fields);
  if (remove !== undefined && typeof remove !== 'boolean')
    faults.push({ path: DELETE_WORD, message: 'must be true or false' });
  const parsed = z.uuid().toLowerCase().safeParse(id);
  if (id !== undefined && !parsed.success)
    faults.push({ path: 'id', message: 'must be the id of an object that exists, or left out' });
  if (faults.length > 0) return faults;
  return { kind, id: parsed.data, fields, remove: remove === true };
}
