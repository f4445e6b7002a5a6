/** Probes as bytes, and their sizes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PROBE_SIZES_MAX } from '#client/health-asks.ts';
import { PROBE_SIZE_MIN, probeFrame, probeSizes, readProbe } from './probes.ts';

const RUN = '0123456789abcdef';

test('a probe is read as it was made, and nothing else is one', () => {
  const probe = { run: RUN, from: 4_711, size: 1_550 };
  const frame = probeFrame(probe, 1_514);
  assert.equal(frame.length, 1_514);
  assert.deepEqual(readProbe(frame), probe);
  assert.equal(readProbe(frame.subarray(0, 20)), undefined);
  frame[12] = 0x08;
  assert.equal(readProbe(frame), undefined);
});

test('sizes go from what fits everywhere to what is believed to fit', () => {
  assert.deepEqual(probeSizes(1_450), [PROBE_SIZE_MIN, 576, 1_280, 1_400, 1_450]);
  for (const mtu of [576, 1_500, 1_550, 9_000, 65_535]) {
    const sizes = probeSizes(mtu);
    assert.equal(Math.max(...sizes), mtu);
    assert.deepEqual(
      sizes,
      sizes.toSorted((a, b) => a - b),
    );
    assert.ok(sizes.length <= PROBE_SIZES_MAX);
  }
});
