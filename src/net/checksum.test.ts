/**
 * The checksum against long-hand arithmetic, the example of RFC 1071 and a header from the field.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesUpTo, ip4s, ip6s, runs, u16, u32, u8 } from './arbitraries.test.ts';
import {
  addWords,
  checksum,
  fold,
  pseudoSum,
  updateChecksum,
  updateChecksum32,
} from './checksum.ts';
import { isIp6, writeIp4, writeIp6, type Ip } from './ip.ts';

/** Word by word, the carry brought round after each: slow and obvious. */
function slow(bytes: readonly number[]): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
    if (sum >= 65_536) sum = sum - 65_536 + 1;
  }
  return 65_535 - sum;
}

test('equals the slow sum', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), fc.nat(7), (bytes, skip) => {
      const at = Math.min(skip, bytes.length);
      assert.equal(checksum(bytes, at, bytes.length), slow([...bytes.subarray(at)]));
    }),
    runs(5000),
  );
  const ones = new Uint8Array(200_000).fill(0xff);
  assert.equal(checksum(ones, 0, ones.length), slow([...ones]));
  assert.equal(fold(addWords(0xffff_ffff_ffff, ones, 0, ones.length)), 0xffff);
});

test('known sums', () => {
  const rfc1071 = Uint8Array.of(0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7);
  assert.equal(fold(addWords(0, rfc1071, 0, 8)), 0xddf2);
  const header = Uint8Array.from(Buffer.from('450000730000400040110000c0a80001c0a800c7', 'hex'));
  assert.equal(checksum(header, 0, 20), 0xb861);
  header.set([0xb8, 0x61], 10);
  assert.equal(checksum(header, 0, 20), 0);
});

test('parts of even length add up', () => {
  fc.assert(
    fc.property(bytesUpTo(40), bytesUpTo(40), (a, b) => {
      const head = a.subarray(0, a.length & ~1);
      const whole = Uint8Array.from([...head, ...b]);
      const parts = addWords(addWords(0, head, 0, head.length), b, 0, b.length);
      assert.equal(fold(parts), fold(addWords(0, whole, 0, whole.length)));
    }),
    runs(1000),
  );
});

/** The pseudo-header as the RFCs draw it. */
function drawn(src: Ip, dst: Ip, protocol: number, length: number): number[] {
  const size = isIp6(src) ? 16 : 4;
  const bytes = new Uint8Array(size * 2);
  for (const [i, ip] of [src, dst].entries()) {
    if (isIp6(ip)) writeIp6(bytes, i * 16, ip);
    else writeIp4(bytes, i * 4, ip);
  }
  const long = [length >>> 24, (length >>> 16) & 255, (length >>> 8) & 255, length & 255];
  return isIp6(src)
    ? [...bytes, ...long, 0, 0, 0, protocol]
    : [...bytes, 0, protocol, ...long.slice(2)];
}

test('pseudo-headers equal those drawn in full', () => {
  const pairs = fc.oneof(fc.tuple(ip4s, ip4s), fc.tuple(ip6s, ip6s));
  fc.assert(
    fc.property(pairs, u8, bytesUpTo(30), ([src, dst], protocol, bytes) => {
      const sum = pseudoSum({ src, dst, protocol, length: bytes.length });
      const long = [...drawn(src, dst, protocol, bytes.length), ...bytes];
      assert.equal(checksum(bytes, 0, bytes.length, sum), slow(long));
    }),
    runs(2000),
  );
  fc.assert(
    fc.property(ip6s, ip6s, u32, (src, dst, length) => {
      const wanted = 65_535 - slow(drawn(src, dst, 58, length));
      assert.equal(fold(pseudoSum({ src, dst, protocol: 58, length })), wanted);
    }),
    runs(1000),
  );
});

test('an update equals a computation anew', () => {
  const words = fc.array(u16, { minLength: 2, maxLength: 20 });
  fc.assert(
    fc.property(words, fc.nat(19), u16, (values, n, after) => {
      const bytesOf = (list: number[]) =>
        Uint8Array.from(list.flatMap((word) => [word >>> 8, word & 255]));
      const at = n % values.length;
      // A range of zeros alone has no header in it; its checksum has two forms.
      const before = [...values.slice(0, at), 1, ...values.slice(at)];
      const old = bytesOf(before);
      const changed = bytesOf(before.with(at + 1, after));
      const updated = updateChecksum(checksum(old, 0, old.length), before[at + 1] ?? 0, after);
      assert.equal(updated, checksum(changed, 0, changed.length));
    }),
    runs(5000),
  );
  fc.assert(
    fc.property(u32, u32, u16, (before, after, other) => {
      const make = (value: number) =>
        Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value, other >>> 8, other, 0, 1);
      const updated = updateChecksum32(checksum(make(before), 0, 8), before, after);
      assert.equal(updated, checksum(make(after), 0, 8));
    }),
    runs(5000),
  );
});
