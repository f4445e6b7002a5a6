/**
 * What an agent is asked about load balancers: what it counted of each member by way of each VIP,
 * and which connections there are now.
 *
 * Invariants: looking changes nothing; a connection that two hosts know is told by one of them, as
 * `connections` tells it; one that both ends have closed is none.
 */
import type { PartOf } from '#client/asks.ts';
import { phaseOf } from '#flow/connection-timeouts.ts';
import type { ConnectionRecord } from '#flow/connection-records.ts';
import { parseIp } from '#net/ip.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { formatEndpoint, type Translation } from '#virtual/connection.ts';
import type { PoolMemberId, RouterId, VipId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Topology } from '#virtual/topology.ts';
import { type BalanceKey, balanceKeys, type PairKey, pairKey, pairOf } from './balance-counts.ts';
import type { EdgeAnswer, EdgeContext } from './edge-asks.ts';
import { countLive, isTold } from './firewall-asks.ts';
import { NO_HITS } from './packet-counts.ts';

/** Records looked at, and rows told, in one slice. */
const RECORDS_PER_SLICE = 512;
const ROWS_PER_SLICE = 128;

type Part = PartOf<'balance-stats'>;
type Vip = ObjectOf<'vip'>;
type Member = ObjectOf<'pool-member'>;

const PROTOCOLS: Readonly<Record<string, number>> = { tcp: IP_PROTOCOL.TCP, udp: IP_PROTOCOL.UDP };
const endpoint = (address: string, port: number): string =>
  formatEndpoint({ ip: parseIp(address)!, port });

/** Which VIP and member a connection is of, if it is of this load balancer. */
export class Pairs {
  readonly #vips = new Map<string, Vip>();
  readonly #members = new Map<string, Member[]>();
  readonly #ids = new Set<string>();
  readonly #zone: number | undefined;
  readonly #backups = new Map<string, string | undefined>();

  constructor(topology: Topology, loadBalancer: string, only: string | undefined) {
    const balancer = topology.get('load-balancer', loadBalancer) as
      | ObjectOf<'load-balancer'>
      | undefined;
    this.#zone = balancer && topology.router(balancer.router as RouterId)?.networkKey;
    for (const id of topology.referrers('vip', 'loadBalancer', loadBalancer)) {
      const vip = topology.get('vip', id) as Vip | undefined;
      if (vip === undefined || (only !== undefined && id !== only)) continue;
      this.#ids.add(id);
      this.#vips.set(`${PROTOCOLS[vip.protocol]} ${endpoint(vip.address, vip.port)}`, vip);
    }
    for (const pool of topology.referrers('pool', 'loadBalancer', loadBalancer)) {
      this.#backups.set(pool, (topology.get('pool', pool) as ObjectOf<'pool'>).backupPool);
      for (const id of topology.referrers('pool-member', 'pool', pool)) {
        const member = topology.get('pool-member', id) as Member;
        const at = endpoint(member.address, member.port);
        this.#members.getOrInsertComputed(at, () => []).push(member);
      }
    }
  }

  /** Whether there is anything to look for. */
  get size(): number {
    return this.#zone === undefined ? 0 : this.#vips.size;
  }
  isOf(vip: VipId): boolean {
    return this.#ids.has(vip);
  }

  of(protocol: number, translations: readonly Translation[]): PairKey | undefined {
    for (const { zone, changes, from, to } of translations) {
      if (changes !== 'destination' || (zone as number) !== this.#zone) continue;
      const vip = this.#vips.get(`${protocol} ${formatEndpoint(from)}`);
      const members = this.#members.get(formatEndpoint(to)) ?? [];
      if (vip === undefined || members.length === 0) continue;
      const inPool = (pool: string | undefined) => members.find((each) => each.pool === pool);
      // One of another pool: the VIP had that pool when the connection began.
      const member = inPool(vip.pool) ?? inPool(this.#backups.get(vip.pool)) ?? members[0]!;
      return pairKey(vip.id as VipId, member.id as PoolMemberId);
    }
    return undefined;
  }
}

const isOver = ({ forward, halves }: ConnectionRecord): boolean =>
  phaseOf(forward.tuple.protocol, ...halves) === 'closed';

/** Connections that there are now, by VIP and member. */
function* countCurrent(pairs: Pairs, context: EdgeContext): Generator<[], Map<PairKey, number>> {
  const { connections: records } = context;
  const current = new Map<PairKey, number>();
  for (let slot = 0; slot < records.slots && pairs.size > 0;) {
    const end = Math.min(records.slots, slot + RECORDS_PER_SLICE);
    for (; slot < end; slot++) {
      const ref = records.at(slot);
      const record = ref && records.record(ref);
      if (record === undefined || record.translations.length === 0) continue;
      const pair = pairs.of(record.forward.tuple.protocol, record.translations);
      if (pair === undefined || isOver(record) || !isTold(record, undefined, context)) continue;
      current.set(pair, (current.get(pair) ?? 0) + 1);
    }
    yield [];
  }
  return current;
}

export const balanceStats: EdgeAnswer<'balance-stats'> = function* (ask, context) {
  const { topology, packets } = context;
  const pairs = new Pairs(topology, ask.loadBalancer, ask.vip);
  const live = yield* countLive(balanceKeys, context);
  const current = yield* countCurrent(pairs, context);
  const { balanced } = packets.rules.counts;
  const told = new Set<PairKey>(current.keys());
  for (const key of [...live.keys(), ...balanced.keys()]) {
    const { vip, member } = pairOf(key);
    if (pairs.isOf(vip)) told.add(pairKey(vip, member));
  }
  const parts = Array.from(told, (pair): Part => {
    const { vip, member } = pairOf(pair);
    const of = (way: 'in' | 'out') => {
      const key: BalanceKey = `${pair} ${way}`;
      const [now, gone] = [live.get(key) ?? NO_HITS, balanced.carried.beside(key)];
      return { packets: now.packets + gone.packets, bytes: now.bytes + gone.bytes };
    };
    const [into, out] = [of('in'), of('out')];
    return {
      ...{ vip, member, current: current.get(pair) ?? 0, opened: balanced.opened(vip, member) },
      ...{ packetsIn: into.packets, bytesIn: into.bytes },
      ...{ packetsOut: out.packets, bytesOut: out.bytes },
    };
  });
  for (let at = 0; at < parts.length; at += ROWS_PER_SLICE)
    yield parts.slice(at, at + ROWS_PER_SLICE);
};
