/**
 * Writes of objects as routes ask for them: planned by `plan` for the caller, then committed,
 * swept in parts, or only told (a dry run).
 *
 * Invariant: a dry run passes the same rules and limits as the write, answers what it would change
 * as far as the caller may see it, and writes nothing.
 */
import { randomUUID } from 'node:crypto';
import type { ObjectChange } from '#client/history.ts';
import type { Operation, Written } from '#client/types.ts';
import type { KindName } from '#virtual/kind.ts';
import { plan, type PlanContext, TRANSACTION_ROWS_MAX } from '#virtual/plan.ts';
import { sweepParts } from '#virtual/plan/sweep.ts';
import type { Topology } from '#virtual/topology.ts';
import type { Signed } from './history.ts';
import { sightOf } from './lists.ts';
import type { Node } from './node.ts';
import { type Call, choiceOf, type Parameter } from './route.ts';
import type { Keys } from './writes.ts';

/** Objects that a dry run of one deletion tells of; a larger one is refused: only swept. */
export const DRY_RUN_ROWS_MAX = 10_000;

export const DRY_RUN: Parameter = {
  name: 'dry-run',
  about: 'true: answer what would change, and write nothing.',
  type: 'boolean',
};
export const isDryRun = ({ query }: Call): boolean => choiceOf(query, DRY_RUN.name);

export const contextOf = ({ caller }: Call, keys: Keys): PlanContext => ({
  caller: caller.token,
  newId: randomUUID,
  nextFloodKey: () => keys.nextFloodKey(),
  nextTunnelKey: (host: string) => keys.nextTunnelKey(host),
});

/** Who writes, for the history. Nothing secret: of a token its name and the id that lists show. */
export function signedBy({ caller: { token, id, request } }: Call): Signed {
  const { role, name } = token;
  const known = id === undefined ? { name: role } : { name, id };
  const tenant = token.role === 'tenant' ? { tenant: token.tenant } : {};
  const by = { role, ...known, ...tenant };
  return request === undefined ? { by } : { by, request };
}

/** Plans and commits. */
export const commit = async (
  { writes }: Node,
  call: Call,
  operations: readonly Operation[],
): Promise<Written> =>
  writes.write(
    (topology, keys) => plan(topology, operations, contextOf(call, keys)),
    signedBy(call),
  );

/** Plans, and answers what the caller may see of it. Throws a Refusal as the write would. */
export function dryRun(node: Node, call: Call, operations: readonly Operation[]): Written {
  const { topology } = node.replica;
  const alone = operations.length === 1 && operations[0]?.op === 'delete';
  const rowsMax = alone ? DRY_RUN_ROWS_MAX : TRANSACTION_ROWS_MAX;
  const { rows, written } = node.writes.dryRun(
    (now, keys) => plan(now, operations, { ...contextOf(call, keys), rowsMax }),
    { signed: signedBy(call), inParts: alone },
  );
  const sees = sightOf(call.caller.token, topology);
  const changes: ObjectChange[] = [];
  for (const { kind, id, put } of rows) {
    const before = topology.get(kind, id);
    const seen = [before, put].some((object) => object !== undefined && sees(kind, object));
    if (!seen) continue;
    const op = before === undefined ? 'create' : put === undefined ? 'delete' : 'update';
    changes.push({ op, kind, id, ...(before && { before }), ...(put && { after: put }) });
  }
  return { ...written, dryRun: true, changes };
}

/** Deletes in parts what goes with an object that is too large to go in one step. */
export async function sweep(
  node: Node,
  call: Call,
  { kind, id, ifRevision }: { kind: KindName; id: string; ifRevision?: number },
): Promise<void> {
  const { topology } = node.replica;
  const object = targetOf(topology, call, { kind, id });
  if (object === undefined) return;
  if (ifRevision !== undefined && object.revision !== ifRevision) return;
  const target = { kind, id: object.id };
  for (const part of sweepParts(topology, target, TRANSACTION_ROWS_MAX))
    await commit(node, call, part);
}

/** The one object that a name or id stands for. Where there is none the deletion says why. */
function targetOf(
  topology: Topology,
  { caller }: Call,
  { kind, id }: { kind: KindName; id: string },
) {
  const sees = sightOf(caller.token, topology);
  const [object, another] = [id.toLowerCase(), ...topology.named(kind, id)]
    .map((each) => topology.get(kind, each))
    .filter((each) => each !== undefined && sees(kind, each));
  return another === undefined ? object : undefined;
}
