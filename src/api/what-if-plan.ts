/**
 * A change that is not made: the topology as it is and as it would be, side by side, so that one
 * packet can be walked through both.
 *
 * Invariants: nothing is written, no key is spent; the change is planned by the same rules as a
 * write, in parts that a transaction holds, each on what the ones before it left; where ports would
 * be up is what their hosts say of their interfaces; all of it in slices, so that the node goes on
 * serving.
 */
import { randomUUID } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { INTERFACES_PER_ASK_MAX } from '#client/decided.ts';
import type { Operation } from '#client/types.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { Fault, KindName, StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { plan, TRANSACTION_ROWS_MAX, type PlanContext } from '#virtual/plan.ts';
import { sameObject } from '#virtual/same.ts';
import { Topology, type TopologyObject } from '#virtual/topology.ts';
import { AskFailed, type AskOptions } from './asks.ts';
import type { Node } from './node.ts';
import { Refusal } from './problems.ts';
import type { Caller } from './tokens.ts';

/** Objects that a change may touch, cascades included. */
export const WHAT_IF_ROWS_MAX = 20_000;
/** Objects put into a copy between two turns of others. */
const OBJECTS_PER_SLICE = 100;

type PortRow = ObjectOf<'port'>;
type LocationRow = ObjectOf<'location'>;

/** Ports that interfaces of a host carry. */
export type Carried = ReadonlyMap<HostId, ReadonlySet<PortId>>;

export interface ChangedObject {
  readonly kind: KindName;
  readonly id: string;
  readonly before: StoredObject | undefined;
  readonly after: StoredObject | undefined;
}
export interface Proposal {
  readonly before: Topology;
  readonly after: Topology;
  readonly changed: readonly ChangedObject[];
  readonly carriedBefore: Carried;
  readonly carriedAfter: Carried;
  /** Hosts that would carry other ports, and did not say whether they have the interfaces. */
  readonly silent: ReadonlyMap<string, string>;
}

async function copyOf(objects: readonly TopologyObject[], revision: number): Promise<Topology> {
  const copy = new Topology();
  for (let i = 0; i < objects.length; i += OBJECTS_PER_SLICE) {
    const rows = objects
      .slice(i, i + OBJECTS_PER_SLICE)
      .map(({ kind, object }): RowChange => ({ kind, id: object.id, put: object }));
    copy.apply({ revision: 0, rows });
    await setImmediate();
  }
  copy.advance(revision);
  return copy;
}

/** Keys that nobody has: what they are does not matter as long as they are told apart. */
class UnusedKeys {
  readonly #hosts = new Map<string, number>();
  #network = FLOOD_KEY_BIT;

