/**
 * ICMPv6 headers (RFC 4443) and the two messages of neighbour discovery that carry an address pair
 * (RFC 4861 §4.3, §4.4), with their options.
 *
 * Invariant: a decoded neighbour message keeps every option byte for byte and in order, and passed
 * the checks of RFC 4861 §7.1 that need no more than the message; `neighbourFault` has those that
 * need more.
 */
import { read16, read32, read8 } from '../bytes.ts';
import {
  formatIp6,
  isMulticastIp,
  isUnspecifiedIp,
  readIp6,
  solicitedNode,
  writeIp6,
} from '../ip.ts';
import type { Ip6 } from '../ip.ts';
import { formatMac, readMac, writeMac, type Mac } from '../mac.ts';
import { describeMessage, encodeIcmp, ICMP_SIZE } from './icmp.ts';

export const ICMP6_UNREACHABLE = 1;
export const ICMP6_TOO_BIG = 2;
export const ICMP6_TIME_EXCEEDED = 3;
export const ICMP6_PARAMETER_PROBLEM = 4;
export const ICMP6_ECHO_REQUEST = 128;
export const ICMP6_ECHO_REPLY = 129;
export const ICMP6_ROUTER_SOLICITATION = 133;
export const ICMP6_ROUTER_ADVERTISEMENT = 134;
export const NEIGHBOUR_SOLICITATION = 135;
export const NEIGHBOUR_ADVERTISEMENT = 136;
export const ICMP6_REDIRECT = 137;

/** Neighbour discovery options (RFC 4861 §4.6.1). */
export const SOURCE_LINK_ADDRESS = 1;
export const TARGET_LINK_ADDRESS = 2;

/** A neighbour message without options. */
export const NEIGHBOUR_SIZE = 24;
/** A message with more options than this is refused. */
export const ND_OPTIONS_MAX = 16;
/** Neighbour messages that were forwarded have less and are not to be believed (RFC 4861 §7.1). */
export const ND_HOP_LIMIT = 255;

/** `id` and `sequence`: the two 16-bit words behind the checksum, as in `Icmp`. */
export interface Icmp6 {
  readonly kind: 'icmp6';
  readonly type: number;
  readonly code: number;
  readonly checksum: number;
  readonly id: number;
  readonly sequence: number;
}

/** `body`: a view of what follows type and length; 8n - 2 bytes. */
export interface NdOption {
  readonly type: number;
  readonly body: Uint8Array;
}

/** `flags`: the 32 bits behind the checksum; NA_FLAG has the three that mean something. */
export interface Neighbour {
  readonly kind: 'neighbour';
  readonly type: typeof NEIGHBOUR_SOLICITATION | typeof NEIGHBOUR_ADVERTISEMENT;
  readonly checksum: number;
  readonly flags: number;
  readonly target: Ip6;
  readonly options: readonly NdOption[];
}

/** Flags of an advertisement (RFC 4861 §4.4). */
export const NA_FLAG = { ROUTER: 2 ** 31, SOLICITED: 2 ** 30, OVERRIDE: 2 ** 29 } as const;

/** Type and code of the messages that have a word in the text form. */
export const ICMP6_WORDS: Readonly<Record<string, readonly [type: number, code: number]>> = {
  echo: [ICMP6_ECHO_REQUEST, 0],
  reply: [ICMP6_ECHO_REPLY, 0],
  'no-route': [ICMP6_UNREACHABLE, 0],
  'admin-prohibited': [ICMP6_UNREACHABLE, 1],
  'address-unreachable': [ICMP6_UNREACHABLE, 3],
  'port-unreachable': [ICMP6_UNREACHABLE, 4],
  'too-big': [ICMP6_TOO_BIG, 0],
  'hop-limit-exceeded': [ICMP6_TIME_EXCEEDED, 0],
  'router-solicitation': [ICMP6_ROUTER_SOLICITATION, 0],
  'router-advertisement': [ICMP6_ROUTER_ADVERTISEMENT, 0],
};

/** True for echo requests and replies, whose `id` names a conversation. */
export const isEcho6 = (type: number): boolean =>
  type === ICMP6_ECHO_REQUEST || type === ICMP6_ECHO_REPLY;

/** The first eight bytes of any ICMPv6 message; `undefined` when cut short. */
export function decodeIcmp6(bytes: Uint8Array, at: number, end: number): Icmp6 | undefined {
  if (end - at < ICMP_SIZE || end > bytes.length) return undefined;
  return {
    kind: 'icmp6',
    type: read8(bytes, at),
    code: read8(bytes, at + 1),
    checksum: read16(bytes, at + 2),
    id: read16(bytes, at + 4),
    sequence: read16(bytes, at + 6),
  };
}

/** Writes the first eight bytes as given; answers the offset behind them. */
export const encodeIcmp6 = (bytes: Uint8Array, at: number, icmp: Icmp6): number =>
  encodeIcmp(bytes, at, icmp);

/**
 * The options of any neighbour discovery message. `undefined`: cut short, one of length 0, or more
 * than ND_OPTIONS_MAX.
 */
