/**
 * Which files of the repository are pages of the site, at which address, and how they are listed.
 *
 * Pages are written for readers of the repository, with links from file to file; the site takes
 * them as they are. Nothing is listed twice: the sidebar is docs/README.md.
 */
import { posix } from 'node:path';

/** Where a file is on the site: the first rule that fits, `$1` being what the parentheses took. */
const PLACES: readonly (readonly [RegExp, string])[] = [
  [/^docs\/site\/home\.md$/, 'index.md'],
  [/^docs\/README\.md$/, 'contents.md'],
  [/^docs\/(?!site\/)(.+\.md)$/, '$1'],
  [/^test\/scenarios\/([\w-]+\.md)$/, 'scenarios/$1'],
  [/^README\.md$/, 'about.md'],
  [/^README\.ja\.md$/, 'about.ja.md'],
  [/^(ARCHITECTURE|CONTRIBUTING|STYLE)\.md$/, 'project/$1.md'],
];

/** The path of a page on the site, from its path in the repository; undefined: it is no page. */
export function placeOf(file: string): string | undefined {
  const rule = PLACES.find(([from]) => from.test(file));
  return rule && file.replace(rule[0], rule[1]);
}

/**
 * A link of the page `file`, as the site has it. Undefined: it leads to a file of the sources,
 * which the site does not have.
 */
export function linkOf(file: string, href: string): string | undefined {
  if (/^([a-z][a-z+.-]*:|#|\/)/i.test(href)) return href;
  const [path = '', anchor] = href.split('#', 2);
  const place = placeOf(posix.join(posix.dirname(file), path));
  return place && `/${place}${anchor === undefined ? '' : `#${anchor}`}`;
}

export interface SidebarItem {
  readonly text: string;
  readonly link: string;
}
export interface SidebarGroup {
  readonly text: string;
  readonly collapsed?: boolean;
  readonly items: readonly SidebarItem[];
}

const INDEX = 'docs/README.md';

/** The table of contents as a sidebar: a group for each heading, the first link of each line. */
export function sidebarOf(contents: string): SidebarGroup[] {
  return contents
    .split(/^## /m)
    .slice(1)
    .map((section) => {
      const [text = '', ...lines] = section.split('\n');
      const items = lines.flatMap((line) => {
        const [, title = '', href = ''] = /^- \[([^\]]+)\]\(([^)]+)\)/.exec(line) ?? [];
        const link = href === '' ? undefined : linkOf(INDEX, href);
        return link === undefined ? [] : [{ text: title, link }];
      });
      return { text: text.trim(), items };
    })
    .filter(({ items }) => items.length > 0);
}

/** What the words of a heading become in an address: as on GitHub, so that one link fits both. */
export const anchorOf = (heading: string): string =>
  heading
    .trim()
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\p{M} _-]/gu, '')
    .replaceAll(' ', '-');
