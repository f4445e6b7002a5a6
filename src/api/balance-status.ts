/**
 * How load balancers fare, by what the topology says: which members take new connections, and which
 * VIPs are served. Pure; what agents counted is added by whoever asked them.
 */
import type { MemberStatus, OPERATING } from '#client/balance.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Topology } from '#virtual/topology.ts';

type Balancer = ObjectOf<'load-balancer'>;
type Pool = ObjectOf<'pool'>;
type Member = ObjectOf<'pool-member'>;
type Vip = ObjectOf<'vip'>;

export interface MemberFate {
  readonly member: Member;
  readonly status: MemberStatus;
  readonly health: ObjectOf<'member-health'> | undefined;
  /** It gets no new connections, whatever checks find. */
  readonly draining: boolean;
  readonly takes: boolean;
}

/** What refers to something, in the order of what `by` says. */
function all<T>(ids: readonly string[], get: (id: string) => unknown, by: (row: T) => string): T[] {
  const rows = ids.map(get).filter((row) => row !== undefined) as T[];
  return rows.toSorted((a, b) => by(a).localeCompare(by(b), 'en', { numeric: true }));
}

function isChecked(topology: Topology, { healthMonitor }: Pool): boolean {
  if (healthMonitor === undefined) return false;
  const monitor = topology.get('health-monitor', healthMonitor);
  return (monitor as ObjectOf<'health-monitor'> | undefined)?.adminStateUp === true;
}

/** The members of a pool, by address. */
export function membersOf(topology: Topology, pool: Pool): MemberFate[] {
  const checked = isChecked(topology, pool);
  const ids = topology.referrers('pool-member', 'pool', pool.id);
  const rows = all<Member>(
    ids,
    (id) => topology.get('pool-member', id),
    ({ address, port }) => `${address} ${port}`,
  );
  return rows.map((member) => {
    const row = topology.get('member-health', member.id) as ObjectOf<'member-health'> | undefined;
    const health = checked ? row : undefined;
    const status = checked ? (row?.status ?? 'unknown') : 'none';
    const draining = member.weight === 0 || !member.adminStateUp;
    return { member, status, health, draining, takes: !draining && status !== 'down' };
  });
}

export interface PoolFate {
  readonly pool: Pool;
  readonly members: readonly MemberFate[];
  /** Some member takes new connections. */
  readonly takes: boolean;
}
export interface BalancerFate {
  readonly balancer: Balancer;
  readonly pools: readonly PoolFate[];
  readonly vips: readonly { readonly vip: Vip; readonly served: boolean }[];
  readonly operating: (typeof OPERATING)[number];
}

const nameOf = ({ name, id }: { readonly name: string; readonly id: string }): string =>
  `${name} ${id}`;

export function fateOf(topology: Topology, balancer: Balancer): BalancerFate {
  const refer = (kind: 'pool' | 'vip') => topology.referrers(kind, 'loadBalancer', balancer.id);
  const pools = all<Pool>(refer('pool'), (id) => topology.get('pool', id), nameOf).map(
    (pool): PoolFate => {
      const members = membersOf(topology, pool);
      return { pool, members, takes: pool.adminStateUp && members.some(({ takes }) => takes) };
    },
  );
  const byId = new Map<string, PoolFate>(pools.map((fate) => [fate.pool.id, fate]));
  const isServed = ({ adminStateUp, pool: id }: Vip): boolean => {
    const own = byId.get(id);
    if (!balancer.adminStateUp || !adminStateUp || own?.pool.adminStateUp !== true) return false;
    return own.takes || byId.get(own.pool.backupPool ?? '')?.takes === true;
  };
  const vips = all<Vip>(refer('vip'), (id) => topology.get('vip', id), nameOf).map((vip) => ({
    vip,
    served: isServed(vip),
  }));
  return { balancer, pools, vips, operating: operatingOf(balancer, vips, pools) };
}

function operatingOf(
  { adminStateUp }: Balancer,
  vips: BalancerFate['vips'],
  pools: readonly PoolFate[],
): BalancerFate['operating'] {
  const wanted = vips.filter(({ vip }) => vip.adminStateUp);
  if (!adminStateUp || (vips.length > 0 && wanted.length === 0)) return 'disabled';
  const served = wanted.filter((one) => one.served).length;
  if (served === 0 && wanted.length > 0) return 'down';
  const isShort = pools.some(({ members }) => members.some(isDown));
  return served < wanted.length || isShort ? 'degraded' : 'up';
}

/** One that should serve, and does not. */
export const isDown = ({ draining, status }: MemberFate): boolean => !draining && status === 'down';
