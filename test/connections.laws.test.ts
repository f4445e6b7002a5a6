/**
 * Laws of connections over several hosts, whose agents tell each other over a network that loses,
 * doubles, delays and re-orders, and hear of changes at different times; against an oracle that
 * knows nothing of records.
 *
 * 9 *answers*: an answer to a connection that was let out is delivered, wherever it enters, while
 * rules let answers in. 10 *nothing else*: nothing is delivered that the rules of the host where it
 * enters forbid at its revision, whatever agents have heard or missed. And law 3: flows change
 * nothing of what leaves, but for what is withheld where a word is lost; law 7: all installed flows
 * are what would be installed anew.
 *
 * A workload has nothing let in but answers, errors about what it sent, and one service, which
 * sends nothing but answers. Its peer is behind two ports, on two hosts, that a stateful group may
 * join; on the workload's bridge, or behind a router. `connections.play.ts` says what is promised,
 * and when.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LIMITS } from '#agent/limits.ts';
import * as frames from './connections.frames.ts';
import type { Protocol } from './connections.oracle.ts';
import { fateAt, nothing, Play, scripts, shapes, wires } from './connections.play.ts';
import type { Fate } from './world-records.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 400);

for (const isSound of [false, true]) {
  const how = isSound
    ? 'at once where no word is lost'
    : 'over a wire that loses, once it is quiet';
  const runs = isSound ? Math.ceil(numRuns / 4) : numRuns;
  test(`laws 9 and 10: answers come back, and nothing else does: ${how}`, () => {
    const tally = nothing();
    fc.assert(
      fc.property(shapes, wires, scripts, (shape, wire, script) => {
        let sent = 0;
        const fate = (): Fate => (isSound ? 'now' : fateAt(wire, sent++));
        const play = new Play({ shape, fate, isSound, tally });
        for (const op of script) play.perform(op);
      }),
      { seed, numRuns: runs },
    );
    assert.ok(tally.answered > runs / 2 && tally.served > runs / 4, JSON.stringify(tally));
    assert.ok(tally.errors > runs / 40 && tally.behind > runs / 5, JSON.stringify(tally));
    assert.ok(tally.kept > runs && (isSound || tally.asked > 0), JSON.stringify(tally));
  });
}

test('law 3: with and without flows the same packets leave', () => {
  const tally = nothing();
  const runs = Math.ceil(numRuns / 4);
  fc.assert(
    fc.property(shapes, scripts, (shape, script) => {
      const options = { shape, fate: (): Fate => 'now', isSound: true };
      const cached = new Play({ ...options, tally });
      const plain = new Play({ ...options, tally: nothing(), caching: false });
      for (const op of script) {
        cached.perform(op);
        plain.perform(op);
        assert.deepEqual(cached.trail.splice(0), plain.trail.splice(0), JSON.stringify(op));
      }
    }),
    { seed, numRuns: runs },
  );
  assert.ok(tally.answered > runs / 2 && tally.served > runs / 4, JSON.stringify(tally));
});

/**
 * A flow that drops what was no answer drops it, too, when it has become one whose word is lost:
 * nobody asks then. So flows may withhold until it is told again, and the two part ways there; they
 * never let anything through.
 */
test('law 3, where words are lost: flows let nothing through that would not leave without', () => {
  const [tally, seen] = [nothing(), { steps: 0, parted: 0 }];
  const runs = Math.ceil(numRuns / 4);
  fc.assert(
    fc.property(shapes, wires, scripts, (shape, wire, script) => {
      // By the step: both lose the same words, however many datagrams either has sent.
      const fate = (step: number): Fate => fateAt(wire, step);
      const options = { shape, fate, isSound: false };
      const cached = new Play({ ...options, tally });
      const plain = new Play({ ...options, tally: nothing(), caching: false });
      for (const op of script) {
        const wasQuiet = cached.isQuiet;
        cached.perform(op);
        plain.perform(op);
        const [left, all] = [cached.trail.splice(0), plain.trail.splice(0)];
        seen.steps += 1;
        if (left.length < all.length && !wasQuiet) {
          for (const each of left) assert.ok(all.includes(each), JSON.stringify(op));
          seen.parted += 1;
          return;
        }
        assert.deepEqual(left, all, JSON.stringify(op));
      }
    }),
    { seed, numRuns: runs },
  );
  assert.ok(tally.answered > runs / 4, JSON.stringify(tally));
  assert.ok(seen.steps > runs * 10 && seen.parted < runs / 4, JSON.stringify(seen));
});

