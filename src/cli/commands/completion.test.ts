/**
 * The completion scripts in the shells that they are for, as far as these are installed: what is
 * typed goes to `mn complete` word by word, and what it answers comes back quoted.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { fakeApi, mn } from '../testing.ts';

const DEADLINE_MS = 30_000;

/** A folder with the script of a shell and a program `mn` that notes its words and answers. */
async function place(shell: string, answers: readonly string[]) {
  const folder = mkdtempSync(join(tmpdir(), 'midonet-completion-'));
  const script = join(folder, `mn.${shell}`);
  writeFileSync(script, (await mn(fakeApi().client, `completion ${shell}`)).out);
  const words = join(folder, 'words');
  const program = join(folder, 'mn');
  const lines = answers.map((answer) => `'${answer}'`).join(' ');
  const answer = `[ "$1" = complete ] && printf '%s\\n' ${lines} || echo has run`;
  writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$@" > ${words}\n${answer}\n`);
  chmodSync(program, 0o755);
  return {
    folder,
    script,
    env: { PATH: `${folder}:${process.env['PATH'] ?? ''}`, HOME: folder, TERM: 'dumb' },
    /** The words that `mn` was given. */
    asked: (): string[] => readFileSync(words, 'utf8').split('\n').slice(0, -1),
    [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }),
  };
}
const lacks = (shell: string): string | false =>
  spawnSync(shell, ['--version']).status === 0 ? false : `${shell} is not installed`;

test('fish', { skip: lacks('fish') }, async () => {
  using at = await place('fish', ['my port', 'vm1']);
  const ask = `source ${at.script}; complete -C "mn port show 'a b' "`;
  const options = { env: at.env, encoding: 'utf8', timeout: DEADLINE_MS } as const;
  const out = execFileSync('fish', ['--no-config', '-c', ask], options);
  assert.deepEqual(out.trimEnd().split('\n'), ['my port', 'vm1']);
  assert.deepEqual(at.asked(), ['complete', '--', 'port', 'show', 'a b', '']);
});

/** Types a line into a zsh of its own, and waits until `mn` has run. */
const zsh = (script: string, line: string): string => `
zmodload zsh/zpty
zpty z 'zsh -f -i'
zpty -w z 'PS1=; autoload -Uz compinit; compinit -u -D; source ${script}; print rea''dy'
zpty -r -m z out '*ready*'
zpty -w -n z $'${line}\\r'
zpty -r -m z out '*has run*'
zpty -d z
`;

test('zsh', { skip: lacks('zsh') }, async () => {
  const run = async (answers: readonly string[], line: string): Promise<string[]> => {
    using at = await place('zsh', answers);
    const options = { env: at.env, timeout: DEADLINE_MS };
    execFileSync('zsh', ['-f', '-c', zsh(at.script, line)], options);
    return at.asked();
  };
  assert.deepEqual(await run(['my port'], 'mn port show m\\t'), ['port', 'show', 'my port']);
  // No space is put behind `=`: what is typed next goes on in the same word.
  assert.deepEqual(await run(['bridge='], 'mn port list --where br\\tb1'), [
    'port',
    'list',
    '--where',
    'bridge=b1',
  ]);
});

/** What bash makes of TAB: `complete -F` calls the function with these variables. */
const bash = (script: string, line: string): string => `
source ${script}
compopt() { :; }
COMP_LINE=$'${line}'; COMP_POINT=\${#COMP_LINE}; _mn
printf '%s\\n' "\${COMPREPLY[@]}"; complete -p mn
`;

test('bash', async () => {
  using at = await place('bash', ['my\\ port', 'vm1']);
  const options = { env: at.env, encoding: 'utf8', timeout: DEADLINE_MS } as const;
  const line = "mn port show \\'a b\\' v";
  const out = execFileSync('bash', ['--norc', '-c', bash(at.script, line)], options);
  assert.deepEqual(out.trimEnd().split('\n'), ['my\\ port', 'vm1', 'complete -F _mn mn']);
  assert.deepEqual(
    at.asked().filter((word) => !/^[\s"'><=;|&(:@]*$/.test(word)),
    ['complete', '--breaks', '--line', "mn port show 'a b' v"],
  );
});
