/**
 * What applying documents would change, for people: unified, field by field, an element of a list
 * each on its own line. Names stand for ids, also for those that are not given yet.
 */
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { fieldsOf, type FieldSpec } from '../fields.ts';
import { styled } from '../format.ts';
import type { Screen } from '../io.ts';
import { cellOf, type Lookup } from '../names.ts';
import type { Fields } from './document.ts';
import { placeText } from './read.ts';
import type { Stand } from './stand.ts';
import type { Aim, Steps } from './steps.ts';

/** Names of what there is and of what documents make. */
export const lookupOf =
  (stand: Stand, { subjects }: Pick<Steps, 'subjects'>): Lookup =>
  (kind, id) => {
    const name = subjects.documentOf(id)?.fields['name'] ?? stand.get(kind, id)?.name;
    return typeof name === 'string' ? name : id;
  };

/** One field of one object, before and after; undefined: it has none. */
export interface FieldDifference {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

const isShown = (kind: KindName, field: string): boolean =>
  field !== 'id' && field !== 'revision' && !kindOf(kind).assigned.includes(field);

/**
 * The fields that an aim changes. `after`: the object as it will be; fields that nobody gave are
 * told only where they change.
 */
export function differencesOf(aim: Aim, after: StoredObject | undefined): FieldDifference[] {
  const { kind, deed, before, changes } = aim;
  const was = (before ?? {}) as Fields;
  if (deed === 'create')
    return Object.entries(changes).map(([field, value]) => ({
      field,
      before: undefined,
      after: value,
    }));
  if (deed === 'delete' || deed === 'prune')
    return Object.entries(was)
      .filter(([field]) => isShown(kind, field))
      .map(([field, value]) => ({ field, before: value, after: undefined }));
  const will = (after ?? {}) as Fields;
  return Object.keys(changes).map((field) => ({
    field,
    before: was[field],
    after: changes[field] === null ? will[field] : changes[field],
  }));
}

const elementsOf = (field: FieldSpec, value: unknown, name: Lookup): string[] => {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) return [cellOf(field, value, name)];
  return value.map((element) => cellOf(field, [element], name));
};

/** Elements that stay, go and come, in the order of the lists. */
function fieldLines(field: FieldSpec, { before, after }: FieldDifference, name: Lookup): string[] {
  const left = elementsOf(field, before, name);
  const right = elementsOf(field, after, name);
  const isList = Array.isArray(before) || Array.isArray(after);
  const coming = [...right];
  const lines: string[] = [];
  for (const text of left) {
    const at = isList ? coming.indexOf(text) : -1;
    if (at >= 0) coming.splice(at, 1);
    lines.push(`${at >= 0 ? ' ' : '-'}${field.name}: ${text}`);
  }
  if (isList && left.length === 0 && right.length === 0) return [];
  return [...lines, ...coming.map((text) => `+${field.name}: ${text}`)];
}

/** The lines of one object. */
export function differenceText(
  screen: Screen,
  aim: Aim,
  differences: readonly FieldDifference[],
  name: Lookup,
): string {
  const specs = new Map(fieldsOf(kindOf(aim.kind)).map((field) => [field.name, field]));
  const there = aim.before === undefined ? 'not there' : 'as it is';
  const wanted = aim.document === undefined ? 'pruned' : placeText(aim.document.place);
  const gone = aim.deed === 'delete' ? `deleted, ${wanted}` : wanted;
  const body = differences.flatMap((difference) => {
    const spec = specs.get(difference.field);
    return spec === undefined ? [] : fieldLines(spec, difference, name);
  });
  const lines = [
    styled(screen, 'bold', `--- ${aim.title} (${there})`),
    styled(screen, 'bold', `+++ ${aim.title} (${gone})`),
    ...body.map((line) =>
      line.startsWith(' ') ? line : styled(screen, line.startsWith('+') ? 'green' : 'red', line),
    ),
  ];
  return `${lines.join('\n')}\n`;
}
