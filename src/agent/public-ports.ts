/**
 * The public ports that this host owns, and packets that wait for some: which it may choose from,
 * when it wants more, and which it gives back.
 *
 * Invariants: only ports that the topology says are this host's are chosen; what is to be given
 * back is chosen no more, before anybody is told, and no connection known here has it; a packet
 * waits no longer than LIMITS.publicPortsWaitMs, and not at all while there is nothing to be had;
 * of every address one block is kept, so that a host which is cut off can go on.
 */
import type { PortsWanted } from '#client/types.ts';
import type { Connections } from '#flow/connections.ts';
import { formatIp, parseIp, type Ip } from '#net/ip.ts';
import type { HostId, RouterId } from '#virtual/ids.ts';
import type { RowChange } from '#virtual/change.ts';
import type { Tuple, Zone } from '#virtual/connection.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { OwnedPorts } from '#virtual/nat-block/blocks.ts';
import type { WantedPorts } from '#virtual/outcome.ts';
import { within } from '#virtual/nat/choose.ts';
import type { Range } from '#virtual/rule/values.ts';
import type { Topology } from '#virtual/topology.ts';
import type { PublicPortsView } from '#virtual/view.ts';
import { LIMITS } from './limits.ts';
import { type Parked, Waiting } from './waiting.ts';

/** What this host owns of one address. */
export interface PortsUse {
  readonly router: string;
  readonly address: string;
  readonly owned: number;
  /** Connections that have one of them; more than `owned` where several peers share ports. */
  readonly used: number;
  readonly spent: boolean;
  /** Connections were refused lately, for want of a port. */
  readonly short: boolean;
}

interface Address {
  readonly router: RouterId;
  readonly ip: Ip;
}
/** Ports of an address that some rule chooses from. */
interface Need extends Address {
  readonly range: Range;
}
interface Demand extends Need {
  readonly ports: number;
}

/** So long a shortage is told of after a connection was refused. */
const SHORT_MS = 60_000;

const keyOf = (router: string, ip: Ip): string => `${router}/${formatIp(ip)}`;
const needKey = (router: string, ip: Ip, { first, last }: Range): string =>
  `${keyOf(router, ip)} ${first}-${last}`;
const sizeOf = ({ first, last }: Range): number => last - first + 1;
const sizeOfAll = (ranges: readonly Range[]): number =>
  ranges.reduce((sum, range) => sum + sizeOf(range), 0);

export interface PublicPortsOptions {
  readonly host: HostId;
  readonly topology: Topology;
  readonly connections: Pick<Connections, 'find' | 'isLeft' | 'ends'>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** A number nobody outside can know. */
  readonly seed: number;
}

export class PublicPorts implements PublicPortsView {
  readonly seed: number;
  attempt = 0;
  readonly #options: PublicPortsOptions;
  readonly #waiting = new Waiting();
  /** Until when packets wait, by address. */
  readonly #untilMs = new Map<string, number>();
  readonly #wanted = new Map<string, Demand>();
  /** What rules have chosen from, as long as this host owns any of it. */
  readonly #needs = new Map<string, Need>();
  /** Until when nothing is to be had. */
  readonly #spentUntilMs = new Map<string, number>();
  /** Addresses of which this host owns ports. */
  readonly #own = new Map<string, Address>();
  #ranges = new Map<string, readonly Range[]>();
  /** Blocks that nobody uses, and since when. */
  readonly #idleMs = new Map<string, number>();
  readonly #returning = new Set<string>();
  /** Of which addresses connections were refused lately, and no ports came since; when last. */
  readonly #refused = new Map<string, Address & { readonly atMs: number }>();
  /** Until when the API is taken to be away. */
  #silentUntilMs = 0;
  #lookedMs = -Infinity;
  #news = false;

  constructor(options: PublicPortsOptions) {
    this.#options = options;
    this.seed = options.seed;
  }

