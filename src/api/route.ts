/**
 * What a route is: the app loops over a list of these, and so does OpenAPI, so that neither can
 * know of one which the other does not. Reading of requests is here too: bounded, and strict.
 */
import type { z } from 'zod';
import { faultsOf, ruleOf } from '#virtual/faults.ts';
import { Refusal, refuseField } from './problems.ts';
import type { Caller } from './tokens.ts';

/** Bytes of one request's body; a larger one is refused with 413. */
export const REQUEST_BYTES_MAX = 1_500_000;
/** How deep lists and objects of a body may be nested: no kind has more than a few levels. */
export const JSON_DEPTH_MAX = 16;
export type Role = 'operator' | 'tenant' | 'host';
export const EVERY_ROLE: readonly Role[] = ['operator', 'tenant', 'host'];
export const NOT_HOSTS: readonly Role[] = ['operator', 'tenant'];

export interface Call {
  readonly request: Request;
  readonly caller: Caller;
  readonly params: Readonly<Record<string, string>>;
  readonly query: URLSearchParams;
}
export interface Parameter {
  readonly name: string;
  readonly about: string;
  readonly type: 'string' | 'integer' | 'boolean';
}
export interface Route {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  /** Parameters as `:id`. */
  readonly path: string;
  readonly operationId: string;
  readonly about: string;
  /** `anyone`: without a token. `local`: the unix socket only. */
  readonly who: readonly Role[] | 'anyone' | 'local';
  /** Names of components in the OpenAPI document. */
  readonly input?: string;
  readonly output?: string;
  readonly query?: readonly Parameter[];
  handle(call: Call): Promise<Response> | Response;
}

export const json = (body: unknown, headers: Record<string, string> = {}, status = 200): Response =>
  new Response(`${JSON.stringify(body)}\n`, {
    status,
    headers: { ...headers, 'content-type': 'application/json' },
  });

const CONTENT_TYPES = ['application/json', 'application/merge-patch+json'];

/** The body as JSON; throws 415, 413 or 400. */
export async function readJson(request: Request): Promise<unknown> {
  const type =
    (request.headers.get('content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
  if (!CONTENT_TYPES.includes(type)) {
    const detail = `${type === '' ? 'none' : type}; send application/json`;
    throw new Refusal(415, { detail });
  }
  const text = await readText(request);
  let body: unknown;
  try {
    body = JSON.parse(text) as unknown;
  } catch (error) {
    throw new Refusal(400, { detail: `the body is not JSON: ${(error as Error).message}` });
  }
  if (isDeeper(body, JSON_DEPTH_MAX))
    throw new Refusal(400, { detail: `the body is nested deeper than ${JSON_DEPTH_MAX} levels` });
  return body;
}

const isDeeper = (value: unknown, levels: number): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeeper(inner, levels - 1)));

async function readText(request: Request): Promise<string> {
  const tooLarge = (): Refusal =>
    new Refusal(413, { detail: `a body has at most ${REQUEST_BYTES_MAX} bytes` });
  if (Number(request.headers.get('content-length') ?? 0) > REQUEST_BYTES_MAX) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of request.body ?? []) {
    bytes += chunk.length;
    if (bytes > REQUEST_BYTES_MAX) throw tooLarge();
    chunks.push(chunk);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.concat(chunks));
  } catch {
    throw new Refusal(400, { detail: 'the body is not UTF-8' });
  }
}

/** The body, valid by a schema; throws what is wrong with it by field. */
export async function readBody<S extends z.ZodType>(
  request: Request,
  schema: S,
): Promise<z.output<S>> {
  const error = ruleOf as z.core.$ZodErrorMap;
  const parsed = schema.safeParse(await readJson(request), { error });
  if (!parsed.success) throw new Refusal(400, { errors: faultsOf(parsed.error.issues) });
  return parsed.data;
}

/** The body as an object whose fields are judged later; throws 400. */
export async function readObject(request: Request): Promise<Record<string, unknown>> {
  const body = await readJson(request);
  if (typeof body === 'object' && body !== null && !Array.isArray(body))
    return body as Record<string, unknown>;
  throw new Refusal(400, { detail: 'the body must be a JSON object' });
}

/**
 * RFC 9110 §13.1.1: the revision that the caller has seen, as in ETag; `undefined` for none or `*`.
 */
export function ifRevisionOf(request: Request): number | undefined {
  const header = request.headers.get('if-match');
  if (header === null || header.trim() === '*') return undefined;
  const [, revision] = /^\s*"?(\d{1,15})"?\s*$/.exec(header) ?? [];
  if (revision !== undefined) return Number(revision);
  throw refuseField('If-Match', 'must be a revision such as "17"');
}

/** A whole number in a query; throws 400. `missing`: the value when it is absent. */
export function integerOf<T>(query: URLSearchParams, name: string, missing: T): number | T {
  const text = query.get(name);
  if (text === null) return missing;
  if (!/^\d{1,15}$/.test(text)) throw refuseField(name, 'must be a whole number');
  return Number(text);
}

/** A choice in a query: `true` or `false`, absent means no; throws 400. */
export function choiceOf(query: URLSearchParams, name: string): boolean {
  const text = query.get(name) ?? 'false';
  if (text !== 'true' && text !== 'false') throw refuseField(name, 'must be true or false');
  return text === 'true';
}

/** Throws 400 for a parameter that the route does not have. */
export function onlyQuery(query: URLSearchParams, names: readonly string[]): void {
  const errors = [...query.keys()]
    .filter((name) => !names.includes(name))
    .map((path) => ({ path, message: 'is not a known parameter' }));
  if (errors.length > 0) throw new Refusal(400, { errors });
}
