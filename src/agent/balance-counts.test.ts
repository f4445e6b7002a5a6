/** What is counted of balanced packets: by whatever way they went, each once, and told by VIP. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowRef } from '#flow/flow.ts';
import { CONNECTION_BYTES, TCP_FLAG } from '#flow/connection-layout.ts';
import { Connections } from '#flow/connections.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { reversed, type Tuple, type Zone } from '#virtual/connection.ts';
import type { PoolMemberId, PortId, RouterId, RuleId, VipId } from '#virtual/ids.ts';
import type { Balanced, Step } from '#virtual/outcome.ts';
import { Topology } from '#virtual/topology.ts';
import { balanceStats } from './balance-asks.ts';
import { BalanceCounts } from './balance-counts.ts';
import { row, uuid } from './edge.fixture.ts';
import type { EdgeContext } from './edge-asks.ts';
import { PacketCounts } from './packet-counts.ts';
import { Tracking } from './tracking.ts';

const [VIP, OTHER] = [uuid(3, 1) as VipId, uuid(3, 2) as VipId];
const [ONE, TWO] = [uuid(4, 1) as PoolMemberId, uuid(4, 2) as PoolMemberId];
const LB = uuid(7, 1);
const PORT = uuid(2, 1) as PortId;
const ZONE = 0x800101;

const step = (balanced?: Balanced, rule?: RuleId): Step => ({
  at: { kind: 'router', id: uuid(5, 1) as RouterId },
  did: 'balance',
  ...(balanced && { balanced }),
  ...(rule && { rule }),
});
const into = (member = ONE, vip = VIP): Step => step({ vip, member, way: 'in' });
const out = (member = ONE, vip = VIP): Step => step({ vip, member, way: 'out' });

/** Flows as they are told: by slot, their steps and what they have carried. */
function counting(known = new Set<string>([VIP, OTHER, ONE, TWO])) {
  const flows = new Map<number, { steps: Step[]; packets: number; bytes: number }>();
  const refOf = (slot: number): FlowRef => ({ slot, generation: 1 });
  const table = {
    slots: 8,
    cause: ({ slot }: FlowRef) => flows.get(slot) && { steps: flows.get(slot)!.steps },
    refsIn: (from: number, n: number) =>
      [...flows.keys()].filter((slot) => slot >= from && slot < from + n).map(refOf),
  } as never;
  const datapath = { stats: ({ slot }: FlowRef) => flows.get(slot), now: () => 10 } as never;
  const balanced = new BalanceCounts({
    ...{ table, datapath },
    isPair: (vip, member) => known.has(vip) && known.has(member),
    hasVips: () => true,
  });
  const counts = new PacketCounts({ table, datapath, balanced, isRule: (id) => known.has(id) });
  const remove = (slot: number): void => {
    counts.removed([refOf(slot)]);
    flows.delete(slot);
  };
  return { flows, table, datapath, balanced, counts, known, remove };
}

test('a packet counts once for a member, and once for each step of a rule', () => {
  const { counts, balanced, known } = counting();
  const rule = uuid(9, 1) as RuleId;
  known.add(rule);
  counts.one([into(), into(), step(undefined, rule), step(undefined, rule)], 100);
  counts.one([out()], 40);
  assert.deepEqual(balanced.carried.beside(`${VIP} ${ONE} in`), { packets: 1, bytes: 100 });
  assert.deepEqual(balanced.carried.beside(`${VIP} ${ONE} out`), { packets: 1, bytes: 40 });
  assert.deepEqual(counts.rules.beside(rule), { packets: 2, bytes: 200 });
  known.delete(ONE);
  balanced.forget();
  assert.equal(balanced.carried.beside(`${VIP} ${ONE} in`).packets, 0);
  counts.one([into()], 1);
  assert.deepEqual([...balanced.keys()], [], 'what is gone gets no count any more');
});

test('totals grow with live flows, have the rest when these go, and never fall', () => {
  const { flows, balanced, remove } = counting();
  flows.set(3, { steps: [into()], packets: 2, bytes: 200 });
  flows.set(4, { steps: [out(TWO)], packets: 1, bytes: 50 });
  flows.set(5, { steps: [step()], packets: 9, bytes: 900 });
  balanced.tick();
  balanced.tick();
  assert.deepEqual(balanced.totals(), { opened: 0, bytesIn: 200, bytesOut: 50 });
  flows.get(3)!.bytes = 260;
  remove(3);
  flows.set(3, { steps: [out()], packets: 1, bytes: 10 });
  balanced.tick();
  assert.deepEqual(balanced.totals(), { opened: 0, bytesIn: 260, bytesOut: 60 });
  assert.deepEqual(balanced.carried.beside(`${VIP} ${ONE} in`), { packets: 2, bytes: 260 });
});

