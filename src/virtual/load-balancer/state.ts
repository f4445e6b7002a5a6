/**
 * Load balancers, their VIPs, pools and members by the routers that have them; a part of the
 * topology.
 *
 * Invariants: what is answered depends on the rows that are here, not on the order in which they
 * came; a change yields the tags of all that a walk could have decided otherwise by it (law 2).
 * What was made of a pool is made anew when it is asked for; its table only when who is in it, or
 * what they weigh, is another.
 */
import { isIp6, parseIp, solicitedNode, type Ip, type Ip6 } from '#net/ip.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { bitsOf } from '#net/prefix.ts';
import { formatEndpoint } from '../connection.ts';
import type { PoolId, PoolMemberId, RouterId, VipId } from '../ids.ts';
import type { KindName, StoredObject } from '../kind.ts';
import type { ObjectOf } from '../kinds.ts';
import type { ChangedRoute } from '../router/changes.ts';
import type { Rows } from '../rows.ts';
import { differInLabelsOnly } from '../same.ts';
import { memberTag, poolTag, routerTag, vipTag, type Tag } from '../tags.ts';
import { placesOf, type Claimant } from './maglev.ts';
import type { BalancerView, MemberView, PoolView, VipView } from './view.ts';

type BalancerRow = ObjectOf<'load-balancer'>;
type MonitorRow = ObjectOf<'health-monitor'>;
type PoolRow = ObjectOf<'pool'>;
type MemberRow = ObjectOf<'pool-member'>;
type VipRow = ObjectOf<'vip'>;
type HealthRow = ObjectOf<'member-health'>;

/** Bytes of tables that one topology keeps; the oldest go, and are made again when asked for. */
export const TABLE_BYTES_MAX = 64 * 1024 * 1024;

const KINDS: readonly KindName[] = [
  'load-balancer',
  'health-monitor',
  'pool',
  'pool-member',
  'vip',
  'member-health',
];
const PROTOCOLS = { tcp: IP_PROTOCOL.TCP, udp: IP_PROTOCOL.UDP } as const;

type Pair<Row> = readonly [before: Row | undefined, after: Row | undefined];

export interface BalancerEffects {
  readonly tags: Set<Tag>;
  readonly routes: ChangedRoute[];
}

const addressOf = (text: string): Ip => {
  const ip = parseIp(text);
  if (ip === undefined) throw new Error(`load balancer: ${text} is stored but not valid`);
  return ip;
};
const isFoundDown = (row: StoredObject | undefined): boolean =>
  (row as HealthRow | undefined)?.status === 'down';
/** What a table is made of. `of`: in one text, to tell it from others by. */
interface Recipe {
  readonly of: string;
  readonly size: number;
  readonly claimants: readonly Claimant[];
}
function recipeOf({ tableSize: size }: PoolRow, rows: readonly MemberRow[]): Recipe {
  const claimants = rows.map(({ address, port, weight }) => ({
    key: `${address}/${port}`,
    weight,
  }));
  const of = `${size} ${claimants.map(({ key, weight }) => `${key}=${weight}`).join(' ')}`;
  return { of, size, claimants };
}
const vipKey = (protocol: number, ip: Ip, port: number): string => `${protocol}/${ip}/${port}`;

/** Counts how often each is there. */
class Counted<Key> {
  readonly #counts = new Map<Key, number>();
  has(key: Key): boolean {
    return this.#counts.has(key);
  }
  keys(): Iterable<Key> {
    return this.#counts.keys();
  }
  /** Whether that made it come, or go. */
  add(key: Key, by: 1 | -1): boolean {
    const count = (this.#counts.get(key) ?? 0) + by;
    if (count === 0) this.#counts.delete(key);
    else this.#counts.set(key, count);
    return count === 0 || (count === 1 && by === 1);
  }
}

/** What the rows of a whole topology answer one router. */
interface Shared {
  serves(router: RouterId, ip: Ip, port?: number): boolean;
  pool(id: PoolId): PoolView | undefined;
}

class RouterBalancer implements BalancerView {
  /** Of two that are not (yet) valid together the one with the lower id is there. */
  readonly vips = new Map<string, readonly VipView[]>();
  readonly addresses = new Counted<Ip>();
  readonly #solicited = new Counted<Ip6>();
  readonly #id: RouterId;
  readonly #shared: Shared;

