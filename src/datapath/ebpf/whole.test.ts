/**
 * Law 4, whole; see `differential.ts`. RUNS says how many cases: `./midonet test --differential`
 * runs so many that every sort of frame, action and drop comes a thousand times.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DROPS } from '#virtual/drop.ts';
import { budgetDrops, Differential } from './differential.ts';
import { isRoot } from './testbed.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 4000);
/** So many cases bring every sort this often, at least. */
const MANY = { runs: 100_000, each: 1000 } as const;
const each = Math.ceil((MANY.each * RUNS) / MANY.runs);
const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };

test(`flows, groups and frames at random: ${RUNS} cases`, options, async (t) => {
  const long = RUNS >= MANY.runs;
  // Budgets are another datapath's: the contract looks at them, too.
  const budget = long ? await budgetDrops(each) : 0;
  using both = new Differential();
  const start = performance.now();
  await both.run(RUNS, SEED);
  const seconds = (performance.now() - start) / 1000;
  await both.rareDrops(each);
  if (long) both.histogram.drop(DROPS['upcall-budget'].code, budget);
  t.diagnostic(`${Math.round(RUNS / seconds)} cases a second; decisions logged: ${both.logged}`);
  for (const line of both.histogram.text().split('\n')) t.diagnostic(line);
  if (long) assert.deepEqual(both.histogram.rarer(MANY.each), [], 'every sort comes often enough');
  assert.ok(both.histogram.served * 2 >= RUNS, 'at least half of the frames are served');
});
