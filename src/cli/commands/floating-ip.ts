/**
 * `mn floating-ip`: a public address for one workload, both ways, at a router that has a gateway.
 * What it writes are ordinary rules, and the address at the router's port, which answers for it.
 */
import type { Command } from 'commander';
import type { ObjectOf } from '#virtual/kinds.ts';
import { examples } from '../examples.ts';
import { UsageError } from '../io.ts';
import { type ListColumn, listingOptions, showList } from '../listing.ts';
import {
  floatingOperations,
  floatingRemoval,
  LABEL,
  rulesOf,
  type ChainRow,
  type PortRow,
  type RuleRow,
} from '../nat-recipes.ts';
import { action, finishWrite, type Options, type Session, writeOptions } from '../session.ts';
import { portOf, routerParts } from './router-gateway.ts';

async function add(session: Session, address: string, options: Options) {
  const { client } = session.io;
  const [router, to] = [String(options['router']), String(options['to'])];
  const parts = await routerParts(client, router);
  const chain = (name: string): ChainRow => {
    const found = parts.own.find((each) => each.name === name);
    if (found !== undefined) return found;
    throw new UsageError(
      `router ${parts.router.name} has no gateway: mn router gateway ${parts.router.name} PORT --snat first`,
    );
  };
  const chains = { in: chain(parts.names.in), out: chain(parts.names.out) };
  if (rulesOf(parts.rules, address).length > 0)
    throw new UsageError(`${address}: is a floating address already: mn floating-ip list`);
  const out = parts.rules.find(
    (rule) => rule.chain === chains.out.id && rule.name === 'rest' && rule.outPorts !== undefined,
  );
  const named = (options['port'] as string | undefined) ?? (out?.outPorts as string[])?.[0];
  if (named === undefined) throw new UsageError('--port is required: the way out is not known');
  const port = portOf(parts.ports, parts.router, named);
  const written = await client.transact(
    floatingOperations({ address, to, port, chains }, parts.rules),
  );
  const line = `floating address ${address} stands for ${to} at router ${parts.router.name}`;
  return finishWrite(session, options, { written, line });
}

async function remove(session: Session, address: string, options: Options) {
  const { client } = session.io;
  const rules = (await client.listAll('rule')) as RuleRow[];
  const own = rulesOf(rules, address);
  if (own.length === 0) throw new UsageError(`${address}: is no floating address`);
  const out = own.flatMap(({ outPorts }) => (outPorts as string[] | undefined) ?? [])[0];
  const port = out === undefined ? undefined : ((await client.get('port', out)) as PortRow);
  const written = await client.transact(floatingRemoval(address, port, own));
  return finishWrite(session, options, { written, line: `removed floating address ${address}` });
}

interface Row {
  readonly address: string;
  readonly to: string;
  readonly chain: string;
  readonly port: string;
}
const COLUMNS: readonly ListColumn<Row>[] = [
  { name: 'address', title: 'ADDRESS', value: ({ address }) => address },
  { name: 'to', title: 'TO', value: ({ to }) => to },
  { name: 'port', title: 'PORT', value: ({ port }) => port },
  { name: 'chain', title: 'CHAIN', value: ({ chain }) => chain },
];

async function load(session: Session): Promise<Row[]> {
  const { client } = session.io;
  const rules = (await client.listAll('rule')) as RuleRow[];
  const [ports, chains] = [await session.names.of('port'), await session.names.of('chain')];
  return rules
    .filter(
      ({ labels = [], outPorts }) => labels.includes(LABEL.floating) && outPorts !== undefined,
    )
    .map((rule: ObjectOf<'rule'>) => {
      const port = (rule.outPorts as readonly string[])[0] ?? '';
      return {
        address: rule.targets?.[0] ?? '',
        to: ((rule.source as string | undefined) ?? '').split('/')[0] ?? '',
        chain: chains.get(rule.chain) ?? rule.chain,
        port: ports.get(port) ?? port,
      };
    })
    .sort((a, b) => (a.address < b.address ? -1 : 1));
}

const SETUP = [
  'mn port create r0-out --router r0 --networks 192.0.2.1/24',
  'mn router gateway r0 r0-out --snat',
];

export function addFloatingIp(session: Session, program: Command): void {
  const group = program
    .command('floating-ip')
    .description('public addresses that each stand for one workload')
    .helpGroup('The virtual network:');
  examples(group, ['mn floating-ip list']);
  const adding = group
    .command('add')
    .description('let a public address stand for one inside')
    .argument('<address>', 'the public address')
    .requiredOption('--to <address>', 'the address of the workload')
    .requiredOption('--router <router>', 'the router that has the gateway')
    .option('--port <port>', 'the port of it that answers for the address; default: the way out');
  examples(adding, [...SETUP, 'mn floating-ip add 192.0.2.50 --to 10.0.1.2 --router r0']);
  writeOptions(adding).action(
    action(session, ([address = ''], options) => add(session, address, options)),
  );
  const list = group.command('list').description('those that there are');
  listingOptions(
    list,
    COLUMNS.map(({ name }) => name),
  );
  examples(list, ['mn floating-ip list']);
  list.action(
    action(session, (_args, options) =>
      showList(session, options, {
        columns: COLUMNS,
        load: () => load(session),
        key: ({ address }) => address,
        empty: 'there are no floating addresses',
      }),
    ),
  );
  const removing = group
    .command('remove')
    .description('let a public address stand for nothing any more')
    .argument('<address>', 'the public address');
  examples(removing, [
    ...SETUP,
    'mn floating-ip add 192.0.2.50 --to 10.0.1.2 --router r0',
    'mn floating-ip remove 192.0.2.50',
  ]);
  writeOptions(removing).action(
    action(session, ([address = ''], options) => remove(session, address, options)),
  );
}
