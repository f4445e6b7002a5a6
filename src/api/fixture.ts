/**
 * For tests: one API node over a store in memory, and clients of every role that call it without
 * sockets.
 */
import { createClient } from '#client/client.ts';
import type { Fetch } from '#client/request.ts';
import type { AgentReport, Client, Token } from '#client/types.ts';
import { manualClock } from '#store/contract.ts';
import { openSqlite } from '#store/sqlite.ts';
import type { Store } from '#store/store.ts';
import { type Api, type ApiOptions, createApi } from './app.ts';

export interface Fixture extends AsyncDisposable {
  readonly store: Store;
  readonly api: Api;
  readonly clock: ReturnType<typeof manualClock>;
  /** As the unix socket. */
  readonly operator: Client;
  /** A client with a token of its own. */
  as(token: Token): Promise<Client>;
  request(path: string, init?: RequestInit): Promise<Response>;
  secret(token: Token): Promise<string>;
}

export const BASE = 'http://api';
const fetchOf =
  (answer: (request: Request) => Promise<Response>, headers: Record<string, string>): Fetch =>
  async (path, init = {}) =>
    answer(
      new Request(`${BASE}${path}`, {
        ...init,
        headers: { ...Object.fromEntries(new Headers(init.headers)), ...headers },
      }),
    );

export function openNode(
  store: Store = openSqlite(':memory:'),
  owned = true,
  options: Pick<ApiOptions, 'historyLimits'> = {},
): Fixture {
  const clock = manualClock();
  const bugs: unknown[] = [];
  const api = createApi({
    ...options,
    store,
    clock,
    version: '1.2.3',
    onBug: (bug) => bugs.push(bug),
  });
  const operator = createClient({ fetch: fetchOf(api.operator, {}) });
  const secret = async (token: Token): Promise<string> => (await operator.issueToken(token)).secret;
  return {
    store,
    api,
    clock,
    operator,
    secret,
    as: async (token) => {
      const authorization = `Bearer ${await secret(token)}`;
      return createClient({ fetch: fetchOf(api.fetch, { authorization }) });
    },
    request: fetchOf(api.operator, {}),
    [Symbol.asyncDispose]: async () => {
      await api.close();
      if (owned) await store[Symbol.asyncDispose]();
      if (bugs.length > 0) throw new Error('requests failed by our own mistake', { cause: bugs });
    },
  };
}

/** A node whose leases run on the same clock by hand as its waits. */
export function openTimedNode(): Fixture {
  const clock = manualClock();
  const store = openSqlite(':memory:', { clock });
  const node = openNode(store);
  return {
    ...node,
    clock: {
      ...node.clock,
      advance: (ms) => {
        for (let left = ms; left > 0; left -= 100) {
          clock.advance(Math.min(left, 100));
          node.clock.advance(Math.min(left, 100));
        }
      },
    },
  };
}

export const reportAt = (revision: number): AgentReport => ({
  revision,
  version: '1.2.3',
  portsUp: [],
  portsDown: [],
  counters: {
    upcalls: 0,
    flowsInstalled: 0,
    flowsNow: 0,
    hits: 0,
    misses: 0,
    tunnelHits: 0,
    cut: 0,
    injected: 0,
    drops: {},
  },
});