  constructor(id: RouterId, shared: Shared) {
    this.#id = id;
    this.#shared = shared;
  }
  /** Whether the router has another address, or one less. */
  add(vip: VipView): boolean {
    const key = keyOf(vip);
    const all = [...(this.vips.get(key) ?? []), vip].sort((a, b) => (a.id < b.id ? -1 : 1));
    this.vips.set(key, all);
    return this.#count(vip, 1);
  }
  remove(vip: VipView): boolean {
    const key = keyOf(vip);
    const left = (this.vips.get(key) ?? []).filter(({ id }) => id !== vip.id);
    if (left.length === 0) this.vips.delete(key);
    else this.vips.set(key, left);
    return this.#count(vip, -1);
  }
  #count({ ip }: VipView, by: 1 | -1): boolean {
    if (isIp6(ip)) this.#solicited.add(solicitedNode(ip), by);
    return this.addresses.add(ip, by);
  }
  vip(protocol: number, ip: Ip, port: number): VipView | undefined {
    return this.vips.get(vipKey(protocol, ip, port))?.[0];
  }
  hasAddress(ip: Ip): boolean {
    return this.addresses.has(ip);
  }
  hasSolicited(group: Ip6): boolean {
    return this.#solicited.has(group);
  }
  serves(ip: Ip, port?: number): boolean {
    return this.#shared.serves(this.#id, ip, port);
  }
  pool(id: PoolId): PoolView | undefined {
    return this.#shared.pool(id);
  }
}
const keyOf = ({ protocol, ip, port }: VipView): string => vipKey(protocol, ip, port);

interface Attached {
  readonly router: RouterId;
  readonly view: VipView;
}

export class Balancers {
  readonly #rows: Rows;
  readonly #routers = new Map<RouterId, RouterBalancer>();
  /** VIPs whose load balancer is there. */
  readonly #attached = new Map<string, Attached>();
  /** Ids of members by their address. */
  readonly #members = new Map<Ip, Set<string>>();
  readonly #pools = new Map<string, PoolView>();
  /** By pool, the oldest first; with what they were made of. */
  readonly #tables = new Map<string, { readonly of: string; readonly table: Uint16Array }>();
  #tableBytes = 0;

  constructor(rows: Rows) {
    this.#rows = rows;
  }

  /** Undefined: the router has no VIP. */
  router(id: RouterId): BalancerView | undefined {
    return this.#routers.get(id);
  }
  hasAddress(id: RouterId, ip: Ip): boolean {
    return this.#routers.get(id)?.hasAddress(ip) ?? false;
  }

  /** Rows that are in their place already; false: of a kind that is no part of a balancer. */
  change(
    kind: KindName,
    rows: readonly [before: StoredObject | undefined, after: StoredObject | undefined],
    effects: BalancerEffects,
  ): boolean {
    if (!KINDS.includes(kind)) return false;
    const [before, after] = rows;
    if (before !== undefined && after !== undefined && differInLabelsOnly(before, after))
      return true;
    const id = (after ?? before)?.id ?? '';
    const comes = (before === undefined) !== (after === undefined);
    if (kind === 'load-balancer') this.#touchBalancer(rows as Pair<BalancerRow>, effects);
    else if (kind === 'vip') this.#attach(id, effects);
    else if (kind === 'pool') {
      this.#touchPool(id, effects, true);
      if (comes) for (const member of this.#membersOf(id)) this.#tellAddress(member, effects);
    } else if (kind === 'health-monitor') {
      for (const pool of this.#rows.referrers('pool', 'healthMonitor', id))
        this.#touchPool(pool, effects, true);
    } else if (kind === 'pool-member') this.#touchMember(rows as Pair<MemberRow>, effects);
    // Of whom nothing is known counts as up; why somebody is down is nobody's concern here.
    else if (isFoundDown(before) !== isFoundDown(after)) this.#touchHealth(id, effects);
    return true;
  }

  #touchBalancer(rows: Pair<BalancerRow>, effects: BalancerEffects): void {
    const [before, after] = rows;
    if (before?.router !== after?.router)
      for (const row of rows) if (row) effects.tags.add(routerTag(row.router as RouterId));
    const id = (after ?? before)?.id ?? '';
    for (const vip of this.#rows.referrers('vip', 'loadBalancer', id)) this.#attach(vip, effects);
  }
  /** Brings a VIP in line with its row, and with that of its load balancer. */
  #attach(id: string, { tags, routes }: BalancerEffects): void {
    tags.add(vipTag(id as VipId));
    const destination = (address: Ip) => ({ address, length: bitsOf(address) });
    const was = this.#attached.get(id);
    if (was !== undefined) {
      const of = this.#routers.get(was.router);
      if (of?.remove(was.view) === true)
        routes.push({ router: was.router, destination: destination(was.view.ip) });
      if (of?.vips.size === 0) {
        this.#routers.delete(was.router);
        tags.add(routerTag(was.router));
      }
      this.#attached.delete(id);
    }
    const row = this.#rows.get('vip', id) as VipRow | undefined;
    const balancer = this.#rows.get('load-balancer', row?.loadBalancer ?? '') as BalancerRow;
    if (row === undefined || balancer === undefined) return;
    const router = balancer.router as RouterId;
    const of = this.#routers.getOrInsertComputed(
      router,
      () =>
        new RouterBalancer(router, {
          serves: (by, ip, port) => this.#serves(by, ip, port),
          pool: (pool) => this.#pool(pool),
        }),
    );
    if (of.vips.size === 0) tags.add(routerTag(router));
    const view = viewOfVip(row, balancer.adminStateUp);
    if (of.add(view)) routes.push({ router, destination: destination(view.ip) });
    this.#attached.set(id, { router, view });
  }

