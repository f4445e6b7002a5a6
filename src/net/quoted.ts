/**
 * The packet that an ICMP error is about, as far as the error quotes it (RFC 792, RFC 4443 §2.4 c).
 */
import { read16 } from './bytes.ts';
import { readIp4, readIp6, type Ip } from './ip.ts';
import { IP_PROTOCOL } from './packet/ipv4.ts';
import { behindIp, ipAt } from './transport.ts';

/** Of TCP and UDP `ports`; of ICMP type and code, and what an echo is told by. */
export interface Quoted {
  readonly protocol: number;
  readonly src: Ip;
  readonly dst: Ip;
  /** The first two words of the transport header: 0 of protocols that have no ports. */
  readonly ports: readonly [number, number];
  /** Of an ICMP message: its type, and the identifier an echo has. */
  readonly icmp?: { readonly type: number; readonly id: number };
}

const ERRORS4: ReadonlySet<number> = new Set([3, 4, 11, 12]);
/** RFC 4443 §2.1: the high bit of an error's type is not set. */
const INFORMATIONAL6 = 128;

/** Whether an ICMP or ICMPv6 message of this type quotes a packet that it is about. */
export const isIcmpError = (type: number, six: boolean): boolean =>
  six ? type > 0 && type < INFORMATIONAL6 : ERRORS4.has(type);

/** Undefined: the frame is no such error, or quotes too little. */
export function quotedBy(frame: Uint8Array): Quoted | undefined {
  const ip = ipAt(frame);
  const outer = ip === undefined ? undefined : behindIp(frame, ip);
  if (outer === undefined) return undefined;
  const own = outer.six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP;
  if (outer.protocol !== own || !isIcmpError(frame[outer.at] ?? 0, outer.six)) return undefined;
  return quotedAt(frame, outer.at + 8, outer.six);
}

function quotedAt(frame: Uint8Array, ip: number, six: boolean): Quoted | undefined {
  const inner = behindIp(frame, ip);
  if (inner === undefined || inner.six !== six) return undefined;
  const { protocol, at } = inner;
  const read = six ? readIp6 : readIp4;
  const [src, dst] = six
    ? [read(frame, ip + 8), read(frame, ip + 24)]
    : [read(frame, ip + 12), read(frame, ip + 16)];
  const of = { protocol, src, dst };
  if (protocol === (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP)) {
    if (frame.length - at < 8) return undefined;
    return { ...of, ports: [0, 0], icmp: { type: frame[at]!, id: read16(frame, at + 4) } };
  }
  if (protocol !== IP_PROTOCOL.TCP && protocol !== IP_PROTOCOL.UDP) return { ...of, ports: [0, 0] };
  if (frame.length - at < 4) return undefined;
  return { ...of, ports: [read16(frame, at), read16(frame, at + 2)] };
}
