/**
 * Port security: a frame is let into its bridge by a secured port only when every address that it
 * sends from, or claims, is the port's (RFC 826, RFC 4861), and when it offers neither DHCP nor
 * routes; and by any other port only when it claims nothing that is secured elsewhere.
 *
 * Invariants: this is decided before anything is learned, heard or answered; what a receiver might
 * read as a claim, and cannot be read here, is refused at a secured port (fragments and extension
 * headers that hide it: RFC 6980, RFC 7112, RFC 7113); what is known to be at another port is never
 * allowed. Header fields are read first, and only those that decide: whatever is refused for an
 * address in the key is refused by a flow, and IP traffic that is let in is carried by one. The
 * claims of ARP and neighbour discovery that pass are read in the frame, each one anew: no key
 * holds hardware addresses; their senders pay for that from the bucket of control frames.
 */
import { BROADCAST4, formatIp, isIp6, isMulticastIp, isUnspecifiedIp, type Ip } from '#net/ip.ts';
import { formatMac, isReservedGroup, type Mac } from '#net/mac.ts';
import { ARP_REPLY, ARP_REQUEST, decodeArp } from '#net/packet/arp.ts';
import { decodeEthernet, ETHER_TYPE, ethernetSize } from '#net/packet/ethernet.ts';
import {
  ICMP6_REDIRECT,
  ICMP6_ROUTER_ADVERTISEMENT,
  ICMP6_ROUTER_SOLICITATION,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
} from '#net/packet/icmp6.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { EXTENSION } from '#net/packet/ipv6.ts';
import type { DropReason } from '../drop.ts';
import type { PortId } from '../ids.ts';
import { readDiscovery } from '../nd.ts';
import type { BridgePortView, BridgeView } from '../view.ts';
import type { Walk } from '../walk.ts';
import type { AllowedSources } from './allowed.ts';

/** Why a frame is not let in, and what about it: an address, mostly. */
interface Refusal {
  readonly reason: DropReason;
  readonly detail: string;
}
/** A frame that enters a bridge by one of its ports. */
interface Entering {
  readonly walk: Walk;
  readonly bridge: BridgeView;
  readonly from: BridgePortView;
  readonly src: Mac;
}
type Secured = Entering & { readonly allowed: AllowedSources };

const refuse = (reason: DropReason, detail: string): Refusal => ({ reason, detail });

/**
 * Why a frame may not enter a bridge by a port, with a step that says what about it; undefined: it
 * may. What a router sends is the network's own. The tag of seeds is in the walk already.
 */
export function refused(
  walk: Walk,
  bridge: BridgeView,
  from: BridgePortView,
): DropReason | undefined {
  if (from.peerType === 'router') return undefined;
  const refusal = refusalOf(walk, bridge, from);
  if (refusal === undefined) return undefined;
  walk.steps.push({ at: from.ready.at, did: 'refuse', detail: refusal.detail });
  return refusal.reason;
}

function refusalOf(walk: Walk, bridge: BridgeView, from: BridgePortView): Refusal | undefined {
  const { allowed } = from;
  if (allowed === undefined && !bridge.secures) return undefined;
  const entering = { walk, bridge, from, src: walk.match.get('ethSrc') };
  return allowed === undefined ? strange(entering) : foreign({ ...entering, allowed });
}

const isOthers = (ports: ReadonlySet<PortId> | undefined, port: PortId): boolean =>
  ports !== undefined && !ports.has(port);

/** Whether a MAC that is seeded nowhere is secured at other ports than this one. */
export const isSecuredElsewhere = (bridge: BridgeView, mac: Mac, port: PortId): boolean =>
  bridge.secures && isOthers(bridge.securedMac(mac), port);

/** Whether a MAC is known to be at another port. */
function macIsElsewhere({ walk, bridge, from, src }: Entering): boolean {
  walk.tags.push(bridge.ready.mac(src).seeded);
  const seeded = bridge.seededPort(src);
  return seeded === undefined ? isOthers(bridge.securedMac(src), from.id) : seeded !== from.id;
}
function ipIsElsewhere({ walk, bridge, from }: Entering, ip: Ip): boolean {
  walk.tags.push(bridge.ready.seededIp(ip));
  const owner = bridge.seededAddress(ip);
  return owner === undefined
    ? isOthers(bridge.securedAddress(ip), from.id)
    : owner.port !== from.id;
}

