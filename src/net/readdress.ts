/**
 * Other ends for a packet, and for the packet that an ICMP error quotes: addresses, ports, and the
 * identifier of an echo, with every checksum that covers them.
 *
 * Invariants: a checksum that was right stays right, one that was wrong stays wrong by as much
 * (RFC 1624), and one that is not there is not made; a quoted packet may be cut short anywhere
 * behind its IP header (RFC 792, RFC 5508 §4.2); the caller's bytes are never changed; nothing
 * throws. Fragments behind the first one have addresses only.
 */
import { read16, write16 } from './bytes.ts';
import { checksum, pseudoSum, updateChecksum } from './checksum.ts';
import { isIp6, readIp4, readIp6, writeIp4, writeIp6, type Ip } from './ip.ts';
import { IP_PROTOCOL } from './packet/ipv4.ts';
import { isIcmpError } from './quoted.ts';
import { behindIp, ipAt, type Transport } from './transport.ts';

/**
 * What changes. Ports: of TCP and UDP; of an echo `srcPort` is the identifier of a request, and
 * `dstPort` that of a reply.
 */
export interface Ends {
  readonly src?: Ip | undefined;
  readonly dst?: Ip | undefined;
  readonly srcPort?: number | undefined;
  readonly dstPort?: number | undefined;
}

const ECHO = { request: 8, reply: 0 } as const;
const ECHO6 = { request: 128, reply: 129 } as const;

/** Where the checksum of a transport header is, and whether it covers the addresses. */
function sumOf(bytes: Uint8Array, { six, protocol, at }: Transport) {
  const covers = protocol !== IP_PROTOCOL.ICMP;
  const place = {
    [IP_PROTOCOL.TCP]: 16,
    [IP_PROTOCOL.UDP]: 6,
    [six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP]: 2,
  }[protocol];
  if (place === undefined || at + place + 2 > bytes.length) return undefined;
  const none = protocol === IP_PROTOCOL.UDP && read16(bytes, at + place) === 0;
  return none ? undefined : { at: at + place, covers, udp: protocol === IP_PROTOCOL.UDP };
}

/** Where the ports of a transport header are: none, where it has none or is cut short. */
function portsOf(bytes: Uint8Array, { six, protocol, at }: Transport) {
  if (protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP)
    return at + 4 <= bytes.length ? { src: at, dst: at + 2 } : {};
  const echo = six ? ECHO6 : ECHO;
  if (protocol !== (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP) || at + 6 > bytes.length)
    return {};
  if (bytes[at] === echo.request) return { src: at + 4 };
  return bytes[at] === echo.reply ? { dst: at + 4 } : {};
}

function putWord(bytes: Uint8Array, at: number, value: number, sums: readonly number[]): void {
  const before = read16(bytes, at);
  write16(bytes, at, value);
  for (const sum of sums) write16(bytes, sum, updateChecksum(read16(bytes, sum), before, value));
}

function putIp(bytes: Uint8Array, at: number, ip: Ip, sums: readonly number[]): void {
  const words = new Uint8Array(isIp6(ip) ? 16 : 4);
  if (isIp6(ip)) writeIp6(words, 0, ip);
  else writeIp4(words, 0, ip);
  for (let i = 0; i < words.length; i += 2) putWord(bytes, at + i, read16(words, i), sums);
}

/** Changes the packet at `ip` in place. False: there is no whole IP header of this family. */
function change(bytes: Uint8Array, ip: number, { src, dst, srcPort, dstPort }: Ends): boolean {
  const six = (bytes[ip] ?? 0) >> 4 === 6;
  if (bytes.length - ip < (six ? 40 : 20)) return false;
  for (const each of [src, dst]) if (each !== undefined && isIp6(each) !== six) return false;
  const behind = behindIp(bytes, ip);
  const sum = behind && sumOf(bytes, behind);
  const covering = sum?.covers === true ? [sum.at] : [];
  const addressSums = six ? covering : [ip + 10, ...covering];
  if (src !== undefined) putIp(bytes, ip + (six ? 8 : 12), src, addressSums);
  if (dst !== undefined) putIp(bytes, ip + (six ? 24 : 16), dst, addressSums);
  const ports = behind === undefined ? {} : portsOf(bytes, behind);
  const portSums = sum === undefined ? [] : [sum.at];
  if (srcPort !== undefined && ports.src !== undefined)
    putWord(bytes, ports.src, srcPort, portSums);
  if (dstPort !== undefined && ports.dst !== undefined)
    putWord(bytes, ports.dst, dstPort, portSums);
  // A sum of zero says that there is none (RFC 768).
  if (sum?.udp === true && read16(bytes, sum.at) === 0) write16(bytes, sum.at, 0xffff);
  return true;
}

/** A copy of a frame whose packet has other ends; undefined: it has no packet of this family. */
export function readdress(frame: Uint8Array, ends: Ends): Uint8Array | undefined {
  const ip = ipAt(frame);
  if (ip === undefined) return undefined;
  const out = new Uint8Array(frame);
  return change(out, ip, ends) ? out : undefined;
}

/**
 * A copy of an ICMP error whose quoted packet has other ends, with the checksum of the message made
 * anew; that of an IPv6 error covers the outer addresses as they are. Undefined: it is no error, it
 * quotes too little, or it is not there whole.
 */
export function readdressQuoted(frame: Uint8Array, ends: Ends): Uint8Array | undefined {
  const ip = ipAt(frame);
  const outer = ip === undefined ? undefined : behindIp(frame, ip);
  if (ip === undefined || outer === undefined) return undefined;
  const { six, protocol, at } = outer;
  const own = six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP;
  if (protocol !== own || !isIcmpError(frame[at] ?? 0, six)) return undefined;
  // Behind the packet there may be padding of the link.
  const end = six ? ip + 40 + read16(frame, ip + 4) : ip + read16(frame, ip + 2);
  if (end > frame.length || at + 8 > end) return undefined;
  const out = new Uint8Array(frame);
  if (!change(out.subarray(0, end), at + 8, ends)) return undefined;
  write16(out, at + 2, 0);
  const pseudo = six
    ? pseudoSum({
        src: readIp6(out, ip + 8),
        dst: readIp6(out, ip + 24),
        protocol: own,
        length: end - at,
      })
    : 0;
  write16(out, at + 2, checksum(out, at, end, pseudo));
  return out;
}

/** The addresses of a frame's packet, as they are. */
export function addressesOf(frame: Uint8Array): { readonly src: Ip; readonly dst: Ip } | undefined {
  const ip = ipAt(frame);
  if (ip === undefined || frame.length - ip < (frame[ip]! >> 4 === 6 ? 40 : 20)) return undefined;
  return frame[ip]! >> 4 === 6
    ? { src: readIp6(frame, ip + 8), dst: readIp6(frame, ip + 24) }
    : { src: readIp4(frame, ip + 12), dst: readIp4(frame, ip + 16) };
}