export function decodeNdOptions(
  bytes: Uint8Array,
  start: number,
  end: number,
): NdOption[] | undefined {
  const options: NdOption[] = [];
  for (let at = start; at < end;) {
    if (end - at < 8 || options.length === ND_OPTIONS_MAX) return undefined;
    const size = read8(bytes, at + 1) * 8;
    if (size === 0 || end - at < size) return undefined;
    options.push({ type: read8(bytes, at), body: bytes.subarray(at + 2, at + size) });
    at += size;
  }
  return options;
}

/**
 * A whole neighbour solicitation or advertisement, options to `end`. `undefined` when it is another
 * message, cut short, has a code, an option of length 0 or more than ND_OPTIONS_MAX, or a multicast
 * target.
 */
export function decodeNeighbour(bytes: Uint8Array, at: number, end: number): Neighbour | undefined {
  if (end - at < NEIGHBOUR_SIZE || end > bytes.length) return undefined;
  const type = bytes[at];
  if (type !== NEIGHBOUR_SOLICITATION && type !== NEIGHBOUR_ADVERTISEMENT) return undefined;
  if (bytes[at + 1] !== 0 || bytes[at + 8] === 0xff) return undefined;
  const options = decodeNdOptions(bytes, at + NEIGHBOUR_SIZE, end);
  if (options === undefined) return undefined;
  return {
    kind: 'neighbour',
    type,
    checksum: read16(bytes, at + 2),
    flags: read32(bytes, at + 4),
    target: readIp6(bytes, at + 8),
    options,
  };
}

/** Bytes of the message, options included. */
export const neighbourSize = (message: Pick<Neighbour, 'options'>): number =>
  message.options.reduce((size, option) => size + option.body.length + 2, NEIGHBOUR_SIZE);

/** Writes `neighbourSize` bytes as given; answers the offset behind them. */
export function encodeNeighbour(bytes: Uint8Array, at: number, message: Neighbour): number {
  encodeIcmp(bytes, at, {
    type: message.type,
    code: 0,
    checksum: message.checksum,
    id: message.flags >>> 16,
    sequence: message.flags & 0xffff,
  });
  writeIp6(bytes, at + 8, message.target);
  let next = at + NEIGHBOUR_SIZE;
  for (const option of message.options) {
    bytes[next] = option.type;
    bytes[next + 1] = (option.body.length + 2) >>> 3;
    bytes.set(option.body, next + 2);
    next += option.body.length + 2;
  }
  return next;
}

/** The option that tells a MAC address: SOURCE_LINK_ADDRESS or TARGET_LINK_ADDRESS. */
export function linkAddressOption(type: number, mac: Mac): NdOption {
  const body = new Uint8Array(6);
  writeMac(body, 0, mac);
  return { type, body };
}

/** The sender's (solicitation) or target's (advertisement) MAC, when the message tells one. */
export function linkAddress(message: Neighbour): Mac | undefined {
  const wanted =
    message.type === NEIGHBOUR_SOLICITATION ? SOURCE_LINK_ADDRESS : TARGET_LINK_ADDRESS;
  const option = message.options.find((o) => o.type === wanted && o.body.length === 6);
  return option === undefined ? undefined : readMac(option.body, 0);
}

/** The checks of RFC 4861 §7.1 that need the IPv6 header; the text of the first that fails. */
export function neighbourFault(
  ip: { readonly src: Ip6; readonly dst: Ip6; readonly hopLimit: number },
  message: Neighbour,
): string | undefined {
  if (ip.hopLimit !== ND_HOP_LIMIT) return 'the hop limit is not 255: the message was forwarded';
  if (message.type === NEIGHBOUR_ADVERTISEMENT) {
    const solicited = (message.flags & NA_FLAG.SOLICITED) !== 0;
    if (solicited && isMulticastIp(ip.dst)) return 'solicited, but sent to a multicast group';
    return undefined;
  }
  if (!isUnspecifiedIp(ip.src)) return undefined;
  if (ip.dst !== solicitedNode(message.target)) {
    return 'from the unspecified address, but not to the solicited-node group';
  }
  if (linkAddress(message) !== undefined) return 'a link address for the unspecified address';
  return undefined;
}

/** `icmp6 fd00::1 > fd00::2 echo id 7 seq 1`. */
export const describeIcmp6 = (src: Ip6, dst: Ip6, icmp: Icmp6): string =>
  `icmp6 ${formatIp6(src)} > ${formatIp6(dst)} ${describeMessage(icmp, ICMP6_WORDS)}`;

/**
 * `ns fd00::1 for fd00::2`, and `to IP` when not sent to the target's solicited-node group;
 * `na fd00::2 is-at 02:00:00:00:00:02 to fd00::1`.
 */
export function describeNeighbour(src: Ip6, dst: Ip6, message: Neighbour): string {
  const target = formatIp6(message.target);
  if (message.type === NEIGHBOUR_SOLICITATION) {
    const to = dst === solicitedNode(message.target) ? '' : ` to ${formatIp6(dst)}`;
    return `ns ${formatIp6(src)} for ${target}${to}`;
  }
  const mac = linkAddress(message);
  const at = mac === undefined ? '' : ` is-at ${formatMac(mac)}`;
  const router = message.flags >= NA_FLAG.ROUTER ? ' router' : '';
  return `na ${target}${at} to ${formatIp6(dst)}${router}`;
}
