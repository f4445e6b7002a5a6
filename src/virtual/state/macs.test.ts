/** Learned MACs: budgets, ageing, moves, eviction, and the tags of each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Mac } from '#net/mac.ts';
import type { BridgeId, PortId } from '../ids.ts';
import { learningTag, macTag } from '../tags.ts';
import { learnedPlaces } from '../topology.arbitrary.ts';
import { MacTable, type LearnedPlace } from './macs.ts';

const B = 'bridge' as BridgeId;
const P = 'p' as PortId;
const Q = 'q' as PortId;
const place = (mac: number, port = P, vlan = 0): LearnedPlace => ({
  bridge: B,
  vlan,
  mac: mac as Mac,
  port,
});
const tag = (mac: number, vlan = 0) => macTag(B, vlan, mac as Mac);
const table = (changes: { perPortMax?: number; entriesMax?: number } = {}): MacTable =>
  new MacTable({ perPortMax: 2, ageMs: 100, ...changes });

test('learn, know, refresh, move, forget', () => {
  const macs = table({ perPortMax: 9 });
  assert.deepEqual(macs.learn(place(1), 0), [tag(1)]);
  assert.deepEqual(macs.learn(place(1), 50), [], 'known');
  assert.equal(macs.port(B, 0, 1 as Mac), P);
  assert.equal(macs.port(B, 5, 1 as Mac), undefined, 'another VLAN');
  assert.equal(macs.port('other' as BridgeId, 0, 1 as Mac), undefined);
  assert.equal(macs.get(B, 0, 1 as Mac)?.seenAtMs, 50);
  assert.deepEqual(macs.learn(place(1, Q), 60), [tag(1)]);
  assert.equal(macs.port(B, 0, 1 as Mac), Q);
  assert.deepEqual(macs.forget(place(1, P)), [], 'it is no longer there');
  assert.deepEqual(macs.forget({ bridge: B, vlan: 0, mac: 1 as Mac }), [tag(1)]);
  assert.deepEqual(macs.forget(place(1, Q)), []);
  assert.equal(macs.size, 0);
});

test('budget: a port at its limit learns no more until something goes; both turns are tagged', () => {
  const macs = table();
  assert.deepEqual(macs.learn(place(1), 0), [tag(1)]);
  assert.equal(macs.mayLearn(P), true);
  assert.deepEqual(macs.learn(place(2), 1), [tag(2), learningTag(P)]);
  assert.equal(macs.mayLearn(P), false);
  assert.equal(macs.mayLearn(Q), true);
  assert.deepEqual(macs.learn(place(3), 2), []);
  assert.deepEqual(macs.learn(place(1), 2), [], 'what is known is refreshed all the same');
  assert.equal(macs.counters.refused, 1);
  assert.equal(macs.port(B, 0, 3 as Mac), undefined);
  macs.learn(place(4, Q), 3);
  assert.deepEqual(macs.learn(place(4, P), 4), [], 'no move to a port without budget');
  assert.equal(macs.port(B, 0, 4 as Mac), Q);
  assert.deepEqual(
    macs.learn(place(1, Q), 5).sort(),
    [tag(1), learningTag(P), learningTag(Q)].sort(),
  );
  assert.equal(macs.mayLearn(P), true);
  assert.deepEqual(macs.forgetPort(Q).sort(), [learningTag(Q), tag(1), tag(4)].sort());
  assert.deepEqual(
    [...macs.entries()].map((e) => e.mac),
    [2],
  );
});

test('ageing: what this host has not seen goes, what others tell stays until they say so', () => {
  const macs = table();
  macs.learn(place(1), 0);
  macs.learn(place(2, Q), 10);
  macs.learn(place(3, Q), 0, 'elsewhere');
  macs.learn(place(1), 60);
  macs.learn(place(3, Q), 60, 'elsewhere');
  assert.deepEqual(macs.expire(99), []);
  assert.deepEqual(macs.expire(110), [learningTag(Q), tag(2)]);
  assert.deepEqual(macs.expire(159), []);
  assert.deepEqual(macs.expire(160), [tag(1)]);
  assert.deepEqual(macs.expire(10_000), []);
  assert.equal(macs.counters.aged, 2);
  assert.deepEqual(macs.learn(place(3, Q), 500), [], 'now seen here: it ages');
  assert.deepEqual(macs.expire(600), [tag(3)]);
});

test('a full table forgets what was heard of longest ago', () => {
  const macs = table({ perPortMax: 9, entriesMax: 2 });
  macs.learn(place(1), 5);
  macs.learn(place(2), 3, 'elsewhere');
  assert.deepEqual(macs.learn(place(3), 6), [tag(2), tag(3)]);
  macs.learn(place(1), 7);
  assert.deepEqual(macs.learn(place(4), 8), [tag(3), tag(4)]);
  assert.deepEqual([macs.size, macs.counters.evicted], [2, 2]);
});

test('any history: bounds hold, and entries are what a plain list says', () => {
  const step = fc.record({
    place: learnedPlaces,
    what: fc.constantFrom('learn', 'learn', 'learn', 'elsewhere', 'forget', 'forgetPort', 'expire'),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const macs = new MacTable({ perPortMax: 3, ageMs: 8, entriesMax: 9 });
      for (const [now, { place: at, what }] of steps.entries()) {
        if (what === 'forget') macs.forget(at);
        else if (what === 'forgetPort') macs.forgetPort(at.port);
        else if (what === 'expire') macs.expire(now);
        else macs.learn(at, now, what === 'elsewhere' ? 'elsewhere' : 'here');
        const entries = [...macs.entries()];
        assert(entries.length <= 9 && entries.length === macs.size);
        for (const entry of entries) {
          const atPort = entries.filter(({ port }) => port === entry.port).length;
          assert(atPort <= 3 && macs.mayLearn(entry.port) === atPort < 3);
          assert.equal(macs.port(entry.bridge, entry.vlan, entry.mac), entry.port);
          if (what === 'expire' && entry.origin === 'here') assert(now - entry.seenAtMs < 8);
        }
      }
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 2_000 },
  );
});
