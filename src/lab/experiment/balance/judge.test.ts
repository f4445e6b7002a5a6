/** Which failures there may be, and which not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { intruded, judge } from './judge.ts';
import { outcomeOf, type ProbeOutcome } from './prober.ts';

const LOSS = { member: 'web1', atMs: 1_000, noticedMs: 3_000 };
const probe = (startMs: number, endMs: number, error?: string): ProbeOutcome => ({
  ...{ id: 'c-1', kind: 'fresh', startMs, endMs, error },
  member: error === undefined ? 'web1' : undefined,
});

test('what fails is in flight on the dead one, or sent to it before anybody knew, or wrong', () => {
  const of = (startMs: number, endMs: number, takenBy?: string) =>
    judge(probe(startMs, endMs, 'ECONNRESET'), [LOSS], takenBy);
  assert.equal(judge(probe(1, 2), [], 'web1'), 'answered');
  assert.equal(of(990, 1_001, 'web1'), 'in-flight');
  assert.equal(of(2_999, 3_001), 'unnoticed');
  assert.equal(of(990, 1_001, 'web2'), 'wrong', 'a living member had it');
  assert.equal(of(900, 999), 'wrong', 'before it died');
  assert.equal(of(3_001, 3_002), 'wrong', 'when everybody knew');
  assert.equal(of(990, 21_000), 'wrong', 'nobody told it');
});

test('who rests gets no new connection', () => {
  const rest = { member: 'web1', fromMs: 1_000, toMs: 2_000 };
  const isIntrusion = (outcome: ProbeOutcome): boolean => intruded(outcome, [rest]) === rest;
  assert.equal(isIntrusion(probe(1_500, 1_520)), true);
  assert.equal(isIntrusion(probe(900, 1_520)), false);
  assert.equal(isIntrusion({ ...probe(1_500, 1_520), kind: 'kept' }), false);
  assert.equal(isIntrusion({ ...probe(1_500, 1_520), member: 'web2' }), false);
});

test('a line is read whole, or not at all', () => {
  assert.deepEqual(outcomeOf('c-1 fresh 5 9 web1 -'), { ...probe(5, 9), error: undefined });
  assert.equal(outcomeOf('c-1 kept 5 9 - ECONNREFUSED')?.error, 'ECONNREFUSED');
  for (const line of ['', 'c-1 fresh 5 9', 'c-1 slow 5 9 web1 -', 'c-1 fresh 5 9 web1 - more'])
    assert.equal(outcomeOf(line), undefined, line);
});
