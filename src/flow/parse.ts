/**
 * A frame's key: the bytes a datapath matches by, and the headers that they stand for.
 *
 * This is the reference of the parser in the kernel program, which must give the same key for every
 * frame, broken ones included. The rules, in the order they apply:
 *
 * 1. Fewer than 14 bytes, or fewer than 18 when bytes 12 and 13 are 0x8100: no key at all.
 * 2. One tag with TPID 0x8100 (802.1Q) is looked through; `vlan` = 0x1000 | VID, also for VID 0. A
 *    second tag, and a tag with any other TPID (802.1ad's 0x88a8), is an `eth_type` like any other.
 * 3. ARP over Ethernet and IPv4 (htype 1, ptype 0x0800, hlen 6, plen 4) of 28 bytes or more: sender
 *    and target address, and the low byte of the operation as `ip_proto`. Else only `eth_type`.
 * 4. IPv4: only `eth_type` is set when the version is not 4, the header is shorter than 20 bytes,
 *    or it is longer than the frame. `total length` is not looked at: what counts is what the frame
 *    has.
 * 5. IPv6: only `eth_type` is set when the version is not 6 or the frame has less than 40 bytes of
 *    it. At most EXTENSION_HEADERS_MAX of hop-by-hop options (0), routing (43), fragment (44) and
 *    destination options (60) are passed; `ip_proto` is the number of the first header that was
 *    not, be it for the bound, for its kind, or because it is longer than the frame.
 * 6. `ip_frag`: 1 for a fragment at offset 0 of which more follow, 3 for one at any other offset.
 *    An IPv6 fragment header that says "offset 0, no more" makes no fragment (RFC 6946). Behind a
 *    later fragment's header nothing is read: `ip_proto` is what that header (or the IPv4 one)
 *    says.
 * 7. TCP and UDP: both ports when 4 bytes are there. ICMP (IPv4) and ICMPv6 (IPv6): type, code, and
 *    the identifier of an echo request or reply, when 8 bytes are there. Else both stay zero.
 */
import { readIp4, readIp6 } from '#net/ip.ts';
import type { Ip } from '#net/ip.ts';
import { readMac } from '#net/mac.ts';
import type { Headers } from '#virtual/match.ts';
import type { DpPeer, DpPort, Entry, TunnelKey } from './flow.ts';
import { KEY, KEY_SIZE } from './layout.ts';

export const ETH_HEADER_BYTES = 14;
export const VLAN_TAG_BYTES = 4;
/** IPv6 extension headers passed on the way to the upper layer. */
export const EXTENSION_HEADERS_MAX = 6;

/** Where addresses of IPv4 start in their 16 bytes. */
const IP4_AT = 12;
const ARP_BYTES = 28;
const FRAG_FIRST = 1;
export const FRAG_LATER = 3;

/**
 * Writes the key of a frame, its tag in place, to `out` (KEY_SIZE bytes). The entry and `mask_id`
 * are zero; see `writeEntry`. False, and `out` all zero, when the frame is too short to have a key.
 */
export const parseKey = (frame: Uint8Array, out: Uint8Array): boolean =>
  parseHeaders(frame, out) >= 0;

/**
 * As `parseKey`, but answers where what IP carries starts, behind the IPv6 extension headers that
 * were passed: 0 where no IP header can be read, -1 where there is no key.
 */
export function parseHeaders(frame: Uint8Array, out: Uint8Array): number {
  out.fill(0, 0, KEY_SIZE);
  if (frame.length < ETH_HEADER_BYTES) return -1;
  let at = 12;
  if (frame[12] === 0x81 && frame[13] === 0x00) {
    if (frame.length < ETH_HEADER_BYTES + VLAN_TAG_BYTES) return -1;
    out[KEY.vlan] = 0x10 | (frame[14]! & 0x0f);
    out[KEY.vlan + 1] = frame[15]!;
    at = 16;
  }
  for (let i = 0; i < 6; i++) {
    out[KEY.eth_dst + i] = frame[i]!;
    out[KEY.eth_src + i] = frame[6 + i]!;
  }
  const high = frame[at]!;
  const low = frame[at + 1]!;
  out[KEY.eth_type] = high;
  out[KEY.eth_type + 1] = low;
  at += 2;
  if (high === 0x08 && low === 0x00) return parseIpv4(frame, at, out);
  if (high === 0x86 && low === 0xdd) return parseIpv6(frame, at, out);
  if (high === 0x08 && low === 0x06) parseArp(frame, at, out);
  return 0;
}

/** Copies 4 bytes by hand: `set(subarray())` would allocate a view for every packet. */
function copy4(out: Uint8Array, to: number, from: Uint8Array, at: number): void {
  out[to] = from[at]!;
  out[to + 1] = from[at + 1]!;
  out[to + 2] = from[at + 2]!;
  out[to + 3] = from[at + 3]!;
}

/** RFC 826. */
function parseArp(frame: Uint8Array, at: number, out: Uint8Array): void {
  if (frame.length - at < ARP_BYTES) return;
  if (frame[at] !== 0 || frame[at + 1] !== 1 || frame[at + 2] !== 8 || frame[at + 3] !== 0) return;
  if (frame[at + 4] !== 6 || frame[at + 5] !== 4) return;
  out[KEY.ip_proto] = frame[at + 7]!;
  copy4(out, KEY.ip_src + IP4_AT, frame, at + 14);
  copy4(out, KEY.ip_dst + IP4_AT, frame, at + 24);
}