/** What a port without security claims of those that have it. A seed of its own stays its own. */
function strange(entering: Entering): Refusal | undefined {
  const { walk, bridge, from, src } = entering;
  if (macIsElsewhere(entering) && isOthers(bridge.securedMac(src), from.id))
    return refuse('spoofed-mac', `source ${formatMac(src)}: at another port`);
  const { match } = walk;
  const type = match.get('ethType');
  const claimed = (reason: DropReason, ip: Ip): Refusal | undefined =>
    ipIsElsewhere(entering, ip) && isOthers(bridge.securedAddress(ip), from.id)
      ? refuse(reason, `${formatIp(ip)}: at another port`)
      : undefined;
  if (type === ETHER_TYPE.ARP)
    return bridge.hasSecured(4) ? claimed('spoofed-arp', match.get('ipSrc')) : undefined;
  if (type !== ETHER_TYPE.IPV6 || !bridge.hasSecured(6)) return undefined;
  if (match.get('ipProto') !== IP_PROTOCOL.ICMPV6) return undefined;
  const message = match.get('tpSrc') >>> 8;
  if (message !== NEIGHBOUR_ADVERTISEMENT)
    return message === NEIGHBOUR_SOLICITATION || message === ICMP6_ROUTER_SOLICITATION
      ? claimed('spoofed-nd', match.get('ipSrc'))
      : undefined;
  const target = readDiscovery(match.payload())?.target;
  return target === undefined ? undefined : claimed('spoofed-nd', target);
}

/** What a secured port may not send. */
function foreign(entering: Secured): Refusal | undefined {
  const { walk, allowed, src } = entering;
  if (!allowed.hasMac(src)) return refuse('spoofed-mac', `source ${formatMac(src)}: not allowed`);
  if (macIsElsewhere(entering))
    return refuse('spoofed-mac', `source ${formatMac(src)}: at another port`);
  const type = walk.match.get('ethType');
  if (type === ETHER_TYPE.IPV4) return foreign4(entering);
  if (type === ETHER_TYPE.IPV6) return foreign6(entering);
  if (type === ETHER_TYPE.ARP) return foreignArp(entering);
  // The bridge itself forwards none of these.
  if (isReservedGroup(walk.match.get('ethDst'))) return undefined;
  const hex = type.toString(16).padStart(4, '0');
  return refuse('spoofed-ip', `type 0x${hex}: its addresses cannot be checked`);
}

const notAllowed = ({ src }: Secured, ip: Ip): string =>
  `source ${formatIp(ip)}: not allowed with ${formatMac(src)}`;

const DHCP = {
  4: { server: 67, client: 68 },
  6: { server: 547, client: 546 },
} as const;
const HIDDEN = 'the upper header cannot be seen';
const FIRST_FRAGMENT = 1;
const LATER_FRAGMENT = 3;

/**
 * Messages to a client, and from a server or relay to a relay or server (RFC 2131 §4.1, RFC 8415
 * §7.2). Clients look at the port they listen on, not at the one a message came from; and reading
 * that alone lets one flow carry all that is sent to another service.
 */
function offersDhcp({ walk }: Secured, family: 4 | 6): Refusal | undefined {
  const { match } = walk;
  const { server, client } = DHCP[family];
  const to = match.get('tpDst');
  const relayed = to === server && match.get('tpSrc') === server;
  if (to === client || relayed) return refuse('dhcp-server', `udp port ${to}`);
  // No datagram is for port 0: its ports are in a later fragment.
  if (to === 0 && match.get('ipFrag') === FIRST_FRAGMENT) return refuse('dhcp-server', HIDDEN);
  return undefined;
}

const ICMP4_REDIRECT = 5;
const ICMP4_ROUTER_ADVERTISEMENT = 9;
const IGMP = 2;

function foreign4(entering: Secured): Refusal | undefined {
  const { walk, allowed, src } = entering;
  const { match } = walk;
  const ip = match.get('ipSrc');
  if (ip === 0 ? !mayBeUnspecified4(walk) : !allowed.has(ip, src))
    return refuse('spoofed-ip', notAllowed(entering, ip));
  const protocol = match.get('ipProto');
  if (protocol === IP_PROTOCOL.UDP) return offersDhcp(entering, 4);
  if (protocol !== IP_PROTOCOL.ICMP) return undefined;
  const type = match.get('tpSrc') >>> 8;
  return type === ICMP4_REDIRECT || type === ICMP4_ROUTER_ADVERTISEMENT
    ? refuse('router-advertisement', `icmp type ${type}`)
    : undefined;
}

/** A client without an address asks for one (RFC 2131 §4.1), or joins groups (RFC 3376 §4.2.13). */
function mayBeUnspecified4({ match }: Walk): boolean {
  const protocol = match.get('ipProto');
  const to = match.get('ipDst');
  if (protocol === IGMP) return isMulticastIp(to);
  if (protocol !== IP_PROTOCOL.UDP || to !== BROADCAST4) return false;
  return match.get('tpSrc') === DHCP[4].client && match.get('tpDst') === DHCP[4].server;
}

