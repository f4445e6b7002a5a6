/**
 * Bearer tokens: who is calling. The store holds only SHA-256 of a secret, which is shown once.
 *
 * Invariants: a token is `mn_ID_SECRET`, ID found by name and SECRET compared in constant time; no
 * secret is logged or stored. Requests of the unix socket come from an operator; any other request
 * needs a token.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { Token } from '#client/types.ts';
import { name } from '#virtual/fields.ts';
import { TOKEN_PREFIX, tokenKey } from './keys.ts';
import { Refusal } from './problems.ts';

/** Tokens that are valid at a time; a further one is refused. */
export const TOKENS_MAX = 100_000;

export interface TokenRecord {
  readonly id: string;
  readonly hash: string;
  readonly token: Token;
}
/** Who calls. `id`: of the token; absent for the unix socket. `request`: names this request. */
export interface Caller {
  readonly token: Token;
  readonly id?: string;
  readonly request?: string;
}
export const SOCKET_CALLER: Caller = { token: { role: 'operator', name: 'unix-socket' } };

export const TokenBody = z
  .discriminatedUnion('role', [
    z.strictObject({ role: z.literal('operator'), name }),
    z.strictObject({ role: z.literal('tenant'), name, tenant: name }),
    z.strictObject({
      role: z.literal('host'),
      name,
      host: z.string().min(1, 'must be the id or the name of a host'),
    }),
  ])
  .meta({ id: 'Token', description: 'Whom a bearer token stands for.' });

const FORM = /^Bearer +mn_([0-9a-f]{16})_([A-Za-z0-9_-]{43})$/i;
const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();
const NOBODY = hashOf('nobody').toString('hex');

export function newToken(token: Token): { key: string; value: string; id: string; secret: string } {
  const id = randomBytes(8).toString('hex');
  const secret = randomBytes(32).toString('base64url');
  const record: TokenRecord = { id, hash: hashOf(secret).toString('hex'), token };
  return { key: tokenKey(id), value: JSON.stringify(record), id, secret: `mn_${id}_${secret}` };
}

/** Throws a Refusal (401) without a valid token. `tokens`: records by key. */
export function authenticate(header: string | null, tokens: ReadonlyMap<string, string>): Caller {
  const refuse = (detail: string): Refusal =>
    new Refusal(401, { detail, headers: { 'www-authenticate': 'Bearer' } });
  if (header === null) throw refuse('send it as: Authorization: Bearer TOKEN');
  const [, id, secret] = FORM.exec(header) ?? [];
  const stored = id === undefined ? undefined : tokens.get(tokenKey(id.toLowerCase()));
  const record = stored === undefined ? undefined : (JSON.parse(stored) as TokenRecord);
  const same = timingSafeEqual(hashOf(secret ?? ''), Buffer.from(record?.hash ?? NOBODY, 'hex'));
  if (record === undefined || !same) throw refuse('the token is not known, or was revoked');
  return { token: record.token, id: record.id };
}

/** What may be shown of the tokens: never the hash. */
export const listTokens = (tokens: ReadonlyMap<string, string>): ({ id: string } & Token)[] =>
  [...tokens.values()]
    .map((value) => JSON.parse(value) as TokenRecord)
    .map(({ id, token }) => ({ id, ...token }))
    .sort((a, b) => (a.id < b.id ? -1 : 1));

/** Keys of the tokens of one host. */
export const tokensOfHost = (tokens: ReadonlyMap<string, string>, host: string): string[] =>
  [...tokens]
    .filter(([key]) => key.startsWith(TOKEN_PREFIX))
    .filter(([, value]) => {
      const { token } = JSON.parse(value) as TokenRecord;
      return token.role === 'host' && token.host === host;
    })
    .map(([key]) => key);
