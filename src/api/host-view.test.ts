/** What is kept up to date change by change equals what `entitled` says, for every host. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { RowChange } from '#virtual/change.ts';
import { entitled, objectKey } from '#virtual/entitlement.ts';
import type { HostId } from '#virtual/ids.ts';
import type { StoredObject } from '#virtual/kind.ts';
import { asHost, update, World } from '#virtual/plan/world.fixture.ts';
import type { Operation } from '#virtual/plan.ts';
import { basics, created, edits, HOSTS, operationsOf, type Edit } from './edits.fixture.ts';
import { HostView } from './host-view.ts';

const SEED = Number(process.env['SEED'] ?? 1);

/** A host that follows: what it was told, and what its view says. */
class Follower {
  readonly id: HostId;
  readonly view: HostView;
  readonly held = new Map<string, StoredObject>();
  /** Bridges and ports of which it would hold what was learned. */
  readonly places: Set<string>;
  anew = 0;

  constructor(world: World, id: string) {
    this.id = id as HostId;
    this.view = new HostView(world.topology, id);
    for (const { kind, object } of this.view.objects())
      this.held.set(objectKey(kind, object.id), object);
    this.places = new Set(this.view.places());
  }
  take(world: World, revision: number, changes: readonly RowChange[], before: Before): void {
    const old = changes.map(({ kind, id }) => before.get(objectKey(kind, id)));
    const applied = { revision, rows: changes, before: old, encoded: new Map(), size: 0 };
    const { rows, came, left } = this.view.step(applied);
    for (const { kind, id, put } of rows) {
      const key = objectKey(kind, id);
      if (put !== undefined) this.held.set(key, put);
      else assert.ok(this.held.delete(key), `${key} was never shown`);
    }
    for (const id of left) assert.ok(this.places.delete(id), `${id} was no place`);
    for (const id of came) assert.ok(!this.places.has(id) && this.places.add(id));
    this.#check(world);
  }
  #check({ topology }: World): void {
    const expected = entitled(topology, this.id);
    assert.deepEqual([...this.held.keys()].sort(), [...expected].sort());
    for (const [key, object] of this.held) {
      const slash = key.indexOf('/');
      assert.equal(object, topology.get(key.slice(0, slash) as never, key.slice(slash + 1)), key);
    }
    assert.deepEqual([...this.places].sort(), this.view.places().sort());
  }
}
type Before = ReadonlyMap<string, StoredObject>;

const everything = ({ topology }: World): Before =>
  new Map([...topology.objects()].map(({ kind, object }) => [objectKey(kind, object.id), object]));

let changed = 0;
/** Commits operations if they are not refused; tells every follower. */
function commit(
  world: World,
  followers: readonly Follower[],
  operations: readonly Operation[],
  host?: string,
): void {
  const planned = world.plan(operations, host === undefined ? undefined : asHost(host));
  if (!planned.ok || planned.rows.length === 0) return;
  const before = everything(world);
  const revision = world.topology.revision + 1;
  const rows = planned.rows.map((row) =>
    row.put === undefined ? row : { ...row, put: { ...row.put, revision } },
  );
  world.topology.apply({ revision, rows });
  for (const follower of followers) follower.take(world, revision, rows, before);
  changed++;
}

function perform(world: World, followers: readonly Follower[], edit: Edit, n: number): void {
  const { topology } = world;
  const makes = created(edit);
  // A second object of a name would make every later edit by that name ambiguous.
  if (makes !== undefined && topology.named(...makes).length > 0) return;
  if (edit.what !== 'locate') return commit(world, followers, operationsOf(edit, n));
  const [id = ''] = topology.named('port', `p${edit.a}`);
  const { host } = (topology.get('port', id) ?? {}) as { host?: string };
  const up = update('location', id, { interface: `eth-${edit.a}` });
  if (host !== undefined) commit(world, followers, [up], host);
}

test('after any change a host holds exactly what it is entitled to', () => {
  const property = fc.property(edits(40), (list) => {
    const world = new World();
    const hosts = world.run(HOSTS.map((name) => ({ op: 'create', kind: 'host', body: { name } })));
    world.run(basics);
    const followers = hosts.map(({ id }) => new Follower(world, id));
    for (const [n, edit] of list.entries()) perform(world, followers, edit, n);
  });
  fc.assert(property, { seed: SEED, numRuns: 1_000 });
  console.log(`host views: ${changed} changes`);
});

