/**
 * Rewriting the fields of a frame: the reference of `rewrite.h`, byte for byte.
 *
 * What a frame has is what `parse.ts` reads of it. The rules:
 *
 * 1. IP addresses and DSCP: where an IP header can be read, addresses only where it is of their
 *    family. ARP has none of them. IPv4's header checksum follows.
 * 2. `tpSrc`, `tpDst`: where a key has ports, TCP's or UDP's; `tpDst` is also the identifier of an
 *    ICMP (IPv4) or ICMPv6 (IPv6) echo request or reply, where a key has that. `tpSrc` is nothing
 *    there: a key has type and code in its place, which are not for rewriting.
 * 3. The checksums of TCP, UDP, ICMP and ICMPv6 follow, where the frame has them (not a later
 *    fragment, not a header that is cut short before it). A first fragment's covers the whole
 *    packet: incremental update (RFC 1624) is right for it too. UDP's zero stays zero, for it says
 *    that there is none (RFC 768; RFC 6935 over IPv6), and a result of zero is 0xffff. ICMP's does
 *    not cover the addresses (RFC 792), ICMPv6's does (RFC 4443 §2.3). Checksums of other protocols
 *    do not follow, and an IPv4 source route, whose end they would cover, is not looked for:
 *    routers drop such packets (RFC 7126 §4.3).
 * 4. IPv6 addresses that something hides are not changed: the frame is dropped (`hidesAddress`).
 *    Ports and DSCP of such frames are rewritten like those of others.
 *
 * Invariant: a checksum that was right stays right, one that was wrong stays wrong by as much. One
 * that the sender left to its network interface is not known here as such: `net/partial.ts`
 * completes it first.
 */
import { read16, read8, write16 } from '#net/bytes.ts';
import { updateChecksum } from '#net/checksum.ts';
import { isIp6, writeIp4, writeIp6, type Ip } from '#net/ip.ts';
import { writeMac } from '#net/mac.ts';
import type { Rewrites } from './flow.ts';
import { KEY, KEY_SIZE } from './layout.ts';
import {
  ETH_HEADER_BYTES,
  EXTENSION_HEADERS_MAX,
  FRAG_LATER,
  parseHeaders,
  VLAN_TAG_BYTES,
} from './parse.ts';

const PROTO = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;
/** Extension headers that the parser passes (`parse.ts` rule 5). */
const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, destination: 60 } as const;
const isExtension = (proto: number): boolean =>
  proto === EXTENSION.hopByHop ||
  proto === EXTENSION.routing ||
  proto === EXTENSION.fragment ||
  proto === EXTENSION.destination;
/** In units of 8 bytes without the first: the shortest header that a home address fits in. */
const HOME_ADDRESS_UNITS = 2;

/** Where things are in a frame. Work memory: one rewrite at a time. */
const key = new Uint8Array(KEY_SIZE);

/** The IP header: where, and which; `version` 0 where none can be read. */
interface Layers {
  readonly version: 0 | 4 | 6;
  readonly ip: number;
  readonly l4: number;
}
const NOTHING: Layers = { version: 0, ip: 0, l4: 0 };

/** Leaves the frame's key in `key`. */
function layersOf(frame: Uint8Array): Layers {
  const l4 = parseHeaders(frame, key);
  if (l4 <= 0) return NOTHING;
  const tagged = read16(frame, 12) === 0x8100;
  const ip = tagged ? ETH_HEADER_BYTES + VLAN_TAG_BYTES : ETH_HEADER_BYTES;
  return { version: read16(frame, ip - 2) === 0x0800 ? 4 : 6, ip, l4 };
}

/** The upper layer that is there to be read; -1 behind the header of a later fragment. */
const upper = (): number => (key[KEY.ip_frag] === FRAG_LATER ? -1 : read8(key, KEY.ip_proto));

/** Where the transport checksum is; 0 where there is none, or the frame ends before. */
function checksumAt(frame: Uint8Array, { version, l4 }: Layers): number {
  const proto = upper();
  let at = l4;
  if (proto === PROTO.tcp) at += 16;
  else if (proto === PROTO.udp) at += 6;
  else if (proto === (version === 4 ? PROTO.icmp : PROTO.icmp6)) at += 2;
  else return 0;
  return at + 2 <= frame.length ? at : 0;
}

/**
 * The form of a checksum that is never 0xffff: what a fresh sum gives, which is not over zeros
 * only, and what the kernel's 32-bit arithmetic gives (csum_fold).
 */
const canonical = (checksum: number): number => (checksum === 0xffff ? 0 : checksum);

