/**
 * What the simulation may ask of the topology and of what was learned. `Topology` (topology.ts) and
 * the tables of `state/` are the bodies.
 */
import type { Ip, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { Prefix } from '#net/prefix.ts';
import type { BridgeId, PortId, RouterId } from './ids.ts';
import type { ReadyBridge, ReadyPort, ReadyRouter } from './ready.ts';

interface CommonPortView {
  readonly id: PortId;
  readonly ready: ReadyPort;
  readonly name: string;
  readonly adminStateUp: boolean;
  /** The port it is linked to, if that one says so too: the port is interior. */
  readonly peer: PortId | undefined;
  /** What that one is a port of. */
  readonly peerType: 'bridge' | 'router' | undefined;
}
/** A port of a bridge as the walk sees it: numbers, not text. */
export interface BridgePortView extends CommonPortView {
  readonly type: 'bridge';
  readonly bridge: BridgeId;
  readonly router?: undefined;
  readonly hairpin: boolean;
  /** The VLAN of its bridge that the linked bridge is; 0: none. */
  readonly vlan: number;
}
/** A port of a router. */
export interface RouterPortView extends CommonPortView {
  readonly type: 'router';
  readonly router: RouterId;
  readonly bridge?: undefined;
  readonly mac: Mac;
  /** Its addresses, each with the length of its network. */
  readonly networks: readonly Prefix[];
  /** fe80::/64, made from the MAC. */
  readonly linkLocal: Ip6;
  /** Bytes of the largest IP packet routed out of it; undefined: any. */
  readonly mtu: number | undefined;
}
export type PortView = BridgePortView | RouterPortView;

/** A bridge as the walk sees it. Lookups answer in constant time. */
export interface BridgeView {
  readonly id: BridgeId;
  readonly ready: ReadyBridge;
  readonly name: string;
  readonly adminStateUp: boolean;
  /** The flood key, which is also the number of the network. */
  readonly floodKey: number;
  /** Ids of its ports, in no particular order. */
  readonly ports: ReadonlySet<PortId>;
  /** Those of them that are linked to a port of another bridge. */
  readonly bridgeLinks: ReadonlySet<PortId>;
  /** Those of them that are linked to a port of a router. */
  readonly routerLinks: ReadonlySet<PortId>;
  /** How many of those that are not linked are administratively up. */
  readonly portsUp: number;
  /**
   * The port a MAC is seeded at, in every VLAN: of a linked router's port, the port of the link.
   */
  seededPort(mac: Mac): PortId | undefined;
  /** The seeded owner of an address; the address of a linked router's port is one. */
  seededAddress(ip: Ip): { readonly mac: Mac; readonly port: PortId } | undefined;
  /** Whether a seeded address is asked for at this solicited-node group (RFC 4291 §2.7.1). */
  hasSolicited(group: Ip6): boolean;
  /**
   * Whether any IPv4 (4) or IPv6 (6) address is seeded: without, ARP or ND need not be looked into.
   */
  hasSeeds(family: 4 | 6): boolean;
}

/** One route of a router that is alive: its port, if it has one, can carry traffic. */
export interface RouteView {
  /** Of a static route its id; of a connected or local one, the port's id and the prefix. */
  readonly id: string;
  readonly name: string | undefined;
  readonly kind: 'connected' | 'port' | 'local' | 'blackhole' | 'reject';
  readonly destination: Prefix;
  readonly source: Prefix | undefined;
  readonly weight: number;
  readonly port: PortId | undefined;
  readonly gateway: Ip | undefined;
}
export interface RouterView {
  readonly id: RouterId;
  readonly ready: ReadyRouter;
  readonly name: string;
  readonly adminStateUp: boolean;
  /** Its number as a network. */
  readonly networkKey: number;
  readonly ports: ReadonlySet<PortId>;
  /**
   * The best routes to an address: the longest destination that has a route for the source, of
   * these the longest source, of these the lowest weight. More than one: they share connections.
   * `source` is asked only where a route depends on it.
   */
  routes(destination: Ip, source: () => Ip): readonly RouteView[];
  /**
   * For tracers: every route to an address, those that would be taken before others first; then
   * those that are not alive. Costs a look at each static route.
   */
  considered(destination: Ip): readonly ConsideredRoute[];
}
export interface ConsideredRoute {
  readonly route: RouteView;
  /** Its port, if it has one, can carry traffic. */
  readonly alive: boolean;
}
export interface TopologyView {
  readonly revision: number;
  port(id: PortId): PortView | undefined;
  bridge(id: BridgeId): BridgeView | undefined;
  router(id: RouterId): RouterView | undefined;
}

/** Learned MACs: where the last sender with this MAC was. */
export interface LearnedView {
  port(bridge: BridgeId, vlan: number, mac: Mac): PortId | undefined;
  /** Whether this port may learn one more (the budget is per port). */
  mayLearn(port: PortId): boolean;
}
/** The neighbours of router ports: who was heard to have an address (ARP, neighbour discovery). */
export interface NeighbourView {
  /** `unreachable`: asked in vain, not long ago. Undefined: not known, ask. */
  neighbour(port: PortId, ip: Ip): Mac | 'unreachable' | undefined;
  /**
   * Whether this router port may remember one neighbour more, and whether one that `by` brought
   * (each has its budget); undefined: another host, whose budgets have let it pass, heard it.
   */
  mayHear(port: PortId, by: PortId | undefined): boolean;
}
/** ICMP errors about frames of a port are limited in rate (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f). */
export interface ErrorBudgetView {
  mayTell(port: PortId): boolean;
}
/** All that is known beside the topology. */
export interface StateView {
  readonly macs: LearnedView;
  readonly neighbours: NeighbourView;
  readonly errors: ErrorBudgetView;
}
