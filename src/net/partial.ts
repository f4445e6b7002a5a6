/**
 * TCP and UDP checksums that a sender left to its network interface: the field holds only the
 * folded sum of the pseudo-header (CHECKSUM_PARTIAL, linux/skbuff.h).
 *
 * A checksum that is that sum by chance is computed anew, which gives the same value.
 */
import { write16 } from './bytes.ts';
import { checksum, fold } from './checksum.ts';
import { CHECKSUM_AT, fragmentKind, transportSum, type Frame } from './frame.ts';
import { ethernetSize } from './packet/ethernet.ts';
import { ipv4Size } from './packet/ipv4.ts';
import { ipv6Size } from './packet/ipv6.ts';

interface Found {
  /** Where the transport layer starts and ends. */
  readonly at: number;
  readonly end: number;
  readonly checksumAt: number;
  readonly kind: 'tcp' | 'udp';
}

function find(bytes: Uint8Array, frame: Frame): Found | undefined {
  const { ethernet, network: ip, transport, trailer } = frame;
  if (ip === undefined || ip.kind === 'arp' || fragmentKind(ip) !== 0) return undefined;
  if (transport?.kind !== 'tcp' && transport?.kind !== 'udp') return undefined;
  const at = ethernetSize(ethernet) + (ip.kind === 'ipv4' ? ipv4Size(ip) : ipv6Size(ip));
  const end = bytes.length - trailer.length;
  if (transport.checksum !== fold(transportSum(ip, transport.kind, end - at))) return undefined;
  return { at, end, checksumAt: at + CHECKSUM_AT[transport.kind], kind: transport.kind };
}

/** Whether the transport checksum is still to be computed. */
export const isPartial = (bytes: Uint8Array, frame: Frame): boolean =>
  find(bytes, frame) !== undefined;

/** The same bytes, or a copy with the transport checksum computed where it was left to be. */
export function completed(bytes: Uint8Array, frame: Frame): Uint8Array {
  const found = find(bytes, frame);
  if (found === undefined) return bytes;
  // What the field holds is what the sum starts with.
  const value = checksum(bytes, found.at, found.end);
  // Not `slice`, which is a view of a Buffer.
  const copy = new Uint8Array(bytes);
  // RFC 768: a computed 0 is sent as all ones, for 0 means that there is none.
  write16(copy, found.checksumAt, value === 0 && found.kind === 'udp' ? 0xffff : value);
  return copy;
}
