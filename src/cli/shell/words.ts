/**
 * A line as words, quoted as in sh: 'as it is', "with \" and \\", a backslash before anything. A
 * word that begins with # opens a comment. Nothing else means anything: no variables, no patterns,
 * no redirection, so that `mtu>1500` and `10.0.0.1 > 10.0.0.2` need no quotes here.
 */

export interface Line {
  readonly words: readonly string[];
  /** Where the last word begins; the line's length when a new one begins behind it. */
  readonly start: number;
  /** The quote that is still open at the end, or a backslash with nothing behind it. */
  readonly open: "'" | '"' | '\\' | undefined;
  readonly comment: boolean;
}

const SPACE = /\s/;

/** Reads one word from `at`; answers it and where it ends. */
function wordAt(line: string, at: number) {
  let word = '';
  let open: Line['open'];
  let i = at;
  for (; i < line.length; i++) {
    const c = line[i] ?? '';
    if (open === "'") {
      if (c === "'") open = undefined;
      else word += c;
    } else if (c === '\\') {
      const next = line[++i];
      if (next === undefined) return { word, end: i, open: '\\' as const };
      word += open === '"' && next !== '"' && next !== '\\' ? `\\${next}` : next;
    } else if (c === '"') open = open === '"' ? undefined : '"';
    else if (open === undefined && c === "'") open = "'";
    else if (open === undefined && SPACE.test(c)) break;
    else word += c;
  }
  return { word, end: i, open };
}

/** Splits a line. A word that ends with the line is the last; its quote may be open. */
export function splitLine(line: string): Line {
  const words: string[] = [];
  let at = 0;
  for (;;) {
    while (at < line.length && SPACE.test(line[at] ?? '')) at++;
    if (at >= line.length) return { words, start: line.length, open: undefined, comment: false };
    if (line[at] === '#') return { words, start: at, open: undefined, comment: true };
    const { word, end, open } = wordAt(line, at);
    words.push(word);
    if (end >= line.length) return { words, start: at, open, comment: false };
    at = end;
  }
}

const PLAIN = /^[\w@%+=:,./~<>-]+$/;

/** A word so that `splitLine` reads it as it is, as far as it goes with a backslash in front. */
export const escapeWord = (word: string): string =>
  PLAIN.test(word) ? word : word.replaceAll(/[^\w@%+=:,./~<>-]/g, '\\$&');

/** A word as a person would quote it for a shell. */
export const quoteWord = (word: string): string =>
  /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
