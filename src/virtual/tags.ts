/**
 * Names of everything an outcome can depend on. A change of the topology or of what is known yields
 * tags; every flow keeps the tags of what its walk consulted.
 *
 * Invariant (law 2): if a change alters an outcome, one of the change's tags `covers` one of the
 * outcome's.
 */
import type { Ip, Ip4, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { contains, networkOf, type Prefix } from '#net/prefix.ts';
import { hashOfConnection, type ConnectionKey } from './connection.ts';
import type {
  AddressGroupId,
  BridgeId,
  ChainId,
  HostId,
  PoolId,
  PoolMemberId,
  PortGroupId,
  PortId,
  RouterId,
  VipId,
} from './ids.ts';

export type Tag = string & { readonly brand: 'Tag' };
const tag = (text: string): Tag => text as Tag;

/**
 * The port's own fields: existence, admin state, hairpin, binding, device, peer, addresses, what it
 * secures.
 */
export const portTag = (port: PortId): Tag => tag(`port/${port}`);
/** The bridge's own fields. */
export const bridgeTag = (bridge: BridgeId): Tag => tag(`bridge/${bridge}`);
/** The router's own fields. */
export const routerTag = (router: RouterId): Tag => tag(`router/${router}`);
/** Which ports a router has. */
export const routerPortsTag = (router: RouterId): Tag => tag(`ports/${router}`);
/** Which MAC a neighbour of a router port has, or that it does not answer. */
export const neighbourTag = (port: PortId, ip: Ip): Tag => tag(`neighbour/${port}/${ip}`);
/** Whether a router port may remember one more neighbour, or a port may bring one more. */
export const hearingTag = (port: PortId): Tag => tag(`hearing/${port}`);
/** Whether an ICMP error about a frame of this port may be sent. */
export const errorsTag = (port: PortId): Tag => tag(`errors/${port}`);
/** Where a MAC was learned in one VLAN (0: untagged) of a bridge: learned, moved, forgotten. */
export const macTag = (bridge: BridgeId, vlan: number, mac: Mac): Tag =>
  tag(`mac/${bridge}/${vlan}/${mac}`);
/** Which ports of this bridge are linked to other bridges. */
export const bridgeLinksTag = (bridge: BridgeId): Tag => tag(`links/${bridge}`);
/** The set of ports a flood of this bridge reaches, and where they are. */
export const floodTag = (bridge: BridgeId): Tag => tag(`flood/${bridge}`);
/** The port a MAC is seeded at, and those it is secured at: in every VLAN of the bridge. */
export const seededMacTag = (bridge: BridgeId, mac: Mac): Tag => tag(`seed-mac/${bridge}/${mac}`);
/**
 * Who is seeded with an IP address, and where it is secured. For a solicited-node group: whether an
 * address of that group is seeded at all (the group is all that a walk which stays cacheable sees
 * of a solicitation).
 */
export const seededIpTag = (bridge: BridgeId, ip: Ip): Tag => tag(`seed-ip/${bridge}/${ip}`);
/** Whether a port may learn one more MAC. */
export const learningTag = (port: PortId): Tag => tag(`learning/${port}`);
/**
 * Whether ARP, and whether neighbour discovery, must be looked into at all on this bridge, and
 * whether any port of it is secured.
 */
export const seedsTag = (bridge: BridgeId): Tag => tag(`seeds/${bridge}`);
/** On which host a port is up, and under which tunnel key. */
export const locationTag = (port: PortId): Tag => tag(`location/${port}`);
/** The tunnel address of a host. */
export const hostTag = (host: HostId): Tag => tag(`host/${host}`);
export const isHostTag = (of: Tag): boolean => of.startsWith('host/');
/** The interface of this host that carries a port here. */
export const bindingTag = (port: PortId): Tag => tag(`binding/${port}`);

/**
 * Whether a connection has this key: it came, went, or is another one. By a hash, since a flow
 * shall hold little: two keys with one tag are decided anew together.
 */
export const connectionTag = (key: ConnectionKey): Tag => tag(`c${hashOfConnection(key)}`);

/** Which public ports of an address this host owns at a router. */
export const publicPortsTag = (router: RouterId, address: Ip): Tag =>
  tag(`ports-of/${router}/${address}`);

/** The rules of a chain: that it is there, which they are, in what order, and what they say. */
export const chainTag = (chain: ChainId): Tag => tag(`chain/${chain}`);
/** Whether a port is a member of a group. */
export const portGroupTag = (group: PortGroupId, port: PortId): Tag =>
  tag(`member/${group}/${port}`);

/** A VIP: that it is there, what it and its load balancer say. */
export const vipTag = (vip: VipId): Tag => tag(`vip/${vip}`);
/** A pool: that it is there, what it says, who its members are and which are available. */
export const poolTag = (pool: PoolId): Tag => tag(`pool/${pool}`);
/** A member: that it is there, whether it is down, and what its pool says of that. */
export const memberTag = (member: PoolMemberId): Tag => tag(`pool-member/${member}`);

const DESTINATION = 'to/';
const ROUTES = 'routes/';
/**
 * More changed prefixes of one router than this are told as `routesTag(router)` by who yields them.
 * Each prefix is compared with every destination of the router that flows hold: 10,000 routes at
 * once would look at all of them 10,000 times before the next frame.
 */
export const ROUTES_TAGS_MAX = 64;

/** A walk looked for the route to `ip` in a router's table: held by flows. A router is a UUID. */
export const destinationTag = (router: string, ip: Ip): Tag => tag(`${DESTINATION}${router}/${ip}`);
/**
 * Routes of a router to destinations inside a prefix changed, or (without) any of its routes: only
 * changes yield it; it covers the destination tags inside. Host bits of the prefix do not matter.
 */
export const routesTag = (router: string, prefix?: Prefix): Tag =>
  prefix === undefined
    ? tag(`${ROUTES}${router}`)
    : tag(`${ROUTES}${router}/${networkOf(prefix.address, prefix.length)}/${prefix.length}`);

/**
 * Whether an address is in a group: like a destination in a router's table, since a group has
 * prefixes as a table has routes.
 */
export const addressGroupTag = (group: AddressGroupId, ip: Ip): Tag => destinationTag(group, ip);
/** Members of a group inside a prefix changed, or (without) any; see `routesTag`. */
export const addressGroupChangeTag = (group: AddressGroupId, prefix?: Prefix): Tag =>
  routesTag(group, prefix);

export interface Destination {
  readonly router: string;
  readonly ip: Ip;
}
/** `prefix` undefined: all of the router's routes. */
export interface Routes {
  readonly router: string;
  readonly prefix: Prefix | undefined;
}

/** An address as tags have it: 32 digits are IPv6, for no decimal number of IPv4 is as long. */
const ipOf = (text: string): Ip => (text.length === 32 ? (text as Ip6) : (Number(text) as Ip4));

/** What `destinationTag` was made of; `undefined` for every other tag. */
export function destinationOf(held: Tag): Destination | undefined {
  if (!held.startsWith(DESTINATION)) return undefined;
  const slash = held.lastIndexOf('/');
  return { router: held.slice(DESTINATION.length, slash), ip: ipOf(held.slice(slash + 1)) };
}
/** What `routesTag` was made of, host bits cleared; `undefined` for every other tag. */
export function routesOf(changed: Tag): Routes | undefined {
  if (!changed.startsWith(ROUTES)) return undefined;
  const [, router = '', address, length] = changed.split('/');
  if (address === undefined) return { router, prefix: undefined };
  return { router, prefix: { address: ipOf(address), length: Number(length) } };
}

/** Whether a destination lies where routes changed; the routers are compared by the caller. */
export const isInside = ({ prefix }: Routes, ip: Ip): boolean =>
  prefix === undefined || contains(prefix, ip);

/**
 * Whether a tag that a change yields names one that a flow holds: equal, or a routes tag over a
 * destination tag inside it.
 */
export function covers(changed: Tag, held: Tag): boolean {
  if (changed === held) return true;
  const routes = routesOf(changed);
  const to = routes && destinationOf(held);
  return to !== undefined && to.router === routes?.router && isInside(routes, to.ip);
}
