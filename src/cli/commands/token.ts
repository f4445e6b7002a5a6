/**
 * `mn token issue|list|revoke`: bearer tokens of people, tenants and hosts. A secret goes to stdout
 * when it is issued, and nowhere else.
 */
import { type Command, Option } from 'commander';
import type { KnownToken, Token } from '#client/types.ts';
import { examples } from '../examples.ts';
import { print } from '../format.ts';
import { UsageError } from '../io.ts';
import { type ListColumn, listingOptions, showList } from '../listing.ts';
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

function listVerb(session: Session, parent: Command): void {
  const list = parent.command('list').description('list the tokens, without their secrets');
  examples(list, ['mn token list --where role=tenant --sort name']);
  listingOptions(list, ['id', 'role', 'name', 'of']).action(
    action(session, async (_args, options) => {
      const { io, names } = session;
      let hosts: ReadonlyMap<string, string> = new Map();
      const columns: readonly ListColumn<KnownToken>[] = [
        { name: 'id', title: 'ID', value: ({ id }) => id },
        { name: 'role', title: 'ROLE', value: ({ role }) => role },
        { name: 'name', title: 'NAME', value: ({ name }) => name },
        { name: 'of', title: 'OF', value: (one) => holderOf(one, (id) => hosts.get(id) ?? id) },
      ];
      const load = async (): Promise<readonly KnownToken[]> => {
        const tokens = await io.client.tokens();
        if (tokens.some(({ role }) => role === 'host')) hosts = await names.of('host');
        return tokens;
      };
      await showList(session, options, { columns, load, empty: 'no token found' });
    }),
  );
}

function revokeVerb(session: Session, token: Command): void {
  const revoke = token
    .command('revoke')
    .description('revoke a token: it is refused from now on, and its streams end');
  examples(revoke, ['mn token revoke 0123456789abcdef   # exit 1: there is none'])
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
  examples(token, ['mn token issue --role tenant --tenant acme', 'mn token list']);
  issueVerb(session, token);
  listVerb(session, token);
  revokeVerb(session, token);
}

function issueVerb(session: Session, parent: Command): void {
  const issue = parent
    .command('issue')
    .description('issue a bearer token; its secret is shown this once');
  examples(issue, [
    'mn token issue --role tenant --tenant acme',
    'mn token issue --role host --host h1',
    'mn token issue --role operator --name alice',
  ])
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
