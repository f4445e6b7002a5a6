/**
 * One request to the API: sending it with a deadline, and reading what came back.
 *
 * Invariant: a refusal becomes ApiError with the API's own words; anything that kept the answer
 * from arriving becomes Unavailable.
 */
import type { StoredObject } from '#virtual/kind.ts';
import { ApiError, Unavailable } from './errors.ts';
import type { Retry } from './retry.ts';
import type { Problem, Written } from './types.ts';

export type Fetch = (path: string, init?: RequestInit) => Promise<Response>;
export type Send = (path: string, init?: RequestInit, timeoutMs?: number) => Promise<Response>;

/** What the parts of the client (`flows.ts`, …) are made of. */
export interface Requests {
  /** One request with a deadline; its whole answer is there when it resolves. */
  readonly send: Send;
  /** The answer as JSON. */
  get<T>(path: string): Promise<T>;
  /** The same of a request with a JSON body. */
  ask<T>(method: string, path: string, body?: unknown, timeoutMs?: number): Promise<T>;
  /** A request whose answer is read as it comes, without a deadline; `signal` ends it. */
  readonly open: (path: string, init?: RequestInit) => Promise<Response>;
}

export function requestsBy(fetch: Fetch, retry: Retry): Requests {
  const send = sender(fetch, retry);
  return {
    send,
    get: async (path) => parse(await send(path)),
    ask: async (method, path, body, timeoutMs) =>
      parse(await send(path, withBody(method, body), timeoutMs)),
    open: async (path, init = {}) => checked(fetch, path, init),
  };
}

export function withBody(
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
export async function checked(fetch: Fetch, path: string, init: RequestInit): Promise<Response> {
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

export async function parse<T>(response: Response): Promise<T> {
  const text = await response.text();
  try {
    return JSON.parse(text) as T;
  } catch (error) {
    throw new Unavailable('the answer is not JSON', error);
  }
}

export async function writtenOf(response: Response): Promise<Written> {
  type Answer = Omit<Written, 'objects'> & { readonly objects: readonly (StoredObject | null)[] };
  const answer = await parse<Answer>(response);
  return { ...answer, objects: answer.objects.map((object) => object ?? undefined) };
}
