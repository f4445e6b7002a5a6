/** Checks of members through a node: sweeps, takeovers after a lease, reports, who sees what. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client, Operation } from '#client/types.ts';
import { HOST_LEASE_MS, MEMBERS_REPORTED_MAX, REPORT_INTERVAL_MS } from '#client/types.ts';
import { openSqlite } from '#store/sqlite.ts';
import { settle } from './asks.fixture.ts';
import { type Fixture, openNode, openTimedNode, reportAt } from './fixture.ts';

type Row = Readonly<Record<string, unknown>> & { readonly id: string };
const create = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});
const all = async (client: Client, kind: Operation['kind']): Promise<Row[]> =>
  (await client.listAll(kind)) as unknown as Row[];

/** Hosts h1 and h2, each with a workload of tenant t behind its router r0, both pool members. */
async function balanced(node: Fixture) {
  const { operator } = node;
  const tenant = 't';
  await operator.transact([
    create('host', { name: 'h1' }),
    create('host', { name: 'h2' }),
    create('bridge', { name: 'b0', tenant }),
    create('router', { name: 'r0', tenant }),
    create('port', { name: 'r-b', router: 'r0', networks: ['10.0.0.1/24'] }),
    create('port', { name: 'b-r', bridge: 'b0', peer: 'r-b' }),
  ]);
  const hosts = new Map<string, { client: Client; id: string }>();
  for (const [name, last] of [
    ['h1', '11'],
    ['h2', '12'],
  ] as const) {
    const { id } = await operator.get('host', name);
    const client = await node.as({ role: 'host', name, host: id });
    const seed = { mac: `02:00:00:00:00:${last}`, ip: `10.0.0.${last}` };
    const fields = { name: `vm-${name}`, bridge: 'b0', host: name, interface: 'vm' };
    const { objects } = await operator.create('port', { ...fields, addresses: [seed] });
    await client.locate(objects[0]?.id ?? '', { interface: 'vm' });
    hosts.set(name, { client, id });
  }
  await operator.transact([
    create('health-monitor', { name: 'hm', tenant }),
    create('load-balancer', { name: 'lb', router: 'r0' }),
    create('pool', { name: 'pool', loadBalancer: 'lb', healthMonitor: 'hm' }),
    create('vip', {
      ...{ name: 'vip', loadBalancer: 'lb', pool: 'pool' },
      ...{ address: '192.0.2.1', port: 80 },
    }),
    create('pool-member', { name: 'm1', pool: 'pool', address: '10.0.0.11', port: 80 }),
    create('pool-member', { name: 'm2', pool: 'pool', address: '10.0.0.12', port: 80 }),
  ]);
  const [h1, h2] = [hosts.get('h1'), hosts.get('h2')];
  assert.ok(h1 !== undefined && h2 !== undefined);
  return { h1, h2 };
}
const alive = async (...hosts: readonly { client: Client }[]): Promise<void> => {
  for (const { client } of hosts) await client.report(reportAt(0));
  await settle();
};
/** Time in which the hosts go on saying that they are there, and sweeps happen. */
async function pass(node: Fixture, ms: number, ...hosts: readonly { client: Client }[]) {
  for (let left = ms; left > 0; left -= REPORT_INTERVAL_MS) {
    node.clock.advance(REPORT_INTERVAL_MS);
    await alive(...hosts);
  }
}
async function checkers({ operator }: Fixture): Promise<Record<string, unknown>> {
  const names = new Map((await all(operator, 'host')).map(({ id, name }) => [id, name]));
  const members = new Map((await all(operator, 'pool-member')).map((row) => [row.id, row]));
  const rows = await all(operator, 'member-health');
  const pairs = rows.map(({ id, host }) => [members.get(id)?.['name'], names.get(String(host))]);
  return Object.fromEntries(pairs.sort()) as Record<string, unknown>;
}
const services = async ({ operator }: Fixture): Promise<Row[]> =>
  (await all(operator, 'port')).filter((port) => port['service'] === true);

test('members are checked where they live, and by others when that host is dead', async () => {
  await using node = openTimedNode();
  const { h1, h2 } = await balanced(node);
  await pass(node, 2_000, h1, h2);
  assert.deepEqual(await checkers(node), { m1: 'h1', m2: 'h2' });
  assert.equal((await services(node)).length, 2);
  const { revision } = await node.operator.status();
  await pass(node, 5_000, h1, h2);
  assert.equal((await node.operator.status()).revision, revision, 'nothing more to write');
  await pass(node, HOST_LEASE_MS - 2_000, h2);
  assert.deepEqual(await checkers(node), { m1: 'h1', m2: 'h2' });
  await pass(node, 4_000, h2);
  assert.deepEqual(await checkers(node), { m1: 'h2', m2: 'h2' });
  assert.deepEqual(
    (await services(node)).map(({ host }) => host),
    [h2.id],
  );
  await pass(node, 2_000, h1, h2);
  assert.deepEqual(await checkers(node), { m1: 'h1', m2: 'h2' });
  await node.operator.remove('load-balancer', 'lb');
  await pass(node, 2_000, h1, h2);
  assert.deepEqual([await checkers(node), await services(node)], [{}, []]);
});

