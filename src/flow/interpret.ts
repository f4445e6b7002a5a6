/**
 * Actions on bytes: the reference of what the kernel program does to a frame.
 *
 * Invariants: the frame given is never written to; a checksum that was right stays right; a frame
 * that lacks what a rewrite is about (no TTL, no tag to pop) is left as it is in that respect; what
 * becomes of the other fields is in `rewrite.ts`.
 */
import { updateChecksum } from '#net/checksum.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { Actions, Output } from './flow.ts';
import { KEY_SIZE } from './layout.ts';
import { ETH_HEADER_BYTES, parseKey, VLAN_TAG_BYTES } from './parse.ts';
import { hidesAddress, rewrite, rewritesAny } from './rewrite.ts';

export interface Copy {
  readonly output: Output;
  readonly frame: Uint8Array;
  /** It does not leave, for what its output rewrites; the other copies do. */
  readonly lost?: DropReason;
}

const tagged = (frame: Uint8Array): boolean => frame[12] === 0x81 && frame[13] === 0x00;

/**
 * Subtracts from the TTL (IPv4) or hop limit (IPv6) in place; IPv4's header checksum follows (RFC
 * 1624). Nothing happens to a header that `parse.ts` would not read. A TTL that does not suffice
 * wraps: a datapath hands such frames up (`ttl`) before it comes to this.
 */
function subtractTtl(frame: Uint8Array, by: number): void {
  const ip = tagged(frame) ? ETH_HEADER_BYTES + VLAN_TAG_BYTES : ETH_HEADER_BYTES;
  const ethType = (frame[ip - 2]! << 8) | frame[ip - 1]!;
  const left = frame.length - ip;
  if (ethType === 0x86dd && left >= 40 && frame[ip]! >> 4 === 6) frame[ip + 7]! -= by;
  if (ethType !== 0x0800 || left < 20 || frame[ip]! >> 4 !== 4) return;
  const headerBytes = (frame[ip]! & 15) * 4;
  if (headerBytes < 20 || headerBytes > left) return;
  const before = (frame[ip + 8]! << 8) | frame[ip + 9]!;
  frame[ip + 8]! -= by;
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

/** The frame after what is rewritten once for all outputs. */
function rewriteHeaders(frame: Uint8Array, actions: Actions): Uint8Array {
  const { decTtl } = actions;
  if (decTtl === undefined && !rewritesAny(actions)) return frame;
  const out = frame.slice();
  if (decTtl !== undefined) subtractTtl(out, decTtl);
  if (rewritesAny(actions)) rewrite(out, actions);
  return out;
}

/** The frame with its tag as wanted; the same array when there is nothing to do. */
function retag(frame: Uint8Array, vlan: number | undefined): Uint8Array {
  if (vlan === undefined) return frame;
  if (vlan !== 0) return withTag(frame, vlan);
  return tagged(frame) ? withoutTag(frame) : frame;
}

const scratchKey = new Uint8Array(KEY_SIZE);

/** A copy after what only its output rewrites. */
function own(output: Output, frame: Uint8Array): Copy {
  if (output.rewrite === undefined) return { output, frame };
  if (!parseKey(frame, scratchKey)) return { output, frame, lost: 'malformed' };
  if (hidesAddress(frame, output.rewrite)) return { output, frame, lost: 'address-hidden' };
  const out = frame.slice();
  rewrite(out, output.rewrite);
  return { output, frame: out };
}

/** Why nothing of a frame leaves that its flow serves: the flow drops, or cannot rewrite it. */
export const dropped = (frame: Uint8Array, actions: Actions): DropReason | undefined =>
  actions.drop ?? (hidesAddress(frame, actions) ? 'address-hidden' : undefined);

/**
 * What leaves, in the order of the outputs; none when the frame is dropped. Copies with the same
 * tag share their bytes, with the frame given where nothing is rewritten. The frame must have a key
 * (`parseKey` answered true).
 */
export function interpret(frame: Uint8Array, actions: Actions): Copy[] {
  if (dropped(frame, actions) !== undefined) return [];
  const rewritten = rewriteHeaders(frame, actions);
  const byVlan = new Map<number | undefined, Uint8Array>();
  return actions.outputs.map((output) => {
    const vlan = output.vlan ?? actions.vlan;
    let copy = byVlan.get(vlan);
    if (copy === undefined) byVlan.set(vlan, (copy = retag(rewritten, vlan)));
    return own(output, copy);
  });
}
