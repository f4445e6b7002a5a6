/**
 * The hash by which the kernel caches which mask a frame's flow has (`hash_key` of
 * ebpf/lookup.h); here for whoever has to know where a hint is: tests.
 *
 * Whoever chooses keys must not be able to choose such that fall together: then their flows, and
 * those of whoever else is there, would be looked for under every mask for each frame. A hash that
 * is only seeded does not do: differences of two words can cancel whatever the seed is. So each
 * half word of the key has a secret of its own (NH, of RFC 4418 §5.2.2), and the sum is folded by
 * an odd secret: for two keys, chosen without knowledge of the secret, the probability to share
 * one of N places is at most 2 / N + 2^-32.
 */
import { HASH_SECRET_WORDS, KEY_SIZE } from './layout.ts';

const WORDS = KEY_SIZE / 8;
const LOW = 0xffff_ffffn;
const ALL = 0xffff_ffff_ffff_ffffn;

/**
 * The 32-bit hash of a frame's key (`mask_id` 0). `secret`: HASH_SECRET_WORDS random words of 64
 * bits.
 */
export function hashKey(key: Uint8Array, secret: readonly bigint[]): number {
  const view = new DataView(key.buffer, key.byteOffset, KEY_SIZE);
  let sum = 0n;
  for (let i = 0; i < WORDS; i++) {
    const word = view.getBigUint64(i * 8, true);
    const own = secret[i] ?? 0n;
    sum += (((word & LOW) + (own & LOW)) & LOW) * (((word >> 32n) + (own >> 32n)) & LOW);
  }
  const fold = (secret[HASH_SECRET_WORDS - 1] ?? 0n) | 1n;
  return Number((((sum & ALL) * fold) & ALL) >> 32n);
}
