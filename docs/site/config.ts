/**
 * The site: the repository's own pages, by VitePress. Everything that is not found (a page, a
 * picture) ends the build, so that the site holds no dead link.
 */
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Markdown, pictureStyle, repositoryLinks } from './markdown.ts';
import { anchorOf, placeOf, sidebarOf } from './pages.ts';

const SITE = process.cwd();
const ROOT = join(SITE, '../..');
const PAGES = ['*.md', 'docs/**/*.md', 'test/scenarios/*.md'];

const files = globSync(PAGES, { cwd: ROOT, exclude: ['**/node_modules/**'] });
const rewrites = Object.fromEntries(
  files.flatMap((file) => {
    const place = placeOf(file);
    return place === undefined ? [] : [[file, place] as const];
  }),
);
const sidebar = sidebarOf(readFileSync(join(ROOT, 'docs/README.md'), 'utf8'));
/** Groups that a newcomer reads first are open. */
const OPEN_GROUPS = 3;

interface Resolver {
  resolve(source: string, importer: string, options: object): Promise<unknown>;
}
/** Pages are outside of the folder that has the site's packages: they find Vue as it does. */
const packagesOfTheSite = {
  name: 'packages-of-the-site',
  enforce: 'pre',
  resolveId(this: Resolver, source: string, importer: string | undefined, options: object) {
    return /^vue(\/|$)/.test(source) && importer?.endsWith('.md') === true
      ? this.resolve(source, join(SITE, 'config.ts'), { ...options, skipSelf: true })
      : undefined;
  },
};

export const config = {
  title: 'MidoNet',
  description: 'Open-source network virtualisation for clouds',
  srcDir: ROOT,
  srcExclude: files.filter((file) => rewrites[file] === undefined).concat('{src,bench}/**'),
  outDir: join(ROOT, '.cache/docs'),
  cacheDir: join(ROOT, '.cache/vitepress'),
  rewrites,
  ignoreDeadLinks: false,
  metaChunk: true,
  head: [
    ['style', {}, pictureStyle(readFileSync(join(ROOT, 'docs/pictures/style.css'), 'utf8'))],
    ['link', { rel: 'icon', type: 'image/svg+xml', href: '/logo.svg' }],
  ],
  markdown: {
    anchor: { slugify: anchorOf },
    languageAlias: { lab: 'sh', file: 'yaml' },
    config: (md: Markdown) => repositoryLinks(ROOT)(md),
  },
  vite: {
    publicDir: join(SITE, 'public'),
    plugins: [packagesOfTheSite],
    build: { chunkSizeWarningLimit: 4_096 },
  },
  themeConfig: {
    logo: '/logo.svg',
    outline: [2, 3],
    search: { provider: 'local' },
    nav: [
      { text: 'First steps', link: '/guide/first-steps' },
      { text: 'Concepts', link: '/concepts/the-virtual-network' },
      { text: 'Guide', link: '/contents' },
      { text: 'Reference', link: '/reference/cli' },
      { text: 'Operations', link: '/operations/sizes' },
      { text: '日本語', link: '/about.ja' },
    ],
    sidebar: sidebar.map((group, i) => ({ ...group, collapsed: i >= OPEN_GROUPS })),
    footer: { message: 'Apache-2.0' },
  },
};
