/**
 * The agent's conversation with the outside: the API's stream in, reports, locations and learned
 * MACs out, the host's links in. It holds no topology: it passes events to the edge and carries out
 * what the edge's last state asks for.
 *
 * A refusal (a token that was revoked, an API that lost its data) is waited out like an outage:
 * what is known stays in force. Only a host that is no longer there ends the agent.
 *
 * Invariants: level-triggered (what a failed request should have done is asked for again by the
 * next state); a revision is reported only after the edge said that it is in force; nothing waits
 * without end.
 */
import { ApiError } from '#client/errors.ts';
import type { AgentReport, Client, WatchEvent } from '#client/types.ts';
import { REPORT_INTERVAL_MS } from '#client/types.ts';
import { countOf, quantile } from '#telemetry/buckets.ts';
import { FIRST_PACKET_SECONDS } from '#telemetry/metrics.ts';
import type { KindName } from '#virtual/kind.ts';
import { AskDesk, ASKS_ANSWERED } from './asks.ts';
import { LearnedQueue, withoutRefused } from './learned-queue.ts';
import { LIMITS } from './limits.ts';
import type { AgentMachine } from './machine.ts';
import type { EdgeState, FromEdge, LocalInterface, ToEdge } from './messages.ts';
import { PortsControl } from './ports-control.ts';

/** Time as the agent's main thread sees it; the world passes its own. */
export interface Clock {
  now(): number;
  /** Resolves after `ms`, or at once when `signal` aborts. */
  sleep(ms: number, signal: AbortSignal): Promise<void>;
}

export interface Links {
  /** All interfaces now, then again whenever they changed; ends when `signal` aborts. */
  watch(signal: AbortSignal): AsyncIterable<readonly LocalInterface[]>;
}

export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** The API does not have this host any more: whatever comes under its name is another one. */
export class HostGone extends Error {
  override name = 'HostGone';
}

export interface ControlOptions {
  /** The id of this host. */
  readonly host: string;
  readonly client: Client;
  readonly edge: {
    send(message: ToEdge): void;
    onMessage(take: (message: FromEdge) => void): void;
  };
  readonly links: Links;
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  /** What it runs on; absent: it has none to tell of. */
  readonly machine?: AgentMachine | undefined;
  readonly signal: AbortSignal;
}

/** A latch that a loop sleeps on: `ring` wakes it, or makes its next `wait` return at once. */
function bell(): {
  ring(): void;
  wait(timeoutMs: number, clock: Clock, signal: AbortSignal): Promise<void>;
} {
  let rung = Promise.withResolvers<void>();
  return {
    ring: () => rung.resolve(),
    async wait(timeoutMs, clock, signal) {
      const over = new AbortController();
      const stop = () => over.abort();
      signal.addEventListener('abort', stop, { once: true });
      await Promise.race([rung.promise, clock.sleep(timeoutMs, over.signal)]);
      signal.removeEventListener('abort', stop);
      over.abort();
      rung = Promise.withResolvers<void>();
    },
  };
}

/**
 * Runs until `signal` aborts. Failures of the world are retried with bounded backoff; ours are
 * thrown.
 */
export async function runControl(options: ControlOptions): Promise<void> {
  const { edge, client, clock, log, version, machine } = options;
  let state: EdgeState | undefined;
  const startedMs = clock.now();
  const desk = new AskDesk({
    client,
    edge,
    context: {
      version,
      revision: () => state?.revision ?? -1,
      upMs: () => clock.now() - startedMs,
      log,
      machine,
    },
  });
  const learned = new LearnedQueue();
  const stateBell = bell();
  const learnedBell = bell();
  const hostsBell = bell();
  const portsBell = bell();
  const ports = new PortsControl({ client, edge });
  edge.onMessage((message) => {
    if (message.type === 'state') {
      const urgent = state === undefined || differs(state, message.state);
      state = message.state;
      if (urgent) stateBell.ring();
      if (ports.isDue(state)) portsBell.ring();
      machine?.meters.state(message.state);
    } else if (message.type === 'learned') {
      learned.add(message);
      learnedBell.ring();
    } else if (message.type === 'answer') desk.answered(message);
  });
  await Promise.all([
    follow(options, desk, hostsBell.ring),
    followLinks(options),
    reportLoop(options, stateBell, () => state),
    learnLoop(options, learnedBell, learned),
    keysLoop(options, hostsBell),
    portsLoop(options, portsBell, ports, () => state),
  ]).finally(() => desk.close());
}

