/**
 * Steps as transactions: each at most as large as the API takes, each all or nothing; and a
 * rehearsal of all of them by the same rules by which the API decides.
 *
 * Invariant: a step names what an earlier transaction made by its id, and what its own makes by its
 * name, if no other object has that name; else the transaction ends before it.
 */
import { randomUUID } from 'node:crypto';
import type { ObjectChange } from '#client/history.ts';
import type { Operation } from '#client/types.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { plan, TRANSACTION_ROWS_MAX } from '#virtual/plan.ts';
import { sameObject } from '#virtual/same.ts';
import { Topology } from '#virtual/topology.ts';
import { DOCUMENT_KINDS, type Fields, mapGiven } from './document.ts';
import type { PlacedFault } from './read.ts';
import { Stand } from './stand.ts';
import type { Step, Steps } from './steps.ts';

/** Bytes of the bodies of one transaction: the API takes 1.5 million, envelope included. */
export const BATCH_BYTES_MAX = 1_000_000;

export type Batch = readonly Step[];

/** The ids that the server gave, by those that stood for them. */
export type Ids = ReadonlyMap<string, string>;

function idsIn(step: Step): string[] {
  const ids: string[] = step.op === 'create' ? [] : [step.id];
  mapGiven(step.kind, step.body, ({ given }) => {
    if (typeof given === 'string') ids.push(given);
    return given;
  });
  return ids;
}

/** Steps in as few transactions as they fit into, in order. */
export function batchesOf({ steps, subjects }: Pick<Steps, 'steps' | 'subjects'>): Batch[] {
  const batches: Step[][] = [];
  let batch: Step[] = [];
  let rows = 0;
  let bytes = 0;
  /** What the batch makes and no name stands for. */
  const nameless = new Set<string>();
  for (const step of steps) {
    const size = JSON.stringify(step.body).length;
    const isFull = rows + step.rows > TRANSACTION_ROWS_MAX || bytes + size > BATCH_BYTES_MAX;
    if (batch.length > 0 && (isFull || idsIn(step).some((id) => nameless.has(id)))) {
      batches.push(batch);
      batch = [];
      rows = bytes = 0;
      nameless.clear();
    }
    batch.push(step);
    rows += step.rows;
    bytes += size;
    const name = step.body['name'];
    if (step.op === 'create' && !(typeof name === 'string' && subjects.isUnique(step.kind, name)))
      nameless.add(step.id);
  }
  return batch.length === 0 ? batches : [...batches, batch];
}

/**
 * A batch as the API takes it. `ids`: of what was made before; what the batch makes is named.
 */
export function operationsOf(batch: Batch, ids: Ids): Operation[] {
  const names = new Map<string, unknown>();
  for (const { op, id, body } of batch) if (op === 'create') names.set(id, body['name']);
  const known = (id: string): string => {
    const name = names.get(id);
    return ids.get(id) ?? (typeof name === 'string' ? name : id);
  };
  return batch.map(({ op, kind, id, body }) => {
    const fields = mapGiven(kind, body, ({ given }) =>
      typeof given === 'string' ? known(given) : given,
    );
    if (op === 'create') return { op, kind, body: fields };
    return op === 'delete'
      ? { op, kind, id: known(id) }
      : { op, kind, id: known(id), body: fields };
  });
}

/** The same where ids may stand for what is not there yet. */
const rehearsed = ({ op, kind, id, body }: Step): Operation =>
  op === 'create'
    ? { op, kind, body }
    : op === 'delete'
      ? { op, kind, id }
      : { op, kind, id, body };

/** `operations.3.name` or `name`, as the place in the documents. */
export function placedFault(
  batch: Batch,
  { path, message }: { readonly path: string; readonly message: string },
): PlacedFault {
  const [, index, inner = ''] = /^operations\.(\d+)(?:\.(?:body\.)?(.*))?$/.exec(path) ?? [];
  const step = batch[index === undefined ? 0 : Number(index)] ?? batch[0];
  const field = index === undefined ? path : inner;
  const document = step?.aim.document;
  const place = document && {
    file: document.place.file,
    line: field === '' ? document.place.line : document.lineOf(field),
  };
  return { place, what: step?.aim.title ?? '', path: field, message };
}