  #touchMember(rows: Pair<MemberRow>, effects: BalancerEffects): void {
    for (const row of rows) {
      if (row === undefined) continue;
      const ip = addressOf(row.address);
      const all = this.#members.getOrInsertComputed(ip, () => new Set());
      if (row === rows[1]) all.add(row.id);
      else all.delete(row.id);
      if (all.size === 0) this.#members.delete(ip);
      effects.tags.add(memberTag(row.id as PoolMemberId));
      this.#touchPool(row.pool, effects, false);
      this.#tellAddress(row, effects);
    }
  }
  #touchHealth(id: string, effects: BalancerEffects): void {
    effects.tags.add(memberTag(id as PoolMemberId));
    const member = this.#rows.get('pool-member', id) as MemberRow | undefined;
    if (member !== undefined) this.#touchPool(member.pool, effects, false);
  }
  /** `whole`: what it says of its members, or who falls back to whom, is another. */
  #touchPool(id: string, { tags }: BalancerEffects, whole: boolean): void {
    this.#pools.delete(id);
    tags.add(poolTag(id as PoolId));
    if (!whole) return;
    for (const member of this.#membersOf(id)) tags.add(memberTag(member.id as PoolMemberId));
  }
  #membersOf(pool: string): MemberRow[] {
    return this.#rows
      .referrers('pool-member', 'pool', pool)
      .map((id) => this.#rows.get('pool-member', id) as MemberRow);
  }
  #routerOf(pool: string): RouterId | undefined {
    const { loadBalancer } = (this.#rows.get('pool', pool) as PoolRow | undefined) ?? {};
    const balancer = this.#rows.get('load-balancer', loadBalancer ?? '');
    return (balancer as BalancerRow | undefined)?.router as RouterId | undefined;
  }
  #tellAddress({ pool, address: text }: MemberRow, { routes }: BalancerEffects): void {
    const router = this.#routerOf(pool);
    const address = addressOf(text);
    if (router !== undefined)
      routes.push({ router, destination: { address, length: bitsOf(address) } });
  }
  #serves(router: RouterId, ip: Ip, at?: number): boolean {
    for (const id of this.#members.get(ip) ?? []) {
      const { pool, port } = this.#rows.get('pool-member', id) as MemberRow;
      if (at !== undefined && at !== port) continue;
      if (this.#routerOf(pool) === router) return true;
    }
    return false;
  }

  #pool(id: PoolId): PoolView | undefined {
    const row = this.#rows.get('pool', id) as PoolRow | undefined;
    if (row === undefined) return undefined;
    const known = this.#pools.get(id);
    if (known !== undefined) return known;
    const made = this.#viewOf(row);
    this.#pools.set(id, made);
    return made;
  }
  #viewOf(row: PoolRow): PoolView {
    const monitor = this.#rows.get('health-monitor', row.healthMonitor ?? '');
    const checked = (monitor as MonitorRow | undefined)?.adminStateUp === true;
    const rows = this.#membersOf(row.id).sort((a, b) => (a.id < b.id ? -1 : 1));
    const members = rows.map((member): MemberView => {
      const health = this.#rows.get('member-health', member.id) as HealthRow | undefined;
      const isDown = checked && isFoundDown(health);
      const end = { ip: addressOf(member.address), port: member.port };
      const isAvailable = member.adminStateUp && member.weight > 0 && !isDown;
      const name = member.name ?? formatEndpoint(end);
      return { ...end, id: member.id as PoolMemberId, name, isDown, isAvailable };
    });
    // Asked by every first packet: what it is made of is put together once.
    let made: Recipe | undefined;
    const tableOf = (): Uint16Array => this.#table(row.id, (made ??= recipeOf(row, rows)));
    return {
      id: row.id as PoolId,
      name: row.name,
      adminStateUp: row.adminStateUp,
      whenDown: row.whenDown,
      backupPool: row.backupPool as PoolId | undefined,
      keeps: row.onMemberDown === 'keep',
      members,
      available: members.map(({ isAvailable }) => isAvailable),
      get table() {
        return tableOf();
      },
    };
  }
  /** Who is down keeps its places, and so does who is administratively. */
  #table(id: string, { of, claimants, size }: Recipe): Uint16Array {
    const known = this.#tables.get(id);
    if (known?.of === of) return known.table;
    const table = placesOf(claimants, size);
    if (known !== undefined) this.#forget(id, known.table);
    this.#tables.set(id, { of, table });
    this.#tableBytes += table.byteLength;
    for (const [pool, { table: old }] of this.#tables) {
      if (this.#tableBytes <= TABLE_BYTES_MAX || pool === id) break;
      this.#forget(pool, old);
    }
    return table;
  }
  #forget(pool: string, { byteLength }: Uint16Array): void {
    this.#tables.delete(pool);
    this.#tableBytes -= byteLength;
  }
}
const viewOfVip = (row: VipRow, balancerUp: boolean): VipView => ({
  id: row.id as VipId,
  name: row.name,
  ip: addressOf(row.address),
  port: row.port,
  protocol: PROTOCOLS[row.protocol],
  isUp: row.adminStateUp && balancerUp,
  pool: row.pool as PoolId,
  persistent: row.persistence === 'source-ip',
  sessionLimit: row.sessionLimit,
});
