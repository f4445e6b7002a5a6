/** THE table: one row per kind of object. */
import type { z } from 'zod';
import { addressGroupKind } from './address-group/address-group.ts';
import { bridgeKind } from './bridge/bridge.ts';
import { chainKind } from './chain/chain.ts';
import { healthMonitorKind } from './health-monitor/health-monitor.ts';
import { hostKind } from './host/host.ts';
import type { Kind, KindName } from './kind.ts';
import { loadBalancerKind } from './load-balancer/load-balancer.ts';
import { locationKind } from './location/location.ts';
import { memberHealthKind } from './member-health/member-health.ts';
import { natBlockKind } from './nat-block/nat-block.ts';
import { poolKind } from './pool/pool.ts';
import { poolMemberKind } from './pool-member/pool-member.ts';
import { portKind, type Port } from './port/port.ts';
import { portGroupKind } from './port-group/port-group.ts';
import { routeKind } from './route/route.ts';
import { routerKind } from './router/router.ts';
import { ruleKind } from './rule/rule.ts';
import { tunnelZoneKind } from './tunnel-zone/tunnel-zone.ts';
import { vipKind } from './vip/vip.ts';

export const kinds = {
  'tunnel-zone': tunnelZoneKind,
  host: hostKind,
  chain: chainKind,
  'address-group': addressGroupKind,
  bridge: bridgeKind,
  router: routerKind,
  port: portKind,
  route: routeKind,
  'port-group': portGroupKind,
  rule: ruleKind,
  location: locationKind,
  'nat-block': natBlockKind,
  'load-balancer': loadBalancerKind,
  'health-monitor': healthMonitorKind,
  pool: poolKind,
  'pool-member': poolMemberKind,
  vip: vipKind,
  'member-health': memberHealthKind,
} as const satisfies { [K in KindName]: Kind };

/** An object as stored and as the API shows it: valid by its schema, with the store's revision. */
export type ObjectOf<K extends KindName> = (K extends 'port'
  ? Readonly<Port>
  : Readonly<z.output<(typeof kinds)[K]['schema']>>) & { readonly revision: number };
/** What a caller sends to create one; references may be unique names. */
export type NewObjectOf<_K extends KindName> = { readonly [field: string]: unknown };

/** The row as its general type, for loops over the table. */
export const kindOf = (name: KindName): Kind => kinds[name] as Kind;
