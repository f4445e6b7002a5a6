/**
 * Which hosts are alive and what they last reported; and waiting until all of them enforce a
 * revision.
 *
 * Invariants: a host is `dead` only after HOST_LEASE_MS of served time without a report; `unknown`
 * until this node has heard of it once. A wait polls nothing: reports and lapses wake it. Just
 * after the start, when the agents had no time to report yet, an unknown host counts as one that is
 * behind.
 */
import { z } from 'zod';
import {
  type AgentReport,
  HOST_LEASE_MS,
  type HostStatus,
  type WaitResult,
} from '#client/types.ts';
import { type Clock, ServingTime, after } from '#store/clock.ts';
import type { LeasedEvent, Store } from '#store/store.ts';
import type { StoredObject } from '#virtual/kind.ts';
import type { Living } from '#virtual/member-health/assign.ts';
import { DropRates } from './drop-rates.ts';
import type { Enforcement } from './enforcement.ts';
import { ALIVE_PREFIX, aliveKey } from './keys.ts';
import { mirror } from './mirror.ts';
import { Refusal } from './problems.ts';
import type { Replica } from './replica.ts';

/** Requests that may wait for hosts (`--wait`) on one node; more are refused with 503. */
export const WAITERS_MAX = 1_000;
/** Waits of one token, so that nobody takes them all. */
export const WAITS_PER_TOKEN_MAX = 64;
/** How long one request may wait for hosts; a longer wait is refused. */
export const WAIT_TIMEOUT_MAX_MS = 60_000;
export const WAIT_TIMEOUT_MS = 10_000;
const PORTS_REPORTED_MAX = 65_536;
const LIMITS_REPORTED_MAX = 64;

const count = z.int().min(0);
const text = z.string().max(1_000);
export const ReportBody = z
  .strictObject({
    revision: count.describe('Every change up to here is in force in the kernel.'),
    version: text,
    portsUp: z.array(text).max(PORTS_REPORTED_MAX),
    portsDown: z.array(z.strictObject({ port: text, why: text })).max(PORTS_REPORTED_MAX),
    counters: z.strictObject({
      upcalls: count,
      flowsInstalled: count,
      flowsNow: count,
      hits: count,
      misses: count,
      tunnelHits: count,
      injected: count,
      cut: count.default(0).describe('Packets that the agent cut to what the way on carries.'),
      drops: z.record(text, count),
    }),
    limits: z
      .array(z.strictObject({ name: text, used: count, max: count }))
      .max(LIMITS_REPORTED_MAX)
      .optional()
      .describe('How much of its limits the agent uses.'),
    machine: z
      .strictObject({ timeMs: count, kernel: text, uptimeMs: count })
      .optional()
      .describe('The clock of the host (milliseconds since 1970), its kernel, age of the agent.'),
    firstPackets: z
      .strictObject({ count, p50Ms: z.number().min(0), p99Ms: z.number().min(0) })
      .optional()
      .describe('How long first packets took, since the agent started.'),
  })
  .meta({ id: 'AgentReport', description: 'What an agent tells of its host.' });

export interface HostsOptions {
  readonly clock: Clock;
  /** Milliseconds since 1970 UTC. */
  readonly wall: () => number;
  readonly signal: AbortSignal;
  readonly enforcement: Enforcement;
}

export class Hosts {
  readonly #store: Store;
  readonly #replica: Replica;
  readonly #clock: Clock;
  readonly #time: ServingTime;
  readonly #wall: () => number;
  readonly #enforcement: Enforcement;
  readonly #rates: DropRates;
  /** By how much the host's clock was ahead at its last report. */
  readonly #aheadMs = new Map<string, number>();
  readonly #reports = new Map<string, AgentReport>();
  readonly #alive = new Set<string>();
  /** How often hosts came alive, or did not any more. */
  #turns = 0;
  /** Whom each waits for: the id of a token, or nobody's. */
  readonly #waiters = new Map<() => void, string | undefined>();
  readonly #run: Promise<void>;

