/**
 * What there is, for this caller, when documents are compared with it: each kind listed once, so
 * that five thousand documents cost a few requests and not one each.
 */
import type { Client } from '#client/types.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { isServicePort } from '#virtual/member-health/service-port.ts';
import { referencesFrom, referencesTo, targetsOf } from '#virtual/references.ts';
import { DOCUMENT_KINDS } from './document.ts';

export class Stand {
  readonly #byId = new Map<string, StoredObject>();
  readonly #byName = new Map<string, StoredObject[]>();
  readonly #kinds = new Map<KindName, readonly StoredObject[]>();
  /** Some object belongs to a tenant. */
  readonly hasTenants: boolean;

  constructor(objects: Iterable<readonly [KindName, readonly StoredObject[]]>) {
    for (const [kind, all] of objects) {
      // The server makes and removes service ports itself.
      const list = kind === 'port' ? all.filter((port) => !isServicePort(port)) : all;
      this.#kinds.set(kind, list);
      for (const object of list) {
        this.#byId.set(`${kind}/${object.id}`, object);
        if (object.name === undefined) continue;
        const key = `${kind}/${object.name}`;
        const namesakes = this.#byName.get(key);
        if (namesakes === undefined) this.#byName.set(key, [object]);
        else namesakes.push(object);
      }
    }
    this.hasTenants = this.#byId.values().some(({ tenant }) => tenant !== undefined);
  }

  get(kind: KindName, id: string): StoredObject | undefined {
    return this.#byId.get(`${kind}/${id}`);
  }
  named(kind: KindName, name: string): readonly StoredObject[] {
    return this.#byName.get(`${kind}/${name}`) ?? [];
  }
  list(kind: KindName): readonly StoredObject[] {
    return this.#kinds.get(kind) ?? [];
  }
  /** The kinds that were listed, each with what it holds. */
  kinds(): Iterable<readonly [KindName, readonly StoredObject[]]> {
    return this.#kinds;
  }
}

/**
 * Kinds in an order in which references lead back: what is named comes before what names it. Kinds
 * that name each other keep the order of the table.
 */
export const KINDS_IN_ORDER: readonly KindName[] = (() => {
  const order: KindName[] = [];
  const visiting = new Set<KindName>();
  const visit = (kind: KindName): void => {
    if (order.includes(kind) || visiting.has(kind)) return;
    visiting.add(kind);
    for (const { reference } of referencesFrom(kind)) visit(reference.kind);
    order.push(kind);
  };
  DOCUMENT_KINDS.forEach(visit);
  return order;
})();

/** The kinds, and all that their objects name, and what those name. */
function withTargets(kinds: Iterable<KindName>): Set<KindName> {
  const wanted = new Set(kinds);
  for (const kind of wanted)
    for (const { reference } of referencesFrom(kind)) wanted.add(reference.kind);
  return wanted;
}

/** What deleting objects of these kinds may reach: all that names them, and what names that. */
function withReferrers(kinds: Iterable<KindName>): Set<KindName> {
  const wanted = new Set(kinds);
  for (const kind of wanted)
    for (const { holder } of referencesTo(kind))
      if (DOCUMENT_KINDS.includes(holder)) wanted.add(holder);
  return wanted;
}

/**
 * Lists what documents of these kinds are compared with. `removing`: kinds of which some may go.
 */
export async function loadStand(
  client: Client,
  kinds: Iterable<KindName>,
  removing: Iterable<KindName> = [],
): Promise<Stand> {
  const wanted = withTargets([...kinds, ...withReferrers(removing)]);
  const lists: [KindName, readonly StoredObject[]][] = [];
  for (const kind of KINDS_IN_ORDER)
    if (wanted.has(kind)) lists.push([kind, await client.listAll(kind)]);
  return new Stand(lists);
}

export interface Gone {
  readonly kind: KindName;
  readonly object: StoredObject;
}
interface Holder extends Gone {
  /** The field by which it names what goes. */
  readonly field: string;
}

/** All that goes with an object, without itself, by the references that say `cascade`. */
export class Cascades {
  readonly #holders = new Map<string, Holder[]>();
  readonly #isLeaving: (holder: Holder) => boolean;

  /** `isLeaving`: its field will name something else before anything is deleted. */
  constructor(stand: Stand, isLeaving: (holder: Holder) => boolean) {
    this.#isLeaving = isLeaving;
    for (const [kind, objects] of stand.kinds())
      for (const path of referencesFrom(kind)) {
        if (path.reference.onDelete !== 'cascade') continue;
        for (const object of objects)
          for (const id of targetsOf(object, path))
            this.#holders
              .getOrInsertComputed(`${path.reference.kind}/${id}`, () => [])
              .push({ kind, object, field: path.field });
      }
  }

  of(kind: KindName, id: string): Gone[] {
    const found = new Map<string, Gone>();
    const queue = [`${kind}/${id}`];
    for (const key of queue)
      for (const holder of this.#holders.get(key) ?? []) {
        const next = `${holder.kind}/${holder.object.id}`;
        if (found.has(next) || this.#isLeaving(holder)) continue;
        found.set(next, holder);
        queue.push(next);
      }
    return [...found.values()];
  }

  /** Whether something that names it is to name something else first. */
  isBeingLeft(kind: KindName, id: string): boolean {
    return (this.#holders.get(`${kind}/${id}`) ?? []).some(this.#isLeaving);
  }
}
