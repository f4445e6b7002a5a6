/**
 * A fragment as a part of its datagram, and parts made into a whole frame (RFC 791 §3.2,
 * RFC 8200 §4.5).
 *
 * Invariant: nothing throws, and nothing is believed of a frame that contradicts itself.
 */
import { EMPTY_BYTES, read8 } from './bytes.ts';
import { networkFault } from './fault.ts';
import { decodeFrame, encodeFrame, fragmentKind, IP_LENGTH_MAX, type Frame } from './frame.ts';
import { ethernetSize } from './packet/ethernet.ts';
import { ipv4Size, type Ipv4 } from './packet/ipv4.ts';
import {
  EXTENSION,
  extensionsOf,
  FRAGMENT_HEADER_SIZE,
  IPV6_SIZE,
  type Ipv6,
} from './packet/ipv6.ts';

/** `at`, `end`: in what the datagram carries. */
export interface Part {
  readonly at: number;
  readonly end: number;
  readonly more: boolean;
  readonly data: Uint8Array;
}
/** `start`, `size`: where its data starts in the frame, and bytes of its IP packet. */
export interface Fragment extends Part {
  readonly key: string;
  readonly id: number;
  readonly start: number;
  readonly size: number;
}

/** `header`: bytes of the IP packet before its data; `kept`: those that the datagram has too. */
interface Place {
  readonly id: number;
  readonly at: number;
  readonly more: boolean;
  readonly header: number;
  readonly kept: number;
}
/** The only fragment header of a packet: with two, receivers differ on what is a part of what. */
function fragmentHeader(ip: Ipv6) {
  const [found, other] = extensionsOf(ip).filter(({ type }) => type === EXTENSION.FRAGMENT);
  return other === undefined ? found : undefined;
}
function placeOf(ip: Ipv4 | Ipv6): Place | undefined {
  if (ip.kind === 'ipv4') {
    const header = ipv4Size(ip);
    return { id: ip.id, at: ip.fragmentOffset, more: ip.moreFragments, header, kept: header };
  }
  const found = fragmentHeader(ip);
  if (found === undefined || ip.fragment === undefined) return undefined;
  const { id, offset: at, more } = ip.fragment;
  return { id, at, more, header: IPV6_SIZE + found.at + FRAGMENT_HEADER_SIZE, kept: found.at };
}

/**
 * What tells datagrams apart. IPv6 has no protocol in it: the fragments of one may name different
 * headers (RFC 8200 §4.5). MAC and VLAN are in it because the whole goes where its first part went.
 */
const keyOf = ({ ethernet: { dst, tci = 0 } }: Frame, ip: Ipv4 | Ipv6, id: number): string =>
  [ip.kind, ip.src, ip.dst, id, ip.kind === 'ipv4' ? ip.protocol : '', dst, tci & 0xfff].join(' ');

/** `undefined`: no fragment, or one that nobody could use; that says nothing about the others. */
export function readFragment(bytes: Uint8Array): Fragment | undefined {
  const frame = decodeFrame(bytes);
  const ip = frame?.network;
  if (frame === undefined || ip === undefined || ip.kind === 'arp') return undefined;
  if (fragmentKind(ip) === 0 || networkFault(bytes, frame) !== undefined) return undefined;
  const place = placeOf(ip);
  if (place === undefined) return undefined;
  const { id, at, more, header, kept } = place;
  const start = ethernetSize(frame.ethernet) + header;
  const data = bytes.subarray(start, bytes.length - frame.trailer.length);
  const end = at + data.length;
  if (data.length === 0 || (more && data.length % 8 !== 0) || kept + end > IP_LENGTH_MAX)
    return undefined;
  const size = header + data.length;
  return { key: keyOf(frame, ip, id), id, at, end, more, data, start, size };
}

/** The headers of the first part, without what made it one, and all data. */
export function joined(first: Uint8Array, data: Uint8Array): Uint8Array | undefined {
  const frame = decodeFrame(first);
  const ip = frame?.network;
  if (frame === undefined || ip === undefined || ip.kind === 'arp') return undefined;
  if ((placeOf(ip)?.kept ?? 0) + data.length > IP_LENGTH_MAX) return undefined;
  const { ethernet } = frame;
  if (ip.kind === 'ipv4')
    return encodeFrame({ ethernet, network: { ...ip, moreFragments: false }, payload: data });
  const { extensions: all = EMPTY_BYTES } = ip;
  const at = fragmentHeader(ip)?.at ?? 0;
  const extensions = new Uint8Array(all.subarray(0, at));
  const before = extensionsOf(ip).findLast((each) => each.at < at);
  const next = read8(all, at);
  if (before !== undefined) extensions[before.at] = next;
  const nextHeader = before === undefined ? next : ip.nextHeader;
  return encodeFrame({ ethernet, network: { ...ip, nextHeader, extensions }, payload: data });
}
