/**
 * The other hosts as this host's datapath knows them: a number for each underlay address, and how
 * large a packet may be that is sent there.
 *
 * Invariants: nothing is sent to an address that has no number; a number goes only when no zone
 * joins its address with this host any more, after the flows that name it; a limit that is another
 * than the flows were made with is answered, once, as hosts whose flows must go.
 */
import type { Datapath } from '#datapath/datapath.ts';
import type { DpPeer } from '#flow/flow.ts';
import { MTU_MAX, MTU_MIN } from '#flow/flow.ts';
import { isIp6, type Ip } from '#net/ip.ts';
import type { HostId } from '#virtual/ids.ts';

/**
 * What the tunnel adds to the packet of an untagged frame: Ethernet, VXLAN and UDP headers, and
 * those of IPv4 or IPv6 (RFC 7348 §5).
 */
export const TUNNEL_OVERHEAD = { 4: 50, 6: 70 } as const;

/** Bytes of the largest packet that reaches an underlay address whole; undefined: not known. */
export type PathMtu = (address: Ip) => number | undefined;

interface Known {
  readonly address: Ip;
  readonly hosts: Set<HostId>;
  /** Bytes of the largest packet in an untagged frame. */
  limit: number | undefined;
}

export class Peers {
  readonly #datapath: Datapath;
  readonly #pathMtu: PathMtu;
  readonly #known = new Map<DpPeer, Known>();
  /** Looked at next, in turn. */
  #due: DpPeer[] = [];
  #refused = false;

  constructor(datapath: Datapath, pathMtu: PathMtu) {
    this.#datapath = datapath;
    this.#pathMtu = pathMtu;
  }

  /** Whether the datapath had no number left for an address since the last `retire`. */
  get incomplete(): boolean {
    return this.#refused;
  }

  /** The number of a host at this address; undefined when there is none left. */
  of(host: HostId, address: Ip): DpPeer | undefined {
    let peer: DpPeer;
    try {
      peer = this.#datapath.addPeer(address);
    } catch {
      this.#refused = true;
      return undefined;
    }
    const known = this.#known.get(peer);
    if (known?.address === address) known.hosts.add(host);
    else this.#known.set(peer, { address, hosts: new Set([host]), limit: this.#limitTo(address) });
    return peer;
  }

  /**
   * The largest IP packet, in bytes, that reaches a peer in an untagged frame; a tag takes from it.
   * Undefined while the way there is not known.
   */
  limit(peer: DpPeer): number | undefined {
    return this.#known.get(peer)?.limit;
  }

  #limitTo(address: Ip): number | undefined {
    const mtu = this.#pathMtu(address);
    if (mtu === undefined) return undefined;
    const inside = mtu - TUNNEL_OVERHEAD[isIp6(address) ? 6 : 4];
    return Math.min(Math.max(inside, MTU_MIN), MTU_MAX);
  }

  /** Asks again for the ways to the next `most` peers in turn; the hosts whose limit is another. */
  refresh(most: number): HostId[] {
    const changed: HostId[] = [];
    if (this.#due.length === 0) this.#due = [...this.#known.keys()];
    for (const peer of this.#due.splice(0, most)) {
      const known = this.#known.get(peer);
      if (known === undefined) continue;
      const limit = this.#limitTo(known.address);
      if (limit === known.limit) continue;
      known.limit = limit;
      changed.push(...known.hosts);
    }
    return changed;
  }

  /** The numbers of all addresses but these. */
  besides(wanted: ReadonlySet<Ip>): DpPeer[] {
    return this.#datapath
      .peers()
      .filter(({ address }) => !wanted.has(address))
      .map(({ peer }) => peer);
  }
  /** Gives numbers back; no flow may name them any more. */
  retire(peers: readonly DpPeer[]): void {
    for (const peer of peers) {
      this.#datapath.removePeer(peer);
      this.#known.delete(peer);
    }
    if (peers.length > 0) this.#refused = false;
  }
}
