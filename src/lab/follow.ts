/**
 * Finds a frame again behind bridges and routers. These rewrite MAC addresses, VLAN tags and TTLs
 * and cut packets; what stays are IP addresses, protocol and ports. Rules that translate change
 * these too: then it is known by what it carries, an ICMP error by the packet that it quotes. What
 * is no IP packet stays as it is, but for its tag.
 */
import { decodeFrame, fragmentKind, type Frame, type Transport } from '#net/frame.ts';
import { isIcmpError } from '#net/quoted.ts';
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

/** What is carried by nothing else: so many bytes, and not zeros only. */
const MARK_BYTES_MIN = 8;
const isMark = (data: Uint8Array): boolean =>
  data.length >= MARK_BYTES_MIN && data.some((byte) => byte !== 0);

/** What nobody translates in a quoted header: identification, or length, and the protocol. */
const quotedMark = ({ payload: data }: Frame, six: boolean): string =>
  `${data[4]} ${data[5]} ${data[six ? 6 : 9]}`;

/** The same packet though it has other ends, as far as that can be told. */
function isTranslated(sent: Frame, seen: Frame): boolean {
  const [a, b] = [sent.transport, seen.transport];
  if (a === undefined || b === undefined || a.kind !== b.kind || a.kind === 'neighbour')
    return false;
  if ((a.kind === 'icmp' || a.kind === 'icmp6') && b.kind === a.kind) {
    if (a.type !== b.type || a.code !== b.code) return false;
    const six = a.kind === 'icmp6';
    if (isIcmpError(a.type, six)) return quotedMark(sent, six) === quotedMark(seen, six);
  }
  return isMark(sent.payload) && Buffer.compare(sent.payload, seen.payload) === 0;
}

/** The same packet, or a part of it; a later part has no ports. */
function isSamePacket(sent: Frame, seen: Frame): boolean {
  if (!isIp(sent.network) || !isIp(seen.network)) return false;
  const { kind, src, dst, protocol } = sent.network;
  const same =
    seen.network.kind === kind &&
    seen.network.src === src &&
    seen.network.dst === dst &&
    seen.network.protocol === protocol;
  if (!same) return isTranslated(sent, seen);
  if (fragmentKind(seen.network) === 3) return true;
  return endsOf(sent.transport) === endsOf(seen.transport) || isTranslated(sent, seen);
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

/** Answers whether a frame is one back, to the ends that the one sent came from. */
export function answersTo(sent: Uint8Array): (seen: Uint8Array) => boolean {
  const ends = (frame: Frame | undefined): readonly (readonly [unknown, unknown])[] => {
    const { network, transport } = frame ?? {};
    if (!isIp(network) || (transport?.kind !== 'udp' && transport?.kind !== 'tcp')) return [];
    const { srcPort, dstPort, kind } = transport;
    return [
      [network.src, network.dst],
      [srcPort, dstPort],
      [kind, kind],
    ];
  };
  const asked = ends(decodeFrame(sent));
  return (bytes) => {
    const answer = ends(decodeFrame(bytes));
    return (
      asked.length > 0 &&
      answer.length > 0 &&
      asked.every(([from, to], i) => from === answer[i]?.[1] && to === answer[i]?.[0])
    );
  };
}
