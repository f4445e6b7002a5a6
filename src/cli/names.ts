/**
 * Names for ids. People read names; the API's references are ids. One list per kind and run, asked
 * for only when a reference of that kind is shown. Who may not list a kind sees the ids.
 */
import { ApiError, Unavailable } from '#client/errors.ts';
import type { Client } from '#client/types.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf, type ObjectOf } from '#virtual/kinds.ts';
import { fieldsOf, type FieldSpec } from './fields.ts';
import { isRefusal } from './problems.ts';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;
export const isId = (text: string): boolean => UUID.test(text);

export class Names {
  readonly #client: Client;
  readonly #known = new Map<KindName, Promise<ReadonlyMap<string, string>>>();

  constructor(client: Client) {
    this.#client = client;
  }

  /** Names of one kind by id; empty when the caller may not list it. */
  of(kind: KindName): Promise<ReadonlyMap<string, string>> {
    return this.#known.getOrInsertComputed(kind, () => this.#load(kind));
  }

  /** What is asked for from now on is asked anew. */
  forget(): void {
    this.#known.clear();
  }

  async #load(kind: KindName): Promise<ReadonlyMap<string, string>> {
    try {
      const objects = await this.#client.listAll(kind);
      return new Map(objects.map((object) => [object.id, object.name ?? object.id]));
    } catch (error) {
      if (isRefusal(error)) return new Map();
      throw error;
    }
  }

  /** The names that cells of these fields will need. */
  async forFields(fields: readonly FieldSpec[]): Promise<Lookup> {
    const wanted = new Set<KindName>();
    for (const field of fields.flatMap((spec) => [spec, ...spec.element]))
      if (field.refersTo !== undefined) wanted.add(field.refersTo);
    const maps = new Map<KindName, ReadonlyMap<string, string>>();
    for (const kind of wanted) maps.set(kind, await this.of(kind));
    return (kind, id) => maps.get(kind)?.get(id) ?? id;
  }

  /** The names that objects of a kind will need. */
  forKind(kind: KindName): Promise<Lookup> {
    return this.forFields(fieldsOf(kindOf(kind)));
  }

  /** What people call the object of an id; the id when it cannot be asked for. */
  async one(kind: KindName, id: string): Promise<string> {
    try {
      return await this.title(kind, await this.#client.get(kind, id));
    } catch (error) {
      if (error instanceof ApiError || error instanceof Unavailable) return id;
      throw error;
    }
  }

  /** What people call an object. */
  async title(kind: KindName, object: StoredObject): Promise<string> {
    const owner = ({ route: 'router', rule: 'chain' } as const)[kind as string];
    if (object.name !== undefined || owner === undefined) return titleOf(kind, object, same);
    const id = (object as unknown as Readonly<Record<string, string>>)[owner] ?? '';
    const called = await this.one(owner, id);
    return titleOf(kind, object, () => called);
  }

  /** The id of a name or id, as the API resolves it. */
  async id(kind: KindName, idOrName: string): Promise<string> {
    return isId(idOrName) ? idOrName.toLowerCase() : (await this.#client.get(kind, idOrName)).id;
  }
}

export type Lookup = (kind: KindName, id: string) => string;
const same: Lookup = (_kind, id) => id;

/** What people call an object: its name, or what tells it from its like. */
export function titleOf(kind: KindName, object: StoredObject, name: Lookup): string {
  if (object.name !== undefined) return object.name;
  if (kind === 'rule') {
    const { position, chain } = object as ObjectOf<'rule'>;
    return `${position} of ${name('chain', chain)}`;
  }
  if (kind !== 'route') return object.id;
  const { destination, source, router } = object as ObjectOf<'route'>;
  const from = source === undefined ? '' : ` from ${source}`;
  return `${destination}${from} of ${name('router', router)}`;
}

/**
 * A field's value for people: names for ids, every element of a list as `mac=…,ip=…`, nothing for
 * nothing.
 */
export function cellOf(field: FieldSpec, value: unknown, name: Lookup, separator = '; '): string {
  if (value === undefined || value === null) return '';
  if (Array.isArray(value))
    return value.map((item) => elementText(field, item, name)).join(separator);
  if (typeof value === 'object') return JSON.stringify(value);
  const text = String(value as string | number | boolean);
  return field.refersTo === undefined ? text : name(field.refersTo, text);
}

/** Elements of a long list that a column shows; how many there are is told behind them. */
const ELEMENTS_SHOWN_MAX = 8;

/** The same for a narrow column: an element's values without their keys. */
export function shortCellOf(field: FieldSpec, value: unknown, name: Lookup): string {
  if (Array.isArray(value) && value.length > ELEMENTS_SHOWN_MAX + 1) {
    const first = shortCellOf(field, value.slice(0, ELEMENTS_SHOWN_MAX), name);
    return `${first}, … (${value.length})`;
  }
  if (field.type !== 'objects' || !Array.isArray(value)) return cellOf(field, value, name, ', ');
  return value
    .map((item) =>
      partsOf(field, item, name)
        .map(([, text]) => text)
        .join(' '),
    )
    .join(', ');
}

function partsOf(field: FieldSpec, item: unknown, name: Lookup): (readonly [string, string])[] {
  const values = item as Readonly<Record<string, unknown>>;
  return field.element
    .filter((part) => values[part.name] !== undefined)
    .map((part) => [part.flag, cellOf(part, values[part.name], name)] as const);
}

function elementText(field: FieldSpec, item: unknown, name: Lookup): string {
  return typeof item === 'object' && item !== null
    ? partsOf(field, item, name)
        .map(([flag, text]) => `${flag}=${text}`)
        .join(',')
    : field.refersTo === undefined || typeof item !== 'string'
      ? String(item)
      : name(field.refersTo, item);
}