/** Network keys are the server's to give; here they only must not meet. */
function* freeKeys(stand: Stand): Generator<number, never> {
  const used = new Set<unknown>();
  for (const kind of ['bridge', 'router'] as const)
    for (const object of stand.list(kind))
      used.add((object as unknown as Fields)[kind === 'bridge' ? 'floodKey' : 'networkKey']);
  for (let key = FLOOD_KEY_BIT + 1; ; key++) if (!used.has(key)) yield key;
}

/** An object before and after the whole run, as far as can be told here. */
export interface Rehearsal {
  readonly faults: readonly PlacedFault[];
  /** After the last batch; undefined: it is gone. */
  after(kind: KindName, id: string): StoredObject | undefined;
  /** All there is then. */
  stand(): Stand;
}

/**
 * Decides every batch on what the caller sees, by the rules of the API, and changes nothing. What
 * the caller may not see or do is for the API to refuse.
 */
export function rehearse(stand: Stand, batches: readonly Batch[]): Rehearsal {
  const topology = new Topology();
  const objects = [...stand.kinds()].flatMap(([kind, list]) =>
    list.map((object) => ({ kind, object })),
  );
  topology.reset(1, objects);
  const keys = freeKeys(stand);
  let revision = 1;
  const result = {
    after: (kind: KindName, id: string) => topology.get(kind, id),
    stand: () => new Stand(DOCUMENT_KINDS.map((kind) => [kind, [...topology.list(kind)]])),
  };
  for (const batch of batches) {
    const ids = batch.filter(({ op }) => op === 'create').map(({ id }) => id);
    // What is swept in parts is no transaction: the API decides it as it goes.
    if (batch.some(({ rows }) => rows > TRANSACTION_ROWS_MAX)) continue;
    const decided = plan(topology, batch.map(rehearsed), {
      caller: { role: 'operator' },
      newId: () => ids.shift() ?? randomUUID(),
      nextFloodKey: () => keys.next().value,
      nextTunnelKey: () => 1,
    });
    if (!decided.ok)
      return { ...result, faults: decided.faults.map((fault) => placedFault(batch, fault)) };
    revision += 1;
    topology.apply({ revision, rows: decided.rows });
  }
  return { ...result, faults: [] };
}

/**
 * The transactions of steps, in an order that the rehearsal finds to go; what stands in the way of
 * the plain order if none does. One transaction is judged by its end, so its order does not matter.
 */
export function arrange(
  stand: Stand,
  steps: Steps,
): { readonly batches: readonly Batch[]; readonly rehearsal: Rehearsal } {
  const plain = batchesOf(steps);
  const first = { batches: plain, rehearsal: rehearse(stand, plain) };
  if (first.rehearsal.faults.length === 0 || plain.length === 1) return first;
  for (const other of steps.others()) {
    const batches = batchesOf({ steps: other, subjects: steps.subjects });
    const rehearsal = rehearse(stand, batches);
    if (rehearsal.faults.length === 0) return { batches, rehearsal };
  }
  return first;
}

/** Every object that would change, those that go with others included, as far as can be told. */
export function changesOf(stand: Stand, { aims }: Steps, rehearsal: Rehearsal): ObjectChange[] {
  const changes: ObjectChange[] = [];
  for (const { kind, id, deed } of aims) {
    const after = deed === 'create' ? rehearsal.after(kind, id) : undefined;
    if (after !== undefined) changes.push({ op: 'create', kind, id, after });
  }
  for (const [kind, objects] of stand.kinds())
    for (const before of objects) {
      const { id } = before;
      const after = rehearsal.after(kind, id);
      if (after === undefined) changes.push({ op: 'delete', kind, id, before });
      else if (!sameObject(before, after)) changes.push({ op: 'update', kind, id, before, after });
    }
  return changes;
}
