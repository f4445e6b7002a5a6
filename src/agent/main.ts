/**
 * `mn agent`: one process a host. This thread talks to the API and watches the host's links; the
 * packet worker owns everything a packet needs. Wiring only.
 *
 * Invariant: when either thread fails, the process ends; the kernel goes on forwarding, and a
 * supervisor starts the next agent, which adopts.
 */
import { randomInt } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { createClient } from '#client/client.ts';
import { connect, tokenOf } from '#client/connect.ts';
import type { Client } from '#client/types.ts';
import type { UpcallBudget } from '#datapath/budget.ts';
import { monotonicMs } from '#os/clock.ts';
import { EventFd } from '#os/epoll.ts';
import { isLogLevel, LOG_LEVELS, type LogLevel, Logs } from '#telemetry/log.ts';
import { HostGone, runControl, type Clock, type Log } from './control.ts';
import { runGuard } from './guard.ts';
import { HealthControl } from './health/control.ts';
import type { Duties } from './health/duties.ts';
import { LIMITS } from './limits.ts';
import { openLinks } from './links.ts';
import { AgentMachine } from './machine.ts';
import { listenInRunDir, listenOnLoopback, type MetricsListener } from './metrics-server.ts';
import { CONNECTIONS_DEFAULT, CONNECTIONS_MAX } from '#datapath/ebpf/maps.ts';
import { parseLoopback } from './metrics-server.ts';
import type { FromEdge, ToEdge } from './messages.ts';
import { runStats } from './stats.ts';
import { HOST_FILE } from './wires.ts';
import type { WorkerData } from './worker.ts';

export const VERSION = '0.1.0';
/** Its own UDP port: 4789 belongs to hardware gateways and to others (RFC 7348 §8). */
export const TUNNEL_UDP_PORT = 6677;
const SLOTS_DEFAULT = 65_536;
const RING_BYTES = 8 * 1024 * 1024;

const USAGE = `mn agent: carries virtual ports on this host.
mn agent stats: what the kernel counts, port by port; also when no agent runs (--help).

  --guard                instead: isolate bound interfaces that appear while no agent runs;
                         takes --run-dir only. Start it beside the agent, in its network namespace

  --host NAME|ID         which host of the API this is (required)
  --api URL[,URL]        API nodes: http://ADDRESS:PORT or unix:/PATH (required)
  --token-file FILE      the host's bearer token (required); a new one is taken as it comes
  --run-dir DIR          pinned maps and state; default /run/midonet/agent
  --flows N              flow slots; default ${SLOTS_DEFAULT}
  --tunnel-port N        UDP port of the overlay; default ${TUNNEL_UDP_PORT}
  --connections N        connection records; default ${CONNECTIONS_DEFAULT}, 384 bytes each
  --record-port N        UDP port on which agents tell each other of connections; default: that
                         of the overlay and one more
  --tunnel-dscp WHAT     DSCP of tunnel packets: zero (default), copy (that of the packet inside),
                         or a number from 0 to 63
  --port-upcalls N       first packets a second that one port may have decided; default
                         ${LIMITS.upcallBudget.frames.perSecond}. More for a gateway, by whose port many come
  --no-peer-redirect     frames for containers take the way through the host's end of the cable,
                         where tcpdump, counters and traffic control see them; slower
  --metrics ADDRESS:PORT Prometheus metrics on an address of loopback too; they are always read
                         from metrics.sock in the run directory
  --log-level LEVEL      ${LOG_LEVELS.join(', ')}; default info. For a time: mn log-level
`;

interface Settings {
  readonly host: string;
  readonly api: string;
  readonly tokenFile: string;
  readonly runDir: string;
  readonly slots: number;
  readonly tunnelUdpPort: number;
  readonly connections: number;
  readonly recordUdpPort: number;
  readonly tunnelTos: number | 'copy';
  readonly upcallBudget: UpcallBudget;
  readonly peerRedirect: boolean;
  readonly metrics: { readonly host: string; readonly port: number } | undefined;
  readonly logLevel: LogLevel;
}

