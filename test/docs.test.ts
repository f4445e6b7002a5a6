/**
 * Every link of the documentation to a file leads to one; so a page that names tests cannot rot.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';

const ROOT = dirname(import.meta.dirname);
const PAGES = ['*.md', 'docs/**/*.md', 'test/scenarios/*.md'];

/** Links of a page that lead nowhere. */
function dead(page: string, text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s#]+)(?:#[^)]*)?\)/g)]
    .map(([, target = '']) => target)
    .filter((target) => !/^[a-z]+:/.test(target))
    .filter((target) => !existsSync(join(ROOT, dirname(page), target)))
    .map((target) => `${page}: there is no ${target}`);
}

test('a link that leads nowhere is found', () => {
  const text = '[a](../README.md), [b](nowhere.md), [c](https://example.org/), [d](#here)';
  assert.deepEqual(dead('docs/x.md', text), ['docs/x.md: there is no nowhere.md']);
});

test('every link leads somewhere', () => {
  const pages = globSync(PAGES, { cwd: ROOT });
  assert.ok(pages.length > 10);
  assert.deepEqual(
    pages.flatMap((page) => dead(page, readFileSync(join(ROOT, page), 'utf8'))),
    [],
  );
});
