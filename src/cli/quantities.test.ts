/** Quantities in words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesText, durationText, parseDuration, partText } from './quantities.ts';

test('sizes, durations and parts keep what matters', () => {
  for (const [bytes, text] of [
    [0, '0 B'],
    [999, '999 B'],
    [1_000, '1.0 kB'],
    [1_440_000, '1.4 MB'],
    [999_600, '1.0 MB'],
    [25e9, '25 GB'],
    [7e15, '7000 TB'],
  ] as const)
    assert.equal(bytesText(bytes), text);
  for (const [ms, text] of [
    [0.42, '0.4 ms'],
    [12.3, '12 ms'],
    [3_200, '3.2 s'],
    [61_000, '1 min'],
    [3_600_000, '1 h'],
    [11_400_000, '3 h 10 min'],
    [86_400_000 * 4 + 7_200_000, '4 d 2 h'],
  ] as const)
    assert.equal(durationText(ms), text);
  assert.deepEqual(
    [partText(1, 3), partText(999, 1_000), partText(5, 5)],
    ['33 %', '99 %', '100 %'],
  );
});

test('durations are read, and nothing else', () => {
  assert.equal(parseDuration('10m'), 600_000);
  assert.equal(parseDuration('1d'), 86_400_000);
  assert.equal(parseDuration('250ms'), 250);
  for (const text of ['', '10', 'm', '-1s', '1 h', '1.5h'])
    assert.equal(parseDuration(text), undefined);
});
