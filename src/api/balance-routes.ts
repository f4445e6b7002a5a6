/**
 * `GET /v1/load-balancers/:id/status`: how a load balancer fares, and what its members were sent on
 * all hosts, asked of their agents.
 *
 * Invariants: a caller is told of load balancers it sees, and of hosts only as an operator; a host
 * that does not answer is named (to tenants: that there is one); what an agent says of VIPs or
 * members of other load balancers counts for nothing.
 */
import type { BalancerStatus, Counted, MemberRow, PoolStatus, VipStatus } from '#client/balance.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { type BalancerFate, fateOf, type MemberFate } from './balance-status.ts';
import { type Reader, readerOf } from './flow-rows.ts';
import { askHosts, hostWord } from './host-pages.ts';
import { find } from './lists.ts';
import type { Node } from './node.ts';
import { type Call, json, NOT_HOSTS, onlyQuery, type Route } from './route.ts';

type Sums = { -readonly [K in keyof Counted]: Counted[K] };
const nothing = (): Sums => ({
  ...{ current: 0, opened: 0, bytesIn: 0, bytesOut: 0, packetsIn: 0, packetsOut: 0 },
});
function add(sums: Sums, counted: Counted): void {
  for (const name of Object.keys(sums) as (keyof Counted)[]) sums[name] += counted[name];
}

/** By id of what there is; undefined for all else. */
type Tallies = ReadonlyMap<string, Sums>;

function tallies({ vips, pools }: BalancerFate) {
  const members = pools.flatMap((pool) => pool.members);
  return {
    vips: new Map(vips.map(({ vip }) => [vip.id as string, nothing()])),
    members: new Map(members.map(({ member }) => [member.id as string, nothing()])),
  };
}

function memberRow(fate: MemberFate, of: Tallies, { topology, operator }: Reader): MemberRow {
  const { member, status, health, draining } = fate;
  const { id, name, address, port, weight, adminStateUp } = member;
  const host = operator && health?.host !== undefined && topology.get('host', health.host)?.name;
  return {
    id,
    ...(name !== undefined && { name }),
    ...{ address, port, weight, adminStateUp, status },
    ...(health !== undefined && health.reason !== '' && { reason: health.reason }),
    ...(health !== undefined && health.since > 0 && { since: health.since }),
    ...(typeof host === 'string' && { host }),
    draining,
    ...(of.get(id) ?? nothing()),
  };
}

function poolsOf({ pools }: BalancerFate, of: Tallies, reader: Reader): PoolStatus[] {
  const names = new Map(pools.map(({ pool }) => [pool.id as string, pool.name]));
  return pools.map(({ pool, members }) => {
    const rows = members.map((fate) => memberRow(fate, of, reader));
    const sums = nothing();
    for (const row of rows) add(sums, row);
    const backupPool = names.get(pool.backupPool ?? '');
    return {
      ...{ id: pool.id, name: pool.name, adminStateUp: pool.adminStateUp },
      ...(backupPool !== undefined && { backupPool }),
      ...sums,
      members: rows,
    };
  });
}

function vipsOf({ vips, pools }: BalancerFate, of: Tallies): VipStatus[] {
  const names = new Map(pools.map(({ pool }) => [pool.id as string, pool.name]));
  return vips.map(({ vip, served }) => {
    const { id, name, address, port, protocol, adminStateUp } = vip;
    const pool = names.get(vip.pool) ?? vip.pool;
    const sums = of.get(id) ?? nothing();
    return { id, name, address, port, protocol, adminStateUp, pool, served, ...sums };
  });
}

async function status(node: Node, call: Call): Promise<BalancerStatus> {
  onlyQuery(call.query, []);
  const { topology } = node.replica;
  const reader = readerOf(call.caller.token, topology);
  const found = find(topology, 'load-balancer', call.params['id'] ?? '', reader.sees);
  const balancer = found as ObjectOf<'load-balancer'>;
  const ask = { kind: 'balance-stats', loadBalancer: balancer.id as string } as const;
  const hosts = [...topology.list('host')].map(({ id }) => ({ host: id, ask }));
  const answers = await askHosts(node, call, hosts);
  const fate = fateOf(topology, balancer);
  const { vips, members } = tallies(fate);
  for (const { parts } of answers)
    for (const { vip, member, ...counted } of parts) {
      const [ofVip, ofMember] = [vips.get(vip), members.get(member)];
      if (ofVip === undefined || ofMember === undefined) continue;
      add(ofVip, counted);
      add(ofMember, counted);
    }
  const { id, name, adminStateUp } = balancer;
  return {
    loadBalancer: { id, name, adminStateUp },
    operating: fate.operating,
    timeMs: node.wall(),
    vips: vipsOf(fate, vips),
    pools: poolsOf(fate, members, reader),
    missing: answers.flatMap(({ host, why }) =>
      why === undefined ? [] : [{ host: hostWord(reader, host), why }],
    ),
  };
}

export const balanceRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/load-balancers/:id/status',
    operationId: 'get-load-balancer-status',
    about: 'How a load balancer fares: its VIPs, pools and members, and what went to each.',
    who: NOT_HOSTS,
    output: 'BalancerStatus',
    handle: async (call) => json(await status(node, call)),
  },
];
