/**
 * What may come to this host through the tunnel: frames for the keys of ports that are up here, and
 * floods and frames of the hosts that may send to each network.
 *
 * Invariants: a key is closed before its interface changes hands and opened after; a host may send
 * for a network when it carries a port of it, and only to hosts that do so too. What the datapath
 * has no room for stays closed (its frames are dropped and counted there) and is tried again.
 */
import type { Datapath } from '#datapath/datapath.ts';
import type { DpPeer, DpPort, TunnelKey } from '#flow/flow.ts';
import type { PortId } from '#virtual/ids.ts';

export interface DesiredKey {
  readonly id: PortId;
  readonly port: DpPort;
  readonly network: number;
}
export type DesiredKeys = ReadonlyMap<TunnelKey, DesiredKey>;

export const reasonOf = (error: unknown): string =>
  error instanceof Error ? error.message : String(error);

export class TunnelAccess {
  readonly #datapath: Datapath;
  /** By network; read from the datapath once, then kept. */
  #allowed: Map<number, Set<DpPeer>> | undefined;
  #failed = false;

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
  }

  /** Whether the datapath had no room for a sender the last time that its network was looked at. */
  get incomplete(): boolean {
    return this.#failed;
  }

  /** Removes keys that are not desired, or not so. */
  closeKeys(desired: DesiredKeys): void {
    for (const { key, port, network } of this.#datapath.keys()) {
      const should = desired.get(key);
      if (should?.port !== port || should.network !== network) this.#datapath.removeKey(key);
    }
  }

  /** Sets keys that are missing; ports for whose key there is no room, and why. */
  openKeys(desired: DesiredKeys): { port: PortId; why: string }[] {
    const held = new Set(this.#datapath.keys().map(({ key }) => key));
    const refused: { port: PortId; why: string }[] = [];
    for (const [key, { id, port, network }] of desired) {
      if (held.has(key)) continue;
      try {
        this.#datapath.setKey({ key, port, network });
      } catch (error) {
        refused.push({ port: id, why: `not reachable from other hosts: ${reasonOf(error)}` });
      }
    }
    return refused;
  }

  /**
   * Lets exactly the networks in `carried` be sent to. `sources` is asked only for those that are
   * new here or `dirty`.
   */
  syncSenders<Carried>(
    carried: ReadonlyMap<number, Carried>,
    dirty: (of: Carried) => boolean,
    sources: (of: Carried) => Set<DpPeer>,
  ): void {
    const allowed = (this.#allowed ??= this.#found());
    for (const [network, before] of allowed)
      if (!carried.has(network)) {
        for (const source of before) this.#datapath.denySender(source, network);
        allowed.delete(network);
      }
    this.#failed = false;
    for (const [network, of] of carried)
      if (!allowed.has(network) || dirty(of)) this.#syncNetwork(network, sources(of));
  }

  #syncNetwork(network: number, desired: Set<DpPeer>): void {
    const allowed = this.#allowed?.get(network) ?? new Set<DpPeer>();
    this.#allowed?.set(network, allowed);
    for (const source of allowed) {
      if (desired.has(source)) continue;
      this.#datapath.denySender(source, network);
      allowed.delete(source);
    }
    for (const source of desired) {
      if (allowed.has(source)) continue;
      try {
        this.#datapath.allowSender(source, network);
        allowed.add(source);
      } catch {
        this.#failed = true;
      }
    }
  }

  #found(): Map<number, Set<DpPeer>> {
    const found = new Map<number, Set<DpPeer>>();
    for (const { source, network } of this.#datapath.senders())
      found.set(network, (found.get(network) ?? new Set<DpPeer>()).add(source));
    return found;
  }
}
