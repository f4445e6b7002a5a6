/**
 * Fragmentation: of IPv4 as a router does it (RFC 791 §2.3, §3.2; RFC 1812 §4.2.2.7), of IPv6 as
 * only the source may (RFC 8200 §4.5).
 *
 * Invariants: every fragment is at most as long as the MTU, and all but the last carry a multiple
 * of 8 bytes; together they carry what the packet carried. Nothing throws.
 */
import { EMPTY_BYTES, read8, write16, write32 } from './bytes.ts';
import { networkFault } from './fault.ts';
import { decodeFrame, encodeFrame, IP_LENGTH_MAX } from './frame.ts';
import { ethernetSize } from './packet/ethernet.ts';
import { IPV4_SIZE, ipv4Size } from './packet/ipv4.ts';
import {
  EXTENSION,
  extensionsOf,
  FRAGMENT_HEADER_SIZE,
  IPV6_SIZE,
  type Ipv6,
} from './packet/ipv6.ts';
import { completed } from './partial.ts';

/** Every link carries as much: the longest header and 8 bytes (RFC 791 §3.2). */
export const IPV4_MTU_MIN = 68;
/** Every link carries as much (RFC 8200 §5). */
export const IPV6_MTU_MIN = 1280;

const END_OF_OPTIONS = 0;
const NO_OPERATION = 1;
const COPIED = 0x80;

/**
 * The options that every fragment has: those with the copied flag (RFC 791 §3.1), padded to a
 * multiple of 4 bytes. `undefined` when an option's length leads out of them.
 */
function copiedOptions(options: Uint8Array): Uint8Array | undefined {
  const kept: number[] = [];
  for (let at = 0; at < options.length;) {
    const type = read8(options, at);
    if (type === END_OF_OPTIONS) break;
    const size = type === NO_OPERATION ? 1 : read8(options, at + 1);
    if ((type !== NO_OPERATION && size < 2) || at + size > options.length) return undefined;
    if ((type & COPIED) !== 0) kept.push(...options.subarray(at, at + size));
    at += size;
  }
  while (kept.length % 4 !== 0) kept.push(END_OF_OPTIONS);
  return Uint8Array.from(kept);
}

/**
 * The frame as frames whose IP packets are at most `mtu` bytes each, in order: with its MACs and
 * tag, without its padding. `[bytes]` when it fits already. What is a fragment is cut further. A
 * checksum that was left to the interface (`partial.ts`) is computed first: nobody could later.
 *
 * `undefined` when the packet must not be cut (DF), is not IPv4, is cut short, contradicts itself
 * or has a wrong header checksum, and for an `mtu` that is no whole number from IPV4_MTU_MIN on.
 */
export function fragments(bytes: Uint8Array, mtu: number): Uint8Array[] | undefined {
  if (!Number.isInteger(mtu) || mtu < IPV4_MTU_MIN) return undefined;
  const frame = decodeFrame(bytes);
  if (frame?.network?.kind !== 'ipv4' || networkFault(bytes, frame) !== undefined) return undefined;
  const { ethernet, network: ip, trailer } = frame;
  if (ip.totalLength <= mtu) return [bytes];
  const start = ethernetSize(ethernet) + ipv4Size(ip);
  const length = ip.totalLength - ipv4Size(ip);
  if (ip.dontFragment || (ip.moreFragments && length % 8 !== 0)) return undefined;
  // Its end is beyond what anybody can put together, and what the offset field can tell.
  if (ip.fragmentOffset + ip.totalLength > IP_LENGTH_MAX) return undefined;
  const later = ip.options === undefined ? undefined : copiedOptions(ip.options);
  if (ip.options !== undefined && later === undefined) return undefined;
  const whole = completed(bytes, frame);
  const data = whole.subarray(start, whole.length - trailer.length);
  const cut: Uint8Array[] = [];
  for (let at = 0; at < length;) {
    const options = at === 0 ? ip.options : later;
    const room = mtu - IPV4_SIZE - (options?.length ?? 0);
    const last = length - at <= room;
    const size = last ? length - at : room & ~7;
    const network = {
      ...ip,
      options,
      fragmentOffset: ip.fragmentOffset + at,
      moreFragments: ip.moreFragments || !last,
    };
    cut.push(encodeFrame({ ethernet, network, payload: data.subarray(at, at + size) }));
    at += size;
  }
  return cut;
}

/** Looked at on the way, so that each fragment has them and what stands before them. */
const PER_FRAGMENT: readonly number[] = [EXTENSION.HOP_BY_HOP, EXTENSION.ROUTING];

/** The extension headers that every fragment has, and a fragment header behind them to fill in. */
function headersOfFragments(ip: Ipv6): Pick<Ipv6, 'nextHeader'> & { extensions: Uint8Array } {
  const { extensions: all = EMPTY_BYTES, nextHeader } = ip;
  const last = extensionsOf(ip).findLast(({ type }) => PER_FRAGMENT.includes(type));
  const size = last === undefined ? 0 : last.at + last.size;
  const extensions = new Uint8Array(size + FRAGMENT_HEADER_SIZE);
  extensions.set(all.subarray(0, size));
  extensions[size] = last === undefined ? nextHeader : read8(all, last.at);
  if (last === undefined) return { nextHeader: EXTENSION.FRAGMENT, extensions };
  extensions[last.at] = EXTENSION.FRAGMENT;
  return { nextHeader, extensions };
}

/**
 * The frame as frames whose IPv6 packets are at most `mtu` bytes each, in order: with its MACs and
 * tag, without its padding. `[bytes]` when it fits already. `id`: 32 bits that no other packet of
 * the same ends has had lately. A checksum that was left to the interface is computed first.
 *
 * `undefined` when the packet is not IPv6, has a fragment header already, is cut short, when its
 * headers do not fit into the first fragment (RFC 7112 §5), and for an `mtu` that is no whole
 * number from IPV6_MTU_MIN on.
 */
export function fragments6(bytes: Uint8Array, mtu: number, id: number): Uint8Array[] | undefined {
  if (!Number.isInteger(mtu) || mtu < IPV6_MTU_MIN) return undefined;
  const frame = decodeFrame(bytes);
  if (frame?.network?.kind !== 'ipv6' || networkFault(bytes, frame) !== undefined) return undefined;
  const { ethernet, network: ip, payload, trailer } = frame;
  if (ip.fragment !== undefined) return undefined;
  if (IPV6_SIZE + ip.payloadLength <= mtu) return [bytes];
  const { nextHeader, extensions } = headersOfFragments(ip);
  const header = extensions.length - FRAGMENT_HEADER_SIZE;
  const start = ethernetSize(ethernet) + IPV6_SIZE + header;
  const end = bytes.length - trailer.length;
  const room = (mtu - IPV6_SIZE - extensions.length) & ~7;
  if (end - payload.length - start > room) return undefined;
  const data = completed(bytes, frame).subarray(start, end);
  const cut: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += room) {
    const more = data.length - at > room;
    write16(extensions, header + 2, at | (more ? 1 : 0));
    write32(extensions, header + 4, id);
    const network = { ...ip, nextHeader, extensions };
    cut.push(encodeFrame({ ethernet, network, payload: data.subarray(at, at + room) }));
  }
  return cut;
}
