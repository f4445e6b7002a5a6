/**
 * The stored objects of a topology, and who has which name and who refers to whom.
 *
 * Invariant: the indexes are those of the objects that are here, whatever the order in which they
 * came.
 */
import { KIND_NAMES, type KindName, type StoredObject } from './kind.ts';
import { listDifference } from './list-difference.ts';
import { referencesFrom, targetsOf } from './references.ts';

export const byKind = <Value>(make: () => Value): Record<KindName, Value> =>
  Object.fromEntries(KIND_NAMES.map((kind) => [kind, make()])) as Record<KindName, Value>;

/** Adds to, or with `value` removes from, a set kept under a key; an empty set is not kept. */
function addTo<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}
function removeFrom<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}

export class Rows {
  readonly #objects = byKind(() => new Map<string, StoredObject>());
  readonly #names = byKind(() => new Map<string, Set<string>>());
  readonly #referrers = new Map<string, Set<string>>();

  get(kind: KindName, id: string): StoredObject | undefined {
    return this.#objects[kind].get(id);
  }
  of(kind: KindName): ReadonlyMap<string, StoredObject> {
    return this.#objects[kind];
  }
  referrers(kind: KindName, path: string, target: string): readonly string[] {
    return [...(this.#referrers.get(`${kind}.${path}/${target}`) ?? [])];
  }
  /** Ids of the objects of a kind with this name. */
  named(kind: KindName, name: string): readonly string[] {
    return [...(this.#names[kind].get(name) ?? [])];
  }

  /** Puts `after` in the place of `before`; undefined: nothing. */
  replace(kind: KindName, before: StoredObject | undefined, after: StoredObject | undefined): void {
    if (before !== undefined) {
      if (after === undefined) this.#objects[kind].delete(before.id);
      if (before.name !== undefined) removeFrom(this.#names[kind], before.name, before.id);
    }
    const id = (after ?? before)?.id ?? '';
    for (const path of referencesFrom(kind)) {
      const was = before === undefined ? [] : targetsOf(before, path);
      const is = after === undefined ? [] : targetsOf(after, path);
      const { gone, come } = listDifference(was, is);
      const key = `${kind}.${path.path}/`;
      for (const target of gone) removeFrom(this.#referrers, key + target, id);
      for (const target of come) addTo(this.#referrers, key + target, id);
    }
    if (after === undefined) return;
    this.#objects[kind].set(after.id, after);
    if (after.name !== undefined) addTo(this.#names[kind], after.name, after.id);
  }
}
