/** Routes in the topology: what an edit costs in tags, and what follows from a port that goes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip } from '#net/ip.ts';
import { parsePrefix } from '#net/prefix.ts';
import type { RowChange } from './change.ts';
import { ip, macOf, Network } from './network.fixture.ts';
import { IPS } from './packet.arbitrary.ts';
import * as tags from './tags.ts';
import { changesOf, PORT_IDS, ROUTER_IDS, topologies, topologyOf } from './topology.arbitrary.ts';
import type { Topology } from './topology.ts';

const seed = Number(process.env['SEED'] ?? 1);

/** What routers answer, by the tag that a walk which asked would hold. */
function routesOf(topology: Topology): Map<tags.Tag, unknown> {
  const all = new Map<tags.Tag, unknown>();
  for (const id of ROUTER_IDS)
    for (const dst of IPS) {
      const found = IPS.map((src) => topology.router(id)?.routes(dst, () => src));
      all.set(tags.destinationTag(id, dst), found);
    }
  for (const id of ROUTER_IDS) {
    const router = topology.router(id);
    all.set(tags.routerTag(id), router && [router.adminStateUp, router.networkKey]);
    all.set(tags.routerPortsTag(id), router && [...router.ports].sort());
  }
  for (const id of PORT_IDS) {
    const view = topology.port(id);
    all.set(tags.portTag(id), view && { ...view, name: '' });
  }
  return all;
}
function assertNamed(
  before: Map<tags.Tag, unknown>,
  topology: Topology,
  named: readonly tags.Tag[],
) {
  for (const [held, now] of routesOf(topology)) {
    if (named.some((tag) => tags.covers(tag, held))) continue;
    // A router that comes or goes is named itself; its answers go with it.
    const router = tags.destinationOf(held)?.router ?? held.split('/')[1] ?? '';
    if (named.includes(`router/${router}` as tags.Tag)) continue;
    assert.deepEqual(now, before.get(held), held);
  }
}

test('whatever routers and ports answer differently after a change, or a reset, is named', () => {
  fc.assert(
    fc.property(topologies, changesOf, (topology, change) => {
      const before = routesOf(topology);
      const other = topologyOf(topology.objects());
      const rows = change(topology);
      assertNamed(before, topology, topology.apply({ revision: 2, rows }));
      const reset = other.reset(2, topology.objects());
      assert(reset !== 'all');
      assertNamed(before, other, reset);
      assert.deepEqual(routesOf(other), routesOf(topology));
    }),
    { seed, numRuns: 1_500 },
  );
});

const MANY = 10_000;
const destination = (i: number): string => `100.${64 + (i >> 8)}.${i & 255}.0/24`;
function manyRoutes(): Network {
  const net = new Network().router('r0').routerPort('up', 'r0', 1, '192.0.2.1/24').locate('up');
  const rows = Array.from({ length: MANY }, (_, i) =>
    net.row('route', `n${i}`, {
      router: net.routerId('r0'),
      destination: destination(i),
      type: 'port',
      port: net.port('up'),
      gateway: '192.0.2.2',
      weight: 100,
    }),
  );
  net.topology.apply({ revision: net.topology.revision + 1, rows });
  return net;
}
const first = (net: Network, dst: string): string | undefined =>
  net.topology.router(net.routerId('r0'))?.routes(ip(dst), (): Ip => assert.fail())[0]?.name;

test('an edit of one of 10,000 routes names its destination and nothing else', () => {
  const net = manyRoutes();
  const prefix = parsePrefix(destination(4_711)) ?? assert.fail();
  const tag = tags.routesTag(net.routerId('r0'), prefix);
  net.put('route', 'n4711', { gateway: '192.0.2.3' });
  assert.deepEqual(net.changed, [tag]);
  net.put('route', 'n4711', { weight: 7 });
  assert.deepEqual(net.changed, [tag]);
  net.put('route', 'n4711', { destination: '203.0.113.0/24' });
  const moved = parsePrefix('203.0.113.0/24') ?? assert.fail();
  assert.deepEqual(
    [...net.changed].sort(),
    [tag, tags.routesTag(net.routerId('r0'), moved)].sort(),
  );
  net.remove('route', 'n4711');
  assert.deepEqual(net.changed, [tags.routesTag(net.routerId('r0'), moved)]);
  assert.equal(first(net, '100.82.103.1'), undefined);
  assert.equal(first(net, '100.82.104.1'), 'n4712');
});

test('a port with many routes that goes or comes names all routes of its router', () => {
  const net = manyRoutes();
  const all = tags.routesTag(net.routerId('r0'));
  assert.equal(first(net, '100.64.5.1'), 'n5');
  const located = (put: RowChange['put']): readonly tags.Tag[] => {
    const id = net.port('up');
    const rows: RowChange[] = [
      put === undefined ? { kind: 'location', id } : { kind: 'location', id, put },
    ];
    return net.topology.apply({ revision: net.topology.revision + 1, rows });
  };
  const row = net.topology.get('location', net.port('up'));
  assert.deepEqual(located(undefined), [tags.locationTag(net.port('up')), all]);
  assert.equal(first(net, '100.64.5.1'), undefined);
  assert.deepEqual(located(row), [tags.locationTag(net.port('up')), all]);
  assert.equal(first(net, '100.64.5.1'), 'n5');
  net.put('port', 'up', { adminStateUp: false });
  assert.deepEqual([...net.changed].sort(), [tags.portTag(net.port('up')), all].sort());
});

test('up to a limit, changed destinations are named one by one', () => {
  const net = manyRoutes();
  const rows = (n: number): RowChange[] =>
    Array.from({ length: n }, (_, i) => net.row('route', `n${i}`, { weight: 50 + n }));
  const apply = (n: number): tags.Tag[] =>
    net.topology.apply({ revision: net.topology.revision + 1, rows: rows(n) });
  assert.equal(apply(tags.ROUTES_TAGS_MAX).length, tags.ROUTES_TAGS_MAX);
  assert.deepEqual(apply(tags.ROUTES_TAGS_MAX + 1), [tags.routesTag(net.routerId('r0'))]);
});

test('what follows from a port: its networks, its addresses, and when they change', () => {
  const net = new Network().router('r0').routerPort('a', 'r0', 1, '10.0.1.1/24', 'fd00::1/64');
  const kinds = (dst: string): string[] =>
    (net.topology.router(net.routerId('r0'))?.routes(ip(dst), () => ip(dst)) ?? []).map(
      ({ kind }) => kind,
    );
  assert.deepEqual(kinds('10.0.1.1'), [], 'not up anywhere');
  net.locate('a');
  assert.deepEqual(kinds('10.0.1.1'), ['local']);
  assert.deepEqual(kinds('10.0.1.7'), ['connected']);
  assert.deepEqual(kinds('fd00::7'), ['connected']);
  net.put('port', 'a', { networks: ['10.0.2.1/32', '10.0.3.1/24', '10.0.3.2/24'] });
  assert.deepEqual(kinds('10.0.1.7'), []);
  assert.deepEqual(kinds('10.0.2.1'), ['local'], 'an address without a network');
  assert.deepEqual(kinds('10.0.3.7'), ['connected'], 'one network, once');
  net.put('port', 'a', { mac: macOf(2) });
  const linkLocal = (n: number): string => `fe80::ff:fe00:${n}`;
  assert.deepEqual([kinds(linkLocal(1)), kinds(linkLocal(2))], [[], ['local']]);
  net.put('port', 'a', { mtu: 1400 });
  assert.deepEqual(net.changed, [tags.portTag(net.port('a'))], 'no route is another');
});
