/** The parts of one API node, as its routes see them. */
import type { Store } from '#store/store.ts';
import type { Logs } from '#telemetry/log.ts';
import type { Enforcement } from './enforcement.ts';
import type { Asks } from './asks.ts';
import type { History } from './history.ts';
import type { Hosts } from './hosts.ts';
import type { Learned } from './learned.ts';
import type { Sorted } from './lists.ts';
import type { Metrics } from './metrics.ts';
import type { Replica } from './replica.ts';
import type { Watch } from './watch.ts';
import type { Writes } from './writes.ts';

export interface Node {
  readonly store: Store;
  readonly version: string;
  readonly replica: Replica;
  readonly writes: Writes;
  readonly history: History;
  readonly sorted: Sorted;
  readonly hosts: Hosts;
  readonly learned: Learned;
  readonly watch: Watch;
  readonly asks: Asks;
  readonly metrics: Metrics;
  readonly enforcement: Enforcement;
  readonly logs: Logs;
  /** Milliseconds that this node has been serving, and the time since 1970 UTC. */
  readonly uptimeMs: () => number;
  readonly wall: () => number;
}
