/**
 * The ICMP errors that a router sends about packets it does not deliver (RFC 792, RFC 1812 §4.3,
 * RFC 4443 §3), and when it must not.
 *
 * Invariants: no error is ever sent about an error, or to what may be more than one host; so two
 * routers never answer each other. Nothing throws.
 */
import { write16 } from './bytes.ts';
import { checksum } from './checksum.ts';
import { networkFault } from './fault.ts';
import { decodeFrame, encodeFrame, fragmentKind, type Frame } from './frame.ts';
import { BROADCAST4, isIp6, isMulticastIp, isUnspecifiedIp, namesOneHost } from './ip.ts';
import type { Ip, Ip4, Ip6 } from './ip.ts';
import { isGroup, type Mac } from './mac.ts';
import { ethernetSize } from './packet/ethernet.ts';
import { ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST, ICMP_SIZE } from './packet/icmp.ts';
import { ICMP_TIME_EXCEEDED, ICMP_UNREACHABLE } from './packet/icmp.ts';
import { ICMP6_PARAMETER_PROBLEM, ICMP6_REDIRECT, ICMP6_TIME_EXCEEDED } from './packet/icmp6.ts';
import { ICMP6_TOO_BIG, ICMP6_UNREACHABLE } from './packet/icmp6.ts';
import { IP_PROTOCOL, IPV4_SIZE, ipv4Size, type Ipv4 } from './packet/ipv4.ts';
import { IPV6_SIZE, protocolAt, type Ipv6 } from './packet/ipv6.ts';

/** `tooBig`: the MTU of the next hop, in bytes. */
export type ErrorCause =
  | 'net-unreachable'
  | 'host-unreachable'
  | 'protocol-unreachable'
  | 'port-unreachable'
  | 'admin-prohibited'
  | 'ttl-exceeded'
  | { readonly tooBig: number };

type Message = readonly [type: number, code: number];
type Word = Exclude<ErrorCause, object>;

/** RFC 792, RFC 1812 §5.2.7.1. */
const MESSAGE4: Readonly<Record<Word, Message>> = {
  'net-unreachable': [ICMP_UNREACHABLE, 0],
  'host-unreachable': [ICMP_UNREACHABLE, 1],
  'protocol-unreachable': [ICMP_UNREACHABLE, 2],
  'port-unreachable': [ICMP_UNREACHABLE, 3],
  'admin-prohibited': [ICMP_UNREACHABLE, 13],
  'ttl-exceeded': [ICMP_TIME_EXCEEDED, 0],
};
const FRAGMENTATION_NEEDED: Message = [ICMP_UNREACHABLE, 4];

/** RFC 4443 §3. A protocol that nobody takes is a problem with the field that names it. */
const MESSAGE6: Readonly<Record<Word, Message>> = {
  'net-unreachable': [ICMP6_UNREACHABLE, 0],
  'host-unreachable': [ICMP6_UNREACHABLE, 3],
  'protocol-unreachable': [ICMP6_PARAMETER_PROBLEM, 1],
  'port-unreachable': [ICMP6_UNREACHABLE, 4],
  'admin-prohibited': [ICMP6_UNREACHABLE, 1],
  'ttl-exceeded': [ICMP6_TIME_EXCEEDED, 0],
};
const PACKET_TOO_BIG: Message = [ICMP6_TOO_BIG, 0];

/** Bytes of a whole error with its IP header (RFC 1812 §4.3.2.3, RFC 4443 §2.4(c)). */
export const ERROR4_SIZE_MAX = 576;
/** The same for IPv6: what every link carries (RFC 4443 §2.4(c)). */
export const ERROR6_SIZE_MAX = 1280;
/** Precedence of internetwork control (RFC 1812 §4.3.2.5). */
const TOS_CONTROL = 0xc0;

/**
 * The ICMP messages that ask or answer (IANA): echo, router discovery, timestamp, information,
 * address mask, extended echo (RFC 8335). Every other one is an error, or may be one.
 */
const QUERIES: readonly number[] = [
  ICMP_ECHO_REPLY,
  ICMP_ECHO_REQUEST,
  ...[9, 10, 13, 14, 15, 16, 17, 18, 42, 43],
];
/** ICMPv6 messages below are errors (RFC 4443 §2.1). */
const INFORMATIONAL6 = 128;

/** ICMP that is not known to be no error. */
function mayBeError({ network, transport }: Frame): boolean {
  if (network?.kind === 'ipv4') {
    if (network.protocol !== IP_PROTOCOL.ICMP) return false;
    return transport?.kind !== 'icmp' || !QUERIES.includes(transport.type);
  }
  if (network?.kind !== 'ipv6' || network.protocol !== IP_PROTOCOL.ICMPV6) return false;
  if (transport?.kind === 'neighbour') return false;
  if (transport?.kind !== 'icmp6') return true;
  return transport.type < INFORMATIONAL6 || transport.type === ICMP6_REDIRECT;
}

/** 0.0.0.0 is a broadcast to old hosts (RFC 1122 §3.3.6); `::` is no destination at all. */
const isGroupIp = (ip: Ip): boolean =>
  isMulticastIp(ip) || ip === BROADCAST4 || isUnspecifiedIp(ip);

