/**
 * IPv4 and IPv6 addresses as primitive values: they compare with `===` and key maps.
 *
 * Invariant: an address has one representation. Text is parsed strictly, because a form that two
 * programs read differently (010.1.1.1, 1.2.3) is a way around a filter.
 */
import { read16, read32, write32 } from './bytes.ts';
import type { Mac } from './mac.ts';

/** An IPv4 address: an unsigned 32-bit number in host order. */
export type Ip4 = number & { readonly brand: 'Ip4' };
/** An IPv6 address: 32 lower-case hexadecimal digits. */
export type Ip6 = string & { readonly brand: 'Ip6' };
export type Ip = Ip4 | Ip6;

export const UNSPECIFIED4 = 0 as Ip4;
export const BROADCAST4 = 0xffffffff as Ip4;
export const UNSPECIFIED6 = '0'.repeat(32) as Ip6;
/** ff02::1 (RFC 4291 §2.7.1). */
export const ALL_NODES6 = `ff02${'0'.repeat(27)}1` as Ip6;
/** ff02::2 (RFC 4291 §2.7.1). */
export const ALL_ROUTERS6 = `ff02${'0'.repeat(27)}2` as Ip6;

const DOT = 46;
/** The longest text of an IPv6 address: six groups and a dotted quad. */
const IP6_TEXT_MAX = 45;
const SOLICITED_NODE = 'ff0200000000000000000001ff';
const MAPPED = '00000000000000000000ffff';

/** True for IPv6, which also tells the type checker. */
export const isIp6 = (ip: Ip): ip is Ip6 => typeof ip === 'string';

/** Four decimal numbers of 0 to 255 without leading zeros; `undefined` for every other text. */
export function parseIp4(text: string): Ip4 | undefined {
  const length = text.length;
  if (length < 7 || length > 15) return undefined;
  let address = 0;
  let octet = 0;
  let digits = 0;
  let dots = 0;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code === DOT) {
      if (digits === 0 || dots === 3) return undefined;
      address = (address << 8) | octet;
      octet = 0;
      digits = 0;
      dots++;
      continue;
    }
    if (code < 48 || code > 57 || (digits > 0 && octet === 0)) return undefined;
    octet = octet * 10 + code - 48;
    if (octet > 255) return undefined;
    digits++;
  }
  return dots === 3 && digits > 0 ? ((((address << 8) | octet) >>> 0) as Ip4) : undefined;
}

export const formatIp4 = (ip: Ip4): string =>
  `${ip >>> 24}.${(ip >>> 16) & 255}.${(ip >>> 8) & 255}.${ip & 255}`;

const hex8 = (value: number): string => value.toString(16).padStart(8, '0');
const GROUP = /^[0-9a-fA-F]{1,4}$/;

/** Groups joined by single colons as hexadecimal digits. `last`: a dotted quad may end them. */
function parseGroups(text: string, last: boolean): string | undefined {
  if (text === '') return '';
  const parts = text.split(':');
  let digits = '';
  for (const [i, part] of parts.entries()) {
    if (GROUP.test(part)) {
      digits += part.toLowerCase().padStart(4, '0');
      continue;
    }
    const quad = last && i === parts.length - 1 ? parseIp4(part) : undefined;
    if (quad === undefined) return undefined;
    digits += hex8(quad);
  }
  return digits;
}

/**
 * The three text forms of RFC 4291 §2.2; `::` stands for at least one group. No zone, no prefix, no
 * brackets. `undefined` for every other text.
 */
export function parseIp6(text: string): Ip6 | undefined {
  if (text.length < 2 || text.length > IP6_TEXT_MAX) return undefined;
  const gap = text.indexOf('::');
  if (gap < 0) {
    const digits = parseGroups(text, true);
    return digits?.length === 32 ? (digits as Ip6) : undefined;
  }
  const head = parseGroups(text.slice(0, gap), false);
  const tail = parseGroups(text.slice(gap + 2), true);
  if (head === undefined || tail === undefined || head.length + tail.length > 28) return undefined;
  return (head + tail.padStart(32 - head.length, '0')) as Ip6;
}

/** The canonical text of RFC 5952 §4; IPv4-mapped addresses end in a dotted quad (§5). */
export function formatIp6(ip: Ip6): string {
  if (ip.startsWith(MAPPED)) return '::ffff:' + formatIp4(Number.parseInt(ip.slice(24), 16) as Ip4);
  let bestAt = -1;
  let bestLength = 1;
  let run = 0;
  const groups: string[] = [];
  for (let i = 0; i < 8; i++) {
    const value = Number.parseInt(ip.slice(i * 4, i * 4 + 4), 16);
    groups.push(value.toString(16));
    run = value === 0 ? run + 1 : 0;
    if (run > bestLength) {
      bestLength = run;
      bestAt = i + 1 - run;
    }
  }
  if (bestAt < 0) return groups.join(':');
  return groups.slice(0, bestAt).join(':') + '::' + groups.slice(bestAt + bestLength).join(':');
}

