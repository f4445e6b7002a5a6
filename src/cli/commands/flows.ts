/**
 * `mn flows`: the flows that are installed now, on all hosts, with what they match, what they do,
 * how much they carried and why they are there. With `--follow` those that come and go, as lines.
 *
 * Invariant: what is not shown is said: hosts that did not answer, and that there are more.
 */
import type { Command } from 'commander';
import { FLOWS_PER_ASK_MAX, type FlowRow } from '#client/flows.ts';
import { examples } from '../examples.ts';
import { follow, type FollowLine, followOptions, isFollowing } from '../following.ts';
import { count, type Style } from '../format.ts';
import { UsageError } from '../io.ts';
import { type ListColumn, listingOptions, showList } from '../listing.ts';
import { loadPages, type PageQuery, SHOWN, SHOWN_MAX } from '../pages.ts';
import { action, numberOption, type Options, type Session } from '../session.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
/** `0.4s`, `12s`, `3m20s`, `2h5m`. */
export function span(ms: number): string {
  if (ms < 10 * SECOND) return `${(ms / SECOND).toFixed(1)}s`;
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)}s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)}m${Math.floor((ms % MINUTE) / SECOND)}s`;
  return `${Math.floor(ms / HOUR)}h${Math.floor((ms % HOUR) / MINUTE)}m`;
}

export const verdictWord = ({ verdict, reason }: FlowRow): string =>
  reason === undefined ? verdict : `drop: ${reason}`;
const styleOfVerdict = (cell: string): Style | undefined =>
  cell.trim().startsWith('drop') ? 'red' : undefined;

/** Where its frames enter: a port, or what another host sends it for. */
export const entryWord = ({ port, portName, from }: FlowRow): string =>
  portName || port || from || '-';

export const FLOW_COLUMNS: readonly ListColumn<FlowRow>[] = [
  { name: 'host', title: 'HOST', value: ({ hostName, host }) => hostName || host },
  { name: 'id', title: 'ID', value: ({ id }) => id },
  { name: 'port', title: 'PORT', value: entryWord },
  { name: 'match', title: 'MATCH', value: ({ match }) => match },
  {
    name: 'verdict',
    title: 'VERDICT',
    value: ({ verdict }) => verdict,
    cell: verdictWord,
    style: styleOfVerdict,
  },
  { name: 'reason', title: '', hidden: true, value: ({ reason }) => reason },
  {
    name: 'packets',
    title: 'PACKETS',
    value: ({ packets }) => packets,
    align: 'right',
    numeric: true,
  },
  { name: 'bytes', title: 'BYTES', value: ({ bytes }) => bytes, align: 'right', numeric: true },
  {
    name: 'idle',
    title: 'IDLE',
    value: ({ idleMs }) => idleMs,
    cell: ({ idleMs }) => (idleMs === undefined ? 'unused' : span(idleMs)),
    align: 'right',
    numeric: true,
  },
  {
    name: 'age',
    title: 'AGE',
    wide: true,
    value: ({ ageMs }) => ageMs,
    cell: ({ ageMs }) => span(ageMs),
    align: 'right',
    numeric: true,
  },
  { name: 'fields', title: 'FIELDS', wide: true, value: ({ fields }) => [...fields] },
  { name: 'actions', title: 'ACTIONS', wide: true, value: ({ actions }) => actions },
  {
    name: 'cause',
    title: 'CAUSE',
    wide: true,
    value: ({ lines }) => [...lines],
    cell: ({ lines }) => (lines.length === 0 ? 'not decided anew yet' : lines.join('; ')),
  },
];

/** Flows of all pages, as far as they are to be shown. */
function loadFlows(session: Session, options: Options, told: Set<string>): Promise<FlowRow[]> {
  const { client } = session.io;
  const fetch = (query: PageQuery) => client.flows(query);
  return loadPages(session, options, { told, fetch, perPage: FLOWS_PER_ASK_MAX, noun: 'flows' });
}

/** `3 packets, 180 bytes`. */
export const carriedWord = ({ packets, bytes }: FlowRow): string =>
  `${count(packets, 'packet')}, ${count(bytes, 'byte')}`;

/** What came or went. */
function lineOf(mark: '+' | '-', row: FlowRow): FollowLine {
  const where = [row.id, row.hostName === undefined ? '' : entryWord(row)]
    .filter(Boolean)
    .join(' ');
  const carried = mark === '+' ? '' : `  ${carriedWord(row)}`;
  return {
    text: `${mark} ${where}  ${row.match}  ${verdictWord(row)}${carried}`,
    json: { change: mark === '+' ? 'new' : 'gone', row },
  };
}
function* news(rows: readonly FlowRow[], before: readonly FlowRow[]): Generator<FollowLine> {
  const [now, had] = [rows, before].map((all) => new Set(all.map(({ id }) => id)));
  for (const row of before) if (!now?.has(row.id)) yield lineOf('-', row);
  for (const row of rows) if (!had?.has(row.id)) yield lineOf('+', row);
}

export function addFlows(session: Session, program: Command): void {
  const command = program
    .command('flows')
    .description('the flows that hosts have installed now, and why')
    .helpGroup('Looking:')
    .option('--host <host>', 'only flows of this host')
    .option('--port <port>', 'only flows that enter at this port')
    .addOption(numberOption('--limit <n>', `at most so many; default ${SHOWN}`, SHOWN_MAX));
  followOptions(command, 'new and gone flows');
  listingOptions(
    command,
    FLOW_COLUMNS.map(({ name }) => name),
  );
  examples(command, [
    'mn flows',
    'mn flows --port vm1 -o wide',
    'mn flows --where verdict=drop --sort -packets',
    'mn flows --host h1 -o json',
    "mn flows --where 'packets>1000' -o 'jsonpath={.items[*].id}'",
  ]);
  command.action(
    action(session, async (_args, options) => {
      if (options['limit'] === 0) throw new UsageError('--limit: must be at least 1');
      const told = new Set<string>();
      const all = { columns: FLOW_COLUMNS, load: () => loadFlows(session, options, told) };
      const note = (rows: readonly FlowRow[]): string =>
        `${rows.length} flows now; new and gone ones follow`;
      if (isFollowing(options, 'mn flows'))
        return await follow(session, options, { ...all, note, news });
      await showList(session, options, {
        ...all,
        key: ({ id }) => id,
        empty: 'no flow found',
      });
    }),
  );
}