const tcp = (n: number, dst: string, port: number): Tuple => ({
  ...{ protocol: 6, src: parseIp('10.0.1.2') as Ip, dst: parseIp(dst) as Ip },
  ...{ srcPort: 1024 + n, dstPort: port },
});
/** The record of a client's connection to the VIP that `member` serves. */
function opening(n: number, member: string) {
  const [ip, to] = [parseIp('198.51.100.80') as Ip, parseIp(member) as Ip];
  const translations = [
    {
      ...{ zone: ZONE as Zone, changes: 'destination' as const },
      ...{ from: { ip, port: 80 }, to: { ip: to, port: 8080 } },
    },
  ];
  return {
    forward: { zone: 1 as Zone, tuple: tcp(n, '198.51.100.80', 80) },
    returns: { zone: 2 as Zone, tuple: reversed(tcp(n, member, 8080)) },
    translations,
  };
}
const table = (): Connections =>
  new Connections({ slots: 128, bytes: new Uint8Array(128 * CONNECTION_BYTES) }, { seed: 1 });

test('a connection is opened with its record, and anew by the same ends; not by each packet', () => {
  const { balanced } = counting();
  const connections = table();
  const tracking = new Tracking({
    connections,
    topology: new Topology(),
    telling: { opened: () => {}, wentOn: () => {} },
    now: () => 10,
    began: ({ steps }) => balanced.began(steps),
  });
  const { forward, returns, translations } = opening(1, '10.0.2.2');
  const outcome = { connection: { key: forward, translations }, steps: [into(), into()] };
  const open = () => {
    const opened = tracking.open(outcome as never, { port: PORT }, { returns, to: undefined });
    return typeof opened === 'object' ? opened.connection.slot : assert.fail('not opened');
  };
  const slot = open();
  assert.equal(open(), slot);
  assert.equal(balanced.opened(VIP, ONE), 1);
  const found = connections.find(forward.zone, forward.tuple) ?? assert.fail('not found');
  assert.equal(tracking.reopen(found), false, 'it goes on');
  connections.touch(found.ref, 0, { seenMs: 10, tcp: TCP_FLAG.FIN });
  assert.equal(tracking.reopen(found), true);
  open();
  open();
  assert.equal(balanced.opened(VIP, ONE), 2);
  assert.equal(balanced.totals().opened, 2);
});

const ROWS = [
  row('router', { id: uuid(5, 1), name: 'r', adminStateUp: true, networkKey: ZONE }),
  row('load-balancer', { id: LB, name: 'lb', router: uuid(5, 1), adminStateUp: true }),
  ...[1, 2].map((n) =>
    row('pool', { id: uuid(8, n), name: `p${n}`, loadBalancer: LB, adminStateUp: true }),
  ),
  ...[VIP, OTHER].map((id, n) =>
    row('vip', {
      ...{ id, name: `v${n}`, loadBalancer: LB, pool: uuid(8, 1), protocol: 'tcp' },
      ...{ address: '198.51.100.80', port: 80 + n },
    }),
  ),
  ...[ONE, TWO].map((id, n) =>
    row('pool-member', {
      ...{ id, pool: uuid(8, n + 1), address: `10.0.2.${n + 2}`, port: 8080, weight: 1 },
      adminStateUp: true,
    }),
  ),
];

test('what is told: connections that entered here and are not over, and all that was counted', () => {
  const stage = counting();
  const topology = new Topology();
  topology.apply({ revision: 1, rows: ROWS });
  const connections = table();
  const commit = (n: number, member: string, inPort: PortId) => {
    const made = { ...opening(n, member), inPort, outPort: undefined, createdMs: 5 };
    return connections.commit(made)!.ref;
  };
  commit(1, '10.0.2.2', PORT);
  commit(2, '10.0.2.2', PORT);
  commit(3, '10.0.2.3', PORT);
  commit(4, '10.0.2.2', uuid(2, 9) as PortId);
  commit(5, '10.0.2.77', PORT);
  const closed = commit(6, '10.0.2.2', PORT);
  connections.touch(closed, 0, { seenMs: 6, tcp: TCP_FLAG.RST });
  stage.flows.set(2, { steps: [into()], packets: 5, bytes: 500 });
  stage.counts.one([into()], 60);
  stage.counts.one([out()], 70);
  stage.counts.one([into(TWO, OTHER)], 80);
  stage.balanced.began([into()]);
  const { table: flows, datapath, counts } = stage;
  const bindings = { isHere: (port: PortId) => port === PORT };
  const packets = { rules: { counts } };
  const context = { topology, connections, table: flows, datapath, bindings, packets };
  const told = (vip?: string) => {
    const ask = { kind: 'balance-stats', loadBalancer: LB, ...(vip && { vip }) } as const;
    return [...balanceStats(ask, context as unknown as EdgeContext)].flat();
  };
  const none = { current: 0, opened: 0, packetsOut: 0, bytesOut: 0 };
  const first = { packetsIn: 6, bytesIn: 560, packetsOut: 1, bytesOut: 70 };
  const last = { vip: OTHER, member: TWO, ...none, packetsIn: 1, bytesIn: 80 };
  assert.deepEqual(told(), [
    { vip: VIP, member: ONE, current: 2, opened: 1, ...first },
    { vip: VIP, member: TWO, ...none, current: 1, packetsIn: 0, bytesIn: 0 },
    last,
  ]);
  assert.deepEqual(told(OTHER), [last]);
});
