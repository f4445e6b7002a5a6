/**
 * `mn history`: who changed what, when, field by field; the newest first. Of one object by its name
 * now, or by one it had: what is gone is found too.
 */
import type { Command } from 'commander';
import { ApiError } from '#client/errors.ts';
import type { HistoryEntry, HistoryQuery, HistoryRow } from '#client/history.ts';
import type { KindName } from '#virtual/kind.ts';
import { KIND_NAMES } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { fieldChanges, namesFor, rowTitle } from '../dry-run.ts';
import { UsageError } from '../io.ts';
import { type List, listingOptions, showList } from '../listing.ts';
import { isId, type Lookup } from '../names.ts';
import { action, numberOption, type Options, type Session } from '../session.ts';

/** Changes shown when no number is given. */
const LIMIT_DEFAULT = 50;
const LIMIT_MAX = 100_000;
/** Changes asked for at once. */
const PAGE_MAX = 1_000;

/** One object of one change. */
interface Shown extends HistoryRow {
  readonly entry: HistoryEntry;
  readonly op: 'create' | 'update' | 'delete';
}

const DONE = { create: 'created', update: 'updated', delete: 'deleted' } as const;

/** Says nothing to people: the name is said already, and a variant shows by its own fields. */
const isUnsaid = (kind: KindName, field: string): boolean =>
  field === 'name' || field === kindOf(kind).variants?.field;

/** What happened to the object, in one line. */
function changeOf(shown: Shown, name: Lookup): string {
  const { op, kind, before, after } = shown;
  const title = `${kind} ${rowTitle({ ...shown, ...(before && { after: before }) }, name)}`;
  if (op === 'delete') return `deleted ${title}`;
  const fields = fieldChanges(kind, before, after, name)
    .filter(({ field }) => op === 'update' || !isUnsaid(kind, field))
    .map(({ field, text }) => `${field}: ${text}`);
  return [`${DONE[op]} ${title}`, ...(fields.length === 0 ? [] : [fields.join('; ')])].join(', ');
}

const rowsOf = (entry: HistoryEntry): Shown[] =>
  entry.rows.map((row) => ({
    ...row,
    entry,
    op: row.before === undefined ? 'create' : row.after === undefined ? 'delete' : 'update',
  }));

/** Entries, page by page, until there are enough. */
async function entriesOf(
  { io }: Session,
  query: HistoryQuery,
  limit: number,
): Promise<HistoryEntry[]> {
  const entries: HistoryEntry[] = [];
  for (let { before } = query; ;) {
    const wanted = Math.min(limit - entries.length, PAGE_MAX);
    const page = await io.client.history({
      ...query,
      limit: wanted,
      ...(before !== undefined && { before }),
    });
    entries.push(...page.items);
    if (page.next === undefined || entries.length >= limit) return entries;
    before = page.next;
  }
}

/** The id of an object that is there, or that had this name when it last changed. */
async function idOf(session: Session, kind: KindName, target: string): Promise<string> {
  if (isId(target)) return target.toLowerCase();
  try {
    return (await session.io.client.get(kind, target)).id;
  } catch (error) {
    if (!(error instanceof ApiError) || error.status !== 404) throw error;
    const [last] = await entriesOf(session, { kind, name: target }, 1);
    const id = last?.rows[0]?.id;
    if (id === undefined) throw error;
    return id;
  }
}

function kindOfWord(word: string): KindName {
  const kind = KIND_NAMES.find((name) => name === word);
  if (kind !== undefined) return kind;
  throw new UsageError(`there is no kind '${word}'`, `The kinds are: ${KIND_NAMES.join(', ')}`);
}

async function queryOf(session: Session, args: readonly string[], options: Options) {
  const [word, target] = args;
  const kind = word === undefined ? undefined : kindOfWord(word);
  const given = (name: string): object =>
    options[name] === undefined ? {} : { [name]: options[name] };
  return {
    ...given('since'),
    ...given('before'),
    ...given('by'),
    ...given('all'),
    ...(kind !== undefined && { kind }),
    ...(kind !== undefined && target !== undefined && { id: await idOf(session, kind, target) }),
  } satisfies HistoryQuery;
}

/** `2026-11-26 06:30:00`, in UTC, as every host says it. */
const timeOf = (at: string): string => at.replace('T', ' ').replace(/\..*$/, '');

function listOf(load: () => Promise<Shown[]>, name: () => Lookup): List<Shown> {
  return {
    columns: [
      {
        name: 'revision',
        title: 'REVISION',
        value: ({ entry }) => entry.revision,
        align: 'right',
        numeric: true,
      },
      {
        name: 'when',
        title: 'WHEN',
        value: ({ entry }) => entry.at,
        cell: ({ entry }) => timeOf(entry.at),
      },
      { name: 'by', title: 'BY', value: ({ entry }) => entry.by.name },
      { name: 'op', title: 'OP', value: ({ op }) => op, hidden: true },
      { name: 'kind', title: 'KIND', value: ({ kind }) => kind, hidden: true },
      { name: 'object', title: 'OBJECT', value: (row) => rowTitle(row, name()), hidden: true },
      { name: 'id', title: 'ID', value: ({ id }) => id, hidden: true },
      { name: 'change', title: 'CHANGE', value: (row) => changeOf(row, name()) },
      { name: 'request', title: 'REQUEST', value: ({ entry }) => entry.request ?? '', wide: true },
    ],
    load,
    key: ({ entry, kind, id }) => `${entry.revision} ${kind}/${id}`,
    json: ({ entry, op, kind, id, before, after }) => {
      const { revision, at, by, request } = entry;
      const states = { ...(before && { before }), ...(after && { after }) };
      return {
        revision,
        at,
        by,
        ...(request !== undefined && { request }),
        op,
        kind,
        id,
        ...states,
      };
    },
    empty: 'no change found',
  };
}

export function addHistory(session: Session, program: Command): void {
  const history = program
    .command('history')
    .description('who changed what and when, the newest first')
    .helpGroup('Looking:')
    .argument('[kind]', 'only objects of this kind')
    .argument('[object]', 'only this one, by a name it has or had, or by its id')
    .addOption(numberOption('--since <revision>', 'only changes after this revision'))
    .addOption(numberOption('--before <revision>', 'only changes before this revision'))
    .option('--by <who>', 'only changes by this name or id of a token, or this role')
    .option('--all', 'what agents wrote too: where ports are up')
    .addOption(
      numberOption('--limit <n>', 'at most so many changes', LIMIT_MAX).default(LIMIT_DEFAULT),
    );
  listingOptions(history);
  history.action(
    action(session, async (args, options) => {
      if (options['limit'] === 0) throw new UsageError('--limit: must be at least 1');
      const query = await queryOf(session, args, options);
      let name: Lookup = (_kind, id) => id;
      const load = async (): Promise<Shown[]> => {
        const entries = await entriesOf(session, query, options['limit'] as number);
        const rows = entries.flatMap(rowsOf);
        name = await namesFor(session.names, rows);
        return rows;
      };
      await showList(
        session,
        options,
        listOf(load, () => name),
      );
    }),
  );
  history.addHelpText(
    'after',
    `
Examples:
  mn history
  mn history port vm1
  mn history --by operator --since 10
  mn history bridge --where op=create -o json
`,
  );
}
