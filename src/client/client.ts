/**
 * The API as functions. It takes `fetch`, so that the same client works over sockets
 * (`connect.ts`), in a browser, and against an API in the same process.
 *
 * Invariant: a refusal becomes ApiError with the API's own words; anything that kept the answer
 * from arriving becomes Unavailable; nothing but a watch is tried twice.
 */
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { ApiError, Unavailable } from './errors.ts';
import { RETRY_DEFAULTS, type Retry, type RetryOptions } from './retry.ts';
import type { Client, KnownToken, ListQuery, Operation, Page, Problem, Written } from './types.ts';
import { watch } from './watch.ts';

export type Fetch = (path: string, init?: RequestInit) => Promise<Response>;
export interface ClientOptions {
  readonly fetch: Fetch;
  readonly retry?: RetryOptions;
}

/** Objects of one page that `listAll` asks for. */
const PAGE_LIMIT_MAX = 1_000;
/** What a wait may take beyond its own deadline. */
const WAIT_GRACE_MS = 10_000;

type Send = (path: string, init?: RequestInit, timeoutMs?: number) => Promise<Response>;

export function createClient({ fetch, retry: options = {} }: ClientOptions): Client {
  const retry: Retry = { ...RETRY_DEFAULTS, ...options };
  const send = sender(fetch, retry);
  const get = async <T>(path: string): Promise<T> => parse<T>(await send(path));
  const write = async (method: string, path: string, body?: unknown, ifRevision?: number) => {
    const condition = ifRevision === undefined ? {} : { 'if-match': `"${ifRevision}"` };
    return writtenOf(await send(path, withBody(method, body, condition)));
  };
  const list = (kind: KindName, query: ListQuery = {}): Promise<Page> =>
    get(`${pathOf(kind)}${queryText(query)}`);
  return {
    list,
    listAll: async (kind, where = {}) => {
      const items: StoredObject[] = [];
      for (let after: string | undefined; ;) {
        const page = await list(kind, {
          where,
          limit: PAGE_LIMIT_MAX,
          ...(after !== undefined && { after }),
        });
        items.push(...page.items);
        if (page.next === undefined) return items;
        after = page.next;
      }
    },
    get: (kind, idOrName) => get(pathOf(kind, idOrName)),
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

function queryText({ where = {}, limit, after }: ListQuery): string {
  const query = new URLSearchParams(where);
  if (limit !== undefined) query.set('limit', String(limit));
  if (after !== undefined) query.set('after', after);
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

function withBody(
  method: string,
  body: unknown,
  headers: Record<string, string> = {},
): RequestInit {
  if (body === undefined) return { method, headers };
  const type = method === 'PATCH' ? 'application/merge-patch+json' : 'application/json';
  return { method, headers: { ...headers, 'content-type': type }, body: JSON.stringify(body) };
}

/** One request with a deadline; its whole answer is there when it resolves. */
function sender(fetch: Fetch, retry: Retry): Send {
  return async (path, init = {}, timeoutMs = retry.requestMsMax) => {
    const late = new AbortController();
    const cancel = retry.after(timeoutMs, () => late.abort());
    try {
      const response = await checked(fetch, path, { ...init, signal: late.signal });
      const { status, headers } = response;
      const text = await response.text();
      return new Response(status === 204 ? null : text, { status, headers });
    } catch (error) {
      if (error instanceof ApiError || error instanceof Unavailable) throw error;
      throw new Unavailable(`${path}: the answer was cut off`, error);
    } finally {
      cancel();
    }
  };
}

/** Throws ApiError for a refusal, Unavailable when there was no answer. */
async function checked(fetch: Fetch, path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch (error) {
    if (error instanceof Unavailable) throw error;
    const why = error instanceof Error ? error.message : String(error);
    throw new Unavailable(`the API cannot be reached: ${why}`, error);
  }
  if (response.ok) return response;
  const problem = await problemOf(response);
  throw new ApiError(problem);
}

async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => '');
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null && 'title' in body && 'status' in body)
      return body as Problem;
  } catch {
    // Not from our API: a proxy, say.
  }
  return { type: 'about:blank', title: `HTTP ${response.status}`, status: response.status };
}

async function parse<T>(response: Response): Promise<T> {
  const text = await response.text();
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new Unavailable('the answer is not JSON', error);
  }
}

async function writtenOf(response: Response): Promise<Written> {
  const { revision, objects } = await parse<{ revision: number; objects: (StoredObject | null)[] }>(
    response,
  );
  return { revision, objects: objects.map((object) => object ?? undefined) };
}
