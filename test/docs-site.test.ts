/**
 * The site of the documentation: it builds without a warning and without a dead link, and lists
 * every page there is.
 */
import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { run } from '#os/run.ts';
import { pictureStyle } from '../docs/site/markdown.ts';
import { fileOf, serve } from '../docs/site/serve.ts';
import { anchorOf, linkOf, placeOf, sidebarOf } from '../docs/site/pages.ts';

const ROOT = join(import.meta.dirname, '..');
const SITE = join(ROOT, 'docs/site');
const BUILD_MS = 240_000;
const PAGES = ['*.md', 'docs/**/*.md', 'test/scenarios/*.md'];
/** Not in the table of contents: it is the page itself, the front page, and what is before it. */
const UNLISTED = new Set(['docs/README.md', 'docs/site/home.md', 'README.md', 'README.ja.md']);

const read = (path: string): string => readFileSync(join(ROOT, path), 'utf8');
const pages = globSync(PAGES, { cwd: ROOT, exclude: ['**/node_modules/**'] });

test('a file is at one place of the site, and links follow it there', () => {
  assert.equal(placeOf('docs/guide/kernels.md'), 'guide/kernels.md');
  assert.equal(placeOf('test/scenarios/vlans.md'), 'scenarios/vlans.md');
  assert.equal(placeOf('docs/site/home.md'), 'index.md');
  assert.equal(placeOf('src/mn.ts'), undefined);
  const guide = 'docs/guide/kernels.md';
  assert.equal(linkOf(guide, '../../test/scenarios/vlans.md'), '/scenarios/vlans.md');
  assert.equal(linkOf(guide, '../README.md#switches'), '/contents.md#switches');
  assert.equal(linkOf(guide, '#here'), '#here');
  assert.equal(linkOf(guide, 'https://example.org/a.md'), 'https://example.org/a.md');
  assert.equal(linkOf(guide, '../../test/laws.test.ts'), undefined);
  assert.equal(anchorOf('`mn status`, and what it says'), 'mn-status-and-what-it-says');
});

test('the table of contents lists every page once', () => {
  const listed = sidebarOf(read('docs/README.md')).flatMap(({ items }) =>
    items.map(({ link }) => link),
  );
  assert.equal(new Set(listed).size, listed.length, 'a page is listed twice');
  const missing = pages
    .filter((page) => !UNLISTED.has(page))
    .filter((page) => !listed.includes(`/${placeOf(page)}`));
  assert.deepEqual(missing, [], 'add these to docs/README.md, each at the start of a line');
});

test('links of the front page and of the menu lead to pages', () => {
  const places = new Set(pages.map((page) => `/${placeOf(page)?.replace(/\.md$/, '')}`));
  const links = [
    ...read('docs/site/home.md').matchAll(/\blink: (\/\S*[\w/])/g),
    ...read('docs/site/config.ts').matchAll(/\blink: '(\/[^']*)'/g),
  ].map(([, link = '']) => link);
  assert.ok(links.length > 10);
  assert.deepEqual(
    links.filter((link) => !places.has(link)),
    [],
  );
});

test('what is served is on loopback, and in its folder', async () => {
  const folder = join(ROOT, 'docs/site/public');
  assert.equal(fileOf(folder, '/logo.svg?x=1'), join(folder, 'logo.svg'));
  for (const url of ['/../package.json', '/%2e%2e/package.json', '/..%2fpackage.json', '/%', '/'])
    assert.equal(fileOf(folder, url), undefined, url);
  const server = await serve(folder, 0);
  try {
    const { address, port } = server.address() as AddressInfo;
    assert.equal(address, '127.0.0.1');
    const got = await fetch(`http://127.0.0.1:${port}/logo.svg`);
    assert.equal(got.headers.get('content-type'), 'image/svg+xml');
    assert.match(await got.text(), /^<svg/);
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test('pictures have one style, words that say what they show, and nothing from elsewhere', () => {
  const style = read('docs/pictures/style.css').trim();
  const known = new Set([...style.matchAll(/\.([a-z-]+)/g)].map(([, name]) => name));
  const pictures = globSync('docs/pictures/*.svg', { cwd: ROOT });
  assert.ok(pictures.length > 5);
  for (const picture of pictures) {
    const text = read(picture);
    assert.ok(text.includes(`<style>\n${style}\n</style>`), `${picture}: another style`);
    assert.match(text, /<title>[^<]{10,}<\/title>/, picture);
    assert.doesNotMatch(text.replace('http://www.w3.org/2000/svg', ''), /https?:|<script/, picture);
    const used = [...text.matchAll(/class="([^"]*)"/g)].flatMap(([, names = '']) =>
      names.split(' '),
    );
    assert.deepEqual(
      used.filter((name) => !known.has(name)),
      [],
      picture,
    );
    const shown = pages.filter((page) => read(page).includes(`pictures/${picture.slice(14)})`));
    assert.ok(shown.length > 0, `${picture} is on no page`);
  }
  assert.match(pictureStyle(style), /^\.picture text \{/);
  assert.match(pictureStyle(style), /\.dark \.picture \.wire,\.dark \.picture \.thin \{ stroke/);
});

describe('the build', () => {
  const installed = existsSync(join(SITE, 'node_modules/vitepress/package.json'));
  const skip = installed ? false : 'the packages of docs/site are not here: ./midonet docs';

  test('has no warnings and no dead links', { skip }, async () => {
    const options = { deadlineMs: BUILD_MS };
    const built = await run(process.execPath, [join(SITE, 'build.ts')], options);
    assert.equal(built.code, 0, built.stderr);
    const has = (page: string, what: RegExp): boolean => what.test(read(`.cache/docs/${page}`));
    assert.ok(has('guide/kernels.html', /<h1[^>]*>Kernels/));
    assert.ok(has('guide/kernels.html', /href="\/scenarios\/vlans\.html"/));
    assert.ok(!has('twins.html', /href="[^"]*\.test\.ts"/), 'sources are not on the site');
  });
});
