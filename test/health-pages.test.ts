/**
 * The guide's tables of metrics and limits, and its figures, are those of the code. `UPDATE=1`
 * rewrites the tables.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { LIMITS_TOLD, NEAR_FULL } from '#client/limits.ts';
import { LINES_KEPT_MAX } from '#telemetry/log.ts';
import { HOSTS_LABELLED_MAX, metricsTable } from '#telemetry/metrics.ts';

const pathOf = (page: string): URL => new URL(`../docs/guide/${page}`, import.meta.url);

/** What stands between two comments of a page; rewritten first when that is asked for. */
function between(page: string, open: string, close: string, wanted: readonly string[]): string[] {
  const text = readFileSync(pathOf(page), 'utf8');
  const [before, rest] = text.split(`<!-- ${open} -->\n`);
  const [shown, after] = (rest ?? '').split(`<!-- /${close} -->`);
  assert.ok(after !== undefined, `${page} has no ${open}`);
  if (process.env['UPDATE'] !== '1') return (shown ?? '').trimEnd().split('\n');
  const lines = wanted.map((line) => `${line}\n`).join('');
  writeFileSync(pathOf(page), `${before}<!-- ${open} -->\n${lines}<!-- /${close} -->${after}`);
  return [...wanted];
}

for (const program of ['api', 'agent'] as const)
  test(`the page shows the metrics of the ${program}`, () => {
    const wanted = metricsTable(program);
    const shown = between(
      'metrics-and-logs.md',
      `metrics ${program}`,
      `metrics ${program}`,
      wanted,
    );
    assert.deepEqual(shown, wanted);
  });

test('the page shows the limits, and what to do', () => {
  const wanted = [
    '| limit | what | when full | do |',
    '|---|---|---|---|',
    ...Object.entries(LIMITS_TOLD).map(
      ([name, { about, full, remedy }]) => `| \`${name}\` | ${about} | ${full} | ${remedy} |`,
    ),
  ];
  assert.deepEqual(between('health.md', 'limits', 'limits', wanted), wanted);
});

test('the figures of the pages are those of the code', () => {
  const health = readFileSync(pathOf('health.md'), 'utf8');
  const logs = readFileSync(pathOf('metrics-and-logs.md'), 'utf8');
  assert.ok(health.includes(`fuller than ${NEAR_FULL * 100} %`));
  assert.ok(logs.includes(`The last ${LINES_KEPT_MAX.toLocaleString('en')} lines`));
  assert.ok(logs.includes(`the ${HOSTS_LABELLED_MAX} that are most behind`));
});
