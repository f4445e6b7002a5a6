/**
 * What one row of the table of kinds says. API, OpenAPI, CLI, completion, documentation and the
 * validation of references all read the row; nothing else describes a kind.
 *
 * A kind has exactly three hooks: `references`, `check` and `assigned`. A fourth special case is
 * written by hand beside the loop, in plain sight.
 */
import type { z } from 'zod';

export const KIND_NAMES = [
  'tunnel-zone',
  'host',
  'chain',
  'address-group',
  'bridge',
  'router',
  'port',
  'route',
  'port-group',
  'rule',
  'location',
  'nat-block',
  'load-balancer',
  'health-monitor',
  'pool',
  'pool-member',
  'vip',
  'member-health',
] as const;
export type KindName = (typeof KIND_NAMES)[number];

/**
 * A rule that the caller's input broke. `path`: the field, dotted (`members.0.host`), or '' for the
 * object.
 */
export interface Fault {
  readonly path: string;
  readonly message: string;
}

/** Any stored object. `revision` is the store's, of its last change. */
export interface StoredObject {
  readonly id: string;
  readonly revision: number;
  readonly name?: string | undefined;
  readonly tenant?: string | undefined;
  readonly labels?: readonly string[] | undefined;
}

/** What a hook may look at. */
export interface View {
  get(kind: KindName, id: string): StoredObject | undefined;
  list(kind: KindName): Iterable<StoredObject>;
  /** Ids of objects of `kind` whose reference field `path` names `target`. */
  referrers(kind: KindName, path: string, target: string): readonly string[];
}

export interface Reference {
  readonly kind: KindName;
  /**
   * What happens to the holder when the target is deleted: `cascade` deletes the holder, `clear`
   * empties the field (of a list: removes the element), `refuse` refuses the deletion.
   */
  readonly onDelete: 'cascade' | 'clear' | 'refuse';
}

export interface Kind<Schema extends z.ZodObject = z.ZodObject> {
  readonly name: KindName;
  /** The path segment in the API: plural, lower case. */
  readonly path: string;
  /** One sentence for help, OpenAPI and the docs. */
  readonly about: string;
  /** A strict object: every field with its limits, default and `.describe()`. Includes `id`. */
  readonly schema: Schema;
  /**
   * Reference fields by path (`bridge`, `members.host`: the field `host` of each element of
   * `members`).
   */
  readonly references: Readonly<Record<string, Reference>>;
  /** Columns of `mn KIND list`, in order. */
  readonly columns: readonly string[];
  /** Fields the server gives and no caller sets (besides id and revision). */
  readonly assigned: readonly string[];
  /** Fields that cannot change once the object exists. */
  readonly immutable: readonly string[];
  /**
   * Lists that callers leave out or fill, but do not give empty. One becomes empty when the last
   * object that it names is deleted, and then matches nothing.
   */
  readonly filled?: readonly string[];
  /**
   * Who may write: `operator` only, `tenant` (its own objects, and operators), or `host` (its own
   * rows).
   */
  readonly writer: 'operator' | 'tenant' | 'host';
  /** Fields only an operator may set, even on an object that a tenant may write. */
  readonly operatorFields: readonly string[];
  /**
   * A kind that is a union: `field` says which variant an object is, `of` which fields each variant
   * alone has. Fields of another variant are refused, and never stored.
   */
  readonly variants?: {
    readonly field: string;
    readonly of: Readonly<Record<string, readonly string[]>>;
  };
  /**
   * Rules across fields and objects; `next` is already valid by the schema and its references
   * exist.
   */
  check?(next: StoredObject, view: View): Fault[];
}