const examplePlay = (fate: () => Fate): Play =>
  new Play({ shape: 'bridged', fate, isSound: false, tally: nothing() });
const outward = (protocol: Protocol, port: number, isBack: boolean): Uint8Array =>
  frames.outward('bridged', protocol, port, isBack).sent;

/** How many records host `n` was told, and how many questions it sent. */
const toldAndAsked = (play: Play, n: number): readonly [number, number] => {
  const { recordsTaken, questionsAsked } = play.cluster.nodes[n]!.edge.state().records;
  return [recordsTaken, questionsAsked];
};

test('the word of a connection comes before its packet', () => {
  const play = examplePlay(() => 'now');
  const sent = play.cluster.send(0, 100, outward('udp', 1_000, false));
  assert.equal(sent.length, 1);
  for (const where of [1, 2] as const) {
    assert.deepEqual(toldAndAsked(play, where), [1, 0]);
    play.cluster.send(where, 100 + where, outward('udp', 1_000, true));
    assert.deepEqual(toldAndAsked(play, where), [1, 0], 'there is nothing to ask');
  }
});

test('an answer that is faster than the word of its connection is asked about, and let in', () => {
  let fate: Fate = 'now';
  const play = examplePlay(() => fate);
  fate = 'lost';
  play.cluster.send(0, 100, outward('udp', 1_000, false));
  fate = 'now';
  for (const where of [1, 2] as const) {
    const answer = outward('udp', 1_000, true);
    const sent = play.cluster.send(where, 100 + where, answer);
    assert.equal(sent.filter(({ port }) => port === 100).length, 1, `at ${where}, with no delay`);
    assert.deepEqual(toldAndAsked(play, where), [1, 1]);
    // Known by now, so nobody is asked again.
    assert.equal(play.cluster.send(where, 100 + where, answer).length, 1);
    assert.deepEqual(toldAndAsked(play, where), [1, 1]);
  }
});

test('what was dropped before its connection was opened is let in when the lost word is told again', () => {
  let fate: Fate = 'now';
  const play = examplePlay(() => fate);
  const answer = outward('udp', 1_000, true);
  assert.deepEqual(play.cluster.send(1, 101, answer), [], 'nothing is known of it');
  fate = 'lost';
  play.cluster.send(0, 100, outward('udp', 1_000, false));
  fate = 'now';
  assert.deepEqual(play.cluster.send(1, 101, answer), [], 'the flow that drops it asks nobody');
  play.cluster.advance(LIMITS.tickMs);
  assert.equal(play.cluster.send(1, 101, answer).length, 1);
});

test('whoever is not concerned asks in vain, and what nobody knows is dropped', () => {
  const play = examplePlay(() => 'now');
  play.perform({ op: 'group' });
  play.cluster.send(0, 100, outward('udp', 1_000, false));
  assert.deepEqual(play.cluster.send(2, 102, outward('udp', 1_000, true)), []);
  assert.deepEqual(toldAndAsked(play, 2), [0, 1]);
  assert.deepEqual(play.cluster.send(1, 101, outward('tcp', 1_001, true)), []);
  assert.equal(play.cluster.nodes[1]!.edge.state().counters.drops['filter-drop'], 1);
});

test('a source that scans asks no more than its budget, and all it sends is dropped', () => {
  let fate: Fate = 'now';
  const play = examplePlay(() => fate);
  fate = 'lost';
  const scan = 400;
  for (let port = 0; port < scan; port++)
    assert.deepEqual(play.cluster.send(1, 101, outward('udp', 20_000 + port, true)), []);
  assert.deepEqual(toldAndAsked(play, 1)[0], 0);
  const { burst } = LIMITS.questionBudget;
  assert.equal(toldAndAsked(play, 1)[1], burst);
  assert.equal(play.cluster.nodes[1]!.edge.state().records.questionsRefused, scan - burst);
  for (let i = 0; i < 4; i++) assert.deepEqual(play.cluster.advance(500), []);
  assert.equal(play.cluster.nodes[1]!.edge.state().counters.drops['filter-drop'], scan);
});
