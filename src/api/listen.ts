/**
 * Sockets in front of the API.
 *
 * Invariant: the unix socket admits only who owns its file (mode 0600 from its first moment); a
 * socket file that nobody serves is replaced, one that somebody serves is not.
 */
import { getRequestListener } from '@hono/node-server';
import { once } from 'node:events';
import { chmodSync, lstatSync, mkdirSync, unlinkSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { connect } from 'node:net';
import { dirname } from 'node:path';

/**
 * A connection without a request is closed then. Node's own 5 s are so short that a client on a
 * busy machine asks on one that is just being closed, and is told ECONNRESET.
 */
const IDLE_MS = 60_000;

/** Open connections of one listener; a further one is closed at once. */
export const CONNECTIONS_MAX = 4_096;
/** Time that requests under way have to end once the API stops. */
export const STOP_GRACE_MS = 2_000;

export type Answer = (request: Request) => Promise<Response>;
export interface Listener {
  /** As `connect` of the client takes it. */
  readonly url: string;
  close(): Promise<void>;
}

function serverOf(answer: Answer): Server {
  const listener = getRequestListener(answer, { overrideGlobalObjects: false });
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  server.keepAliveTimeout = IDLE_MS;
  server.maxConnections = CONNECTIONS_MAX;
  return server;
}

async function started(server: Server, listen: () => void): Promise<void> {
  const failed = once(server, 'error').then(([error]) => Promise.reject(error as Error));
  const listening = once(server, 'listening');
  listen();
  await Promise.race([listening, failed]);
}

async function stopped(server: Server): Promise<void> {
  const closed = once(server, 'close');
  server.close();
  server.closeIdleConnections();
  const timer = setTimeout(() => server.closeAllConnections(), STOP_GRACE_MS);
  await closed;
  clearTimeout(timer);
}

/** `text`: ADDRESS:PORT, an IPv6 address in brackets. Throws when it is malformed or taken. */
export async function listenTcp(text: string, answer: Answer): Promise<Listener> {
  const [, address6, address4, portText = ''] =
    /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = address6 ?? address4;
  if (host === undefined || Number(portText) > 65_535)
    throw new Error(`--listen ${text}: must be ADDRESS:PORT`);
  const server = serverOf(answer);
  await started(server, () => server.listen({ host, port: Number(portText) }));
  const bound = server.address();
  if (bound === null || typeof bound === 'string') throw new Error('a TCP listener has no port');
  const shown = address6 === undefined ? host : `[${host}]`;
  return { url: `http://${shown}:${bound.port}`, close: () => stopped(server) };
}

/** Throws when another process serves the path, or what is there is no socket. */
export async function listenUnix(path: string, answer: Answer): Promise<Listener> {
  mkdirSync(dirname(path), { recursive: true });
  await removeStale(path);
  const server = serverOf(answer);
  const before = process.umask(0o177);
  try {
    await started(server, () => server.listen({ path }));
  } finally {
    process.umask(before);
  }
  chmodSync(path, 0o600);
  return { url: `unix:${path}`, close: () => stopped(server) };
}

async function removeStale(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket()) throw new Error(`--socket ${path}: is there and is no socket`);
  const served = await new Promise<boolean>((resolve) => {
    const socket = connect({ path });
    socket.on('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.on('error', () => resolve(false));
  });
  if (served) throw new Error(`--socket ${path}: another process serves it`);
  unlinkSync(path);
}
