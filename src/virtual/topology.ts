/**
 * The topology as a value at one revision: every stored object, and the indexes by which the walk,
 * the agent and the API ask in constant time.
 *
 * Invariants: the state depends on the set of objects only, never on the order in which they came
 * (`apply` after `apply` equals `reset`); `apply` answers the tags of everything that a decision
 * could have read differently before (law 2).
 */
import { parseIp4, type Ip4 } from '#net/ip.ts';
import { seedChangeTags } from './bridge/seeds.ts';
import { BridgeState } from './bridge/state.ts';
import type { Change, RowChange } from './change.ts';
import type { BridgeId, HostId, PortId, TunnelZoneId } from './ids.ts';
import { KIND_NAMES, type KindName, type StoredObject, type View } from './kind.ts';
import type { ObjectOf } from './kinds.ts';
import { referencesFrom, targetsOf } from './references.ts';
import { sameObject } from './same.ts';
import { bridgeTag, floodTag, hostTag, locationTag, portTag, seedsTag, type Tag } from './tags.ts';
import type { BridgeView, PortView, TopologyView } from './view.ts';

/** A reset that changes more than this answers 'all': forgetting every flow is then cheaper. */
export const RESET_TAGS_MAX = 10_000;

type PortRow = ObjectOf<'port'>;
type BridgeRow = ObjectOf<'bridge'>;
type LocationRow = ObjectOf<'location'>;
type ZoneRow = ObjectOf<'tunnel-zone'>;

/** What a change has brought about so far. */
interface Effects {
  readonly tags: Set<Tag>;
  /**
   * Which families had seeds on a bridge before the change: a seed may only change hands within it.
   */
  readonly families: Map<BridgeId, number>;
}

/** What a host carries of a bridge. */
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

const byKind = <Value>(make: () => Value): Record<KindName, Value> =>
  Object.fromEntries(KIND_NAMES.map((kind) => [kind, make()])) as Record<KindName, Value>;

/** Adds to, or with `value` removes from, a set kept under a key; an empty set is not kept. */
function addTo<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([value]));
  else set.add(value);
}
function removeFrom<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  set?.delete(value);
  if (set?.size === 0) sets.delete(key);
}

