/**
 * Keeps the members of pools with hosts that check them, and those with ports to check by.
 *
 * Invariants: level-triggered: changes of the topology and of who is alive are taken together, and
 * the state as it is then decides; what failed is tried again by the next look. Any number of nodes
 * may do this: the store takes the write of one, and the others find nothing left to do. Where
 * nothing is checked, a look costs nothing.
 */
import { randomUUID } from 'node:crypto';
import { after, type Clock } from '#store/clock.ts';
import type { StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { planChecks } from '#virtual/plan/member-health.ts';
import type { Topology } from '#virtual/topology.ts';
import type { Signed } from './history.ts';
import type { Hosts } from './hosts.ts';
import { refusalOf } from './problems.ts';
import type { Applied, Replica } from './replica.ts';
import type { Writes } from './writes.ts';

/** Between two looks at who is alive. */
export const CHECKS_LOOK_MS = 1_000;
/** Changes of the topology within so long are taken together. */
export const CHECKS_TOGETHER_MS = 100;
/** Transactions of one sweep; the rest waits for the next look. */
const PARTS_MAX = 16;
const SIGNED: Signed = { by: { role: 'operator', name: 'api' } };
/** Kinds that decide who checks whom. */
const DECIDING: ReadonlySet<string> = new Set([
  'host',
  'bridge',
  'router',
  'port',
  'location',
  'load-balancer',
  'health-monitor',
  'pool',
  'pool-member',
  'vip',
]);

export interface MemberChecksOptions {
  readonly replica: Replica;
  readonly writes: Writes;
  readonly hosts: Hosts;
  readonly clock: Clock;
  readonly wall: () => number;
  /** Told of our own mistakes; the next look tries again. */
  readonly onBug: (error: unknown) => void;
}

const isEmpty = (objects: Iterable<unknown>): boolean =>
  objects[Symbol.iterator]().next().done === true;
const hostOf = (health: StoredObject | undefined): unknown =>
  (health as ObjectOf<'member-health'> | undefined)?.host;

export class MemberChecks {
  readonly #options: MemberChecksOptions;
  /** Something changed since the last sweep began, or that has not done all. */
  #due = true;
  /** Who was alive then. */
  #seen = '';
  /** There may be service ports, though nothing is checked any more. */
  #leftovers = true;
  #running: Promise<void> | undefined;
  #isClosed = false;
  #together: (() => void) | undefined;
  #next: () => void = () => {};
  readonly #unlisten: () => void;

  constructor(options: MemberChecksOptions) {
    this.#options = options;
    this.#unlisten = options.replica.listen({
      changed: (applied) => {
        if (this.#concerns(applied)) this.#hint();
      },
      replaced: () => {
        this.#leftovers = true;
        this.#hint();
      },
    });
    this.#schedule();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#unlisten();
    this.#next();
    this.#together?.();
    await this.#running;
  }

  #schedule(): void {
    this.#next = after(this.#options.clock, CHECKS_LOOK_MS, () => {
      this.#look();
      this.#schedule();
    });
  }
  #hint(): void {
    this.#due = true;
    if (this.#isIdle(this.#options.replica.topology)) return;
    this.#together ??= after(this.#options.clock, CHECKS_TOGETHER_MS, () => {
      this.#together = undefined;
      this.#look();
    });
  }

  #concerns({ rows, before }: Applied): boolean {
    return rows.some(
      ({ kind, put }, i) =>
        DECIDING.has(kind) || (kind === 'member-health' && hostOf(put) !== hostOf(before[i])),
    );
  }
  #isIdle(topology: Topology): boolean {
    return (
      !this.#leftovers &&
      isEmpty(topology.list('health-monitor')) &&
      isEmpty(topology.list('member-health'))
    );
  }

  #look(): void {
    const { replica, hosts, onBug } = this.#options;
    if (this.#isClosed || this.#running !== undefined || replica.stats.replaced === 0) return;
    const seen = hosts.livingStamp;
    if ((!this.#due && seen === this.#seen) || this.#isIdle(replica.topology)) return;
    this.#due = false;
    this.#seen = seen;
    this.#running = this.#sweep()
      .catch((error: unknown) => {
        this.#due = true;
        // The store is away, or others write all the time.
        if (refusalOf(error) === undefined) onBug(error);
      })
      .finally(() => (this.#running = undefined));
  }

  async #sweep(): Promise<void> {
    const { writes, hosts, wall, replica } = this.#options;
    for (let part = 0; part < PARTS_MAX && !this.#isClosed; part++) {
      let rows = 0;
      await writes.write((topology, keys) => {
        const decision = planChecks(topology, {
          living: hosts.living(),
          now: wall(),
          newId: randomUUID,
          nextFloodKey: () => keys.nextFloodKey(),
          nextTunnelKey: (host) => keys.nextTunnelKey(host),
        });
        rows = decision.ok ? decision.rows.length : 0;
        return decision;
      }, SIGNED);
      if (rows > 0) continue;
      const { topology } = replica;
      this.#leftovers =
        !isEmpty(topology.list('health-monitor')) || !isEmpty(topology.list('member-health'));
      return;
    }
    this.#due = true;
  }
}
