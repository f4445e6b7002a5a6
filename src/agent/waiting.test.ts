/** Frames that wait: their order, and every limit with what frees room again. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PortId } from '#virtual/ids.ts';
import { LIMITS } from './limits.ts';
import { Waiting, type Parked } from './waiting.ts';

const of = (bytes: number, out = 'p'): Parked => ({
  frame: new Uint8Array(bytes),
  out: out as PortId,
});

test('frames come back in their order, once, and only those of what is known', () => {
  const waiting = new Waiting();
  const [a, b, c, d] = [of(1), of(2), of(3), of(4)];
  for (const [key, frame] of [
    ['x', a],
    ['y', b],
    ['x', c],
    ['z', d],
  ] as const)
    assert(waiting.park(key, frame));
  assert.deepEqual(waiting.released(), []);
  waiting.release('x');
  waiting.release('z');
  waiting.release('nobody');
  assert.deepEqual(waiting.released(), [a, c, d]);
  assert.deepEqual(waiting.released(), []);
});

test('so many for one neighbour', () => {
  const waiting = new Waiting();
  for (let n = 0; n < LIMITS.parkedPerNeighbourMax; n++) assert(waiting.park('x', of(1)));
  assert(!waiting.park('x', of(1)));
  assert(waiting.park('y', of(1)));
  waiting.release('x');
  assert(waiting.park('x', of(1)));
});

test('so many for all', () => {
  const waiting = new Waiting();
  const fill = (): number => {
    let n = 0;
    while (waiting.park(`k${n}`, of(1, `p${n % 16}`))) n++;
    return n;
  };
  assert.equal(fill(), LIMITS.parkedMax);
  assert(!waiting.park('another', of(0, 'q')));
  waiting.release('k7');
  assert(waiting.park('another', of(1, 'q')));
  assert(!waiting.park('one more', of(1, 'q')));
});

test('so many bytes for all', () => {
  const waiting = new Waiting();
  const size = 65_536;
  for (let n = 0; n < LIMITS.parkedBytesMax / size; n++)
    assert(waiting.park(`k${n % 9}`, of(size, `p${n % 8}`)));
  assert(!waiting.park('another', of(1, 'q')));
  assert(waiting.park('another', of(0, 'q')), 'what takes no room has some');
  waiting.release('k0');
  assert(waiting.park('another', of(size, 'q')));
});

test('so many, and so many bytes, that came by one interface: the others have room', () => {
  for (const size of [1, 65_536]) {
    const waiting = new Waiting();
    let n = 0;
    while (waiting.park(`k${n}`, of(size))) n++;
    const { parkedPerSourceMax, parkedBytesPerSourceMax } = LIMITS;
    assert.equal(n, Math.min(parkedPerSourceMax, parkedBytesPerSourceMax / size));
    assert(waiting.park('k0', of(size, 'q')));
    waiting.release('k0');
    assert(waiting.park('another', of(size)));
    assert(!waiting.park('one more', of(size)));
  }
});
