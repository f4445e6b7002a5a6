/** How a load balancer fares: by what the topology says, and by what agents counted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '#client/types.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { parseMetrics } from '#telemetry/testing.ts';
import { Topology } from '#virtual/topology.ts';
import { agentOf, settle } from './asks.fixture.ts';
import { fateOf } from './balance-status.ts';
import { downMembers } from './doctor.ts';
import { openNode } from './fixture.ts';

type Change = Readonly<Record<string, unknown>>;

/** A VIP whose pool has two members and a backup with one; changes by id. */
function network(changes: Readonly<Record<string, Change>> = {}): Topology {
  const topology = new Topology();
  const row = (kind: KindName, id: string, fields: Change) => ({
    kind,
    object: { id, revision: 1, ...fields, ...changes[id] } as unknown as StoredObject,
  });
  const up = { adminStateUp: true };
  const member = { port: 80, weight: 1, ...up };
  const pool = { loadBalancer: 'lb', healthMonitor: 'hm', ...up };
  topology.reset(1, [
    row('load-balancer', 'lb', { name: 'lb', router: 'r', ...up }),
    row('health-monitor', 'hm', { name: 'hm', ...up }),
    row('pool', 'web', { name: 'web', backupPool: 'spare', ...pool }),
    row('pool', 'spare', { name: 'spare', ...pool }),
    row('pool-member', 'a', { pool: 'web', address: '10.0.0.2', ...member }),
    row('pool-member', 'b', { pool: 'web', address: '10.0.0.10', name: 'bee', ...member }),
    row('pool-member', 'c', { pool: 'spare', address: 'fd00::3', ...member }),
    row('vip', 'www', { name: 'www', loadBalancer: 'lb', pool: 'web', ...SERVED, ...up }),
    ...['a', 'b', 'c'].map((id) =>
      row('member-health', `${id}`, {
        ...{ member: id, status: 'up', reason: '', since: 0 },
        ...changes[`health-${id}`],
      }),
    ),
  ]);
  return topology;
}
const fate = (changes?: Readonly<Record<string, Change>>) => {
  const topology = network(changes);
  return fateOf(topology, topology.get('load-balancer', 'lb') as ObjectOf<'load-balancer'>);
};
const SERVED = { address: '203.0.113.80', port: 80, protocol: 'tcp' };
const DOWN = { status: 'down', reason: 'connection refused' };
const off = { adminStateUp: false };

test('a load balancer operates as its VIPs are served', () => {
  const cases: readonly (readonly [string, Record<string, Change>])[] = [
    ['up', {}],
    ['up', { a: { weight: 0 }, 'health-a': DOWN }],
    ['up', { hm: off, 'health-a': DOWN, 'health-b': DOWN }],
    ['degraded', { 'health-a': DOWN }],
    ['degraded', { 'health-a': DOWN, 'health-b': DOWN }],
    ['down', { 'health-a': DOWN, 'health-b': DOWN, 'health-c': DOWN }],
    ['down', { a: off, b: { weight: 0 }, c: off }],
    ['down', { web: off }],
    ['disabled', { lb: off }],
    ['disabled', { www: off }],
  ];
  for (const [operating, changes] of cases)
    assert.equal(fate(changes).operating, operating, JSON.stringify(changes));
});

test('members are in the order of their addresses, each with what is known of it', () => {
  const { pools } = fate({
    b: { weight: 0 },
    'health-a': DOWN,
    spare: { healthMonitor: undefined },
  });
  assert.deepEqual(
    pools.flatMap(({ pool, members }) =>
      members.map(({ member, status, draining, takes }) =>
        [pool.name, member.id, status, draining, takes].join(' '),
      ),
    ),
    ['spare c none false true', 'web a down false false', 'web b up true false'],
  );
});

