/**
 * `mn drops`: what was dropped, by host, port, reason and the rule that decided; with `--follow`
 * what is dropped from now on, as lines.
 *
 * Invariant: the packets of all rows are all that were counted; hosts that did not answer are said.
 */
import type { Command } from 'commander';
import type { DropRow } from '#client/sight.ts';
import { examples } from '../examples.ts';
import { follow, type FollowLine, followOptions, isFollowing } from '../following.ts';
import { harmless } from '../format.ts';
import { type ListColumn, listingOptions, showList } from '../listing.ts';
import { tellMissing } from '../pages.ts';
import { action, type Options, type Session } from '../session.ts';

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
function lineOf(row: DropRow, packets: number): FollowLine {
  const by = row.by === undefined ? '' : `  by ${row.by}`;
  const text = harmless(`${row.host} ${row.at}: ${row.reason} +${packets}${by}`);
  return { text, json: { ...row, packets } };
}
/** What was dropped since the last look. */
function* news(rows: readonly DropRow[], before: readonly DropRow[]): Generator<FollowLine> {
  const had = new Map(before.map((row) => [keyOf(row), row.packets]));
  for (const row of rows) {
    const more = row.packets - (had.get(keyOf(row)) ?? 0);
    if (more > 0) yield lineOf(row, more);
  }
}

export function addDrops(session: Session, program: Command): void {
  const command = program
    .command('drops')
    .description('what was dropped, by host, port, reason and rule')
    .helpGroup('Looking:')
    .option('--host <host>', 'only on this host')
    .option('--port <port>', 'only at this port')
    .option('--reason <reason>', 'only for this reason');
  followOptions(command, 'what is dropped from now on');
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
      const told = new Set<string>();
      const all = { columns: COLUMNS, load: () => load(session, options, told) };
      const note = (): string => 'what is dropped from now on follows';
      if (isFollowing(options, 'mn drops'))
        return await follow(session, options, { ...all, note, news });
      await showList(session, options, {
        ...all,
        key: keyOf,
        empty: 'nothing was dropped',
      });
    }),
  );
}
