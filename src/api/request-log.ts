/**
 * One id for each request, and one line of the log: who asked for what, how it ended, how long it
 * took. Never a body, a header or a query.
 *
 * What changes something, or was refused, is told at `info`; what only looks, and the words of
 * agents that come every second, at `debug`; our own mistakes at `error`.
 */
import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Route } from './route.ts';
import type { Caller } from './tokens.ts';

export const REQUEST_ID_HEADER = 'x-request-id';
/** As the caller may choose it: it goes into logs, so nothing but these. */
const FORM = /^[A-Za-z0-9._-]{1,64}$/;
const PATH_CHARACTERS_MAX = 200;

/** The caller's id if it has the form, else one of our own. */
export function requestIdOf(request: Request): string {
  const given = request.headers.get(REQUEST_ID_HEADER);
  return given !== null && FORM.test(given) ? given : randomBytes(8).toString('hex');
}

export interface Answered {
  readonly id: string;
  readonly request: Request;
  /** Undefined: there is no such route. */
  readonly route: Route | undefined;
  /** Undefined: it was not found out. */
  readonly caller: Caller | undefined;
  readonly status: number;
  readonly ms: number;
}

const whoOf = ({ token, id }: Caller): string =>
  `${token.role} ${token.name}${id === undefined ? '' : ` (${id})`}`;

function levelOf({ route, status, request }: Answered): 'error' | 'info' | 'debug' {
  if (status === 500) return 'error';
  const looks = ['GET', 'HEAD'].includes(request.method);
  const agents = route !== undefined && Array.isArray(route.who) && route.who.join() === 'host';
  return status < 400 && (looks || agents) ? 'debug' : 'info';
}

export function logRequest(log: Logger, answered: Answered): void {
  const { id, request, route, caller, status, ms } = answered;
  const { pathname } = new URL(request.url);
  log[levelOf(answered)](
    {
      request: id,
      who: caller === undefined ? 'nobody' : whoOf(caller),
      method: request.method,
      path: pathname.slice(0, PATH_CHARACTERS_MAX),
      route: route?.operationId ?? 'none',
      status,
      ms: Math.round(ms * 100) / 100,
    },
    'request',
  );
}
