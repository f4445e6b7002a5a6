/**
 * What the server writes of checks of members by itself: which host checks which, the ports by
 * which they do, and what hosts report.
 *
 * Invariants: plans like any other (`finish`), from the state as it is: what did not fit, or lost a
 * race, is planned again by the next one, and where nothing is amiss there is nothing to write. A
 * host speaks of the members that it checks, and of no others.
 */
import { Draft } from '../draft.ts';
import type { StoredObject } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';
import { assignMembers, type Living } from '../member-health/assign.ts';
import { memberHealthKind } from '../member-health/member-health.ts';
import {
  freeNetworks,
  isServicePort,
  serviceInterface,
  serviceName,
} from '../member-health/service-port.ts';
import { portKind } from '../port/port.ts';
import type { Plan } from '../plan.ts';
import type { Topology } from '../topology.ts';
import { finish } from './finish.ts';
import { store } from './objects.ts';
import { cascade, removeFound } from './removal.ts';
import { FaultList, type PlanContext, type Work } from './work.ts';

type Health = ObjectOf<'member-health'>;
type PortRow = ObjectOf<'port'>;

/** Rows that one transaction of the server changes; the rest waits for the next one. */
export const CHECK_ROWS_MAX = 100;

export interface ChecksContext extends Omit<PlanContext, 'caller' | 'rowsMax'> {
  readonly living: Living;
  /** Milliseconds of Unix time. */
  readonly now: number;
}

const workOf = (topology: Topology, context: Omit<PlanContext, 'caller'>): Work => ({
  draft: new Draft(topology),
  faults: new FaultList(false),
  context: { ...context, caller: { role: 'operator' } },
});
function planned(work: Work, topology: Topology): Plan {
  finish(work, topology);
  return work.faults.refusal ?? { ok: true, rows: work.draft.changes(), objects: [] };
}

/** Hosts for members, and service ports for hosts. */
export function planChecks(topology: Topology, context: ChecksContext): Plan {
  const work = workOf(topology, context);
  assign(work, topology, context);
  const wanted = wantedPorts(work);
  endPorts(work, wanted);
  makePorts(work, wanted);
  return planned(work, topology);
}

function assign({ draft }: Work, topology: Topology, { living, now }: ChecksContext): void {
  const assigned = assignMembers(topology, living);
  for (const { id } of topology.list('member-health')) {
    if (draft.size >= CHECK_ROWS_MAX) return;
    if (!assigned.has(id as Health['member'])) draft.remove('member-health', id, 0);
  }
  for (const [member, host] of assigned) {
    if (draft.size >= CHECK_ROWS_MAX) return;
    const known = topology.get('member-health', member) as Health | undefined;
    if (known !== undefined && known.host === host) continue;
    const { host: _, ...rest } = known ?? { id: member, member, since: now, revision: 0 };
    const { revision, ...fields } = { ...rest, ...(host !== undefined && { host }) };
    const row = { ...memberHealthKind.schema.parse(fields), revision };
    draft.put('member-health', row as StoredObject, 0);
  }
}

const pairOf = (router: string, host: string): string => `${router} ${host}`;
/** Routers and hosts that check members there, as they are to be in the end. */
function wantedPorts({ draft }: Work): Map<string, { router: string; host: string }> {
  const wanted = new Map<string, { router: string; host: string }>();
  for (const { member, host } of draft.list('member-health') as Iterable<Health>) {
    if (host === undefined) continue;
    const { pool } = (draft.get('pool-member', member) ?? {}) as Partial<ObjectOf<'pool-member'>>;
    const of = (draft.get('pool', pool ?? '') ?? {}) as Partial<ObjectOf<'pool'>>;
    const balancer = draft.get('load-balancer', of.loadBalancer ?? '');
    const router = (balancer as ObjectOf<'load-balancer'> | undefined)?.router;
    if (router !== undefined) wanted.set(pairOf(router, host), { router, host });
  }
  return wanted;
}

/** Removes service ports that nobody has need of, and takes those that there are off the list. */
function endPorts(work: Work, wanted: Map<string, unknown>): void {
  const { draft } = work;
  const services = Array.from(draft.list('port') as Iterable<PortRow>).filter(isServicePort);
  for (const { id, router = '', host = '' } of services) {
    if (wanted.delete(pairOf(router, host))) continue;
    const { doomed, others } = cascade(draft, { kind: 'port', id }, CHECK_ROWS_MAX);
    const isLarge = draft.size + doomed.size + others.length > CHECK_ROWS_MAX;
    // One that cannot go is in nobody's way.
    if (isLarge || others.some(({ path }) => path.reference.onDelete === 'refuse')) continue;
    removeFound(work, { kind: 'port', id }, CHECK_ROWS_MAX);
  }
}

function makePorts(
  work: Work,
  wanted: ReadonlyMap<string, { readonly router: string; readonly host: string }>,
): void {
  const { draft, context } = work;
  for (const { router, host } of wanted.values()) {
    if (draft.size >= CHECK_ROWS_MAX) return;
    const of = draft.get('router', router);
    const networks = freeNetworks(draft, router);
    const id = context.newId();
    if (of === undefined || networks === undefined || isTaken(work, host, id)) continue;
    const fields = {
      id,
      name: serviceName(router, host),
      ...(of.tenant !== undefined && { tenant: of.tenant }),
      type: 'router',
      router,
      host,
      interface: serviceInterface(id),
      networks,
      service: true,
    };
    store(work, portKind, fields, 0);
  }
}
/** Whether another port has the interface: the next sweep makes another name. */
const isTaken = ({ draft }: Work, host: string, id: string): boolean =>
  draft
    .referrers('port', 'host', host)
    .some((other) => (draft.get('port', other) as PortRow).interface === serviceInterface(id));

export interface FoundHealth {
  readonly member: string;
  readonly status: 'up' | 'down';
  readonly reason: string;
}

/** Whether a host may say what it found of a member. */
export const mayReport = (topology: Topology, host: string, member: string): boolean =>
  (topology.get('member-health', member) as Health | undefined)?.host === host;

/** What a host found; of members that it does not check, nothing is written. */
export function planReports(
  topology: Topology,
  reports: readonly FoundHealth[],
  { host, now, ...context }: Omit<ChecksContext, 'living'> & { readonly host: string },
): Plan {
  const work = workOf(topology, context);
  for (const { member, status, reason } of reports) {
    if (!mayReport(topology, host, member)) continue;
    const known = work.draft.get('member-health', member) as Health & StoredObject;
    if (known.status === status && known.reason === reason) continue;
    const since = known.status === status ? known.since : now;
    const row = { ...known, status, reason, since };
    work.draft.put('member-health', row, 0);
  }
  return planned(work, topology);
}
