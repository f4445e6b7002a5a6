/**
 * The list of a kind: its columns and what filters see, read from the schema. Conditions that the
 * API can answer (a stored field equals a text) go there; the others are met here.
 */
import type { Kind, KindName, StoredObject } from '#virtual/kind.ts';
import { fieldsOf, type FieldSpec, kebab } from './fields.ts';
import type { List, ListColumn } from './listing.ts';
import { isId, type Lookup, shortCellOf } from './names.ts';
import type { Session } from './session.ts';
import type { Condition } from './where.ts';

const valueOf = (object: object, field: string): unknown =>
  (object as Readonly<Record<string, unknown>>)[field];

const titleOf = (field: FieldSpec): string => field.flag.replaceAll('-', ' ').toUpperCase();

const isNumeric = (field: FieldSpec): boolean => field.type === 'number';

function columnOf(field: FieldSpec, wide: boolean, name: Lookup): ListColumn<StoredObject> {
  const stored = (object: StoredObject): unknown => valueOf(object, field.name);
  const { refersTo } = field;
  const column: ListColumn<StoredObject> = {
    name: field.name,
    title: titleOf(field),
    value: stored,
    cell: (object) => shortCellOf(field, stored(object), name),
    spare: field.name === 'id',
    ...(field.type !== 'texts' && { numeric: isNumeric(field) }),
    ...(wide && { wide }),
  };
  if (refersTo === undefined) return column;
  const idOf = (object: StoredObject): string | undefined => {
    const id = stored(object);
    return typeof id === 'string' ? id : undefined;
  };
  const named = (object: StoredObject): string | undefined => {
    const id = idOf(object);
    return id === undefined ? undefined : name(refersTo, id);
  };
  return { ...column, value: named, also: (object) => [idOf(object) ?? ''] };
}

/** A field of each element of a list, to filter by: `members.host`. */
function partOf(field: FieldSpec, part: FieldSpec, name: Lookup): ListColumn<StoredObject> {
  const values = (object: StoredObject): unknown[] =>
    ((valueOf(object, field.name) ?? []) as readonly object[]).map((one) =>
      valueOf(one, part.name),
    );
  const { refersTo } = part;
  const shown = (object: StoredObject): unknown[] =>
    refersTo === undefined
      ? values(object)
      : values(object).map((id) => (typeof id === 'string' ? name(refersTo, id) : id));
  return {
    name: `${field.name}.${part.name}`,
    title: '',
    hidden: true,
    value: shown,
    also: (object) => values(object).map(String),
    numeric: isNumeric(part),
  };
}

/** All columns of a kind: those of its row first, the others with `-o wide`. */
export function columnsOf(kind: Kind, name: Lookup): ListColumn<StoredObject>[] {
  const fields = fieldsOf(kind);
  const first = kind.columns.flatMap((column) => fields.filter((field) => field.name === column));
  const rest = fields.filter((field) => !kind.columns.includes(field.name));
  return [
    ...first.map((field) => columnOf(field, false, name)),
    ...rest.map((field) => columnOf(field, true, name)),
    ...fields.flatMap((field) => field.element.map((part) => partOf(field, part, name))),
    {
      name: 'revision',
      title: 'REVISION',
      value: ({ revision }) => revision,
      wide: true,
      align: 'right',
      numeric: true,
    },
  ];
}

const sameField = (a: string, b: string): boolean => kebab(a) === kebab(b);

/** The field that a condition is about, if it is a stored one with values that are no objects. */
function storedField(kind: Kind, name: string): readonly [string, FieldSpec] | undefined {
  const [outer = '', inner, ...more] = name.split('.');
  const field = fieldsOf(kind).find((one) => sameField(one.name, outer));
  if (field === undefined || more.length > 0) return undefined;
  if (inner === undefined) return field.type === 'objects' ? undefined : [field.name, field];
  const part = field.element.find((one) => sameField(one.name, inner));
  return part === undefined ? undefined : [`${field.name}.${part.name}`, part];
}

