/**
 * Keeps a host's duties: checks each member in its interval, and tells of those whose status, or
 * its reason, is not as everybody knows it.
 *
 * Invariants: one check of a member at a time, and a bounded number of all; what is to be told is
 * told again until the topology says it, so no word is lost by an API that is away; a member is
 * judged by checks of its own monitor alone. Members begin at places of their own in the interval.
 */
import type { HealthReport } from '#client/types.ts';
import { advance, UNKNOWN, type Checked, type Verdict } from '#virtual/health-monitor/verdict.ts';
import { HEALTH_REASON_MAX } from '#virtual/member-health/member-health.ts';
import { LIMITS } from '../limits.ts';
import { NO_DUTIES, type Check, type Duties } from './duties.ts';

/** Carries a check out. Never throws, and ends by the monitor's timeout. */
export type Probe = (check: Check) => Promise<Checked>;

export interface ChecksOptions {
  readonly probe: Probe;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** Of one check. */
  readonly onChecked?: (ok: boolean) => void;
}

interface Watched {
  check: Check;
  verdict: Verdict;
  dueMs: number;
  running: boolean;
}

const isSame = (a: Check, b: Check): boolean =>
  a.address === b.address &&
  a.port === b.port &&
  a.space === b.space &&
  JSON.stringify(a.monitor) === JSON.stringify(b.monitor);
/** A part of an interval that is a member's own. */
const placeOf = (member: string): number => Number.parseInt(member.slice(0, 6), 16) / 0x1000000;

export class Checks {
  readonly #options: ChecksOptions;
  readonly #watched = new Map<string, Watched>();
  #duties: Duties = NO_DUTIES;
  #running = 0;

  constructor(options: ChecksOptions) {
    this.#options = options;
  }

  follow(duties: Duties): void {
    this.#duties = duties;
    const wanted = new Set(duties.checks.map(({ member }) => member));
    for (const member of this.#watched.keys())
      if (!wanted.has(member)) this.#watched.delete(member);
    for (const check of duties.checks) {
      const known = this.#watched.get(check.member);
      if (known !== undefined && isSame(known.check, check)) known.check = check;
      else this.#watch(check);
    }
  }
  /** Whoever checked it before, its word stands until checks of this host say otherwise. */
  #watch(check: Check): void {
    const { status, reason, monitor } = check;
    const verdict = { ...UNKNOWN, status, reason };
    // What nobody has found out yet is checked at once.
    const spread = status === 'unknown' ? 0 : placeOf(check.member) * monitor.interval * 1_000;
    const dueMs = this.#options.now() + spread;
    this.#watched.set(check.member, { check, verdict, dueMs, running: false });
  }

  /** Begins the checks that are due; often enough to keep intervals. */
  tick(): void {
    const nowMs = this.#options.now();
    for (const watched of this.#watched.values()) {
      if (watched.running || watched.dueMs > nowMs) continue;
      if (this.#running >= LIMITS.healthChecksMax) return;
      watched.running = true;
      watched.dueMs = nowMs + watched.check.monitor.interval * 1_000;
      this.#running += 1;
      void this.#check(watched);
    }
  }
  async #check(watched: Watched): Promise<void> {
    const { check } = watched;
    const found = await this.#options.probe(check);
    this.#running -= 1;
    watched.running = false;
    this.#options.onChecked?.(found.ok);
    // The duty is another one meanwhile, or none.
    if (this.#watched.get(check.member) !== watched) return;
    watched.verdict = advance(watched.verdict, found, check.monitor, this.#options.now());
  }

  /** What is known here, and not everywhere yet. */
  reports(): HealthReport[] {
    const found: HealthReport[] = [];
    for (const { check, verdict } of this.#watched.values()) {
      const { status } = verdict;
      const reason = verdict.reason.slice(0, HEALTH_REASON_MAX);
      if (status === 'unknown' || (status === check.status && reason === check.reason)) continue;
      if (found.length >= LIMITS.healthReportsMax) break;
      found.push({ member: check.member, status, reason });
    }
    return found;
  }
  get duties(): Duties {
    return this.#duties;
  }
}
