/**
 * How many frames a host drops in a second: the difference of its last two reports. Reports come
 * once a second, and at once when a port changes, so what is too close to the one before is not
 * taken by itself. A host that stopped reporting drops nothing that anybody knows of.
 */
import { type AgentReport, HOST_LEASE_MS } from '#client/types.ts';
import type { Clock } from '#store/clock.ts';

/** Reports closer together than this say too little. */
const APART_MS = 800;

interface Seen {
  readonly atMs: number;
  readonly drops: number;
  readonly perSecond: number;
}

const dropsOf = ({ counters }: AgentReport): number =>
  Object.values(counters.drops).reduce((sum, n) => sum + n, 0);

export class DropRates {
  readonly #clock: Clock;
  readonly #seen = new Map<string, Seen>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  report(host: string, report: AgentReport): void {
    const atMs = this.#clock.now();
    const before = this.#seen.get(host);
    const drops = dropsOf(report);
    // Maps of another agent count from 0.
    if (before === undefined || drops < before.drops) {
      this.#seen.set(host, { atMs, drops, perSecond: 0 });
      return;
    }
    const apartMs = atMs - before.atMs;
    if (apartMs < APART_MS) return;
    this.#seen.set(host, { atMs, drops, perSecond: (drops - before.drops) / (apartMs / 1_000) });
  }
  forget(host: string): void {
    this.#seen.delete(host);
  }
  /** Undefined: not known now. */
  perSecond(host: string): number | undefined {
    const seen = this.#seen.get(host);
    if (seen === undefined || this.#clock.now() - seen.atMs > HOST_LEASE_MS) return undefined;
    return seen.perSecond;
  }
}
