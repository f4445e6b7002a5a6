/** Addresses and ports of a frame cut short are those of the whole frame, or absent. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { packets } from '#virtual/packet.arbitrary.ts';
import { KEY, KEY_SIZE } from './layout.ts';
import { parseKey } from './parse.ts';

test('a frame cut short has the addresses and ports of the whole one, or none', () => {
  const [whole, cut] = [new Uint8Array(KEY_SIZE), new Uint8Array(KEY_SIZE)];
  const spans = [
    [KEY.ip_src, 16],
    [KEY.ip_dst, 16],
    [KEY.tp_src, 2],
    [KEY.tp_dst, 2],
  ] as const;
  fc.assert(
    fc.property(packets, ({ bytes }) => {
      parseKey(bytes, whole);
      for (let length = bytes.length; length >= 14; length--) {
        if (!parseKey(bytes.subarray(0, length), cut)) continue;
        for (const [at, size] of spans) {
          const is = cut.subarray(at, at + size);
          if (is.some((byte) => byte !== 0)) assert.deepEqual(is, whole.subarray(at, at + size));
        }
      }
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 1000 },
  );
});
