/** Histograms by hand: each duration in its bucket, quantiles between their ends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Buckets, countOf, quantile } from './buckets.ts';

const ENDS = [0.001, 0.01, 0.1];

test('each duration is counted once, in the first bucket that holds it', () => {
  const buckets = new Buckets(ENDS);
  for (const seconds of [0.0005, 0.001, 0.0011, 0.05, 7]) buckets.observe(seconds);
  const counted = buckets.counted();
  assert.deepEqual(counted.counts, [2, 1, 1, 1]);
  assert.equal(countOf(counted), 5);
  assert.ok(Math.abs(counted.sumSeconds - 7.0526) < 1e-9);
});

test('a quantile is never below what it is a bound of, by more than its bucket', () => {
  const buckets = new Buckets(ENDS);
  assert.equal(quantile(ENDS, buckets.counted(), 0.5), 0);
  for (let i = 1; i <= 100; i++) buckets.observe(i / 10_000);
  const median = quantile(ENDS, buckets.counted(), 0.5);
  assert.ok(median > 0.001 && median <= 0.01, String(median));
  assert.ok(Math.abs(quantile(ENDS, buckets.counted(), 1) - 0.01) < 1e-9);
  for (let i = 0; i < 1_000; i++) buckets.observe(9);
  assert.equal(quantile(ENDS, buckets.counted(), 0.99), 0.1, 'no more is known');
});
