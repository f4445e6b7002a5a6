/**
 * The API as functions. It takes `fetch`, so that the same client works over sockets
 * (`connect.ts`), in a browser, and against an API in the same process.
 *
 * Invariant: a refusal becomes ApiError with the API's own words; anything that kept the answer
 * from arriving becomes Unavailable; nothing but a watch is tried twice.
 */
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { askAnswers } from './asks.ts';
import { healthClient } from './health.ts';
import { balanceQuestions } from './balance.ts';
import { firewallQuestions } from './firewall.ts';
import { flowQuestions } from './flows.ts';
import { historyClient } from './history.ts';
import { checked, type Fetch, parse, requestsBy, withBody, writtenOf } from './request.ts';
import { looking } from './sight.ts';
import { RETRY_DEFAULTS, type Retry, type RetryOptions } from './retry.ts';
import { recordKeysClient } from './record-keys.ts';
import { selfClient } from './self.ts';
import type { Client, KnownToken, ListQuery, Operation, Page } from './types.ts';
import { watch } from './watch.ts';
import { whatIfClient } from './what-if.ts';

export interface ClientOptions {
  readonly fetch: Fetch;
  readonly retry?: RetryOptions;
}

/** Objects of one page that `listAll` asks for. */
const PAGE_LIMIT_MAX = 1_000;
/** What a wait may take beyond its own deadline. */
const WAIT_GRACE_MS = 10_000;

export function createClient({ fetch, retry: options = {} }: ClientOptions): Client {
  const retry: Retry = { ...RETRY_DEFAULTS, ...options };
  const requests = requestsBy(fetch, retry);
  const { send, get } = requests;
  const write = async (method: string, path: string, body?: unknown, ifRevision?: number) => {
    const condition = ifRevision === undefined ? {} : { 'if-match': `"${ifRevision}"` };
    return writtenOf(await send(path, withBody(method, body, condition)));
  };
  const list = (kind: KindName, query: ListQuery = {}): Promise<Page> =>
    get(`${pathOf(kind)}${queryText(query)}`);
  return {
    ...askAnswers(requests),
    ...healthClient(requests),
    ...selfClient(requests),
    ...recordKeysClient(requests),
    ...looking(requests),
    ...flowQuestions(requests),
    ...firewallQuestions(requests),
    ...balanceQuestions(requests),
    ...whatIfClient(requests),
    list,
    listAll: async (kind, where = {}, at) => {
      const items: StoredObject[] = [];
      for (let after: string | undefined; ;) {
        const page = await list(kind, {
          where,
          at,
          limit: PAGE_LIMIT_MAX,
          ...(after !== undefined && { after }),
        });
        items.push(...page.items);
        if (page.next === undefined) return items;
        after = page.next;
      }
    },
    get: (kind, idOrName, at) => get(`${pathOf(kind, idOrName)}${queryText({ at })}`),
    create: (kind, body) => write('POST', pathOf(kind), body),
    update: (kind, idOrName, body, ifRevision) =>
      write('PATCH', pathOf(kind, idOrName), body, ifRevision),
    remove: (kind, idOrName, ifRevision) =>
      write('DELETE', pathOf(kind, idOrName), undefined, ifRevision),
    transact: (operations: readonly Operation[]) =>
      write('POST', '/v1/transactions', { operations }),
    status: () => get('/v1/status'),
    wait: async (revision, timeoutMs) => {
      const path = `/v1/wait?revision=${revision}&timeout=${timeoutMs}`;
      return parse(await send(path, {}, timeoutMs + WAIT_GRACE_MS));
    },
    trace: async (request) => parse(await send('/v1/trace', withBody('POST', request))),
    tokens: async () => (await get<{ items: readonly KnownToken[] }>('/v1/tokens')).items,
    revokeToken: async (id) => {
      await send(`/v1/tokens/${encodeURIComponent(id)}`, { method: 'DELETE' });
    },
    issueToken: async (token) => parse(await send('/v1/tokens', withBody('POST', token))),
    watch: (watchOptions) => watch((path, init) => checked(fetch, path, init), retry, watchOptions),
    ...historyClient(requests, pathOf),
    ownPorts: (wanted) => write('POST', '/v1/nat-blocks', wanted),
    returnPorts: (block) => write('DELETE', `/v1/nat-blocks/${encodeURIComponent(block)}`),
    reportHealth: async (reports) =>
      parse(await send('/v1/member-health/reports', withBody('POST', { reports }))),
    locate: (port, at) => write('PUT', `/v1/locations/${encodeURIComponent(port)}`, at),
    report: async (report) => {
      await send('/v1/hosts/self/report', withBody('PUT', report));
    },
    learn: async (put, forget) => {
      await send('/v1/learned', withBody('POST', { put, forget }));
    },
  };
}

function pathOf(kind: KindName, idOrName?: string): string {
  const path = `/v1/${kindOf(kind).path}`;
  return idOrName === undefined ? path : `${path}/${encodeURIComponent(idOrName)}`;
}

function queryText({ where = {}, limit, after, at }: ListQuery): string {
  const query = new URLSearchParams(where);
  if (limit !== undefined) query.set('limit', String(limit));
  if (after !== undefined) query.set('after', after);
  if (at !== undefined) query.set('at', String(at));
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}
