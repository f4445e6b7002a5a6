/**
 * From the present topology to one of old: which objects to put back, and in which transactions.
 *
 * Invariants: each part leaves a valid topology, so what was interrupted is valid too, and the same
 * rollback goes on from there to the same end. An object comes after what it refers to, goes after
 * what refers to it, and takes what only one can have after it was let go; what hangs together in a
 * circle is one part.
 */
import type { KindName, StoredObject } from '../kind.ts';
import { KIND_NAMES } from '../kind.ts';
import { type PlanContext, TRANSACTION_ROWS_MAX, visibleTo } from '../plan.ts';
import { isServicePort } from '../member-health/service-port.ts';
import { referencesFrom, targetsOf } from '../references.ts';
import { sameObject } from '../same.ts';
import type { Topology } from '../topology.ts';
import { claimsOf } from './contest.ts';
import { leftAsTheyAre, mayRestore, type Restore } from './restore.ts';

/** Objects that one rollback puts back; a larger one is refused. */
export const ROLLBACK_OBJECTS_MAX = 250_000;
/** Characters of the objects of one part: with their history they fit into one transaction. */
const PART_CHARACTERS_MAX = 300_000;
/** Rows that an object of a kind changes at most: of a port also its location, and its peer. */
const ROWS: { readonly [K in KindName]?: number } = { port: 3 };

const keyOf = ({ kind, id }: { readonly kind: KindName; readonly id: string }): string =>
  `${kind}/${id}`;

/** Objects that differ from how they were and that the caller may put back. */
export function restoresTo(
  now: Topology,
  old: Topology,
  context: Pick<PlanContext, 'caller'>,
): Restore[] {
  const kinds = KIND_NAMES.filter((kind) => mayRestore(context, kind));
  const back = kinds.flatMap((kind) =>
    [...old.list(kind)].map((object) => ({ kind, id: object.id, object })),
  );
  const gone = kinds.flatMap((kind) =>
    [...now.list(kind)]
      .filter(({ id }) => old.get(kind, id) === undefined)
      .map(({ id }) => ({ kind, id, object: undefined })),
  );
  return [...back, ...gone].filter((restore) => differs(now, restore, context));
}

/** Whether putting it back would change it, as far as this caller can see and write it. */
export function differs(
  now: Topology,
  restore: Restore,
  { caller }: Pick<PlanContext, 'caller'>,
): boolean {
  const current = now.get(restore.kind, restore.id);
  const known = current ?? restore.object;
  // The server makes and removes service ports as there is need of them.
  if (restore.kind === 'port' && isServicePort(known)) return false;
  if (known === undefined || !visibleTo(caller, known)) return false;
  const bare = (object: StoredObject | undefined): unknown => {
    if (object === undefined) return undefined;
    const { revision: _, ...fields } = object;
    return fields;
  };
  if (sameObject(bare(current), bare(restore.object))) return false;
  if (current === undefined || restore.object === undefined) return true;
  const fields: Record<string, unknown> = { ...restore.object };
  for (const field of leftAsTheyAre(now, caller, restore))
    fields[field] = (current as unknown as typeof fields)[field];
  return !sameObject(bare(current), bare(fields as unknown as StoredObject));
}

/** The transactions, in order, each of about so many rows at most. */
export function partsOf(
  now: Topology,
  old: Topology,
  restores: readonly Restore[],
  rowsMax: number = TRANSACTION_ROWS_MAX,
): Restore[][] {
  const parts: Restore[][] = [];
  let rows = 0;
  let characters = 0;
  for (const group of inOrder(now, old, restores)) {
    const more = group.reduce((sum, { kind }) => sum + (ROWS[kind] ?? 1), 0);
    const size = group.reduce((sum, { kind, id, object }) => {
      const before = now.get(kind, id);
      return sum + JSON.stringify([before, object]).length;
    }, 0);
    const part = parts.at(-1);
    const fits = rows + more <= rowsMax && characters + size <= PART_CHARACTERS_MAX;
    if (part !== undefined && fits) part.push(...group);
    else {
      parts.push([...group]);
      rows = 0;
      characters = 0;
    }
    rows += more;
    characters += size;
  }
  return parts;
}

/** Groups in an order in which each can follow the ones before; each group at once. */
function inOrder(now: Topology, old: Topology, restores: readonly Restore[]): Restore[][] {
  const graph = new Graph(restores.length);
  byReference(graph, { now, old, restores });
  byClaim(graph, { now, old, restores });
  return graph
    .groups()
    .map((group) => group.map((i) => restores[i]).filter((r) => r !== undefined));
}

