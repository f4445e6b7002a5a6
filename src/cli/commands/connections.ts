/**
 * `mn connections`: the connections that hosts know because a rule asked for them: who opened them,
 * how far they are, and how long they will be remembered.
 */
import type { Command } from 'commander';
import {
  CONNECTIONS_PER_ASK_MAX,
  type ConnectionRow,
  type PublicPortsRow,
} from '#client/firewall.ts';
import { examples } from '../examples.ts';
import { UsageError } from '../io.ts';
import { type ListColumn, listingOptions, showList } from '../listing.ts';
import { loadPages, type PageQuery, SHOWN, SHOWN_MAX } from '../pages.ts';
import { action, numberOption, type Options, type Session } from '../session.ts';
import { span } from './flows.ts';

const time = (
  name: string,
  value: (row: ConnectionRow) => number,
): Omit<ListColumn<ConnectionRow>, 'title'> => ({
  name,
  value,
  cell: (row) => span(value(row)),
  align: 'right',
  numeric: true,
});

const COLUMNS: readonly ListColumn<ConnectionRow>[] = [
  { name: 'host', title: 'HOST', value: ({ hostName, host }) => hostName || host },
  { name: 'id', title: 'ID', wide: true, value: ({ id }) => id },
  { name: 'protocol', title: 'PROTOCOL', value: ({ protocol }) => protocol },
  { name: 'from', title: 'FROM', value: ({ from }) => from },
  { name: 'to', title: 'TO', value: ({ to }) => to },
  { name: 'as', title: 'AS', value: ({ as }) => as },
  { name: 'phase', title: 'PHASE', value: ({ phase }) => phase },
  { name: 'fromPort', title: 'OPENED AT', value: ({ fromPort }) => fromPort },
  { name: 'toPort', title: 'LEAVES BY', value: ({ toPort }) => toPort },
  { ...time('idle', ({ idleMs }) => idleMs), title: 'IDLE' },
  { ...time('age', ({ ageMs }) => ageMs), title: 'AGE', wide: true },
  { ...time('left', ({ leftMs }) => leftMs), title: 'KEPT FOR' },
];

const OWNED: readonly ListColumn<PublicPortsRow>[] = [
  { name: 'router', title: 'ROUTER', value: ({ routerName, router }) => routerName ?? router },
  { name: 'address', title: 'ADDRESS', value: ({ address }) => address },
  { name: 'host', title: 'HOST', value: ({ hostName, host }) => hostName ?? host },
  { name: 'owned', title: 'PORTS', value: ({ owned }) => owned, align: 'right', numeric: true },
  { name: 'used', title: 'CONNECTIONS', value: ({ used }) => used, align: 'right', numeric: true },
  {
    name: 'left',
    title: 'MORE',
    value: ({ spent }) => (spent ? 'none left' : 'to be had'),
  },
];

async function loadOwned(session: Session, told: Set<string>): Promise<PublicPortsRow[]> {
  const { rows, missing } = await session.io.client.publicPorts();
  for (const { host, why } of missing) {
    const line = `${host} does not answer: ${why}\n`;
    if (!told.has(line)) session.io.err(line);
    told.add(line);
  }
  return [...rows];
}

function load(session: Session, options: Options, told: Set<string>): Promise<ConnectionRow[]> {
  const { client } = session.io;
  const fetch = (query: PageQuery) => client.connections(query);
  const perPage = CONNECTIONS_PER_ASK_MAX;
  return loadPages(session, options, { told, fetch, perPage, noun: 'connections' });
}

export function addConnections(session: Session, program: Command): void {
  const command = program
    .command('connections')
    .description('the connections that rules have asked about')
    .helpGroup('Looking:')
    .option('--host <host>', 'only those that this host tells of')
    .option('--port <port>', 'only those that entered or left at this port')
    .option('--ports', 'instead: which hosts own which public ports, and use them; operators only')
    .addOption(numberOption('--limit <n>', `at most so many; default ${SHOWN}`, SHOWN_MAX));
  listingOptions(
    command,
    COLUMNS.map(({ name }) => name),
  );
  examples(command, [
    'mn connections',
    'mn connections --port vm1 -o wide',
    'mn connections --where phase=opening --sort -idle',
    'mn connections --host h1 -o json',
    'mn connections --ports',
  ]);
  command.action(
    action(session, async (_args, options) => {
      if (options['limit'] === 0) throw new UsageError('--limit: must be at least 1');
      const told = new Set<string>();
      if (options['ports'] === true)
        return showList(session, options, {
          columns: OWNED,
          load: () => loadOwned(session, told),
          key: ({ router, address, host }) => `${router} ${address} ${host}`,
          empty: 'no host owns public ports: nothing was translated yet',
        });
      return showList(session, options, {
        columns: COLUMNS,
        load: () => load(session, options, told),
        key: ({ id }) => id,
        empty: 'no connection is known: no rule has asked for one',
      });
    }),
  );
}
