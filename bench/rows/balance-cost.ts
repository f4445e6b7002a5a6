/**
 * What the first packet of a connection to a VIP takes, as pools and services grow; and what a
 * change of a member does, whose table is made anew by the next connection.
 */
import type { PoolMemberId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { simulate } from '#virtual/simulate.ts';
import { Topology, type TopologyObject } from '#virtual/topology.ts';
import type { Line } from '../line.ts';
import { ipText, macText, objectsOf, requestOf, ROUTER_ID, routerMac } from '../network.ts';
import type { Bench, Measured, Row } from '../row.ts';
import { sampled } from '../timing.ts';

const MEMBERS = [2, 10, 100, 1_000] as const;
const VIPS = [1, 100, 10_000] as const;
const FEW = 10;
const id = (kind: string, n: number): string =>
  `${kind}00000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const [LB, POOL] = [id('1b0', 1), id('1b1', 1)];
const object = (kind: KindName, fields: object): TopologyObject => ({
  kind,
  object: { revision: 1, adminStateUp: true, ...fields } as unknown as StoredObject,
});
const vipText = (n: number): string => `10.9.${n >> 8}.${n & 255}`;

const memberOf = (n: number, weight = 1): TopologyObject =>
  object('pool-member', {
    ...{ id: id('1b2', n), pool: POOL, name: `m${n}`, weight },
    ...{ address: ipText(2, n), port: 80 },
  });

function serviceOf(members: number, vips: number): Topology {
  const topology = new Topology();
  const pool = { tableSize: 16_381, whenDown: 'reject', onMemberDown: 'rebalance' };
  const vip = { loadBalancer: LB, pool: POOL, port: 80, protocol: 'tcp', persistence: 'none' };
  topology.reset(1, [
    ...objectsOf(0),
    object('load-balancer', { id: LB, name: 'lb', router: ROUTER_ID }),
    object('pool', { id: POOL, name: 'pool', loadBalancer: LB, ...pool }),
    ...Array.from({ length: members }, (_, n) => memberOf(n)),
    ...Array.from({ length: vips }, (_, n) =>
      object('vip', { id: id('1b3', n), name: `v${n}`, address: vipText(n), ...vip }),
    ),
  ]);
  return topology;
}

/** The first packet of a connection to the last of the VIPs. */
function opening(topology: Topology, vips: number): () => unknown {
  const frame = `tcp ${ipText(1, 0)}:1000 > ${vipText(vips - 1)}:80 syn`;
  const request = requestOf(topology, `${macText(1, 0)} > ${routerMac(1)} ${frame}`);
  const { verdict, steps } = simulate(request);
  if (verdict.kind !== 'forward' || !steps.some(({ balanced }) => balanced !== undefined))
    throw new Error(`the packet was not balanced: ${verdict.kind}`);
  return () => simulate(request);
}

/** A member's weight changes, and a connection is opened. */
function changing(topology: Topology): () => unknown {
  const next = opening(topology, 1);
  let weight = 1;
  return () => {
    weight = 3 - weight;
    const { kind, object: put } = memberOf(0, weight);
    const row = { kind, id: put.id as PoolMemberId, put };
    topology.apply({ revision: topology.revision + 1, rows: [row] });
    return next();
  };
}

async function curve(
  { runs }: Bench,
  of: readonly number[],
  {
    what,
    call,
  }: { readonly what: (n: string) => string; readonly call: (n: number) => () => unknown },
): Promise<Line[]> {
  const lines: Line[] = [];
  const [first = 0] = of;
  for (const n of of) {
    const ours = await sampled(call(n), runs);
    const base = lines[0]?.ours;
    const peer = base && { name: `with ${first}`, values: base };
    const line = { what: what(n.toLocaleString('en')), unit: 'µs', better: 'less', ours } as const;
    lines.push(peer === undefined ? line : { ...line, peer });
  }
  return lines;
}

const NOTES = [
  'in this process, without any wire; what a packet of an installed flow takes does not depend on it',
];

export const costByMembers: Row = {
  name: 'cost-members',
  what: 'the first packet to a VIP, by the members of its pool; a member that changes',
  ...{ tools: [], root: false, sides: [] },
  measure: async (bench): Promise<Measured> => ({
    lines: [
      ...(await curve(bench, MEMBERS, {
        what: (n) => `simulate: to a VIP with ${n} members`,
        call: (n) => opening(serviceOf(n, 1), 1),
      })),
      ...(await curve(bench, MEMBERS, {
        what: (n) => `a member of ${n} changes, and the next connection`,
        call: (n) => changing(serviceOf(n, 1)),
      })),
    ],
    notes: NOTES,
  }),
};

export const costByVips: Row = {
  name: 'cost-vips',
  what: 'the first packet to a VIP, by how many the router has',
  ...{ tools: [], root: false, sides: [] },
  measure: async (bench): Promise<Measured> => ({
    lines: await curve(bench, VIPS, {
      what: (n) => `simulate: to one of ${n} VIPs`,
      call: (n) => opening(serviceOf(FEW, n), n),
    }),
    notes: NOTES,
  }),
};
