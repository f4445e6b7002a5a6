/**
 * Actions on bytes: the reference of what the kernel program does to a frame.
 *
 * Invariants: the frame given is never written to; a checksum that was right stays right; a frame
 * that lacks what a rewrite is about (no TTL, no tag to pop) is left as it is in that respect.
 */
import { updateChecksum } from '#net/checksum.ts';
import { writeMac } from '#net/mac.ts';
import type { Actions, Output } from './flow.ts';
import { ETH_HEADER_BYTES, VLAN_TAG_BYTES } from './parse.ts';

export interface Copy {
  readonly output: Output;
  readonly frame: Uint8Array;
}

const tagged = (frame: Uint8Array): boolean => frame[12] === 0x81 && frame[13] === 0x00;

/**
 * Decrements the TTL (IPv4) or hop limit (IPv6) in place; IPv4's header checksum follows (RFC
 * 1624). Nothing happens to a header that `parse.ts` would not read. A TTL of 0 wraps: a datapath
 * hands such frames up (`ttl`) before it comes to this.
 */
function decrementTtl(frame: Uint8Array): void {
  const ip = tagged(frame) ? ETH_HEADER_BYTES + VLAN_TAG_BYTES : ETH_HEADER_BYTES;
  const ethType = (frame[ip - 2]! << 8) | frame[ip - 1]!;
  const left = frame.length - ip;
  if (ethType === 0x86dd && left >= 40 && frame[ip]! >> 4 === 6) frame[ip + 7] = frame[ip + 7]! - 1;
  if (ethType !== 0x0800 || left < 20 || frame[ip]! >> 4 !== 4) return;
  const headerBytes = (frame[ip]! & 15) * 4;
  if (headerBytes < 20 || headerBytes > left) return;
  const before = (frame[ip + 8]! << 8) | frame[ip + 9]!;
  frame[ip + 8] = frame[ip + 8]! - 1;
  const after = (frame[ip + 8]! << 8) | frame[ip + 9]!;
  const checksum = (frame[ip + 10]! << 8) | frame[ip + 11]!;
  const updated = updateChecksum(checksum, before, after);
  frame[ip + 10] = updated >> 8;
  frame[ip + 11] = updated;
}

/**
 * A copy with one tag: set where there is one (priority and DEI stay), pushed where there is none.
 */
function withTag(frame: Uint8Array, vid: number): Uint8Array {
  const had = tagged(frame);
  const out = new Uint8Array(frame.length + (had ? 0 : VLAN_TAG_BYTES));
  out.set(frame.subarray(0, 12));
  out.set(frame.subarray(had ? 16 : 12), 16);
  out[12] = 0x81;
  out[13] = 0x00;
  out[14] = (had ? frame[14]! & 0xf0 : 0) | (vid >> 8);
  out[15] = vid;
  return out;
}

function withoutTag(frame: Uint8Array): Uint8Array {
  const out = new Uint8Array(frame.length - VLAN_TAG_BYTES);
  out.set(frame.subarray(0, 12));
  out.set(frame.subarray(16), 12);
  return out;
}

/**
 * The frame after the rewrites of `actions`: MAC, then TTL, then VLAN. The same array when there is
 * nothing to rewrite, else a new one. The frame must have a key (`parseKey` answered true).
 */
export function rewrite(frame: Uint8Array, actions: Actions): Uint8Array {
  const { ethSrc, ethDst, decTtl, vlan } = actions;
  const inPlace = ethSrc !== undefined || ethDst !== undefined || decTtl !== undefined;
  let out = inPlace ? frame.slice() : frame;
  if (ethDst !== undefined) writeMac(out, 0, ethDst);
  if (ethSrc !== undefined) writeMac(out, 6, ethSrc);
  if (decTtl !== undefined) decrementTtl(out);
  if (vlan !== undefined && vlan !== 0) out = withTag(out, vlan);
  else if (vlan === 0 && tagged(out)) out = withoutTag(out);
  return out;
}

/**
 * What leaves, in the order of the outputs; none when the actions drop. The copies share their
 * bytes.
 */
export function interpret(frame: Uint8Array, actions: Actions): Copy[] {
  if (actions.drop !== undefined) return [];
  const rewritten = rewrite(frame, actions);
  return actions.outputs.map((output) => ({ output, frame: rewritten }));
}
