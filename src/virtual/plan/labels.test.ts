/** Labels: one set is one value, and nothing that forwards packets depends on them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KIND_NAMES } from '../kind.ts';
import { kindOf } from '../kinds.ts';
import { topologyObjects } from '../topology.arbitrary.ts';
import { Topology } from '../topology.ts';
import { create, update, World } from './world.fixture.ts';

const seed = Number(process.env['SEED'] ?? 1);

test('every kind that operators or tenants write has labels', () => {
  for (const name of KIND_NAMES) {
    const { schema, writer } = kindOf(name);
    assert.equal('labels' in schema.shape, writer !== 'host', name);
  }
});

test('a change of labels only retires no flow, whatever the object', () => {
  const property = fc.property(topologyObjects, fc.constantFrom('a=1', 'z=9'), (random, label) => {
    const isThere = (id: string | undefined): boolean =>
      id === undefined || random.some(({ object }) => object.id === id);
    const objects = random.filter(({ object }) =>
      isThere((object as { readonly router?: string }).router),
    );
    const topology = new Topology();
    topology.reset(1, objects);
    for (const { kind, object } of objects) {
      if (kind === 'location') continue;
      const put = { ...object, labels: [label] };
      const apply = (row: typeof put | typeof object) =>
        topology.apply({
          revision: topology.revision + 1,
          rows: [{ kind, id: object.id, put: row }],
        });
      // Random rows need not be consistent: the one that comes last has what two of them claim.
      apply(object);
      const tags = apply(put).filter((tag) => !tag.startsWith('seed'));
      assert.deepEqual(tags, []);
      assert.deepEqual(topology.get(kind, object.id), put);
    }
  });
  fc.assert(property, { seed, numRuns: 200 });
});

test('a change of labels of a port with seeds retires no flow', () => {
  const world = new World();
  world.create('bridge', { name: 'b0' });
  const addresses = [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }];
  const port = world.create('port', { name: 'p', bridge: 'b0', addresses });
  const planned = world.plan([update('port', 'p', { labels: ['a=1'] })]);
  assert(planned.ok && planned.rows.length === 1 && planned.rows[0]?.id === port.id);
  assert.deepEqual(world.topology.apply({ revision: 9, rows: planned.rows }), []);
});

test('labels are sorted by key, in whatever order they come; the same set is no change', () => {
  const world = new World();
  const bridge = world.create('bridge', { name: 'b0', labels: ['b=1', 'a.b=2', 'a=3'] });
  assert.deepEqual(bridge.labels, ['a=3', 'a.b=2', 'b=1']);
  const same = world.plan([update('bridge', 'b0', { labels: ['a=3', 'b=1', 'a.b=2'] })]);
  assert(same.ok && same.rows.length === 0);
  for (const none of [null, []]) {
    const [bare] = world.run([update('bridge', 'b0', { labels: none })]);
    assert(bare !== undefined && !('labels' in bare));
    world.run([update('bridge', 'b0', { labels: ['a=1'] })]);
  }
});

test('what a label may be', () => {
  const world = new World();
  const long = (n: number): string => 'k'.repeat(n);
  const good = [`${long(63)}=v`, `k=${'V'.repeat(63)}`, 'k=', 'a/b.c_d-e=A.b_c-D', '0=0'];
  for (const [i, label] of good.entries())
    assert.deepEqual(world.create('host', { name: `h${i}`, labels: [label] }).labels, [label]);
  const bad = ['', '=v', 'k', 'K=v', '-k=v', 'k.=v', 'k=v w', 'k=v=w', 'k=\u00e4', `${long(64)}=v`];
  for (const label of [...bad, `k=${'v'.repeat(64)}`])
    assert.match(
      world.refused(400, create('host', { name: 'x', labels: [label] })),
      /^labels\.0: must be key=value/,
    );
});
