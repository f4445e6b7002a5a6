/**
 * Names of everything an outcome can depend on. A change of the topology or of what is known yields
 * tags; every flow keeps the tags of what its walk consulted.
 *
 * Invariant (law 2): if a change alters an outcome, one of the change's tags is among the
 * outcome's.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { BridgeId, HostId, PortId } from './ids.ts';

export type Tag = string & { readonly brand: 'Tag' };
const tag = (text: string): Tag => text as Tag;

/** The port's own fields: existence, admin state, hairpin, binding, bridge. */
export const portTag = (port: PortId): Tag => tag(`port/${port}`);
/** The bridge's own fields. */
export const bridgeTag = (bridge: BridgeId): Tag => tag(`bridge/${bridge}`);
/** Where a MAC was learned in one VLAN (0: untagged) of a bridge: learned, moved, forgotten. */
export const macTag = (bridge: BridgeId, vlan: number, mac: Mac): Tag =>
  tag(`mac/${bridge}/${vlan}/${mac}`);
/** The set of ports a flood of this bridge reaches, and where they are. */
export const floodTag = (bridge: BridgeId): Tag => tag(`flood/${bridge}`);
/** The port a MAC is seeded at: a seed holds in every VLAN of the bridge. */
export const seededMacTag = (bridge: BridgeId, mac: Mac): Tag => tag(`seed-mac/${bridge}/${mac}`);
/**
 * Who is seeded with an IP address. For a solicited-node group: whether an address of that group is
 * seeded at all (the group is all that a walk which stays cacheable sees of a solicitation).
 */
export const seededIpTag = (bridge: BridgeId, ip: Ip): Tag => tag(`seed-ip/${bridge}/${ip}`);
/** Whether a port may learn one more MAC. */
export const learningTag = (port: PortId): Tag => tag(`learning/${port}`);
/** Whether ARP, and whether neighbour solicitations, must be looked into at all on this bridge. */
export const seedsTag = (bridge: BridgeId): Tag => tag(`seeds/${bridge}`);
/** On which host a port is up, and under which tunnel key. */
export const locationTag = (port: PortId): Tag => tag(`location/${port}`);
/** The tunnel address of a host. */
export const hostTag = (host: HostId): Tag => tag(`host/${host}`);
export const isHostTag = (of: Tag): boolean => of.startsWith('host/');
/** The interface of this host that carries a port here. */
export const bindingTag = (port: PortId): Tag => tag(`binding/${port}`);
