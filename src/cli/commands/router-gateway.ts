/**
 * `mn router gateway`: a router's way out, and with `--snat` one public address for all that leaves
 * by it. What it writes are ordinary chains and rules.
 */
import type { Command } from 'commander';
import type { Client } from '#client/types.ts';
import { examples } from '../examples.ts';
import { UsageError } from '../io.ts';
import {
  chainNames,
  gatewayOperations,
  removal,
  type ChainRow,
  type PortRow,
  type RouterRow,
  type RuleRow,
} from '../nat-recipes.ts';
import {
  action,
  finishWrite,
  type Options,
  repeated,
  type Session,
  writeOptions,
} from '../session.ts';

/** A router, its ports, and the rules that there are. */
export async function routerParts(client: Client, name: string) {
  const router = (await client.get('router', name)) as RouterRow;
  const ports = (await client.listAll('port', { router: router.id })) as PortRow[];
  const rules = (await client.listAll('rule')) as RuleRow[];
  const names = chainNames(router.name);
  const all = (await client.listAll('chain')) as ChainRow[];
  const own = all.filter(
    (chain) =>
      chain.tenant === router.tenant && (chain.name === names.in || chain.name === names.out),
  );
  return { router, ports, rules, own, names };
}

export function portOf(ports: readonly PortRow[], router: RouterRow, text: string): PortRow {
  const port = ports.find(({ id, name }) => id === text || name === text);
  if (port === undefined) throw new UsageError(`${text}: is no port of router ${router.name}`);
  return port;
}

async function give(session: Session, router: string, out: string, options: Options) {
  const { client } = session.io;
  const parts = await routerParts(client, router);
  const port = portOf(parts.ports, parts.router, out);
  const addresses = (options['address'] as readonly string[] | undefined) ?? [];
  if (options['snat'] !== true) throw new UsageError('--snat is required: there is nothing else');
  if (parts.own.length > 0)
    throw new UsageError(
      `router ${parts.router.name} has a gateway already: mn router gateway ${parts.router.name} --off first`,
    );
  const inside = parts.ports.filter(({ id }) => id !== port.id);
  const operations = gatewayOperations(
    { router: parts.router, port, inside, addresses },
    parts.rules,
  );
  const written = await client.transact(operations);
  const to = addresses.length > 0 ? addresses.join(', ') : 'its own address';
  const line = `router ${parts.router.name} leaves by port ${port.name}, translated to ${to}`;
  return finishWrite(session, options, { written, line });
}

async function takeAway(session: Session, name: string, options: Options) {
  const { client } = session.io;
  const { router, rules, own } = await routerParts(client, name);
  if (own.length === 0) throw new UsageError(`router ${router.name} has no gateway of this kind`);
  const written = await client.transact(removal(router, own, rules));
  const line = `router ${router.name} translates nothing any more`;
  return finishWrite(session, options, { written, line });
}

export function addRouterGateway(session: Session, router: Command): void {
  const command = router
    .command('gateway')
    .description('translate what leaves by a port, and what is sent back; or stop that')
    .argument('<router>', 'name or id')
    .argument('[port]', 'name or id of its port that is the way out')
    .option('--snat', 'give what leaves a public address, and those inside ways back')
    .option(
      '--address <address>',
      "a public address in place of the port's own; several share the connections",
      repeated,
    )
    .option('--off', 'take the chains and rules away again, floating addresses with them');
  examples(command, [
    'mn port create r0-out --router r0 --networks 192.0.2.1/24',
    'mn router gateway r0 r0-out --snat --dry-run',
    'mn router gateway r0 r0-out --snat',
    'mn rule list --where chain=r0-nat-out',
    'mn router gateway r0 --off',
  ]);
  writeOptions(command).action(
    action(session, async ([name = '', port], options) => {
      if (options['off'] === true) return takeAway(session, name, options);
      if (port === undefined) throw new UsageError('give the port that is the way out, or --off');
      return give(session, name, port, options);
    }),
  );
}
