/** Rollbacks: to exactly what was, in valid steps, from wherever an earlier try ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { openSqlite } from '#store/sqlite.ts';
import { type Store, StoreUnavailable } from '#store/store.ts';
import { KIND_NAMES, type StoredObject } from '#virtual/kind.ts';
import { Topology } from '#virtual/topology.ts';
import { edits } from './edits.fixture.ts';
import { type Fixture, openNode } from './fixture.ts';
import { begin, doubleKeys, play } from './history.fixture.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 15);

/** What a rollback puts back: all but locations, and no revisions. */
async function stateOf({ operator }: Fixture, at?: number): Promise<string[]> {
  const kinds = KIND_NAMES.filter((kind) => kind !== 'location' && kind !== 'nat-block');
  const all = await Promise.all(
    kinds.map(async (kind) =>
      (await operator.listAll(kind, {}, at)).map(({ revision: _, ...fields }) => {
        const sorted = Object.entries(fields).sort(([a], [b]) => (a < b ? -1 : 1));
        return `${kind} ${JSON.stringify(sorted)}`;
      }),
    ),
  );
  return all.flat().sort();
}

async function topologyOf({ operator }: Fixture): Promise<Topology> {
  const topology = new Topology();
  const objects = await Promise.all(
    KIND_NAMES.map(async (kind) =>
      (await operator.listAll(kind)).map((object) => ({ kind, object })),
    ),
  );
  topology.reset(1, objects.flat());
  return topology;
}

/** The store, that fails every write after so many. */
function failing(store: Store): { readonly store: Store; left: number } {
  const limit = {
    left: Infinity,
    store: {
      ...store,
      transact: async (...args: Parameters<Store['transact']>) => {
        if (limit.left <= 0) throw new StoreUnavailable('the disk is gone');
        limit.left -= 1;
        return store.transact(...args);
      },
    } as Store,
  };
  return limit;
}

test('a rollback ends with what was, interrupted anywhere and run again', async () => {
  const property = fc.asyncProperty(
    edits(40),
    fc.nat(1_000),
    fc.array(fc.nat(2), { maxLength: 3 }),
    async (all, pick, interruptions) => {
      await using store = openSqlite(':memory:');
      const limit = failing(store);
      await using node = openNode(limit.store, false);
      const past = await begin(node);
      await play(node, past, all);
      const revisions = [...past.states.keys()];
      const to = revisions[pick % Math.max(revisions.length, 1)];
      if (to === undefined) return;
      const then = await stateOf(node, to);
      const told = await node.operator.rollback({ to, dryRun: true });
      for (const left of interruptions) {
        limit.left = left;
        await node.operator.rollback({ to }).catch(() => {});
        limit.left = Infinity;
        assert.deepEqual(doubleKeys(await topologyOf(node)), []);
      }
      const done = await node.operator.rollback({ to });
      if (interruptions.length === 0) assert.equal(done.objects, told.changes?.length);
      assert.deepEqual(await stateOf(node), then);
      assert.deepEqual(doubleKeys(await topologyOf(node)), []);
      const again = await node.operator.rollback({ to });
      assert.deepEqual([again.objects, again.transactions], [0, 0]);
      assert.deepEqual((await node.operator.rollback({ to, dryRun: true })).changes, []);
    },
  );
  await fc.assert(property, { seed, numRuns });
});

const macOf = (n: number): string =>
  `02:00:00:00:${[n >> 8, n & 255].map((b) => b.toString(16).padStart(2, '0')).join(':')}`;

