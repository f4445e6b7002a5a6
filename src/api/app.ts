/**
 * The API without sockets: a function from request to response. `main.ts` puts it behind listeners;
 * tests and the world call it directly.
 *
 * Invariants: `fetch` trusts nobody without a token; `operator` is for what arrived on the unix
 * socket. Every route of the list is served and documented; every refusal is problem+json; our own
 * mistakes answer 500 and are told to `onBug`.
 */
import { type Context, Hono } from 'hono';
import type { Clock } from '#store/clock.ts';
import type { Store } from '#store/store.ts';
import { askRoutes } from './ask-routes.ts';
import { Asks } from './asks.ts';
import { healthRoutes } from './health-routes.ts';
import { backupRoutes } from './backup-routes.ts';
import { historyRoutes } from './history-routes.ts';
import { connectionRoutes } from './connection-routes.ts';
import { flowRoutes } from './flow-routes.ts';
import { HISTORY_LIMITS, type HistoryLimits } from './history-rows.ts';
import { History } from './history.ts';
import { hostRoutes } from './host-routes.ts';
import { Hosts } from './hosts.ts';
import { Learned } from './learned.ts';
import { Logs } from '#telemetry/log.ts';
import { Enforcement } from './enforcement.ts';
import { logRequest, REQUEST_ID_HEADER, requestIdOf } from './request-log.ts';
import { Sorted } from './lists.ts';
import { MemberChecks } from './member-checks.ts';
import { memberRoutes } from './member-routes.ts';
import { Metrics } from './metrics.ts';
import type { Node } from './node.ts';
import { openapi } from './openapi.ts';
import { problemResponse, Refusal, refusalOf } from './problems.ts';
import { recordKeyRoutes } from './record-keys.ts';
import { Replica } from './replica.ts';
import { resourceRoutes } from './resources.ts';
import { rollbackRoutes } from './rollback.ts';
import { json, onlyQuery, type Route } from './route.ts';
import { selfRoutes } from './self-routes.ts';
import { balanceRoutes } from './balance-routes.ts';
import { ruleRoutes } from './rule-routes.ts';
import { sightRoutes } from './sight-routes.ts';
import { systemRoutes } from './system-routes.ts';
import { authenticate, type Caller, SOCKET_CALLER } from './tokens.ts';
import { Watch } from './watch.ts';
import { whatIfRoute } from './what-if-routes.ts';
import { Writes } from './writes.ts';

export interface ApiOptions {
  readonly store: Store;
  readonly clock: Clock;
  readonly version: string;
  /** Where requests are told of; absent: they are kept in memory only. */
  readonly logs?: Logs;
  readonly historyLimits?: HistoryLimits;
  /** Told of what answered 500. */
  readonly onBug?: (error: unknown) => void;
}
export interface Api {
  /** A request from a TCP listener: needs a bearer token. */
  fetch(request: Request): Promise<Response>;
  /** A request from the unix socket, whose file mode admits the operator only. */
  operator(request: Request): Promise<Response>;
  /** Resolves when this node has read the store and serves. */
  readonly ready: Promise<void>;
  /** Ends streams and waits, and stops following the store; the store stays open. */
  close(): Promise<void>;
}

type Env = { Bindings: { readonly local: boolean } };

export function createApi(options: ApiOptions): Api {
  const { store, clock, version, historyLimits = HISTORY_LIMITS, onBug = () => {} } = options;
  const wall = (): number => Math.round(clock.wall?.() ?? clock.now());
  const stop = new AbortController();
  const metrics = new Metrics();
  const replica = new Replica(store, clock);
  const enforcement = new Enforcement(replica, clock, (ms) => metrics.enforcementTook(ms));
  const startMs = clock.now();
  const learned = new Learned(store, replica, stop.signal);
  const watch = new Watch(replica, learned, clock);
  const { signal } = stop;
  const history = new History({ store, replica, clock, limits: historyLimits, signal });
  const node: Node = {
    store,
    version,
    replica,
    learned,
    history,
    writes: new Writes(store, replica, history, (ms) => metrics.commitTook(ms)),
    sorted: new Sorted(replica),
    hosts: new Hosts(store, replica, { clock, wall, signal: stop.signal, enforcement }),
    watch,
    asks: new Asks(watch, clock),
    metrics,
    enforcement,
    logs: options.logs ?? new Logs({ write: () => {} }),
    uptimeMs: () => clock.now() - startMs,
    wall,
  };
  const checks = new MemberChecks({
    ...{ replica, clock, wall, writes: node.writes, hosts: node.hosts },
    onBug: (error) => {
      node.logs.log.error({ err: error }, 'checks of members failed by our own mistake');
      onBug(error);
    },
  });
  const app = appOf(node, routesOf(node), onBug);
  return {
    fetch: async (request) => app.fetch(request, { local: false }),
    operator: async (request) => app.fetch(request, { local: true }),
    ready: replica.ready,
    close: async () => {
      stop.abort();
      node.asks.close();
      node.watch.close();
      const checked = checks.close();
      await Promise.all([replica.close(), node.hosts.close(), learned.close(), history.close()]);
      await checked;
    },
  };
}

