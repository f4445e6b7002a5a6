/**
 * The order of a rollback, at its hardest: parts as small as they can be, each planned on what the
 * ones before it left.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ObjectOf } from '#virtual/kinds.ts';
import { planRestore, type Restore } from '#virtual/plan/restore.ts';
import { partsOf, restoresTo } from '#virtual/plan/rollback.ts';
import { asHost, create, OPERATOR, update, World } from '#virtual/plan/world.fixture.ts';
import { Topology } from '#virtual/topology.ts';
import { basics, type Edit, edits, HOSTS, operationsOf } from './edits.fixture.ts';
import { doubleKeys, textOf } from './history.fixture.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 150);

function locate(world: World, { a }: Edit): void {
  const [id = ''] = world.topology.named('port', `p${a}`);
  const port = world.topology.get('port', id) as ObjectOf<'port'> | undefined;
  if (port?.host === undefined) return;
  const body = { interface: port.interface };
  world.run([{ op: 'update', kind: 'location', id, body }], asHost(port.host));
}

/** The network after each of the edits; refused ones change nothing. */
function lived(all: readonly Edit[]): Topology[] {
  const world = new World();
  world.run(HOSTS.map((name) => ({ op: 'create', kind: 'host', body: { name } })));
  world.run(basics);
  const states = [world.topology.clone()];
  for (const [n, edit] of all.entries()) {
    try {
      if (edit.what === 'locate') locate(world, edit);
      else world.run(operationsOf(edit, n));
    } catch {
      continue;
    }
    states.push(world.topology.clone());
  }
  return states;
}

const context = (first: number) => {
  let key = first;
  return {
    caller: OPERATOR,
    newId: () => assert.fail('nothing new is made'),
    nextFloodKey: () => ++key,
    nextTunnelKey: () => assert.fail('agents locate'),
  };
};

/** All but locations, and no revisions. */
const settled = (topology: Topology): string[] =>
  textOf(
    [...topology.objects()]
      .filter(({ kind }) => kind !== 'location' && kind !== 'nat-block')
      .map(({ kind, object }) => ({ kind, object: { ...object, revision: 0 } })),
  );

test('each part can follow the ones before it, however small the parts are', () => {
  const property = fc.property(
    edits(60),
    fc.nat(),
    fc.constantFrom(1, 3, 20),
    (all, pick, rows) => {
      const states = lived(all);
      const [old, now] = [states[pick % states.length], states.at(-1)];
      if (old === undefined || now === undefined) return;
      const copy = now.clone();
      const restores = restoresTo(now, old, context(0));
      for (const part of partsOf(now, old, restores, rows)) {
        const plan = planRestore(copy, part, context(0xa00000));
        assert.ok(plan.ok, JSON.stringify(plan));
        copy.apply({ revision: copy.revision + 1, rows: plan.rows });
        assert.deepEqual(doubleKeys(copy), []);
      }
      assert.deepEqual(settled(copy), settled(old));
      assert.deepEqual(restoresTo(copy, old, context(0)), []);
    },
  );
  fc.assert(property, { seed, numRuns });
});

/** What each of four ports has in turn; the last one's is nobody's at first. */
const HANDED = ['tap0', 'tap1', 'tap2', 'tap3', 'tap4'];

test('what went from hand to hand goes back the other way, or at once where it went in a circle', () => {
  for (const isCircle of [false, true])
    for (const names of [
      ['p0', 'p1', 'p2', 'p3'],
      ['p3', 'p2', 'p1', 'p0'],
    ]) {
      const world = new World();
      world.run(
        ['h0', 'b0', 'b1'].map((name) =>
          create(name.startsWith('h') ? 'host' : 'bridge', { name }),
        ),
      );
      const body = (n: number) => ({
        interface: HANDED[n],
        addresses: [{ mac: `02:00:00:00:00:0${n}`, ip: `10.0.0.${n + 1}` }],
      });
      world.run(
        ['p0', 'p1', 'p2', 'p3'].map((name) =>
          create('port', { name, bridge: 'b0', host: 'h0', ...body(names.indexOf(name)) }),
        ),
      );
      const old = world.topology.clone();
      // Each takes what the next had; the last one's new one is free, or the first one's.
      const to = (i: number): number => (isCircle ? (i + 1) % 4 : i + 1);
      world.run(names.map((name, i) => update('port', name, body(to(i)))));
      const copy = world.topology.clone();
      const parts = partsOf(copy, old, restoresTo(copy, old, context(0)), 1);
      assert.equal(parts.length, isCircle ? 1 : 4);
      for (const part of parts) {
        const plan = planRestore(copy, part, context(0xa00000));
        assert.ok(plan.ok, JSON.stringify(plan));
        copy.apply({ revision: copy.revision + 1, rows: plan.rows });
      }
      assert.deepEqual(settled(copy), settled(old));
    }
});

test('the number of a network that another has is not given again', () => {
  const world = new World();
  const bridge = world.create('bridge', { name: 'b0' });
  world.create('router', { name: 'r0' });
  const key = bridge['floodKey'] as number;
  const restore: Restore = { kind: 'bridge', id: bridge.id, object: bridge };
  const [router] = world.topology.list('router');
  // As after a store that was restored from a backup: the router was given the bridge's number.
  const taken = new Topology();
  const object = { ...router, networkKey: key } as unknown as ObjectOf<'router'>;
  taken.reset(1, [{ kind: 'router', object }]);
  const plan = planRestore(taken, [restore], context(0x900000));
  assert.ok(plan.ok);
  taken.apply({ revision: 2, rows: plan.rows });
  assert.deepEqual(doubleKeys(taken), []);
  const given = taken.get('bridge', bridge.id) as ObjectOf<'bridge'> | undefined;
  assert.equal(given?.floodKey, 0x900001);
  const again = planRestore(taken, [restore], context(0xb00000));
  assert.ok(again.ok && again.rows.length === 0, 'and stays what it is when done again');
  const free = planRestore(new Topology(), [restore], context(0x900000));
  assert.ok(free.ok);
  const back = free.rows[0]?.put as ObjectOf<'bridge'> | undefined;
  assert.equal(back?.floodKey, key);
});
