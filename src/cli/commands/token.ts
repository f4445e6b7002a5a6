/**
 * `mn token issue|list|revoke`: bearer tokens of people, tenants and hosts. A secret goes to stdout
 * when it is issued, and nowhere else.
 */
import { type Command, Option } from 'commander';
import type { KnownToken, Token } from '#client/types.ts';
import { print, table } from '../format.ts';
import { UsageError } from '../io.ts';
import { action, formatOf, type Options, outputOption, type Session } from '../session.ts';

async function tokenOf(session: Session, options: Options): Promise<Token> {
  const role = options['role'] as Token['role'];
  const host = options['host'] as string | undefined;
  const tenant = options['tenant'] as string | undefined;
  const name = options['name'] as string | undefined;
  if (role !== 'host' && host !== undefined) throw new UsageError('--host goes with --role host');
  if (role !== 'tenant' && tenant !== undefined)
    throw new UsageError('--tenant goes with --role tenant');
  switch (role) {
    case 'host': {
      if (host === undefined) throw new UsageError('--role host needs --host');
      const object = await session.io.client.get('host', host);
      return { role, name: name ?? object.name ?? host, host: object.id };
    }
    case 'tenant':
      if (tenant === undefined) throw new UsageError('--role tenant needs --tenant');
      return { role, name: name ?? tenant, tenant };
    case 'operator':
      if (name === undefined) throw new UsageError('--role operator needs --name');
      return { role, name };
  }
}

/** Whom a token is for, beside its name. */
const holderOf = (token: Token, hostName: (id: string) => string): string =>
  token.role === 'host' ? hostName(token.host) : token.role === 'tenant' ? token.tenant : '';

const COLUMNS = ['ID', 'ROLE', 'NAME', 'OF'].map((title) => ({ title }));

function listVerb(session: Session, token: Command): void {
  token
    .command('list')
    .description('list the tokens, without their secrets')
    .addOption(outputOption())
    .action(
      action(session, async (_args, options) => {
        const { io, names } = session;
        const tokens = await io.client.tokens();
        const asTable = formatOf(options) === 'table';
        const hosts = asTable ? await names.of('host') : new Map<string, string>();
        const row = (one: KnownToken): string[] => [
          one.id,
          one.role,
          one.name,
          holderOf(one, (id) => hosts.get(id) ?? id),
        ];
        print(io, formatOf(options), {
          value: tokens,
          text: () => table(io, COLUMNS, tokens.map(row)),
        });
        if (asTable && tokens.length === 0) io.err('no token found\n');
      }),
    );
}

function revokeVerb(session: Session, token: Command): void {
  token
    .command('revoke')
    .description('revoke a token: it is refused from now on, and its streams end')
    .argument('<id>', 'its id, as mn token list shows it')
    .action(
      action(session, async ([id = '']) => {
        await session.io.client.revokeToken(id);
        session.io.out(`revoked token ${id}\n`);
      }),
    );
}

export function addToken(session: Session, program: Command): void {
  const token = program
    .command('token')
    .description('Who may ask the API for what.')
    .helpGroup('Operating:');
  issueVerb(session, token);
  listVerb(session, token);
  revokeVerb(session, token);
}

function issueVerb(session: Session, parent: Command): void {
  parent
    .command('issue')
    .description('issue a bearer token; its secret is shown this once')
    .addOption(
      new Option('--role <role>', 'what it may do')
        .choices(['operator', 'tenant', 'host'])
        .makeOptionMandatory(),
    )
    .option('--host <host>', 'of --role host: the host, by name or id')
    .option('--tenant <tenant>', 'of --role tenant: the tenant')
    .option('--name <name>', 'whom it is for; not needed for a host or tenant')
    .addOption(outputOption())
    .action(
      action(session, async (_args, options) => {
        const token = await tokenOf(session, options);
        const { secret } = await session.io.client.issueToken(token);
        print(session.io, formatOf(options), {
          value: { ...token, secret },
          text: () => `${secret}\n`,
        });
      }),
    );
}
