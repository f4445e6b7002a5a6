/**
 * `--where` and `--sort`: one grammar for every list, whatever its rows are. Pure: columns say how
 * a row's values are had, this file says what is compared with what.
 *
 * A condition is FIELD OP VALUE in one word: `=` and `!=` compare text, `~` looks for a part of it
 * in either case, `>`, `<`, `>=`, `<=` compare numbers. A field that holds several things has a
 * value when one of them has it. `field=` is: it has none.
 */
import { UsageError } from './io.ts';
import { didYouMean } from './suggest.ts';

export const OPERATORS = ['=', '!=', '~', '>', '<', '>=', '<='] as const;
export type Operator = (typeof OPERATORS)[number];

export interface Condition {
  readonly field: string;
  readonly operator: Operator;
  readonly value: string;
  /** As typed. */
  readonly text: string;
}

/** A value of a row that lists can be filtered and sorted by. */
export interface Comparable<Row> {
  /** As `--where` and `--sort` name it. */
  readonly name: string;
  /** What is compared; undefined: nothing. Lists and objects stand for each of their values. */
  value(row: Row): unknown;
  /** How it is shown, where that is not simply its text. */
  cell?(row: Row): string;
  /** Other texts that `=` takes for it: the id of what is shown by name. */
  also?(row: Row): readonly string[];
  /** Whether it holds numbers; absent: unknown. */
  readonly numeric?: boolean;
}

const CONDITION = /^([A-Za-z][\w.-]*)(!=|>=|<=|=|~|>|<)(.*)$/s;
const NUMBER = /^-?\d+(\.\d+)?$/;

/** Throws UsageError. */
export function parseCondition(text: string): Condition {
  const [, field, operator, value = ''] = CONDITION.exec(text) ?? [];
  if (field === undefined)
    throw new UsageError(
      `--where: '${text}' is not of the form FIELD OP VALUE`,
      `OP is one of ${OPERATORS.join(' ')}; quote it for the shell: --where 'mtu>1500'`,
    );
  const condition = { field, operator: operator as Operator, value, text };
  if ('<>'.includes(operator?.[0] ?? '-') && !NUMBER.test(value))
    throw new UsageError(`--where ${text}: ${operator} compares numbers, '${value}' is none`);
  return condition;
}

const kebab = (name: string): string =>
  name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** By name, in either spelling; the error lists what there is. Throws UsageError. */
export function findColumn<Row, Column extends Comparable<Row>>(
  columns: readonly Column[],
  text: string,
  what: string,
): Column {
  const found = columns.find(({ name }) => name === text || kebab(name) === kebab(text));
  if (found !== undefined) return found;
  const known = columns.map(({ name }) => kebab(name));
  const guess = didYouMean(text, known);
  const list = `The fields are: ${known.join(', ')}`;
  throw new UsageError(
    `${what}: there is no field '${text}'`,
    guess === undefined ? list : `${guess} ${list}`,
  );
}

/** The texts that a value stands for. */
export function textsOf(value: unknown): string[] {
  if (value === undefined || value === null || value === '') return [];
  if (Array.isArray(value)) return value.flatMap(textsOf);
  if (typeof value === 'object') return Object.values(value).flatMap(textsOf);
  return [String(value as string | number | boolean)];
}

const COMPARE = {
  '>': (a: number, b: number) => a > b,
  '<': (a: number, b: number) => a < b,
  '>=': (a: number, b: number) => a >= b,
  '<=': (a: number, b: number) => a <= b,
} as const;

/** Whether a row meets a condition of a column. */
export function holds<Row>(column: Comparable<Row>, condition: Condition, row: Row): boolean {
  const { operator, value } = condition;
  const texts = textsOf(column.value(row));
  if (operator === '=' || operator === '!=') {
    const all = [...texts, ...(column.also?.(row) ?? []), column.cell?.(row) ?? ''];
    const equal = value === '' ? texts.length === 0 : all.includes(value);
    return equal === (operator === '=');
  }
  if (operator === '~') {
    const part = value.toLowerCase();
    return [...texts, column.cell?.(row) ?? ''].some((text) => text.toLowerCase().includes(part));
  }
  return texts.some((text) => NUMBER.test(text) && COMPARE[operator](+text, +value));
}

/** The rows that meet every condition. Throws UsageError for a field that there is not. */
export function select<Row>(
  columns: readonly Comparable<Row>[],
  conditions: readonly Condition[],
  rows: readonly Row[],
): readonly Row[] {
  const tests = conditions.map((condition) => {
    const column = findColumn(columns, condition.field, '--where');
    const { operator, text, field } = condition;
    if ('<>'.includes(operator[0] ?? '') && column.numeric === false)
      throw new UsageError(`--where ${text}: ${operator} compares numbers, ${field} is none`);
    return (row: Row): boolean => holds(column, condition, row);
  });
  return tests.length === 0 ? rows : rows.filter((row) => tests.every((test) => test(row)));
}

/** `vm2` before `vm10`, the same on every machine. */
const COLLATOR = new Intl.Collator('en', { numeric: true });

function compare(a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  return COLLATOR.compare(textsOf(a).join(' '), textsOf(b).join(' '));
}
const isNothing = (value: unknown): boolean => textsOf(value).length === 0;

/**
 * Rows in the order of `name,-age`: by the first field, among equals by the next; `-` turns the
 * order round. What has no value comes last. Throws UsageError.
 */
export function sortRows<Row>(
  columns: readonly Comparable<Row>[],
  order: string,
  rows: readonly Row[],
): readonly Row[] {
  const keys = order.split(',').map((text) => {
    const down = text.startsWith('-');
    return { column: findColumn(columns, down ? text.slice(1) : text, '--sort'), down };
  });
  const sorted = rows.map((row) => ({ row, values: keys.map(({ column }) => column.value(row)) }));
  sorted.sort((a, b) => {
    for (const [i, { down }] of keys.entries()) {
      const [x, y] = [a.values[i], b.values[i]];
      if (isNothing(x) || isNothing(y)) {
        if (isNothing(x) === isNothing(y)) continue;
        return isNothing(x) ? 1 : -1;
      }
      const order = compare(x, y);
      if (order !== 0) return down ? -order : order;
    }
    return 0;
  });
  return sorted.map(({ row }) => row);
}