/** A frame whose words are written, the checksums at the places named (0: none) updated. */
class Patch {
  readonly #frame: Uint8Array;
  readonly #udp: boolean;
  constructor(frame: Uint8Array, udp: boolean) {
    this.#frame = frame;
    this.#udp = udp;
  }
  byte(at: number): number {
    return read8(this.#frame, at);
  }
  /** Bytes of the frame from there on. */
  left(at: number): number {
    return this.#frame.length - at;
  }
  word(at: number, value: number, sums: readonly number[]): void {
    const before = read16(this.#frame, at);
    write16(this.#frame, at, value);
    for (const sum of sums) if (sum !== 0) this.#update(sum, before, value);
  }
  #update(at: number, before: number, after: number): void {
    const old = read16(this.#frame, at);
    write16(this.#frame, at, canonical(updateChecksum(old, before, after)));
  }
  /** UDP says a sum of zero as 0xffff, and keeps the zero that says there is none. */
  transport(at: number, change: (at: number) => void): void {
    const none = this.#udp && at !== 0 && read16(this.#frame, at) === 0;
    change(none ? 0 : at);
    if (this.#udp && at !== 0 && !none && read16(this.#frame, at) === 0)
      write16(this.#frame, at, 0xffff);
  }
}

const addressBytes = new Uint8Array(16);
function address(ip: Ip): Uint8Array {
  if (isIp6(ip)) {
    writeIp6(addressBytes, 0, ip);
    return addressBytes;
  }
  writeIp4(addressBytes, 0, ip);
  return addressBytes.subarray(0, 4);
}

function setAddresses(
  patch: Patch,
  { version, ip }: Layers,
  { ipSrc, ipDst }: Rewrites,
  sum: number,
): void {
  const pseudo = version === 6 || upper() !== PROTO.icmp ? sum : 0;
  const sums = version === 4 ? [ip + 10, pseudo] : [pseudo];
  const [src, dst] = version === 4 ? [ip + 12, ip + 16] : [ip + 8, ip + 24];
  for (const [at, value] of [
    [src, ipSrc],
    [dst, ipDst],
  ] as const) {
    if (value === undefined || isIp6(value) !== (version === 6)) continue;
    const bytes = address(value);
    for (let i = 0; i < bytes.length; i += 2) patch.word(at + i, read16(bytes, i), sums);
  }
}

function setDscp(patch: Patch, frame: Uint8Array, { version, ip }: Layers, dscp: number): void {
  const first = read16(frame, ip);
  if (version === 4) patch.word(ip, (first & 0xff03) | (dscp << 2), [ip + 10]);
  else patch.word(ip, (first & 0xf03f) | (dscp << 6), []);
}

function setTransport(
  patch: Patch,
  { version, l4 }: Layers,
  { tpSrc, tpDst }: Rewrites,
  sum: number,
): void {
  const proto = upper();
  if (proto === PROTO.tcp || proto === PROTO.udp) {
    if (patch.left(l4) < 4) return;
    if (tpSrc !== undefined) patch.word(l4, tpSrc, [sum]);
    if (tpDst !== undefined) patch.word(l4 + 2, tpDst, [sum]);
    return;
  }
  if (tpDst === undefined || patch.left(l4) < 8) return;
  if (proto !== (version === 4 ? PROTO.icmp : PROTO.icmp6)) return;
  const type = patch.byte(l4);
  const echo = version === 4 ? type === 8 || type === 0 : type === 128 || type === 129;
  if (echo) patch.word(l4 + 4, tpDst, [sum]);
}

const rewritesPacket = (what: Rewrites): boolean =>
  what.ipSrc !== undefined ||
  what.ipDst !== undefined ||
  what.dscp !== undefined ||
  what.tpSrc !== undefined ||
  what.tpDst !== undefined;

/** Whether there is anything to do. */
export const rewritesAny = (what: Rewrites): boolean =>
  what.ethSrc !== undefined || what.ethDst !== undefined || rewritesPacket(what);

/** Equal for equal rewrites, and only for these. */
export const rewriteText = (what: Rewrites): string =>
  JSON.stringify([
    ...[what.ethSrc, what.ethDst, what.ipSrc, what.ipDst],
    ...[what.dscp, what.tpSrc, what.tpDst],
  ]);

/** Rewrites in place; see the head. The frame must have a key. */
export function rewrite(frame: Uint8Array, what: Rewrites): void {
  if (what.ethDst !== undefined) writeMac(frame, 0, what.ethDst);
  if (what.ethSrc !== undefined) writeMac(frame, 6, what.ethSrc);
  if (!rewritesPacket(what)) return;
  const layers = layersOf(frame);
  if (layers.version === 0) return;
  const patch = new Patch(frame, upper() === PROTO.udp);
  if (what.dscp !== undefined) setDscp(patch, frame, layers, what.dscp);
  patch.transport(checksumAt(frame, layers), (sum) => {
    setAddresses(patch, layers, what, sum);
    setTransport(patch, layers, what, sum);
  });
}

/**
 * Whether an address that these rewrites change is not the one that the transport checksum covers,
 * or whether nobody can tell. IPv6 only, and only where its addresses are rewritten:
 *
 * - A routing header with segments left: covered is the last destination (RFC 8200 §8.1), which is
 *   in the header.
 * - A destination options header with room for a home address, which is covered in place of the
 *   source (RFC 6275 §11.3.1). What is in it is not looked at.
 * - More extension headers than are passed, or one that is longer than the frame: what comes behind
 *   is not known.
 */
export function hidesAddress(frame: Uint8Array, { ipSrc, ipDst }: Rewrites): boolean {
  const one = ipSrc ?? ipDst;
  if (one === undefined || !isIp6(one)) return false;
  const { version, ip, l4 } = layersOf(frame);
  if (version !== 6) return false;
  let proto = read8(frame, ip + 6);
  let at = ip + 40;
  for (let passed = 0; passed < EXTENSION_HEADERS_MAX && at < l4; passed++) {
    if (proto === EXTENSION.routing && read8(frame, at + 3) !== 0) return true;
    if (proto === EXTENSION.destination && read8(frame, at + 1) >= HOME_ADDRESS_UNITS) return true;
    const bytes = proto === EXTENSION.fragment ? 8 : (read8(frame, at + 1) + 1) * 8;
    proto = read8(frame, at);
    at += bytes;
  }
  return isExtension(upper());
}
