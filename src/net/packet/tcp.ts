/**
 * TCP headers (RFC 9293 §3.1). Options are kept as bytes and skipped by length, never interpreted.
 */
import { read16, read32, read8, write16, write32 } from '../bytes.ts';
import type { Ip } from '../ip.ts';
import { formatEndpoint } from './udp.ts';

export const TCP_SIZE = 20;

/** The flag bits, in the order in which texts list them. */
export const TCP_FLAG = {
  syn: 0x02,
  ack: 0x10,
  psh: 0x08,
  fin: 0x01,
  rst: 0x04,
  urg: 0x20,
  ece: 0x40,
  cwr: 0x80,
} as const;

/** `flags`: the twelve bits behind the data offset, the four reserved ones included. */
export interface Tcp {
  readonly kind: 'tcp';
  readonly srcPort: number;
  readonly dstPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  readonly flags: number;
  readonly window: number;
  readonly checksum: number;
  readonly urgent: number;
  /** A view of at most 40 bytes, a multiple of 4. */
  readonly options: Uint8Array | undefined;
}

/** Bytes of the header, options included. */
export const tcpSize = (tcp: Pick<Tcp, 'options'>): number => TCP_SIZE + (tcp.options?.length ?? 0);

/** `undefined` when cut short, or with a data offset below five words. */
export function decodeTcp(bytes: Uint8Array, at: number, end: number): Tcp | undefined {
  if (end - at < TCP_SIZE || end > bytes.length) return undefined;
  const size = (read8(bytes, at + 12) >>> 4) * 4;
  if (size < TCP_SIZE || end - at < size) return undefined;
  return {
    kind: 'tcp',
    srcPort: read16(bytes, at),
    dstPort: read16(bytes, at + 2),
    sequence: read32(bytes, at + 4),
    acknowledgement: read32(bytes, at + 8),
    flags: ((read8(bytes, at + 12) & 15) << 8) | read8(bytes, at + 13),
    window: read16(bytes, at + 14),
    checksum: read16(bytes, at + 16),
    urgent: read16(bytes, at + 18),
    options: size > TCP_SIZE ? bytes.subarray(at + TCP_SIZE, at + size) : undefined,
  };
}

/** Writes `tcpSize` bytes as given, the checksum too; answers the offset behind them. */
export function encodeTcp(bytes: Uint8Array, at: number, tcp: Tcp): number {
  const size = tcpSize(tcp);
  write16(bytes, at, tcp.srcPort);
  write16(bytes, at + 2, tcp.dstPort);
  write32(bytes, at + 4, tcp.sequence);
  write32(bytes, at + 8, tcp.acknowledgement);
  bytes[at + 12] = (size << 2) | (tcp.flags >>> 8);
  bytes[at + 13] = tcp.flags;
  write16(bytes, at + 14, tcp.window);
  write16(bytes, at + 16, tcp.checksum);
  write16(bytes, at + 18, tcp.urgent);
  if (tcp.options !== undefined) bytes.set(tcp.options, at + TCP_SIZE);
  return at + size;
}

/** `syn ack`; `noflags` for none. */
export function describeTcpFlags(flags: number): string {
  const words = Object.entries(TCP_FLAG).filter(([, bit]) => (flags & bit) !== 0);
  return words.length === 0 ? 'noflags' : words.map(([word]) => word).join(' ');
}

/** `tcp 10.0.0.1:1024 > 10.0.0.2:80 syn`. */
export const describeTcp = (src: Ip, dst: Ip, tcp: Tcp): string =>
  `tcp ${formatEndpoint(src, tcp.srcPort)} > ${formatEndpoint(dst, tcp.dstPort)} ` +
  describeTcpFlags(tcp.flags);
