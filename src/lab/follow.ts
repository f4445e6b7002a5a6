/**
 * Finds a frame again behind bridges and routers. These rewrite MAC addresses, VLAN tags and TTLs
 * and cut packets; what stays are IP addresses, protocol and ports. What is no IP packet stays as
 * it is, but for its tag.
 */
import { decodeFrame, fragmentKind, type Frame, type Transport } from '#net/frame.ts';
import { ethernetSize } from '#net/packet/ethernet.ts';
import type { Ipv4 } from '#net/packet/ipv4.ts';
import type { Ipv6 } from '#net/packet/ipv6.ts';

/** What tells conversations of one protocol between two addresses apart. */
function endsOf(transport: Transport | undefined): string {
  if (transport === undefined) return '';
  if (transport.kind === 'udp' || transport.kind === 'tcp')
    return `${transport.srcPort} ${transport.dstPort}`;
  if (transport.kind === 'neighbour') return `${transport.type} ${transport.target}`;
  const { type, code, id, sequence } = transport;
  return `${type} ${code} ${id} ${sequence}`;
}

const isIp = (network: Frame['network']): network is Ipv4 | Ipv6 =>
  network !== undefined && network.kind !== 'arp';

/** The same packet, or a part of it; a later part has no ports. */
function isSamePacket(sent: Frame, seen: Frame): boolean {
  if (!isIp(sent.network) || !isIp(seen.network)) return false;
  const { kind, src, dst, protocol } = sent.network;
  const same =
    seen.network.kind === kind &&
    seen.network.src === src &&
    seen.network.dst === dst &&
    seen.network.protocol === protocol;
  if (!same) return false;
  if (fragmentKind(seen.network) === 3) return true;
  return endsOf(sent.transport) === endsOf(seen.transport);
}

/** MAC addresses, and everything behind the tag. */
const untagged = (bytes: Uint8Array, frame: Frame): Buffer =>
  Buffer.concat([bytes.subarray(0, 12), bytes.subarray(ethernetSize(frame.ethernet) - 2)]);

/** Answers whether a frame seen somewhere is the one sent. */
export function follow(sent: Uint8Array): (seen: Uint8Array) => boolean {
  const from = decodeFrame(sent);
  return (bytes) => {
    const seen = decodeFrame(bytes);
    if (from === undefined || seen === undefined) return Buffer.compare(sent, bytes) === 0;
    if (isIp(from.network)) return isSamePacket(from, seen);
    return untagged(sent, from).equals(untagged(bytes, seen));
  };
}
