/** The budget of errors: what it allows, what it names, and what it keeps. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { PortId } from '../ids.ts';
import { errorsTag } from '../tags.ts';
import { ErrorBudget, ERRORS_BURST, ERRORS_PER_TICK } from './error-budget.ts';

const PORTS = ['p1', 'p2'] as unknown as readonly PortId[];
const [P1, P2] = PORTS as unknown as [PortId, PortId];

test('a burst, then nothing, then so many for each tick', () => {
  const budget = new ErrorBudget();
  for (let n = 1; n < ERRORS_BURST; n++) assert.deepEqual(budget.charge(P1), []);
  assert(budget.mayTell(P1));
  assert.deepEqual(budget.charge(P1), [errorsTag(P1)]);
  assert(!budget.mayTell(P1) && budget.mayTell(P2));
  assert.deepEqual(budget.charge(P1), [], 'spent is spent');
  assert.equal(budget.spent, ERRORS_BURST);
  assert.deepEqual(budget.tick(), [errorsTag(P1)]);
  let more = 0;
  while (budget.mayTell(P1)) {
    budget.charge(P1);
    more++;
  }
  assert.equal(more, ERRORS_PER_TICK);
  for (let full = 0; full < ERRORS_BURST; full += ERRORS_PER_TICK) budget.tick();
  assert.deepEqual(budget.tick(), [], 'nothing is kept of a full bucket');
});

test('an answer changes only where it is named', () => {
  const step = fc.oneof(
    { weight: 60, arbitrary: fc.constantFrom<PortId | 'tick'>(...PORTS) },
    { weight: 1, arbitrary: fc.constant<PortId | 'tick'>('tick') },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 300, size: 'max' }), (steps) => {
      const budget = new ErrorBudget();
      for (const at of steps) {
        const before = PORTS.map((port) => budget.mayTell(port));
        const tags = at === 'tick' ? budget.tick() : budget.charge(at);
        for (const [i, port] of PORTS.entries())
          assert.equal(tags.includes(errorsTag(port)), budget.mayTell(port) !== before[i]);
      }
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 300 },
  );
});
