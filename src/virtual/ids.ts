/** Identities that must not mix. An id is a UUID (RFC 9562) in lower-case text. */
import type { z } from 'zod';

export type BridgeId = string & z.BRAND<'bridge'>;
export type RouterId = string & z.BRAND<'router'>;
export type PortId = string & z.BRAND<'port'>;
export type RouteId = string & z.BRAND<'route'>;
export type HostId = string & z.BRAND<'host'>;
export type TunnelZoneId = string & z.BRAND<'tunnel-zone'>;
export type ChainId = string & z.BRAND<'chain'>;
export type RuleId = string & z.BRAND<'rule'>;
export type PortGroupId = string & z.BRAND<'port-group'>;
export type AddressGroupId = string & z.BRAND<'address-group'>;
export type LoadBalancerId = string & z.BRAND<'load-balancer'>;
export type PoolId = string & z.BRAND<'pool'>;
export type PoolMemberId = string & z.BRAND<'pool-member'>;
export type VipId = string & z.BRAND<'vip'>;
export type HealthMonitorId = string & z.BRAND<'health-monitor'>;
/** What has ports. */
export type DeviceId = BridgeId | RouterId;
export type AnyId =
  | DeviceId
  | PortId
  | RouteId
  | HostId
  | TunnelZoneId
  | ChainId
  | RuleId
  | PortGroupId
  | AddressGroupId
  | LoadBalancerId
  | PoolId
  | PoolMemberId
  | VipId
  | HealthMonitorId;