const isUint = (value: number, max: number): boolean =>
  Number.isInteger(value) && value >= 0 && value <= max;

/**
 * Whether an error about this frame may be sent at all (RFC 1812 §4.3.2.7, RFC 1122 §3.2.2,
 * RFC 4443 §2.4(e)). Directed broadcasts are the caller's to know, and so is whether an IPv4 packet
 * that is too big forbids fragmentation. False for an MTU that the message cannot tell.
 */
export function mayElicitError(frame: Frame, cause: ErrorCause): boolean {
  const { ethernet, network } = frame;
  if (network === undefined || network.kind === 'arp') return false;
  const tooBig = typeof cause === 'object';
  if (tooBig && !isUint(cause.tooBig, network.kind === 'ipv4' ? 0xffff : 0xffffffff)) return false;
  if (fragmentKind(network) === 3 || !namesOneHost(network.src) || mayBeError(frame)) return false;
  // Path MTU discovery works for groups too (RFC 4443 §2.4(e.3) to (e.5)).
  if (tooBig && network.kind === 'ipv6') return !isUnspecifiedIp(network.dst);
  return !isGroup(ethernet.dst) && !isGroupIp(network.dst);
}

/**
 * How to send an error. `from`: the router's address, of the packet's family. `src`, `dst`, `tci`:
 * MACs and 802.1Q tag to send with. `ttl`: the TTL or hop limit that the packet had when the router
 * saw it, where the bytes say something else.
 */
export interface ErrorAbout {
  readonly cause: ErrorCause;
  readonly from: Ip;
  readonly src: Mac;
  readonly dst: Mac;
  readonly ttl?: number | undefined;
  readonly tci?: number | undefined;
}

/** A copy, also of a Buffer, whose `slice` is a view. */
const quote = (packet: Uint8Array, most: number): Uint8Array =>
  new Uint8Array(packet.subarray(0, most));

function error4(packet: Uint8Array, ip: Ipv4, from: Ip4, e: ErrorAbout): Uint8Array {
  const payload = quote(packet, ERROR4_SIZE_MAX - IPV4_SIZE - ICMP_SIZE);
  if (e.ttl !== undefined) {
    payload[8] = e.ttl;
    write16(payload, 10, 0);
    write16(payload, 10, checksum(payload, 0, ipv4Size(ip)));
  }
  const [tooBig, word] = typeof e.cause === 'object' ? [e.cause.tooBig] : [0, e.cause];
  const [type, code] = word === undefined ? FRAGMENTATION_NEEDED : MESSAGE4[word];
  return encodeFrame({
    ethernet: { src: e.src, dst: e.dst, tci: e.tci },
    // The identification of what it answers: as distinct as those are, without a counter.
    network: { kind: 'ipv4', src: from, dst: ip.src, tos: TOS_CONTROL, id: ip.id },
    transport: { kind: 'icmp', type, code, sequence: tooBig },
    payload,
  });
}

function error6(packet: Uint8Array, ip: Ipv6, from: Ip6, e: ErrorAbout): Uint8Array {
  const payload = quote(packet, ERROR6_SIZE_MAX - IPV6_SIZE - ICMP_SIZE);
  if (e.ttl !== undefined) payload[7] = e.ttl;
  const [tooBig, word] = typeof e.cause === 'object' ? [e.cause.tooBig] : [0, e.cause];
  const [type, code] = word === undefined ? PACKET_TOO_BIG : MESSAGE6[word];
  const detail = word === 'protocol-unreachable' ? protocolAt(ip) : tooBig;
  return encodeFrame({
    ethernet: { src: e.src, dst: e.dst, tci: e.tci },
    network: { kind: 'ipv6', src: from, dst: ip.src },
    transport: { kind: 'icmp6', type, code, id: detail >>> 16, sequence: detail & 0xffff },
    payload,
  });
}

/**
 * The error about the packet in `bytes`, with as much of it as fits: its IP header with options,
 * then payload, without tag and padding. `undefined` when none may be sent, the packet is cut short
 * or its header checksum wrong (RFC 1812 §5.2.2), `from` is of the other family or names no host,
 * or a number does not fit its field.
 */
export function errorAbout(bytes: Uint8Array, e: ErrorAbout): Uint8Array | undefined {
  const { from, ttl = 0, tci = 0 } = e;
  if (!namesOneHost(from) || !isUint(ttl, 0xff) || !isUint(tci, 0xffff)) return undefined;
  const frame = decodeFrame(bytes);
  if (frame === undefined || !mayElicitError(frame, e.cause)) return undefined;
  if (networkFault(bytes, frame) !== undefined) return undefined;
  const { ethernet, network, trailer } = frame;
  const packet = bytes.subarray(ethernetSize(ethernet), bytes.length - trailer.length);
  if (network?.kind === 'ipv4') return isIp6(from) ? undefined : error4(packet, network, from, e);
  if (network?.kind === 'ipv6') return isIp6(from) ? error6(packet, network, from, e) : undefined;
  return undefined;
}
