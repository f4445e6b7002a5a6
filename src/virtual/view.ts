/**
 * What the simulation may ask of the topology and of what was learned. `Topology` (topology.ts) and
 * the tables of `state/` are the bodies.
 */
import type { Ip, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { Prefix } from '#net/prefix.ts';
import type { ConnectionsView, Tuple, Zone } from './connection.ts';
import type {
  AddressGroupId,
  BridgeId,
  ChainId,
  PortGroupId,
  PortId,
  RouterId,
  RuleId,
} from './ids.ts';
import type { BalancerView, BalancingView } from './load-balancer/view.ts';
import type { AllowedSources } from './port/allowed.ts';
import type { ReadyBridge, ReadyChain, ReadyPort, ReadyRouter } from './ready.ts';
import type { ConditionView } from './rule/condition.ts';
import type { NatAction, NatView } from './rule/nat.ts';
import type { Range } from './rule/values.ts';

interface CommonPortView {
  readonly id: PortId;
  readonly ready: ReadyPort;
  readonly name: string;
  readonly adminStateUp: boolean;
  /** The port it is linked to, if that one says so too: the port is interior. */
  readonly peer: PortId | undefined;
  /** What that one is a port of. */
  readonly peerType: 'bridge' | 'router' | undefined;
  /** The chain that decides about what enters its device here, and what leaves it here. */
  readonly inboundFilter: ChainId | undefined;
  readonly outboundFilter: ChainId | undefined;
}
/** A port of a bridge as the walk sees it: numbers, not text. */
export interface BridgePortView extends CommonPortView {
  readonly type: 'bridge';
  readonly bridge: BridgeId;
  readonly router?: undefined;
  readonly hairpin: boolean;
  /** The VLAN of its bridge that the linked bridge is; 0: none. */
  readonly vlan: number;
  /** Port security: all that may be sent from here; undefined: it is off. */
  readonly allowed: AllowedSources | undefined;
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
  /** Of the service namespace of a host, which checks members of load balancers. */
  readonly service: boolean;
}
export type PortView = BridgePortView | RouterPortView;

/** A bridge as the walk sees it. Lookups answer in constant time. */
export interface BridgeView {
  readonly id: BridgeId;
  readonly ready: ReadyBridge;
  readonly name: string;
  readonly adminStateUp: boolean;
  /** The chain that decides about what a port has let in, and what is to go to its ports. */
  readonly inboundFilter: ChainId | undefined;
  readonly outboundFilter: ChainId | undefined;
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
  /** Those that are not linked, up, and have a filter of either way; changes with `floodTag`. */
  readonly filtered: ReadonlySet<PortId>;
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
  /** Whether any port of it is secured. */
  readonly secures: boolean;
  /** The secured ports that may send from a MAC, or an address of no prefix; undefined: none. */
  securedMac(mac: Mac): ReadonlySet<PortId> | undefined;
  securedAddress(ip: Ip): ReadonlySet<PortId> | undefined;
  /** Whether any IPv4 (4) or IPv6 (6) address is secured. */
  hasSecured(family: 4 | 6): boolean;
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
  /** Before the inbound filter: the first chain that a packet meets here. */
  readonly localFilter: ChainId | undefined;
  readonly inboundFilter: ChainId | undefined;
  /** Of packets that are routed on; before the outbound filter. */
  readonly forwardFilter: ChainId | undefined;
  readonly outboundFilter: ChainId | undefined;
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

/** One rule, as it is at one version of it. */
export interface RuleView {
  readonly id: RuleId;
  readonly name: string | undefined;
  readonly position: number;
  readonly action: 'accept' | 'drop' | 'reject' | 'return' | 'jump' | 'continue' | NatAction;
  /** Of a rule that translates. */
  readonly nat: NatView | undefined;
  /** Where a rule that jumps goes on. */
  readonly jump: ChainId | undefined;
  /** What it matches is written down. */
  readonly log: boolean;
  readonly condition: ConditionView;
}
/** A chain. Another value whenever one of its rules is another, so work on it may be kept by it. */
export interface ChainView {
  readonly id: ChainId;
  readonly ready: ReadyChain;
  readonly name: string;
  /** By position. */
  readonly rules: readonly RuleView[];
}

export interface TopologyView {
  readonly revision: number;
  port(id: PortId): PortView | undefined;
  bridge(id: BridgeId): BridgeView | undefined;
  router(id: RouterId): RouterView | undefined;
  chain(id: ChainId): ChainView | undefined;
  /** What a router balances; undefined: it has no VIP. */
  balancer(id: RouterId): BalancerView | undefined;
  /** Whether a port is a member of a group; false for a group that is not there. */
  inPortGroup(group: PortGroupId, port: PortId): boolean;
  /** Whether an address is in a group, or in one of its prefixes. */
  inAddressGroup(group: AddressGroupId, ip: Ip): boolean;
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
/** The public ports from which this host may choose for new connections. */
export interface PublicPortsView {
  /**
   * Those of an address at a router, in ranges that do not overlap; empty: none, some are to be
   * asked for. Changes with `publicPortsTag`.
   */
  owned(router: RouterId, address: Ip): readonly Range[];
  /**
   * Whether a connection is known here that has this key; with `closed`, not counting those that
   * both ends closed a while ago. No tag says so: what is chosen is kept.
   */
  isTaken(zone: Zone, tuple: Tuple, closed: boolean): boolean;
  /** No more are to be had for now, of those in a range. */
  isSpent(router: RouterId, address: Ip, range: Range): boolean;
  /** Not to be guessed outside (RFC 6056): where a connection begins to look. */
  readonly seed: number;
  /** How many walks of this packet have chosen ends that a connection has already. */
  readonly attempt: number;
}
/** All that is known beside the topology. */
export interface StateView {
  readonly macs: LearnedView;
  readonly neighbours: NeighbourView;
  readonly errors: ErrorBudgetView;
  readonly connections: ConnectionsView;
  readonly publicPorts: PublicPortsView;
  /** Undefined: nobody remembers clients here, nor counts. */
  readonly balancing?: BalancingView | undefined;
  /** Whether a port is bound to this host, up or not; changes with its tag and `floodTag`. */
  isHere(port: PortId): boolean;
}