/** A setting that is wrong: told to whoever started the agent, who can mend it. */
class UsageError extends Error {
  override name = 'UsageError';
}

function wholeNumber(text: string, what: string, [least, most]: readonly [number, number]): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least || value > most)
    throw new UsageError(`--${what} must be a whole number from ${least} to ${most}, not ${text}`);
  return value;
}

const text = { type: 'string' } as const;
const OPTIONS = {
  host: text,
  api: text,
  'token-file': text,
  'run-dir': { ...text, default: '/run/midonet/agent' },
  flows: { ...text, default: String(SLOTS_DEFAULT) },
  'tunnel-port': { ...text, default: String(TUNNEL_UDP_PORT) },
  connections: { ...text, default: String(CONNECTIONS_DEFAULT) },
  'record-port': text,
  'tunnel-dscp': { ...text, default: 'zero' },
  'port-upcalls': { ...text, default: String(LIMITS.upcallBudget.frames.perSecond) },
  metrics: text,
  'log-level': { ...text, default: 'info' },
  'no-peer-redirect': { type: 'boolean', default: false },
  guard: { type: 'boolean' },
  help: { type: 'boolean', short: 'h' },
} as const;

type Values = ReturnType<typeof parseWords>;
const parseWords = (argv: readonly string[]) =>
  parseArgs({ args: [...argv], options: OPTIONS }).values;

function readSettings(values: Values): Settings {
  if (values.host === undefined)
    throw new UsageError('--host is required: the name or id of this host');
  if (values.api === undefined)
    throw new UsageError('--api is required: http://ADDRESS:PORT or unix:/PATH');
  const tokenFile = values['token-file'];
  if (tokenFile === undefined)
    throw new UsageError(
      `--token-file is required: mn token issue --role host --host ${values.host} > FILE`,
    );
  const tunnelUdpPort = wholeNumber(values['tunnel-port'], 'tunnel-port', [1, 65534]);
  return {
    host: values.host,
    api: values.api,
    tokenFile,
    runDir: values['run-dir'],
    slots: wholeNumber(values.flows, 'flows', [1024, 1_000_000]),
    tunnelUdpPort,
    connections: wholeNumber(values.connections, 'connections', [1024, CONNECTIONS_MAX]),
    recordUdpPort: wholeNumber(
      values['record-port'] ?? String(tunnelUdpPort + 1),
      'record-port',
      [1, 65535],
    ),
    tunnelTos: tosOf(values['tunnel-dscp']),
    upcallBudget: budgetOf(wholeNumber(values['port-upcalls'], 'port-upcalls', [1_000, 100_000])),
    peerRedirect: !values['no-peer-redirect'],
    metrics: metricsOf(values.metrics),
    logLevel: levelOf(values['log-level']),
  };
}

const metricsOf = (where: string | undefined): Settings['metrics'] =>
  where === undefined ? undefined : setting('--metrics', () => parseLoopback(where));

function levelOf(level: string): LogLevel {
  if (isLogLevel(level)) return level;
  throw new UsageError(`--log-level must be one of ${LOG_LEVELS.join(', ')}, not ${level}`);
}

/** The TOS of outer packets. DSCP is its upper six bits (RFC 2474 §3). */
function tosOf(dscp: string): number | 'copy' {
  if (dscp === 'copy') return dscp;
  if (dscp === 'zero') return 0;
  const value = /^\d{1,2}$/.test(dscp) ? Number(dscp) : 64;
  if (value > 63)
    throw new UsageError(
      `--tunnel-dscp must be zero, copy, or a whole number from 0 to 63, not ${dscp}`,
    );
  return value << 2;
}

/** New flows, and flows that an edit made stale, as many; bursts stay as they are. */
const budgetOf = (perSecond: number): UpcallBudget => ({
  ...LIMITS.upcallBudget,
  frames: { ...LIMITS.upcallBudget.frames, perSecond },
  stale: { ...LIMITS.upcallBudget.stale, perSecond },
});

