/**
 * Putting objects back as they were: all that the caller may write, or those it names.
 *
 * Invariants: before anything is written every transaction is planned on a copy, in order, so a
 * conflict is refused whole; each transaction is valid by itself, and the same rollback after an
 * interruption goes on to the same end.
 */
import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { ObjectChange, RollbackRequest, RolledBack } from '#client/history.ts';
import { KIND_NAMES, type KindName, type StoredObject } from '#virtual/kind.ts';
import type { PlanContext } from '#virtual/plan.ts';
import { mayRestore, planRestore, type Restore } from '#virtual/plan/restore.ts';
import { differs, partsOf, restoresTo, ROLLBACK_OBJECTS_MAX } from '#virtual/plan/rollback.ts';
import { wordsOf } from '#virtual/plan/work.ts';
import type { Topology } from '#virtual/topology.ts';
import { signedBy } from './commit.ts';
import { topologyOf } from './history-routes.ts';
import { sightOf } from './lists.ts';
import type { Node } from './node.ts';
import { Refusal } from './problems.ts';
import { json, NOT_HOSTS, readBody, type Call, type Route } from './route.ts';
import type { Keys } from './writes.ts';

/** Objects that one rollback may name. */
const NAMED_MAX = 1_000;
/** Changes told of a dry run. */
export const ROLLBACK_TOLD_MAX = 10_000;

export const RollbackBody = z
  .strictObject({
    to: z.int().min(0).describe('The revision to go back to.'),
    objects: z
      .array(z.strictObject({ kind: z.enum(KIND_NAMES), id: z.string().min(1) }))
      .min(1, 'must hold an object')
      .max(NAMED_MAX, `must hold at most ${NAMED_MAX} objects`)
      .optional()
      .describe('Only these, by id or by a name that they have now or had then.'),
    dryRun: z.boolean().default(false).describe('Tell what would change, and write nothing.'),
  })
  .meta({ id: 'Rollback', description: 'Objects as they were at a revision.' });

const contextOf = ({ caller }: Call, keys: Keys): PlanContext => ({
  caller: caller.token,
  newId: randomUUID,
  nextFloodKey: () => keys.nextFloodKey(),
  nextTunnelKey: (host) => keys.nextTunnelKey(host),
});

/** The objects that a request names, each once; throws 403, 404 or 409. */
function namedOnes(
  { now, old, call }: { readonly now: Topology; readonly old: Topology; readonly call: Call },
  objects: NonNullable<RollbackRequest['objects']>,
): Restore[] {
  const { token } = call.caller;
  const [seesNow, seesThen] = [sightOf(token, now), sightOf(token, old)];
  const restores = new Map<string, Restore>();
  for (const [i, { kind, id: text }] of objects.entries()) {
    const path = `objects.${i}.id`;
    const words = wordsOf(kind);
    if (!mayRestore({ caller: token }, kind)) {
      const message = `this caller may not write a ${words}`;
      throw new Refusal(403, { errors: [{ path: `objects.${i}.kind`, message }] });
    }
    const ids = new Set([text.toLowerCase(), ...now.named(kind, text), ...old.named(kind, text)]);
    const found = [...ids].filter((id) => {
      const [is, was] = [now.get(kind, id), old.get(kind, id)];
      return (is !== undefined && seesNow(kind, is)) || (was !== undefined && seesThen(kind, was));
    });
    const [id] = found;
    if (id === undefined) {
      const message = `no ${words} has this id or name, now or then`;
      throw new Refusal(404, { errors: [{ path, message }] });
    }
    if (found.length > 1) {
      const message = `stands for ${found.length} objects, now or then: give one of the ids ${found.slice(0, 5).join(', ')}`;
      throw new Refusal(409, { errors: [{ path, message }] });
    }
    restores.set(`${kind}/${id}`, { kind, id, object: old.get(kind, id) });
  }
  return [...restores.values()];
}

interface Plan {
  readonly parts: readonly (readonly Restore[])[];
  readonly changes: readonly ObjectChange[];
}

/** Every transaction, planned on a copy one after the other; throws what one of them breaks. */
function planned(node: Node, call: Call, restores: readonly Restore[], old: Topology): Plan {
  const { topology: now } = node.replica;
  const copy = now.clone();
  const context = contextOf(call, node.writes.keys());
  const parts = partsOf(now, old, restores);
  const touched = new Map<string, { kind: KindName; id: string }>();
  for (const part of parts) {
    const plan = planRestore(copy, part, context);
    if (!plan.ok) throw new Refusal(plan.status, { errors: plan.faults });
    copy.apply({ revision: copy.revision + 1, rows: plan.rows });
    for (const { kind, id } of plan.rows) touched.set(`${kind}/${id}`, { kind, id });
  }
  const sees = sightOf(call.caller.token, now);
  const changes: ObjectChange[] = [];
  for (const { kind, id } of touched.values()) {
    const [before, after] = [now.get(kind, id), copy.get(kind, id)];
    const isSeen = (object: StoredObject | undefined): boolean =>
      object !== undefined && sees(kind, object);
    if (!isSeen(before) && !isSeen(after)) continue;
    const op = before === undefined ? 'create' : after === undefined ? 'delete' : 'update';
    changes.push({ op, kind, id, ...(before && { before }), ...(after && { after }) });
  }
  return { parts, changes };
}

async function rollback(node: Node, call: Call): Promise<Response> {
  const { to, objects, dryRun } = await readBody(call.request, RollbackBody);
  const old = await topologyOf(node, to, 'to');
  const { topology: now } = node.replica;
  const context = { caller: call.caller.token };
  const restores =
    objects === undefined
      ? restoresTo(now, old, context)
      : namedOnes({ now, old, call }, objects).filter((one) => differs(now, one, context));
  if (restores.length > ROLLBACK_OBJECTS_MAX) {
    const detail = `${restores.length} objects differ; at most ${ROLLBACK_OBJECTS_MAX}`;
    throw new Refusal(413, { detail });
  }
  const { parts, changes } = planned(node, call, restores, old);
  const common = { to, objects: changes.length, transactions: parts.length };
  if (dryRun) {
    const told = changes.slice(0, ROLLBACK_TOLD_MAX);
    const answer = { revision: now.revision, ...common, dryRun, changes: told };
    return json(answer satisfies RolledBack);
  }
  let { revision } = now;
  for (const part of parts)
    ({ revision } = await node.writes.write(
      (topology, keys) => planRestore(topology, part, contextOf(call, keys)),
      signedBy(call),
    ));
  const answer: RolledBack = { revision, ...common };
  return json(answer, { 'x-revision': String(revision) });
}

export const rollbackRoutes = (node: Node): Route[] => [
  {
    method: 'POST',
    path: '/v1/rollback',
    operationId: 'rollback',
    about: 'Puts objects back as they were at a revision: all that the caller may write, or some.',
    who: NOT_HOSTS,
    input: 'Rollback',
    output: 'RolledBack',
    handle: (call) => rollback(node, call),
  },
];