export const parseIp = (text: string): Ip | undefined =>
  text.includes(':') ? parseIp6(text) : parseIp4(text);

export const formatIp = (ip: Ip): string => (isIp6(ip) ? formatIp6(ip) : formatIp4(ip));

/** The caller has checked that four bytes are there. */
export const readIp4 = (bytes: Uint8Array, at: number): Ip4 => read32(bytes, at) as Ip4;

/** The caller has checked that there is room for four bytes. */
export const writeIp4 = (bytes: Uint8Array, at: number, ip: Ip4): void => write32(bytes, at, ip);

/** The character code of a hexadecimal digit, 0 to 15. */
const codeOf = (digit: number): number => (digit < 10 ? digit + 48 : digit + 87);

/** Four bytes as digits in one call: joining a string per byte took twice as long. */
function hexOf4(bytes: Uint8Array, at: number): string {
  const high = read16(bytes, at);
  const low = read16(bytes, at + 2);
  return String.fromCharCode(
    codeOf(high >>> 12),
    codeOf((high >>> 8) & 15),
    codeOf((high >>> 4) & 15),
    codeOf(high & 15),
    codeOf(low >>> 12),
    codeOf((low >>> 8) & 15),
    codeOf((low >>> 4) & 15),
    codeOf(low & 15),
  );
}

/** The caller has checked that sixteen bytes are there. */
export const readIp6 = (bytes: Uint8Array, at: number): Ip6 =>
  (hexOf4(bytes, at) +
    hexOf4(bytes, at + 4) +
    hexOf4(bytes, at + 8) +
    hexOf4(bytes, at + 12)) as Ip6;

/** The caller has checked that there is room for sixteen bytes. */
export function writeIp6(bytes: Uint8Array, at: number, ip: Ip6): void {
  for (let i = 0; i < 16; i++) {
    const high = ip.charCodeAt(i * 2);
    const low = ip.charCodeAt(i * 2 + 1);
    bytes[at + i] = ((high > 57 ? high - 87 : high - 48) << 4) | (low > 57 ? low - 87 : low - 48);
  }
}

/** 224.0.0.0/4 (RFC 5771) or ff00::/8 (RFC 4291 §2.7). */
export const isMulticastIp = (ip: Ip): boolean =>
  isIp6(ip) ? ip.startsWith('ff') : ip >>> 28 === 14;

/** 0.0.0.0 or `::`. */
export const isUnspecifiedIp = (ip: Ip): boolean => ip === 0 || ip === UNSPECIFIED6;

/** 127.0.0.0/8 or `::1`. */
export const isLoopbackIp = (ip: Ip): boolean =>
  isIp6(ip) ? ip === `${'0'.repeat(31)}1` : ip >>> 24 === 127;

/**
 * Whether a packet may come from this address, so that there is one host to answer: not 0.0.0.0/8,
 * `::`, loopback, multicast, class E or broadcast (RFC 1812 §5.3.7, RFC 4443 §2.4(e.6)).
 */
export function namesOneHost(ip: Ip): boolean {
  if (isMulticastIp(ip) || isLoopbackIp(ip)) return false;
  return isIp6(ip) ? ip !== UNSPECIFIED6 : ip >>> 24 !== 0 && ip >>> 28 !== 15;
}

/** 169.254.0.0/16 (RFC 3927) or fe80::/10 (RFC 4291 §2.5.6). */
export const isLinkLocalIp = (ip: Ip): boolean =>
  isIp6(ip) ? /^fe[89ab]/.test(ip) : ip >>> 16 === 0xa9fe;

/** The multicast group at which a neighbour with this address is asked for (RFC 4291 §2.7.1). */
export const solicitedNode = (ip: Ip6): Ip6 => (SOLICITED_NODE + ip.slice(26)) as Ip6;

/** The MAC address of an IP multicast group (RFC 1112 §6.4, RFC 2464 §7). */
export const multicastMac = (group: Ip): Mac =>
  (isIp6(group)
    ? 0x333300000000 + Number.parseInt(group.slice(24), 16)
    : 0x01005e000000 + (group & 0x7fffff)) as Mac;

/** The link-local address that a MAC yields by modified EUI-64 (RFC 4291 §2.5.6 and appendix A). */
export function linkLocalOf(mac: Mac): Ip6 {
  const hex = mac.toString(16).padStart(12, '0');
  const first = (Number.parseInt(hex.slice(0, 2), 16) ^ 2).toString(16).padStart(2, '0');
  return `fe80000000000000${first}${hex.slice(2, 6)}fffe${hex.slice(6)}` as Ip6;
}