  constructor(store: Store, replica: Replica, options: HostsOptions) {
    const { clock, wall, signal, enforcement } = options;
    this.#store = store;
    this.#replica = replica;
    this.#clock = clock;
    this.#wall = wall;
    this.#enforcement = enforcement;
    this.#rates = new DropRates(clock);
    this.#time = new ServingTime(clock, () => this.#wake());
    const take = (events: readonly LeasedEvent[], all: boolean): void => this.#take(events, all);
    this.#run = mirror(store.leased, { prefix: ALIVE_PREFIX, signal, take });
    replica.listen({
      changed: ({ rows }) => {
        for (const { kind, id, put } of rows)
          if (kind === 'host' && put === undefined) this.#forget(id);
        this.#wake();
      },
      replaced: () => this.#wake(),
    });
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  async report(host: string, report: AgentReport): Promise<void> {
    const entry = { key: aliveKey(host), value: JSON.stringify(report), owner: host };
    await this.#store.leased.put([entry], HOST_LEASE_MS);
  }

  status(host: StoredObject): HostStatus {
    const { id } = host;
    const report = this.#reports.get(id);
    const state = this.#alive.has(id) ? 'alive' : report === undefined ? 'unknown' : 'dead';
    const status = { host: id, name: host.name ?? '', state } as const;
    if (report === undefined) return status;
    if (state !== 'alive') return { ...status, report };
    const behindMs = this.#enforcement.behindMs(report.revision);
    const dropsPerSecond = this.#rates.perSecond(id);
    const aheadMs = this.#aheadMs.get(id);
    return {
      ...status,
      report,
      ...(behindMs !== undefined && { behindMs }),
      ...(dropsPerSecond !== undefined && { dropsPerSecond }),
      ...(aheadMs !== undefined && { aheadMs }),
    };
  }

  /** It was heard of, and is not any more. */
  isDead(host: string): boolean {
    return this.#reports.has(host) && !this.#alive.has(host);
  }
  /**
   * Whether the interface of a port is there, by the last word of the host where the port was up:
   * a location stays when its interface goes.
   */
  carries(host: string, port: string): boolean {
    const report = this.#reports.get(host);
    return report === undefined || report.portsUp.includes(port);
  }

  /** Agents had no time yet to say that they are there. */
  get #isStarting(): boolean {
    return this.#time.now() < HOST_LEASE_MS;
  }
  living(): Living {
    const hosts = this.#isStarting ? [...this.#replica.topology.list('host')] : [];
    const unheard = hosts.map(({ id }) => id).filter((id) => !this.#reports.has(id));
    return { alive: this.#alive, unsure: new Set(unheard) };
  }
  /** Another text whenever `living` may answer something else, hosts that come or go aside. */
  get livingStamp(): string {
    return `${this.#turns}${this.#isStarting ? ' starting' : ''}`;
  }

  statuses(): HostStatus[] {
    return [...this.#replica.topology.list('host')].map((host) => this.status(host));
  }

  /** Names of the hosts, by how they stand to `revision`. */
  standing(revision: number): WaitResult {
    const result = {
      revision,
      enforced: [] as string[],
      behind: [] as string[],
      away: [] as string[],
    };
    const starting = this.#isStarting;
    // A store that was put back to an older state counts its revisions anew: a word from before
    // about one that is yet to come says nothing.
    const enforces = (reported: number | undefined): boolean =>
      reported !== undefined && reported >= revision && reported <= this.#replica.revision;
    for (const { name, state, report } of this.statuses()) {
      if (state === 'alive' && enforces(report?.revision)) result.enforced.push(name);
      else if (state === 'alive' || (state === 'unknown' && starting)) result.behind.push(name);
      else result.away.push(name);
    }
    return result;
  }

  /** Answers when no live host is behind `revision`, or after `timeoutMs`. */
  async wait(
    revision: number,
    timeoutMs: number,
    { signal, token }: { readonly signal: AbortSignal; readonly token?: string | undefined },
  ): Promise<WaitResult> {
    const own = token === undefined ? [] : [...this.#waiters.values()].filter((t) => t === token);
    if (own.length >= WAITS_PER_TOKEN_MAX)
      throw new Refusal(503, { detail: `${own.length} of your requests are waiting already` });
    if (this.#waiters.size >= WAITERS_MAX)
      throw new Refusal(503, { detail: `${WAITERS_MAX} requests are waiting already` });
    const done = Promise.withResolvers<void>();
    const check = (): void => {
      if (this.#replica.revision >= revision && this.standing(revision).behind.length === 0)
        done.resolve();
    };
    const cancel = after(this.#clock, timeoutMs, done.resolve);
    signal.addEventListener('abort', () => done.resolve(), { once: true });
    this.#waiters.set(check, token);
    check();
    if (timeoutMs === 0) done.resolve();
    await done.promise;
    cancel();
    this.#waiters.delete(check);
    return this.standing(revision);
  }

  async close(): Promise<void> {
    this.#time.stop();
    await this.#run;
  }

  #take(events: readonly LeasedEvent[], all: boolean): void {
    if (all) {
      this.#alive.clear();
      this.#turns += 1;
    }
    for (const event of events) {
      const host = event.key.slice(ALIVE_PREFIX.length);
      if (event.type === 'put') {
        this.#heard(host, JSON.parse(event.value) as AgentReport);
      } else if (this.#alive.delete(host)) this.#turns += 1;
    }
    this.#measure();
    this.#wake();
  }

  #heard(host: string, report: AgentReport): void {
    if (!this.#alive.has(host)) this.#turns += 1;
    this.#alive.add(host);
    this.#reports.set(host, report);
    this.#rates.report(host, report);
    if (report.machine === undefined) this.#aheadMs.delete(host);
    else this.#aheadMs.set(host, report.machine.timeMs - this.#wall());
  }

  /** Tells what all live hosts enforce by now. */
  #measure(): void {
    if (!this.#enforcement.waiting) return;
    let least: number | undefined;
    for (const host of this.#alive) {
      const revision = this.#reports.get(host)?.revision ?? 0;
      if (least === undefined || revision < least) least = revision;
    }
    this.#enforcement.enforced(least);
  }

  #forget(host: string): void {
    this.#reports.delete(host);
    this.#alive.delete(host);
    this.#rates.forget(host);
    this.#aheadMs.delete(host);
    void this.#store.leased.delete(host, [aliveKey(host)]);
  }

  #wake(): void {
    for (const check of this.#waiters.keys()) check();
  }
}
