/** Words on MACs and on neighbours wait in one queue, and neither is taken for the other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LEARN_BATCH_MAX, LearnedQueue } from './learned-queue.ts';
import { LIMITS } from './limits.ts';

const mac = (n: number, port = 'p') => ({ bridge: 'b', vlan: 0, mac: `m${n}`, port });
const neighbour = (ip: string, of = 'r', at = 'm') => ({ of, ip, mac: at, port: 'p' });

test('the last word on each, MACs and neighbours apart, those of each router port apart', () => {
  const queue = new LearnedQueue();
  const words = [mac(1), neighbour('10.0.0.1'), neighbour('10.0.0.1', 's'), neighbour('10.0.0.2')];
  queue.add({ put: words, forget: [] });
  assert.equal(queue.size, 4);
  const moved = neighbour('10.0.0.1', 'r', 'n');
  queue.add({ put: [moved], forget: [neighbour('10.0.0.2')] });
  assert.deepEqual(queue.take(), {
    put: [mac(1), moved, neighbour('10.0.0.1', 's')],
    forget: [neighbour('10.0.0.2')],
  });
  assert.equal(queue.size, 0);
});

test('what could not be said comes back, unless there is a newer word', () => {
  const queue = new LearnedQueue();
  const failed = { put: [neighbour('10.0.0.1'), mac(1)], forget: [] };
  queue.add({ put: [], forget: [neighbour('10.0.0.1')] });
  queue.restore(failed);
  assert.deepEqual(queue.take(), { put: [mac(1)], forget: [neighbour('10.0.0.1')] });
});

test('a batch, and the queue, have their limits; what finds no place is counted', () => {
  const queue = new LearnedQueue();
  const many = Array.from({ length: LIMITS.learnedQueueMax + 3 }, (_, n) => neighbour(`ip${n}`));
  queue.add({ put: many, forget: [] });
  assert.deepEqual([queue.size, queue.overflowed], [LIMITS.learnedQueueMax, 3]);
  queue.add({ put: [], forget: [neighbour('ip0')] });
  assert.equal(queue.overflowed, 3, 'a newer word takes the place of the old');
  assert.equal(queue.take().put.length, LEARN_BATCH_MAX - 1);
});
