/**
 * `fetch` over sockets: `http://HOST:PORT`, `https://HOST:PORT` or `unix:/PATH`, or a list of these
 * separated by commas: a node that cannot be reached is passed over by the next request.
 */
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent, request as httpsRequest } from 'node:https';
import { Readable } from 'node:stream';
import type { Fetch } from './request.ts';
import { Unavailable } from './errors.ts';

interface Endpoint {
  readonly text: string;
  readonly options: Readonly<Record<string, unknown>>;
  readonly request: typeof httpRequest;
}

/** Throws when the text is no address of an API. */
function endpointOf(text: string): Endpoint {
  const agentOptions = { keepAlive: true };
  if (text.startsWith('unix:/')) {
    const options = { socketPath: text.slice('unix:'.length), agent: new HttpAgent(agentOptions) };
    return { text, options, request: httpRequest };
  }
  const url = URL.parse(text);
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:'))
    throw new Error(`${text}: must be http://HOST:PORT, https://HOST:PORT or unix:/PATH`);
  const secure = url.protocol === 'https:';
  const agent = secure ? new HttpsAgent(agentOptions) : new HttpAgent(agentOptions);
  const port = url.port === '' ? {} : { port: Number(url.port) };
  const hostname = url.hostname.replace(/^\[(.*)\]$/, '$1');
  const options = { protocol: url.protocol, hostname, agent, ...port };
  return { text, options, request: secure ? httpsRequest : httpRequest };
}

/** A bearer token as a header may hold it (RFC 6750 §2.1). What it throws does not show it. */
export function tokenOf(text: string): string {
  const token = text.trim();
  if (token === '') throw new Error('the token is empty');
  if (!/^[A-Za-z0-9._~+/=-]+$/.test(token)) throw new Error('what is there is no bearer token');
  return token;
}

/**
 * Throws at once when an address or the token is malformed; requests reject with Unavailable when
 * nothing answers. `token` as a function is asked at every request.
 */
export function connect(url: string, token?: string | (() => string)): Fetch {
  const endpoints = url.split(',').map((one) => endpointOf(one.trim()));
  const text = typeof token === 'string' ? tokenOf(token) : token;
  const authorization = (): Record<string, string> =>
    text === undefined
      ? {}
      : { authorization: `Bearer ${typeof text === 'string' ? text : text()}` };
  let current = 0;
  return async (path, init = {}) => {
    const endpoint = endpoints[current % endpoints.length];
    if (endpoint === undefined) throw new Error('connect: no address');
    const used = current;
    try {
      return await exchange(endpoint, path, { ...init, headers: headersOf(init, authorization()) });
    } catch (error) {
      if (current === used && !(init.signal?.aborted ?? false)) current += 1;
      const why = error instanceof Error ? error.message : String(error);
      throw new Unavailable(`${endpoint.text} cannot be reached: ${why}`, error);
    }
  };
}

const headersOf = (init: RequestInit, more: Record<string, string>): Record<string, string> => ({
  ...Object.fromEntries(new Headers(init.headers)),
  ...more,
});

async function exchange(endpoint: Endpoint, path: string, init: RequestInit): Promise<Response> {
  const { method = 'GET', headers, body, signal } = init;
  if (body !== undefined && body !== null && typeof body !== 'string')
    throw new Error('connect: a body must be text');
  const bytes = body === undefined || body === null ? undefined : Buffer.from(body);
  const length = bytes === undefined ? {} : { 'content-length': String(bytes.length) };
  const message = await new Promise<IncomingMessage>((resolve, reject) => {
    const request = endpoint.request({
      ...endpoint.options,
      path,
      method,
      headers: { ...(headers as Record<string, string>), ...length },
      ...(signal !== undefined && signal !== null && { signal }),
    });
    request.on('response', resolve);
    request.on('error', reject);
    request.end(bytes);
  });
  const reply = new Headers();
  for (const [name, value] of Object.entries(message.headers))
    if (value !== undefined) reply.set(name, Array.isArray(value) ? value.join(', ') : value);
  const status = message.statusCode ?? 500;
  const empty = status === 204 || status === 304;
  if (empty) message.resume();
  const stream = empty ? null : (Readable.toWeb(message) as ReadableStream<Uint8Array>);
  return new Response(stream, { status, headers: reply });
}
