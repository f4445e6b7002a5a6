/** Frames as they are where their tag ends: at a router, which is in no VLAN, or behind a leg. */
import { TAG_SIZE } from '#net/packet/ethernet.ts';

/** The frame without its tag, if it has one. */
export function untagged(bytes: Uint8Array): Uint8Array {
  if (bytes[12] !== 0x81 || bytes[13] !== 0) return bytes;
  const out = new Uint8Array(bytes.length - TAG_SIZE);
  out.set(bytes.subarray(0, 12));
  out.set(bytes.subarray(12 + TAG_SIZE), 12);
  return out;
}
