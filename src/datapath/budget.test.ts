/** The default budget keeps to what is said of it; numbers that are none are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEY_SIZE, LIMITS, sizeOf, UPCALL } from '#flow/layout.ts';
import { checkBudget, fullNs, tokenNs, UPCALL_BUDGET } from './budget.ts';

const RING_BYTES = 8 * 1024 * 1024;
/** What the ring itself puts before a record (linux: BPF_RINGBUF_HDR_SZ). */
const RECORD_HEAD_BYTES = 8;
const record = (frame: number): number => RECORD_HEAD_BYTES + sizeOf(UPCALL) + KEY_SIZE + frame;

test('a token is worth no more of the ring for a large frame than for another', () => {
  const token = record(LIMITS.UPCALL_MIDDLE_BYTES);
  assert.ok(record(LIMITS.UPCALL_SMALL_BYTES) <= token);
  assert.ok(record(LIMITS.UPCALL_LARGE_BYTES) <= token * LIMITS.UPCALL_LARGE_COST);
});

test('no port, and no host behind the tunnel, fills the ring at once', () => {
  const { frames, groups } = UPCALL_BUDGET;
  const token = record(LIMITS.UPCALL_MIDDLE_BYTES);
  const burst = (frames.burst + groups.burst) * token;
  assert.ok(burst < RING_BYTES * 0.27, 'a port');
  assert.ok(burst * LIMITS.BUDGET_SOURCE_FACTOR < RING_BYTES * 0.53, 'a host');
  const halfSecond = ((frames.perSecond + groups.perSecond) / 2) * token;
  assert.ok(burst + halfSecond < RING_BYTES * 0.85, 'a port, while the agent does not read');
});

test('rates and bursts are nanoseconds to the kernel', () => {
  const bucket = { perSecond: 500, burst: 256 };
  assert.deepEqual([tokenNs(bucket), fullNs(bucket)], [2_000_000, 512_000_000]);
});

test('a budget that is not possible is refused by name', () => {
  const { frames, groups } = UPCALL_BUDGET;
  checkBudget(UPCALL_BUDGET);
  for (const [budget, message] of [
    [{ frames: { ...frames, perSecond: 0 }, groups }, /upcallBudget\.frames\.perSecond must be/],
    [{ frames, groups: { ...groups, burst: 37 } }, /upcallBudget\.groups\.burst must be .* 38 to/],
    [{ frames: { ...frames, burst: 1.5e6 }, groups }, /upcallBudget\.frames\.burst must be/],
    [{ frames, groups: { ...groups, perSecond: 0.5 } }, /upcallBudget\.groups\.perSecond must be/],
  ] as const)
    assert.throws(() => checkBudget(budget), message);
});
