/**
 * The numbers of other ends of the tunnel: which address has which.
 *
 * Invariant: an address has one number as long as it is here, and a number that became free is the
 * last to be given again: what still names it, on its way through a datapath, goes nowhere else.
 */
import type { DpPeer } from '#flow/flow.ts';
import { LIMITS } from '#flow/layout.ts';
import { formatIp, isUnspecifiedIp, type Ip } from '#net/ip.ts';

export interface Peer {
  readonly peer: DpPeer;
  readonly address: Ip;
}

export class PeerNumbers {
  readonly #byAddress = new Map<Ip, DpPeer>();
  readonly #byPeer = new Map<DpPeer, Ip>();
  /** The number tried next. */
  #next = 1;

  /** The number of an address, given now if it had none. Throws when there is none left. */
  add(address: Ip): DpPeer {
    const known = this.#byAddress.get(address);
    if (known !== undefined) return known;
    if (isUnspecifiedIp(address))
      throw new RangeError('datapath: no peer is at an address of zero');
    if (this.#byPeer.size >= LIMITS.PEERS_MAX)
      throw new Error(
        `datapath: no room for peer ${formatIp(address)}: there are ${LIMITS.PEERS_MAX} already`,
      );
    while (this.#byPeer.has(this.#next as DpPeer)) this.#step();
    const peer = this.#next as DpPeer;
    this.#step();
    this.put({ peer, address });
    return peer;
  }
  #step(): void {
    this.#next = (this.#next % LIMITS.PEERS_MAX) + 1;
  }

  /** Takes note of a number that was given before. */
  put({ peer, address }: Peer): void {
    this.#byAddress.set(address, peer);
    this.#byPeer.set(peer, address);
  }

  /** False when nobody has the number. */
  remove(peer: DpPeer): boolean {
    const address = this.#byPeer.get(peer);
    if (address === undefined) return false;
    this.#byPeer.delete(peer);
    this.#byAddress.delete(address);
    return true;
  }

  peerOf(address: Ip): DpPeer | undefined {
    return this.#byAddress.get(address);
  }
  addressOf(peer: DpPeer): Ip | undefined {
    return this.#byPeer.get(peer);
  }
  /** Throws when nobody has the number: whoever names it would send to nobody. */
  need(peer: DpPeer): Ip {
    const address = this.#byPeer.get(peer);
    if (address === undefined) throw new Error(`datapath: there is no peer ${peer}`);
    return address;
  }
  list(): Peer[] {
    return [...this.#byPeer].map(([peer, address]) => ({ peer, address }));
  }
}
