/**
 * Where the transport header of a frame begins. Every length is checked, and what a frame does not
 * hold whole is not there.
 */
import { EXTENSION, EXTENSIONS_MAX } from './packet/ipv6.ts';

const ETHERNET_BYTES = 14;
const TAG_BYTES = 4;
const IPV4_BYTES = 20;
const IPV6_BYTES = 40;
const EXTENSION_HEADERS: ReadonlySet<number> = new Set(Object.values(EXTENSION));

/** A header of an IP packet that is not a later fragment, and where its payload begins. */
export interface Transport {
  readonly six: boolean;
  readonly protocol: number;
  readonly at: number;
}

function behindIpv4(bytes: Uint8Array, ip: number): Transport | undefined {
  const words = bytes[ip]! & 15;
  const at = ip + words * 4;
  if (words * 4 < IPV4_BYTES || at > bytes.length) return undefined;
  if ((bytes[ip + 6]! & 0x1f) !== 0 || bytes[ip + 7] !== 0) return undefined;
  return { six: false, protocol: bytes[ip + 9]!, at };
}

/** RFC 8200 §4. */
function behindIpv6(bytes: Uint8Array, ip: number): Transport | undefined {
  if (bytes.length - ip < IPV6_BYTES) return undefined;
  let protocol = bytes[ip + 6]!;
  let at = ip + IPV6_BYTES;
  for (let passed = 0; passed < EXTENSIONS_MAX && EXTENSION_HEADERS.has(protocol); passed++) {
    if (bytes.length - at < 8) break;
    const fragment = protocol === EXTENSION.FRAGMENT;
    const size = fragment ? 8 : (bytes[at + 1]! + 1) * 8;
    if (bytes.length - at < size) break;
    if (fragment && (bytes[at + 2] !== 0 || (bytes[at + 3]! & 0xf8) !== 0)) return undefined;
    protocol = bytes[at]!;
    at += size;
  }
  return { six: true, protocol, at };
}

/** Behind the IP header at `ip`; undefined: there is none, or it is a later fragment's. */
export function behindIp(bytes: Uint8Array, ip: number): Transport | undefined {
  if (bytes.length - ip < IPV4_BYTES) return undefined;
  const version = bytes[ip]! >> 4;
  if (version === 4) return behindIpv4(bytes, ip);
  return version === 6 ? behindIpv6(bytes, ip) : undefined;
}

/** Where the IP header of a frame begins, behind at most one tag; undefined: it has none. */
export function ipAt(frame: Uint8Array): number | undefined {
  let at = ETHERNET_BYTES;
  if (frame[12] === 0x81 && frame[13] === 0) at += TAG_BYTES;
  const [high, low] = [frame[at - 2], frame[at - 1]];
  const version = high === 0x08 && low === 0 ? 4 : high === 0x86 && low === 0xdd ? 6 : undefined;
  return version !== undefined && (frame[at] ?? 0) >> 4 === version ? at : undefined;
}

/** Where a header of this protocol begins; undefined: the frame has none. */
export function transportAt(frame: Uint8Array, protocol: number): number | undefined {
  const ip = ipAt(frame);
  const found = ip === undefined ? undefined : behindIp(frame, ip);
  return found?.protocol === protocol ? found.at : undefined;
}