/** Carries out what the user's settings ask for; what goes wrong is the setting's fault. */
function setting<T>(name: string, run: () => T): T {
  try {
    return run();
  } catch (error) {
    throw new UsageError(`${name}: ${(error as Error).message}`);
  }
}

/** The token in the file as it is now; the last one while the file is being replaced. */
function tokenReader(file: string): () => string {
  const read = (): string => tokenOf(readFileSync(file, 'utf8'));
  let last = setting(`--token-file ${file}`, read);
  return () => {
    try {
      last = read();
    } catch {
      // Half-written, or away for a moment; if not, the API refuses the old one in the end.
    }
    return last;
  };
}

const clock: Clock = {
  now: monotonicMs,
  sleep: (ms, signal) => sleep(ms, undefined, { signal }).catch(() => undefined),
};

interface WorkerEvents {
  readonly log: Log;
  /** The datapath is this process's, and so is its run directory. */
  opened(): void;
  failed(error: Error): void;
  duties(duties: Duties): void;
}
/** The worker, and messages to and from it. */
function startWorker(data: WorkerData, bell: EventFd, events: WorkerEvents) {
  const { log, opened, failed, duties } = events;
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { workerData: data });
  let take: (message: FromEdge) => void = () => {};
  const early: FromEdge[] = [];
  const stopped = Promise.withResolvers<void>();
  let listening = false;
  worker.on('message', (message: FromEdge) => {
    if (message.type === 'stopped') stopped.resolve();
    else if (message.type === 'opened') {
      const { adopted, migration } = message;
      log.info({ adopted, migration }, 'the datapath is open');
      opened();
    } else if (message.type === 'duties') duties(message.duties);
    else if (listening) take(message);
    else early.push(message);
  });
  worker.on('error', failed);
  worker.on('exit', () => stopped.resolve());
  return {
    send(message: ToEdge) {
      worker.postMessage(message);
      bell.ring();
    },
    onMessage(callback: (message: FromEdge) => void) {
      take = callback;
      listening = true;
      for (const message of early.splice(0)) take(message);
    },
    stopped: stopped.promise,
  };
}

/** The host's id, if the token is this host's; everything else is waited for. */
async function ownId(client: Client, name: string): Promise<string> {
  const { id } = await client.get('host', name);
  // Refused for everybody but hosts; and a host is shown the status of itself only.
  await client.learn([], []);
  const { hosts } = await client.status();
  if (hosts.some(({ host }) => host === id)) return id;
  throw new Error(`the token is that of host ${hosts[0]?.name ?? 'none'}, not of ${name}`);
}

/** The host's id: asked of the API until it answers; undefined when told to stop. */
async function hostId(
  client: Client,
  settings: Settings,
  log: Log,
  signal: AbortSignal,
): Promise<string | undefined> {
  for (
    let waitMs: number = LIMITS.retryFirstMs;
    ;
    waitMs = Math.min(waitMs * 2, LIMITS.retryLongestMs)
  ) {
    try {
      return await ownId(client, settings.host);
    } catch (error) {
      if (signal.aborted) return undefined;
      log.warn({ error: String(error), waitMs }, 'cannot start as this host yet');
      await clock.sleep(waitMs, signal);
      if (signal.aborted) return undefined;
    }
  }
}

function onStop(): AbortController {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => stop.abort());
  return stop;
}
/** Where metrics are read. What cannot be listened on is told, and carries no packet less. */
async function listenAll(
  { meters, place }: AgentMachine,
  { metrics }: Settings,
  log: Log,
): Promise<MetricsListener[]> {
  const listening = [
    listenInRunDir(meters, place.runDir),
    ...(metrics === undefined ? [] : [listenOnLoopback(meters, metrics)]),
  ];
  const listeners: MetricsListener[] = [];
  for (const each of await Promise.allSettled(listening)) {
    if (each.status === 'fulfilled') listeners.push(each.value);
    else log.warn({ error: String(each.reason) }, 'metrics cannot be read there');
  }
  log.info({ at: listeners.map(({ at }) => at) }, 'metrics can be read');
  return listeners;
}

