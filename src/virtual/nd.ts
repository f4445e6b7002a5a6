/**
 * Neighbour discovery messages in a frame under walk, read strictly (RFC 4861 §7.1) by whoever
 * believes them: what is in doubt is no message. `readDiscovery` is for whoever refuses them.
 */
import { checksum, pseudoSum } from '#net/checksum.ts';
import { readIp6, type Ip6 } from '#net/ip.ts';
import { readMac, type Mac } from '#net/mac.ts';
import { decodeEthernet, ethernetSize } from '#net/packet/ethernet.ts';
import { ICMP_SIZE } from '#net/packet/icmp.ts';
import {
  decodeNdOptions,
  decodeNeighbour,
  ICMP6_ROUTER_SOLICITATION,
  linkAddress,
  ND_HOP_LIMIT,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SIZE,
  NEIGHBOUR_SOLICITATION,
  neighbourFault,
  SOURCE_LINK_ADDRESS,
  TARGET_LINK_ADDRESS,
  type Neighbour,
} from '#net/packet/icmp6.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { decodeIpv6, IPV6_SIZE, ipv6Size } from '#net/packet/ipv6.ts';
import type { Match } from './match.ts';

/** `tpSrc` of the messages: type and code. */
export const SOLICITATION = NEIGHBOUR_SOLICITATION << 8;
export const ADVERTISEMENT = NEIGHBOUR_ADVERTISEMENT << 8;

/** RFC 4861 §7.1: what of a valid message the fields show. Answers its `tpSrc`. */
export function neighbourType(match: Match): number | undefined {
  if (match.get('ipProto') !== IP_PROTOCOL.ICMPV6) return undefined;
  const type = match.get('tpSrc');
  if (type !== SOLICITATION && type !== ADVERTISEMENT) return undefined;
  return match.get('ipFrag') === 0 && match.get('ipTtl') === ND_HOP_LIMIT ? type : undefined;
}

export interface NeighbourMessage {
  readonly src: Ip6;
  readonly dst: Ip6;
  readonly message: Neighbour;
  /** The priority bits of its tag. */
  readonly priority: number;
}

/** A message that passes RFC 4861 §7.1 and does not name another sender; else undefined. */
export function readNeighbour(bytes: Uint8Array, sender: Mac): NeighbourMessage | undefined {
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  if (ethernet === undefined) return undefined;
  const at = ethernetSize(ethernet);
  const ip = decodeIpv6(bytes, at, bytes.length);
  // Fragmented neighbour messages, atomic ones too, are not to be believed (RFC 6980 §5).
  if (ip === undefined || ip.fragment !== undefined) return undefined;
  const start = at + ipv6Size(ip);
  const end = at + IPV6_SIZE + ip.payloadLength;
  const message = decodeNeighbour(bytes, start, end);
  if (message === undefined || neighbourFault(ip, message) !== undefined) return undefined;
  const { src, dst } = ip;
  const sum = pseudoSum({ src, dst, protocol: IP_PROTOCOL.ICMPV6, length: end - start });
  if (checksum(bytes, start, end, sum) !== 0) return undefined;
  if ((linkAddress(message) ?? sender) !== sender) return undefined;
  return { src, dst, message, priority: (ethernet.tci ?? 0) & 0xf000 };
}

/** What a router solicitation, or a neighbour message, tells neighbours about addresses. */
export interface Discovery {
  readonly type: number;
  readonly src: Ip6;
  /** Of a router solicitation there is none. */
  readonly target: Ip6 | undefined;
  /** Of all options that tell any, be they meant for the message or not. */
  readonly links: readonly Mac[];
}

/**
 * Whatever a receiver could take from it, valid or not (its checksum and hop limit are not looked
 * at). Undefined: another message, in a fragment, cut short, or with an option that says no MAC
 * where it should.
 */
export function readDiscovery(bytes: Uint8Array): Discovery | undefined {
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  if (ethernet === undefined) return undefined;
  const at = ethernetSize(ethernet);
  const ip = decodeIpv6(bytes, at, bytes.length);
  if (ip?.protocol !== IP_PROTOCOL.ICMPV6 || ip.fragment !== undefined) return undefined;
  const start = at + ipv6Size(ip);
  const end = at + IPV6_SIZE + ip.payloadLength;
  const type = bytes[start] ?? 0;
  const solicits = type === ICMP6_ROUTER_SOLICITATION;
  if (!solicits && type !== NEIGHBOUR_SOLICITATION && type !== NEIGHBOUR_ADVERTISEMENT)
    return undefined;
  const size = solicits ? ICMP_SIZE : NEIGHBOUR_SIZE;
  if (end - start < size || end > bytes.length) return undefined;
  const options = decodeNdOptions(bytes, start + size, end);
  if (options === undefined) return undefined;
  const links: Mac[] = [];
  for (const { type: kind, body } of options) {
    if (kind !== SOURCE_LINK_ADDRESS && kind !== TARGET_LINK_ADDRESS) continue;
    if (body.length !== MAC_SIZE) return undefined;
    links.push(readMac(body, 0));
  }
  return { type, src: ip.src, target: solicits ? undefined : readIp6(bytes, start + 8), links };
}
const MAC_SIZE = 6;

/**
 * The tag of a reply: in the VLAN that the frame has by now, with the priority of what was asked.
 */
export function replyTag(match: Match, priority: number): number | undefined {
  const vlan = match.get('vlan');
  return vlan === 0 ? undefined : priority | (vlan & 0xfff);
}
