/**
 * README.ja.md says what README.md says: the same sections in their order, the same links, and the
 * same commands and output, though what is said beside them is in the other language.
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

const read = (name: string): string => readFileSync(join(import.meta.dirname, '..', name), 'utf8');

interface Shape {
  /** Depth of each heading. */
  readonly headings: readonly number[];
  readonly links: readonly string[];
  /** Lines of blocks, without the remark behind a command. */
  readonly blocks: readonly string[];
}
function shapeOf(text: string): Shape {
  const blocks = [...text.matchAll(/^```[^\n]*\n([\s\S]*?)^```/gm)].map(([, body = '']) => body);
  const prose = text.replaceAll(/^```[\s\S]*?^```/gm, '');
  return {
    headings: [...prose.matchAll(/^(#+) /gm)].map(([, marks = '']) => marks.length),
    links: [...prose.matchAll(/\]\(([^)]+)\)/g)]
      .map(([, target = '']) => target)
      .filter((target) => !target.startsWith('README')),
    blocks: blocks.map((body) => body.replaceAll(/ {2,}# .*$/gm, '')),
  };
}

test('the two READMEs say the same', () => {
  const english = shapeOf(read('README.md'));
  assert.ok(english.headings.length > 4 && english.blocks.length > 2 && english.links.length > 8);
  assert.deepEqual(shapeOf(read('README.ja.md')), english);
  assert.match(read('README.md'), /\]\(README\.ja\.md\)/);
  assert.match(read('README.ja.md'), /\]\(README\.md\)/);
});

test('a paragraph in Japanese is one line: a break in it would be shown as a space', () => {
  const prose = read('README.ja.md').replaceAll(/^```[\s\S]*?^```/gm, '');
  assert.doesNotMatch(prose, /[^\n#]\n(?!- )[^\n#]/);
});

test('a command, a link or a section more is seen', () => {
  const text = '# A\n\n[b](c.md)\n\n```console\n# run x   # remark\nout\n```\n';
  assert.deepEqual(shapeOf(text), {
    headings: [1],
    links: ['c.md'],
    blocks: ['# run x\nout\n'],
  });
  for (const other of [`${text}## D\n`, text.replace('c.md', 'd.md'), text.replace('x', 'y')])
    assert.notDeepEqual(shapeOf(other), shapeOf(text));
});
