/**
 * The main thread's part of health checks: starts the thread that does them when there is something
 * to check, hands it its duties, and tells the API what it found.
 *
 * Invariant: level-triggered: what the API did not take is told with the next reports.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { Client, HealthReport } from '#client/types.ts';
import type { Log } from '../control.ts';
import { LIMITS } from '../limits.ts';
import type { Duties } from './duties.ts';
import type { FromHealth, HealthCounts, ToHealth } from './worker.ts';

export interface HealthOptions {
  readonly client: Pick<Client, 'reportHealth'>;
  readonly log: Log;
  readonly failed: (error: Error) => void;
  /** How many checks there have been, whenever that is another number. */
  readonly counted: (counts: HealthCounts) => void;
}

export class HealthControl {
  readonly #options: HealthOptions;
  #worker: Worker | undefined;
  #stopped = Promise.withResolvers<void>();
  #telling = false;
  /** The last trouble that was logged, of each namespace. */
  readonly #troubles = new Map<string, string>();

  constructor(options: HealthOptions) {
    this.#options = options;
  }

  follow(duties: Duties): void {
    if (this.#worker === undefined && duties.checks.length === 0) return;
    const spaces = new Set(duties.spaces.map((space) => space.interface));
    for (const each of this.#troubles.keys()) if (!spaces.has(each)) this.#troubles.delete(each);
    this.#send({ type: 'duties', duties });
  }
  #send(message: ToHealth): void {
    this.#worker ??= this.#start();
    this.#worker.postMessage(message);
  }
  #start(): Worker {
    const worker = new Worker(new URL('./worker.ts', import.meta.url));
    worker.on('message', (message: FromHealth) => this.#take(message));
    worker.on('error', this.#options.failed);
    worker.on('exit', () => this.#stopped.resolve());
    return worker;
  }
  #take(message: FromHealth): void {
    if (message.type === 'stopped') return this.#stopped.resolve();
    if (message.type === 'trouble') {
      const { space, error } = message;
      if (this.#troubles.get(space) === error) return;
      this.#troubles.set(space, error);
      return this.#options.log.warn({ space, error }, 'members cannot be checked from there');
    }
    this.#options.counted(message.counts);
    if (message.reports.length > 0 && !this.#telling) void this.#tell(message.reports);
  }
  async #tell(reports: readonly HealthReport[]): Promise<void> {
    this.#telling = true;
    try {
      await this.#options.client.reportHealth(reports);
    } catch {
      // The API is away, which is told of elsewhere: the next reports say it again.
      await sleep(LIMITS.retryFirstMs);
    }
    this.#telling = false;
  }

  async stop(): Promise<void> {
    if (this.#worker === undefined) return;
    this.#worker.postMessage({ type: 'stop' } satisfies ToHealth);
    await this.#stopped.promise;
  }
}
