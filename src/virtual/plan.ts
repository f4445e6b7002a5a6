/**
 * Decides what a transaction of the API changes, or why it changes nothing: names become ids,
 * bodies are checked by their schemas, references by the table of kinds, and deletions cascade.
 *
 * Invariants: pure, and all or nothing; each operation sees the earlier ones; rules across objects
 * are checked on the final state; a caller learns nothing about objects that it may not see.
 */
import type { RowChange } from './change.ts';
import { Draft } from './draft.ts';
import { KIND_NAMES, type Fault, type KindName, type StoredObject } from './kind.ts';
import { kindOf } from './kinds.ts';
import { createObject, updateObject } from './plan/objects.ts';
import { checkSize, finish, rowsMaxOf, TRANSACTION_ROWS_MAX } from './plan/finish.ts';
import { locate } from './plan/locations.ts';
import { grantPorts } from './plan/nat-blocks.ts';
import { removeObject } from './plan/removal.ts';
import {
  FaultList,
  type Operation,
  type PlanContext,
  type PlanStatus,
  type Work,
} from './plan/work.ts';
import type { Topology } from './topology.ts';

export type { Caller, Operation, PlanContext, PlanStatus } from './plan/work.ts';
export { TRANSACTION_ROWS_MAX } from './plan/finish.ts';
export { visibleTo } from './plan/work.ts';

/**
 * `rows`: what to commit; empty when nothing would change. `objects`: for each operation its object
 * after the whole transaction, undefined when that is gone. Their `revision` is that of the last
 * commit (0 for a new object): the store gives the next one.
 */
export type Plan =
  | {
      readonly ok: true;
      readonly rows: readonly RowChange[];
      readonly objects: readonly (StoredObject | undefined)[];
    }
  | { readonly ok: false; readonly status: PlanStatus; readonly faults: readonly Fault[] };

/**
 * Plans a whole transaction. Faults name fields of the body; where there are several operations,
 * behind
 * `operations.N.`. Statuses: 400 the input breaks a rule, 403 this caller may not, 404 no such
 * object,
 * 409 another object stands against it, 412 `ifRevision` is not the object's, 413 too large.
 */
export function plan(
  topology: Topology,
  operations: readonly Operation[],
  context: PlanContext,
): Plan {
  const faults = new FaultList(operations.length > 1);
  const draft = new Draft(topology);
  const work: Work = { draft, faults, context };
  if (operations.length > TRANSACTION_ROWS_MAX) {
    const message = `has ${operations.length} operations; at most ${TRANSACTION_ROWS_MAX} fit`;
    return { ok: false, status: 413, faults: [{ path: 'operations', message }] };
  }
  const touched: (Touched | undefined)[] = [];
  for (const [i, operation] of operations.entries()) {
    faults.operation = i;
    touched.push(perform(work, operation, topology));
    checkSize(work);
    if (faults.refusal !== undefined) return faults.refusal;
  }
  finish(work, topology);
  if (faults.refusal !== undefined) return faults.refusal;
  const objects = touched.map((at) => (at === undefined ? undefined : draft.get(at.kind, at.id)));
  return { ok: true, rows: draft.changes(), objects };
}

interface Touched {
  readonly kind: KindName;
  readonly id: string;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The shape of an operation: it comes from outside, whatever its type says. */
function isWellFormed(operation: Operation, faults: FaultList): boolean {
  const given: unknown = operation;
  if (!isRecord(given)) faults.add(400, '', 'must be an object');
  else if (!['create', 'update', 'delete'].includes(String(given.op)))
    faults.add(400, 'op', 'must be "create" or "update" or "delete"');
  else if (!(KIND_NAMES as readonly unknown[]).includes(given.kind))
    faults.add(400, 'kind', `must be one of ${KIND_NAMES.join(', ')}`);
  else if (given.op !== 'create' && typeof given.id !== 'string')
    faults.add(400, 'id', 'must be an id or a name');
  else if (given.op !== 'delete' && !isRecord(given.body))
    faults.add(400, 'body', 'must be an object');
  else if (given.ifRevision !== undefined && typeof given.ifRevision !== 'number')
    faults.add(400, 'ifRevision', 'must be a number');
  else return true;
  return false;
}

/** The object the operation leaves behind, if any. */
function perform(work: Work, operation: Operation, base: Topology): Touched | undefined {
  if (!isWellFormed(operation, work.faults) || !mayWrite(work, operation)) return undefined;
  const { kind } = operation;
  let object: StoredObject | undefined;
  if (kind === 'location') object = locate(work, operation);
  else if (kind === 'nat-block' && operation.op === 'create')
    object = grantPorts(work, operation, base);
  else if (operation.op === 'create') object = createObject(work, operation);
  else if (operation.op === 'update') object = updateObject(work, operation);
  else removeObject(work, operation, rowsMaxOf(work));
  return object === undefined ? undefined : { kind, id: object.id };
}

function mayWrite({ faults, context }: Work, { kind }: Operation): boolean {
  const { writer, path } = kindOf(kind);
  const { role } = context.caller;
  if (kind === 'member-health') {
    const message = 'is written by the server: hosts report what they find of members they check';
    faults.add(403, '', message);
    return false;
  }
  if (writer === 'host') {
    if (role === 'host') return true;
    faults.add(403, '', `${path} are written by hosts`);
  } else if (role === 'host')
    faults.add(403, '', 'a host may write only its own locations and blocks of ports');
  else if (role === 'operator' || writer === 'tenant') return true;
  else faults.add(403, '', `only an operator may write ${path}`);
  return false;
}
