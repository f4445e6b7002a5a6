/**
 * Which host checks which member of a pool.
 *
 * Invariants: pure, and the same on every node that sees the same topology and live hosts; a member
 * stays with its host while that lives, unless another one carries the member; where nobody could
 * check, nothing moves: the last word stands.
 */
import type { Domain } from '../domains.ts';
import type { HostId, PoolMemberId, RouterId } from '../ids.ts';
import type { ObjectOf } from '../kinds.ts';
import type { Topology } from '../topology.ts';
import { carriersOf, Homes } from './homes.ts';

export interface Living {
  readonly alive: ReadonlySet<string>;
  /** Not heard of yet, just after the start: they keep what they have, and get nothing. */
  readonly unsure: ReadonlySet<string>;
}

type Pool = ObjectOf<'pool'>;
type Member = ObjectOf<'pool-member'>;

/** The members whose pools have a monitor, each with the host that shall check it, if any. */
export function assignMembers(
  topology: Topology,
  living: Living,
): Map<PoolMemberId, HostId | undefined> {
  const assigned = new Map<PoolMemberId, HostId | undefined>();
  const places = new Map<Domain, Place>();
  for (const { id, healthMonitor } of topology.list('pool') as Iterable<Pool>) {
    if (healthMonitor === undefined) continue;
    const router = checkedBy(topology, id);
    const domain = router && topology.domain(router);
    const place =
      domain && places.getOrInsertComputed(domain, () => new Place(topology, domain, living));
    for (const member of topology.referrers('pool-member', 'pool', id) as readonly PoolMemberId[])
      assigned.set(member, place?.hostOf(member));
  }
  return assigned;
}

/** The router through which the members of a pool are checked; undefined: they are not. */
export function checkedBy(topology: Topology, id: string): RouterId | undefined {
  const pool = topology.get('pool', id) as Pool | undefined;
  const monitor = topology.get('health-monitor', pool?.healthMonitor ?? '');
  if (pool === undefined || (monitor as ObjectOf<'health-monitor'>)?.adminStateUp !== true)
    return undefined;
  const isUsed =
    topology.referrers('vip', 'pool', id).length > 0 ||
    topology.referrers('pool', 'backupPool', id).length > 0;
  const balancer = topology.get('load-balancer', pool.loadBalancer);
  const router = (balancer as ObjectOf<'load-balancer'> | undefined)?.router;
  if (!isUsed || router === undefined || topology.get('router', router) === undefined)
    return undefined;
  return router;
}

/** A domain, with the hosts that can check there. */
class Place {
  readonly #topology: Topology;
  readonly #domain: Domain;
  readonly #candidates: readonly HostId[];
  /** Candidates, and those that may turn out to be. */
  readonly #keep: ReadonlySet<string>;
  #homes: Homes | undefined;

  constructor(topology: Topology, domain: Domain, { alive, unsure }: Living) {
    const carriers = carriersOf(topology, domain);
    this.#topology = topology;
    this.#domain = domain;
    this.#candidates = carriers.filter((host) => alive.has(host));
    this.#keep = new Set(carriers.filter((host) => alive.has(host) || unsure.has(host)));
  }

  hostOf(id: PoolMemberId): HostId | undefined {
    const topology = this.#topology;
    const health = topology.get('member-health', id) as ObjectOf<'member-health'> | undefined;
    const held = health?.host;
    this.#homes ??= new Homes(topology, this.#domain);
    const { address } = topology.get('pool-member', id) as unknown as Member;
    const home = this.#homes.of(address);
    if (home !== undefined && this.#candidates.includes(home)) return home;
    if (held !== undefined && this.#keep.has(held)) return held;
    return preferred(this.#candidates, id) ?? held;
  }
}

/** The host with the highest weight for a member: another host that comes or goes moves few. */
function preferred(hosts: readonly HostId[], member: string): HostId | undefined {
  let best: HostId | undefined;
  let most = -1;
  for (const host of hosts) {
    const weight = weightOf(`${member}/${host}`);
    if (weight > most) [best, most] = [host, weight];
  }
  return best;
}

/** FNV-1a, mixed at the end as MurmurHash3 does: texts that differ in one digit differ in all. */
function weightOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
