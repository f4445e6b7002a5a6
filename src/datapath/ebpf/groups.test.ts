/** Groups: what a program would read is what was asked for, whatever came and went before. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DpPeer, DpPort, Output, TunnelKey } from '#flow/flow.ts';
import { ACTION_STRUCT, GROUP, LIMITS, MEMBER, sizeOf } from '#flow/layout.ts';
import { GRACE_MS, Groups } from './groups.ts';
import type { Maps } from './maps.ts';

const options = { seed: Number(process.env['SEED'] ?? 1), numRuns: 300 };
const empty = (): Maps => {
  const slots = LIMITS.SCRATCH_SLOTS + LIMITS.REWRITE_SLOTS;
  const memory = {
    actions: new ArrayBuffer(slots * sizeOf(ACTION_STRUCT)),
    groups: new ArrayBuffer(LIMITS.GROUPS_MAX * sizeOf(GROUP)),
    members: new ArrayBuffer(LIMITS.MEMBERS_MAX * sizeOf(MEMBER)),
  };
  return { memory, slots: 0 } as unknown as Maps;
};
const port = (n: number): Output => ({ port: n as DpPort });
const ports = (first: number, count: number): Output[] =>
  Array.from({ length: count }, (_, i) => port(first + i));
const text = (outputs: readonly Output[]): string[] =>
  outputs.map((each) => JSON.stringify(each)).sort();

test('groups in use never share members and keep their outputs', () => {
  const step = fc.record({ take: fc.boolean(), set: fc.nat(9), wait: fc.nat(GRACE_MS) });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      let now = 1000;
      const groups = new Groups(empty(), () => now);
      const held: { id: number; outputs: Output[] }[] = [];
      for (const { take, set, wait } of steps) {
        now += wait;
        const outputs = ports(set * 7 + 1, (set % 5) + 2);
        if (take) {
          const id = groups.acquire(outputs);
          assert.ok(id !== undefined);
          held.push({ id, outputs });
        } else {
          const last = held.splice(set % Math.max(1, held.length), 1)[0];
          if (last !== undefined) groups.release(last.id);
        }
        for (const each of held)
          assert.deepEqual(text(groups.outputsOf(each.id)), text(each.outputs));
      }
    }),
    options,
  );
});

test('equal outputs share a group; local ones come before tunnels', () => {
  const groups = new Groups(empty(), () => 0);
  const tunnel: Output = { key: 5 as TunnelKey, remote: 7 as DpPeer };
  const id = groups.acquire([tunnel, port(1)]);
  assert.ok(id !== undefined);
  assert.equal(groups.acquire([port(1), tunnel]), id);
  assert.deepEqual(groups.outputsOf(id), [port(1), tunnel]);
});

test('outputs with other tags are another group; those with one tag stand together', () => {
  const groups = new Groups(empty(), () => 0);
  const tunnel = { key: 5 as TunnelKey, remote: 7 as DpPeer };
  const at = (n: number, vlan: number): Output => ({ port: n as DpPort, vlan });
  const outputs = [{ ...tunnel, vlan: 9 }, at(1, 0), at(2, 9), tunnel, port(3), at(4, 8), at(5, 9)];
  const id = groups.acquire(outputs);
  assert.ok(id !== undefined);
  assert.deepEqual(groups.outputsOf(id), [
    ...[port(3), at(4, 8), at(2, 9), at(5, 9), at(1, 0)],
    ...[tunnel, { ...tunnel, vlan: 9 }],
  ]);
  assert.equal(groups.acquire(outputs.toReversed()), id);
  assert.notEqual(groups.acquire([...outputs.slice(0, -1), at(5, 8)]), id);
  assert.notEqual(groups.acquire([...outputs.slice(0, -1), port(5)]), id);
});

test('of several choices the one that is there is taken, else the first is made', () => {
  const groups = new Groups(empty(), () => 0);
  const [some, others] = [ports(1, 2), ports(5, 3)];
  const id = groups.acquire(others);
  assert.equal(groups.acquireOneOf([some, others]), id);
  const first = groups.acquireOneOf([some, ports(9, 2)]);
  assert.deepEqual(groups.outputsOf(first ?? -1), some);
});

test('a full table refuses and counts; what is released can be had after the grace', () => {
  let now = 0;
  const groups = new Groups(empty(), () => now);
  const size = LIMITS.GROUP_MEMBERS_MAX;
  const fit = LIMITS.MEMBERS_MAX / size;
  const ids = Array.from({ length: fit }, (_, i) => groups.acquire(ports(i + 1, size)));
  assert.ok(ids.every((id) => id !== undefined));
  assert.equal(groups.acquire(ports(5000, 2)), undefined);
  assert.equal(groups.refused, 1);
  groups.release(ids[0] ?? -1);
  assert.equal(groups.acquire(ports(5000, 2)), undefined, 'a program may still be reading it');
  now = GRACE_MS;
  assert.notEqual(groups.acquire(ports(5000, 2)), undefined);
  assert.equal(groups.acquire(ports(1, size + 1)), undefined, 'more than a group can have');
});

const withDscp = (n: number, dscp: number): Output => ({ port: n as DpPort, rewrite: { dscp } });

test('what outputs rewrite is part of what a group is, and is read back', () => {
  const groups = new Groups(empty(), () => 0);
  const outputs = [withDscp(1, 5), withDscp(2, 5), port(3)];
  const id = groups.acquire(outputs);
  assert.ok(id !== undefined);
  assert.equal(groups.acquire(outputs.toReversed()), id);
  assert.notEqual(groups.acquire([withDscp(1, 6), withDscp(2, 5), port(3)]), id);
  assert.deepEqual(text(groups.outputsOf(id)), text(outputs));
});

test('slots of rewrites have an end, go with their group, and are found again', () => {
  let now = 0;
  const maps = empty();
  const groups = new Groups(maps, () => now);
  const some = (dscp: number): Output[] =>
    Array.from({ length: 256 }, (_, i) => withDscp(i + 1, dscp));
  const ids = Array.from({ length: LIMITS.REWRITE_SLOTS / 256 }, (_, i) => groups.acquire(some(i)));
  assert.ok(ids.every((id) => id !== undefined));
  const more = [port(1), withDscp(2, 63)];
  assert.equal(groups.acquire(more), undefined);
  assert.deepEqual([groups.refused, groups.rewrites.refused], [1, 1]);
  assert.notEqual(groups.acquire(ports(7, 2)), undefined, 'one without has room');

  const next = new Groups(maps, () => now);
  for (const id of ids) next.adopt(id ?? -1);
  for (const [i, id] of ids.entries())
    assert.deepEqual(text(next.outputsOf(id ?? -1)), text(some(i)));
  assert.equal(next.acquire(more), undefined, 'those that were found are taken');
  next.release(ids[3] ?? -1);
  assert.equal(next.acquire(more), undefined, 'a copy may still be on its way');
  now = GRACE_MS;
  const id = next.acquire(more);
  assert.ok(id !== undefined);
  assert.deepEqual(text(next.outputsOf(id)), text(more));
});
