/** Routes that are not of one kind: health, status, waiting, watching, tokens, metrics. */
import { z } from 'zod';
import { ASKS_HEADER } from '#client/asks.ts';
import type { Token, WaitResult } from '#client/types.ts';
import { WAIT_TIMEOUT_MAX_MS, WAIT_TIMEOUT_MS } from './hosts.ts';
import { TOKEN_PREFIX, tokenKey } from './keys.ts';
import { find } from './lists.ts';
import type { Node } from './node.ts';
import { Refusal, refuseField } from './problems.ts';
import { EVERY_ROLE, integerOf, json, onlyQuery, readBody, type Route } from './route.ts';
import { statusOf } from './status.ts';
import { listTokens, newToken, SOCKET_CALLER, TOKENS_MAX, TokenBody } from './tokens.ts';
import { traceRoute } from './trace.ts';

const SSE_HEADERS = {
  'content-type': 'text/event-stream',
  'cache-control': 'no-store',
  'x-accel-buffering': 'no',
};

/** What an agent says that it answers; nothing, of one that knows of no requests. */
const asksOf = ({ headers }: Request): string[] =>
  (headers.get(ASKS_HEADER) ?? '').split(',', ASKS_TOLD_MAX).map((kind) => kind.trim());
const ASKS_TOLD_MAX = 256;

/** Hosts are none of a tenant's business; how many of them lag behind is. */
function withoutNames({ revision, enforced, behind, away }: WaitResult): WaitResult {
  const unnamed = (names: readonly string[]): string[] => names.map(() => 'a host');
  return {
    revision,
    enforced: unnamed(enforced),
    behind: unnamed(behind),
    away: unnamed(away),
  };
}

const statusRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/status',
    operationId: 'get-status',
    about: 'The revision, and how the hosts that the caller may see fare.',
    who: EVERY_ROLE,
    output: 'Status',
    handle: async ({ caller, query }) => {
      onlyQuery(query, []);
      const status = await statusOf(node, caller.token);
      return json(status, { 'x-revision': String(status.revision) });
    },
  },
  {
    method: 'GET',
    path: '/v1/wait',
    operationId: 'wait',
    about:
      'Answers when every live host enforces the revision, or at the deadline; tenants are not told names.',
    who: EVERY_ROLE,
    output: 'WaitResult',
    query: [
      { name: 'revision', about: 'The revision to wait for.', type: 'integer' },
      { name: 'timeout', about: `Milliseconds, up to ${WAIT_TIMEOUT_MAX_MS}.`, type: 'integer' },
    ],
    handle: async ({ caller, query, request }) => {
      onlyQuery(query, ['revision', 'timeout']);
      const revision = integerOf(query, 'revision', undefined);
      if (revision === undefined) throw refuseField('revision', 'must be given');
      const timeoutMs = integerOf(query, 'timeout', WAIT_TIMEOUT_MS);
      if (timeoutMs > WAIT_TIMEOUT_MAX_MS)
        throw refuseField('timeout', `must be at most ${WAIT_TIMEOUT_MAX_MS}`);
      const { signal } = request;
      const result = await node.hosts.wait(revision, timeoutMs, { signal, token: caller.id });
      return json(caller.token.role === 'tenant' ? withoutNames(result) : result);
    },
  },
  {
    method: 'GET',
    path: '/v1/watch',
    operationId: 'watch',
    about: 'Server-sent events of all that the caller may see; resumes by Last-Event-ID or since.',
    who: EVERY_ROLE,
    query: [{ name: 'since', about: 'The revision that the caller has.', type: 'integer' }],
    handle: ({ caller, query, request }) => {
      onlyQuery(query, ['since']);
      const last = request.headers.get('last-event-id');
      const from = last === null ? query : new URLSearchParams({ since: last });
      const since = integerOf(from, 'since', undefined);
      const stream = node.watch.subscribe(caller, since, asksOf(request));
      return new Response(stream, { headers: SSE_HEADERS });
    },
  },
];

/** The token with its host's id in place of a name; throws when there is no such host. */
function resolveHost(node: Node, token: Token): Token {
  if (token.role !== 'host') return token;
  const { topology } = node.replica;
  try {
    return { ...token, host: find(topology, 'host', token.host, () => true).id };
  } catch {
    throw refuseField('host', `no host ${token.host}`);
  }
}

const tokenRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/tokens',
    operationId: 'list-tokens',
    about: 'The bearer tokens, without their secrets.',
    who: ['operator'],
    output: 'Tokens',
    handle: ({ query }) => {
      onlyQuery(query, []);
      return json({ items: listTokens(node.replica.tokens) });
    },
  },
  {
    method: 'POST',
    path: '/v1/tokens',
    operationId: 'issue-token',
    about: 'Issues a bearer token; its secret is shown once.',
    who: ['operator'],
    input: 'Token',
    output: 'IssuedToken',
    handle: async ({ request }) => {
      const token = resolveHost(node, await readBody(request, TokenBody));
      if (node.replica.tokens.size >= TOKENS_MAX)
        throw new Refusal(409, { detail: `there are ${TOKENS_MAX} tokens: revoke some` });
      const { key, value, id, secret } = newToken(token);
      const { revision } = await node.store.transact([{ key, modified: 0 }], [{ put: key, value }]);
      await node.replica.reached(revision);
      return json({ id, secret, ...token }, { 'x-revision': String(revision) }, 201);
    },
  },
  {
    method: 'DELETE',
    path: '/v1/tokens/:id',
    operationId: 'revoke-token',
    about: 'Revokes a bearer token; its streams end.',
    who: ['operator'],
    handle: async ({ params }) => {
      const key = tokenKey(params['id'] ?? '');
      if (!node.replica.tokens.has(key))
        throw new Refusal(404, { detail: `no token ${key.slice(TOKEN_PREFIX.length)}` });
      const { revision } = await node.store.transact([], [{ delete: key }]);
      await node.replica.reached(revision);
      return new Response(null, { status: 204, headers: { 'x-revision': String(revision) } });
    },
  },
];

export const systemRoutes = (node: Node): Route[] => [
  ...statusRoutes(node),
  ...tokenRoutes(node),
  traceRoute(node),
  {
    method: 'GET',
    path: '/healthz',
    operationId: 'get-health',
    about: 'Whether this node serves.',
    who: 'anyone',
    output: 'Health',
    handle: () => json({ serving: true, version: node.version }),
  },
  {
    method: 'GET',
    path: '/metrics',
    operationId: 'get-metrics',
    about: 'Prometheus metrics of this node; on the unix socket only.',
    who: 'local',
    handle: async () => {
      const status = await statusOf(node, SOCKET_CALLER.token);
      const { text, type } = await node.metrics.text(node, status);
      return new Response(text, { headers: { 'content-type': type } });
    },
  },
];

export const IssuedTokenBody = z
  .object({ id: z.string(), secret: z.string(), role: z.string(), name: z.string() })
  .meta({ id: 'IssuedToken', description: 'A new bearer token; the secret is not shown again.' });