/** RFC 791 §3.1. */
function parseIpv4(frame: Uint8Array, at: number, out: Uint8Array): number {
  if (frame.length - at < 20 || frame[at]! >> 4 !== 4) return 0;
  const headerBytes = (frame[at]! & 15) * 4;
  if (headerBytes < 20 || at + headerBytes > frame.length) return 0;
  const proto = frame[at + 9]!;
  out[KEY.ip_tos] = frame[at + 1]!;
  out[KEY.ip_ttl] = frame[at + 8]!;
  out[KEY.ip_proto] = proto;
  copy4(out, KEY.ip_src + IP4_AT, frame, at + 12);
  copy4(out, KEY.ip_dst + IP4_AT, frame, at + 16);
  const offset = ((frame[at + 6]! & 0x1f) << 8) | frame[at + 7]!;
  if (offset !== 0) out[KEY.ip_frag] = FRAG_LATER;
  else {
    if ((frame[at + 6]! & 0x20) !== 0) out[KEY.ip_frag] = FRAG_FIRST;
    if (proto === 1) parseIcmp(frame, at + headerBytes, out, false);
    else parsePorts(frame, at + headerBytes, out, proto);
  }
  return at + headerBytes;
}

/** RFC 8200 §3, §4. */
function parseIpv6(frame: Uint8Array, at: number, out: Uint8Array): number {
  const end = frame.length;
  if (end - at < 40 || frame[at]! >> 4 !== 6) return 0;
  out[KEY.ip_tos] = ((frame[at]! & 15) << 4) | (frame[at + 1]! >> 4);
  out[KEY.ip_ttl] = frame[at + 7]!;
  for (let i = 0; i < 32; i += 4) copy4(out, KEY.ip_src + i, frame, at + 8 + i);
  let proto = frame[at + 6]!;
  let next = at + 40;
  for (let passed = 0; passed < EXTENSION_HEADERS_MAX; passed++) {
    if (proto !== 0 && proto !== 43 && proto !== 44 && proto !== 60) break;
    if (end - next < 8) break;
    const bytes = proto === 44 ? 8 : (frame[next + 1]! + 1) * 8;
    if (end - next < bytes) break;
    if (proto === 44) {
      const low = frame[next + 3]!;
      const later = frame[next + 2] !== 0 || (low & 0xf8) !== 0;
      if (later || (low & 1) !== 0) out[KEY.ip_frag] = later ? FRAG_LATER : FRAG_FIRST;
    }
    proto = frame[next]!;
    next += bytes;
    if (out[KEY.ip_frag] === FRAG_LATER) break;
  }
  out[KEY.ip_proto] = proto;
  if (out[KEY.ip_frag] === FRAG_LATER) return next;
  if (proto === 58) parseIcmp(frame, next, out, true);
  else parsePorts(frame, next, out, proto);
  return next;
}

function parsePorts(frame: Uint8Array, at: number, out: Uint8Array, proto: number): void {
  if ((proto !== 6 && proto !== 17) || frame.length - at < 4) return;
  copy4(out, KEY.tp_src, frame, at);
}

/** RFC 792, RFC 4443 §4. */
function parseIcmp(frame: Uint8Array, at: number, out: Uint8Array, v6: boolean): void {
  if (frame.length - at < 8) return;
  const type = frame[at]!;
  const echo = v6 ? type === 128 || type === 129 : type === 8 || type === 0;
  out[KEY.tp_src] = type;
  out[KEY.tp_src + 1] = frame[at + 1]!;
  if (!echo) return;
  out[KEY.tp_dst] = frame[at + 4]!;
  out[KEY.tp_dst + 1] = frame[at + 5]!;
}

const u16net = (key: Uint8Array, at: number): number => (key[at]! << 8) | key[at + 1]!;

const addressOf = (key: Uint8Array, at: number, v6: boolean): Ip =>
  v6 ? readIp6(key, at) : readIp4(key, at + IP4_AT);

/**
 * The headers that a key stands for. The addresses of a frame with `eth_type` IPv6 are IPv6 even
 * where its header is too broken to be read (`::`): what a field says depends on its own bytes and
 * `eth_type` only, which is what makes a mask sound (see `mask.ts`).
 */
export function headersOf(key: Uint8Array): Headers {
  const ethType = u16net(key, KEY.eth_type);
  const v6 = ethType === 0x86dd;
  return {
    ethSrc: readMac(key, KEY.eth_src),
    ethDst: readMac(key, KEY.eth_dst),
    ethType,
    vlan: u16net(key, KEY.vlan),
    ipSrc: addressOf(key, KEY.ip_src, v6),
    ipDst: addressOf(key, KEY.ip_dst, v6),
    ipProto: key[KEY.ip_proto]!,
    ipTos: key[KEY.ip_tos]!,
    ipTtl: key[KEY.ip_ttl]!,
    ipFrag: key[KEY.ip_frag]!,
    tpSrc: u16net(key, KEY.tp_src),
    tpDst: u16net(key, KEY.tp_dst),
  };
}

const writeU32 = (bytes: Uint8Array, at: number, value: number): void => {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
};
const readU32 = (bytes: Uint8Array, at: number): number =>
  (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;

/**
 * Writes where the frame was seen into its key. A frame from a port has tunnel key and source zero.
 */
export function writeEntry(key: Uint8Array, entry: Entry): void {
  writeU32(key, KEY.in_port, entry.port);
  writeU32(key, KEY.tun_key, entry.tunnel?.key ?? 0);
  writeU32(key, KEY.tun_src, entry.tunnel?.source ?? 0);
}

/** Where the frame of a key was seen. Peers count from 1. */
export function entryOf(key: Uint8Array): Entry {
  const port = readU32(key, KEY.in_port) as DpPort;
  const source = readU32(key, KEY.tun_src) as DpPeer;
  if (source === 0) return { port };
  return { port, tunnel: { key: readU32(key, KEY.tun_key) as TunnelKey, source } };
}