test('a node that has just started moves nothing until hosts had time to speak', async () => {
  const store = openSqlite(':memory:');
  await using closing = store;
  const before = openNode(closing, false);
  const { h1, h2 } = await balanced(before);
  await pass(before, 2_000, h1, h2);
  assert.deepEqual(await checkers(before), { m1: 'h1', m2: 'h2' });
  await before[Symbol.asyncDispose]();
  for (const { key, owner } of await store.leased.list('')) await store.leased.delete(owner, [key]);
  await using node = openNode(store, false);
  await settle();
  node.clock.advance(2_000);
  await settle();
  assert.deepEqual(await checkers(node), { m1: 'h1', m2: 'h2' });
  const h2again = { client: await node.as({ role: 'host', name: 'h2', host: h2.id }) };
  await pass(node, 2_000, h2again);
  assert.deepEqual(await checkers(node), { m1: 'h1', m2: 'h2' });
  await pass(node, HOST_LEASE_MS, h2again);
  assert.deepEqual(await checkers(node), { m1: 'h2', m2: 'h2' });
});

test('two nodes sweep one store, and write no more than one would', async () => {
  const store = openSqlite(':memory:');
  await using closing = store;
  await using node = openNode(closing, false);
  await using other = openNode(closing, false);
  const { h1, h2 } = await balanced(node);
  for (let n = 0; n < 3; n++) {
    await alive(h1, h2);
    for (const { clock } of [node, other]) clock.advance(REPORT_INTERVAL_MS);
    await settle();
  }
  assert.deepEqual(await checkers(node), { m1: 'h1', m2: 'h2' });
  assert.equal((await services(node)).length, 2);
  const { items } = await node.operator.history({ by: 'api', all: true });
  assert.equal(items.length, 1);
});

test('a host reports of what it checks; of all else it hears which', async () => {
  await using node = openTimedNode();
  const { h1, h2 } = await balanced(node);
  await pass(node, 2_000, h1, h2);
  const { id: m1 } = await node.operator.get('pool-member', 'm1');
  const { id: m2 } = await node.operator.get('pool-member', 'm2');
  const ghost = '00000000-0000-4000-8000-999999999999';
  const reports = [m1, m2, ghost].map((member) => ({
    member,
    status: 'down' as const,
    reason: 'connection refused',
  }));
  const { refused, revision } = await h1.client.reportHealth(reports);
  assert.deepEqual(refused, [m2, ghost]);
  const found = (await node.operator.get('member-health', m1)) as unknown as Row;
  assert.deepEqual(
    [found['status'], found['reason'], found['since'], found['revision']],
    ['down', 'connection refused', node.clock.now(), revision],
  );
  assert.equal(
    ((await node.operator.get('member-health', m2)) as never as Row)['status'],
    'unknown',
  );
  node.clock.advance(100);
  assert.equal((await h1.client.reportHealth(reports)).revision, revision, 'nothing new');
  const many = Array.from({ length: MEMBERS_REPORTED_MAX }, () => reports[0]!);
  assert.deepEqual((await h1.client.reportHealth(many)).refused, []);
  await assert.rejects(h1.client.reportHealth([...many, reports[0]!]), /at most 256/);
  const long = [{ ...reports[0]!, reason: 'x'.repeat(201) }];
  await assert.rejects(h1.client.reportHealth(long), /reason/);
  await assert.rejects(node.operator.reportHealth(reports), /this is for hosts/);
});

test('tenants see what was found of their own members, and nobody writes it', async () => {
  await using node = openTimedNode();
  const { h1, h2 } = await balanced(node);
  await pass(node, 2_000, h1, h2);
  const owner = await node.as({ role: 'tenant', name: 't', tenant: 't' });
  const stranger = await node.as({ role: 'tenant', name: 's', tenant: 's' });
  const { id } = await owner.get('pool-member', 'm1');
  assert.equal((await owner.get('member-health', id)).id, id);
  assert.equal((await owner.listAll('member-health')).length, 2);
  assert.deepEqual(await stranger.listAll('member-health'), []);
  await assert.rejects(stranger.get('member-health', id), /no member health has the id/);
  for (const client of [owner, node.operator, h1.client])
    await assert.rejects(
      client.transact([{ op: 'update', kind: 'member-health', id, body: { status: 'up' } }]),
      /is written by the server/,
    );
  const method = 'PATCH';
  const headers = { 'content-type': 'application/json' };
  const path = `/v1/member-health/${id}`;
  assert.equal((await node.request(path, { method, headers, body: '{}' })).status, 405);
  const [service] = await services(node);
  await assert.rejects(owner.remove('port', service?.id ?? ''), /made and removed by the server/);
});

test('a tenant hears on its stream of its members, also of one that is gone', async () => {
  await using node = openTimedNode();
  const { h1, h2 } = await balanced(node);
  const stop = new AbortController();
  const heard = { t: [] as string[], s: [] as string[] };
  for (const tenant of ['t', 's'] as const) {
    const client = await node.as({ role: 'tenant', name: tenant, tenant });
    void (async () => {
      for await (const event of client.watch({ signal: stop.signal }))
        if (event.type === 'change')
          for (const { kind, put } of event.change.rows)
            if (kind === 'member-health') heard[tenant].push(put === undefined ? 'gone' : 'put');
    })();
  }
  await alive(h1, h2);
  await pass(node, 2_000, h1, h2);
  await node.operator.remove('pool-member', 'm1');
  await settle();
  stop.abort();
  assert.deepEqual(heard, { t: ['put', 'put', 'gone'], s: [] });
});

test('where nothing is checked, nothing is written', async () => {
  await using node = openTimedNode();
  const { h1, h2 } = await balanced(node);
  await node.operator.remove('health-monitor', 'hm');
  const { revision } = await node.operator.status();
  await pass(node, 3_000, h1, h2);
  assert.equal((await node.operator.status()).revision, revision);
  await node.operator.remove('port', 'vm-h1');
  await node.operator.remove('host', 'h1');
});
