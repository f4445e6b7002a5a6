/**
 * Neighbour discovery messages in a frame under walk, read strictly (RFC 4861 §7.1): what is in
 * doubt is no message.
 */
import { checksum, pseudoSum } from '#net/checksum.ts';
import { type Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { decodeEthernet, ethernetSize } from '#net/packet/ethernet.ts';
import {
  decodeNeighbour,
  linkAddress,
  ND_HOP_LIMIT,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
  neighbourFault,
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

/**
 * The tag of a reply: in the VLAN that the frame has by now, with the priority of what was asked.
 */
export function replyTag(match: Match, priority: number): number | undefined {
  const vlan = match.get('vlan');
  return vlan === 0 ? undefined : priority | (vlan & 0xfff);
}