export class Topology implements TopologyView, View {
  #revision = 0;
  readonly #objects = byKind(() => new Map<string, StoredObject>());
  readonly #names = byKind(() => new Map<string, Set<string>>());
  readonly #referrers = new Map<string, Set<string>>();
  readonly #ports = new Map<PortId, PortView>();
  readonly #bridges = new Map<BridgeId, BridgeState>();
  readonly #byFloodKey = new Map<number, BridgeId>();
  readonly #zonesOf = new Map<HostId, Map<TunnelZoneId, Ip4>>();
  /** Counted, because a bridge may have far more ports than hosts. */
  readonly #carriers = new Map<BridgeId, Map<HostId, Carried>>();

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
      if (!sameObject(this.#objects[kind].get(object.id), object))
        rows.push({ kind, id: object.id, put: object });
    }
    for (const kind of KIND_NAMES)
      for (const id of this.#objects[kind].keys()) if (!keep[kind].has(id)) rows.push({ kind, id });
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
      for (const object of this.#objects[kind].values()) yield { kind, object };
  }

  get(kind: KindName, id: string): StoredObject | undefined {
    return this.#objects[kind].get(id);
  }
  list(kind: KindName): Iterable<StoredObject> {
    return this.#objects[kind].values();
  }
  referrers(kind: KindName, path: string, target: string): readonly string[] {
    return [...(this.#referrers.get(`${kind}.${path}/${target}`) ?? [])];
  }
  /** Ids of the objects of a kind with this name. */
  named(kind: KindName, name: string): readonly string[] {
    return [...(this.#names[kind].get(name) ?? [])];
  }

  port(id: PortId): PortView | undefined {
    return this.#ports.get(id);
  }
  bridge(id: BridgeId): BridgeView | undefined {
    const bridge = this.#bridges.get(id);
    return bridge?.row === undefined ? undefined : bridge;
  }
  /** The bridge whose floods carry this tunnel key. */
  bridgeOfFloodKey(key: number): BridgeId | undefined {
    return this.#byFloodKey.get(key);
  }
  /** Where a port is up, and the key that reaches it there. */
  location(port: PortId): { readonly host: HostId; readonly tunnelKey: number } | undefined {
    return this.#objects.location.get(port) as LocationRow | undefined;
  }
  /** The hosts on which, by location, ports of a bridge are up. Changes with `floodTag`. */
  carriers(bridge: BridgeId): ReadonlyMap<HostId, Carried> {
    return this.#carriers.get(bridge) ?? NO_CARRIERS;
  }
  /** The ports bound to a host, up there or not. */
  portsOnHost(host: HostId): readonly PortId[] {
    return this.referrers('port', 'host', host) as readonly PortId[];
  }
  /** The address of `to` in the zone with the lowest id that both hosts are members of. */
  tunnelAddress(from: HostId, to: HostId): Ip4 | undefined {
    const there = this.#zonesOf.get(to);
    let best: TunnelZoneId | undefined;
    for (const zone of this.#zonesOf.get(from)?.keys() ?? [])
      if (there?.has(zone) === true && (best === undefined || zone < best)) best = zone;
    return best === undefined ? undefined : there?.get(best);
  }

  #applyRows(rows: readonly RowChange[]): Tag[] {
    const effects: Effects = { tags: new Set(), families: new Map() };
    for (const row of rows) this.#applyRow(row, effects);
    for (const [bridge, before] of effects.families)
      if (this.#families(bridge) !== before) effects.tags.add(seedsTag(bridge));
    return [...effects.tags];
  }

  #applyRow({ kind, id, put }: RowChange, effects: Effects): void {
    const { tags } = effects;
    const before = this.#objects[kind].get(id);
    if (before === undefined && put === undefined) return;
    this.#index(kind, before, put);
    if (kind === 'port') this.#changePort(before as PortRow, put as PortRow, effects);
    else if (kind === 'bridge') this.#changeBridge(before as BridgeRow, put as BridgeRow, tags);
    else if (kind === 'location')
      this.#changeLocation(before as LocationRow, put as LocationRow, tags);
    else if (kind === 'tunnel-zone') this.#changeZone(before as ZoneRow, put as ZoneRow, tags);
    else if ((before === undefined) !== (put === undefined)) tags.add(hostTag(id as HostId));
  }

  #index(kind: KindName, before: StoredObject | undefined, after: StoredObject | undefined): void {
    if (before !== undefined) {
      if (after === undefined) this.#objects[kind].delete(before.id);
      if (before.name !== undefined) removeFrom(this.#names[kind], before.name, before.id);
      for (const path of referencesFrom(kind))
        for (const target of targetsOf(before, path))
          removeFrom(this.#referrers, `${kind}.${path.path}/${target}`, before.id);
    }
    if (after === undefined) return;
    this.#objects[kind].set(after.id, after);
    if (after.name !== undefined) addTo(this.#names[kind], after.name, after.id);
    for (const path of referencesFrom(kind))
      for (const target of targetsOf(after, path))
        addTo(this.#referrers, `${kind}.${path.path}/${target}`, after.id);
  }

  #bridgeState(id: BridgeId): BridgeState {
    const bridge = this.#bridges.get(id) ?? new BridgeState(id);
    this.#bridges.set(id, bridge);
    return bridge;
  }
  #dropIfEmpty(bridge: BridgeState): void {
    if (bridge.row === undefined && bridge.ports.size === 0) this.#bridges.delete(bridge.id);
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
    if (before?.adminStateUp !== after?.adminStateUp || before?.floodKey !== after?.floodKey)
      tags.add(bridgeTag(id));
    if (before?.floodKey !== after?.floodKey) tags.add(floodTag(id));
  }

  #changePort(
    before: PortRow | undefined,
    after: PortRow | undefined,
    { tags, families }: Effects,
  ): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const bridges = new Set([before?.bridge, after?.bridge].filter((b) => b !== undefined));
    for (const bridge of bridges)
      if (!families.has(bridge)) families.set(bridge, this.#families(bridge));
    const at = this.location(id)?.host;
    this.#carry(this.#ports.get(id), at, -1);
    if (before !== undefined) this.#unplug(before);
    if (after !== undefined) this.#plug(after);
    this.#carry(this.#ports.get(id), at, 1);
    const sameMember =
      before?.bridge === after?.bridge &&
      before?.adminStateUp === after?.adminStateUp &&
      before?.host === after?.host;
    const sameRest = before?.hairpin === after?.hairpin && before?.interface === after?.interface;
    if (!sameMember || !sameRest) tags.add(portTag(id));
    for (const bridge of bridges) {
      if (!sameMember) tags.add(floodTag(bridge));
      const was = before?.bridge === bridge ? before.addresses : [];
      const is = after?.bridge === bridge ? after.addresses : [];
      for (const tag of seedChangeTags(bridge, was, is)) tags.add(tag);
    }
  }

  /** Which families have seeds on a bridge, as two bits. */
  #families(id: BridgeId): number {
    const seeds = this.#bridges.get(id)?.seeds;
    return (seeds?.has(4) === true ? 1 : 0) | (seeds?.has(6) === true ? 2 : 0);
  }

  #plug(row: PortRow): void {
    const { id, name, adminStateUp, hairpin } = row;
    this.#ports.set(id, { id, name, bridge: row.bridge, adminStateUp, hairpin });
    const bridge = this.#bridgeState(row.bridge);
    bridge.ports.add(id);
    if (adminStateUp) bridge.portsUp++;
    bridge.seeds.add(id, row.addresses);
  }
  #unplug(row: PortRow): void {
    this.#ports.delete(row.id);
    const bridge = this.#bridgeState(row.bridge);
    bridge.ports.delete(row.id);
    if (row.adminStateUp) bridge.portsUp--;
    bridge.seeds.remove(row.id, row.addresses);
    this.#dropIfEmpty(bridge);
  }

  #changeLocation(
    before: LocationRow | undefined,
    after: LocationRow | undefined,
    tags: Set<Tag>,
  ): void {
    if (before?.host === after?.host && before?.tunnelKey === after?.tunnelKey) return;
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    tags.add(locationTag(id));
    // A port that comes or goes in the same change tags the flood itself, and counts itself.
    const port = this.#ports.get(id);
    if (port !== undefined) tags.add(floodTag(port.bridge));
    this.#carry(port, before?.host, -1);
    this.#carry(port, after?.host, 1);
  }

  /** One port more, or less, of its bridge on a host. */
  #carry(port: PortView | undefined, host: HostId | undefined, by: 1 | -1): void {
    if (port === undefined || host === undefined) return;
    const hosts = this.#carriers.get(port.bridge) ?? new Map<HostId, Carried>();
    const { ports, adminUp } = hosts.get(host) ?? { ports: 0, adminUp: 0 };
    const now = { ports: ports + by, adminUp: adminUp + (port.adminStateUp ? by : 0) };
    if (now.ports === 0) hosts.delete(host);
    else hosts.set(host, now);
    if (hosts.size === 0) this.#carriers.delete(port.bridge);
    else this.#carriers.set(port.bridge, hosts);
  }

  /**
   * A host that joins or leaves changes its own reachability and, seen from it, that of every other
   * member; so whoever asked for an address needs to name only the host it asked for.
   */
  #changeZone(before: ZoneRow | undefined, after: ZoneRow | undefined, tags: Set<Tag>): void {
    const id = (after ?? before)?.id;
    if (id === undefined) return;
    const was = new Map(before?.members.map(({ host, address }) => [host, address]));
    const is = new Map(after?.members.map(({ host, address }) => [host, address]));
    const hosts = new Set([...was.keys(), ...is.keys()]);
    let joined = false;
    for (const host of hosts) {
      if (was.get(host) === is.get(host)) continue;
      tags.add(hostTag(host));
      if (was.has(host) !== is.has(host)) joined = true;
      const zones = this.#zonesOf.get(host) ?? new Map<TunnelZoneId, Ip4>();
      const address = parseIp4(is.get(host) ?? '');
      if (address === undefined) zones.delete(id);
      else zones.set(id, address);
      if (zones.size === 0) this.#zonesOf.delete(host);
      else this.#zonesOf.set(host, zones);
    }
    if (joined) for (const host of hosts) tags.add(hostTag(host));
  }
}
