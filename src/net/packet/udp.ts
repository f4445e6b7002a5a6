/**
 * UDP headers (RFC 768).
 */
import { read16, write16 } from '../bytes.ts';
import { formatIp, isIp6, type Ip } from '../ip.ts';

export const UDP_SIZE = 8;

/** `checksum` 0 over IPv4: none was sent. */
export interface Udp {
  readonly kind: 'udp';
  readonly srcPort: number;
  readonly dstPort: number;
  readonly length: number;
  readonly checksum: number;
}

/** `undefined` when cut short, or when the length is smaller than the header. */
export function decodeUdp(bytes: Uint8Array, at: number, end: number): Udp | undefined {
  if (end - at < UDP_SIZE || end > bytes.length) return undefined;
  const length = read16(bytes, at + 4);
  if (length < UDP_SIZE) return undefined;
  return {
    kind: 'udp',
    srcPort: read16(bytes, at),
    dstPort: read16(bytes, at + 2),
    length,
    checksum: read16(bytes, at + 6),
  };
}

/** Writes UDP_SIZE bytes as given; answers the offset behind them. */
export function encodeUdp(bytes: Uint8Array, at: number, udp: Udp): number {
  write16(bytes, at, udp.srcPort);
  write16(bytes, at + 2, udp.dstPort);
  write16(bytes, at + 4, udp.length);
  write16(bytes, at + 6, udp.checksum);
  return at + UDP_SIZE;
}

/** `10.0.0.1:53`, `[fd00::1]:53`. */
export const formatEndpoint = (ip: Ip, port: number): string =>
  isIp6(ip) ? `[${formatIp(ip)}]:${port}` : `${formatIp(ip)}:${port}`;

/** `udp 10.0.0.1:53 > 10.0.0.2:1024`. */
export const describeUdp = (src: Ip, dst: Ip, udp: Udp): string =>
  `udp ${formatEndpoint(src, udp.srcPort)} > ${formatEndpoint(dst, udp.dstPort)}`;
