/**
 * The public ports that this host owns, and packets that wait for some: which it may choose from,
 * when it wants more, and which it gives back.
 *
 * Invariants: only ports that the topology says are this host's are chosen; what is to be given back
 * is chosen no more, before anybody is told, and no connection known here has it; a packet waits no
 * longer than LIMITS.publicPortsWaitMs, and not at all while there is nothing to be had; of every
 * address one block is kept, so that a host which is cut off can go on.
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
}

interface Address {
  readonly router: RouterId;
  readonly ip: Ip;
}
interface Demand extends Address {
  readonly portless: boolean;
  readonly ports: number;
}

const keyOf = (router: string, ip: Ip): string => `${router}/${formatIp(ip)}`;
const sizeOf = ({ first, last }: Range): number => last - first + 1;

export interface PublicPortsOptions {
  readonly host: HostId;
  readonly topology: Topology;
  readonly connections: Pick<Connections, 'find' | 'ends'>;
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
  /** Until when nothing is to be had of an address. */
  readonly #spentUntilMs = new Map<string, number>();
  /** Addresses of which this host owns ports. */
  readonly #own = new Map<string, Address>();
  #ranges = new Map<string, readonly Range[]>();
  /** Blocks that nobody uses, and since when. */
  readonly #idleMs = new Map<string, number>();
  readonly #returning = new Set<string>();
  #lookedMs = -Infinity;

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
  isTaken(zone: Zone, tuple: Tuple): boolean {
    return this.#options.connections.find(zone, tuple) !== undefined;
  }
  isSpent(router: RouterId, ip: Ip): boolean {
    return (this.#spentUntilMs.get(keyOf(router, ip)) ?? 0) > this.#options.now();
  }

  /** The packet waits until there are ports; false: there is no use in that, or no room. */
  wait({ router, address, portless }: WantedPorts, packet: Parked): boolean {
    const key = keyOf(router, address);
    const spent = this.isSpent(router, address);
    this.#want({ router, ip: address }, portless);
    if (spent || !this.#waiting.park(key, packet)) return false;
    const untilMs = this.#options.now() + LIMITS.publicPortsWaitMs;
    this.#untilMs.getOrInsert(key, untilMs);
    return true;
  }
  /** As many more as there are: so what a host has fits what it needs. */
  #want({ router, ip }: Address, portless: boolean): void {
    const key = keyOf(router, ip);
    if (this.#wanted.has(key)) return;
    const owned = this.owned(router, ip).reduce((sum, range) => sum + sizeOf(range), 0);
    const ports = Math.min(Math.max(owned, LIMITS.publicPortsFirst), LIMITS.publicPortsAskMax);
    this.#wanted.set(key, { router, ip, portless, ports });
  }

  /** The API has none for this host. */
  refused(router: string, address: string): void {
    const ip = parseIp(address);
    if (ip === undefined) return;
    this.#giveUp(keyOf(router, ip), LIMITS.publicPortsSpentMs);
  }
  #giveUp(key: string, ms: number): void {
    this.#wanted.delete(key);
    this.#spentUntilMs.set(key, this.#options.now() + ms);
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
    this.#refresh();
    const touched = rows === 'all' ? [...this.#own.keys()] : this.#touched(rows, before);
    for (const key of touched) {
      this.#wanted.delete(key);
      this.#spentUntilMs.delete(key);
      this.#release(key);
    }
  }
  /** Addresses that blocks of this host are of which came. */
  #touched(rows: readonly RowChange[], before: ReadonlyMap<string, Address>): string[] {
    const keys: string[] = [];
    for (const { kind, id, put } of rows) {
      if (kind !== 'nat-block') continue;
      const block = put as ObjectOf<'nat-block'> | undefined;
      if (block?.host === this.#options.host && !before.has(id))
        keys.push(keyOf(block.router, parseIp(block.address)!));
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
        // Nobody answers: who comes next need not wait, though it is still asked for.
        this.#spentUntilMs.set(key, nowMs + LIMITS.publicPortsSpentMs);
        this.#release(key);
      }
    for (const [key, untilMs] of this.#spentUntilMs)
      if (nowMs >= untilMs) this.#spentUntilMs.delete(key);
    if (nowMs - this.#lookedMs < LIMITS.publicPortsLookMs) return;
    this.#lookedMs = nowMs;
    for (const address of this.#own.values()) this.#look(address, nowMs);
  }
  #zone(router: RouterId): Zone | undefined {
    return this.#options.topology.router(router)?.networkKey as Zone | undefined;
  }
  #look({ router, ip }: Address, nowMs: number): void {
    const zone = this.#zone(router);
    if (zone === undefined) return;
    const { ends } = this.#options.connections;
    let [owned, used] = [0, 0];
    const idle: OwnedPorts[] = [];
    const blocks = this.#blocks(router, ip);
    for (const block of blocks) {
      const now = ends.in(zone, ip, block.first, block.last);
      owned += sizeOf(block);
      used += now;
      if (now > 0) this.#idleMs.delete(block.id);
      else if (nowMs - this.#idleMs.getOrInsert(block.id, nowMs) >= LIMITS.publicPortsIdleMs)
        idle.push(block);
    }
    if (used >= owned * LIMITS.publicPortsBusy && !this.isSpent(router, ip))
      this.#want({ router, ip }, false);
    this.#giveBack(blocks, idle);
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

  /** What need wait no longer. */
  released(): readonly Parked[] {
    return this.#waiting.released();
  }

  /** What the API is to be asked for. */
  wants(): readonly PortsWanted[] {
    return Array.from(this.#wanted.values(), ({ router, ip, ports, portless }) => ({
      ...{ router, ports, portless },
      address: formatIp(ip),
    }));
  }
  /** Blocks to be given back. */
  returns(): readonly string[] {
    return [...this.#returning];
  }
  uses(): PortsUse[] {
    return Array.from(this.#own.values(), ({ router, ip }) => {
      const zone = this.#zone(router);
      const blocks = this.#blocks(router, ip);
      return {
        router,
        address: formatIp(ip),
        owned: blocks.reduce((sum, block) => sum + sizeOf(block), 0),
        used: blocks.reduce(
          (sum, { first, last }) =>
            sum +
            (zone === undefined ? 0 : this.#options.connections.ends.in(zone, ip, first, last)),
          0,
        ),
        spent: this.isSpent(router, ip),
      };
    });
  }
}
