/** Markdown that the printed pages are made of: tables, and text that is safe in them. */

/** Text in a cell: one line, no cell borders of its own, nothing that could be taken for a tag. */
export const cell = (text: string): string =>
  text
    .replaceAll(/\s*\n\s*/g, ' ')
    .replaceAll('|', '\\|')
    .split(/(`[^`]*`)/)
    .map((part, i) => (i % 2 === 0 ? part.replaceAll('<', '&lt;') : part))
    .join('')
    .trim();

export const code = (text: string): string => `\`${text}\``;

/** A table; empty columns of all rows are left out, and without rows there is none. */
export function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  if (rows.length === 0) return '';
  const used = titles.map((_, i) => i === 0 || rows.some((row) => (row[i] ?? '') !== ''));
  const line = (cells: readonly string[]): string =>
    `| ${cells.filter((_, i) => used[i]).join(' | ')} |`;
  const under = `|${used
    .filter(Boolean)
    .map(() => '---|')
    .join('')}`;
  return [line(titles), under, ...rows.map((row) => line(row.map(cell)))].join('\n');
}

/** A page from its parts; parts that say nothing are left out. */
export const page = (title: string, parts: readonly string[]): string =>
  `# ${title}\n\n${parts.filter((part) => part !== '').join('\n\n')}\n`;

/** What is printed, and where to. */
export interface PrintedPage {
  /** In docs/reference. */
  readonly name: string;
  readonly text: string;
}
