/** What one host owes another: what was asked for goes first, and the rest in its order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Peer } from './peer.ts';

const ref = (slot: number) => ({ slot, generation: 1 });
const slots = (refs: readonly { readonly slot: number }[]): number[] => refs.map((r) => r.slot);

test('what a host has asked about is told before all that it is owed', () => {
  const peer = new Peer(0);
  for (let slot = 0; slot < 1_000; slot++) peer.owe(ref(slot));
  peer.oweFirst(ref(700));
  peer.oweFirst(ref(2_000));
  assert.deepEqual(slots(peer.take(4)), [700, 2_000, 0, 1], 'owed already, or not');
  assert.deepEqual(slots(peer.take(2)), [2, 3]);
  assert.equal(peer.owed, 1_001 - 6);
});

test('it goes though as much as may be is on its way', () => {
  const peer = new Peer(0);
  for (let slot = 0; slot < 1_000; slot++) peer.owe(ref(slot));
  while (peer.maySend(0)) peer.sending(peer.take(1), 0);
  assert.ok(peer.owed > 0);
  peer.oweFirst(ref(999));
  assert.ok(peer.maySend(0));
  assert.deepEqual(slots(peer.take(1)), [999]);
  assert.ok(!peer.maySend(0), 'and nothing else does');
});

test('who has asked is answered with the last of what it has asked about, not before', () => {
  const peer = new Peer(0);
  peer.answers(3);
  assert.equal(peer.answered, 3, 'nothing is known of that');
  for (let slot = 0; slot < 4; slot++) peer.oweFirst(ref(slot));
  peer.answers(4);
  const taken = peer.take(4);
  peer.return(taken.slice(2));
  assert.equal(peer.answered, 3, 'two found no room');
  assert.deepEqual(slots(peer.take(4)), [2, 3]);
  assert.equal(peer.answered, 4);
});
