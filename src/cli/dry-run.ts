/**
 * `--dry-run`: a client whose writes only ask what they would do, and changes as people read them,
 * field by field. `--at`: a client whose reads are of an older revision. Commands need to know
 * nothing of either: `action` gives them that client.
 */
import type { ObjectChange } from '#client/history.ts';
import type { Client, Operation } from '#client/types.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { sameObject } from '#virtual/same.ts';
import { fieldsOfObject } from './fields.ts';
import { cellOf, type Lookup, type Names, titleOf } from './names.ts';

/** The client with every write in place of which the API only tells what it would change. */
export function dryRunClient(client: Client): Client {
  const when = (ifRevision: number | undefined) => (ifRevision === undefined ? {} : { ifRevision });
  const one = (operation: Operation) => client.dryRun([operation]);
  return {
    ...client,
    create: (kind, body) => one({ op: 'create', kind, body }),
    update: (kind, id, body, ifRevision) =>
      one({ op: 'update', kind, id, body, ...when(ifRevision) }),
    remove: (kind, id, ifRevision) => one({ op: 'delete', kind, id, ...when(ifRevision) }),
    transact: (operations) => client.dryRun(operations),
    rollback: (request) => client.rollback({ ...request, dryRun: true }),
  };
}

/** The client with reads of objects as they were at a revision. */
export const clientAt = (client: Client, at: number): Client => ({
  ...client,
  list: (kind, query = {}) => client.list(kind, { ...query, at }),
  listAll: (kind, where) => client.listAll(kind, where, at),
  get: (kind, idOrName) => client.get(kind, idOrName, at),
});

type Fields = Readonly<Record<string, unknown>>;
/** One field that differs: `text` is `was → is`, or the only value there is. */
export interface FieldChange {
  readonly field: string;
  readonly text: string;
}

/** What differs between two states of an object; of one that comes or goes, what it has. */
export function fieldChanges(
  kind: KindName,
  before: StoredObject | undefined,
  after: StoredObject | undefined,
  name: Lookup,
): FieldChange[] {
  const object = after ?? before;
  if (object === undefined) return [];
  const changes: FieldChange[] = [];
  for (const field of fieldsOfObject(kindOf(kind), object)) {
    const [was, is] = [before, after].map(
      (state) => (state as unknown as Fields | undefined)?.[field.name],
    );
    if (sameObject(was, is) || field.name === 'id') continue;
    const [from, to] = [was, is].map((value) => cellOf(field, value, name));
    const both = before !== undefined && after !== undefined;
    const text = both ? `${from || '(none)'} → ${to || '(none)'}` : `${to || from}`;
    if (text !== '') changes.push({ field: field.flag, text });
  }
  return changes;
}

/** Names for ids: those of the changed objects themselves first, then those the API knows. */
export async function namesFor(
  names: Names,
  rows: readonly Pick<ObjectChange, 'kind' | 'before' | 'after'>[],
): Promise<Lookup> {
  const own = new Map<string, string>();
  for (const { before, after } of rows) {
    const object = after ?? before;
    if (object?.name !== undefined) own.set(object.id, object.name);
  }
  const kinds = [...new Set(rows.map(({ kind }) => kind))];
  const lookups = await Promise.all(kinds.map((kind) => names.forKind(kind)));
  return (kind, id) => {
    const known = lookups.map((lookup) => lookup(kind, id)).find((name) => name !== id);
    return own.get(id) ?? known ?? id;
  };
}

/** What people call the object of a row. */
export function rowTitle(
  { kind, id, before, after }: Pick<ObjectChange, 'kind' | 'id' | 'before' | 'after'>,
  name: Lookup,
): string {
  const object = after ?? before;
  if (kind === 'location') return name('port', id);
  return object === undefined ? id : titleOf(kind, object, name);
}

/** Lines for people; the last says that nothing was written. */
export async function dryRunText(names: Names, changes: readonly ObjectChange[]): Promise<string> {
  const name = await namesFor(names, changes);
  const lines: string[] = [];
  for (const change of changes) {
    const { op, kind, before, after } = change;
    lines.push(`would ${op} ${kind} ${rowTitle(change, name)}`);
    if (op === 'delete') continue;
    const fields = fieldChanges(kind, before, after, name);
    const width = Math.max(0, ...fields.map(({ field }) => field.length));
    for (const { field, text } of fields) lines.push(`  ${field.padEnd(width)}  ${text}`);
  }
  if (changes.length === 0) lines.push('nothing would change');
  return `${[...lines, 'nothing was written'].join('\n')}\n`;
}
