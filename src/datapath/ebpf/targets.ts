/**
 * What may come through the tunnel: port keys of this host, and who may send for which network.
 *
 * Invariant: a key whose interface is not taken over says so (NETWORK_NO_PORT), and its frames are
 * dropped and counted instead of reaching an interface without its egress program.
 */
import type { DpPeer, DpPort, TunnelKey } from '#flow/flow.ts';
import { KEY_FLAG, KEY_TARGET, NETWORK_NO_PORT, offsets, SENDER, sizeOf } from '#flow/layout.ts';
import type { Ip } from '#net/ip.ts';
import { readMac, writeMac, ZERO_MAC } from '#net/mac.ts';
import type { Mac } from '#net/mac.ts';
import { BpfMap } from '#os/bpf.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import type { KeyTarget, Sender } from '../datapath.ts';
import type { Maps } from './maps.ts';
import { readAddress, writeAddress, type Peers } from './peers.ts';

const TARGET = offsets(KEY_TARGET);
const SENDER_AT = offsets(SENDER);

interface InKernel extends Omit<KeyTarget, 'key'> {
  readonly taken: boolean;
  /** Of the interface's other end, where frames go straight to it. */
  readonly mac: Mac | undefined;
}

export class Keys {
  readonly #map: BpfMap;
  readonly #targets = new Map<TunnelKey, KeyTarget>();
  readonly #inKernel = new Map<TunnelKey, InKernel>();
  readonly #taken: (port: DpPort) => boolean;
  readonly #farMac: (port: DpPort) => Mac | undefined;

  /**
   * `taken`: whether an interface is taken over now. `farMac`: of its other end, where frames may
   * go straight to it.
   */
  constructor(
    maps: Maps,
    taken: (port: DpPort) => boolean,
    farMac: (port: DpPort) => Mac | undefined,
  ) {
    this.#farMac = farMac;
    const map = new BpfMap(maps.fds.keys, 4, sizeOf(KEY_TARGET));
    this.#map = map;
    this.#taken = taken;
    const found: TunnelKey[] = [];
    for (let more = map.next(true); more; more = map.next(false))
      found.push(map.key.view.getUint32(0, true) as TunnelKey);
    for (const key of found) {
      map.key.u32(0, key);
      if (!map.lookup()) continue;
      const port = map.value.view.getUint32(TARGET.ifindex, true) as DpPort;
      const word = map.value.view.getUint32(TARGET.network, true);
      const network = (word & ~NETWORK_NO_PORT) >>> 0;
      const near = map.value.view.getUint32(TARGET.flags, true) === KEY_FLAG.REDIRECT_PEER;
      const mac = near ? readMac(map.value.bytes, TARGET.far_mac) : undefined;
      this.#inKernel.set(key, { port, network, taken: word === network, mac });
      this.set({ key, port, network });
    }
  }

  /** Throws when there are LIMITS.KEYS_MAX already. */
  set(target: KeyTarget): void {
    const { key, port } = target;
    if (!Number.isInteger(key) || key < 1 || key >= FLOOD_KEY_BIT)
      throw new RangeError(`datapath: ${key} is not a port key`);
    this.#write(target, this.#taken(port));
    this.#targets.set(key, target);
  }

  remove(key: TunnelKey): void {
    if (!this.#targets.delete(key)) return;
    this.#inKernel.delete(key);
    this.#map.key.u32(0, key);
    this.#map.delete();
  }

  /**
   * The kernel puts a new element in the place of the old: it never sees half of a change. But it
   * gives the old one to the next key at once, and a program that has just found it drops its
   * frame: so what does not change is not written.
   */
  #write({ key, port, network }: KeyTarget, taken: boolean): void {
    const is = this.#inKernel.get(key);
    const mac = this.#farMac(port);
    if (is?.port === port && is.network === network && is.taken === taken && is.mac === mac) return;
    this.#map.key.u32(0, key);
    this.#map.value
      .u32(TARGET.key, key)
      .u32(TARGET.ifindex, port)
      .u32(TARGET.network, taken ? network : network + NETWORK_NO_PORT);
    this.#map.value.u32(TARGET.flags, mac === undefined ? 0 : KEY_FLAG.REDIRECT_PEER);
    writeMac(this.#map.value.bytes, TARGET.far_mac, mac ?? ZERO_MAC);
    this.#map.update();
    this.#inKernel.set(key, { port, network, taken, mac });
  }

  /** An interface was taken over, or is about to be let go. */
  portChanged(port: DpPort, taken: boolean): void {
    for (const target of this.#targets.values())
      if (target.port === port) this.#write(target, taken);
  }

  /** What is behind interfaces is not as it was. */
  cross(): void {
    for (const target of this.#targets.values()) this.#write(target, this.#taken(target.port));
  }

  list(): KeyTarget[] {
    return [...this.#targets.values()];
  }
}

export class Senders {
  readonly #map: BpfMap;
  readonly #peers: Peers;
  readonly #known = new Map<string, Sender>();
  /** Networks of each source. */
  readonly #networks = new Map<DpPeer, number>();

  constructor(maps: Maps, peers: Peers) {
    const map = new BpfMap(maps.fds.senders, sizeOf(SENDER), 4);
    this.#map = map;
    this.#peers = peers;
    const found: { readonly address: Ip; readonly network: number }[] = [];
    for (let more = map.next(true); more; more = map.next(false))
      found.push({
        address: readAddress(map.key.bytes, SENDER_AT.address),
        network: map.key.view.getUint32(SENDER_AT.network, true),
      });
    for (const { address, network } of found) {
      const source = peers.peerOf(address);
      // Whoever was killed while it took a peer away left its sender.
      if (source === undefined) this.#delete(address, network);
      else this.#note({ source, network });
    }
  }

  /** Throws when there are LIMITS.SENDERS_MAX already, or no such peer. */
  allow(source: DpPeer, network: number): void {
    const address = this.#peers.need(source);
    if (this.#known.has(`${source}/${network}`)) return;
    this.#at(address, network);
    this.#map.value.u32(0, source);
    this.#map.update();
    this.#note({ source, network });
  }

  deny(source: DpPeer, network: number): void {
    if (!this.#known.delete(`${source}/${network}`)) return;
    this.#delete(this.#peers.need(source), network);
    const left = (this.#networks.get(source) ?? 1) - 1;
    if (left === 0) this.#networks.delete(source);
    else this.#networks.set(source, left);
  }

  #at(address: Ip, network: number): void {
    writeAddress(this.#map.key.bytes, SENDER_AT.address, address);
    this.#map.key.u32(SENDER_AT.network, network);
  }
  #delete(address: Ip, network: number): void {
    this.#at(address, network);
    this.#map.delete();
  }
  #note(sender: Sender): void {
    const { source, network } = sender;
    this.#known.set(`${source}/${network}`, sender);
    this.#networks.set(source, (this.#networks.get(source) ?? 0) + 1);
  }
  /** Whether it may send for any network. */
  has(source: DpPeer): boolean {
    return this.#networks.has(source);
  }
  sources(): DpPeer[] {
    return [...this.#networks.keys()];
  }

  list(): Sender[] {
    return [...this.#known.values()];
  }
}
