/** Small random load balancers at routers of small random topologies. */
import fc from 'fast-check';
import { ids, ROUTER_IDS } from '../ids.arbitrary.ts';
import type { HealthMonitorId, LoadBalancerId, PoolId, PoolMemberId, VipId } from '../ids.ts';
import type { KindName, StoredObject } from '../kind.ts';

const BALANCERS = ids<LoadBalancerId>(12, 2);
const POOLS = ids<PoolId>(13, 2);
const MEMBERS = ids<PoolMemberId>(14, 4);
const VIPS = ids<VipId>(15, 3);
const MONITORS = ids<HealthMonitorId>(9, 1);

type BalancerKind =
  | 'load-balancer'
  | 'health-monitor'
  | 'pool'
  | 'pool-member'
  | 'vip'
  | 'member-health';
export const BALANCER_IDS: { readonly [K in BalancerKind & KindName]: readonly string[] } = {
  'load-balancer': BALANCERS,
  'health-monitor': MONITORS,
  pool: POOLS,
  'pool-member': MEMBERS,
  vip: VIPS,
  'member-health': MEMBERS,
};

const one = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const mostly = fc.integer({ min: 0, max: 7 }).map((n) => n > 0);
const revision = fc.integer({ min: 1, max: 3 });
/** Plain objects, as JSON gives them. */
const row = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true });
const named = (id: string, name: string) => ({
  id: fc.constant(id),
  name: fc.constant(`${name}${id.at(-1)}`),
  revision,
});

const OTHERS: readonly string[] = Array(12).fill('203.0.113.80');

export const BALANCER_ROWS: {
  readonly [K in BalancerKind]: (id: string) => fc.Arbitrary<StoredObject>;
} = {
  'load-balancer': (id) =>
    row({ ...named(id, 'lb'), router: one(ROUTER_IDS), adminStateUp: mostly }),
  'health-monitor': (id) =>
    row({
      ...named(id, 'hm'),
      type: one(['tcp', 'ping']),
      interval: fc.constant(5),
      timeout: fc.constant(2),
      rise: fc.constant(2),
      fall: fc.constant(3),
      adminStateUp: mostly,
    }),
  pool: (id) =>
    row({
      ...named(id, 'pool'),
      loadBalancer: one(BALANCERS),
      healthMonitor: one([undefined, ...MONITORS]),
      adminStateUp: mostly,
      whenDown: one(['reject', 'drop']),
      backupPool: one([undefined, ...POOLS]),
      onMemberDown: one(['rebalance', 'keep']),
      tableSize: fc.constant(1_021),
    }),
  'pool-member': (id) =>
    row({
      id: fc.constant(id),
      pool: one(POOLS),
      address: one(['10.0.0.1', '10.0.0.2', '10.0.1.2', 'fd00::1']),
      port: one([53, 80, 8080]),
      weight: one([0, 1, 1, 3]),
      adminStateUp: mostly,
      revision,
    }),
  vip: (id) =>
    row({
      ...named(id, 'vip'),
      loadBalancer: one(BALANCERS),
      pool: one(POOLS),
      // Seldom one that packets are for: most of them are to be routed.
      address: one([...OTHERS, '10.0.0.1', '10.0.1.2', '10.0.0.9', 'fd00::1']),
      port: one([53, 80]),
      protocol: one(['tcp', 'udp']),
      adminStateUp: mostly,
      persistence: one(['none', 'source-ip']),
      persistenceTimeout: fc.constant(300),
      sessionLimit: one([undefined, undefined, 1]),
    }),
  'member-health': (id) =>
    row({
      id: fc.constant(id),
      member: fc.constant(id),
      status: one(['unknown', 'up', 'down']),
      reason: fc.constant(''),
      since: fc.constant(0),
      revision,
    }),
};
