/** Identities that must not mix. An id is a UUID (RFC 9562) in lower-case text. */
import type { z } from 'zod';

export type BridgeId = string & z.BRAND<'bridge'>;
export type PortId = string & z.BRAND<'port'>;
export type HostId = string & z.BRAND<'host'>;
export type TunnelZoneId = string & z.BRAND<'tunnel-zone'>;
export type AnyId = BridgeId | PortId | HostId | TunnelZoneId;
