/** The lines of the bench as a table of text. Pure. */
import { comparison, verdictOf, type Line } from './line.ts';
import { median, spread } from './statistics.ts';

const HEADS = ['what', 'ours', 'peer', 'ratio', 'reach', 'verdict'] as const;
const NONE = '–';

/** Three digits that mean something, and thousands apart. */
export function figure(value: number): string {
  const size = Math.abs(value);
  if (size >= 1000) return Math.round(value).toLocaleString('en-US');
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** The median, and the extremes when they are not the same. */
function side(values: readonly number[], unit: string): string {
  const { least, most } = spread(values);
  const around = least === most ? '' : ` (${figure(least)}–${figure(most)})`;
  return `${figure(median(values))} ${unit}${around}`;
}

function ratioText(line: Line): string {
  const compared = comparison(line);
  if (compared === undefined) return NONE;
  const { least, most } = spread(compared);
  const added = line.reach?.of === 'added';
  const show = (value: number): string =>
    added ? `${value >= 0 ? '+' : ''}${figure(value)}` : value.toFixed(2);
  const around = least === most ? '' : ` (${show(least)}–${show(most)})`;
  return `${show(median(compared))}${added ? ` ${line.unit}` : '×'}${around}`;
}

function reachText({ reach, better, unit }: Line): string {
  if (reach === undefined) return NONE;
  const sign = better === 'more' ? '≥' : '≤';
  if (reach.of === 'ratio') return `${sign} ${reach.value}×`;
  const plus = reach.of === 'added' ? '+' : '';
  return `${sign} ${plus}${figure(reach.value)} ${unit}`;
}

const cells = (line: Line): string[] => [
  line.what,
  side(line.ours, line.unit),
  line.peer === undefined ? NONE : `${side(line.peer.values, line.unit)} ${line.peer.name}`,
  ratioText(line),
  reachText(line),
  verdictOf(line) ?? NONE,
];

/** A head, a rule, and a row a line, in columns as wide as what is in them. */
export function tableOf(lines: readonly Line[]): string[] {
  const rows = [[...HEADS], ...lines.map(cells)];
  const widths = HEADS.map((_, i) => Math.max(...rows.map((row) => row[i]?.length ?? 0)));
  const text = rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join(' | ')
      .trimEnd(),
  );
  const rule = widths.map((width) => '-'.repeat(width)).join('-|-');
  return [text[0] ?? '', rule, ...text.slice(1)];
}
