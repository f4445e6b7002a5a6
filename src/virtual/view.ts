/**
 * What the simulation may ask of the topology and of what was learned. `Topology` (topology.ts) and
 * `MacTable` (state/macs.ts) are the bodies.
 */
import type { Ip, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { BridgeId, PortId } from './ids.ts';

/** A port as the walk sees it: numbers, not text. */
export interface PortView {
  readonly id: PortId;
  readonly name: string;
  readonly bridge: BridgeId;
  readonly adminStateUp: boolean;
  readonly hairpin: boolean;
}
/** A bridge as the walk sees it. Lookups answer in constant time. */
export interface BridgeView {
  readonly id: BridgeId;
  readonly name: string;
  readonly adminStateUp: boolean;
  /** The flood key, which is also the number of the network. */
  readonly floodKey: number;
  /** Ids of its ports, in no particular order. */
  readonly ports: ReadonlySet<PortId>;
  /** How many of them are administratively up. */
  readonly portsUp: number;
  /** The port a MAC is seeded at, in every VLAN. */
  seededPort(mac: Mac): PortId | undefined;
  /** The seeded owner of an address. */
  seededAddress(ip: Ip): { readonly mac: Mac; readonly port: PortId } | undefined;
  /** Whether a seeded address is asked for at this solicited-node group (RFC 4291 §2.7.1). */
  hasSolicited(group: Ip6): boolean;
  /**
   * Whether any IPv4 (4) or IPv6 (6) address is seeded: without, ARP or ND need not be looked into.
   */
  hasSeeds(family: 4 | 6): boolean;
}
export interface TopologyView {
  readonly revision: number;
  port(id: PortId): PortView | undefined;
  bridge(id: BridgeId): BridgeView | undefined;
}
/** Learned MACs: where the last sender with this MAC was. */
export interface LearnedView {
  port(bridge: BridgeId, vlan: number, mac: Mac): PortId | undefined;
  /** Whether this port may learn one more (the budget is per port). */
  mayLearn(port: PortId): boolean;
}