  constructor(topology: Topology) {
    for (const { networkKey } of topology.list('router') as Iterable<ObjectOf<'router'>>)
      this.#network = Math.max(this.#network, networkKey);
    for (const { floodKey } of topology.list('bridge') as Iterable<ObjectOf<'bridge'>>)
      this.#network = Math.max(this.#network, floodKey);
    for (const { host, tunnelKey } of topology.list('location') as Iterable<LocationRow>)
      this.#hosts.set(host, Math.max(this.#hosts.get(host) ?? 0, tunnelKey));
  }
  nextFloodKey(): number {
    return ++this.#network;
  }
  nextTunnelKey(host: string): number {
    const next = (this.#hosts.get(host) ?? 0) + 1;
    this.#hosts.set(host, next);
    return next;
  }
}

/** Faults of a part, as faults of the whole list of operations. */
function faultsAt(faults: readonly Fault[], part: { first: number; size: number; of: number }) {
  if (part.of === 1) return faults;
  return faults.map(({ path, message }) => {
    const [, n, rest = ''] = /^operations\.(\d+)(.*)$/.exec(path) ?? [];
    if (n !== undefined) return { path: `operations.${Number(n) + part.first}${rest}`, message };
    const one = part.size === 1 && path !== 'operations';
    const inside = path === '' ? '' : `.${path}`;
    return { path: one ? `operations.${part.first}${inside}` : path, message };
  });
}

/** Lays the operations over a topology. Throws a Refusal that names operation, field and rule. */
async function lay(
  after: Topology,
  operations: readonly Operation[],
  context: PlanContext,
): Promise<Set<string>> {
  const touched = new Set<string>();
  for (let first = 0; first < operations.length; first += TRANSACTION_ROWS_MAX) {
    const part = operations.slice(first, first + TRANSACTION_ROWS_MAX);
    const planned = plan(after, part, context);
    if (!planned.ok) {
      const where = { first, size: part.length, of: operations.length };
      throw new Refusal(planned.status, { errors: faultsAt(planned.faults, where) });
    }
    after.apply({ revision: after.revision, rows: planned.rows });
    for (const { kind, id } of planned.rows) touched.add(`${kind}/${id}`);
    await setImmediate();
  }
  return touched;
}

const portsOf = (topology: Topology): Iterable<PortRow> =>
  topology.list('port') as Iterable<PortRow>;
const isBound = (
  port: PortRow | undefined,
): port is PortRow & { host: HostId; interface: string } =>
  port?.host !== undefined && port.interface !== undefined;

function carriedNow({ hosts }: Node, topology: Topology): Map<HostId, Set<PortId>> {
  const carried = new Map<HostId, Set<PortId>>();
  for (const { host, report } of hosts.statuses()) {
    const here = (report?.portsUp ?? []).filter(
      (id) => (topology.get('port', id) as PortRow | undefined)?.host === host,
    );
    carried.set(host as HostId, new Set(here as PortId[]));
  }
  return carried;
}

/** Ports that would be at an interface where they are not now, by host. */
function boundAnew(before: Topology, after: Topology): Map<HostId, PortRow[]> {
  const anew = new Map<HostId, PortRow[]>();
  for (const port of portsOf(after)) {
    if (!isBound(port)) continue;
    const was = before.get('port', port.id) as PortRow | undefined;
    if (was?.host === port.host && was.interface === port.interface) continue;
    anew.getOrInsertComputed(port.host, () => []).push(port);
  }
  return anew;
}

/** Which of these ports' interfaces are there. */
async function interfacesThere(
  node: Node,
  host: HostId,
  ports: readonly PortRow[],
  options: AskOptions,
) {
  const names = [...new Set(ports.map((port) => port.interface ?? ''))];
  const there = new Set<string>();
  for (let i = 0; i < names.length; i += INTERFACES_PER_ASK_MAX) {
    const some = names.slice(i, i + INTERFACES_PER_ASK_MAX);
    for (const { name } of await node.asks.one(host, { kind: 'interfaces', names: some }, options))
      there.add(name);
  }
  return there;
}

/** The location that a port would have, given whether its interface is there. */
function locationOf(
  after: Topology,
  port: PortRow,
  isThere: boolean,
  keys: UnusedKeys,
): RowChange[] {
  if (!isBound(port)) return [];
  const known = after.location(port.id);
  const here = known?.host === port.host ? known : undefined;
  // A bridge's port that goes down keeps its place; a router's says so.
  if (!isThere && (here === undefined || port.type === 'bridge')) return [];
  const put = {
    ...here,
    id: port.id,
    port: port.id,
    host: port.host,
    interface: isThere ? port.interface : (here?.interface ?? port.interface),
    up: isThere,
    tunnelKey: here?.tunnelKey ?? keys.nextTunnelKey(port.host),
    revision: here?.revision ?? 0,
  };
  return [{ kind: 'location', id: port.id, put: put as StoredObject }];
}

/** Where the ports would be up, once their hosts have followed. */
async function locate(
  node: Node,
  { before, after, keys }: { before: Topology; after: Topology; keys: UnusedKeys },
  options: AskOptions,
) {
  const carriedBefore = carriedNow(node, before);
  const anew = boundAnew(before, after);
  const carriedAfter = new Map<HostId, Set<PortId>>();
  const silent = new Map<string, string>();
  for (const { id } of after.list('host')) {
    const host = id as HostId;
    const moved = anew.get(host) ?? [];
    const here = new Set(
      [...(carriedBefore.get(host) ?? [])].filter(
        (port) =>
          (after.get('port', port) as PortRow | undefined)?.host === host &&
          !moved.some((one) => one.id === port),
      ),
    );
    carriedAfter.set(host, here);
    if (moved.length === 0) continue;
    let there: ReadonlySet<string> = new Set();
    try {
      there = await interfacesThere(node, host, moved, options);
    } catch (error) {
      if (!(error instanceof AskFailed)) throw error;
      silent.set(host, error.message);
    }
    const rows: RowChange[] = [];
    for (const port of moved) {
      const isThere = there.has(port.interface ?? '');
      if (isThere) here.add(port.id);
      rows.push(...locationOf(after, port, isThere, keys));
    }
    after.apply({ revision: after.revision, rows });
  }
  return { carriedBefore, carriedAfter, silent };
}

/**
 * What the operations of a caller would make of the topology. Throws a Refusal (as the writes
 * would).
 */
export async function propose(
  node: Node,
  caller: Caller,
  operations: readonly Operation[],
  options: AskOptions,
): Promise<Proposal> {
  const live = node.replica.topology;
  const { revision } = live;
  // The objects are immutable: whatever happens to the live topology meanwhile, these stay.
  const objects = [...live.objects()];
  const before = await copyOf(objects, revision);
  const after = await copyOf(objects, revision);
  const keys = new UnusedKeys(before);
  const touched = await lay(after, operations, {
    caller: caller.token,
    newId: randomUUID,
    nextFloodKey: () => keys.nextFloodKey(),
    nextTunnelKey: (host) => keys.nextTunnelKey(host),
    rowsMax: WHAT_IF_ROWS_MAX,
  });
  const changed: ChangedObject[] = [];
  for (const name of touched) {
    const slash = name.indexOf('/');
    const [kind, id] = [name.slice(0, slash) as KindName, name.slice(slash + 1)];
    const [was, is] = [before.get(kind, id), after.get(kind, id)];
    if (was !== is && (was === undefined || is === undefined || !sameObject(was, is)))
      changed.push({ kind, id, before: was, after: is });
  }
  return { before, after, changed, ...(await locate(node, { before, after, keys }, options)) };
}
