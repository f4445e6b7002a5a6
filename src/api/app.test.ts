/** Routes of every kind, pages, and many writes at once, without sockets. */
import { describe, test } from 'node:test';
import assert from 'node:assert/strict';
import { ApiError } from '#client/errors.ts';
import { openSqlite } from '#store/sqlite.ts';
import type { Store } from '#store/store.ts';
import { KIND_NAMES, type KindName } from '#virtual/kind.ts';
import { kindOf } from '#virtual/kinds.ts';
import { type Fixture, openNode } from './fixture.ts';

type Body = Record<string, unknown>;
interface Sample {
  readonly create: Body;
  readonly patch: Body;
  readonly filter: readonly [field: string, text: string];
}
/** Every kind that callers write; a new kind needs a row here. */
const SAMPLES: Readonly<Partial<Record<KindName, Sample>>> = {
  host: { create: { name: 'h9' }, patch: { name: 'h9b' }, filter: ['name', 'h9'] },
  'tunnel-zone': {
    create: { name: 'z9', members: [{ host: 'h1', address: '172.16.0.9' }] },
    patch: { members: [] },
    filter: ['members.host', 'h1'],
  },
  bridge: {
    create: { name: 'b9' },
    patch: { adminStateUp: false },
    filter: ['adminStateUp', 'true'],
  },
  port: {
    create: { name: 'p9', bridge: 'b1', host: 'h1', interface: 'eth9' },
    patch: { hairpin: true },
    filter: ['bridge', 'b1'],
  },
  router: { create: { name: 'r9' }, patch: { adminStateUp: false }, filter: ['name', 'r9'] },
  route: {
    create: { name: 'up', router: 'r1', destination: '10.0.0.0/8', port: 'r1-a' },
    patch: { gateway: '10.0.0.254' },
    filter: ['port', 'r1-a'],
  },
  chain: { create: { name: 'c9' }, patch: { labels: ['app=web'] }, filter: ['name', 'c9'] },
  rule: {
    create: { name: 'web', chain: 'c1', action: 'accept', protocol: 'tcp', destinationPorts: 80 },
    patch: { position: 7, not: ['destinationPorts'] },
    filter: ['chain', 'c1'],
  },
  'address-group': {
    create: { name: 'ag9', addresses: ['10.0.0.1', 'fd00::/64'] },
    patch: { addresses: [] },
    filter: ['addresses', 'fd00::/64'],
  },
  'port-group': {
    create: { name: 'pg9', ports: ['r1-a'] },
    patch: { ports: [] },
    filter: ['ports', 'r1-a'],
  },
  'load-balancer': {
    create: { name: 'lb9', router: 'r1' },
    patch: { adminStateUp: false },
    filter: ['router', 'r1'],
  },
  'health-monitor': {
    create: { name: 'hm9', type: 'http', path: '/health' },
    patch: { interval: 10 },
    filter: ['type', 'http'],
  },
  pool: {
    create: { name: 'pool9', loadBalancer: 'lb1' },
    patch: { whenDown: 'drop' },
    filter: ['loadBalancer', 'lb1'],
  },
  'pool-member': {
    create: { name: 'm9', pool: 'pool1', address: '10.0.0.7', port: 80 },
    patch: { weight: 0 },
    filter: ['pool', 'pool1'],
  },
  vip: {
    create: { name: 'vip9', loadBalancer: 'lb1', pool: 'pool1', address: '10.0.0.80', port: 80 },
    patch: { persistence: 'source-ip' },
    filter: ['address', '10.0.0.80'],
  },
};

async function withBasics(node: Fixture): Promise<void> {
  await node.operator.transact([
    { op: 'create', kind: 'host', body: { name: 'h1' } },
    { op: 'create', kind: 'bridge', body: { name: 'b1' } },
    { op: 'create', kind: 'router', body: { name: 'r1' } },
    { op: 'create', kind: 'port', body: R1_A },
    { op: 'create', kind: 'chain', body: { name: 'c1' } },
    { op: 'create', kind: 'load-balancer', body: { name: 'lb1', router: 'r1' } },
    { op: 'create', kind: 'pool', body: { name: 'pool1', loadBalancer: 'lb1' } },
  ]);
}
const R1_A = { name: 'r1-a', router: 'r1', networks: ['10.0.0.1/24', 'fd00::1/64'] };

describe('every kind', () => {
  for (const kind of KIND_NAMES) {
    const sample = SAMPLES[kind];
    if (sample === undefined) {
      test(`${kind}: written by hosts only`, async () => {
        await using node = openNode();
        assert.equal(kindOf(kind).writer, 'host');
        const response = await node.request(`/v1/${kindOf(kind).path}`, { method: 'POST' });
        assert.ok([403, 405].includes(response.status), String(response.status));
      });
      continue;
    }
    test(`${kind}: create, get, list, filter, update, If-Match, delete`, async () => {
      await using node = openNode();
      await withBasics(node);
      const { operator } = node;
      const created = await operator.create(kind, sample.create);
      const [object] = created.objects;
      assert.ok(object);
      assert.equal(object.revision, created.revision);
      const name = String(sample.create['name']);
      assert.deepEqual(await operator.get(kind, name), object);
      assert.deepEqual(await operator.get(kind, object.id), object);
      assert.ok((await operator.listAll(kind)).some(({ id }) => id === object.id));
      const [field, text] = sample.filter;
      const found = await operator.listAll(kind, { [field]: text });
      assert.ok(found.some(({ id }) => id === object.id));
      assert.deepEqual(await operator.listAll(kind, { name: 'none' }), []);
      await assert.rejects(
        operator.update(kind, name, sample.patch, object.revision + 1),
        status(412),
      );
      const updated = await operator.update(kind, name, sample.patch, object.revision);
      const [after] = updated.objects;
      assert.deepEqual(after, { ...object, ...sample.patch, revision: updated.revision });
      await assert.rejects(operator.remove(kind, object.id, object.revision), status(412));
      const removed = await operator.remove(kind, object.id, updated.revision);
      assert.deepEqual(removed.objects, [undefined]);
      await assert.rejects(operator.get(kind, object.id), status(404));
    });
  }
});

