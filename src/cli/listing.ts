/**
 * Lists, all alike: whatever the rows are (objects, flows, drops, history), they are filtered,
 * sorted, printed and watched by the same flags.
 *
 * Invariant: for programs a row is what `json` makes of it, in every format, and filters and order
 * do not depend on the format; nothing of a table is cut or left out but for a terminal.
 */
import { type Command, InvalidArgumentError, Option } from 'commander';
import { type OutputFormat, print, type Style, table } from './format.ts';
import { isWide, type Options, outputOption, repeated, type Session, formatOf } from './session.ts';
import { watchAnswer, type Watched, watchRows } from './watching.ts';
import {
  type Comparable,
  type Condition,
  parseCondition,
  select,
  sortRows,
  textsOf,
} from './where.ts';

/** A column of a list: what people see, and what `--where` and `--sort` name. */
export interface ListColumn<Row> extends Comparable<Row> {
  readonly title: string;
  /** Only with `-o wide`. */
  readonly wide?: true;
  /** Never shown: it is there to filter and sort by. */
  readonly hidden?: true;
  /** Left out when the table is wider than the terminal: something else says the same. */
  readonly spare?: boolean;
  readonly align?: 'right';
  readonly style?: (cell: string) => Style | undefined;
}

export interface List<Row> {
  readonly columns: readonly ListColumn<Row>[];
  load(): Promise<readonly Row[]>;
  /** A row for programs; absent: the row itself. */
  json?(row: Row): unknown;
  /** What makes a row the same row at the next look; absent: all that programs see of it. */
  key?(row: Row): string;
  /** What is said, to stderr, of a list without rows: `no port found`. */
  readonly empty?: string;
  /** The conditions that `load` has not seen to already; absent: all that are given. */
  readonly conditions?: readonly Condition[];
  /** Yields when it is worth to look again, until the signal; absent: time alone says. */
  news?(signal: AbortSignal): AsyncIterable<unknown>;
}

/** Seconds between two looks; longer is no watching. */
const WATCH_S_MIN = 0.1;
const WATCH_S_MAX = 3600;

function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && seconds >= WATCH_S_MIN && seconds <= WATCH_S_MAX)
    return seconds;
  throw new InvalidArgumentError(`must be seconds, from ${WATCH_S_MIN} to ${WATCH_S_MAX}.`);
}

/** `--watch [SECONDS]`, also for answers that are no list. */
export const watchOption = (): Option =>
  new Option(
    '--watch [seconds]',
    'again and again: in place on a terminal, else only what changed',
  ).argParser(parseSeconds);
/** Undefined: look once. `true`: as often as there is a reason to. */
export const watchOf = (options: Options): number | true | undefined =>
  options['watch'] as number | true | undefined;

const listedBy = new WeakMap<Command, readonly string[]>();
/** The fields that a list of this command has, as far as they were told: for completion. */
export const listedFields = (command: Command): readonly string[] => listedBy.get(command) ?? [];

/** Adds the options that every list has; `fields`: what `--where` and `--sort` can name. */
export const listingOptions = (command: Command, fields: readonly string[] = []): Command => {
  listedBy.set(command, fields);
  return command
    .option(
      '--where <condition>',
      'only rows with FIELD OP VALUE, OP one of = != ~ > < >= <=; repeatable, all must hold',
      repeated,
    )
    .option('--sort <field[,-field…]>', 'in the order of these fields; - turns one round')
    .addOption(watchOption())
    .addOption(outputOption());
};

/** The conditions given. Throws UsageError. */
export const conditionsOf = (options: Options): Condition[] =>
  ((options['where'] ?? []) as readonly string[]).map(parseCondition);
export const orderOf = (options: Options): string | undefined =>
  options['sort'] as string | undefined;

/** Text for people of a column's cell. */
const cellOf = <Row>(column: ListColumn<Row>, row: Row): string =>
  column.cell?.(row) ?? textsOf(column.value(row)).join(', ');

/** The columns to show: one without anything in any row says nothing. */
function shownOf<Row>(list: List<Row>, rows: readonly Row[], wide: boolean): ListColumn<Row>[] {
  return list.columns.filter(
    (column) =>
      column.hidden !== true &&
      (wide || column.wide !== true) &&
      rows.some((row) => cellOf(column, row) !== ''),
  );
}

/** The rows that are asked for, in the order asked for. */
async function rowsOf<Row>(list: List<Row>, options: Options): Promise<readonly Row[]> {
  const rows = select(list.columns, list.conditions ?? conditionsOf(options), await list.load());
  const order = orderOf(options);
  return order === undefined ? rows : sortRows(list.columns, order, rows);
}

/** Throws UsageError for fields that there are not, before anything is asked. */
export function checkList<Row>(columns: readonly ListColumn<Row>[], options: Options): void {
  select(columns, conditionsOf(options), []);
  const order = orderOf(options);
  if (order !== undefined) sortRows(columns, order, []);
}

/** Prints a list as its options want it; with `--watch` until the run's signal. */
export async function showList<Row>(
  session: Session,
  options: Options,
  list: List<Row>,
): Promise<void> {
  checkList(list.columns, options);
  const { io } = session;
  const format = formatOf(options);
  const json = (row: Row): unknown => (list.json === undefined ? row : list.json(row));
  const text = (rows: readonly Row[]): string => {
    const columns = shownOf(list, rows, isWide(options));
    return table(
      io,
      columns,
      rows.map((row) => columns.map((column) => cellOf(column, row))),
    );
  };
  const every = watchOf(options);
  if (every === undefined) {
    const rows = await rowsOf(list, options);
    print(io, format, { value: rows.map(json), text: () => text(rows) });
    if (rows.length === 0 && format === 'table' && list.empty !== undefined)
      io.err(`${list.empty}\n`);
    return;
  }
  const watched: Watched<Row> = {
    load: () => rowsOf(list, options),
    text,
    json,
    key: (row) => list.key?.(row) ?? JSON.stringify(json(row)),
    ...(list.empty !== undefined && { empty: list.empty }),
    ...(list.news !== undefined && { news: list.news.bind(list) }),
  };
  await watchRows(session, { every, format }, watched);
}

/** What an answer that is no list is for programs, and for people. */
export interface Answer {
  readonly value: unknown;
  readonly text: () => string;
}

/** Prints an answer; with `--watch` again and again, until the run's signal. */
export async function showAnswer(
  session: Session,
  options: Options,
  load: () => Promise<Answer>,
): Promise<void> {
  const format: OutputFormat = formatOf(options);
  const every = watchOf(options);
  if (every === undefined) print(session.io, format, await load());
  else await watchAnswer(session, { every, format }, load);
}
