/**
 * How answers look: plain aligned tables for people, JSON and YAML with the API's own field names
 * for programs. No borders, no ids where a name says it, colour only where the run allows it.
 */
import { styleText } from 'node:util';
import { stringify } from 'yaml';
import type { Screen } from './io.ts';
import type { Template } from './jsonpath.ts';

/** As typed behind `-o`. */
export const OUTPUT_FORMATS = ['table', 'wide', 'json', 'yaml', 'jsonpath='] as const;
/** `table`: for people, `wide` too. A template is that of `jsonpath=`. */
export type OutputFormat = 'table' | 'json' | 'yaml' | Template;

const GAP = '  ';
/** A column is not cut narrower than this: what is left would say nothing. */
const CUT_MIN = 8;

export type Style = 'bold' | 'green' | 'red' | 'yellow' | 'dim';

/** Colours text, or leaves it alone where the run has no colours. */
export const styled = (io: Screen, style: Style, text: string): string =>
  io.colour === true ? styleText(style, text, { validateStream: false }) : text;

const cut = (text: string, columns: number): string =>
  text.length <= columns ? text : `${text.slice(0, columns - 1)}…`;

export interface Column {
  readonly title: string;
  readonly align?: 'right';
  /** Left out when the table is wider than the terminal: something else says the same. */
  readonly spare?: boolean;
  /** Colours a cell after it was padded, so that alignment does not depend on it. */
  readonly style?: (cell: string) => Style | undefined;
}

const widthsOf = (columns: readonly Column[], rows: readonly (readonly string[])[]): number[] =>
  columns.map((column, i) =>
    Math.max(column.title.length, ...rows.map((row) => row[i]?.length ?? 0)),
  );

/**
 * Text that moves no cursor and colours nothing: some of it comes from hosts, and the terminal that
 * shows it is the operator's.
 */
export const harmless = (text: string): string => text.replace(/[\p{Cc}\p{Cf}]/gu, '\u{fffd}');

/**
 * Lines of an aligned table. Where it is wider than the terminal, spare columns are left out and
 * the widest ones are cut. No rows: no lines.
 */
export function table(
  io: Screen,
  columns: readonly Column[],
  given: readonly (readonly string[])[],
): string {
  if (given.length === 0) return '';
  const rows = given.map((row) => row.map(harmless));
  const widths = widthsOf(columns, rows);
  const total = widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length);
  const fits = io.width === undefined || total <= io.width;
  const kept = fits ? columns : columns.filter((column) => column.spare !== true);
  if (kept.length === columns.length) return aligned(io, columns, rows);
  const keptRows = rows.map((row) => row.filter((_cell, i) => columns[i]?.spare !== true));
  return aligned(io, kept, keptRows);
}

/** Widths that fit, if they can: the widest column gives first, numbers are never cut. */
function cutTo(room: number, columns: readonly Column[], natural: readonly number[]): number[] {
  const widths = [...natural];
  const total = (): number => widths.reduce((sum, width) => sum + width + GAP.length, -GAP.length);
  while (total() > room) {
    const most = Math.max(...widths.map((width, i) => (columns[i]?.align === 'right' ? 0 : width)));
    if (most <= CUT_MIN) return [...natural];
    const at = widths.findLastIndex((w, i) => w === most && columns[i]?.align !== 'right');
    widths[at] = most - 1;
  }
  return widths;
}

function aligned(
  io: Screen,
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
): string {
  const widths = cutTo(io.width ?? Infinity, columns, widthsOf(columns, rows));
  const line = (cells: readonly string[], styleOf: (i: number) => Style | undefined): string =>
    columns
      .map((column, i) => {
        const width = widths[i] ?? 0;
        let cell = cut(cells[i] ?? '', width);
        if (column.align === 'right') cell = cell.padStart(width);
        else if (i !== columns.length - 1) cell = cell.padEnd(width);
        const style = styleOf(i);
        return style === undefined ? cell : styled(io, style, cell);
      })
      .join(GAP)
      .trimEnd();
  const head = line(
    columns.map((column) => column.title),
    () => 'bold',
  );
  const body = rows.map((row) => line(row, (i) => columns[i]?.style?.(row[i] ?? '')));
  return `${[head, ...body].join('\n')}\n`;
}

/** `name  value` lines; a value of several lines goes on below itself. */
export function pairs(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...rows.map(([title]) => title.length));
  const lines = rows.map(([title, value]) => {
    const lines = value.split('\n').map(harmless);
    const text = lines.join(`\n${' '.repeat(width)}${GAP}`);
    return `${title.padEnd(width)}${GAP}${text}`.trimEnd();
  });
  return lines.length === 0 ? '' : `${lines.join('\n')}\n`;
}

/** `1 port`, `2 ports`. */
export const count = (n: number, noun: string): string => `${n} ${noun}${n === 1 ? '' : 's'}`;

/** Prints a value in the format asked for; `text` makes the form for people. */
export function print(
  io: Screen,
  format: OutputFormat,
  answer: { readonly value: unknown; readonly text: () => string },
): void {
  if (format === 'json') io.out(`${JSON.stringify(answer.value, null, 2)}\n`);
  else if (format === 'yaml') io.out(stringify(answer.value));
  else io.out(format === 'table' ? answer.text() : format.render(answer.value));
}
