/**
 * The page of first steps, typed as a newcomer types it: every command in its order, on the host
 * whose shell is open. What `mn` prints there is what the page shows; of other tools only that they
 * succeed. `UPDATE=1` rewrites what `mn` prints.
 *
 * The lab and the page's namespaces have names of this run's own.
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { cleanLab } from '#lab/clean.ts';
import { announce, makeLab, namespaceOf, shellEnvironment, type Lab } from '#lab/lab.ts';
import { lockLab } from '#lab/lock.ts';
import { readRecipe } from '#lab/recipe.ts';
import { run } from '#os/run.ts';
import { sweepLabs, testLabName } from './labs.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root: it makes network namespaces';
const NAME = testLabName('first');
const PAGE = join(import.meta.dirname, '../docs/guide/first-steps.md');
const DEADLINE_MS = 60_000;
const NAMESPACES = ['web', 'db'];
const own = (name: string): string => `mnt-${process.pid}-${name}`;

interface Step {
  readonly command: string;
  readonly shown: readonly string[];
  /** Of the command, from 0. */
  readonly line: number;
}
function stepsOf(lines: readonly string[]): Step[] {
  const steps: (Step & { readonly shown: string[] })[] = [];
  let inside = false;
  for (const [line, text] of lines.entries()) {
    if (text.startsWith('```')) inside = text === '```console';
    else if (inside && text.startsWith('# '))
      steps.push({ command: text.slice(2), shown: [], line });
    else if (inside) steps.at(-1)?.shown.push(text);
  }
  return steps;
}

/** What is counted while the page is typed is not on it: other frames drop too. */
const isShown = (line: string): boolean => line !== '' && !line.startsWith('besides');

/** What differs from run to run: revisions, MACs that are made, flows, counts and times. */
const settled = (lines: readonly string[]): string[] =>
  lines
    .map((line) => line.trimEnd().replace(/ at revision \d+/, ''))
    .map((line) => line.replace(/^flow h1:[\d.]+/, 'flow'))
    .map((line) => line.replace(/^carried .*/, 'carried'))
    .filter(isShown)
    .map((line) => line.replaceAll(/\b(?!02:00)[0-9a-f]{2}(:[0-9a-f]{2}){5}\b/g, 'MAC'));

let lab: Lab;
let lock: Disposable;
before(async () => {
  if (skip !== false) return;
  await sweepLabs();
  lock = lockLab(NAME);
  lab = await makeLab(announce(NAME, readRecipe('bare')), () => {});
});
after(async () => {
  if (skip !== false) return;
  for (const name of NAMESPACES) await run('ip', ['netns', 'delete', own(name)]);
  await cleanLab(NAME);
  lock[Symbol.dispose]();
});

/** Names of the page's namespaces in a command become those of this run. */
const renamed = (command: string): string =>
  NAMESPACES.reduce(
    (text, name) =>
      text.replaceAll(
        new RegExp(`(netns(?: add| exec| delete)?|-n|--netns) ${name}\\b`, 'g'),
        `$1 ${own(name)}`,
      ),
    command,
  );

test('the page of first steps does what it says', { skip }, async () => {
  const lines = readFileSync(PAGE, 'utf8').split('\n');
  const steps = stepsOf(lines);
  assert.ok(steps.length > 20);
  /** The host whose shell is open. */
  let host: string | undefined;
  const out: string[] = [];
  let next = 0;
  for (const { command, shown, line } of steps) {
    out.push(...lines.slice(next, line + 1));
    next = line + 1 + shown.length;
    const shell = /^\.\/midonet lab sh (h\d)$/.exec(command);
    if (shell !== null || command === 'exit') host = shell?.[1];
    // Of the lab this test makes its own, and the demo has a test of its own.
    if (shell !== null || command === 'exit' || command.startsWith('./midonet ')) {
      out.push(...shown);
      continue;
    }
    const place =
      host === undefined ? [] : ['nsenter', `--net=/run/netns/${namespaceOf(lab, host)}`];
    const [program, ...args] = [...place, 'bash', '-o', 'pipefail', '-c', renamed(command)];
    const ran = await run(program, args, { env: shellEnvironment(lab), deadlineMs: DEADLINE_MS });
    const said = `${ran.stdout}${ran.stderr}`;
    assert.equal(ran.code, 0, `line ${line + 1}: # ${command}\n${said}`);
    const printed = said
      .trimEnd()
      .replaceAll(`mnt-${process.pid}-`, '')
      .split('\n')
      .filter(isShown);
    const compared = command.startsWith('mn ') && shown.length > 0;
    out.push(...(compared ? printed : shown));
    if (compared && process.env['UPDATE'] !== '1')
      assert.deepEqual(settled(printed), settled(shown), `line ${line + 1}: # ${command}`);
  }
  if (process.env['UPDATE'] === '1') writeFileSync(PAGE, [...out, ...lines.slice(next)].join('\n'));
});
