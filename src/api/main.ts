/**
 * `mn api`: one API node over the embedded store.
 *
 * Prints one line `ready URL…` on stdout when it serves; logs are JSON lines on stderr. The unix
 * socket is the operator's; every TCP listener wants a token. SIGTERM and SIGINT end streams, then
 * requests, then the store.
 */
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { systemClock } from '#store/clock.ts';
import { openSqlite } from '#store/sqlite.ts';
import type { Store } from '#store/store.ts';
import { isLogLevel, LOG_LEVELS, type LogLevel, Logs } from '#telemetry/log.ts';
import { type Api, createApi } from './app.ts';
import { type Listener, listenTcp, listenUnix } from './listen.ts';

export const SOCKET_DEFAULT = '/run/midonet/api.sock';
const USAGE =
  'usage: mn api --data DIR [--listen ADDRESS:PORT]… [--socket PATH] [--log-level LEVEL]';
const HELP = `mn api: serves the API over a store of its own.

  --data DIR             where the store is kept (required); one API at a time
  --socket PATH          the operator's unix socket; default ${SOCKET_DEFAULT}
  --listen ADDRESS:PORT  a TCP listener, for whoever has a token; may be given several times
  --log-level LEVEL      ${LOG_LEVELS.join(', ')}; default info. For a time: mn log-level
  -h, --help             this text
`;

interface Options {
  readonly data: string;
  readonly listen: readonly string[];
  readonly socket: string;
  readonly logLevel: LogLevel;
}

/** `undefined` when only help was asked for. */
function optionsOf(argv: readonly string[]): Options | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      data: { type: 'string' },
      listen: { type: 'string', multiple: true },
      socket: { type: 'string' },
      'log-level': { type: 'string', default: 'info' },
      help: { type: 'boolean', short: 'h' },
    },
  });
  if (values.help === true) return undefined;
  if (values.data === undefined) throw new Error('--data DIR is missing');
  const logLevel = values['log-level'];
  if (!isLogLevel(logLevel))
    throw new Error(`--log-level ${logLevel}: must be one of ${LOG_LEVELS.join(', ')}`);
  return {
    logLevel,
    data: values.data,
    listen: values.listen ?? [],
    socket: values.socket ?? SOCKET_DEFAULT,
  };
}

function versionOf(): string {
  const text = readFileSync(new URL('../../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

/** Opens the store in `data`; throws when it is in use or broken. */
async function openStore(data: string): Promise<Store> {
  mkdirSync(data, { recursive: true, mode: 0o700 });
  const store = openSqlite(join(data, 'store.db'), { clock: systemClock });
  try {
    await store.list('/none');
  } catch (error) {
    await store[Symbol.asyncDispose]();
    if (!(error as Error).message.includes('database is locked')) throw error;
    throw new Error(`--data ${data}: another process has it open`, { cause: error });
  }
  return store;
}

async function listenAll(api: Api, { socket, listen }: Options): Promise<Listener[]> {
  const listeners = [await listenUnix(socket, api.operator)];
  try {
    for (const text of listen) listeners.push(await listenTcp(text, api.fetch));
  } catch (error) {
    await Promise.all(listeners.map((listener) => listener.close()));
    throw error;
  }
  return listeners;
}

/** Runs until a signal; sets the exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  let options: Options | undefined;
  try {
    options = optionsOf(argv);
  } catch (error) {
    process.stderr.write(`mn api: ${(error as Error).message}\n${USAGE}\n`);
    process.exitCode = 2;
    return;
  }
  if (options === undefined) {
    process.stdout.write(HELP);
    return;
  }
  try {
    await serve(options);
  } catch (error) {
    process.stderr.write(`mn api: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}

async function serve(options: Options): Promise<void> {
  const logs = new Logs({ level: options.logLevel });
  const { log } = logs;
  await using store = await openStore(options.data);
  const version = versionOf();
  const api = createApi({ store, clock: systemClock, version, logs });
  let listeners: Listener[] = [];
  const stop = Promise.withResolvers<NodeJS.Signals>();
  const onSignal = (signal: NodeJS.Signals): void => stop.resolve(signal);
  process.on('SIGTERM', onSignal).on('SIGINT', onSignal);
  try {
    await api.ready;
    listeners = await listenAll(api, options);
    const urls = listeners.map(({ url }) => url);
    log.info({ urls, version }, 'serving');
    process.stdout.write(`ready ${urls.join(' ')}\n`);
    log.info({ signal: await stop.promise }, 'stopping');
  } finally {
    process.off('SIGTERM', onSignal).off('SIGINT', onSignal);
    await Promise.all([api.close(), ...listeners.map((listener) => listener.close())]);
  }
}
