/**
 * The pages of the reference are what the tables of the code print now. `UPDATE=1` prints them
 * anew; a person reads the difference.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { DROPS } from '#virtual/drop.ts';
import { commandWords } from '../docs/print/cli.ts';
import { constantsOf, fieldsOf } from '../docs/print/docstrings.ts';
import { limitsOf } from '../docs/print/limits.ts';
import { printedPages } from '../docs/print/pages.ts';
import { cell, table } from '../docs/print/table.ts';

const FOLDER = join(import.meta.dirname, '../docs/reference');
/** Folders of src whose limits are on the page. */
const FOLDERS = 'net virtual flow store os datapath client api agent cli'.split(' ');

test('the reference is what the code says', async () => {
  const pages = await printedPages();
  if (process.env['UPDATE'] === '1')
    for (const { name, text } of pages) writeFileSync(join(FOLDER, name), text);
  assert.deepEqual(readdirSync(FOLDER).toSorted(), pages.map(({ name }) => name).toSorted());
  const stale = pages
    .filter(({ name, text }) => readFileSync(join(FOLDER, name), 'utf8') !== text)
    .map(({ name }) => name);
  assert.deepEqual(stale, [], 'print them: UPDATE=1 npx node --test test/reference.test.ts');
});

test('every limit says of what it is, and what happens beyond', async () => {
  const silent: string[] = [];
  for (const folder of FOLDERS)
    for (const { name, file, about } of await limitsOf(folder))
      if (about === '') silent.push(`${file}: ${name} has no comment right above it`);
  assert.deepEqual(silent, []);
});

test('what the reference tells to type are commands', () => {
  const words = new Set(commandWords());
  const told = Object.values(DROPS).flatMap(({ remedy }) => [
    ...(remedy as string).matchAll(/`mn ([a-z-]+(?: [a-z-]+)*)/g),
  ]);
  assert.ok(told.length > 10);
  const unknown = told
    .map(([, line = '']) => line)
    .filter((line) => !line.startsWith('agent '))
    .filter((line) => {
      const [first = '', second = ''] = line.split(' ');
      return (
        !words.has(`mn ${first}`) ||
        (words.has(`mn ${first} list`) && !words.has(`mn ${first} ${second}`))
      );
    });
  assert.deepEqual(unknown, []);
});

test('comments of constants are read, and whose they are', () => {
  const text = `/** One. */
export const A_MAX = 1;
export const B_MAX = 2;
/**
 * Two
 * lines.
 */
export const C_MAX = 3;
export const T = {
  /** First. */
  a: 1,
  b: { c: 2 },
} as const;
`;
  const silent = { name: 'B_MAX', about: '' };
  assert.deepEqual(constantsOf(text, /_MAX$/), [
    { name: 'A_MAX', about: 'One.' },
    silent,
    { name: 'C_MAX', about: 'Two lines.' },
  ]);
  assert.deepEqual(fieldsOf(text, 'T'), [
    { name: 'a', about: 'First.' },
    { name: 'b', about: '' },
  ]);
  assert.throws(() => fieldsOf(text, 'U'), /no U/);
});

test('cells are safe, and empty columns are left out', () => {
  assert.equal(cell('a | <b>\n `<c>`'), 'a \\| &lt;b> `<c>`');
  assert.equal(table(['x', 'y', 'z'], [['1', '', '2']]), '| x | z |\n|---|---|\n| 1 | 2 |');
  assert.equal(table(['x'], []), '');
});