const differs = (a: EdgeState, b: EdgeState): boolean =>
  a.revision !== b.revision ||
  b.locate.length > 0 ||
  a.portsUp.join() !== b.portsUp.join() ||
  a.portsDown.length !== b.portsDown.length ||
  a.portsDown.some((p, i) => p.port !== b.portsDown[i]?.port || p.why !== b.portsDown[i]?.why);

/** Throws HostGone, after the edge was told. */
async function follow(
  { host, client, edge, clock, log, signal }: ControlOptions,
  desk: AskDesk,
  hostsChanged: () => void,
): Promise<void> {
  for (let retryMs = 0; !signal.aborted;) {
    try {
      for await (const event of client.watch({ signal, asks: ASKS_ANSWERED })) {
        retryMs = 0;
        if (desk.take(event)) continue;
        if (event.type === 'change') {
          const { revision, request } = event.change;
          const known = request === undefined ? {} : { request };
          log.info({ revision, ...known, rows: event.change.rows.length }, 'change');
        }
        edge.send({ type: 'event', event });
        if (touchesHosts(event)) hostsChanged();
        if (removes(event, host)) throw new HostGone(`the API does not have host ${host} any more`);
      }
      return;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      retryMs = backoff(retryMs);
      log.warn({ error: String(error), retryMs }, 'the API refuses this host');
      await clock.sleep(retryMs, signal);
    }
  }
}

function removes(event: WatchEvent, host: string): boolean {
  const isHost = (kind: KindName, id: string): boolean => kind === 'host' && id === host;
  if (event.type === 'snapshot')
    return !event.objects.some(({ kind, object }) => isHost(kind, object.id));
  if (event.type !== 'change') return false;
  return event.change.rows.some(({ kind, id, put }) => isHost(kind, id) && put === undefined);
}

/** Whether there may be another host than before. */
const touchesHosts = (event: WatchEvent): boolean =>
  event.type === 'snapshot' ||
  (event.type === 'change' && event.change.rows.some(({ kind }) => kind === 'host'));

/** The keys with which hosts tell each other of connections: at once, and now and then. */
async function keysLoop(
  { client, edge, clock, log, signal }: ControlOptions,
  wake: ReturnType<typeof bell>,
): Promise<void> {
  for (let retryMs = 0; !signal.aborted;) {
    await wake.wait(retryMs === 0 ? LIMITS.recordKeysMs : retryMs, clock, signal);
    if (signal.aborted) return;
    try {
      edge.send({ type: 'record-keys', told: await client.recordKeys() });
      retryMs = 0;
    } catch (error) {
      if (signal.aborted) return;
      retryMs = backoff(retryMs);
      log.warn({ error: String(error), retryMs }, 'no keys for records of connections');
    }
  }
}

/** Public ports: at once when some are short, and again while they are. */
async function portsLoop(
  { clock, log, signal }: ControlOptions,
  wake: ReturnType<typeof bell>,
  ports: PortsControl,
  latest: () => EdgeState | undefined,
): Promise<void> {
  for (let retryMs = 0; !signal.aborted;) {
    if (retryMs > 0) await clock.sleep(retryMs, signal);
    else await wake.wait(LIMITS.retryLongestMs, clock, signal);
    const state = latest();
    if (signal.aborted) return;
    if (state === undefined || !ports.isDue(state)) {
      retryMs = 0;
      continue;
    }
    try {
      await ports.run(state);
      retryMs = 0;
    } catch (error) {
      if (signal.aborted) return;
      retryMs = backoff(retryMs);
      log.warn({ error: String(error), retryMs }, 'no answer about public ports');
    }
  }
}

