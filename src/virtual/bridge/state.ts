/**
 * A bridge as the topology keeps it: its row, its ports, its seeds; read by the walk as a
 * `BridgeView`.
 */
import type { Ip, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { BridgeId, ChainId, PortId } from '../ids.ts';
import type { ObjectOf } from '../kinds.ts';
import { ReadyBridge, type ReadyRoom } from '../ready.ts';
import { SecuredTable } from './secured.ts';
import type { BridgePortView, BridgeView } from '../view.ts';
import { SeedTable, type Owner, type SeedText } from './seeds.ts';

const NO_SEEDS: readonly SeedText[] = [];

/** A bridge with its ports; it also stands for ports whose bridge is not known (yet). */
export class BridgeState implements BridgeView {
  readonly id: BridgeId;
  readonly ready: ReadyBridge;
  row: ObjectOf<'bridge'> | undefined;
  readonly ports = new Set<PortId>();
  readonly bridgeLinks = new Set<PortId>();
  readonly routerLinks = new Set<PortId>();
  readonly filtered = new Set<PortId>();
  readonly seeds = new SeedTable();
  readonly secured = new SecuredTable();
  /** What each port has in `seeds`: its own, and those of the router port linked to it. */
  readonly #held = new Map<PortId, readonly SeedText[]>();
  portsUp = 0;

  constructor(id: BridgeId, room: ReadyRoom) {
    this.id = id;
    this.ready = new ReadyBridge(id, room);
  }
  get name(): string {
    return this.row?.name ?? '';
  }
  get adminStateUp(): boolean {
    return this.row?.adminStateUp ?? false;
  }
  get inboundFilter(): ChainId | undefined {
    return this.row?.inboundFilter;
  }
  get outboundFilter(): ChainId | undefined {
    return this.row?.outboundFilter;
  }
  get floodKey(): number {
    return this.row?.floodKey ?? 0;
  }
  seededPort(mac: Mac): PortId | undefined {
    return this.seeds.port(mac);
  }
  seededAddress(ip: Ip): Owner | undefined {
    return this.seeds.owner(ip);
  }
  hasSolicited(group: Ip6): boolean {
    return this.seeds.hasSolicited(group);
  }
  hasSeeds(family: 4 | 6): boolean {
    return this.seeds.has(family);
  }
  get secures(): boolean {
    return this.secured.any;
  }
  securedMac(mac: Mac): ReadonlySet<PortId> | undefined {
    return this.secured.mac(mac);
  }
  securedAddress(ip: Ip): ReadonlySet<PortId> | undefined {
    return this.secured.ip(ip);
  }
  hasSecured(family: 4 | 6): boolean {
    return this.secured.has(family);
  }

  plug(view: BridgePortView): void {
    this.ports.add(view.id);
    if (view.allowed) this.secured.add(view.id, view.allowed);
    if (view.peerType === 'bridge') this.bridgeLinks.add(view.id);
    else if (view.peerType === 'router') this.routerLinks.add(view.id);
    else if (view.adminStateUp) {
      this.portsUp++;
      if ((view.outboundFilter ?? view.inboundFilter) !== undefined) this.filtered.add(view.id);
    }
  }
  unplug(view: BridgePortView): void {
    this.ports.delete(view.id);
    if (view.allowed) this.secured.remove(view.id, view.allowed);
    this.bridgeLinks.delete(view.id);
    this.routerLinks.delete(view.id);
    this.filtered.delete(view.id);
    if (view.peer === undefined && view.adminStateUp) this.portsUp--;
  }

  /** Replaces what a port holds; answers what it held before. */
  hold(port: PortId, seeds: readonly SeedText[]): readonly SeedText[] {
    const before = this.#held.get(port) ?? NO_SEEDS;
    this.seeds.remove(port, before);
    this.seeds.add(port, seeds);
    if (seeds.length === 0) this.#held.delete(port);
    else this.#held.set(port, seeds);
    return before;
  }
}
