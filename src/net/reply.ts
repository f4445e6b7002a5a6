/**
 * What a host answers by itself: echo replies, and resets of connections that it does not know.
 *
 * Invariants: only a whole, right packet from one host to one host is answered (RFC 1122 §3.3.6),
 * and never with what is answered in turn. Nothing throws.
 */
import { mismatch, networkFault } from './fault.ts';
import { decodeFrame, encodeFrame, fragmentKind } from './frame.ts';
import type { EthernetLayer, Frame, Ipv4Layer, Ipv6Layer } from './frame.ts';
import { namesOneHost } from './ip.ts';
import { isGroup, type Mac } from './mac.ts';
import { ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST } from './packet/icmp.ts';
import { ICMP6_ECHO_REPLY, ICMP6_ECHO_REQUEST } from './packet/icmp6.ts';
import type { Ipv4 } from './packet/ipv4.ts';
import type { Ipv6 } from './packet/ipv6.ts';
import { TCP_FLAG } from './packet/tcp.ts';
import { isPartial } from './partial.ts';

/** MACs to send with, and the 802.1Q tag; without one, that of the request. */
export interface ReplyMacs {
  readonly src: Mac;
  readonly dst: Mac;
  readonly tci?: number | undefined;
}

const TCI_MAX = 0xffff;
/** Without the two bits of congestion notification: no reset is ECN-capable (RFC 3168 §6.1). */
const DSCP = 0xfc;

/** A whole packet from one host to one host; `undefined` for what gets no answer. */
function answerable(frame: Frame): Ipv4 | Ipv6 | undefined {
  const { ethernet, network } = frame;
  if (network === undefined || network.kind === 'arp') return undefined;
  if (fragmentKind(network) !== 0 || isGroup(ethernet.dst)) return undefined;
  return namesOneHost(network.src) && namesOneHost(network.dst) ? network : undefined;
}

/** The way back; `undefined` when the tag is none. */
function ethernetBack(frame: Frame, { src, dst, tci }: ReplyMacs): EthernetLayer | undefined {
  const tag = tci ?? frame.ethernet.tci;
  const valid = tag === undefined || (Number.isInteger(tag) && tag >= 0 && tag <= TCI_MAX);
  return valid ? { src, dst, tci: tag } : undefined;
}

/**
 * IPv4 keeps the identification: as distinct as those of the packets answered, without a counter.
 */
const networkBack = (ip: Ipv4 | Ipv6, tosMask: number): Ipv4Layer | Ipv6Layer =>
  ip.kind === 'ipv4'
    ? { kind: 'ipv4', src: ip.dst, dst: ip.src, tos: ip.tos & tosMask, id: ip.id }
    : { kind: 'ipv6', src: ip.dst, dst: ip.src, trafficClass: ip.trafficClass & tosMask };

/**
 * The reply to an ICMP or ICMPv6 echo request (RFC 1122 §3.2.2.6, RFC 4443 §4.2), from the address
 * asked: the same identifier, sequence number, payload and TOS, without IP options and extension
 * headers. `undefined` for everything else: fragments, groups and wrong checksums too.
 */
export function echoReply(bytes: Uint8Array, macs: ReplyMacs): Uint8Array | undefined {
  const frame = decodeFrame(bytes);
  if (frame === undefined) return undefined;
  const { transport, payload } = frame;
  const ip = answerable(frame);
  const ethernet = ethernetBack(frame, macs);
  if (ip === undefined || ethernet === undefined) return undefined;
  if (transport?.kind !== 'icmp' && transport?.kind !== 'icmp6') return undefined;
  const [request, reply] =
    transport.kind === 'icmp'
      ? [ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY]
      : [ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY];
  if (transport.type !== request || transport.code !== 0) return undefined;
  if (mismatch(bytes, frame) !== undefined) return undefined;
  return encodeFrame({
    ethernet,
    network: networkBack(ip, 0xff),
    transport: { ...transport, type: reply },
    payload,
  });
}

/**
 * The reset with which a host without such a connection answers a TCP segment
 * (RFC 9293 §3.10.7.1). `undefined` for everything else: a reset, fragments, groups, and wrong
 * checksums, except one that was left to the interface (`partial.ts`).
 */
export function tcpReset(bytes: Uint8Array, macs: ReplyMacs): Uint8Array | undefined {
  const frame = decodeFrame(bytes);
  if (frame === undefined) return undefined;
  const { transport: tcp, payload } = frame;
  const ip = answerable(frame);
  const ethernet = ethernetBack(frame, macs);
  if (ip === undefined || ethernet === undefined || tcp?.kind !== 'tcp') return undefined;
  const { flags } = tcp;
  if ((flags & TCP_FLAG.rst) !== 0) return undefined;
  if (networkFault(bytes, frame) !== undefined) return undefined;
  if (!isPartial(bytes, frame) && mismatch(bytes, frame) !== undefined) return undefined;
  const acknowledges = (flags & TCP_FLAG.ack) !== 0;
  const length = payload.length + count(flags & TCP_FLAG.syn) + count(flags & TCP_FLAG.fin);
  return encodeFrame({
    ethernet,
    network: networkBack(ip, DSCP),
    transport: {
      kind: 'tcp',
      srcPort: tcp.dstPort,
      dstPort: tcp.srcPort,
      sequence: acknowledges ? tcp.acknowledgement : 0,
      acknowledgement: acknowledges ? 0 : (tcp.sequence + length) >>> 0,
      flags: acknowledges ? TCP_FLAG.rst : TCP_FLAG.rst | TCP_FLAG.ack,
      window: 0,
    },
  });
}

/** A flag that takes a sequence number. */
const count = (flag: number): number => (flag === 0 ? 0 : 1);
