/**
 * IPv6 headers and the walk over extension headers (RFC 8200 §3, §4).
 *
 * Invariant: the walk ends. It passes hop-by-hop, routing and destination options and the fragment
 * header, in any order (being strict about order would let a filter be passed by what a receiver
 * accepts), at most EXTENSIONS_MAX of them; a longer chain is refused. It stops behind a fragment
 * header that starts past 0.
 */
import { EMPTY_BYTES, read16, read32, read8, write16 } from '../bytes.ts';
import { formatIp6, readIp6, writeIp6, type Ip6 } from '../ip.ts';

export const IPV6_SIZE = 40;
/** Extension headers of an IPv6 packet that are passed; a longer chain is refused as malformed. */
export const EXTENSIONS_MAX = 8;
export const FRAGMENT_HEADER_SIZE = 8;
/** Offset of the next-header field in the fixed header. */
const NEXT_HEADER_AT = 6;

/** Extension header numbers (IANA). Others, AH and ESP among them, count as an upper layer. */
export const EXTENSION = { HOP_BY_HOP: 0, ROUTING: 43, FRAGMENT: 44, DESTINATION: 60 } as const;

/** `fragmentOffset` in bytes, a multiple of 8. */
export interface Ipv6Fragment {
  readonly id: number;
  readonly offset: number;
  readonly more: boolean;
}

export interface Ipv6 {
  readonly kind: 'ipv6';
  readonly trafficClass: number;
  readonly flowLabel: number;
  /** Bytes behind the fixed header, extension headers included. */
  readonly payloadLength: number;
  /** The first header behind the fixed one; `protocol` is the one the walk ended at. */
  readonly nextHeader: number;
  readonly hopLimit: number;
  readonly src: Ip6;
  readonly dst: Ip6;
  /** A view of the extension headers walked. */
  readonly extensions: Uint8Array | undefined;
  readonly protocol: number;
  readonly fragment: Ipv6Fragment | undefined;
}

/** Bytes of the fixed header and the extension headers. */
export const ipv6Size = (header: Ipv6): number => IPV6_SIZE + (header.extensions?.length ?? 0);

const isExtension = (protocol: number): boolean =>
  protocol === EXTENSION.HOP_BY_HOP ||
  protocol === EXTENSION.ROUTING ||
  protocol === EXTENSION.DESTINATION ||
  protocol === EXTENSION.FRAGMENT;

interface Walk {
  readonly at: number;
  readonly protocol: number;
  readonly fragment: Ipv6Fragment | undefined;
}

/** `undefined`: cut short, or longer than EXTENSIONS_MAX. */
function walk(bytes: Uint8Array, start: number, end: number, first: number): Walk | undefined {
  let at = start;
  let protocol = first;
  let fragment: Ipv6Fragment | undefined;
  for (let count = 0; isExtension(protocol); count++) {
    if (count === EXTENSIONS_MAX || end - at < 8) return undefined;
    const isFragment = protocol === EXTENSION.FRAGMENT;
    const size = isFragment ? FRAGMENT_HEADER_SIZE : (read8(bytes, at + 1) + 1) * 8;
    if (end - at < size) return undefined;
    protocol = read8(bytes, at);
    if (isFragment) {
      const word = read16(bytes, at + 2);
      const id = read32(bytes, at + 4);
      fragment = { id, offset: word & 0xfff8, more: (word & 1) !== 0 };
    }
    at += size;
    if (isFragment && (fragment?.offset ?? 0) > 0) break;
  }
  return { at, protocol, fragment };
}

/**
 * `undefined` when the header or an extension header is cut short, not version 6, or when there are
 * more than EXTENSIONS_MAX extension headers.
 */
export function decodeIpv6(bytes: Uint8Array, at: number, end: number): Ipv6 | undefined {
  if (end - at < IPV6_SIZE || end > bytes.length || read8(bytes, at) >>> 4 !== 6) return undefined;
  const payloadLength = read16(bytes, at + 4);
  const nextHeader = read8(bytes, at + 6);
  const start = at + IPV6_SIZE;
  let protocol = nextHeader;
  let fragment: Ipv6Fragment | undefined;
  let extensions: Uint8Array | undefined;
  if (isExtension(nextHeader)) {
    const walked = walk(bytes, start, Math.min(end, start + payloadLength), nextHeader);
    if (walked === undefined) return undefined;
    ({ protocol, fragment } = walked);
    extensions = bytes.subarray(start, walked.at);
  }
  return {
    kind: 'ipv6',
    trafficClass: ((read8(bytes, at) & 15) << 4) | (read8(bytes, at + 1) >>> 4),
    flowLabel: ((read8(bytes, at + 1) & 15) << 16) | read16(bytes, at + 2),
    payloadLength,
    nextHeader,
    hopLimit: read8(bytes, at + 7),
    src: readIp6(bytes, at + 8),
    dst: readIp6(bytes, at + 24),
    extensions,
    protocol,
    fragment,
  };
}

/** An extension header; `at` is counted from the first of them on. */
export interface Ipv6Extension {
  readonly type: number;
  readonly at: number;
  readonly size: number;
}

/** The extension headers that the walk passed, in their order. */
export function extensionsOf({ nextHeader, extensions = EMPTY_BYTES }: Ipv6): Ipv6Extension[] {
  const list: Ipv6Extension[] = [];
  let type = nextHeader;
  for (let at = 0; at < extensions.length;) {
    const isFragment = type === EXTENSION.FRAGMENT;
    const size = isFragment ? FRAGMENT_HEADER_SIZE : (read8(extensions, at + 1) + 1) * 8;
    list.push({ type, at, size });
    type = read8(extensions, at);
    at += size;
  }
  return list;
}

/**
 * Where the byte is that names `protocol`, from the first of the fixed header on: `nextHeader`, or
 * the first byte of the last extension header.
 */
export function protocolAt(header: Ipv6): number {
  const last = extensionsOf(header).at(-1);
  return last === undefined ? NEXT_HEADER_AT : IPV6_SIZE + last.at;
}

/**
 * Writes `ipv6Size` bytes; answers the offset behind them. `nextHeader` and `extensions` are
 * written as given; `protocol` and `fragment`, which only repeat what those say, are not looked at.
 */
export function encodeIpv6(bytes: Uint8Array, at: number, header: Ipv6): number {
  bytes[at] = 0x60 | (header.trafficClass >>> 4);
  bytes[at + 1] = ((header.trafficClass & 15) << 4) | (header.flowLabel >>> 16);
  write16(bytes, at + 2, header.flowLabel);
  write16(bytes, at + 4, header.payloadLength);
  bytes[at + 6] = header.nextHeader;
  bytes[at + 7] = header.hopLimit;
  writeIp6(bytes, at + 8, header.src);
  writeIp6(bytes, at + 24, header.dst);
  if (header.extensions !== undefined) bytes.set(header.extensions, at + IPV6_SIZE);
  return at + ipv6Size(header);
}

/** `ip fd00::1 > fd00::2 proto 47`. */
export const describeIpv6 = (header: Ipv6): string =>
  `ip ${formatIp6(header.src)} > ${formatIp6(header.dst)} proto ${header.protocol}`;
