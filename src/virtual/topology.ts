/**
 * The topology as a value at one revision: every stored object, and the indexes by which the walk,
 * the agent and the API ask in constant time.
 *
 * Invariants: the state depends on the set of objects only, never on the order in which they came
 * (`apply` after `apply` equals `reset`); `apply` answers the tags of everything that a decision
 * could have read differently before (law 2).
 */
import type { Ip } from '#net/ip.ts';
import { securedTags } from './bridge/secured.ts';
import { seedChangeTags, type SeedText } from './bridge/seeds.ts';
import { BridgeState } from './bridge/state.ts';
import { Firewall } from './chain/firewall.ts';
import type { Change, RowChange } from './change.ts';
import { Balancers } from './load-balancer/state.ts';
import { Domains, type Domain } from './domains.ts';
import type {
  AddressGroupId,
  BridgeId,
  ChainId,
  DeviceId,
  HostId,
  PortGroupId,
  PortId,
  RouterId,
} from './ids.ts';
import { KIND_NAMES, type KindName, type StoredObject, type View } from './kind.ts';
import type { ObjectOf } from './kinds.ts';
import { heldBy } from './port/rules.ts';
import { deviceOf, differ, sameMember, viewOf } from './port/view.ts';
import { ReadyPort, ReadyRoom } from './ready.ts';
import { prefixesOf, routeTags, type ChangedRoute } from './router/changes.ts';
import { RouterState } from './router/state.ts';
import { byKind, Rows } from './rows.ts';
import { differInLabelsOnly, sameObject } from './same.ts';
import {
  bridgeLinksTag,
  bridgeTag,
  floodTag,
  hostTag,
  locationTag,
  portTag,
  routerPortsTag,
  routerTag,
  seedsTag,
  type Tag,
} from './tags.ts';
import { NatBlocks } from './nat-block/blocks.ts';
import { TunnelAddresses } from './tunnel-zone/addresses.ts';
import type { BalancerView } from './load-balancer/view.ts';
import type { BridgeView, ChainView, PortView, RouterView, TopologyView } from './view.ts';

/** A reset that changes more than this answers 'all': forgetting every flow is then cheaper. */
export const RESET_TAGS_MAX = 10_000;

type PortRow = ObjectOf<'port'>;
type RouterRow = ObjectOf<'router'>;
type RouteRow = ObjectOf<'route'>;
type BridgeRow = ObjectOf<'bridge'>;
type LocationRow = ObjectOf<'location'>;
type ZoneRow = ObjectOf<'tunnel-zone'>;
type NatBlockRow = ObjectOf<'nat-block'>;

/** What a change has brought about so far. */
interface Effects {
  readonly tags: Set<Tag>;
  /**
   * Which families had seeds or secured addresses on a bridge before the change: one may only
   * change hands within it.
   */
  readonly families: Map<BridgeId, number>;
  /** Destinations whose routes are others. */
  readonly routes: ChangedRoute[];
}
/** What a walk reads of a bridge, and of a router, itself. */
const BRIDGE_FIELDS = ['adminStateUp', 'floodKey', 'inboundFilter', 'outboundFilter'] as const;
const ROUTER_FIELDS = [
  'adminStateUp',
  'networkKey',
  'localFilter',
  'inboundFilter',
  'forwardFilter',
  'outboundFilter',
] as const;
const isOther = <Row extends object>(
  before: Row | undefined,
  after: Row | undefined,
  fields: readonly (keyof Row)[],
): boolean => fields.some((field) => before?.[field] !== after?.[field]);

/** What a host carries of a device. */
export interface Carried {
  /** Ports that are up there, by location. */
  readonly ports: number;
  /** How many of these are administratively up. */
  readonly adminUp: number;
}
const NO_CARRIERS: ReadonlyMap<HostId, Carried> = new Map();

export interface TopologyObject {
  readonly kind: KindName;
  readonly object: StoredObject;
}

