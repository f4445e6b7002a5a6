/**
 * Every link of the documentation leads to a file, and to a heading of it where it names one; so a
 * page that names tests cannot rot.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { anchorOf } from '../docs/site/pages.ts';

const ROOT = dirname(import.meta.dirname);
const PAGES = ['*.md', 'docs/**/*.md', 'test/scenarios/*.md'];

/** What the headings of a page can be linked by. */
const anchorsOf = (text: string): string[] =>
  [...text.replaceAll(/^```[\s\S]*?^```/gm, '').matchAll(/^#+ (.*)$/gm)].map(([, heading = '']) =>
    anchorOf(heading),
  );

/** Links of a page that lead nowhere. */
function dead(page: string, text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s#]*)(?:#([^)\s]*))?\)/g)].flatMap(
    ([, target = '', anchor]) => {
      if (/^[a-z]+:/.test(target)) return [];
      const path = join(ROOT, dirname(page), target);
      if (target !== '' && !existsSync(path)) return [`${page}: there is no ${target}`];
      if (anchor === undefined) return [];
      const there = target === '' ? text : readFileSync(path, 'utf8');
      return anchorsOf(there).includes(anchor)
        ? []
        : [`${page}: ${target} has no heading #${anchor}`];
    },
  );
}

test('a link that leads nowhere is found', () => {
  const text =
    '# Here\n[a](../README.md), [b](nowhere.md), [c](https://example.org/), [d](#here), ' +
    '[e](#there), [f](../README.md#try-it), [g](../README.md#try-that)';
  assert.deepEqual(dead('docs/x.md', text), [
    'docs/x.md: there is no nowhere.md',
    'docs/x.md:  has no heading #there',
    'docs/x.md: ../README.md has no heading #try-that',
  ]);
});

test('every link leads somewhere', () => {
  const pages = globSync(PAGES, { cwd: ROOT, exclude: ['**/node_modules/**'] });
  assert.ok(pages.length > 10);
  assert.deepEqual(
    pages.flatMap((page) => dead(page, readFileSync(join(ROOT, page), 'utf8'))),
    [],
  );
});
