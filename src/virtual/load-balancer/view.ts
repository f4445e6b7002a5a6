/** Load balancers as the walk sees them: numbers, not text. `state.ts` is the body. */
import type { Ip, Ip6 } from '#net/ip.ts';
import type { Endpoint } from '../connection.ts';
import type { PoolId, PoolMemberId, VipId } from '../ids.ts';

export interface MemberView extends Endpoint {
  readonly id: PoolMemberId;
  /** Its name, or where it serves. */
  readonly name: string;
  /** May get new connections: it is up, weighs something, and no check has found it down. */
  readonly isAvailable: boolean;
  /** Whether checks have found it down; its connections may be moved. */
  readonly isDown: boolean;
}
/** A pool. Another value whenever something of it, or of its members, is another. */
export interface PoolView {
  readonly id: PoolId;
  readonly name: string;
  readonly adminStateUp: boolean;
  readonly whenDown: 'reject' | 'drop';
  readonly backupPool: PoolId | undefined;
  /** Whether connections of a member that is down stay with it. */
  readonly keeps: boolean;
  readonly members: readonly MemberView[];
  readonly available: readonly boolean[];
  /** The table of its places: which of `members` has each. Made when it is asked for. */
  readonly table: Uint16Array;
}
export interface VipView extends Endpoint {
  readonly id: VipId;
  readonly name: string;
  readonly protocol: number;
  /** Takes new connections: neither it nor its load balancer is down. */
  readonly isUp: boolean;
  readonly pool: PoolId;
  /** Clients keep their members. */
  readonly persistent: boolean;
  readonly sessionLimit: number | undefined;
}
/** All that a router balances. */
export interface BalancerView {
  /** The VIP that is asked there; undefined: none. */
  vip(protocol: number, ip: Ip, port: number): VipView | undefined;
  /** Whether any VIP has the address, or one that is asked for at a solicited-node group. */
  hasAddress(ip: Ip): boolean;
  hasSolicited(group: Ip6): boolean;
  /** Whether a member has the address, or serves there at a port. */
  serves(ip: Ip, port?: number): boolean;
  pool(id: PoolId): PoolView | undefined;
}

/** What an agent knows of clients and connections. */
export interface BalancingView {
  /** The member that a client of a VIP has; undefined: none is known. */
  memberOf(vip: VipId, client: Ip): PoolMemberId | undefined;
  /** Connections of a VIP that this host knows. */
  sessions(vip: VipView, zone: number): number;
}
