/**
 * Constants of the sources with what is said about them there: the page of limits and that of exit
 * codes are the comments, so that nobody describes a number twice.
 */

/** A named constant, as its file shows it. */
export interface Constant {
  readonly name: string;
  /** The comment right above it, as one line; empty: there is none. */
  readonly about: string;
}

const plain = (comment: string): string =>
  comment
    .replace(/^\s*\/\*\*?/, '')
    .replace(/\*\/\s*$/, '')
    .split('\n')
    .map((line) => line.replace(/^\s*\* ?/, '').trim())
    .join(' ')
    .trim();

const COMMENT = String.raw`(\/\*\*(?:(?!\*\/)[\s\S])*\*\/\n)?`;

/** `export const NAME…`, of names that `wanted` fits. */
export function constantsOf(text: string, wanted: RegExp): Constant[] {
  const all = text.matchAll(new RegExp(`^${COMMENT}export const ([A-Z][A-Z0-9_]*)\\b`, 'gm'));
  return [...all]
    .map(([, comment = '', name = '']) => ({ name, about: plain(comment) }))
    .filter(({ name }) => wanted.test(name));
}

/** The fields of `export const NAME = { … }`, one level deep. */
export function fieldsOf(text: string, name: string): Constant[] {
  const start = new RegExp(`^export const ${name} = \\{\\n`, 'm').exec(text);
  if (start === null) throw new Error(`there is no ${name}`);
  const from = start.index + start[0].length;
  const body = text.slice(from, text.indexOf('\n}', from) + 1);
  const all = body.matchAll(new RegExp(`^ {2}${COMMENT}(?: {2})?(\\w+):`, 'gm'));
  return [...all].map(([, comment = '', field = '']) => ({ name: field, about: plain(comment) }));
}
