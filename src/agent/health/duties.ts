/**
 * What of health checks is this host's: the members it is to check, and the namespaces from which.
 *
 * Invariant: depends on the topology alone; a host checks what the server says it does, no more.
 */
import { formatIp, type Ip, type Ip4, type Ip6 } from '#net/ip.ts';
import { formatPrefix, parseNetwork } from '#net/prefix.ts';
import type { HostId } from '#virtual/ids.ts';
import type { KindName } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { addressAfter } from '#virtual/rule/nat.ts';
import type { Topology } from '#virtual/topology.ts';

/** A namespace: the interface of its port here, its addresses, and the router by which it sends. */
export interface Space {
  readonly interface: string;
  readonly addresses: readonly string[];
  readonly gateways: readonly string[];
}
export type Monitor = Pick<
  ObjectOf<'health-monitor'>,
  'type' | 'interval' | 'timeout' | 'rise' | 'fall'
> & {
  readonly path?: string | undefined;
  readonly method?: string | undefined;
  readonly codes?: string | undefined;
  readonly body?: string | undefined;
  readonly hostName?: string | undefined;
};
/** A member to be checked. `status`: as everybody knows it. */
export interface Check {
  readonly member: string;
  readonly address: string;
  readonly port: number;
  readonly space: string;
  readonly monitor: Monitor;
  readonly status: 'unknown' | 'up' | 'down';
  readonly reason: string;
}
export interface Duties {
  readonly spaces: readonly Space[];
  readonly checks: readonly Check[];
}
export const NO_DUTIES: Duties = { spaces: [], checks: [] };

/** A change of any of these may change duties. */
export const DUTY_KINDS: readonly KindName[] = [
  'member-health',
  'health-monitor',
  'pool',
  'pool-member',
  'load-balancer',
  'port',
];

/** The far end of a service port. */
function spaceOf({ interface: name = '', networks = [] }: ObjectOf<'port'>): Space {
  const own = networks.map(parseNetwork).filter((network) => network !== undefined);
  return {
    interface: name,
    addresses: own.map(({ address, length }) =>
      formatPrefix({ address: addressAfter(address, 1) as Ip4 | Ip6, length }),
    ),
    gateways: own.map(({ address }: { address: Ip }) => formatIp(address)),
  };
}

function monitorOf(row: ObjectOf<'health-monitor'>): Monitor {
  const { type, interval, timeout, rise, fall, path, method, codes, body, hostName } = row;
  return { type, interval, timeout, rise, fall, path, method, codes, body, hostName };
}

export function dutiesOf(topology: Topology, host: HostId): Duties {
  const rows = [...topology.list('member-health')] as ObjectOf<'member-health'>[];
  const own = rows.filter((row) => row.host === host);
  if (own.length === 0) return NO_DUTIES;
  const ports = new Map<string, ObjectOf<'port'>>();
  for (const id of topology.portsOnHost(host)) {
    const port = topology.get('port', id) as ObjectOf<'port'>;
    if (port.type === 'router' && port.service === true) ports.set(port.router, port);
  }
  const spaces = new Map<string, Space>();
  const checks: Check[] = [];
  for (const { id, status, reason } of own) {
    const member = topology.get('pool-member', id) as ObjectOf<'pool-member'> | undefined;
    const pool = topology.get('pool', member?.pool ?? '') as ObjectOf<'pool'> | undefined;
    const balancer = topology.get('load-balancer', pool?.loadBalancer ?? '');
    const { router = '' } = (balancer as ObjectOf<'load-balancer'> | undefined) ?? {};
    const monitor = topology.get('health-monitor', pool?.healthMonitor ?? '');
    const port = ports.get(router);
    if (member === undefined || monitor === undefined || port === undefined) continue;
    const space = spaceOf(port);
    spaces.set(space.interface, space);
    const { address, port: to } = member;
    const of = monitorOf(monitor as ObjectOf<'health-monitor'>);
    checks.push({
      ...{ member: id, address, port: to, space: space.interface },
      ...{ monitor: of, status, reason },
    });
  }
  return { spaces: [...spaces.values()], checks };
}