test('thousands of objects go and come back, in many transactions, and forward again', async () => {
  await using store = openSqlite(':memory:');
  const limit = failing(store);
  await using node = openNode(limit.store, false);
  const { operator } = node;
  await operator.transact([
    { op: 'create', kind: 'host', body: { name: 'h1' } },
    { op: 'create', kind: 'router', body: { name: 'r0' } },
    { op: 'create', kind: 'bridge', body: { name: 'b0' } },
    {
      op: 'create',
      kind: 'port',
      body: { name: 'up', router: 'r0', networks: ['10.0.0.1/24'] },
    },
  ]);
  const empty = await stateOf(node);
  const { revision: before } = await operator.status();
  for (let part = 0; part < 10; part++)
    await operator.transact(
      Array.from({ length: 120 }, (_, i) => {
        const n = part * 120 + i;
        if (i % 2 === 0)
          return {
            op: 'create',
            kind: 'port',
            body: {
              name: `p${n}`,
              bridge: 'b0',
              ...(i % 4 === 0 && { host: 'h1', interface: `tap${n}` }),
              addresses: [{ mac: macOf(n) }],
            },
          };
        const destination = `20.${n >> 8}.${n & 255}.0/24`;
        return {
          op: 'create',
          kind: 'route',
          body: { router: 'r0', destination, port: 'up', gateway: '10.0.0.2' },
        };
      }),
    );
  const full = await stateOf(node);
  const { revision: after } = await operator.status();
  limit.left = 4;
  await assert.rejects(operator.rollback({ to: before }));
  limit.left = Infinity;
  await operator.rollback({ to: before });
  assert.deepEqual(await stateOf(node), empty);
  limit.left = 5;
  await assert.rejects(operator.rollback({ to: after }));
  limit.left = Infinity;
  const done = await operator.rollback({ to: after });
  assert.ok(done.transactions > 3);
  assert.deepEqual(await stateOf(node), full);
  // The whole bridge goes with its ports, and comes back.
  await operator.remove('bridge', 'b0');
  await operator.remove('router', 'r0');
  await operator.rollback({ to: after });
  assert.deepEqual(await stateOf(node), full);
});

test('what changed hands comes back at once: interfaces, addresses, links, names', async () => {
  await using node = openNode();
  const { operator } = node;
  const port = (name: string, bridge: string, tap: string, mac: string) => ({
    op: 'create' as const,
    kind: 'port' as const,
    body: { name, bridge, host: 'h1', interface: tap, addresses: [{ mac, ip: '10.0.0.1' }] },
  });
  await operator.transact([
    { op: 'create', kind: 'host', body: { name: 'h1' } },
    { op: 'create', kind: 'host', body: { name: 'h2' } },
    { op: 'create', kind: 'bridge', body: { name: 'b0' } },
    { op: 'create', kind: 'bridge', body: { name: 'b1' } },
    port('p', 'b0', 'tap0', '02:00:00:00:00:01'),
    port('q', 'b1', 'tap1', '02:00:00:00:00:02'),
    ...['x', 'y', 'z', 'w'].map((name, i) => ({
      op: 'create' as const,
      kind: 'port' as const,
      body: { name, bridge: i % 2 === 0 ? 'b0' : 'b1' },
    })),
    { op: 'update', kind: 'port', id: 'x', body: { peer: 'y' } },
  ]);
  const then = await stateOf(node);
  const { revision: to } = await operator.status();
  await operator.transact([
    { op: 'update', kind: 'port', id: 'p', body: { interface: 'tap1' } },
    { op: 'update', kind: 'port', id: 'q', body: { interface: 'tap0' } },
    { op: 'update', kind: 'host', id: 'h1', body: { name: 'h3' } },
    { op: 'update', kind: 'host', id: 'h2', body: { name: 'h1' } },
    { op: 'update', kind: 'port', id: 'x', body: { peer: null } },
    { op: 'update', kind: 'port', id: 'x', body: { peer: 'w' } },
    { op: 'update', kind: 'port', id: 'z', body: { peer: 'y' } },
  ]);
  await operator.transact([
    { op: 'update', kind: 'port', id: 'p', body: { addresses: [] } },
    port('r', 'b0', 'tap9', '02:00:00:00:00:01'),
  ]);
  await operator.rollback({ to });
  assert.deepEqual(await stateOf(node), then);
});

