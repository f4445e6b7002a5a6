/**
 * A topology with the changes of an unfinished transaction laid over it, so that each operation
 * sees the earlier ones and the topology itself stays untouched.
 *
 * Invariant: it holds few rows (the transaction's limit), so asking scans them.
 */
import type { RowChange } from './change.ts';
import type { KindName, StoredObject, View } from './kind.ts';
import { referencesFrom, targetsOf } from './references.ts';
import { sameObject } from './same.ts';
import type { Topology } from './topology.ts';

interface DraftRow {
  readonly kind: KindName;
  readonly id: string;
  readonly object: StoredObject | undefined;
  /** Which operation touched it last. */
  readonly operation: number;
}

const networkKeyOf = (object: StoredObject): number | undefined => {
  const { floodKey, networkKey } = object as { floodKey?: number; networkKey?: number };
  return floodKey ?? networkKey;
};

export class Draft implements View {
  readonly #base: Topology;
  readonly #rows = new Map<string, DraftRow>();
  /** Referrers that were asked for since the last change: the rules of many rows ask alike. */
  readonly #asked = new Map<string, readonly string[]>();

  constructor(base: Topology) {
    this.#base = base;
  }

  /** Rows touched so far. */
  get size(): number {
    return this.#rows.size;
  }
  touched(): Iterable<DraftRow> {
    return this.#rows.values();
  }

  put(kind: KindName, object: StoredObject, operation: number): void {
    this.#asked.clear();
    this.#rows.set(`${kind}/${object.id}`, { kind, id: object.id, object, operation });
  }
  remove(kind: KindName, id: string, operation: number): void {
    this.#asked.clear();
    this.#rows.set(`${kind}/${id}`, { kind, id, object: undefined, operation });
  }

  get(kind: KindName, id: string): StoredObject | undefined {
    const row = this.#rows.get(`${kind}/${id}`);
    return row === undefined ? this.#base.get(kind, id) : row.object;
  }
  *list(kind: KindName): Generator<StoredObject> {
    for (const object of this.#base.list(kind))
      if (!this.#rows.has(`${kind}/${object.id}`)) yield object;
    yield* this.#puts(kind);
  }
  referrers(kind: KindName, path: string, target: string): readonly string[] {
    const key = `${kind}.${path}/${target}`;
    const known = this.#asked.get(key);
    if (known !== undefined) return known;
    const reference = referencesFrom(kind).find((r) => r.path === path);
    if (reference === undefined) return [];
    const ids = this.#untouched(kind, this.#base.referrers(kind, path, target));
    for (const object of this.#puts(kind))
      if (targetsOf(object, reference).includes(target)) ids.push(object.id);
    this.#asked.set(key, ids);
    return ids;
  }
  /** Ids of the objects of a kind with this name. */
  named(kind: KindName, name: string): readonly string[] {
    const ids = this.#untouched(kind, this.#base.named(kind, name));
    for (const object of this.#puts(kind)) if (object.name === name) ids.push(object.id);
    return ids;
  }

  /** The device that has the number of a network: a bridge's flood key, a router's network key. */
  deviceOfKey(key: number): string | undefined {
    for (const object of [...this.#puts('bridge'), ...this.#puts('router')])
      if (networkKeyOf(object) === key) return object.id;
    const held = (
      [
        ['bridge', this.#base.bridgeOfFloodKey(key)],
        ['router', this.#base.routerOfNetworkKey(key)],
      ] as const
    ).find(([kind, id]) => id !== undefined && !this.#rows.has(`${kind}/${id}`));
    return held?.[1];
  }

  /** What differs from the topology in the end. */
  changes(): RowChange[] {
    const changes: RowChange[] = [];
    for (const { kind, id, object } of this.#rows.values()) {
      const before = this.#base.get(kind, id);
      if (object !== undefined) {
        if (!sameObject(before, object)) changes.push({ kind, id, put: object });
      } else if (before !== undefined) changes.push({ kind, id });
    }
    return changes;
  }

  #untouched(kind: KindName, ids: readonly string[]): string[] {
    return ids.filter((id) => !this.#rows.has(`${kind}/${id}`));
  }
  *#puts(kind: KindName): Generator<StoredObject> {
    for (const row of this.#rows.values())
      if (row.kind === kind && row.object !== undefined) yield row.object;
  }
}
