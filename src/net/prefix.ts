/**
 * Prefixes (RFC 4632 §3.1, RFC 4291 §2.3) of either family as one type.
 *
 * Invariant: families never mix: no IPv6 prefix contains an IPv4 address, not even a mapped one.
 */
import { formatIp, isIp6, parseIp, type Ip, type Ip4, type Ip6 } from './ip.ts';

/** `length` counts the leading bits that matter: 0 to 32, or 0 to 128 for IPv6. */
export interface Prefix {
  readonly address: Ip;
  readonly length: number;
}

const LENGTH = /^(?:0|[1-9][0-9]{0,2})$/;

/** 32 or 128. */
export const bitsOf = (ip: Ip): number => (isIp6(ip) ? 128 : 32);

/** The netmask of a length, 0 to 32. */
export const mask4 = (length: number): Ip4 =>
  (length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0) as Ip4;

const digitAt = (ip: Ip6, index: number): number => Number.parseInt(ip.charAt(index), 16);

function network6(ip: Ip6, length: number): Ip6 {
  if (length === 128) return ip;
  const digits = length >> 2;
  const cut = digitAt(ip, digits) & (0xf0 >> (length & 3)) & 15;
  return (ip.slice(0, digits) + cut.toString(16)).padEnd(32, '0') as Ip6;
}

/** The address with its host bits cleared. `length` must suit the address's family. */
export const networkOf = (ip: Ip, length: number): Ip =>
  isIp6(ip) ? network6(ip, length) : (((ip & mask4(length)) >>> 0) as Ip4);

/** `10.0.0.7/24`: an address and the prefix it is in. `undefined` for every other text. */
export function parseNetwork(text: string): Prefix | undefined {
  const slash = text.indexOf('/');
  if (slash < 0 || !LENGTH.test(text.slice(slash + 1))) return undefined;
  const address = parseIp(text.slice(0, slash));
  const length = Number(text.slice(slash + 1));
  if (address === undefined || length > bitsOf(address)) return undefined;
  return { address, length };
}

/** `10.0.0.0/24`: the host bits must be zero. `undefined` for every other text. */
export function parsePrefix(text: string): Prefix | undefined {
  const prefix = parseNetwork(text);
  if (prefix === undefined) return undefined;
  return networkOf(prefix.address, prefix.length) === prefix.address ? prefix : undefined;
}

export const formatPrefix = (prefix: Prefix): string =>
  `${formatIp(prefix.address)}/${prefix.length}`;

/** True when the address agrees with the prefix's leading bits; its host bits do not matter. */
export function contains(prefix: Prefix, ip: Ip): boolean {
  const { address, length } = prefix;
  if (!isIp6(address)) return !isIp6(ip) && ((address ^ ip) & mask4(length)) === 0;
  if (!isIp6(ip)) return false;
  const digits = length >> 2;
  for (let i = 0; i < digits; i++) {
    if (address.charCodeAt(i) !== ip.charCodeAt(i)) return false;
  }
  if ((length & 3) === 0) return true;
  const differ = digitAt(address, digits) ^ digitAt(ip, digits);
  return (differ & (0xf0 >> (length & 3)) & 15) === 0;
}

/** The first and the last address of a prefix, whose host bits are clear. */
export function spanOf({ address, length }: Prefix): readonly [first: Ip, last: Ip] {
  if (!isIp6(address)) return [address, ((address | ~mask4(length)) >>> 0) as Ip4];
  if (length === 128) return [address, address];
  const digits = length >> 2;
  const last = digitAt(address, digits) | (15 >> (length & 3));
  return [address, (address.slice(0, digits) + last.toString(16)).padEnd(32, 'f') as Ip6];
}

/** True when some address is in both. */
export const overlaps = (a: Prefix, b: Prefix): boolean =>
  a.length <= b.length ? contains(a, b.address) : contains(b, a.address);