test('one object: as it was, and what stands against it is told by field, and changes nothing', async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.transact([
    { op: 'create', kind: 'host', body: { name: 'h1' } },
    { op: 'create', kind: 'bridge', body: { name: 'b0' } },
    {
      op: 'create',
      kind: 'port',
      body: { name: 'p', bridge: 'b0', host: 'h1', interface: 'tap0', labels: ['a=1'] },
    },
  ]);
  const then = await operator.get('port', 'p');
  const bridge = (await operator.get('bridge', 'b0')) as StoredObject & { floodKey: number };
  const { revision: to } = await operator.status();
  const one = (kind: 'port' | 'bridge', id: string, more: object = {}) =>
    operator.rollback({ to, objects: [{ kind, id }], ...more });
  await operator.update('port', 'p', { name: 'q', labels: null });
  await one('port', 'p');
  const { revision: _, ...back } = await operator.get('port', 'p');
  const { revision: __, ...was } = then;
  assert.deepEqual(back, was, 'found by the name it had');

  await operator.remove('port', 'p');
  const taker = { name: 'taker', bridge: 'b0', host: 'h1', interface: 'tap0' };
  await operator.create('port', taker);
  const { revision } = await operator.status();
  await assert.rejects(one('port', 'p'), {
    status: 409,
    message: new RegExp(`port/${then.id}\\.interface: is bound to port taker .* already`),
  });
  await operator.remove('bridge', 'b0');
  await assert.rejects(one('port', 'p'), {
    status: 409,
    message: new RegExp(`port/${then.id}\\.bridge: no bridge has the id ${bridge.id}: it is gone`),
  });
  await assert.rejects(one('port', 'nobody'), { status: 404, message: /objects\.0\.id: no port/ });
  assert.equal((await operator.status()).revision, revision + 1, 'refused before anything');
  await one('bridge', 'b0');
  const again = (await operator.get('bridge', 'b0')) as typeof bridge;
  assert.deepEqual([again.id, again.floodKey], [bridge.id, bridge.floodKey]);
  await one('port', 'p');
  assert.equal((await operator.get('port', 'p')).id, then.id);

  const { revision: late } = await operator.create('bridge', { name: 'late' });
  await operator.create('port', { name: 'in-late', bridge: 'late' });
  await assert.rejects(one('bridge', 'late'), {
    status: 409,
    message: /was not there, and is the bridge of port in-late \(.*\) now/,
  });
  await assert.rejects(operator.rollback({ to: late + 9 }), {
    status: 400,
    message: /to: must be a revision that is kept/,
  });
  const dry = await one('port', 'in-late', { dryRun: true }).catch((error: unknown) => error);
  assert.equal((dry as { changes: readonly unknown[] }).changes.length, 1);
  assert.ok(await operator.get('port', 'in-late'));
});

test('a tenant puts back its own, never what operators set, and nothing of others', async () => {
  await using node = openNode();
  const { operator } = node;
  const mine = await node.as({ role: 'tenant', name: 'ann', tenant: 'mine' });
  await operator.create('host', { name: 'h1' });
  await mine.create('bridge', { name: 'b0' });
  await mine.create('port', { name: 'p', bridge: 'b0' });
  await operator.create('bridge', { name: 'theirs', tenant: 'theirs' });
  await operator.update('port', 'p', { host: 'h1', interface: 'tap0' });
  const { revision: to } = await operator.status();
  const { id } = await operator.get('port', 'p');
  await operator.update('bridge', 'theirs', { adminStateUp: false });
  await operator.update('port', 'p', { interface: 'tap7' });
  await mine.update('port', 'p', { labels: ['a=1'], hairpin: true });
  await mine.create('bridge', { name: 'b1' });
  await assert.rejects(mine.rollback({ to, objects: [{ kind: 'bridge', id: 'theirs' }] }), {
    status: 404,
  });
  await assert.rejects(mine.rollback({ to, objects: [{ kind: 'host', id: 'h1' }] }), {
    status: 403,
  });
  await mine.rollback({ to });
  const port = (await operator.get('port', 'p')) as StoredObject & Record<string, unknown>;
  assert.deepEqual(
    [port['labels'], port['hairpin'], port['interface']],
    [undefined, false, 'tap7'],
    'bindings are not theirs',
  );
  const theirs = await operator.get('bridge', 'theirs');
  assert.equal((theirs as StoredObject & { adminStateUp: boolean }).adminStateUp, false);
  assert.deepEqual((await mine.listAll('bridge')).length, 1);
  await mine.remove('bridge', 'b0');
  await mine.rollback({ to });
  const bare = (await operator.get('port', id)) as StoredObject & { host?: string };
  assert.equal(bare.host, undefined);
  const agent = await node.as({ role: 'host', name: 'h', host: 'h1' });
  await assert.rejects(agent.rollback({ to }), { status: 403 });
});

test('what agents wrote is not put back: they say anew where ports are up', async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.create('host', { name: 'h1' });
  await operator.create('bridge', { name: 'b0' });
  const bound = { name: 'p', bridge: 'b0', host: 'h1', interface: 'tap0' };
  const [port] = (await operator.create('port', bound)).objects;
  const agent = await node.as({ role: 'host', name: 'h', host: 'h1' });
  await agent.locate(port?.id ?? '', { interface: 'tap0' });
  const { revision: to } = await operator.status();
  await operator.remove('bridge', 'b0');
  await operator.rollback({ to });
  assert.deepEqual(await operator.listAll('location'), []);
  const [location] = (await agent.locate(port?.id ?? '', { interface: 'tap0' })).objects;
  assert.equal(
    (location as StoredObject & { tunnelKey: number }).tunnelKey,
    2,
    'never key 1 again',
  );
});
