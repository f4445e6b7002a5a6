/**
 * What the site does to Markdown that GitHub does not: links from file to file become links from
 * page to page, and pictures stand in the page itself, so that they follow its colours and their
 * words can be selected and found.
 */
import { readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { linkOf } from './pages.ts';

/** As much of markdown-it as is used here. */
interface Token {
  type: string;
  tag: string;
  content: string;
  children: Token[] | null;
  attrGet(name: string): string | null;
  attrSet(name: string, value: string): void;
}
/**
 * The style of pictures for when they stand in a page: dark when the page is, not when the system
 * is. A rule a line, and one block of rules for the dark.
 */
export const pictureStyle = (css: string): string => {
  const [light = '', dark = ''] = css.split(/@media[^{]*\{/);
  const within = (rules: string, where: string): string =>
    rules.replaceAll(/^\s*([.a-z][^{}]*)\{([^}]*)\}/gm, (_, selectors: string, body: string) => {
      const each = selectors.split(',').map((one) => `${where} ${one.trim()}`);
      return `${each.join(',')} {${body}}`;
    });
  return within(light, '.picture') + within(dark.replace(/\}\s*$/, ''), '.dark .picture');
};

interface State {
  readonly tokens: Token[];
  readonly env: { readonly path?: string; readonly realPath?: string };
}
export interface Markdown {
  readonly core: {
    readonly ruler: { push(name: string, rule: (state: State) => void): void };
  };
}

/** A picture without what only a file of its own needs: its style is the site's. */
function pictureIn(file: string, href: string, about: string): string {
  const text = readFileSync(join(dirname(file), href), 'utf8');
  const inner = text
    .slice(text.indexOf('<svg'))
    .replace(/<style>[\s\S]*?<\/style>\n?/, '')
    .replace('<svg ', '<svg class="picture" v-pre ');
  return `<figure class="picture-frame" role="img" aria-label="${about}">${inner}</figure>`;
}

/** What becomes of a link to a file that the site does not have. */
const SOURCE = { tag: 'span', attrs: [['title', 'a file of the sources']] };

function walk(tokens: Token[], file: string, root: string): void {
  const page = relative(root, file);
  /** Links to sources that are open: their text stays, as text. */
  let sources = 0;
  for (const token of tokens) {
    if (token.type === 'link_open') {
      const link = linkOf(page, token.attrGet('href') ?? '');
      if (link === undefined) {
        sources++;
        Object.assign(token, SOURCE, { type: 'source_open' });
      } else token.attrSet('href', link);
    } else if (token.type === 'link_close' && sources > 0) {
      sources--;
      Object.assign(token, { type: 'source_close', tag: 'span' });
    } else if (token.type === 'image' && token.attrGet('src')?.endsWith('.svg') === true) {
      token.content = pictureIn(file, token.attrGet('src') ?? '', token.content);
      token.type = 'html_inline';
    } else if (token.children !== null) walk(token.children, file, root);
  }
}

/** The plugin; `root`: the repository. */
export const repositoryLinks =
  (root: string) =>
  (md: Markdown): void => {
    md.core.ruler.push('repository-links', ({ tokens, env }) => {
      const file = env.realPath ?? env.path;
      if (file !== undefined) walk(tokens, file, root);
    });
  };
