/**
 * IPv4 headers (RFC 791). Options are kept as bytes and skipped by length, never interpreted.
 *
 * Invariant: a decoded header's lengths are consistent with each other. They may promise more bytes
 * than were captured; who needs those compares `totalLength` with what it has.
 */
import { read16, read8, write16 } from '../bytes.ts';
import { formatIp4, readIp4, writeIp4, type Ip4 } from '../ip.ts';

export const IPV4_SIZE = 20;

/** Protocol numbers (IANA) of the layers this program knows. */
export const IP_PROTOCOL = { ICMP: 1, TCP: 6, UDP: 17, ICMPV6: 58, NONE: 59 } as const;

/** `tos`: the whole byte (DSCP and ECN). `fragmentOffset` in bytes, a multiple of 8. */
export interface Ipv4 {
  readonly kind: 'ipv4';
  readonly tos: number;
  readonly totalLength: number;
  readonly id: number;
  /** The bit that RFC 791 reserves. */
  readonly reserved: boolean;
  readonly dontFragment: boolean;
  readonly moreFragments: boolean;
  readonly fragmentOffset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly checksum: number;
  readonly src: Ip4;
  readonly dst: Ip4;
  /** A view of at most 40 bytes, a multiple of 4. */
  readonly options: Uint8Array | undefined;
}

/** Bytes of the header, options included. */
export const ipv4Size = (header: Ipv4): number => IPV4_SIZE + (header.options?.length ?? 0);

/** `undefined` when cut short, not version 4, or with lengths that contradict each other. */
export function decodeIpv4(bytes: Uint8Array, at: number, end: number): Ipv4 | undefined {
  if (end - at < IPV4_SIZE || end > bytes.length) return undefined;
  const size = (read8(bytes, at) & 15) * 4;
  if (read8(bytes, at) >>> 4 !== 4 || size < IPV4_SIZE || end - at < size) return undefined;
  const totalLength = read16(bytes, at + 2);
  if (totalLength < size) return undefined;
  const fragment = read16(bytes, at + 6);
  return {
    kind: 'ipv4',
    tos: read8(bytes, at + 1),
    totalLength,
    id: read16(bytes, at + 4),
    reserved: (fragment & 0x8000) !== 0,
    dontFragment: (fragment & 0x4000) !== 0,
    moreFragments: (fragment & 0x2000) !== 0,
    fragmentOffset: (fragment & 0x1fff) * 8,
    ttl: read8(bytes, at + 8),
    protocol: read8(bytes, at + 9),
    checksum: read16(bytes, at + 10),
    src: readIp4(bytes, at + 12),
    dst: readIp4(bytes, at + 16),
    options: size > IPV4_SIZE ? bytes.subarray(at + IPV4_SIZE, at + size) : undefined,
  };
}

/** Writes `ipv4Size` bytes as given, the checksum too; answers the offset behind them. */
export function encodeIpv4(bytes: Uint8Array, at: number, header: Ipv4): number {
  const size = ipv4Size(header);
  const fragment =
    (header.reserved ? 0x8000 : 0) |
    (header.dontFragment ? 0x4000 : 0) |
    (header.moreFragments ? 0x2000 : 0) |
    (header.fragmentOffset >>> 3);
  bytes[at] = 0x40 | (size >>> 2);
  bytes[at + 1] = header.tos;
  write16(bytes, at + 2, header.totalLength);
  write16(bytes, at + 4, header.id);
  write16(bytes, at + 6, fragment);
  bytes[at + 8] = header.ttl;
  bytes[at + 9] = header.protocol;
  write16(bytes, at + 10, header.checksum);
  writeIp4(bytes, at + 12, header.src);
  writeIp4(bytes, at + 16, header.dst);
  if (header.options !== undefined) bytes.set(header.options, at + IPV4_SIZE);
  return at + size;
}

/** `10.0.0.1 > 10.0.0.2 proto 47`. */
export const describeIpv4 = (header: Ipv4): string =>
  `ip ${formatIp4(header.src)} > ${formatIp4(header.dst)} proto ${header.protocol}`;
