/**
 * What is wrong with a frame: lengths that contradict each other and checksums that do not match,
 * found without encoding it anew, so that it can judge what `encodeFrame` and the datapaths make.
 */
import { addWords, fold } from './checksum.ts';
import { decodeFrame, fragmentKind, transportSum, type Frame } from './frame.ts';
import { ETHER_TYPE, ethernetSize } from './packet/ethernet.ts';
import { IP_PROTOCOL, ipv4Size, type Ipv4 } from './packet/ipv4.ts';
import { IPV6_SIZE, ipv6Size, type Ipv6 } from './packet/ipv6.ts';

const DECODED_TYPES: readonly number[] = [ETHER_TYPE.IPV4, ETHER_TYPE.IPV6, ETHER_TYPE.ARP];

const isDecodedProtocol = (ip: Ipv4 | Ipv6): boolean =>
  ip.protocol === IP_PROTOCOL.TCP ||
  ip.protocol === IP_PROTOCOL.UDP ||
  ip.protocol === (ip.kind === 'ipv4' ? IP_PROTOCOL.ICMP : IP_PROTOCOL.ICMPV6);

/**
 * What a checksum field should hold. Recomputed, not summed to 0: 0 and 0xffff must not pass for
 * each other.
 */
const expected = (sum: number, held: number): number => ~fold(sum - held) & 0xffff;

const describeChecksum = (name: string, held: number): string =>
  `${name} checksum 0x${held.toString(16).padStart(4, '0')}`;

function transportFault(bytes: Uint8Array, frame: Frame, ip: Ipv4 | Ipv6): string | undefined {
  const fragment = fragmentKind(ip);
  const { transport } = frame;
  if (transport === undefined || fragment !== 0) return undefined;
  const start = ethernetSize(frame.ethernet);
  const at = start + (ip.kind === 'ipv4' ? ipv4Size(ip) : ipv6Size(ip));
  const end = bytes.length - frame.trailer.length;
  if (transport.kind === 'udp') {
    if (transport.length !== end - at) return `udp length ${transport.length}`;
    if (transport.checksum === 0 && ip.kind === 'ipv4') return undefined;
    if (transport.checksum === 0) return 'udp checksum missing';
  }
  const held = transport.checksum;
  const sum = addWords(transportSum(ip, transport.kind, end - at), bytes, at, end);
  const right = expected(sum, held);
  if (held === (right === 0 && transport.kind === 'udp' ? 0xffff : right)) return undefined;
  return describeChecksum(transport.kind === 'neighbour' ? 'icmp6' : transport.kind, held);
}

/** The first layer that is there by its number, but does not decode. */
function undecoded({ ethernet, network, transport }: Frame): string | undefined {
  if (network === undefined) {
    const type = `0x${ethernet.type.toString(16).padStart(4, '0')}`;
    return DECODED_TYPES.includes(ethernet.type) ? `type ${type} does not decode` : undefined;
  }
  if (network.kind === 'arp' || transport !== undefined) return undefined;
  const due = fragmentKind(network) !== 3 && isDecodedProtocol(network);
  return due ? `protocol ${network.protocol} does not decode` : undefined;
}

/** What is wrong with the IP layer alone: a router drops such a packet without a word. */
export function networkFault(bytes: Uint8Array, { ethernet, network }: Frame): string | undefined {
  if (network === undefined || network.kind === 'arp') return undefined;
  const start = ethernetSize(ethernet);
  const declared =
    network.kind === 'ipv4' ? network.totalLength : network.payloadLength + IPV6_SIZE;
  const present = bytes.length - start;
  if (declared > present) return `cut short at ${present} of ${declared} bytes`;
  if (network.kind === 'ipv6') return undefined;
  const sum = addWords(0, bytes, start, start + ipv4Size(network));
  const held = network.checksum;
  return held === expected(sum, held) ? undefined : describeChecksum('ip', held);
}

/** The first length or checksum of `frame`, decoded from `bytes`, that is not right. */
export function mismatch(bytes: Uint8Array, frame: Frame): string | undefined {
  const { network } = frame;
  if (network === undefined || network.kind === 'arp') return undefined;
  return networkFault(bytes, frame) ?? transportFault(bytes, frame, network);
}

/**
 * What is wrong with a frame, such as `tcp checksum 0x0000`; `undefined` when every layer decodes
 * and every length and checksum is right. Ethernet padding is not wrong.
 */
export function frameFault(bytes: Uint8Array): string | undefined {
  const frame = decodeFrame(bytes);
  if (frame === undefined) return `${bytes.length} bytes are no Ethernet frame`;
  return mismatch(bytes, frame) ?? undecoded(frame);
}
