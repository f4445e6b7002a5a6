/**
 * Frames and flows of the contract suite, byte by byte: it must not lean on the code that it
 * checks.
 */
import assert from 'node:assert/strict';
import type { Actions, DpPort, Entry, Flow, TunnelKey } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { checksum } from '#net/checksum.ts';
import { parseIp6, type Ip4, type Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import type { FieldSet } from '#virtual/match.ts';

export const REMOTE = 0xac1f0002 as Ip4;
export const STRANGER = 0xac1f0063 as Ip4;
/** Another host that can be reached, by IPv6. */
export const REMOTE6 = parseIp6('fd31::2') as Ip6;
export const PORT_KEY = 0x1234 as TunnelKey;
export const FLOOD_KEY = (FLOOD_KEY_BIT | 0x77) as TunnelKey;
/** Marks the suite's frames: the first three bytes of both addresses. */
const OUI = 0x024d4e;

export const mac = (low: number): Mac => (OUI * 2 ** 24 + low) as Mac;
export const put = (bytes: Uint8Array, at: number, value: number, size: number): void => {
  for (let i = 0; i < size; i++) bytes[at + i] = Math.floor(value / 256 ** (size - 1 - i)) & 255;
};

interface Ethernet {
  readonly src: number;
  readonly dst: number;
  readonly vlan: number | undefined;
  readonly type: number;
}
/** Its header, a tag if there is one, and `size` bytes of zero. */
export function ethernet({ src, dst, vlan, type }: Ethernet, size: number): Uint8Array {
  const header = vlan === undefined ? 14 : 18;
  const frame = new Uint8Array(header + size);
  put(frame, 0, mac(dst), 6);
  put(frame, 6, mac(src), 6);
  if (vlan !== undefined) put(frame, 12, 0x81000000 + vlan, 4);
  put(frame, header - 2, type, 2);
  return frame;
}

interface Udp {
  readonly src?: number;
  readonly dst?: number;
  readonly vlan?: number;
  readonly ttl?: number;
  /** Tells the frames of a test apart. */
  readonly id?: number;
  readonly sport?: number;
  /** Bytes of the IP packet. */
  readonly size?: number;
}
/** An IPv4 UDP frame, of 60 bytes (64 with a tag) unless said else, without a UDP checksum. */
export function udp({
  src = 1,
  dst = 2,
  vlan,
  ttl = 64,
  id = 0,
  sport = 1000,
  size = 46,
}: Udp = {}): Uint8Array {
  const ip = vlan === undefined ? 14 : 18;
  const frame = ethernet({ src, dst, vlan, type: 0x0800 }, size);
  put(frame, ip, 0x45000000 + size, 4);
  put(frame, ip + 4, id, 2);
  frame.set([ttl, 17], ip + 8);
  put(frame, ip + 12, 0x0a000000 + src, 4);
  put(frame, ip + 16, 0x0a000000 + dst, 4);
  put(frame, ip + 10, checksum(frame, ip, ip + 20), 2);
  put(frame, ip + 20, sport, 2);
  put(frame, ip + 22, 2000, 2);
  put(frame, ip + 24, size - 20, 2);
  put(frame, ip + 28, id, 2);
  return frame;
}
/** An IPv6 frame with a UDP header, of which no checksum is right. */
export function udp6({ src = 1, dst = 2, vlan, ttl = 64, id = 0, size = 56 }: Udp = {}) {
  const ip = vlan === undefined ? 14 : 18;
  const frame = ethernet({ src, dst, vlan, type: 0x86dd }, size);
  put(frame, ip, 0x60000000, 4);
  put(frame, ip + 4, size - 40, 2);
  frame.set([17, ttl, 0xfd], ip + 6);
  put(frame, ip + 20, src, 4);
  frame[ip + 24] = 0xfd;
  put(frame, ip + 36, dst, 4);
  put(frame, ip + 44, size - 40, 2);
  put(frame, ip + 48, id, 4);
  return frame;
}
/** A frame with another tag in front of whatever it has. */
export function tag(frame: Uint8Array, tci: number, tpid = 0x8100): Uint8Array {
  const out = new Uint8Array(frame.length + 4);
  out.set(frame.subarray(0, 12));
  put(out, 12, tpid, 2);
  put(out, 14, tci, 2);
  out.set(frame.subarray(12), 16);
  return out;
}
/** A frame of an experimental EtherType (IEEE 802), which no flow of the suite matches. */
export function marker(id: number): Uint8Array {
  const frame = new Uint8Array(60);
  put(frame, 0, mac(0xffff00), 6);
  put(frame, 6, mac(0xffff01), 6);
  put(frame, 12, 0x88b5, 2);
  put(frame, 14, id, 4);
  return frame;
}
export const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
export const ours = (frame: Uint8Array): boolean =>
  [0, 6].some((at) => frame[at] === 2 && frame[at + 1] === 0x4d && frame[at + 2] === 0x4e);

export function keyOf(entry: Entry, frame: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(frame, key));
  writeEntry(key, entry);
  return key;
}
export function flowOf(entry: Entry, frame: Uint8Array, actions: Actions, fields: FieldSet): Flow {
  const key = keyOf(entry, frame);
  maskKey(key, fields, key);
  return { key, fields, actions };
}
export const to = (...ports: DpPort[]): Actions => ({ outputs: ports.map((port) => ({ port })) });