/** Every route; the last describes them all. */
function routesOf(node: Node): Route[] {
  const routes = [
    ...resourceRoutes(node),
    ...hostRoutes(node),
    ...memberRoutes(node),
    ...healthRoutes(node),
    ...askRoutes(node),
    ...connectionRoutes(node),
    ...flowRoutes(node),
    ...ruleRoutes(node),
    ...balanceRoutes(node),
    ...sightRoutes(node),
    whatIfRoute(node),
    ...systemRoutes(node),
    ...selfRoutes(),
    ...recordKeyRoutes(node),
    ...historyRoutes(node),
    ...rollbackRoutes(node),
    ...backupRoutes(node),
  ];
  let text: unknown;
  const describe: Route = {
    method: 'GET',
    path: '/openapi.json',
    operationId: 'get-openapi',
    about: 'This description.',
    who: 'anyone',
    handle: () => json((text ??= openapi([...routes, describe], node.version))),
  };
  return [...routes, describe];
}

/** A request under way. `caller`: as soon as it is known. */
interface Asked {
  readonly id: string;
  readonly request: Request;
  readonly startMs: number;
  readonly route?: Route;
  caller?: Caller;
}
const askedOf = ({ req }: Context<Env>, route?: Route): Asked => ({
  id: requestIdOf(req.raw),
  request: req.raw,
  startMs: performance.now(),
  ...(route !== undefined && { route }),
});

/** Counts and logs what was answered, and names the request in it. */
function finish(node: Node, asked: Asked, response: Response): Response {
  const { id, request, route, caller, startMs } = asked;
  const ms = performance.now() - startMs;
  const { status } = response;
  node.metrics.request(route === undefined ? 'other' : `${route.method} ${route.path}`, status);
  node.metrics.requestTook(route?.method ?? 'other', ms);
  logRequest(node.logs.log, { id, request, route, caller, status, ms });
  response.headers.set(REQUEST_ID_HEADER, id);
  return response;
}

function appOf(node: Node, routes: readonly Route[], onBug: (error: unknown) => void): Hono<Env> {
  const app = new Hono<Env>();
  const refuse = (asked: Asked, error: unknown): Response => {
    const refusal = refusalOf(error);
    if (refusal === undefined) {
      node.logs.log.error({ request: asked.id, err: error }, 'a request failed by our own mistake');
      onBug(error);
    }
    return finish(node, asked, problemResponse(refusal ?? new Refusal(500)));
  };
  for (const route of routes)
    app.on(route.method, route.path, async (context) => {
      const asked = askedOf(context, route);
      try {
        return finish(node, asked, await serve(node, asked, route, context));
      } catch (error) {
        return refuse(asked, error);
      }
    });
  for (const [path, same] of Map.groupBy(routes, ({ path: p }) => pathForm(p))) {
    const allow = same.map(({ method }) => method).join(', ');
    app.all(path, (context) => {
      const detail = `${context.req.method}; allowed: ${allow}`;
      return refuse(askedOf(context), new Refusal(405, { detail, headers: { allow } }));
    });
  }
  app.notFound((context) =>
    refuse(askedOf(context), new Refusal(404, { detail: `no route ${context.req.path}` })),
  );
  return app;
}
/** Paths that differ in the names of their parameters only are one path. */
const pathForm = (path: string): string => path.replaceAll(/:\w+/g, ':it');

async function serve(
  node: Node,
  asked: Asked,
  route: Route,
  context: Context<Env>,
): Promise<Response> {
  const { request, id } = asked;
  await node.replica.ready;
  const caller = { ...callerOf(node, route, context), request: id };
  asked.caller = caller;
  const query = new URL(request.url).searchParams;
  // A condition or an option that is ignored would do what the caller did not mean.
  if (route.method !== 'GET')
    onlyQuery(
      query,
      (route.query ?? []).map(({ name }) => name),
    );
  const response = await route.handle({ request, caller, params: context.req.param(), query });
  // RFC 9110 §9.3.2: the answer to HEAD has no body, so nobody would ever read a stream to its end.
  if (request.method === 'HEAD') await response.body?.cancel();
  return response;
}

/** A caller who has shown nothing: sees and may do nothing. */
const ANYONE: Caller = { token: { role: 'tenant', name: 'anyone', tenant: '' } };

/** Who calls; throws 401 or 403. */
function callerOf({ replica }: Node, route: Route, context: Context<Env>): Caller {
  const { local } = context.env;
  if (route.who === 'anyone') return ANYONE;
  const header = context.req.raw.headers.get('authorization');
  const caller = local && header === null ? SOCKET_CALLER : authenticate(header, replica.tokens);
  if (route.who === 'local') {
    if (local) return caller;
    throw new Refusal(403, { detail: 'on the unix socket only' });
  }
  const { role } = caller.token;
  if (!route.who.includes(role))
    throw new Refusal(403, { detail: `${role}s may not; this is for ${route.who.join(', ')}s` });
  return caller;
}
