/**
 * `mn KIND update`: a merge patch from flags. Edits of a list (`--add-…`, `--remove-…`) read the
 * object, change the list and write it back on the condition that nobody wrote between; a lost race
 * is tried again, a bounded number of times, unless the caller named the revision.
 */
import { ApiError } from '#client/errors.ts';
import type { Written } from '#client/types.ts';
import type { Kind, StoredObject } from '#virtual/kind.ts';
import { type FieldSpec, findField, parseElement, parseTexts, settableFields } from './fields.ts';
import { RefusedError, UsageError } from './io.ts';
import type { Options, Session } from './session.ts';

/** Times a list edit is tried when others keep writing the same object. */
export const EDIT_ATTEMPTS_MAX = 5;

interface Edit {
  readonly field: FieldSpec;
  readonly add: readonly unknown[];
  readonly remove: readonly { readonly text: string; readonly like: unknown }[];
}
type Element = Readonly<Record<string, unknown>>;

const camel = (prefix: string, name: string): string =>
  `${prefix}${name[0]?.toUpperCase() ?? ''}${name.slice(1)}`;

/**
 * A value as the API would store it, so that `02:AB…` removes `02:ab…`; junk stays as typed and
 * matches nothing.
 */
async function canonical(session: Session, field: FieldSpec, value: unknown): Promise<unknown> {
  if (field.refersTo !== undefined) return session.names.id(field.refersTo, String(value));
  const parsed = field.schema.safeParse(value);
  return parsed.success ? parsed.data : value;
}

async function pattern(session: Session, field: FieldSpec, text: string): Promise<unknown> {
  if (field.type === 'texts' && field.refersTo !== undefined)
    return session.names.id(field.refersTo, text);
  if (field.type === 'texts') {
    const parsed = field.schema.safeParse([text]);
    return parsed.success ? (parsed.data as readonly unknown[])[0] : text;
  }
  const like: Record<string, unknown> = {};
  const given = parseElement(field, text, `--remove-${field.flag}`);
  for (const [name, value] of Object.entries(given))
    like[name] = await canonical(session, findField(field.element, name, field.flag), value);
  return like;
}

async function editsOf(session: Session, kind: Kind, options: Options): Promise<Edit[]> {
  const edits: Edit[] = [];
  for (const field of settableFields(kind)) {
    const added = (options[camel('add', field.name)] ?? []) as readonly string[];
    const removed = (options[camel('remove', field.name)] ?? []) as readonly string[];
    if (added.length + removed.length === 0) continue;
    if (options[field.name] !== undefined)
      throw new UsageError(
        `--${field.flag} replaces the list: it cannot go with --add or --remove`,
      );
    const texts = field.type === 'texts';
    const parse = (text: string): unknown[] =>
      texts ? parseTexts(text) : [parseElement(field, text, `--add-${field.flag}`)];
    const remove: { text: string; like: unknown }[] = [];
    for (const text of texts ? removed.flatMap(parseTexts) : removed)
      remove.push({ text, like: await pattern(session, field, text) });
    edits.push({ field, add: added.flatMap(parse), remove });
  }
  return edits;
}

const matches = (item: unknown, like: unknown): boolean =>
  typeof like === 'object' && like !== null
    ? Object.entries(like).every(([name, value]) => (item as Element)[name] === value)
    : item === like;

function edited(object: StoredObject, edit: Edit, command: string): readonly unknown[] {
  const now = (object as unknown as Element)[edit.field.name];
  let list = Array.isArray(now) ? (now as readonly unknown[]) : [];
  for (const { text, like } of edit.remove) {
    const rest = list.filter((item) => !matches(item, like));
    if (rest.length === list.length)
      throw new RefusedError(
        `${edit.field.flag}: nothing matches '${text}'`,
        `See what there is: mn ${command} show ${object.name ?? object.id}`,
      );
    list = rest;
  }
  return [...list, ...edit.add];
}

/** Writes what the flags of `update` ask for. `body`: the fields given whole. */
export async function changesOf(
  session: Session,
  kind: Kind,
  request: { readonly target: string; readonly options: Options; readonly body: Element },
): Promise<Written> {
  const { client } = session.io;
  const { target, options } = request;
  const body: Record<string, unknown> = { ...request.body };
  for (const text of (options['unset'] ?? []) as readonly string[]) {
    const field = findField(settableFields(kind), text, '--unset');
    if (field.name in body) throw new UsageError(`--unset ${text}: --${field.flag} is given too`);
    body[field.name] = null;
  }
  const edits = await editsOf(session, kind, options);
  if (edits.length === 0 && Object.keys(body).length === 0)
    throw new UsageError('nothing to change: name at least one field');
  const ifRevision = options['ifRevision'] as number | undefined;
  if (edits.length === 0) return client.update(kind.name, target, body, ifRevision);
  for (let attempt = 1; ; attempt++) {
    const object = await client.get(kind.name, target);
    for (const edit of edits) body[edit.field.name] = edited(object, edit, kind.name);
    try {
      return await client.update(kind.name, target, body, ifRevision ?? object.revision);
    } catch (error) {
      const lost = error instanceof ApiError && error.status === 412 && ifRevision === undefined;
      if (!lost || attempt === EDIT_ATTEMPTS_MAX) throw error;
    }
  }
}
