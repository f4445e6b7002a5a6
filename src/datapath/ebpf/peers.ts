/**
 * The other ends of the tunnel in the kernel: an array of addresses by number.
 *
 * Invariants: a new process finds the numbers that flows, groups and senders in the maps go by; a
 * number whose address is half written has no family yet, and the kernel sends nothing there.
 */
import type { DpPeer } from '#flow/flow.ts';
import { LIMITS, offsets, PEER, PEER4_PREFIX, PEER_FAMILY, sizeOf } from '#flow/layout.ts';
import { isIp6, readIp4, readIp6, writeIp4, writeIp6, type Ip } from '#net/ip.ts';
import { PeerNumbers, type Peer } from '../peers.ts';
import type { Maps } from './maps.ts';

const AT = offsets(PEER);
const SIZE = sizeOf(PEER);
const IP4_AT = PEER4_PREFIX.length;

/** The sixteen bytes by which the kernel knows an underlay address of either family. */
export function writeAddress(bytes: Uint8Array, at: number, address: Ip): void {
  if (isIp6(address)) {
    writeIp6(bytes, at, address);
    return;
  }
  bytes.set(PEER4_PREFIX, at);
  writeIp4(bytes, at + IP4_AT, address);
}

/** The inverse of `writeAddress`. No underlay uses IPv4-mapped addresses as such. */
export const readAddress = (bytes: Uint8Array, at: number): Ip =>
  PEER4_PREFIX.every((byte, i) => bytes[at + i] === byte)
    ? readIp4(bytes, at + IP4_AT)
    : readIp6(bytes, at);

export class Peers {
  readonly #numbers = new PeerNumbers();
  readonly #bytes: Uint8Array;
  readonly #words: Int32Array;

  constructor(maps: Maps) {
    this.#bytes = new Uint8Array(maps.memory.peers);
    this.#words = new Int32Array(maps.memory.peers);
    for (let n = 1; n <= LIMITS.PEERS_MAX; n++) {
      if (this.#words[this.#familyOf(n)] === 0) continue;
      const address = readAddress(this.#bytes, n * SIZE + AT.address);
      this.#numbers.put({ peer: n as DpPeer, address });
    }
  }
  #familyOf(peer: number): number {
    return (peer * SIZE + AT.family) / 4;
  }

  /** Throws when there are LIMITS.PEERS_MAX already. */
  add(address: Ip): DpPeer {
    const known = this.#numbers.peerOf(address);
    if (known !== undefined) return known;
    const peer = this.#numbers.add(address);
    writeAddress(this.#bytes, peer * SIZE + AT.address, address);
    const family = isIp6(address) ? PEER_FAMILY.IP6 : PEER_FAMILY.IP4;
    Atomics.store(this.#words, this.#familyOf(peer), family);
    return peer;
  }
  remove(peer: DpPeer): void {
    if (this.#numbers.remove(peer)) Atomics.store(this.#words, this.#familyOf(peer), 0);
  }

  peerOf(address: Ip): DpPeer | undefined {
    return this.#numbers.peerOf(address);
  }
  /** Throws when nobody has the number. */
  need(peer: DpPeer): Ip {
    return this.#numbers.need(peer);
  }
  list(): Peer[] {
    return this.#numbers.list();
  }
}