/** MLD reports and leave messages (RFC 2710, RFC 3810). */
const GROUP_MESSAGES: readonly number[] = [131, 132, 143];
/** Those may come from a node whose address is still tentative (RFC 4861 §4, RFC 3590). */
const FROM_UNSPECIFIED = [
  ICMP6_ROUTER_SOLICITATION,
  NEIGHBOUR_SOLICITATION,
  ...GROUP_MESSAGES,
] as const;
/** They claim addresses in lists (RFC 3122). */
const INVERSE_DISCOVERY: readonly number[] = [141, 142];
const EXTENSIONS: readonly number[] = Object.values(EXTENSION);

function foreign6(entering: Secured): Refusal | undefined {
  const { walk, allowed, src } = entering;
  const { match } = walk;
  const ip = match.get('ipSrc');
  const unspecified = isUnspecifiedIp(ip);
  if (!unspecified && !allowed.has(ip, src)) return refuse('spoofed-ip', notAllowed(entering, ip));
  const protocol = match.get('ipProto');
  const icmp = protocol === IP_PROTOCOL.ICMPV6;
  const type = icmp ? match.get('tpSrc') >>> 8 : undefined;
  if (unspecified && !FROM_UNSPECIFIED.some((each) => each === type))
    return refuse('spoofed-ip', notAllowed(entering, ip));
  if (protocol === IP_PROTOCOL.UDP) return offersDhcp(entering, 6);
  // Nobody puts a later fragment together without the first one, which is looked at.
  if (type === 0 || EXTENSIONS.includes(protocol))
    return match.get('ipFrag') === LATER_FRAGMENT
      ? undefined
      : refuse('router-advertisement', HIDDEN);
  if (type === ICMP6_ROUTER_ADVERTISEMENT || type === ICMP6_REDIRECT)
    return refuse('router-advertisement', `icmp6 type ${type}`);
  return type === undefined ? undefined : foreignDiscovery(entering, ip, type);
}

/** Whether a claim is not the port's; undefined: it is. */
function unclaimable(entering: Secured, mac: Mac, ip: Ip): string | undefined {
  if (!entering.allowed.has(ip, mac)) return `${formatIp(ip)} is-at ${formatMac(mac)}: not allowed`;
  if (ipIsElsewhere(entering, ip)) return `${formatIp(ip)}: at another port`;
  return undefined;
}

/** RFC 4861 §4.1, §4.3, §4.4, §7.2.3, §7.2.5: what neighbours would remember. */
function foreignDiscovery(entering: Secured, ip: Ip, type: number): Refusal | undefined {
  if (INVERSE_DISCOVERY.includes(type)) return refuse('spoofed-nd', `icmp6 type ${type}`);
  const advertises = type === NEIGHBOUR_ADVERTISEMENT;
  if (!advertises && type !== NEIGHBOUR_SOLICITATION && type !== ICMP6_ROUTER_SOLICITATION)
    return undefined;
  const message = readDiscovery(entering.walk.match.payload());
  if (message?.type !== type || message.src !== ip)
    return refuse('spoofed-nd', 'the message cannot be read whole');
  const { target, links } = message;
  const unspecified = isUnspecifiedIp(ip);
  if (unspecified && links.length > 0)
    return refuse('spoofed-nd', 'a link-layer address for the unspecified address');
  // A node that has no address yet asks whether anybody has the one that it is about to take
  // (RFC 4862 §5.4): for another, it would keep that one's owner from taking it.
  const claimed = advertises || unspecified ? target : ip;
  if (claimed === undefined) return undefined;
  for (const mac of links.length === 0 ? [entering.src] : links) {
    const fault = unclaimable(entering, mac, claimed);
    if (fault !== undefined) return refuse('spoofed-nd', fault);
  }
  return undefined;
}

/** RFC 826; a probe from 0.0.0.0 claims its target (RFC 5227 §2.1.1). */
function foreignArp(entering: Secured): Refusal | undefined {
  const { walk, allowed } = entering;
  const { match } = walk;
  const operation = match.get('ipProto');
  const asks = operation === ARP_REQUEST;
  if (!asks && operation !== ARP_REPLY)
    return refuse('spoofed-arp', 'neither request nor reply of IPv4 over Ethernet');
  const sender = match.get('ipSrc');
  const claimed = asks && sender === 0 ? match.get('ipDst') : sender;
  if (isIp6(claimed) || !allowed.has(claimed))
    return refuse('spoofed-arp', `${formatIp(claimed)}: not allowed`);
  if (ipIsElsewhere(entering, claimed))
    return refuse('spoofed-arp', `${formatIp(claimed)}: at another port`);
  const bytes = match.payload();
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  const arp = ethernet && decodeArp(bytes, ethernetSize(ethernet), bytes.length);
  // The field holds the low byte of the operation only.
  if (arp?.operation !== operation || arp.senderIp !== sender)
    return refuse('spoofed-arp', 'neither request nor reply of IPv4 over Ethernet');
  const fault = unclaimable(entering, arp.senderMac, claimed);
  return fault === undefined ? undefined : refuse('spoofed-arp', fault);
}
