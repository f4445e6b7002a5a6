/** Who checks whom: where the member lives, else who had it, else by weight; and takeovers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PoolMemberId } from '../ids.ts';
import { asHost, remove, update } from '../plan/world.fixture.ts';
import { assignMembers } from './assign.ts';
import { Balanced, MEMBERS } from './balanced.fixture.ts';

test('members are checked where they live, and others by one host that stays', () => {
  const world = new Balanced();
  world.sweep(world.living(world.h1, world.h2));
  const [a, b, other] = world.checkers();
  assert.deepEqual([a, b], ['h1', 'h2']);
  assert.ok(other === 'h1' || other === 'h2');
  assert.equal(world.sweep(world.living(world.h1, world.h2)), 0, 'nothing is left to do');
});

test('a host that dies is relieved, and gets back only what lives there', () => {
  const world = new Balanced();
  world.sweep(world.living(world.h1, world.h2));
  world.sweep(world.living(world.h2));
  assert.deepEqual(world.checkers(), ['h2', 'h2', 'h2']);
  world.sweep(world.living(world.h1, world.h2));
  assert.deepEqual(world.checkers(), ['h1', 'h2', 'h2']);
});

test('when nobody could check, the last word stands; a member that is new has nobody', () => {
  const world = new Balanced();
  world.sweep(world.living());
  assert.deepEqual(world.checkers(), [undefined, undefined, undefined]);
  world.sweep(world.living(world.h1));
  assert.equal(world.sweep(world.living()), 0);
  assert.deepEqual(world.checkers(), ['h1', 'h1', 'h1']);
});

test('a host that was not heard of yet keeps what it has, and gets nothing', () => {
  const world = new Balanced();
  world.sweep(world.living(world.h1));
  const unsure = { alive: new Set([world.h2]), unsure: new Set([world.h1]) };
  world.sweep(unsure);
  assert.deepEqual(world.checkers(), ['h1', 'h2', 'h1']);
  world.sweep(world.living(world.h2));
  assert.equal(world.sweep(unsure), 0);
});

test('two routers of the same addresses are two domains', () => {
  const world = new Balanced();
  world.network('1');
  world.workload('far', world.create('host', { name: 'h3' }).id, { bridge: 'b1' });
  const h3 = world.topology.named('host', 'h3')[0] ?? '';
  world.sweep(world.living(h3));
  assert.deepEqual(world.checkers('0'), [undefined, undefined, undefined]);
  assert.deepEqual(world.checkers('1'), ['h3', 'h3', 'h3']);
  world.sweep(world.living(h3, world.h1));
  assert.deepEqual(world.checkers('0'), ['h1', 'h1', 'h1']);
  assert.deepEqual(world.checkers('1'), ['h1', 'h3', 'h3']);
});

test('an allowed address tells where a member lives, the narrowest prefix first', () => {
  const world = new Balanced();
  const wide = { bridge: 'b0', allowedAddresses: [{ ip: '10.0.9.0/24' }] };
  world.workload('wide', world.h1, wide);
  world.sweep(world.living(world.h1, world.h2));
  assert.equal(world.checkers()[2], 'h1');
  const exact = { bridge: 'b0', allowedAddresses: [{ ip: '10.0.9.9' }] };
  const port = world.workload('exact', world.h2, exact);
  world.sweep(world.living(world.h1, world.h2));
  assert.equal(world.checkers()[2], 'h2');
  world.run([update('location', port, { interface: 'exact', up: false })], asHost(world.h2));
  world.sweep(world.living(world.h1, world.h2));
  assert.equal(world.checkers()[2], 'h1');
});

test('a host that carries nothing but its service port checks no more', () => {
  const world = new Balanced();
  world.sweep(world.living(world.h1, world.h2));
  for (const { id, host = '', interface: at } of world.services())
    world.run([update('location', id, { interface: at })], asHost(host));
  world.run([remove('port', 'vm0-11')]);
  world.sweep(world.living(world.h1, world.h2));
  assert.deepEqual(world.checkers(), ['h2', 'h2', 'h2']);
});

test('nobody checks for a monitor that is down, or for a pool that nothing uses', () => {
  const world = new Balanced();
  const living = world.living(world.h1, world.h2);
  world.sweep(living);
  world.run([update('health-monitor', 'hm', { adminStateUp: false })]);
  world.sweep(living);
  assert.deepEqual(world.checkers(), [undefined, undefined, undefined]);
  assert.equal(world.health('m0 10.0.0.11')?.status, 'unknown');
  world.run([update('health-monitor', 'hm', { adminStateUp: true }), remove('vip', 'vip0')]);
  world.sweep(living);
  assert.deepEqual(world.checkers(), [undefined, undefined, undefined]);
  world.create('pool', { name: 'first', loadBalancer: 'lb0', backupPool: 'pool0' });
  assert.deepEqual([...assignMembers(world.topology, living).values()].slice(0, 2), [
    world.h1,
    world.h2,
  ]);
});

test('members that live nowhere are spread, and few move when a host goes', () => {
  const world = new Balanced();
  for (let n = 0; n < 60; n++)
    world.create('pool-member', { pool: 'pool0', address: `10.1.0.${n + 1}`, port: 80 });
  const h3 = world.create('host', { name: 'h3' }).id;
  world.workload('vm-h3', h3, { bridge: 'b0' });
  const all = assignMembers(world.topology, world.living(world.h1, world.h2, h3));
  const two = assignMembers(world.topology, world.living(world.h1, world.h2));
  for (const host of [world.h1, world.h2, h3])
    assert.ok([...all.values()].filter((each) => each === host).length > 8, 'a fair part each');
  for (const [member, host] of all)
    if (host !== h3) assert.equal(two.get(member as PoolMemberId), host);
  assert.equal(all.size, 60 + MEMBERS.length);
});