test('a port of a router is found by any of its networks, and by its router', async () => {
  await using node = openNode();
  await withBasics(node);
  const names = async (where: Record<string, string>): Promise<unknown[]> =>
    (await node.operator.listAll('port', where)).map(({ name }) => name);
  assert.deepEqual(await names({ networks: 'fd00::1/64' }), ['r1-a']);
  assert.deepEqual(await names({ networks: 'fd00::2/64' }), []);
  assert.deepEqual(await names({ router: 'r1', type: 'router' }), ['r1-a']);
});

const status = (expected: number) => (error: unknown) => {
  assert.ok(error instanceof ApiError, String(error));
  assert.equal(error.status, expected, error.message);
  return true;
};

test('pages hold every object once, in order, whatever is added meanwhile', async () => {
  await using node = openNode();
  const { operator } = node;
  for (let i = 0; i < 3; i++)
    await operator.transact(
      Array.from({ length: 100 }, (_, n) => ({
        op: 'create',
        kind: 'bridge',
        body: { name: `b${String(n).padStart(3, '0')}-${i}` },
      })),
    );
  const names: string[] = [];
  for (let after: string | undefined, pages = 0; ; pages++) {
    const page = await operator.list('bridge', {
      limit: 70,
      ...(after !== undefined && { after }),
    });
    names.push(...page.items.map(({ name = '' }) => name));
    assert.ok(page.items.length <= 70);
    await operator.create('bridge', { name: `a${pages}` });
    if (page.next === undefined) break;
    after = page.next;
  }
  assert.equal(names.length, 300);
  assert.deepEqual(names, [...new Set(names)].sort());
});

test('100 writes at once through two nodes: none is lost, names stay unique, keys are given once', async () => {
  await using store: Store = openSqlite(':memory:');
  await using one = openNode(store, false);
  await using two = openNode(store, false);
  const nodes = [one.operator, two.operator];
  const client = (i: number) => nodes[i % 2] ?? one.operator;
  const hosts = await Promise.allSettled(
    Array.from({ length: 100 }, (_, i) => client(i).create('host', { name: `h${i % 10}` })),
  );
  assert.equal(hosts.filter((result) => result.status === 'fulfilled').length, 10);
  for (const result of hosts) if (result.status === 'rejected') status(409)(result.reason);
  const bridges = await Promise.all(
    Array.from({ length: 100 }, (_, i) => client(i).create('bridge', { name: `b${i}` })),
  );
  assert.equal(new Set(bridges.map(({ revision }) => revision)).size, 100);
  const rows = await one.operator.listAll('bridge');
  assert.equal(new Set(rows.map((row) => (row as unknown as Body)['floodKey'])).size, 100);
  const zone = await one.operator.create('tunnel-zone', { name: 'z' });
  const id = zone.objects[0]?.id ?? '';
  const added = await Promise.all(
    Array.from({ length: 10 }, async (_, i) => {
      for (;;) {
        const { revision, ...now } = await client(i).get('tunnel-zone', id);
        const members = (now as unknown as { members: Body[] }).members;
        const body = { members: [...members, { host: `h${i}`, address: `10.0.0.${i + 1}` }] };
        try {
          return await client(i).update('tunnel-zone', id, body, revision);
        } catch (error) {
          status(412)(error);
        }
      }
    }),
  );
  assert.equal(added.length, 10);
  const [stored] = (await store.list('/topology/tunnel-zone/')).entries;
  const { members } = JSON.parse(stored?.value ?? '{}') as { members: Body[] };
  assert.equal(members.length, 10);
});

test('numbers of networks are given once, to bridges and routers alike, and never go back', async () => {
  await using store: Store = openSqlite(':memory:');
  const keyOf = async (node: Fixture, kind: KindName): Promise<number> => {
    const { objects } = await node.operator.create(kind, { name: 'x' });
    await node.operator.remove(kind, 'x');
    const { floodKey, networkKey } = objects[0] as unknown as Record<string, number>;
    return floodKey ?? networkKey ?? 0;
  };
  const keys: number[] = [];
  for (let i = 0; i < 3; i++) {
    await using node = openNode(store, false);
    for (const kind of ['bridge', 'router', 'bridge'] as const) keys.push(await keyOf(node, kind));
  }
  await using node = openNode(store, false);
  const { objects } = await node.operator.transact([
    { op: 'create', kind: 'router', body: { name: 'r' } },
    { op: 'create', kind: 'bridge', body: { name: 'b' } },
  ]);
  const [router, bridge] = objects as unknown as Record<string, number>[];
  keys.push(router?.['networkKey'] ?? 0, bridge?.['floodKey'] ?? 0);
  assert.deepEqual(
    keys,
    Array.from({ length: 11 }, (_, i) => 0x800001 + i),
  );
});
