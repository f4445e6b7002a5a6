/**
 * Reads and empties the reference fields that the table of kinds declares, so that nothing else
 * knows how a reference is stored.
 *
 * A path is a field (`bridge`), whose value may be a list of ids (`ports`), or a field of the
 * elements of a list (`members.host`).
 */
import { KIND_NAMES, type KindName, type Reference, type StoredObject } from './kind.ts';
import { kindOf } from './kinds.ts';

export interface ReferencePath {
  readonly holder: KindName;
  readonly path: string;
  readonly field: string;
  /** Set when `field` is a list of objects: the field of its elements. */
  readonly inner: string | undefined;
  readonly reference: Reference;
}

type Fields = Readonly<Record<string, unknown>>;

const pathsOf = (holder: KindName): ReferencePath[] =>
  Object.entries(kindOf(holder).references).map(([path, reference]) => {
    const [field = path, inner] = path.split('.');
    return { holder, path, field, inner, reference };
  });

const byHolder = new Map(KIND_NAMES.map((kind) => [kind, pathsOf(kind)]));
const byTarget = new Map(
  KIND_NAMES.map((kind) => [
    kind,
    [...byHolder.values()].flat().filter((path) => path.reference.kind === kind),
  ]),
);

/** The references that objects of this kind hold. */
export const referencesFrom = (holder: KindName): readonly ReferencePath[] =>
  byHolder.get(holder) ?? [];
/** The references that name objects of this kind. */
export const referencesTo = (target: KindName): readonly ReferencePath[] =>
  byTarget.get(target) ?? [];

const elementsOf = (value: unknown): readonly Fields[] =>
  Array.isArray(value)
    ? value.filter((element): element is Fields => typeof element === 'object' && element !== null)
    : [];

/** The ids that a stored object names at a path. */
export function targetsOf(object: StoredObject, { field, inner }: ReferencePath): string[] {
  const value = (object as unknown as Fields)[field];
  const found: readonly unknown[] =
    inner !== undefined
      ? elementsOf(value).map((element) => element[inner])
      : Array.isArray(value)
        ? value
        : [value];
  return found.filter((id): id is string => typeof id === 'string');
}

/** The object without what names `target` at a path. */
export function withoutTarget(
  object: StoredObject,
  { field, inner }: ReferencePath,
  target: string,
): StoredObject {
  const { [field]: value, ...rest } = object as unknown as Fields;
  const kept: readonly unknown[] | undefined =
    inner !== undefined
      ? elementsOf(value).filter((e) => e[inner] !== target)
      : Array.isArray(value)
        ? value.filter((each) => each !== target)
        : undefined;
  return (kept === undefined ? rest : { ...rest, [field]: kept }) as unknown as StoredObject;
}

/**
 * A caller's body with every reference replaced by what `resolve` answers for its text; `path` is
 * where it stands in the body. What is not text is left for the schema to refuse.
 */
export function mapReferences(
  holder: KindName,
  body: Fields,
  resolve: (text: string, target: KindName, path: string) => string,
): Fields {
  const out: Record<string, unknown> = { ...body };
  for (const { field, inner, reference } of referencesFrom(holder)) {
    const value = out[field];
    if (inner === undefined) {
      if (typeof value === 'string') out[field] = resolve(value, reference.kind, field);
      else if (Array.isArray(value))
        out[field] = value.map((text: unknown, i) =>
          typeof text === 'string' ? resolve(text, reference.kind, `${field}.${i}`) : text,
        );
    } else if (Array.isArray(value))
      out[field] = value.map((element: unknown, i) => {
        const text =
          typeof element === 'object' && element !== null ? (element as Fields)[inner] : undefined;
        if (typeof text !== 'string') return element;
        return {
          ...(element as Fields),
          [inner]: resolve(text, reference.kind, `${field}.${i}.${inner}`),
        };
      });
  }
  return out;
}
