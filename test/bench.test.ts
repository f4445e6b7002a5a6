/** What the bench computes and prints, and that the launcher installs what it needs. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { comparison, judged, verdictOf, type Line } from '../bench/line.ts';
import { inTurn } from '../bench/row.ts';
import { ROWS } from '../bench/rows.ts';
import { median, paired, quantile, spread } from '../bench/statistics.ts';
import { figure, tableOf } from '../bench/table.ts';
import { missingPackages, PACKAGES } from '../bench/tools.ts';

describe('statistics', () => {
  test('quantiles are linear between neighbours', () => {
    assert.equal(median([3, 1, 2]), 2);
    assert.equal(median([4, 1, 2, 3]), 2.5);
    assert.equal(quantile([10, 20, 30, 40, 50], 0), 10);
    assert.equal(quantile([10, 20, 30, 40, 50], 0.9), 46);
    assert.equal(quantile([10, 20, 30, 40, 50], 1), 50);
  });
  test('numbers are ordered as numbers, and the list stays as it is', () => {
    const values = [100, 9, 20];
    assert.equal(median(values), 20);
    assert.deepEqual(values, [100, 9, 20]);
  });
  test('nothing has no median, no spread', () => {
    assert.throws(() => median([]), RangeError);
    assert.throws(() => spread([]), RangeError);
    assert.throws(() => quantile([1], 1.01), RangeError);
  });
  test('runs are compared with those beside them', () => {
    const ratio = (a: number, b: number): number => a / b;
    assert.deepEqual(paired([2, 9], [1, 3], ratio), [2, 3]);
    assert.deepEqual(paired([2, 9, 5], [1, 3], ratio), [2, 3]);
    assert.deepEqual(spread([2, 5, 3]), { least: 2, most: 5 });
  });
});

const line = (ours: readonly number[], peer: readonly number[], more: Partial<Line>): Line => ({
  what: 'a stream',
  unit: 'Gbit/s',
  better: 'more',
  ours,
  peer: { name: 'a bridge', values: peer },
  ...more,
});

describe('verdicts', () => {
  const more = (ours: number, value: number) =>
    verdictOf(line([ours], [10], { reach: { of: 'ratio', value } }));
  const less = (ours: number, value: number) =>
    verdictOf(line([ours], [10], { better: 'less', reach: { of: 'ratio', value } }));
  test('where more is better', () => {
    assert.equal(more(11, 1.1), 'reached');
    assert.equal(more(10.9, 1.1), 'parity');
    assert.equal(more(8.6, 1), 'parity');
    assert.equal(more(8.4, 1), 'below');
  });
  test('where less is better', () => {
    assert.equal(less(8.5, 0.85), 'reached');
    assert.equal(less(9.7, 0.85), 'parity');
    assert.equal(less(9.8, 0.85), 'below');
  });
  test('of what comes on top, and of ours alone', () => {
    const added = line([150, 130], [40, 50], {
      better: 'less',
      reach: { of: 'added', value: 100 },
    });
    assert.deepEqual(comparison(added), [110, 80]);
    assert.equal(judged(added), 95);
    assert.equal(verdictOf(added), 'reached');
    const { peer: _, ...alone } = line([4], [], {
      better: 'less',
      reach: { of: 'ours', value: 3 },
    });
    assert.equal(verdictOf(alone), 'below');
    assert.equal(comparison(alone), undefined);
  });
  test('nothing is asked for, so nothing is said', () => {
    assert.equal(verdictOf(line([1], [1], {})), undefined);
  });
});

test('the table', () => {
  const { peer: _, ...alone } = line([1234.4], [], { what: 'alone', unit: 'ns' });
  const lines = [
    line([11, 12.5, 12], [10, 10, 10], { reach: { of: 'ratio', value: 1.1 } }),
    line([150], [40], { unit: 'µs', better: 'less', reach: { of: 'added', value: 100 } }),
    alone,
  ];
  assert.deepEqual(tableOf(lines), [
    'what     | ours                    | peer                 | ratio             | reach     | verdict',
    '---------|-------------------------|----------------------|-------------------|-----------|--------',
    'a stream | 12.0 Gbit/s (11.0–12.5) | 10.0 Gbit/s a bridge | 1.20× (1.10–1.25) | ≥ 1.1×    | reached',
    'a stream | 150 µs                  | 40.0 µs a bridge     | +110 µs           | ≤ +100 µs | parity',
    'alone    | 1,234 ns                | –                    | –                 | –         | –',
  ]);
});

test('figures have three digits that mean something', () => {
  assert.deepEqual([0.123, 1.005, 12.34, 123.4, 123456].map(figure), [
    '0.12',
    '1.00',
    '12.3',
    '123',
    '123,456',
  ]);
});

test('sides take turns, every other time in reverse', async () => {
  const order: string[] = [];
  const side = (name: string) => () => order.push(name);
  const { a } = await inTurn(3, { a: side('a'), b: side('b') });
  assert.deepEqual(order, ['a', 'b', 'b', 'a', 'a', 'b']);
  assert.deepEqual(a, [1, 4, 5]);
});

describe('what it needs', () => {
  const launcher = readFileSync(join(import.meta.dirname, '..', 'midonet'), 'utf8');
  test('rows have names of their own', () => {
    const names = ROWS.map(({ name }) => name);
    assert.deepEqual([...new Set(names)], names);
  });
  test('every tool of a row is known by its package, and the launcher installs it', () => {
    for (const tool of new Set(ROWS.flatMap(({ tools }) => tools))) {
      const name = PACKAGES[tool];
      assert.ok(name !== undefined, `bench/tools.ts does not know ${tool}`);
      assert.ok(launcher.includes(`\n  ${tool}:${name}\n`), `./midonet does not install ${tool}`);
    }
  });
  test('what is missing is named by its package', () => {
    assert.deepEqual(missingPackages(['sh', 'no-such-command']), ['no-such-command']);
  });
});
