/**
 * `mn drops`: what was dropped, by host, port, reason and the rule that decided; with `--follow`
 * what is dropped from now on, as lines.
 *
 * Invariant: the packets of all rows are all that were counted; hosts that did not answer are said.
 */
import type { Command } from 'commander';
import type { DropRow } from '#client/sight.ts';
import { examples } from '../examples.ts';
import { followLooks } from '../following.ts';
import { harmless, styled } from '../format.ts';
import { UsageError } from '../io.ts';
import {
  checkList,
  conditionsOf,
  type ListColumn,
  listingOptions,
  showList,
  watchOf,
} from '../listing.ts';
import { tellMissing } from '../pages.ts';
import { action, formatOf, numberOption, type Options, type Session } from '../session.ts';
import { select } from '../where.ts';

const COLUMNS: readonly ListColumn<DropRow>[] = [
  { name: 'host', title: 'HOST', value: ({ host }) => host },
  { name: 'at', title: 'AT', value: ({ at }) => at },
  { name: 'reason', title: 'REASON', value: ({ reason }) => reason },
  {
    name: 'packets',
    title: 'PACKETS',
    value: ({ packets }) => packets,
    align: 'right',
    numeric: true,
  },
  { name: 'flows', title: 'FLOWS', value: ({ flows }) => flows, align: 'right', numeric: true },
  { name: 'by', title: 'DECIDED BY', value: ({ by }) => by, cell: ({ by }) => by ?? '-' },
  { name: 'about', title: 'ABOUT', wide: true, value: ({ about }) => about },
];
const keyOf = ({ host, at, reason, by }: DropRow): string => JSON.stringify([host, at, reason, by]);

async function load(session: Session, options: Options, told: Set<string>): Promise<DropRow[]> {
  const [host, port, reason] = ['host', 'port', 'reason'].map(
    (name) => options[name] as string | undefined,
  );
  const { rows, missing } = await session.io.client.drops({ host, port, reason });
  tellMissing(session, missing, told);
  return [...rows];
}

/** `h1 port vm1: no-route +12  by router r0: …` */
function followLine(row: DropRow, packets: number): string {
  const by = row.by === undefined ? '' : `  by ${row.by}`;
  return `${harmless(`${row.host} ${row.at}: ${row.reason} +${packets}${by}`)}\n`;
}

/** What was dropped since the last look, a line each, until the run's signal. */
async function follow(session: Session, options: Options): Promise<void> {
  const { io } = session;
  const json = formatOf(options) === 'json';
  if (!json && formatOf(options) !== 'table')
    throw new UsageError('--follow: writes lines, or with -o json an object a line');
  checkList(COLUMNS, options);
  const conditions = conditionsOf(options);
  const told = new Set<string>();
  let left = (options['count'] as number | undefined) ?? Infinity;
  let last: Map<string, number> | undefined;
  if (left <= 0) return;
  await followLooks(io, async () => {
    const rows = select(COLUMNS, conditions, await load(session, options, told));
    if (last === undefined)
      io.err(`${styled(io, 'dim', 'note:')} what is dropped from now on follows\n`);
    for (const row of rows) {
      const more = row.packets - (last?.get(keyOf(row)) ?? 0);
      if (last === undefined || more <= 0 || left <= 0) continue;
      left -= 1;
      const { packets: _all, ...rest } = row;
      io.out(json ? `${JSON.stringify({ ...rest, packets: more })}\n` : followLine(row, more));
    }
    last = new Map(rows.map((row) => [keyOf(row), row.packets]));
    return left > 0;
  });
}

export function addDrops(session: Session, program: Command): void {
  const command = program
    .command('drops')
    .description('what was dropped, by host, port, reason and rule')
    .helpGroup('Looking:')
    .option('--host <host>', 'only on this host')
    .option('--port <port>', 'only at this port')
    .option('--reason <reason>', 'only for this reason')
    .option('--follow', 'what is dropped from now on, as lines, until interrupted')
    .addOption(numberOption('--count <n>', 'with --follow: stop after so many lines'));
  listingOptions(
    command,
    COLUMNS.map(({ name }) => name),
  );
  examples(command, [
    'mn drops',
    'mn drops --port vm1 -o wide',
    'mn drops --host h1 --sort -packets',
    'mn drops --reason no-route -o json',
    'mn drops --follow',
  ]);
  command.action(
    action(session, async (_args, options) => {
      if (options['follow'] === true) {
        if (watchOf(options) !== undefined)
          throw new UsageError('--follow and --watch exclude each other');
        return await follow(session, options);
      }
      if (options['count'] !== undefined)
        throw new UsageError('--count: is for --follow', 'See: mn drops --help');
      const told = new Set<string>();
      await showList(session, options, {
        columns: COLUMNS,
        load: () => load(session, options, told),
        key: keyOf,
        empty: 'nothing was dropped',
      });
    }),
  );
}
