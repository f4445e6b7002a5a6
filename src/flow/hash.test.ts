/**
 * No set of keys that can be written down without the secret falls together: neither differences
 * that cancel in a chain of multiplications, nor keys that count up.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { hashKey } from './hash.ts';
import { HASH_SECRET_WORDS, KEY_SIZE } from './layout.ts';

/** xorshift64: the same secrets in every run. */
function* numbers(seed: bigint): Generator<bigint, never> {
  for (let x = seed; ;) {
    x ^= (x << 13n) & 0xffff_ffff_ffff_ffffn;
    x ^= x >> 7n;
    x ^= (x << 17n) & 0xffff_ffff_ffff_ffffn;
    yield x;
  }
}
const random = numbers(88172645463325252n);
const secretOf = (): bigint[] =>
  Array.from({ length: HASH_SECRET_WORDS }, () => random.next().value);

function keyOf(...words: readonly (readonly [at: number, word: bigint])[]): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  for (const [at, word] of words) new DataView(key.buffer).setBigUint64(at * 8, word, true);
  return key;
}
/** The cache has 1,024 places: the upper bits of the hash. */
const placeOf = (key: Uint8Array, secret: readonly bigint[]): number => hashKey(key, secret) >>> 22;

test('differences in the upper bits of neighbouring words do not cancel, whatever the secret', () => {
  const [top, both] = [1n << 63n, (1n << 63n) | (1n << 31n)];
  for (let at = 1; at < 8; at++) {
    const differ = Array.from({ length: 64 }, secretOf).filter((secret) => {
      const plain = hashKey(keyOf([at, 5n], [at + 1, 7n]), secret);
      return hashKey(keyOf([at, 5n ^ top], [at + 1, 7n ^ both]), secret) !== plain;
    });
    assert.ok(differ.length >= 63, `words ${at} and ${at + 1}: ${differ.length} of 64`);
  }
});

test('keys of a pattern share places no more than random ones would', () => {
  const patterns: readonly ((i: number) => Uint8Array)[] = [
    (i) => keyOf([7, BigInt(i)]),
    (i) => keyOf([7, BigInt(i) << 32n]),
    (i) => keyOf([7, BigInt(i) << 48n]),
    (i) => keyOf([4, BigInt(i) << 10n], [5, BigInt(i) << 10n]),
    (i) => keyOf([2, BigInt(i & 63) << 58n], [3, BigInt(i >> 6) << 58n]),
    (i) => keyOf([6, BigInt(i) * 0x0001_0001_0001_0001n]),
  ];
  for (const [n, pattern] of patterns.entries()) {
    const most = Array.from({ length: 5 }, secretOf).map((secret) => {
      const places = new Array<number>(1024).fill(0);
      for (let i = 0; i < 4096; i++) places[placeOf(pattern(i), secret)]! += 1;
      return Math.max(...places);
    });
    // Four in each place on average; universal hashing promises pairs, so allow for clumps.
    assert.ok(Math.max(...most) <= 64, `pattern ${n}: ${most.join(' ')} of 4096 in one place`);
  }
});