/** A text as the API stores it, so that `02:AB…` finds `02:ab…`; junk stays as typed. */
function canonical({ schema, type }: FieldSpec, text: string): string {
  const parsed = schema.safeParse(type === 'texts' ? [text] : text);
  const value = parsed.success && type === 'texts' ? (parsed.data as unknown[])[0] : parsed.data;
  return parsed.success && typeof value === 'string' ? value : text;
}

/** The API's filters for what it can answer, and the conditions that are left. */
async function divide(
  session: Session,
  kind: Kind,
  conditions: readonly Condition[],
): Promise<{ readonly where: Record<string, string>; readonly left: Condition[] }> {
  const where: Record<string, string> = {};
  const left: Condition[] = [];
  for (const condition of conditions) {
    const [path, field] = storedField(kind, condition.field) ?? [];
    const asked = condition.operator === '=' && condition.value !== '';
    if (!asked || path === undefined || field === undefined || path in where)
      left.push(field === undefined ? condition : exact(condition, field));
    else if (field.refersTo === undefined) where[path] = canonical(field, condition.value);
    else where[path] = await session.names.id(field.refersTo, condition.value);
  }
  return { where, left };
}

/** A comparison of equality goes by what is stored. */
const exact = (condition: Condition, field: FieldSpec): Condition =>
  condition.operator === '=' || condition.operator === '!='
    ? {
        ...condition,
        value: isId(condition.value)
          ? condition.value.toLowerCase()
          : canonical(field, condition.value),
      }
    : condition;

/** Changes of the kinds whose objects or names a list shows. */
async function* newsOf(
  session: Session,
  kinds: ReadonlySet<KindName>,
  signal: AbortSignal,
): AsyncGenerator<void> {
  const { client } = session.io;
  const { revision } = await client.list('host', { limit: 1 });
  // What came between the first look and this revision is looked at once.
  yield;
  for await (const event of client.watch({ since: revision, signal }))
    if (
      event.type === 'snapshot' ||
      (event.type === 'change' && event.change.rows.some((row) => kinds.has(row.kind)))
    )
      yield;
}

/** What one list of a kind was asked for. */
export interface KindRequest {
  readonly conditions: readonly Condition[];
  readonly order: string | undefined;
  readonly wide: boolean;
  readonly forPeople: boolean;
}

/** The fields whose names must be known to answer a request. */
function namedFields(kind: Kind, request: KindRequest, left: readonly Condition[]): FieldSpec[] {
  const used = [
    ...left.map(({ field }) => field),
    ...(request.order ?? '').split(',').map((key) => key.replace(/^-/, '')),
  ].map((name) => name.split('.', 1)[0] ?? '');
  return fieldsOf(kind).filter(
    (field) =>
      used.some((name) => sameField(name, field.name)) ||
      (request.forPeople && (request.wide || kind.columns.includes(field.name))),
  );
}

/** The list of a kind. Names are asked for at every look, as far as they are needed. */
export async function kindList(
  session: Session,
  kind: Kind,
  request: KindRequest,
): Promise<List<StoredObject>> {
  const { where, left } = await divide(session, kind, request.conditions);
  const fields = namedFields(kind, request, left);
  let names: Lookup = (_kind, id) => id;
  const kinds = new Set<KindName>([kind.name]);
  for (const field of fields.flatMap((one) => [one, ...one.element]))
    if (field.refersTo !== undefined) kinds.add(field.refersTo);
  return {
    columns: columnsOf(kind, (of, id) => names(of, id)),
    conditions: left,
    empty: `no ${kind.name} found`,
    key: ({ id }) => id,
    load: async () => {
      const objects = await session.io.client.listAll(kind.name, where);
      names = await session.names.forFields(fields);
      return objects;
    },
    news: (signal) => newsOf(session, kinds, signal),
  };
}
