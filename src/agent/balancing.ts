/**
 * The clients of VIPs that keep their members, and how many connections a VIP has here.
 *
 * Invariants: a client is remembered from its last new connection on, for as long as its VIP says,
 * whether that connection entered here or another host told of it. After a start what live
 * connections say is known again; who had none then is chosen for anew, by the same table.
 */
import { phaseOf } from '#flow/connection-timeouts.ts';
import type { Connections } from '#flow/connections.ts';
import type { ConnectionRef } from '#virtual/connection.ts';
import type { Ip } from '#net/ip.ts';
import type { PoolMemberId, VipId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { BalancingView, VipView } from '#virtual/load-balancer/view.ts';
import type { Balanced, Outcome } from '#virtual/outcome.ts';
import type { Zone } from '#virtual/connection.ts';
import type { Topology } from '#virtual/topology.ts';
import { LIMITS } from './limits.ts';
import { VipClients } from './vip-clients.ts';

export interface BalancingOptions {
  readonly topology: Topology;
  readonly connections: Pick<Connections, 'balanced' | 'refs' | 'record'>;
  /** Monotonic milliseconds. */
  readonly now: () => number;
}

/** The member that a walk has chosen for a client, or has kept. */
export const balancedIn = ({ steps }: Pick<Outcome, 'steps'>): Balanced | undefined =>
  steps.find(({ balanced }) => balanced?.way === 'in')?.balanced;

export class Balancing implements BalancingView {
  readonly #options: BalancingOptions;
  readonly #clients = new VipClients(LIMITS.balancedClientsMax);
  /** Of VIPs that may have reached their limits, when they were counted last. */
  readonly #counted = new Map<
    VipId,
    { readonly atMs: number; readonly open: number; readonly all: number }
  >();
  #restored = false;

  constructor(options: BalancingOptions) {
    this.#options = options;
  }

  memberOf(vip: VipId, client: Ip): PoolMemberId | undefined {
    const known = this.#clients.of(vip, client);
    const row = this.#options.topology.get('vip', vip) as ObjectOf<'vip'> | undefined;
    if (known === undefined || row === undefined) return undefined;
    const ageMs = this.#options.now() - known.seenMs;
    return ageMs < row.persistenceTimeout * 1_000 ? known.member : undefined;
  }
  /** Those that both ends have closed count no more, though their records stay for a while. */
  sessions({ id, protocol, ip, port, sessionLimit = 0 }: VipView, zone: number): number {
    const { connections, now } = this.#options;
    const all = connections.balanced.of(protocol, zone as Zone, { ip, port });
    // Only who may have reached the limit is counted record by record, and not for each packet.
    if (all < sessionLimit) return all;
    const counted = this.#counted.get(id);
    if (counted !== undefined && now() - counted.atMs < LIMITS.sessionsCountedMs)
      return counted.open + all - counted.all;
    const closed = [...connections.refs()].filter((ref) => {
      const record = connections.record(ref);
      const { tuple } = record?.forward ?? {};
      if (record === undefined || tuple === undefined || tuple.protocol !== protocol) return false;
      if (phaseOf(protocol, record.halves[0], record.halves[1]) !== 'closed') return false;
      return record.translations.some(
        ({ changes, from, zone: at }) =>
          changes === 'destination' && at === zone && from.ip === ip && from.port === port,
      );
    }).length;
    this.#counted.set(id, { atMs: now(), open: all - closed, all });
    return all - closed;
  }

  /** A connection of a client began here. */
  opened(outcome: Outcome): void {
    const balanced = balancedIn(outcome);
    const client = outcome.connection?.key?.tuple.src;
    if (balanced !== undefined && client !== undefined) this.#remember(balanced, client);
  }
  #remember({ vip, member }: Omit<Balanced, 'way'>, client: Ip): void {
    const row = this.#options.topology.get('vip', vip) as ObjectOf<'vip'> | undefined;
    if (row?.persistence !== 'source-ip') return;
    this.#clients.remember(vip, client, { member, seenMs: this.#options.now() });
  }
  /** The topology has changed: what is of VIPs that are not any more goes. */
  follow(): void {
    const isThere = (vip: VipId): boolean => this.#options.topology.get('vip', vip) !== undefined;
    this.#clients.keepVips(isThere);
    for (const vip of this.#counted.keys()) if (!isThere(vip)) this.#counted.delete(vip);
  }

  /** Another host has told of a connection; a client may come here next. */
  told(ref: ConnectionRef): void {
    const { connections, topology } = this.#options;
    const record = connections.record(ref);
    for (const { zone, changes, from, to } of record?.translations ?? []) {
      const router = changes === 'destination' ? topology.routerOfNetworkKey(zone) : undefined;
      const balancer = router && topology.balancer(router);
      const protocol = record?.forward.tuple.protocol ?? 0;
      const vip = balancer && balancer.vip(protocol, from.ip, from.port);
      if (!balancer || !vip?.persistent || record === undefined) continue;
      const first = balancer.pool(vip.pool);
      const backup = first?.backupPool && balancer.pool(first.backupPool);
      const members = [...(first?.members ?? []), ...(backup ? backup.members : [])];
      const member = members.find(({ ip, port }) => ip === to.ip && port === to.port);
      if (member === undefined) continue;
      this.#remember({ vip: vip.id, member: member.id }, record.forward.tuple.src);
    }
  }
  /** Once the topology is known: what an earlier process has left. */
  restore(): void {
    if (this.#restored) return;
    this.#restored = true;
    for (const ref of this.#options.connections.refs()) this.told(ref);
  }
}