test('what moves no border is decided row by row', () => {
  const world = new World();
  const [host] = world.run([{ op: 'create', kind: 'host', body: { name: 'h0' } }]);
  world.run(basics);
  world.run([
    update('port', 'p0', { host: 'h0', interface: 'e' }),
    update('port', 'p5', { peer: 'p3' }),
  ]);
  const view = new HostView(world.topology, host?.id ?? '');
  // Nobody asks for all of it again.
  world.topology.portsOnHost = () => assert.fail('all was looked for anew');
  const follow = (operations: Operation[]): string[] => {
    const planned = world.plan(operations);
    assert(planned.ok, JSON.stringify(planned));
    const before = planned.rows.map(({ kind, id }) => world.topology.get(kind, id));
    const revision = world.topology.revision + 1;
    world.topology.apply({ revision, rows: planned.rows });
    const applied = { revision, rows: planned.rows, before, encoded: new Map(), size: 0 };
    return view.step(applied).rows.map(({ kind }) => kind);
  };
  const route = { router: 'r0', destination: '::/0', port: 'p3' };
  assert.deepEqual(follow([{ op: 'create', kind: 'route', body: route }]), ['route']);
  assert.deepEqual(follow([{ op: 'create', kind: 'port', body: { name: 'x', router: 'r0' } }]), [
    'port',
  ]);
  assert.deepEqual(follow([update('port', 'p3', { networks: ['10.0.0.1/24'] })]), ['port']);
  assert.deepEqual(follow([update('port', 'p1', { peer: 'p4' })]), [], 'a link out of sight');
  assert.deepEqual(follow([{ op: 'delete', kind: 'port', id: 'x' }]), ['port']);
  const drop = { action: 'drop', sourceMac: '02:00:00:00:00:01' };
  const rule = (chain: string, fields = {}): Operation[] => [
    { op: 'create', kind: 'rule', body: { chain, ...drop, ...fields } },
  ];
  assert.deepEqual(follow(rule('c0', { name: 'first' })), [], 'a chain out of use');
  assert.deepEqual(follow([update('port', 'p1', { inboundFilter: 'c1' })]), [], 'out of sight');
});

test('a host is told of chains that rules jump to, and of groups, when they come into use', () => {
  const world = new World();
  const [host] = world.run([{ op: 'create', kind: 'host', body: { name: 'h0' } }]);
  world.run(basics);
  const create = (kind: Operation['kind'], body: object): Operation =>
    ({ op: 'create', kind, body }) as Operation;
  world.run([
    update('port', 'p0', { host: 'h0', interface: 'e' }),
    create('rule', { chain: 'c0', action: 'jump', jump: 'c1' }),
    create('rule', { chain: 'c1', action: 'drop', sourceGroup: 'ag' }),
  ]);
  const follower = new Follower(world, host?.id ?? '');
  const kinds = (): Record<string, number> =>
    Object.fromEntries(
      ['chain', 'rule', 'address-group', 'port-group'].map((kind) => [
        kind,
        [...follower.held.keys()].filter((key) => key.startsWith(`${kind}/`)).length,
      ]),
    );
  const none = { chain: 0, rule: 0, 'address-group': 0, 'port-group': 0 };
  assert.deepEqual(kinds(), none);
  commit(world, [follower], [update('bridge', 'b0', { outboundFilter: 'c0' })]);
  assert.deepEqual(kinds(), { ...none, chain: 2, rule: 2, 'address-group': 1 });
  commit(
    world,
    [follower],
    [create('rule', { chain: 'c1', action: 'drop', name: 'port', portGroup: 'pg' })],
  );
  assert.deepEqual(kinds(), { chain: 2, rule: 3, 'address-group': 1, 'port-group': 1 });
  commit(world, [follower], [{ op: 'delete', kind: 'rule', id: 'port' }]);
  assert.deepEqual(kinds(), { chain: 2, rule: 2, 'address-group': 1, 'port-group': 0 });
  commit(world, [follower], [update('bridge', 'b0', { outboundFilter: null })]);
  assert.deepEqual(kinds(), none);
});
