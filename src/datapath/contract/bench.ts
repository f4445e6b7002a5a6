/**
 * What a body of the datapath gives the contract suite to work with: itself, and the far ends of
 * its wires.
 */
import type { DpPort, TunnelKey } from '#flow/flow.ts';
import type { Ip } from '#net/ip.ts';
import type { UpcallBudget } from '../budget.ts';
import type { Datapath } from '../datapath.ts';

/**
 * For tests that are about something else: so much that nothing is refused, also where time stands
 * still.
 */
const AMPLE = { perSecond: 1_000_000, burst: 1_000_000 };
export const AMPLE_BUDGET: UpcallBudget = {
  frames: AMPLE,
  groups: AMPLE,
  control: AMPLE,
  guards: AMPLE,
  stale: AMPLE,
};

/**
 * A datapath with its wires. They are quiet: no frame but the suite's (no IPv6 autoconfiguration,
 * no ARP from the far ends).
 */
export interface Bench {
  readonly datapath: Datapath;
  /** Interfaces the datapath can take over, none of them added yet; at least 3. */
  readonly ports: readonly DpPort[];
  /** The shortest frame the wires carry: 0 where any length can be sent. */
  readonly frameBytesMin: number;
  /** A frame arrives at a port, as from the workload behind it. */
  send(port: DpPort, frame: Uint8Array): void | Promise<void>;
  /** A frame arrives through the tunnel. */
  sendTunnel(source: Ip, key: TunnelKey, frame: Uint8Array): void | Promise<void>;
  /**
   * What left by a port and was not answered before, in order, tags in place. May be called again
   * for more.
   */
  received(port: DpPort): Promise<Uint8Array[]>;
  /** What left by the tunnel and was not answered before. May be called again for more. */
  tunnelled(): Promise<Tunnelled[]>;
  /**
   * The host's own stack sends a frame through a bound interface; absent where there is no such
   * stack.
   */
  hostSends?(port: DpPort, frame: Uint8Array): void | Promise<void>;
  close(): void | Promise<void>;
}
export interface Tunnelled {
  readonly remote: Ip;
  readonly key: TunnelKey;
  readonly frame: Uint8Array;
}
