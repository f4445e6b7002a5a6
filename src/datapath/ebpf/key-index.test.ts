/** KeyIndex against the obvious: a Map from key text to slot. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KEY_SIZE } from '#flow/layout.ts';
import { KeyIndex } from './key-index.ts';

const SLOTS = 12;
const WORDS = KEY_SIZE / 4;
const options = { seed: Number(process.env['SEED'] ?? 1), numRuns: 500 };

test('owners of keys, under any order of set and delete', () => {
  const step = fc.record({
    slot: fc.integer({ min: 0, max: SLOTS - 1 }),
    key: fc.integer({ min: 0, max: 7 }),
    remove: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const index = new KeyIndex(SLOTS);
      const owner = new Map<number, number>();
      const keyOf: (number | undefined)[] = [];
      for (const { slot, key, remove } of steps) {
        const has = keyOf[slot];
        if (remove && has !== undefined) {
          const owned = owner.get(has) === slot;
          assert.equal(index.delete(slot), owned);
          if (owned) owner.delete(has);
          keyOf[slot] = undefined;
        } else if (!remove && has === undefined) {
          index.words.fill(key, slot * WORDS, (slot + 1) * WORDS);
          assert.equal(index.set(slot), owner.get(key) ?? -1);
          owner.set(key, slot);
          keyOf[slot] = key;
        }
      }
    }),
    options,
  );
});