export class Topology implements TopologyView, View {
  #revision = 0;
  readonly #rows = new Rows();
  readonly #room = new ReadyRoom();
  readonly #firewall = new Firewall();
  readonly #balancers = new Balancers(this.#rows);
  readonly #ports = new Map<PortId, PortView>();
  readonly #bridges = new Map<BridgeId, BridgeState>();
  readonly #routers = new Map<RouterId, RouterState>();
  /** The bridge in which a port holds seeds, and the router that it has brought routes to. */
  readonly #holders = new Map<PortId, BridgeId>();
  readonly #routed = new Map<PortId, RouterId>();
  readonly #byFloodKey = new Map<number, BridgeId>();
  readonly #byNetworkKey = new Map<number, RouterId>();
  readonly #tunnels = new TunnelAddresses();
  /** Who owns which public ports. */
  readonly natBlocks = new NatBlocks();
  /** Counted, because a device may have far more ports than hosts. */
  readonly #carriers = new Map<DeviceId, Map<HostId, Carried>>();
  readonly #domains = new Domains({
    linked: (device) => this.#linked(device),
    carried: (device) =>
      this.carriers(device)
        .entries()
        .map(([host, { ports }]) => [host, ports]),
  });

  get revision(): number {
    return this.#revision;
  }

  /**
   * Applies one change in place, its rows in whatever order, and answers the tags of what changed.
   * Throws when the change is older than what is here: the caller lost the order.
   */
  apply(change: Change): Tag[] {
    if (change.revision < this.#revision)
      throw new Error(`topology: change ${change.revision} comes after ${this.#revision}`);
    this.#revision = change.revision;
    return this.#applyRows(change.rows);
  }

  /** Nothing up to `revision` changed what is here. An older revision is ignored. */
  advance(revision: number): void {
    if (revision > this.#revision) this.#revision = revision;
  }

  /** Replaces everything. 'all': so much changed that every flow should be forgotten. */
  reset(revision: number, objects: Iterable<TopologyObject>): Tag[] | 'all' {
    const keep = byKind(() => new Set<string>());
    const rows: RowChange[] = [];
    for (const { kind, object } of objects) {
      keep[kind].add(object.id);
      if (!sameObject(this.#rows.get(kind, object.id), object))
        rows.push({ kind, id: object.id, put: object });
    }
    for (const kind of KIND_NAMES)
      for (const id of this.#rows.of(kind).keys()) if (!keep[kind].has(id)) rows.push({ kind, id });
    const tags = this.#applyRows(rows);
    this.#revision = revision;
    return tags.length > RESET_TAGS_MAX ? 'all' : tags;
  }

  /** An independent topology with the same objects (which are immutable, and shared). */
  clone(): Topology {
    const copy = new Topology();
    copy.reset(this.#revision, this.objects());
    return copy;
  }

  *objects(): Generator<TopologyObject> {
    for (const kind of KIND_NAMES)
      for (const object of this.#rows.of(kind).values()) yield { kind, object };
  }

  get(kind: KindName, id: string): StoredObject | undefined {
    return this.#rows.get(kind, id);
  }
  list(kind: KindName): Iterable<StoredObject> {
    return this.#rows.of(kind).values();
  }
  referrers(kind: KindName, path: string, target: string): readonly string[] {
    return this.#rows.referrers(kind, path, target);
  }
  /** Ids of the objects of a kind with this name. */
  named(kind: KindName, name: string): readonly string[] {
    return this.#rows.named(kind, name);
  }

  port(id: PortId): PortView | undefined {
    return this.#ports.get(id);
  }
  bridge(id: BridgeId): BridgeView | undefined {
    const bridge = this.#bridges.get(id);
    return bridge?.row === undefined ? undefined : bridge;
  }
  router(id: RouterId): RouterView | undefined {
    const router = this.#routers.get(id);
    return router?.row === undefined ? undefined : router;
  }
  chain(id: ChainId): ChainView | undefined {
    return this.#firewall.chain(id);
  }
  inPortGroup(group: PortGroupId, port: PortId): boolean {
    return this.#firewall.inPortGroup(group, port);
  }
  inAddressGroup(group: AddressGroupId, ip: Ip): boolean {
    return this.#firewall.inAddressGroup(group, ip);
  }
  balancer(id: RouterId): BalancerView | undefined {
    return this.#balancers.router(id);
  }
  /** The bridge whose floods carry this tunnel key. */
  bridgeOfFloodKey(key: number): BridgeId | undefined {
    return this.#byFloodKey.get(key);
  }
  /** The router whose agents tell each other by this tunnel key what they heard. */
  routerOfNetworkKey(key: number): RouterId | undefined {
    return this.#byNetworkKey.get(key);
  }
  /** Where a port is up, or was last, and the key that reaches it there. */
  location(port: PortId): LocationRow | undefined {
    return this.#rows.get('location', port) as LocationRow | undefined;
  }
  /** The hosts on which, by location, ports of a device are up. Changes with `floodTag`. */
  carriers(device: DeviceId): ReadonlyMap<HostId, Carried> {
    return this.#carriers.get(device) ?? NO_CARRIERS;
  }
  /** The devices that links join with this one, and the hosts that carry any of them. */
  domain(device: DeviceId): Domain {
    return this.#domains.of(device);
  }
  /** The ports bound to a host, up there or not. */
  portsOnHost(host: HostId): readonly PortId[] {
    return this.referrers('port', 'host', host) as readonly PortId[];
  }
  /** Whether a port is bound to a host. */
  isOnHost(port: PortId, host: HostId | undefined): boolean {
    return host !== undefined && (this.get('port', port) as PortRow | undefined)?.host === host;
  }
  /** The address of `to` in the zone with the lowest id in which both have one of one family. */
  tunnelAddress(from: HostId, to: HostId): Ip | undefined {
    return this.#tunnels.address(from, to);
  }

  #applyRows(rows: readonly RowChange[]): Tag[] {
    const effects: Effects = { tags: new Set(), families: new Map(), routes: [] };
    for (const row of rows) this.#applyRow(row, effects);
    for (const [bridge, before] of effects.families)
      if (this.#families(bridge) !== before) effects.tags.add(seedsTag(bridge));
    for (const tag of routeTags(effects.routes)) effects.tags.add(tag);
    return [...effects.tags];
  }

  *#linked(device: DeviceId): Generator<DeviceId> {
    const bridge = this.#bridges.get(device as BridgeId);
    const ports =
      bridge === undefined
        ? (this.#routers.get(device as RouterId)?.ports ?? [])
        : [...bridge.bridgeLinks, ...bridge.routerLinks];
    for (const id of ports) {
      const peer = this.#ports.get(id)?.peer;
      const view = peer && this.#ports.get(peer);
      if (view) yield deviceOf(view);
    }
  }

  #applyRow({ kind, id, put }: RowChange, effects: Effects): void {
    const { tags } = effects;
    const before = this.#rows.get(kind, id);
    if (before === undefined && put === undefined) return;
    this.#rows.replace(kind, before, put);
    if (kind === 'port') this.#changePort(before as PortRow, put as PortRow, effects);
    else if (kind === 'bridge') this.#changeBridge(before as BridgeRow, put as BridgeRow, tags);
    else if (kind === 'router') this.#changeRouter(before as RouterRow, put as RouterRow, tags);
    else if (kind === 'route') this.#changeRoute(before as RouteRow, put as RouteRow, effects);
    else if (kind === 'location')
      this.#changeLocation(before as LocationRow, put as LocationRow, effects);
    else if (kind === 'tunnel-zone') this.#tunnels.change(before as ZoneRow, put as ZoneRow, tags);
    else if (kind === 'nat-block')
      this.natBlocks.change(before as NatBlockRow, put as NatBlockRow, tags);
    else if (this.#firewall.change(kind, [before, put], effects)) return;
    else if (this.#balancers.change(kind, [before, put], effects)) return;
    else if ((before === undefined) !== (put === undefined)) tags.add(hostTag(id as HostId));
  }

  #bridgeState(id: BridgeId): BridgeState {
    const bridge = this.#bridges.get(id) ?? new BridgeState(id, this.#room);
    this.#bridges.set(id, bridge);
    return bridge;
  }
  #routerState(id: RouterId): RouterState {
    const router = this.#routers.get(id) ?? new RouterState(id, this.#room);
    this.#routers.set(id, router);
    return router;
  }
  /** A device that is neither there nor named by anything is forgotten. */
  #dropIfEmpty(device: BridgeState | RouterState): void {
    if (device instanceof RouterState) {
      if (device.empty) this.#routers.delete(device.id);
    } else if (device.row === undefined && device.ports.size === 0) this.#bridges.delete(device.id);
  }

  #changeBridge(before: BridgeRow | undefined, after: BridgeRow | undefined, tags: Set<Tag>): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const bridge = this.#bridgeState(id);
    bridge.row = after;
    this.#dropIfEmpty(bridge);
    if (before !== undefined && this.#byFloodKey.get(before.floodKey) === id)
      this.#byFloodKey.delete(before.floodKey);
    if (after !== undefined) this.#byFloodKey.set(after.floodKey, after.id);
    if (isOther(before, after, BRIDGE_FIELDS)) tags.add(bridgeTag(id));
    if (before?.floodKey !== after?.floodKey) tags.add(floodTag(id));
  }

  #changeRouter(before: RouterRow | undefined, after: RouterRow | undefined, tags: Set<Tag>): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const router = this.#routerState(id);
    router.row = after;
    this.#dropIfEmpty(router);
    if (before !== undefined && this.#byNetworkKey.get(before.networkKey) === id)
      this.#byNetworkKey.delete(before.networkKey);
    if (after !== undefined) this.#byNetworkKey.set(after.networkKey, after.id);
    if (isOther(before, after, ROUTER_FIELDS)) tags.add(routerTag(id));
  }

  #changeRoute(before: RouteRow | undefined, after: RouteRow | undefined, effects: Effects): void {
    if (before !== undefined && after !== undefined && differInLabelsOnly(before, after)) return;
    if (before !== undefined) {
      const router = this.#routerState(before.router);
      effects.routes.push(...prefixesOf(before.router, router.removeRoute(before)));
      this.#dropIfEmpty(router);
    }
    if (after === undefined) return;
    const router = this.#routerState(after.router);
    effects.routes.push(...prefixesOf(after.router, router.addRoute(after)));
  }

  #changePort(before: PortRow | undefined, after: PortRow | undefined, effects: Effects): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    if (before?.host !== after?.host || before?.interface !== after?.interface)
      effects.tags.add(portTag(id));
    const bridges = [before?.bridge, after?.bridge].filter((bridge) => bridge !== undefined);
    if (before?.host !== after?.host)
      for (const bridge of bridges) effects.tags.add(floodTag(bridge));
    const ends = new Set([id, before?.peer, after?.peer].filter((end) => end !== undefined));
    for (const end of ends) this.#replug(end, effects);
    for (const end of ends) this.#settle(end, effects);
  }

  /** Brings a port's view, and its place in its device, in line with the rows of both its ends. */
  #replug(id: PortId, { tags, families }: Effects): void {
    const was = this.#ports.get(id);
    const row = this.get('port', id) as PortRow | undefined;
    const other = row?.peer && (this.get('port', row.peer) as PortRow | undefined);
    const ready = was?.ready ?? new ReadyPort(id, this.#room);
    const is = row && viewOf(row, other && other.peer === id ? other : undefined, ready);
    const at = this.location(id)?.host;
    this.#carry(was, at, -1);
    for (const view of [was, is])
      if (view?.type === 'bridge' && view.allowed && !families.has(view.bridge))
        families.set(view.bridge, this.#families(view.bridge));
    if (was !== undefined) this.#unplug(was);
    if (is !== undefined) this.#plug(is);
    this.#carry(is, at, 1);
    if (!differ(was, is)) return;
    tags.add(portTag(id));
    for (const tag of securedTags(was, is)) tags.add(tag);
    for (const view of [was, is])
      if (view?.type === 'bridge' && !sameMember(was, is)) {
        tags.add(floodTag(view.bridge));
        if (view.peerType === 'bridge') tags.add(bridgeLinksTag(view.bridge));
      } else if (view?.type === 'router' && was?.router !== is?.router)
        tags.add(routerPortsTag(view.router));
    const linked = was?.peer !== undefined || is?.peer !== undefined;
    if (linked && (was?.peer !== is?.peer || (was && deviceOf(was)) !== (is && deviceOf(is))))
      this.#domains.reset();
  }

  #plug(view: PortView): void {
    this.#ports.set(view.id, view);
    if (view.type === 'router') {
      this.#routerState(view.router).ports.add(view.id);
      return;
    }
    this.#bridgeState(view.bridge).plug(view);
  }
  #unplug(view: PortView): void {
    this.#ports.delete(view.id);
    if (view.type === 'router') {
      const router = this.#routerState(view.router);
      router.ports.delete(view.id);
      this.#dropIfEmpty(router);
      return;
    }
    const bridge = this.#bridgeState(view.bridge);
    bridge.unplug(view);
    this.#dropIfEmpty(bridge);
  }

  /** Brings what follows from a port, seeds of its bridge or routes of its router, in line. */
  #settle(id: PortId, effects: Effects): void {
    const view = this.#ports.get(id);
    const bridge = view?.bridge;
    const before = this.#holders.get(id);
    if (before !== undefined && before !== bridge) this.#hold(id, before, [], effects);
    if (bridge !== undefined) this.#hold(id, bridge, this.#seedsOf(id, view?.peer), effects);
    const router = view?.router;
    const brought = this.#routed.get(id);
    if (brought !== undefined && brought !== router) this.#bring(id, brought, effects);
    if (router !== undefined) this.#bring(id, router, effects);
  }

  #seedsOf(id: PortId, peer: PortId | undefined): readonly SeedText[] {
    const own = (this.get('port', id) as PortRow | undefined)?.addresses ?? [];
    const linked = peer && (this.get('port', peer) as PortRow | undefined);
    return linked && linked.type === 'router' ? [...own, ...heldBy(linked)] : own;
  }
  #hold(id: PortId, of: BridgeId, seeds: readonly SeedText[], effects: Effects): void {
    if (!effects.families.has(of)) effects.families.set(of, this.#families(of));
    const before = this.#bridgeState(of).hold(id, seeds);
    if (seeds.length === 0) this.#holders.delete(id);
    else this.#holders.set(id, of);
    for (const tag of seedChangeTags(of, before, seeds)) effects.tags.add(tag);
    this.#dropIfEmpty(this.#bridgeState(of));
  }
  #bring(id: PortId, of: RouterId, effects: Effects): void {
    const view = this.#ports.get(id);
    const live = view?.router === of && this.#isLive(view) ? view : undefined;
    const router = this.#routerState(of);
    effects.routes.push(...prefixesOf(of, router.setPort(id, live)));
    if (live === undefined) this.#routed.delete(id);
    else this.#routed.set(id, of);
    this.#dropIfEmpty(router);
  }
  /** Whether a port of a router can carry traffic: linked, or up on a host; and not set down. */
  #isLive({ id, adminStateUp, peer }: PortView): boolean {
    if (!adminStateUp) return false;
    if (peer === undefined) {
      const at = this.location(id);
      // Rows of an older version do not say it.
      return at !== undefined && at.up !== false;
    }
    return this.#ports.get(peer)?.adminStateUp === true;
  }

  /** Which families have seeds on a bridge, or secured addresses, and whether it secures any. */
  #families(id: BridgeId): number {
    const bridge = this.#bridges.get(id);
    if (bridge === undefined) return 0;
    const { seeds, secured } = bridge;
    const bits = [seeds.has(4), seeds.has(6), secured.has(4), secured.has(6), secured.any];
    return bits.reduce((all, bit, i) => (bit ? all | (1 << i) : all), 0);
  }

  #changeLocation(
    before: LocationRow | undefined,
    after: LocationRow | undefined,
    effects: Effects,
  ): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    if (before?.host === after?.host && before?.tunnelKey === after?.tunnelKey) {
      if (before?.mtu !== after?.mtu) effects.tags.add(locationTag(id));
      const router = this.#ports.get(id)?.router;
      if (router !== undefined) this.#bring(id, router, effects);
      return;
    }
    effects.tags.add(locationTag(id));
    // A port that comes or goes in the same change tags the flood itself, and counts itself.
    const port = this.#ports.get(id);
    if (port?.bridge !== undefined) effects.tags.add(floodTag(port.bridge));
    this.#carry(port, before?.host, -1);
    this.#carry(port, after?.host, 1);
    if (port?.router !== undefined) this.#bring(id, port.router, effects);
  }

  /** One port more, or less, of its device on a host. */
  #carry(port: PortView | undefined, host: HostId | undefined, by: 1 | -1): void {
    if (port === undefined || host === undefined) return;
    const device = deviceOf(port);
    const hosts = this.#carriers.get(device) ?? new Map<HostId, Carried>();
    const { ports, adminUp } = hosts.get(host) ?? { ports: 0, adminUp: 0 };
    const now = { ports: ports + by, adminUp: adminUp + (port.adminStateUp ? by : 0) };
    if (now.ports === 0) hosts.delete(host);
    else hosts.set(host, now);
    if (hosts.size === 0) this.#carriers.delete(device);
    else this.#carriers.set(device, hosts);
    this.#domains.count(device, host, by);
  }
}
