/**
 * Every scenario, and every page of the guide with a lab, in the world: the operator's commands and
 * exactly what they print. `UPDATE=1` rewrites the files; a person reads the difference.
 */
import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import { LIMITS } from '#agent/limits.ts';
import { parseScenario, rewriteScenario, runScenario } from '#lab/scenario.ts';
import { guidePages, hasLab, playedPages, readPage, UNPLAYED } from './pages.ts';
import { WorldStage } from './world-stage.ts';

const ROOT = join(import.meta.dirname, '..');

for (const { path, text } of playedPages())
  test(`scenario ${path.replace('test/scenarios/', '')}`, async () => {
    const scenario = parseScenario(text);
    assert.ok(scenario.steps.length > 0, 'it has commands');
    await using stage = await WorldStage.open(scenario);
    if (process.env['UPDATE'] === '1')
      writeFileSync(join(ROOT, path), await rewriteScenario(stage, scenario));
    else await runScenario(stage, scenario);
  });

test('every page of the guide is played, or says which test holds it', () => {
  const names = guidePages().map(({ path }) => basename(path));
  const unplayed = guidePages().filter(({ text }) => !hasLab(text));
  assert.deepEqual(
    unplayed.map(({ path }) => basename(path)).filter((name) => UNPLAYED[name] === undefined),
    [],
    'write a lab block, or add the page to UNPLAYED of test/pages.ts',
  );
  for (const [name, { test: file }] of Object.entries(UNPLAYED)) {
    assert.ok(names.includes(name), `there is no page ${name}`);
    assert.ok(!hasLab(guidePages().find(({ path }) => path.endsWith(`/${name}`))?.text ?? ''));
    assert.ok(existsSync(join(ROOT, file)), `there is no ${file}`);
  }
});

test('ids are whatever they are, and a page that shows one is left alone', async () => {
  const page = (id: string): string =>
    `# T\n\`\`\`lab\nhosts h1\n\`\`\`\n\`\`\`console\n$ mn bridge list\n${id}\n\`\`\`\n`;
  const made = parseScenario(page('').replace('list', 'create --name b1 -o json'));
  await using stage = await WorldStage.open(made);
  await rewriteScenario(stage, made);
  const shown = await rewriteScenario(stage, parseScenario(page('nothing')));
  assert.match(shown, /b1 .* [0-9a-f]{8}-[0-9a-f-]{27}\n/);
  const other = shown.replace(/[0-9a-f]{8}-[0-9a-f-]{27}/, '00000000-0000-4000-8000-000000000000');
  await runScenario(stage, parseScenario(other));
  assert.equal(await rewriteScenario(stage, parseScenario(other)), other);
  await assert.rejects(runScenario(stage, parseScenario(other.replace('b1', 'b2'))), /expected/);
});

test('a ping takes no longer than its answer: what was found out by it is still known', async () => {
  const { text } = readPage('test/scenarios/two-subnets-and-a-router.md');
  const scenario = parseScenario(text);
  await using stage = await WorldStage.open(scenario);
  await runScenario(stage, scenario);
  const { nowMs } = stage.world;
  const outcome = await stage.ping('vm1', { address: '10.0.2.9', df: false });
  assert.deepEqual(outcome, { kind: 'error', from: '10.0.1.1', what: 'host-unreachable' });
  const { neighbourAsksMax, neighbourAskMs, tickMs } = LIMITS;
  // The pauses between questions are 0.75 to 1.25 of it, and end with a tick; the rest are turns.
  const longest = neighbourAsksMax * Math.ceil((neighbourAskMs * 1.25) / tickMs) * tickMs + 1;
  const took = stage.world.nowMs - nowMs;
  assert.ok(took > neighbourAsksMax * neighbourAskMs * 0.75 && took <= longest, `took ${took} ms`);
  const packet = '02:00:00:00:01:02 > 02:00:00:00:01:01 icmp 10.0.1.2 > 10.0.2.9 from vm1';
  const { out, err } = await stage.mn(['trace', packet, '--host', 'h1']);
  assert.match(out + err, /^router r0: drop neighbour-unreachable$/m);
});

test('a scenario with files, codes and lines that are not played', async () => {
  const page = `# T
\`\`\`lab
hosts h1
\`\`\`
\`\`\`yaml net.yaml
kind: bridge
name: b1
\`\`\`
\`\`\`console
# ip link show
1: lo

$ cat net.yaml
kind: bridge

name: b1
$ mn bridge create --name b1 > made.txt
$ cat made.txt
created bridge b1
$ mn bridge show b2
wrong
\`\`\`
\`\`\`file net.yaml
other
\`\`\`
\`\`\`console
$ cat net.yaml
other
\`\`\`
`;
  const scenario = parseScenario(page);
  assert.deepEqual(
    scenario.steps.map(({ command }) => command.split(' ')[0]),
    ['cat', 'mn', 'cat', 'mn', 'cat'],
  );
  await using stage = await WorldStage.open(scenario);
  await assert.rejects(runScenario(stage, scenario), /line 20: .* b2\n {2}expected\n {4}wrong/);
  await using again = await WorldStage.open(scenario);
  const rewritten = await rewriteScenario(again, scenario);
  assert.match(rewritten, /\$ mn bridge show b2\nerror: [^`]*\(exit 1\)\n```\n```file/);
  assert.equal(rewritten.replace(/error: [^`]*\(exit 1\)/, 'wrong'), page);
});