interface Task {
  readonly now: Topology;
  readonly old: Topology;
  readonly restores: readonly Restore[];
}

function byReference(graph: Graph, { now, old, restores }: Task): void {
  const at = new Map(restores.map((restore, i) => [keyOf(restore), i]));
  for (const [i, { kind, id, object }] of restores.entries()) {
    const current = now.get(kind, id);
    for (const path of referencesFrom(kind)) {
      const target = path.reference.kind;
      const indexOf = (of: string): number | undefined => at.get(keyOf({ kind: target, id: of }));
      // Gateways of routes are in a network of their port, before and after.
      const moves = (of: string): boolean =>
        path.path === 'port' && !sameNetworks(now.get(target, of), old.get(target, of));
      for (const of of object === undefined ? [] : targetsOf(object, path)) {
        const to = indexOf(of);
        if (to === undefined || to === i) continue;
        if (now.get(target, of) === undefined || moves(of)) graph.before(to, i);
        // Both ends of a new link come at once.
        if (path.path === 'peer' && !isLinked(current, of)) graph.together(i, to);
      }
      for (const of of current === undefined ? [] : targetsOf(current, path)) {
        const to = indexOf(of);
        if (to === undefined || to === i) continue;
        if (restores[to]?.object === undefined || moves(of)) graph.before(i, to);
      }
    }
  }
}
const isLinked = (port: StoredObject | undefined, peer: string): boolean =>
  (port as { readonly peer?: string } | undefined)?.peer === peer;
function sameNetworks(a: StoredObject | undefined, b: StoredObject | undefined): boolean {
  const networks = (port: StoredObject | undefined): unknown =>
    (port as { readonly networks?: unknown } | undefined)?.networks;
  return sameObject(networks(a), networks(b));
}

/** What one object lets go and another takes: in that order. */
function byClaim(graph: Graph, { now, old, restores }: Task): void {
  const released = new Map<string, number[]>();
  const taken: (readonly [claim: string, by: number])[] = [];
  for (const [i, { kind, id, object }] of restores.entries()) {
    const current = now.get(kind, id);
    const had = new Set(current === undefined ? [] : claimsOf(kind, current, now));
    const has = new Set(object === undefined ? [] : claimsOf(kind, object, old));
    for (const claim of had)
      if (!has.has(claim)) released.set(claim, [...(released.get(claim) ?? []), i]);
    for (const claim of has) if (!had.has(claim)) taken.push([claim, i]);
  }
  for (const [claim, to] of taken)
    for (const from of released.get(claim) ?? []) if (from !== to) graph.before(from, to);
}

/** Numbers and which comes before which; circles become one group (Tarjan 1972). */
class Graph {
  readonly #after: number[][];

  constructor(size: number) {
    this.#after = Array.from({ length: size }, () => []);
  }

  before(a: number, b: number): void {
    this.#after[a]?.push(b);
  }

  together(a: number, b: number): void {
    this.before(a, b);
    this.before(b, a);
  }

  /** Groups, those that come before others first. */
  groups(): number[][] {
    const order = new Map<number, number>();
    const low = new Map<number, number>();
    const stack: number[] = [];
    const onStack = new Set<number>();
    const groups: number[][] = [];
    const enter = (v: number, work: { v: number; next: number }[]): void => {
      order.set(v, order.size);
      low.set(v, order.size - 1);
      stack.push(v);
      onStack.add(v);
      work.push({ v, next: 0 });
    };
    for (const root of this.#after.keys()) {
      if (order.has(root)) continue;
      const work: { v: number; next: number }[] = [];
      enter(root, work);
      for (let top = work.at(-1); top !== undefined; top = work.at(-1)) {
        const { v } = top;
        const to = this.#after[v]?.[top.next++];
        if (to === undefined) {
          work.pop();
          const under = work.at(-1)?.v;
          const least = low.get(v) ?? 0;
          if (under !== undefined) low.set(under, Math.min(low.get(under) ?? 0, least));
          if (least !== order.get(v)) continue;
          const group = stack.splice(stack.lastIndexOf(v));
          for (const member of group) onStack.delete(member);
          groups.push(group);
        } else if (!order.has(to)) enter(to, work);
        else if (onStack.has(to)) low.set(v, Math.min(low.get(v) ?? 0, order.get(to) ?? 0));
      }
    }
    return groups.reverse();
  }
}