function workerData(settings: Settings, host: string, bellFd: number): WorkerData {
  const { runDir, slots, tunnelUdpPort, tunnelTos, upcallBudget, peerRedirect } = settings;
  const { connections, recordUdpPort } = settings;
  const fixed = { host, bellFd, ringBytes: RING_BYTES, seed: randomInt(2 ** 31) };
  const more = { connections, recordUdpPort };
  return { ...fixed, ...more, runDir, slots, tunnelUdpPort, tunnelTos, upcallBudget, peerRedirect };
}

async function run(settings: Settings): Promise<void> {
  const logs = new Logs({ name: 'agent', level: settings.logLevel });
  const { log } = logs;
  const stop = onStop();
  const token = tokenReader(settings.tokenFile);
  const fetch = setting('--api', () => connect(settings.api, token));
  setting('--run-dir', () => mkdirSync(settings.runDir, { recursive: true, mode: 0o700 }));
  const client = createClient({ fetch });
  const host = await hostId(client, settings, log, stop.signal);
  if (host === undefined) return;
  // Whose agent runs here, for who attaches something without naming the host.
  setting('--run-dir', () => writeFileSync(join(settings.runDir, HOST_FILE), `${host}\n`));
  using bell = new EventFd();
  const { runDir, slots, tunnelUdpPort, recordUdpPort } = settings;
  const data = workerData(settings, host, bell.fd);
  const machine = new AgentMachine({
    logs,
    version: VERSION,
    place: { runDir, tunnelUdpPort, recordUdpPort },
  });
  let listening = Promise.resolve<MetricsListener[]>([]);
  let failure: Error | undefined;
  const failed = (error: Error): void => {
    failure = error;
    stop.abort();
  };
  const health = new HealthControl({
    ...{ client, log, failed },
    counted: (counts) => machine.meters.checked(counts),
  });
  const edge = startWorker(data, bell, {
    log,
    opened: () => {
      listening = listenAll(machine, settings, log);
    },
    failed,
    duties: (duties) => health.follow(duties),
  });
  log.info({ host, runDir, slots }, 'agent started');
  const control = runControl({
    host,
    client,
    edge,
    links: openLinks(clock),
    clock,
    log,
    version: VERSION,
    machine,
    signal: stop.signal,
  });
  let gone: HostGone | undefined;
  await control.catch((error: unknown) => {
    if (error instanceof HostGone) gone = error;
    else if (!stop.signal.aborted) throw error;
  });
  edge.send({ type: 'stop' });
  await Promise.all([edge.stopped, health.stop()]);
  await Promise.all((await listening).map((listener) => listener.close()));
  if (failure !== undefined) throw failure;
  if (gone !== undefined) throw gone;
  log.info({}, 'agent stopped; installed flows go on');
}

export async function main(argv: readonly string[]): Promise<void> {
  if (argv[0] === 'stats') {
    process.exitCode = runStats(argv.slice(1));
    return;
  }
  try {
    const values = parseWords(argv);
    if (values.help === true) process.stdout.write(USAGE);
    else if (values.guard === true)
      await runGuard(values['run-dir'], new Logs({ name: 'guard' }).log, onStop().signal);
    else await run(readSettings(values));
    process.exit(0);
  } catch (error) {
    const wrong = error instanceof UsageError || (error instanceof TypeError && 'code' in error);
    process.stderr.write(
      wrong || error instanceof HostGone
        ? `mn agent: ${error.message}\n`
        : `${error instanceof Error ? error.stack : String(error)}\n`,
    );
    process.exit(wrong ? 2 : 1);
  }
}
