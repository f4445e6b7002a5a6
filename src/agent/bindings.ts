/**
 * Which virtual port is on which interface here, and what the datapath must therefore carry: ports,
 * port keys and the hosts that may send to each network.
 *
 * Invariant: level-triggered. `sync` compares what should be (topology and interfaces) with what
 * the datapath has, and makes it so in an order that never opens more than it should: flows of a
 * port are stale, and its key closed, before its interface changes hands; an interface is isolated
 * before its port counts as up; and a key is in the kernel only while its port is up here. The cost
 * of a change is that of this host's own ports, and of the hosts of the bridges it concerns.
 */
import type { Datapath } from '#datapath/datapath.ts';
import type {
  Bindings as PortBindings,
  FloodMembers,
  RouterHosts,
  RemoteHost,
  RemotePort,
} from '#flow/compile.ts';
import type { DpPeer, DpPort, Output, TunnelKey } from '#flow/flow.ts';
import type { Ip } from '#net/ip.ts';
import type { BridgeId, DeviceId, HostId, PortId, RouterId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { segmentOf } from '#virtual/bridge/links.ts';
import { deviceOf } from '#virtual/port/view.ts';
import type { ReadyPort } from '#virtual/ready.ts';
import { bindingTag, floodTag, hostTag, isHostTag, portTag, type Tag } from '#virtual/tags.ts';
import type { Topology } from '#virtual/topology.ts';
import type { EdgeState, LocalInterface } from './messages.ts';
import { Peers, type PathMtu } from './peers.ts';
import { reasonOf, TunnelAccess, type DesiredKey } from './tunnel-access.ts';

type PortObject = ObjectOf<'port'>;
interface PortDown {
  readonly port: PortId;
  readonly why: string;
}

/** Where a port is, as the store is to know it. */
type Located = EdgeState['locate'][number];

/** The interfaces a port may never take: the datapath's own, and loopback. */
const RESERVED = /^(lo|mninj[01]|mnvx0)$/;

export interface BindingsOptions {
  readonly host: HostId;
  readonly topology: Topology;
  readonly datapath: Datapath;
  /** Asked for the way to each host; without it no way has a limit. */
  readonly pathMtu?: PathMtu | undefined;
}

export class Bindings implements PortBindings {
  readonly #host: HostId;
  readonly #topology: Topology;
  readonly #datapath: Datapath;
  #indexOf: ReadonlyMap<string, DpPort> | undefined;
  /** Interfaces that are there, and carry nothing. */
  #dark: ReadonlySet<string> = new Set();
  /** The MTU of interfaces, in bytes, as they are now and as flows were made for them. */
  #mtus: ReadonlyMap<DpPort, number | undefined> = new Map();
  #mtusUsed: ReadonlyMap<DpPort, number | undefined> = new Map();
  readonly #up = new Map<PortId, DpPort>();
  readonly #byDpPort = new Map<DpPort, PortId>();
  /** When each interface came to carry the port it carries, on the datapath's clock. */
  readonly #since = new Map<DpPort, number>();
  #down: PortDown[] = [];
  /** Of `#down`: what the datapath refused, and may take later. */
  #refused: PortDown[] = [];
  readonly #access: TunnelAccess;
  readonly #peers: Peers;
  /** Interfaces were listed since the last `sync`: some may be others under the same number. */
  #relisted = false;
  #synced = false;
  /** Floods are compiled often and change rarely: `sync` forgets those it concerns. */
  readonly #floods = new Map<BridgeId, FloodMembers>();
  /** Bridges with flows that flood them, perhaps: asked for since these were last made stale. */
  readonly #flooded = new Set<BridgeId>();
  /** A host's address changed, or might have: see `abandoned`. */
  #moved = true;
  /** Of each network: which hosts were let in the last time (`Domain.stamp`). */
  #stamps: ReadonlyMap<number, number> = new Map();

  constructor({ host, topology, datapath, pathMtu = () => undefined }: BindingsOptions) {
    this.#host = host;
    this.#topology = topology;
    this.#datapath = datapath;
    this.#access = new TunnelAccess(datapath);
    this.#peers = new Peers(datapath, pathMtu);
  }

  /** All interfaces there are now; `sync` acts on them. */
  interfaces(list: readonly LocalInterface[]): void {
    this.#indexOf = new Map(list.map((link) => [link.name, link.index as DpPort]));
    this.#mtus = new Map(list.map(({ index, mtu }) => [index as DpPort, mtu]));
    this.#dark = new Set(list.filter((link) => link.carrier === false).map(({ name }) => name));
    this.#relisted = true;
  }
  /** Whether a port is bound to this host, up or not. */
  isHere(port: PortId): boolean {
    return this.#topology.isOnHost(port, this.#host);
  }
  /** Whether interfaces were ever listed: before, nothing is let go. */
  get listed(): boolean {
    return this.#indexOf !== undefined;
  }

  /**
   * Makes the datapath carry what it should. `changed`: the tags of what changed in the topology
   * since the last time; the flows under them are stale already. `invalidate` makes others stale at
   * once.
   */
  sync(changed: readonly Tag[] | 'all', invalidate: (tags: readonly Tag[]) => void): void {
    const concerned = this.#synced && changed !== 'all' ? new Set(changed) : 'all';
    this.#synced = true;
    if (concerned === 'all') this.#floods.clear();
    else if ([...concerned].some(isHostTag)) invalidate(this.#floodTags());
    if (concerned === 'all' || [...concerned].some(isHostTag)) this.#moved = true;
    for (const id of this.#floods.keys())
      if (concerned !== 'all' && concerned.has(floodTag(id))) this.#floods.delete(id);
    this.#syncPorts(invalidate);
    this.#syncMtus(invalidate);
    const keys = this.#keysOf(this.#up);
    this.#access.closeKeys(keys);
    const refused = this.#access.openKeys(keys);
    this.#refused.push(...refused);
    this.#down.push(...refused);
    this.#syncSenders(concerned);
  }
  /** Whether the datapath refused something that it may take later: then sync again. */
  get incomplete(): boolean {
    return this.#refused.length > 0 || this.#access.incomplete || this.#peers.incomplete;
  }

  ready(port: PortId): ReadyPort | undefined {
    return this.#topology.port(port)?.ready;
  }
  dpPort(port: PortId): DpPort | undefined {
    return this.#up.get(port);
  }
  /** Whether there is an interface of this name that a port may be bound to. */
  mayTake(name: string): boolean {
    return this.#indexOf?.has(name) === true && !RESERVED.test(name);
  }
  portAt(dpPort: DpPort): PortId | undefined {
    return this.#byDpPort.get(dpPort);
  }
  /** Whether an interface came to carry its port, or lost it, after that time. */
  changedHandsSince(dpPort: DpPort, timeMs: number): boolean {
    return timeMs < (this.#since.get(dpPort) ?? 0);
  }
  remote(port: PortId): RemotePort | undefined {
    const at = this.#topology.location(port);
    if (at === undefined || at.host === this.#host) return undefined;
    const remote = this.#peerOf(at.host);
    return { host: at.host, remote, key: at.tunnelKey as TunnelKey, mtu: at.mtu };
  }
  mtu(output: Output): number | undefined {
    return 'port' in output ? this.#mtus.get(output.port) : this.#peers.limit(output.remote);
  }
  floodMembers(bridge: BridgeId): FloodMembers | undefined {
    const known = this.#floods.get(bridge) ?? this.#membersOf(bridge);
    if (known !== undefined) this.#floods.set(bridge, known);
    this.#flooded.add(bridge);
    return known;
  }

  routerHosts(id: RouterId): RouterHosts | undefined {
    const router = this.#topology.router(id);
    if (router === undefined) return undefined;
    const hosts = new Set(this.#topology.carriers(id).keys());
    for (const port of router.ports) {
      const peer = this.#topology.port(port)?.peer;
      const bridge = peer && this.#topology.port(peer)?.bridge;
      for (const each of bridge ? segmentOf(this.#topology, bridge) : [])
        for (const host of this.#topology.carriers(each).keys()) hosts.add(host);
    }
    hosts.delete(this.#host);
    const remotes = [...hosts].map((host) => ({
      host,
      remote: this.#peerOf(host),
    }));
    return { key: router.networkKey as TunnelKey, remotes };
  }

  /** How many ports are up here. */
  get size(): number {
    return this.#up.size;
  }
  portsUp(): PortId[] {
    return [...this.#up.keys()].toSorted();
  }
  portsDown(): PortDown[] {
    return this.#down.toSorted((a, b) => (a.port < b.port ? -1 : 1));
  }
  /**
   * Ports up here whose location the store does not have, or has elsewhere; and ports of routers
   * whose interface is gone or has no carrier: their routes must end.
   */
  locate(): Located[] {
    const out: Located[] = [];
    for (const [port, dp] of this.#up) {
      const row = this.#topology.location(port);
      const name = this.#object(port)?.interface;
      if (name === undefined) continue;
      const up = !this.#dark.has(name) || this.#topology.port(port)?.type !== 'router';
      const told = row?.host === this.#host && row.interface === name;
      const mtu = this.#mtus.get(dp);
      if (!told || (row.up !== false) !== up || row.mtu !== mtu)
        out.push({ port, interface: name, up, mtu });
    }
    for (const { port } of this.#down) {
      const row = this.#topology.location(port);
      const name = this.#object(port)?.interface;
      if (row?.host !== this.#host || row.up === false || this.#up.has(port)) continue;
      if (name === undefined || this.#topology.port(port)?.type !== 'router') continue;
      out.push({ port, interface: name, up: false, mtu: undefined });
    }
    return out;
  }

  #floodTags(): Tag[] {
    const tags = [...this.#flooded].map(floodTag);
    this.#floods.clear();
    this.#flooded.clear();
    return tags;
  }

  /** Looks at the ways to some other hosts; the tags of the flows for which they are others now. */
  refreshPaths(most: number): Tag[] {
    const hosts = this.#peers.refresh(most);
    return hosts.length === 0 ? [] : [...hosts.map(hostTag), ...this.#floodTags()];
  }

  /**
   * Peers that no zone joins with this host any more; [] mostly. Their flows as outputs are stale
   * already: they hold the tag of the host, or of the flood.
   */
  abandoned(): DpPeer[] {
    if (!this.#moved) return [];
    this.#moved = false;
    const wanted = new Set<Ip>();
    for (const zone of this.#topology.list('tunnel-zone') as Iterable<ObjectOf<'tunnel-zone'>>)
      for (const { host } of zone.members) {
        const address = this.#topology.tunnelAddress(this.#host, host);
        if (address !== undefined && host !== this.#host) wanted.add(address);
      }
    return this.#peers.besides(wanted);
  }
  /** No flow names these any more. */
  retirePeers(peers: readonly DpPeer[]): void {
    this.#peers.retire(peers);
  }

  #peerOf(host: HostId): DpPeer | undefined {
    const address = this.#topology.tunnelAddress(this.#host, host);
    return address === undefined ? undefined : this.#peers.of(host, address);
  }

  /** Flows by interfaces whose MTU is another are not as they were. */
  #syncMtus(invalidate: (tags: readonly Tag[]) => void): void {
    if (this.#mtus === this.#mtusUsed) return;
    const changed = [...this.#up].filter(([, dp]) => this.#mtus.get(dp) !== this.#mtusUsed.get(dp));
    this.#mtusUsed = this.#mtus;
    if (changed.length > 0) invalidate(changed.flatMap(([port]) => this.#tagsOf(port)));
  }

  #object(port: PortId): PortObject | undefined {
    return this.#topology.get('port', port) as PortObject | undefined;
  }

  #desiredPorts(): Map<PortId, DpPort> {
    const desired = new Map<PortId, DpPort>();
    this.#down = [];
    for (const id of this.#topology.portsOnHost(this.#host)) {
      const name = this.#object(id)?.interface ?? '';
      const index = this.#indexOf?.get(name);
      if (RESERVED.test(name))
        this.#down.push({ port: id, why: `interface ${name} is not for ports` });
      else if (index === undefined)
        this.#down.push({ port: id, why: `there is no interface ${name}` });
      else desired.set(id, index);
    }
    return desired;
  }

  #syncPorts(invalidate: (tags: readonly Tag[]) => void): void {
    const desired = this.#desiredPorts();
    const held = this.#relisted ? new Set(this.#datapath.ports()) : undefined;
    this.#relisted = false;
    const gone = [...this.#up].filter(
      ([port, dp]) => desired.get(port) !== dp || held?.has(dp) === false,
    );
    this.#change(gone, invalidate);
    for (const [port, dp] of gone) {
      this.#up.delete(port);
      if (this.#byDpPort.get(dp) === port) this.#byDpPort.delete(dp);
      this.#since.delete(dp);
    }
    // What an agent before this one left in order stays open meanwhile.
    const adopted = [...desired].filter(([port, dp]) => !this.#up.has(port) && held?.has(dp));
    this.#access.closeKeys(this.#keysOf(new Map([...this.#up, ...adopted])));
    const keep = new Set(desired.values());
    for (const dp of held ?? gone.map(([, each]) => each))
      if (!keep.has(dp)) this.#datapath.removePort(dp);
    const added = this.#isolated([...desired].filter(([port]) => !this.#up.has(port)));
    this.#change(added, invalidate);
    const now = this.#datapath.now();
    for (const [port, dp] of added) {
      this.#up.set(port, dp);
      this.#byDpPort.set(dp, port);
      this.#since.set(dp, now);
    }
  }

  /** Those whose interface the datapath took over. */
  #isolated(fresh: readonly (readonly [PortId, DpPort])[]): readonly (readonly [PortId, DpPort])[] {
    this.#refused = [];
    const taken = fresh.filter(([port, dp]) => {
      try {
        this.#datapath.addPort(dp);
        return true;
      } catch (error) {
        this.#refused.push({ port, why: reasonOf(error) });
        return false;
      }
    });
    this.#down.push(...this.#refused);
    return taken;
  }

  /** Flows and floods of ports that come or go are not as they were. */
  #change(
    ports: readonly (readonly [PortId, DpPort])[],
    invalidate: (tags: readonly Tag[]) => void,
  ): void {
    if (ports.length === 0) return;
    invalidate(ports.flatMap(([port]) => this.#tagsOf(port)));
    for (const [port] of ports) {
      const bridge = this.#topology.port(port)?.bridge;
      if (bridge !== undefined) this.#floods.delete(bridge);
    }
  }

  #tagsOf(port: PortId): Tag[] {
    const bridge = this.#topology.port(port)?.bridge;
    const own = [bindingTag(port), portTag(port)];
    return bridge === undefined ? own : [...own, floodTag(bridge)];
  }

  /** The keys of these ports, as the store has them. */
  #keysOf(ports: ReadonlyMap<PortId, DpPort>): Map<TunnelKey, DesiredKey> {
    const desired = new Map<TunnelKey, DesiredKey>();
    for (const [id, port] of ports) {
      const location = this.#topology.location(id);
      const view = this.#topology.port(id);
      const network = view && this.#networkOf(deviceOf(view));
      if (location?.host === this.#host && network !== undefined && view?.adminStateUp === true)
        desired.set(location.tunnelKey as TunnelKey, { id, port, network });
    }
    return desired;
  }

  #networkOf(device: DeviceId): number | undefined {
    const bridge = this.#topology.bridge(device as BridgeId);
    return bridge?.floodKey ?? this.#topology.router(device as RouterId)?.networkKey;
  }

  /** The devices whose frames this host takes from others: of its own ports, and routers near. */
  *#devicesHere(): Generator<DeviceId> {
    const bridges = new Set<BridgeId>();
    for (const port of this.#up.keys()) {
      const view = this.#topology.port(port);
      if (view === undefined) continue;
      yield deviceOf(view);
      if (view.bridge === undefined || bridges.has(view.bridge)) continue;
      for (const each of segmentOf(this.#topology, view.bridge)) bridges.add(each);
    }
    for (const bridge of bridges)
      for (const link of this.#topology.bridge(bridge)?.routerLinks ?? []) {
        const peer = this.#topology.port(link)?.peer;
        const router = peer && this.#topology.port(peer)?.router;
        if (router) yield router;
      }
  }

  #syncSenders(concerned: ReadonlySet<Tag> | 'all'): void {
    const carried = new Map<number, DeviceId>();
    for (const device of this.#devicesHere()) {
      const network = this.#networkOf(device);
      if (network !== undefined) carried.set(network, device);
    }
    const everything = concerned === 'all' || [...concerned].some(isHostTag);
    const stamps = new Map<number, number>();
    for (const [network, device] of carried)
      stamps.set(network, this.#topology.domain(device).stamp);
    const dirty = (device: DeviceId): boolean => {
      const network = this.#networkOf(device) ?? 0;
      return everything || this.#stamps.get(network) !== stamps.get(network);
    };
    this.#access.syncSenders(carried, dirty, (device) => this.#sourcesOf(device));
    this.#stamps = stamps;
  }
  /** The other hosts from which a frame may come to a device. */
  #sourcesOf(device: DeviceId): Set<DpPeer> {
    const sources = new Set<DpPeer>();
    for (const host of this.#topology.domain(device).hosts.keys()) {
      if (host === this.#host) continue;
      const source = this.#peerOf(host);
      if (source !== undefined) sources.add(source);
    }
    return sources;
  }

  #membersOf(id: BridgeId): FloodMembers | undefined {
    const bridge = this.#topology.bridge(id);
    if (bridge === undefined) return undefined;
    const local: { port: PortId; dpPort: DpPort | undefined }[] = [];
    for (const port of this.#topology.portsOnHost(this.#host)) {
      const view = this.#topology.port(port);
      if (view?.bridge === id && view.adminStateUp && view.peer === undefined)
        local.push({ port, dpPort: this.#up.get(port) });
    }
    const remotes: RemoteHost[] = [];
    for (const [host, { adminUp }] of this.#topology.carriers(id))
      if (adminUp > 0 && host !== this.#host) remotes.push({ host, remote: this.#peerOf(host) });
    return { key: bridge.floodKey as TunnelKey, local, remotes };
  }
}
