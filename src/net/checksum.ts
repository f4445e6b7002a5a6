/**
 * The Internet checksum (RFC 1071): what IPv4, ICMP, TCP and UDP are protected with.
 *
 * A sum stays unfolded while parts are added to it, so parts cost one loop each. Invariant: every
 * part but the last has an even length; an odd one would shift the bytes of what follows.
 */
import { read16, read8 } from './bytes.ts';
import { isIp6, type Ip, type Ip6 } from './ip.ts';

/**
 * The 16-bit words from `at` to `end` added to `sum`; an odd last byte is the high half of a word.
 */
export function addWords(sum: number, bytes: Uint8Array, at: number, end: number): number {
  const even = end - ((end - at) & 1);
  let total = sum;
  for (let i = at; i < even; i += 2) total += read16(bytes, i);
  return even < end ? total + (read8(bytes, even) << 8) : total;
}

/** A sum as 16 bits, with end-around carry. */
export function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return folded;
}

/**
 * The checksum of a range, `sum` (a pseudo-header's) included. 0 over a range that holds its
 * checksum.
 */
export const checksum = (bytes: Uint8Array, at: number, end: number, sum = 0): number =>
  ~fold(addWords(sum, bytes, at, end)) & 0xffff;

function wordsOf6(ip: Ip6): number {
  let sum = 0;
  for (let i = 0; i < 32; i += 8) {
    const value = Number.parseInt(ip.slice(i, i + 8), 16);
    sum += (value >>> 16) + (value & 0xffff);
  }
  return sum;
}
const wordsOf = (ip: Ip): number => (isIp6(ip) ? wordsOf6(ip) : (ip >>> 16) + (ip & 0xffff));

/** What a transport checksum covers beside its own bytes. `length`: the upper layer's, in bytes. */
export interface PseudoHeader {
  readonly src: Ip;
  readonly dst: Ip;
  readonly protocol: number;
  readonly length: number;
}

/** The sum of the pseudo-header of RFC 9293 §3.1 (IPv4) or RFC 8200 §8.1 (IPv6). */
export const pseudoSum = (header: PseudoHeader): number =>
  wordsOf(header.src) +
  wordsOf(header.dst) +
  header.protocol +
  (header.length >>> 16) +
  (header.length & 0xffff);

/**
 * The checksum after one 16-bit word of what it covers changed from `before` to `after` (RFC 1624,
 * equation 3). UDP over IPv4: leave a checksum of 0 alone (none was sent), and send a result of 0
 * as 0xffff.
 */
export const updateChecksum = (old: number, before: number, after: number): number =>
  ~fold((~old & 0xffff) + (~before & 0xffff) + after) & 0xffff;

/** `updateChecksum` for a 32-bit value that starts at an even offset, such as an IPv4 address. */
export const updateChecksum32 = (old: number, before: number, after: number): number =>
  updateChecksum(updateChecksum(old, before >>> 16, after >>> 16), before & 0xffff, after & 0xffff);
