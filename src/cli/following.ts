/**
 * `--follow` of what only agents know: looked at once a second until the run's signal, or until
 * whoever looks has seen enough.
 *
 * Invariant: the first look tells what is wrong; later ones wait for the API to come back.
 */
import type { Command } from 'commander';
import { Unavailable } from '#client/errors.ts';
import { styled } from './format.ts';
import { type CliIo, UsageError } from './io.ts';
import { checkList, conditionsOf, type ListColumn, watchOf } from './listing.ts';
import { formatOf, numberOption, type Options, type Session } from './session.ts';
import { pause } from './watching.ts';
import { select } from './where.ts';

/** Between two looks. */
const FOLLOW_MS = 1_000;

/** `look` answers whether to go on. */
async function followLooks(io: CliIo, look: () => Promise<boolean>): Promise<void> {
  for (let isFirst = true; io.signal?.aborted !== true; isFirst = false) {
    try {
      if (!(await look())) return;
    } catch (error) {
      if (isFirst || !(error instanceof Unavailable)) throw error;
      io.err(`${styled(io, 'yellow', 'note:')} ${error.message}; trying again\n`);
    }
    await pause(io, FOLLOW_MS, io.signal);
  }
}

/** One line for people, and what it says as an object. */
export interface FollowLine {
  readonly text: string;
  readonly json: unknown;
}
export interface Followed<Row> {
  readonly columns: readonly ListColumn<Row>[];
  /** All rows as they are now. */
  readonly load: () => Promise<readonly Row[]>;
  /** Told when it begins. */
  readonly note: (rows: readonly Row[]) => string;
  /** What has come, or gone, from one look to the next. */
  readonly news: (rows: readonly Row[], before: readonly Row[]) => Iterable<FollowLine>;
}

/** `about`: what is written with `--follow`. */
export const followOptions = (command: Command, about: string): Command =>
  command
    .option('--follow', `${about}, as lines, until interrupted`)
    .addOption(numberOption('--count <n>', 'with --follow: stop after so many lines'));

/** Whether a command is to follow; refuses options that do not go together. */
export function isFollowing(options: Options, command: string): boolean {
  const follows = options['follow'] === true;
  if (follows && watchOf(options) !== undefined)
    throw new UsageError('--follow and --watch exclude each other');
  if (!follows && options['count'] !== undefined)
    throw new UsageError('--count: is for --follow', `See: ${command} --help`);
  return follows;
}

/** Writes what is new, a line each, until the run's signal, or so many lines. */
export async function follow<Row>(
  { io }: Session,
  options: Options,
  { columns, load, note, news }: Followed<Row>,
): Promise<void> {
  const json = formatOf(options) === 'json';
  if (!json && formatOf(options) !== 'table')
    throw new UsageError('--follow: writes lines, or with -o json an object a line');
  checkList(columns, options);
  const conditions = conditionsOf(options);
  let left = (options['count'] as number | undefined) ?? Infinity;
  let before: readonly Row[] | undefined;
  if (left <= 0) return;
  await followLooks(io, async () => {
    const rows = select(columns, conditions, [...(await load())]);
    if (before === undefined) io.err(`${styled(io, 'dim', 'note:')} ${note(rows)}\n`);
    else
      for (const line of news(rows, before)) {
        if (left <= 0) break;
        left -= 1;
        io.out(json ? `${JSON.stringify(line.json)}\n` : `${line.text}\n`);
      }
    before = rows;
    return left > 0;
  });
}