test('the doctor names members that are down, and how bad that is', () => {
  const found = (changes: Readonly<Record<string, Change>>): string[] =>
    downMembers(network(changes)).map(({ severity, what, evidence }) =>
      [severity, what, evidence].join(' | '),
    );
  assert.deepEqual(found({}), []);
  assert.deepEqual(found({ 'health-a': DOWN, a: off }), [], 'it is not to serve');
  assert.deepEqual(found({ 'health-b': DOWN, 'health-c': { status: 'down' } }), [
    'warning | a member of pool web is down: bee, 10.0.0.10:80 | connection refused',
    'error | a member of pool spare is down: [fd00::3]:80 | its checks fail',
  ]);
});

/** A load balancer of a tenant, with two members and one VIP. */
async function balancer(client: Client, tenant: string) {
  const made = async (kind: KindName, fields: object): Promise<string> =>
    (await client.create(kind, fields as never)).objects[0]?.id ?? '';
  const router = await made('router', { name: 'r', tenant });
  const lb = await made('load-balancer', { name: 'lb', router });
  const pool = await made('pool', { name: 'web', loadBalancer: lb });
  const member = (n: number, weight: number) =>
    made('pool-member', { pool, address: `10.0.0.${n}`, port: 80, weight });
  const members = [await member(1, 1), await member(2, 0)];
  const at = { address: '198.51.100.80', port: 80 };
  const vip = await made('vip', { name: 'www', loadBalancer: lb, pool, ...at });
  return { lb, members, vip };
}
const part = (vip: string, member: string, n: number) => ({
  ...{ vip, member, current: n, opened: n },
  ...{ packetsIn: n, bytesIn: 100 * n, packetsOut: n, bytesOut: 200 * n },
});

test('what all hosts counted is added up, and who does not answer is named', async () => {
  await using node = openNode();
  const { lb, members, vip } = await balancer(node.operator, 'acme');
  const agents: Awaited<ReturnType<typeof agentOf>>[] = [];
  for (const name of ['h1', 'h2']) agents.push(await agentOf(node, name, 'balance-stats'));
  for (const agent of agents) await agent.connect();
  await agentOf(node, 'h3', 'balance-stats');
  const foreign = '00000000-0000-4000-8000-00000000000f';
  const parts = [part(vip, members[0]!, 2), part(vip, members[1]!, 1), part(vip, foreign, 7)];
  const answer = async (): Promise<void> => {
    await settle();
    for (const { client, asked } of agents) {
      const last = asked.at(-1);
      assert.equal(last?.type === 'ask' && last.ask.kind, 'balance-stats');
      await client.answerAsk(last?.id ?? '', { parts, done: true });
    }
  };
  const asking = node.operator.balancerStatus('lb');
  await answer();
  const status = await asking;
  assert.partialDeepStrictEqual(status, { loadBalancer: { id: lb, name: 'lb' }, operating: 'up' });
  assert.partialDeepStrictEqual(status.vips, [
    { name: 'www', pool: 'web', served: true, current: 6, bytesIn: 600, packetsOut: 6 },
  ]);
  assert.partialDeepStrictEqual(status.pools, [{ name: 'web', current: 6, bytesOut: 1_200 }]);
  assert.deepEqual(
    status.pools[0]?.members.map((one) => [one.address, one.status, one.draining, one.opened]),
    [
      ['10.0.0.1', 'none', false, 4],
      ['10.0.0.2', 'none', true, 2],
    ],
  );
  assert.deepEqual(
    status.missing.map(({ host }) => host),
    ['h3'],
  );
  const own = await node.as({ role: 'tenant', name: 'acme', tenant: 'acme' });
  const told = own.balancerStatus(lb);
  await answer();
  assert.deepEqual((await told).vips[0]?.current, 6);
  assert.deepEqual(
    (await told).missing.map(({ host }) => host),
    ['a host'],
  );
  const other = await node.as({ role: 'tenant', name: 'other', tenant: 'other' });
  await assert.rejects(other.balancerStatus(lb), /no load balancer has the id/);
  const families = parseMetrics(await node.operator.metrics());
  const samples = new Map(families.get('mn_api_pool_members')?.samples);
  assert.equal(samples.get('mn_api_pool_members{status="none"}'), 2);
});
