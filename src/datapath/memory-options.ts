/** What the reference datapath is opened with, and the wires of it. */
import type { DpPort, TunnelKey } from '#flow/flow.ts';
import type { Ip } from '#net/ip.ts';
import type { UpcallBudget } from './budget.ts';

export interface MemoryOptions {
  readonly slots: number;
  /** Records of connections; MEMORY_CONNECTIONS unless told. */
  readonly connections?: number;
  /** The number of the tunnel device. */
  readonly tunnelPort?: DpPort;
  /** A monotonic clock in milliseconds. */
  readonly clock: () => number;
  /** What each entry may hand up; UPCALL_BUDGET unless told. */
  readonly upcallBudget?: UpcallBudget;
  /** This host's tunnel address, for whoever wires several of these together. */
  readonly address?: Ip;
}

/** The wires of a memory datapath. */
export interface MemoryProbe {
  readonly address: Ip | undefined;
  /**
   * A frame arrives at an interface. Ignored when that was not added. The frame is copied if kept.
   */
  receive(port: DpPort, frame: Uint8Array): void;
  /** A frame arrives through the tunnel. */
  receiveTunnel(from: Ip, key: TunnelKey, frame: Uint8Array): void;
  /**
   * Who gets what leaves by interfaces; the last call wins. Frames must be copied if kept or
   * changed.
   */
  onTransmit(take: (port: DpPort, frame: Uint8Array) => void): void;
  /** Who gets what leaves by the tunnel; the last call wins. */
  onTunnel(take: (remote: Ip, key: TunnelKey, frame: Uint8Array) => void): void;
}
