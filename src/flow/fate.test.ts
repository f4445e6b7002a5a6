/** Two fates are compared by what a user can see of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { Step } from '#virtual/outcome.ts';
import { compare, fateOf, GONE, routeOf, type Fated } from './fate.ts';
import type { Copy, Placed } from './placed.ts';

const copy = (port: string, host: string, more: object = {}): Copy => ({
  port: port as PortId,
  host: host as HostId,
  ...more,
});
const step = (did: Step['did'], id: string, detail?: string): Step => ({
  at: { kind: 'port', id: id as PortId },
  did,
  ...(detail !== undefined && { detail }),
});
const forward: Fated = {
  verdict: { kind: 'forward', to: [{ port: 'p' as PortId }] },
  rewrites: {},
  guards: { decTtl: 1, mtu: undefined },
  steps: [
    step('enter', 'a'),
    step('route', 'r', '10.0.0.0/8 port via 10.0.0.1 out'),
    step('leave', 'p'),
  ],
};
const to = (...copies: Copy[]): Placed => ({ copies });
const base = fateOf(forward, to(copy('p', 'h1'), copy('q', 'h2')));
const other = (change: Partial<Fated>, placed = to(copy('q', 'h2'), copy('p', 'h1'))) =>
  compare(base, fateOf({ ...forward, ...change }, placed));

test('the order of copies, names of routes and how many there are make no difference', () => {
  const steps = [
    step('enter', 'a'),
    step('learn', 'b', '02:00:00:00:00:01'),
    step('route', 'r', '10.0.0.0/8 port via 10.0.0.1 renamed, one of 2'),
    step('leave', 'p'),
  ];
  assert.deepEqual(other({ steps }), { class: 'unchanged', changed: [] });
  assert.equal(routeOf('0.0.0.0/0 blackhole'), '0.0.0.0/0 blackhole');
});

test('who, where, as what, by which way: each is told by its name', () => {
  const { steps } = forward;
  assert.deepEqual(other({}, to(copy('p', 'h1'))).changed, ['recipients', 'hosts']);
  assert.deepEqual(other({}, to(copy('p', 'h1'), copy('q', 'h1'))).changed, ['hosts']);
  assert.deepEqual(other({}, to(copy('p', 'h1', { vlan: 5 }), copy('q', 'h2'))).changed, [
    'recipients',
  ]);
  assert.deepEqual(other({ guards: { decTtl: 1, mtu: 1400 } }).changed, ['rewrites']);
  assert.deepEqual(other({ steps: steps.slice(1) }).changed, ['route']);
});

test('arriving or not: dropped by the network, by the host, waiting, gone, answered', () => {
  const nowhere = to();
  const drop = fateOf({ ...forward, verdict: { kind: 'drop', reason: 'no-route' } }, nowhere);
  const unplaced = fateOf(forward, { drop: 'not-located', copies: [] });
  const waits = fateOf(
    { ...forward, verdict: { kind: 'wait', port: 'p' as PortId, ip: 1 as never } },
    nowhere,
  );
  const answered = fateOf({ ...forward, verdict: { kind: 'answer' } }, nowhere);
  assert.deepEqual(
    [drop.reason, unplaced.reason, waits.effect],
    ['no-route', 'not-located', 'waits'],
  );
  for (const lost of [drop, unplaced, waits, GONE]) {
    assert.equal(compare(base, lost).class, 'broken');
    assert.equal(compare(lost, base).class, 'opened');
    assert.equal(compare(lost, drop).class, 'unchanged');
  }
  assert.deepEqual(compare(base, answered).class, 'moved');
});