async function followLinks({ links, edge, signal }: ControlOptions): Promise<void> {
  for await (const interfaces of links.watch(signal)) edge.send({ type: 'interfaces', interfaces });
}

async function reportLoop(
  { client, clock, log, signal, version, machine }: ControlOptions,
  wake: ReturnType<typeof bell>,
  latest: () => EdgeState | undefined,
): Promise<void> {
  let retryMs = 0;
  let first = 0;
  /** The failure that was logged: an outage is one line, not one a second. */
  let told = '';
  while (!signal.aborted) {
    await wake.wait(retryMs === 0 ? REPORT_INTERVAL_MS : retryMs, clock, signal);
    const state = latest();
    if (signal.aborted || state === undefined || state.revision < 0) continue;
    const { locate } = state;
    // Each round begins where the one before ended: a port that is refused holds up no other.
    first = first < locate.length ? first : 0;
    const turn = [...locate.slice(first), ...locate.slice(0, first)];
    first += LIMITS.locateTogetherMax;
    const tasks: Promise<unknown>[] = turn
      .slice(0, LIMITS.locateTogetherMax)
      .map(({ port, interface: name, up, mtu }) =>
        client.locate(port, { interface: name, up, ...(mtu !== undefined && { mtu }) }),
      );
    tasks.push(client.report(reportOf(state, version, machine)));
    const results = await Promise.allSettled(tasks);
    const failed = results.filter((r) => r.status === 'rejected');
    machine?.meters.reported(results.at(-1)?.status === 'fulfilled');
    if (failed.length === 0) {
      if (told !== '') log.info({}, 'the API hears this host again');
      retryMs = 0;
      told = '';
      continue;
    }
    if (signal.aborted) return;
    // Never so long that a host would be taken for dead because one of its ports is refused.
    retryMs = Math.min(backoff(retryMs), REPORT_INTERVAL_MS);
    const error = String(failed[0]?.reason);
    if (error !== told) log.warn({ error, failed: failed.length, retryMs }, 'report failed');
    told = error;
  }
}

function reportOf(state: EdgeState, version: string, machine?: AgentMachine): AgentReport {
  const { revision, portsUp, portsDown, counters, limits, firstPackets } = state;
  const at = (part: number): number => quantile(FIRST_PACKET_SECONDS, firstPackets, part) * 1_000;
  const count = countOf(firstPackets);
  return {
    ...{ revision, version, portsUp, portsDown, counters, limits },
    ...(count > 0 && { firstPackets: { count, p50Ms: at(0.5), p99Ms: at(0.99) } }),
    ...(machine !== undefined && { machine: machine.about() }),
  };
}

const backoff = (ms: number): number =>
  Math.min(LIMITS.retryLongestMs, Math.max(LIMITS.retryFirstMs, ms * 2));

async function learnLoop(
  { client, clock, log, signal }: ControlOptions,
  wake: ReturnType<typeof bell>,
  queue: LearnedQueue,
): Promise<void> {
  let retryMs = 0;
  while (!signal.aborted) {
    if (queue.size === 0) await wake.wait(LIMITS.retryLongestMs, clock, signal);
    if (retryMs > 0) await clock.sleep(retryMs, signal);
    if (signal.aborted || queue.size === 0) continue;
    const batch = queue.take();
    try {
      await client.learn(batch.put, batch.forget);
      retryMs = 0;
    } catch (error) {
      if (signal.aborted) return;
      // 401 is about the token, not about these words.
      const refused = error instanceof ApiError && error.status < 500 && error.status !== 401;
      queue.restore(refused ? withoutRefused(batch, error) : batch);
      retryMs = backoff(retryMs);
      log.warn({ error: String(error), retryMs }, 'publishing learned MACs failed');
    }
  }
}
