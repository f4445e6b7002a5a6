/**
 * The guide's page on limits: its figures are those of the code, and its command prints on a lab
 * with a killed agent what the page shows, but for numbers.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { LIMITS as AGENT } from '#agent/limits.ts';
import { UPCALL_BUDGET } from '#datapath/budget.ts';
import { readStats } from '#datapath/ebpf/read.ts';
import { LIMITS } from '#flow/layout.ts';
import { cleanLab } from '#lab/clean.ts';
import { announce, killAgent, makeLab } from '#lab/lab.ts';
import { labDir } from '#lab/names.ts';
import { ping } from '#lab/ping.ts';
import { until } from '#lab/processes.ts';
import { addressOf, readRecipe } from '#lab/recipe.ts';
import { run } from '#os/run.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const page = readFileSync(new URL('../docs/guide/limits-and-counters.md', import.meta.url), 'utf8');
const DEADLINE_MS = 30_000;
const mn = new URL('../src/mn.ts', import.meta.url).pathname;

test('the page tells the limits that there are', () => {
  const n = (value: number): string => value.toLocaleString('en');
  for (const [what, bucket] of [
    ['first packets to one station', UPCALL_BUDGET.frames],
    ['first packets to groups', UPCALL_BUDGET.groups],
    ['ARP and neighbour discovery', UPCALL_BUDGET.control],
    ['packets that a TTL or an MTU stops', UPCALL_BUDGET.guards],
    ['packets of flows that an edit made stale', UPCALL_BUDGET.stale],
  ] as const)
    assert.ok(
      page.includes(`| ${what} | ${n(bucket.perSecond)} a second, ${n(bucket.burst)} at once`),
      what,
    );
  assert.ok(page.includes(`| masks (${LIMITS.MASKS_MAX}) | ${LIMITS.ENTRY_MASKS_MAX} |`));
  assert.deepEqual([AGENT.flowQuota, LIMITS.BUDGET_SOURCE_FACTOR], [0.5, 2]);
  assert.deepEqual([LIMITS.RING_QUARTERS, LIMITS.RING_QUARTERS_URGENT], [2, 3]);
  assert.equal(AGENT.turns.bytesMax, 4 * 2 ** 20);
  assert.equal(AGENT.evictIdleMs, 2_000);
});

/** A line with every number, and every list of what was counted, as such. */
const shape = (line: string): string =>
  line
    .replace(/(started|dropped|no port): .*/, '$1: …')
    .replace(/^(vm1|from 172\.30\.0\.2).*/, '$1 …')
    .replaceAll(/\d+/g, 'N')
    .replaceAll(/ +/g, ' ');

test('the command prints what the page shows, when the agent is gone too', { skip }, async () => {
  await sweepLabs();
  const name = testLabName('stats');
  const recipe = readRecipe('pair');
  try {
    const lab = await makeLab(announce(name, recipe), () => {});
    const [a, b] = Object.keys(recipe.workloads) as [string, string];
    const address = addressOf(recipe.workloads[b]!, 4) ?? '';
    assert.equal((await ping(lab, a, address, { count: 3 })).received, 3);
    // Until both hosts know both MACs: a flow that this makes stale needs the agent once more.
    const misses = (): number => readStats(`${labDir(name)}/hosts/h1`).counters.misses;
    await until('flows carry it all', DEADLINE_MS, async () => {
      const before = misses();
      return (await ping(lab, a, address, { count: 3 })).received === 3 && misses() === before;
    });
    await killAgent(lab, recipe.hosts[0]!);
    assert.equal((await ping(lab, a, address, { count: 2 })).received, 2, 'the kernel goes on');
    const [, command = '', shown = ''] = /^# (mn agent stats .*)\n([^`]*)/m.exec(page) ?? [];
    const words = command.replace('/labs/pair', `/labs/${name}`).split(' ').slice(1);
    assert.ok(words.includes(`${labDir(name)}/hosts/h1`), words.join(' '));
    const { stdout, stderr } = await run(process.execPath, [mn, ...words]);
    assert.equal(stderr, '');
    assert.deepEqual(
      stdout.trimEnd().split('\n').map(shape),
      shown.trimEnd().split('\n').map(shape),
    );
    assert.match(stdout, /^hits [1-9]/m);
    assert.match(stdout, /^vm1 \(\d+\) +[1-9]/m);
  } finally {
    await cleanLab(name);
  }
});
