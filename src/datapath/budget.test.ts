/** The default budget keeps to what is said of it; numbers that are none are refused. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KEY, KEY_SIZE, LIMITS, sizeOf, UPCALL, UPCALL_CLASS } from '#flow/layout.ts';
import { checkBudget, CLASSES, classOf, fullNs, Shares, tokenNs, UPCALL_BUDGET } from './budget.ts';

/** What the ring itself puts before a record (linux: BPF_RINGBUF_HDR_SZ). */
const RECORD_HEAD_BYTES = 8;
const record = (frame: number): number => RECORD_HEAD_BYTES + sizeOf(UPCALL) + KEY_SIZE + frame;

test('a token is worth no more of the ring for a large frame than for another', () => {
  const token = record(LIMITS.UPCALL_MIDDLE_BYTES);
  assert.ok(record(LIMITS.UPCALL_SMALL_BYTES) <= token);
  assert.ok(record(LIMITS.UPCALL_LARGE_BYTES) <= token * LIMITS.UPCALL_LARGE_COST);
});

test('a queue is shared: one has a third at most, and with many there is room for one more', () => {
  const alone = new Shares(300);
  const taken = (shares: Shares, payer: number): number => {
    let n = 0;
    while (shares.take(payer, 1)) n++;
    return n;
  };
  assert.equal(taken(alone, 1), 100);
  alone.give(1, 40);
  assert.equal(taken(alone, 1), 40, 'what was given back is there again');
  assert.ok(alone.take(1, 25, true), 'beside a storm that has its part, what is urgent has room');
  assert.ok(!alone.take(1, 25, true), 'but not for ever');
  const many = new Shares(3000);
  const noisy = Array.from({ length: 20 }, (_, i) => i + 1);
  while (noisy.filter((payer) => many.take(payer, 1)).length > 0);
  assert.ok(taken(many, 21) >= 80, 'something is left for a quiet one');
});

test('the class of a frame is that of its key and reason', () => {
  const key = (type: number, proto: number, tp: number, dst: number): Uint8Array => {
    const out = new Uint8Array(KEY_SIZE);
    out.set([type >> 8, type & 255], KEY.eth_type);
    [out[KEY.ip_proto], out[KEY.tp_src], out[KEY.eth_dst]] = [proto, tp, dst];
    return out;
  };
  const arp = key(0x0806, 1, 0, 0xff);
  assert.deepEqual(
    [
      classOf(arp, 'miss'),
      classOf(key(0x86dd, 58, 135, 0x33), 'miss'),
      classOf(key(0x86dd, 58, 132, 0x33), 'miss'),
      classOf(key(0x86dd, 17, 135, 2), 'miss'),
      classOf(key(0x0800, 58, 135, 2), 'miss'),
      classOf(arp, 'stale'),
      classOf(arp, 'ttl'),
      classOf(arp, 'too-big'),
      classOf(key(0x0800, 6, 80, 2), 'connection'),
    ],
    ['control', 'control', 'groups', 'frames', 'frames', 'stale', 'guards', 'guards', 'frames'],
  );
  assert.deepEqual(
    CLASSES.map((name, i) => [name.toUpperCase(), i]),
    Object.entries(UPCALL_CLASS),
  );
});

test('rates and bursts are nanoseconds to the kernel', () => {
  const bucket = { perSecond: 500, burst: 256 };
  assert.deepEqual([tokenNs(bucket), fullNs(bucket)], [2_000_000, 512_000_000]);
});

test('a budget that is not possible is refused by name', () => {
  checkBudget(UPCALL_BUDGET);
  for (const [name, change, message] of [
    ['frames', { perSecond: 0 }, /upcallBudget\.frames\.perSecond must be/],
    ['groups', { burst: 37 }, /upcallBudget\.groups\.burst must be .* 38 to/],
    ['control', { burst: 1.5e6 }, /upcallBudget\.control\.burst must be/],
    ['stale', { perSecond: 0.5 }, /upcallBudget\.stale\.perSecond must be/],
  ] as const) {
    const budget = { ...UPCALL_BUDGET, [name]: { ...UPCALL_BUDGET[name], ...change } };
    assert.throws(() => checkBudget(budget), message);
  }
});
