/** Which members are checked when, and what is told of them until everybody knows it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Checked } from '#virtual/health-monitor/verdict.ts';
import { LIMITS } from '../limits.ts';
import { Checks } from './checks.ts';
import type { Check, Duties } from './duties.ts';

const MONITOR = { type: 'tcp', interval: 5, timeout: 2, rise: 2, fall: 2 } as const;
const check = (n: number, changes: Partial<Check> = {}): Check => ({
  member: `${String(n).padStart(8, '0')}-0000-4000-8000-000000000000`,
  address: `10.0.0.${n}`,
  port: 80,
  space: 'mnhc00000001',
  monitor: MONITOR,
  status: 'unknown',
  reason: '',
  ...changes,
});
const duties = (...checks: readonly Check[]): Duties => ({ spaces: [], checks });

/** Checks end when the test says how. */
function made() {
  let nowMs = 1_000;
  const open: { readonly check: Check; readonly end: (found: Checked) => Promise<void> }[] = [];
  const checks = new Checks({
    now: () => nowMs,
    probe: (of) => {
      const { promise, resolve } = Promise.withResolvers<Checked>();
      const end = async (found: Checked): Promise<void> => {
        resolve(found);
        await promise;
        await Promise.resolve();
      };
      open.push({ check: of, end });
      return promise;
    },
  });
  const pass = (ms: number): void => {
    nowMs += ms;
    checks.tick();
  };
  const answer = async (ok: boolean, reason: string): Promise<void> => {
    await open.shift()?.end({ ok, reason });
  };
  return { checks, open, pass, answer };
}

test('what nobody knows is checked at once, and told until everybody knows', async () => {
  const { checks, open, pass, answer } = made();
  checks.follow(duties(check(1)));
  pass(0);
  assert.equal(open.length, 1);
  pass(60_000);
  assert.equal(open.length, 1, 'one at a time');
  await answer(false, 'connection refused');
  const told = [{ member: check(1).member, status: 'down', reason: 'connection refused' }];
  assert.deepEqual(checks.reports(), told);
  assert.deepEqual(checks.reports(), told, 'and again');
  checks.follow(duties(check(1, { status: 'down', reason: 'connection refused' })));
  assert.deepEqual(checks.reports(), []);
});

test('a member that is taken over keeps its status until checks say otherwise', async () => {
  const { checks, pass, answer } = made();
  checks.follow(duties(check(1, { status: 'up' })));
  pass(MONITOR.interval * 1_000);
  await answer(false, 'no answer within 2 s');
  assert.deepEqual(checks.reports(), [], 'once is not enough');
  pass(MONITOR.interval * 1_000);
  await answer(false, 'no answer within 2 s');
  assert.equal(checks.reports()[0]?.status, 'down');
});

test('what is no duty any more, or another one, is not judged by its old checks', async () => {
  const { checks, pass, answer, open } = made();
  checks.follow(duties(check(1), check(2)));
  pass(0);
  assert.equal(open.length, 2);
  checks.follow(duties(check(1, { port: 81 })));
  await answer(false, 'of port 80');
  await answer(false, 'of a member that is gone');
  assert.deepEqual(checks.reports(), []);
  pass(0);
  await answer(true, 'of port 81');
  assert.equal(checks.reports()[0]?.reason, 'of port 81');
});

test('checks at a time, and members of one report, are bounded', async () => {
  const { checks, open, pass, answer } = made();
  const many = LIMITS.healthChecksMax + 10;
  checks.follow(duties(...Array.from({ length: many }, (_, n) => check(n + 1))));
  pass(0);
  assert.equal(open.length, LIMITS.healthChecksMax);
  while (open.length > 0) await answer(false, 'refused');
  pass(0);
  assert.equal(open.length, 10, 'the others come next');
  while (open.length > 0) await answer(false, 'refused');
  assert.equal(checks.reports().length, LIMITS.healthReportsMax);
});
