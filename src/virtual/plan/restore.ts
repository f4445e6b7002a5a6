/**
 * Objects put back as they were, under their old ids: only rollbacks do this, no operation of a
 * caller can. An object comes back whole or goes whole; what was written beside the caller's own
 * words (ids, keys of networks, which device it belongs to) comes back with it.
 *
 * Invariants: a plan like any other (`finish`): all or nothing, every rule holds afterwards, and no
 * reference leads nowhere. A key of a network that another device has is not taken from it: the
 * object keeps the key it has, or gets a new one. What only operators set stays, for tenants, as it
 * is now.
 */
import { Draft } from '../draft.ts';
import type { Kind, KindName, StoredObject, View } from '../kind.ts';
import { kindOf } from '../kinds.ts';
import { isServicePort } from '../member-health/service-port.ts';
import { type Caller, type Plan, type PlanContext, visibleTo } from '../plan.ts';
import { referencesFrom, referencesTo, targetsOf } from '../references.ts';
import type { Topology } from '../topology.ts';
import { finish, rowsMaxOf } from './finish.ts';
import { keepsAddresses, store } from './objects.ts';
import { removeFound } from './removal.ts';
import { FaultList, type Body, type Work, wordsOf } from './work.ts';

/** `object`: as it was; undefined: there was none. */
export interface Restore {
  readonly kind: KindName;
  readonly id: string;
  readonly object: StoredObject | undefined;
}

/** Whether a caller may put objects of a kind back: whoever may write them. */
export const mayRestore = ({ caller }: Pick<PlanContext, 'caller'>, kind: KindName): boolean => {
  const { writer } = kindOf(kind);
  if (writer === 'host' || caller.role === 'host') return false;
  return caller.role === 'operator' || writer === 'tenant';
};

/** Plans all of `restores` as one transaction. Faults name them as `KIND/ID.field`. */
export function planRestore(
  topology: Topology,
  restores: readonly Restore[],
  context: PlanContext,
): Plan {
  const draft = new Draft(topology);
  const faults = new FaultList(true);
  const work: Work = { draft, faults, context };
  for (const [i, restore] of restores.entries()) {
    faults.operation = i;
    if (isAllowed(work, restore)) put(work, restore);
  }
  endReferences(work, restores);
  if (faults.refusal === undefined) finish(work, topology);
  const { refusal } = faults;
  if (refusal !== undefined) return { ...refusal, faults: named(refusal.faults, restores) };
  return { ok: true, rows: draft.changes(), objects: [] };
}

function isAllowed({ draft, faults, context }: Work, { kind, id, object }: Restore): boolean {
  const states = [draft.get(kind, id), object].filter((state) => state !== undefined);
  const seen = states.every((state) => visibleTo(context.caller, state));
  if (seen && mayRestore(context, kind)) return true;
  faults.add(403, '', `this caller may not write the ${wordsOf(kind)}`);
  return false;
}

function put(work: Work, { kind, id, object }: Restore): void {
  const { draft, faults } = work;
  const current = draft.get(kind, id) as (StoredObject & Body) | undefined;
  if (object === undefined) {
    if (current !== undefined) draft.remove(kind, id, faults.operation);
    return;
  }
  const row = kindOf(kind);
  const { revision: _, ...old } = object as StoredObject & Body;
  const fields: Record<string, unknown> = { ...old, ...assigned(work, row, { old, current }) };
  for (const field of leftAsTheyAre(draft, work.context.caller, { kind, id, object })) {
    delete fields[field];
    if (current?.[field] !== undefined) fields[field] = current[field];
  }
  if (current !== undefined && !keepsAddresses(work, current, fields)) return;
  store(work, row, fields, current?.revision ?? 0);
}

/** Fields of the object that this caller cannot put back: they stay as they are in `now`. */
export function leftAsTheyAre(
  now: Pick<View, 'get'>,
  caller: Caller,
  { kind, id, object }: Restore,
): readonly string[] {
  if (caller.role === 'operator') return [];
  const { operatorFields, references } = kindOf(kind);
  const states = [now.get(kind, id), object] as unknown as (Body | undefined)[];
  // A link to a port of somebody else is theirs to give.
  const isForeign = (field: string, target: KindName): boolean =>
    states
      .map((state) => state?.[field])
      .map((at) => (typeof at === 'string' ? now.get(target, at) : undefined))
      .some((at) => at !== undefined && !visibleTo(caller, at));
  // So is a chain that an operator has put in front of a tenant's.
  const given = Object.entries(references).filter(
    ([field, { kind: target }]) =>
      (field === 'peer' || (target === 'chain' && kind !== 'rule')) && isForeign(field, target),
  );
  return [...operatorFields, ...given.map(([field]) => field)];
}

/** The numbers of networks: never one that another device has. */
function assigned(
  { draft, context }: Work,
  { assigned: fields }: Kind,
  { old, current }: { old: Body; current: Body | undefined },
): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  for (const field of fields) {
    const key = old[field] as number;
    const holder = draft.deviceOfKey(key);
    const free = holder === undefined || holder === old['id'];
    out[field] = free ? key : (current?.[field] ?? context.nextFloodKey());
  }
  return out;
}

/** No reference leads nowhere: what came back finds what it names, what went is named no more. */
function endReferences(work: Work, restores: readonly Restore[]): void {
  const { draft, faults } = work;
  for (const [i, { kind, id }] of restores.entries()) {
    faults.operation = i;
    const object = draft.get(kind, id);
    if (object === undefined) {
      for (const path of referencesTo(kind))
        for (const holder of draft.referrers(path.holder, path.path, id)) {
          // What a host owns goes with what it is of; a link has ended at its other end too
          // (`joinLinks`).
          if (kindOf(path.holder).writer === 'host') draft.remove(path.holder, holder, i);
          else if (path.holder === 'port' && isServicePort(draft.get('port', holder)))
            removeFound(work, { kind: 'port', id: holder }, rowsMaxOf(work));
          else if (path.path !== 'peer')
            faults.add(409, '', stillNamed(draft, { ...path, id: holder }));
        }
      continue;
    }
    for (const path of referencesFrom(kind))
      for (const target of targetsOf(object, path))
        if (draft.get(path.reference.kind, target) === undefined)
          faults.add(
            409,
            path.path,
            `no ${wordsOf(path.reference.kind)} has the id ${target}: it is gone`,
          );
  }
}

function stillNamed(
  draft: Draft,
  { holder, path, id }: { holder: KindName; path: string; id: string },
): string {
  const name = draft.get(holder, id)?.name ?? '';
  return `was not there, and is the ${path} of ${wordsOf(holder)} ${name} (${id}) now`;
}

/** `operations.N.field` as `KIND/ID.field`. */
const named = (
  faults: readonly { readonly path: string; readonly message: string }[],
  restores: readonly Restore[],
) =>
  faults.map(({ path, message }) => {
    const [, n, rest = ''] = /^operations\.(\d+)(.*)$/.exec(path) ?? [];
    const restore = restores[Number(n)];
    if (restore === undefined) return { path, message };
    return { path: `${restore.kind}/${restore.id}${rest}`, message };
  });