  #blocks(router: RouterId, ip: Ip): readonly OwnedPorts[] {
    const { topology, host } = this.#options;
    return topology.natBlocks.of(router, ip).filter((block) => block.host === host);
  }
  owned(router: RouterId, ip: Ip): readonly Range[] {
    return this.#ranges.getOrInsertComputed(keyOf(router, ip), () =>
      this.#blocks(router, ip).filter(({ id }) => !this.#returning.has(id)),
    );
  }
  isTaken(zone: Zone, tuple: Tuple, closed: boolean): boolean {
    const { connections, now } = this.#options;
    const found = connections.find(zone, tuple);
    return found !== undefined && !(closed && connections.isLeft(found.ref, now()));
  }
  isSpent(router: RouterId, ip: Ip, range: Range): boolean {
    const nowMs = this.#options.now();
    const untilMs = this.#spentUntilMs.get(needKey(router, ip, range)) ?? 0;
    return Math.max(untilMs, this.#silentUntilMs) > nowMs;
  }

  /** The packet waits until there are ports; false: there is no use in that, or no room. */
  wait({ router, address, first, last }: WantedPorts, packet: Parked): boolean {
    const need = { router, ip: address, range: { first, last } };
    const key = needKey(router, address, need.range);
    const spent = this.isSpent(router, address, need.range);
    // It is asked for all the same: the API may be back.
    if (!spent || this.#silentUntilMs > this.#options.now()) this.#want(key, need);
    if (spent) this.#refuse({ router, ip: address });
    if (spent || !this.#waiting.park(key, packet)) return false;
    this.#untilMs.getOrInsert(key, this.#options.now() + LIMITS.publicPortsWaitMs);
    return true;
  }
  #refuse(address: Address): void {
    const key = keyOf(address.router, address.ip);
    this.#refused.delete(key);
    this.#refused.set(key, { ...address, atMs: this.#options.now() });
    if (this.#refused.size <= LIMITS.publicPortsRefusedMax) return;
    const [oldest] = this.#refused.keys();
    if (oldest !== undefined) this.#refused.delete(oldest);
  }
  /** As many more as there are: so what a host has fits what it needs. */
  #want(key: string, need: Need): void {
    this.#needs.set(key, need);
    if (this.#wanted.has(key)) return;
    const { router, ip, range } = need;
    const owned = sizeOfAll(within(this.owned(router, ip), range));
    const ports = Math.min(Math.max(owned, LIMITS.publicPortsFirst), LIMITS.publicPortsAskMax);
    this.#wanted.set(key, { ...need, ports });
    this.#news = true;
  }

  /** The API has none for this host. */
  refused({ router, address, first, last }: Omit<PortsWanted, 'ports'>): void {
    const ip = parseIp(address);
    if (ip === undefined) return;
    const key = needKey(router, ip, { first, last });
    this.#silentUntilMs = 0;
    this.#wanted.delete(key);
    this.#spentUntilMs.set(key, this.#options.now() + LIMITS.publicPortsSpentMs);
    this.#release(key);
  }
  #release(key: string): void {
    this.#untilMs.delete(key);
    this.#waiting.release(key);
  }

  /** After the topology was changed. */
  follow(rows: readonly RowChange[] | 'all', before: ReadonlyMap<string, Address>): void {
    if (rows !== 'all' && !rows.some(({ kind }) => kind === 'nat-block')) return;
    this.#ranges = new Map();
    this.#silentUntilMs = 0;
    this.#refresh();
    const touched = rows === 'all' ? new Set(this.#own.keys()) : this.#touched(rows, before);
    for (const [key, { router, ip }] of this.#needs) {
      if (!touched.has(keyOf(router, ip))) continue;
      this.#wanted.delete(key);
      this.#spentUntilMs.delete(key);
      this.#release(key);
    }
    for (const key of touched) this.#refused.delete(key);
  }
  /** Addresses that blocks of this host are of which came. */
  #touched(rows: readonly RowChange[], before: ReadonlyMap<string, Address>): Set<string> {
    const keys = new Set<string>();
    for (const { kind, id, put } of rows) {
      if (kind !== 'nat-block') continue;
      const block = put as ObjectOf<'nat-block'> | undefined;
      if (block?.host === this.#options.host && !before.has(id))
        keys.add(keyOf(block.router, parseIp(block.address)!));
    }
    return keys;
  }
  /** What this host owns, by the ids of blocks. */
  ids(): ReadonlyMap<string, Address> {
    const found = new Map<string, Address>();
    for (const row of this.#mine())
      found.set(row.id, { router: row.router as RouterId, ip: parseIp(row.address)! });
    return found;
  }
  *#mine(): Generator<ObjectOf<'nat-block'>> {
    const { topology, host } = this.#options;
    for (const id of topology.referrers('nat-block', 'host', host)) {
      const row = topology.get('nat-block', id) as ObjectOf<'nat-block'> | undefined;
      if (row !== undefined) yield row;
    }
  }
  #refresh(): void {
    this.#own.clear();
    const ids = new Set<string>();
    for (const { id, router, address } of this.#mine()) {
      const ip = parseIp(address)!;
      ids.add(id);
      this.#own.set(keyOf(router, ip), { router: router as RouterId, ip });
    }
    for (const id of this.#returning) if (!ids.has(id)) this.#returning.delete(id);
    for (const id of this.#idleMs.keys()) if (!ids.has(id)) this.#idleMs.delete(id);
  }

  /** Gives up what has waited too long, and sees what is short or not used. */
  tick(): void {
    const nowMs = this.#options.now();
    for (const [key, untilMs] of this.#untilMs)
      if (nowMs >= untilMs) {
        // Nobody answers: who comes next need not wait, whatever it is that is wanted.
        this.#silentUntilMs = nowMs + LIMITS.publicPortsSpentMs;
        this.#release(key);
      }
    for (const [key, untilMs] of this.#spentUntilMs)
      if (nowMs >= untilMs) this.#spentUntilMs.delete(key);
    for (const [key, { atMs }] of this.#refused)
      if (nowMs - atMs >= SHORT_MS) this.#refused.delete(key);
    if (nowMs - this.#lookedMs < LIMITS.publicPortsLookMs) return;
    this.#lookedMs = nowMs;
    for (const address of this.#own.values()) this.#look(address, nowMs);
    for (const [key, need] of this.#needs) this.#grow(key, need);
  }
  #zone(router: RouterId): Zone | undefined {
    return this.#options.topology.router(router)?.networkKey as Zone | undefined;
  }
  /** Which blocks nobody uses. */
  #look({ router, ip }: Address, nowMs: number): void {
    const zone = this.#zone(router);
    if (zone === undefined) return;
    const idle: OwnedPorts[] = [];
    const blocks = this.#blocks(router, ip);
    for (const { id, ...block } of blocks)
      if (this.#options.connections.ends.in(zone, ip, block) > 0) this.#idleMs.delete(id);
      else if (nowMs - this.#idleMs.getOrInsert(id, nowMs) >= LIMITS.publicPortsIdleMs)
        idle.push({ id, ...block });
    this.#giveBack(blocks, idle);
  }
  /** Whether most of what rules choose from is in use. */
  #grow(key: string, need: Need): void {
    const { router, ip, range } = need;
    const zone = this.#zone(router);
    const owned = within(this.owned(router, ip), range);
    if (zone === undefined || owned.length === 0) {
      if (!this.#wanted.has(key)) this.#needs.delete(key);
      return;
    }
    const { ends } = this.#options.connections;
    const used = owned.reduce((sum, part) => sum + ends.in(zone, ip, part), 0);
    // The address itself is whole, or not there.
    if (range.last === 0 || this.isSpent(router, ip, range)) return;
    if (used >= sizeOfAll(owned) * LIMITS.publicPortsBusy) this.#want(key, need);
  }
  /** All that is idle, but never the last one, and rather the large ones. */
  #giveBack(blocks: readonly OwnedPorts[], idle: readonly OwnedPorts[]): void {
    const kept = blocks.filter(({ id }) => !this.#returning.has(id)).length;
    const most = idle
      .filter(({ id }) => !this.#returning.has(id))
      .sort((a, b) => sizeOf(b) - sizeOf(a));
    for (const { id } of most.slice(0, kept - 1)) {
      this.#returning.add(id);
      this.#ranges = new Map();
    }
  }

  /** How many need wait no longer. */
  get ready(): number {
    return this.#waiting.ready;
  }
  /** Whether there is something to ask the API for that was not there before; once. */
  takeNews(): boolean {
    const news = this.#news;
    this.#news = false;
    return news;
  }
  /** What need wait no longer. */
  released(): readonly Parked[] {
    return this.#waiting.released();
  }

  /** What the API is to be asked for. */
  wants(): readonly PortsWanted[] {
    return Array.from(this.#wanted.values(), ({ router, ip, range, ports }) => ({
      ...{ router, ...range, ports },
      address: formatIp(ip),
    }));
  }
  /** Blocks to be given back. */
  returns(): readonly string[] {
    return [...this.#returning];
  }
  uses(): PortsUse[] {
    const { ends } = this.#options.connections;
    const all = new Map<string, Address>([...this.#refused, ...this.#own]);
    return Array.from(all.values(), ({ router, ip }) => {
      const zone = this.#zone(router);
      const blocks = this.#blocks(router, ip);
      const used = (block: Range): number => (zone === undefined ? 0 : ends.in(zone, ip, block));
      const short = this.#refused.has(keyOf(router, ip));
      return {
        router,
        address: formatIp(ip),
        owned: sizeOfAll(blocks),
        used: blocks.reduce((sum, block) => sum + used(block), 0),
        spent: short || this.#isSpent(router, ip),
        short,
      };
    });
  }
  #isSpent(router: RouterId, ip: Ip): boolean {
    return [...this.#needs.values()].some(
      (need) => need.router === router && need.ip === ip && this.isSpent(router, ip, need.range),
    );
  }
}
