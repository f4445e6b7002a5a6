/**
 * Whom a connection concerns besides this host: where its packets and answers enter, and where
 * answers may enter instead, which stateful port groups say. And who may speak of it: the same
 * hosts, and those that were among them a moment ago.
 */
import type { Ip } from '#net/ip.ts';
import type { RowChange } from '#virtual/change.ts';
import type { Translation, Zone } from '#virtual/connection.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Topology } from '#virtual/topology.ts';

/** A host that has just lost a port may still tell of what went through it. */
const FORMER_MS = 60_000;
/** Ports whose former hosts are remembered; further ones are not. */
const FORMER_MAX = 4_096;

/** What of a record, or of what is told of one, says whom it concerns. */
export interface Concern {
  readonly inPort: PortId | undefined;
  readonly outPort: PortId | undefined;
  readonly returns: { readonly zone: Zone };
  readonly translations: readonly Translation[];
}

export class Recipients {
  readonly #host: HostId;
  readonly #topology: Topology;
  readonly #now: () => number;
  readonly #former = new Map<PortId, { readonly host: HostId; readonly untilMs: number }>();
  #addresses: ReadonlyMap<HostId, Ip> | undefined;
  #hosts: ReadonlyMap<Ip, HostId> | undefined;
  /** Of each member of a stateful group: the other members. */
  #mates: ReadonlyMap<PortId, ReadonlySet<PortId>> | undefined;

  constructor(options: { host: HostId; topology: Topology; now: () => number }) {
    this.#host = options.host;
    this.#topology = options.topology;
    this.#now = options.now;
  }

  of(concern: Concern): ReadonlySet<HostId> {
    const hosts = this.#concerned(concern);
    hosts.delete(this.#host);
    return hosts;
  }
  #concerned({ inPort, outPort, returns, translations }: Concern): Set<HostId> {
    const hosts = new Set<HostId>();
    for (const port of [inPort, outPort]) {
      if (port === undefined) continue;
      this.#addHost(hosts, port);
      for (const mate of this.#matesOf(port)) this.#addHost(hosts, mate);
    }
    for (const owner of this.#ownersOf(translations)) hosts.add(owner);
    // A flood: answers enter wherever the bridge is.
    if (inPort === undefined || outPort !== undefined) return hosts;
    const bridge = this.#topology.bridgeOfFloodKey(returns.zone);
    if (bridge !== undefined)
      for (const host of this.#topology.carriers(bridge).keys()) hosts.add(host);
    return hosts;
  }
  /** Who owns the public ports of a connection is to know as long as they are in use. */
  *#ownersOf(translations: readonly Translation[]): Generator<HostId> {
    for (const { changes, zone, to } of translations) {
      const router = changes === 'source' ? this.#topology.routerOfNetworkKey(zone) : undefined;
      const owner = router && this.#topology.natBlocks.owner(router, to.ip, to.port);
      if (owner !== undefined) yield owner;
    }
  }
  /**
   * Whether a host may be told of a connection when it asks: it is concerned, or answers of a
   * translated one may enter there by another port of the device.
   */
  mayAsk(host: HostId, concern: Concern): boolean {
    return this.#concerned(concern).has(host) || this.#isNear(host, concern);
  }
  #isNear(host: HostId, { returns, translations }: Concern): boolean {
    if (translations.length === 0) return false;
    const { zone } = returns;
    const device = this.#topology.routerOfNetworkKey(zone) ?? this.#topology.bridgeOfFloodKey(zone);
    return device !== undefined && this.#topology.carriers(device).has(host);
  }
  #addHost(hosts: Set<HostId>, port: PortId): void {
    const at = this.#topology.location(port)?.host;
    if (at !== undefined) hosts.add(at);
  }

  /** Whether packets of who opened it enter at that host. */
  owns(host: HostId, { inPort }: Concern): boolean {
    return inPort !== undefined && this.#topology.location(inPort)?.host === host;
  }

  maySpeak(host: HostId, concern: Concern): boolean {
    if (this.mayAsk(host, concern)) return true;
    return [concern.inPort, concern.outPort].some((port) => {
      const former = port && this.#former.get(port);
      return former !== undefined && former.host === host && this.#now() < former.untilMs;
    });
  }

  /** The other hosts that a zone of tunnels joins with this one. */
  hosts(): Iterable<HostId> {
    return this.#peers().keys();
  }
  addressOf(host: HostId): Ip | undefined {
    return this.#peers().get(host);
  }
  hostAt(address: Ip): HostId | undefined {
    this.#hosts ??= new Map([...this.#peers()].map(([host, of]) => [of, host]));
    return this.#hosts.get(address);
  }
  #peers(): ReadonlyMap<HostId, Ip> {
    if (this.#addresses !== undefined) return this.#addresses;
    const addresses = new Map<HostId, Ip>();
    for (const { id } of this.#topology.list('host')) {
      const address = this.#topology.tunnelAddress(this.#host, id as HostId);
      if (address !== undefined && id !== this.#host) addresses.set(id as HostId, address);
    }
    this.#addresses = addresses;
    return addresses;
  }

  #matesOf(port: PortId): Iterable<PortId> {
    this.#mates ??= matesOf(this.#topology);
    return this.#mates.get(port) ?? [];
  }

  /** Before a change is applied: who carries the ports that it moves. */
  before(rows: readonly RowChange[]): void {
    for (const { kind, id } of rows) {
      const host = kind === 'location' && this.#topology.location(id as PortId)?.host;
      if (host === false || host === undefined) continue;
      this.#former.delete(id as PortId);
      if (this.#former.size < FORMER_MAX)
        this.#former.set(id as PortId, { host, untilMs: this.#now() + FORMER_MS });
    }
  }
  /** After it was: the ports whose connections concern other hosts now. */
  follow(rows: readonly RowChange[] | 'all'): readonly PortId[] | 'all' {
    const touches = (...kinds: readonly string[]): boolean =>
      rows === 'all' || rows.some(({ kind }) => kinds.includes(kind));
    if (touches('host', 'tunnel-zone')) {
      this.#addresses = undefined;
      this.#hosts = undefined;
    }
    if (touches('port-group')) this.#mates = undefined;
    if (rows === 'all') return 'all';
    const ports: PortId[] = [];
    for (const { kind, id, put } of rows) {
      if (kind === 'location' && put !== undefined) ports.push(id as PortId);
      if (kind !== 'port-group' || put === undefined) continue;
      const group = put as ObjectOf<'port-group'>;
      if (group.stateful) ports.push(...(group.ports as PortId[]));
    }
    return ports;
  }
}

function matesOf(topology: Topology): Map<PortId, Set<PortId>> {
  const mates = new Map<PortId, Set<PortId>>();
  for (const group of topology.list('port-group') as Iterable<ObjectOf<'port-group'>>) {
    if (!group.stateful) continue;
    for (const port of group.ports as PortId[]) {
      const others = mates.getOrInsertComputed(port, () => new Set());
      for (const other of group.ports as PortId[]) if (other !== port) others.add(other);
    }
  }
  return mates;
}
