/**
 * Where the agent's metrics are read: a unix socket in its run directory, for the operator of the
 * machine; and, where asked for, an address of loopback. Nothing else is answered.
 */
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { isIP } from 'node:net';
import { join } from 'node:path';
import type { AgentMeters } from './metrics.ts';

/** In the run directory. */
export const METRICS_SOCKET = 'metrics.sock';
const REQUEST_MS_MAX = 10_000;
const CONNECTIONS_MAX = 16;

export interface MetricsListener {
  /** Where it listens, for the log. */
  readonly at: string;
  close(): Promise<void>;
}

/** `127.0.0.1:9100`, `[::1]:9100`, `localhost:9100`. Throws for an address beyond loopback. */
export function parseLoopback(text: string): { readonly host: string; readonly port: number } {
  const [, six, other, port = ''] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = six ?? other ?? '';
  const isLoopback =
    host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
  if (port !== '' && isLoopback && Number(port) <= 65_535) return { host, port: Number(port) };
  throw new Error(`must be an address of loopback and a port, as 127.0.0.1:9100, not ${text}`);
}

function serverOf(meters: AgentMeters): Server {
  const server = createServer((request, response) => {
    const found = request.method === 'GET' && request.url === '/metrics';
    if (!found) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('GET /metrics\n');
      return;
    }
    meters.text().then(
      ({ text, type }) => response.writeHead(200, { 'content-type': type }).end(text),
      () => response.writeHead(500).end(),
    );
  });
  server.maxConnections = CONNECTIONS_MAX;
  server.requestTimeout = REQUEST_MS_MAX;
  return server;
}

type Where = { readonly path: string } | { readonly host: string; readonly port: number };
async function listen(server: Server, where: Where): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(where, () => resolve());
  });
  server.unref();
  const address = server.address();
  if (typeof address === 'string' || address === null) return `unix:${String(address)}`;
  return `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`;
}

const close = (server: Server): Promise<void> =>
  new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });

/** The socket in `runDir`; one that is there is left by an agent that was killed. */
export async function listenInRunDir(
  meters: AgentMeters,
  runDir: string,
): Promise<MetricsListener> {
  const path = join(runDir, METRICS_SOCKET);
  rmSync(path, { force: true });
  const server = serverOf(meters);
  const at = await listen(server, { path });
  chmodSync(path, 0o600);
  return { at, close: () => close(server) };
}

export async function listenOnLoopback(
  meters: AgentMeters,
  where: { readonly host: string; readonly port: number },
): Promise<MetricsListener> {
  const server = serverOf(meters);
  return { at: await listen(server, where), close: () => close(server) };
}
