/** Routers, links and routes: what a transaction makes of them, and why it refuses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KindName } from '../kind.ts';
import type { Operation } from '../plan.ts';
import { routeKind, ROUTES_PER_ROUTER_MAX } from '../route/route.ts';
import { create, GHOST, remove, tenant, update, World } from './world.fixture.ts';
import type { Fields } from './world.fixture.ts';

const idOf = (world: World, kind: KindName, name: string): string =>
  world.topology.named(kind, name)[0] ?? assert.fail(`no ${kind} ${name}`);
const port = (world: World, name: string): Fields =>
  world.topology.get('port', idOf(world, 'port', name)) as unknown as Fields;
/** Names of the ports that the two ends name as their peers. */
const peerOf = (world: World, name: string): unknown => {
  const peer = port(world, name)['peer'] as string | undefined;
  return peer === undefined ? undefined : world.topology.get('port', peer)?.name;
};

/** Bridges b0 and b1, a router r0, and a port or two of each. */
function world(): World {
  const made = new World();
  made.run([
    create('host', { name: 'h1' }),
    create('bridge', { name: 'b0' }),
    create('bridge', { name: 'b1' }),
    create('router', { name: 'r0' }),
    create('port', { name: 'b0-r', bridge: 'b0' }),
    create('port', { name: 'b0-x', bridge: 'b0' }),
    create('port', { name: 'b1-r', bridge: 'b1' }),
    create('port', { name: 'r0-a', router: 'r0', networks: ['10.0.1.1/24', 'FD00:1::1/64'] }),
    create('port', { name: 'r0-b', router: 'r0', networks: ['10.0.2.1/24'] }),
  ]);
  return made;
}

test('a router gets its number as a network from the count that bridges share', () => {
  const made = new World();
  const objects = made.run([
    create('bridge', { name: 'b0' }),
    create('router', { name: 'r0', tenant: 'acme' }),
    create('bridge', { name: 'b1' }),
  ]);
  assert.deepEqual(
    objects.map((object) => object['floodKey'] ?? object['networkKey']),
    [0x800001, 0x800002, 0x800003],
  );
  assert.deepEqual(objects[1], {
    id: objects[1]?.id,
    name: 'r0',
    tenant: 'acme',
    adminStateUp: true,
    networkKey: 0x800002,
    revision: 0,
  });
  assert.equal(
    made.refused(400, update('router', 'r0', { networkKey: 7, tenant: 'other' })),
    'networkKey: is given by the server\ntenant: cannot change once the router exists',
  );
  assert.equal(made.refused(400, create('router', {})), 'name: is required');
});

test('a port is of a bridge or of a router, and has the fields of that alone', () => {
  const made = world();
  const a = port(made, 'r0-a');
  assert.deepEqual(a, {
    id: a['id'],
    name: 'r0-a',
    type: 'router',
    router: idOf(made, 'router', 'r0'),
    adminStateUp: true,
    mac: `6e:${String(a['id']).slice(0, 8).match(/../g)?.join(':')}:00`,
    networks: ['10.0.1.1/24', 'fd00:1::1/64'],
    revision: 1,
  });
  assert.deepEqual(Object.keys(port(made, 'b0-r')).sort(), [
    'addresses',
    'adminStateUp',
    'allowedAddresses',
    'bridge',
    'hairpin',
    'id',
    'name',
    'revision',
    'security',
    'type',
  ]);
  const cases: readonly (readonly [Fields, string])[] = [
    [{}, 'bridge: is required'],
    [{ type: 'bridge' }, 'bridge: is required'],
    [{ type: 'router' }, 'router: is required'],
    [{ type: null, bridge: 'b0', mtu: 1500 }, 'mtu: is not a field of a bridge port'],
    [{ bridge: 'b0', router: 'r0' }, 'bridge: is not a field of a router port'],
    [{ type: 'bridge', router: 'r0' }, 'router: is not a field of a bridge port'],
    [{ type: 'router', bridge: 'b0' }, 'bridge: is not a field of a router port'],
    [
      { router: 'r0', vlan: 5, hairpin: true, addresses: [] },
      ['vlan', 'hairpin', 'addresses']
        .map((f) => `${f}: is not a field of a router port`)
        .join('\n'),
    ],
    [
      { bridge: 'b0', mac: '02:00:00:00:00:01', networks: [], mtu: 1500 },
      ['mac', 'networks', 'mtu'].map((f) => `${f}: is not a field of a bridge port`).join('\n'),
    ],
    [{ type: 'switch', bridge: 'b0' }, 'type: must be "bridge" or "router"'],
    [{ type: 'constructor', bridge: 'b0' }, 'type: must be "bridge" or "router"'],
    [{ router: 'r9' }, 'router: no router is named "r9"'],
    [{ router: 'r0', mtu: 67 }, 'mtu: must be at least 68'],
    [
      { router: 'r0', mtu: 1279, networks: ['fd00:9::1/64'] },
      'mtu: must be at least 1280 where there is IPv6',
    ],
    [{ router: 'r0', mtu: 65_536 }, 'mtu: must be at most 65535'],
    [{ router: 'r0', mac: '01:00:00:00:00:01' }, 'mac: must be a unicast MAC address'],
    [{ bridge: 'b0', vlan: 0 }, 'vlan: must be at least 1'],
    [{ bridge: 'b0', vlan: 4095 }, 'vlan: must be at most 4094'],
  ];
  for (const [fields, expected] of cases)
    assert.equal(made.refused(400, create('port', { name: 'p', ...fields })), expected);
  assert.equal(
    made.refused(400, update('port', 'r0-a', { hairpin: true })),
    'hairpin: is not a field of a router port',
  );
  assert.equal(
    made.refused(400, update('port', 'b0-r', { type: 'router', router: 'r0' })),
    ['type', 'router'].map((f) => `${f}: cannot change once the port exists`).join('\n'),
  );
  assert.equal(
    made.refused(400, update('port', 'r0-a', { router: null })),
    'router: cannot change once the port exists',
  );
});

test('a MAC that is taken away is made again, the same', () => {
  const made = world();
  const before = port(made, 'r0-a')['mac'];
  made.run([update('port', 'r0-a', { mac: '02:AA:00:00:00:01' })]);
  assert.equal(port(made, 'r0-a')['mac'], '02:aa:00:00:00:01');
  made.run([update('port', 'r0-a', { mac: null, mtu: 1400 })]);
  assert.equal(port(made, 'r0-a')['mac'], before);
  made.run([update('port', 'r0-a', { mtu: null, networks: null })]);
  assert.deepEqual([port(made, 'r0-a')['mtu'], port(made, 'r0-a')['networks']], [undefined, []]);
});

test('a link is set, moved and cleared at either end, and shows at both', () => {
  const made = world();
  made.run([update('port', 'b0-r', { peer: 'r0-a' })]);
  assert.deepEqual([peerOf(made, 'b0-r'), peerOf(made, 'r0-a')], ['r0-a', 'b0-r']);
  const same = made.plan([
    update('port', 'r0-a', { peer: 'b0-r' }),
    update('port', 'b0-r', { peer: 'r0-a' }),
  ]);
  assert(same.ok && same.rows.length === 0, 'nothing changes');
  made.run([update('port', 'r0-a', { peer: 'b1-r' })]);
  assert.deepEqual(
    ['b0-r', 'r0-a', 'b1-r'].map((name) => peerOf(made, name)),
    [undefined, 'b1-r', 'r0-a'],
    'moved',
  );
  made.run([update('port', 'b1-r', { peer: null })]);
  assert.deepEqual([peerOf(made, 'b1-r'), peerOf(made, 'r0-a')], [undefined, undefined]);
  made.run([create('port', { name: 'new', bridge: 'b0', peer: 'r0-a' })]);
  assert.equal(peerOf(made, 'r0-a'), 'new', 'set by the one that is created');
  made.run([remove('port', 'new')]);
  assert.equal(peerOf(made, 'r0-a'), undefined, 'the other end is gone');
  made.run([update('port', 'r0-a', { peer: 'b0-r' }), update('port', 'r0-b', { peer: 'b1-r' })]);
  made.run([update('port', 'r0-a', { peer: 'b1-r' }), update('port', 'r0-b', { peer: 'b0-r' })]);
  assert.deepEqual([peerOf(made, 'b0-r'), peerOf(made, 'b1-r')], ['r0-b', 'r0-a'], 'swapped');
});

test('a link is refused to oneself, the same device, a taken or a bound port', () => {
  const made = world();
  made.run([
    update('port', 'b0-r', { peer: 'r0-a' }),
    create('port', { name: 'bound', bridge: 'b1', host: 'h1', interface: 'e0' }),
  ]);
  const to = (peer: string, from = 'b1-r'): Operation => update('port', from, { peer });
  assert.equal(made.refused(400, to('b1-r')), 'peer: is the port itself');
  assert.equal(made.refused(409, to('r0-b', 'r0-a')), 'peer: is a port of the same device');
  assert.equal(made.refused(409, to('bound', 'b0-x')), 'peer: port bound is bound to an interface');
  assert.equal(made.refused(409, to('r0-a')), 'peer: port r0-a is linked to another port already');
  const [first, second] = made.refused(409, [to('r0-b', 'b0-x'), to('r0-b', 'b1-r')]).split('\n');
  assert.deepEqual(
    [first, second],
    ['operations.1.peer: port r0-b is linked to another port already', undefined],
  );
  assert.equal(made.refused(400, to('none')), 'peer: no port is named "none"');
  assert.equal(made.refused(400, to(GHOST)), `peer: no port has the id ${GHOST}`);
  const linked = 'host: cannot go with a peer: a port is either bound or linked';
  const bind = { host: 'h1', interface: 'e1' };
  assert.equal(made.refused(400, update('port', 'b0-r', bind)), linked);
  const both = update('port', 'b1-r', { ...bind, peer: 'r0-b' });
  assert.equal(made.refused(400, both).split('\n')[0], linked);
  made.run([update('port', 'b0-r', { ...bind, peer: null })]);
  assert.equal(peerOf(made, 'r0-a'), undefined, 'unlinked and bound at once');
});

test('a VLAN leg: at one end of a link between two bridges, each VLAN once', () => {
  const made = world();
  made.run([
    update('port', 'b0-x', { vlan: 10 }),
    create('port', { name: 'b0-y', bridge: 'b0' }),
    create('port', { name: 'b1-y', bridge: 'b1' }),
  ]);
  assert.match(
    made.refused(409, update('port', 'b0-y', { vlan: 10 })),
    /^vlan: is that of port b0-x \([0-9-]+\) already$/,
  );
  const nowhere = 'vlan: has a meaning only on a port linked to another bridge';
  assert.equal(made.refused(409, update('port', 'b0-x', { peer: 'r0-a' })), nowhere);
  assert.equal(made.refused(409, update('port', 'r0-a', { peer: 'b0-x' })), nowhere);
  assert.equal(made.refused(400, update('port', 'b0-x', { host: 'h1', interface: 'e0' })), nowhere);
  made.run([update('port', 'b0-x', { peer: 'b1-r' })]);
  assert.equal(
    made.refused(409, update('port', 'b1-r', { vlan: 10 })),
    'vlan: is given at the other end of the link already',
  );
  made.run([update('port', 'b0-x', { vlan: null }), update('port', 'b1-r', { vlan: 10 })]);
});

test('addresses of a router: once in it, and once in the bridge that it is linked to', () => {
  const made = world();
  const set = (networks: string[], name = 'r0-b'): Operation => update('port', name, { networks });
  assert.equal(
    made.refused(400, set(['10.0.9.1/24', '10.0.9.1/25'])),
    'networks.1: is given twice',
  );
  assert.equal(
    made.refused(409, set(['10.0.9.1/24', '10.0.1.1/30'])),
    `networks.1: is an address of port r0-a (${idOf(made, 'port', 'r0-a')}) of this router already`,
  );
  const form = 'must be an address with a length such as 10.0.0.1/24 or fd00::1/64';
  for (const [text, why] of [
    ['10.0.9.1', form],
    ['10.0.9.1/33', form],
    ['10.0.9.0/24', 'must be the address of one host in its prefix'],
    ['10.0.9.255/24', 'must be the address of one host in its prefix'],
    ['224.0.0.1/24', 'must be the address of one host in its prefix'],
    ['10.0.9.1/0', 'must be the address of one host in its prefix'],
  ] as const)
    assert.equal(made.refused(400, set([text])), `networks.0: ${why}`);
  made.run([set(['10.0.9.0/31'])]);
  const many = Array.from({ length: 65 }, (_, i) => `10.1.${i}.1/24`);
  assert.equal(made.refused(400, set(many)), 'networks: must hold at most 64 addresses');

  made.run([
    update('port', 'b0-x', { addresses: [{ mac: '02:00:00:00:00:01', ip: '10.0.1.9' }] }),
    update('port', 'r0-a', { peer: 'b0-r' }),
  ]);
  const x = `is an address of port b0-x (${idOf(made, 'port', 'b0-x')}) of the bridge it is linked to`;
  assert.equal(made.refused(409, set(['10.0.1.9/24'], 'r0-a')), `networks.0: ${x}`);
  assert.equal(
    made.refused(409, update('port', 'r0-a', { mac: '02:00:00:00:00:01' })),
    `mac: ${x}`,
  );
  const seed = (mac: unknown, ip: string): Operation =>
    update('port', 'b0-x', { addresses: [{ mac, ip }] });
  const r = `is an address of port b0-r (${idOf(made, 'port', 'b0-r')}) of this bridge already`;
  assert.equal(made.refused(409, seed('02:00:00:00:00:02', '10.0.1.1')), `addresses.0.ip: ${r}`);
  assert.equal(
    made.refused(409, seed(port(made, 'r0-a')['mac'], '10.0.1.7')),
    `addresses.0.mac: ${r}`,
  );
  made.run([update('port', 'r0-a', { peer: null }), set(['10.0.1.9/24'], 'r0-a')]);
  assert.equal(
    made.refused(409, update('port', 'r0-a', { peer: 'b0-r' })),
    [
      `networks.0: ${x}`,
      `peer: has an address of port b0-x (${idOf(made, 'port', 'b0-x')}) of this bridge already`,
    ].join('\n'),
  );
  made.run([set(['10.0.1.1/24'], 'r0-a'), update('port', 'r0-a', { peer: 'b0-r' })]);
  assert.equal(
    made.refused(409, create('port', { name: 'b0-z', bridge: 'b0', peer: 'r0-a' })),
    'peer: port r0-a is linked to another port already',
    'what it does not get is not held against it',
  );
});

test('a network stays while a gateway is in it', () => {
  const made = world();
  const to = (gateway: string) =>
    create('route', { router: 'r0', destination: '10.9.0.0/16', port: 'r0-b', gateway });
  made.run([to('10.0.2.254'), to('10.0.2.253')]);
  made.run([update('port', 'r0-b', { networks: ['10.0.2.9/24', '10.7.0.1/16'], mtu: 1400 })]);
  assert.equal(
    made.refused(409, update('port', 'r0-b', { networks: ['10.7.0.1/16'] })),
    ['10.0.2.254', '10.0.2.253']
      .map((ip) => `networks: ${ip} is the gateway of a route to 10.9.0.0/16, and in none of them`)
      .join('\n'),
  );
  assert.equal(
    made.refused(409, update('port', 'r0-b', { networks: ['10.0.2.254/24'] })),
    'networks: 10.0.2.254 is the gateway of a route to 10.9.0.0/16',
  );
  const ids = made.topology.referrers('route', 'port', idOf(made, 'port', 'r0-b'));
  made.run([
    update('port', 'r0-b', { networks: ['10.7.0.1/16'] }),
    ...ids.map((id) => update('route', id, { gateway: '10.7.0.2' })),
  ]);
});

test('routes: their type, family, port and gateway', () => {
  const made = world();
  const route = (fields: Fields): Operation =>
    create('route', { router: 'r0', destination: '10.9.0.0/16', ...fields });
  const [plain] = made.run([route({ port: 'r0-b', gateway: '10.0.2.254' })]);
  assert.deepEqual(plain, {
    id: plain?.id,
    router: idOf(made, 'router', 'r0'),
    destination: '10.9.0.0/16',
    type: 'port',
    port: idOf(made, 'port', 'r0-b'),
    gateway: '10.0.2.254',
    weight: 100,
    revision: 0,
  });
  for (const type of ['blackhole', 'reject', 'local']) made.run([route({ type })]);
  made.run([
    route({ destination: '::/0', port: 'r0-a', gateway: 'fe80::1', source: 'fd00::/8' }),
    route({ destination: '0.0.0.0/0', port: 'r0-a' }),
  ]);
  const family = 'must be of the same family as the destination';
  const other = create('port', { name: 'r1-a', router: 'r1', networks: ['10.0.3.1/24'] });
  made.run([create('router', { name: 'r1' }), other]);
  const cases: readonly (readonly [400 | 409, Fields, string])[] = [
    [400, {}, 'port: is required for a route of type port'],
    [400, { router: undefined, port: 'r0-a' }, 'router: is required'],
    [400, { destination: undefined, port: 'r0-a' }, 'destination: is required'],
    [
      400,
      { destination: '10.9.0.1/16', port: 'r0-a' },
      'destination: has bits behind its length: did you mean 10.9.0.0/16?',
    ],
    [
      400,
      { destination: 'home', port: 'r0-a' },
      'destination: must be a prefix such as 10.0.0.0/8 or fd00::/64',
    ],
    [
      400,
      { type: 'way', port: 'r0-a' },
      'type: must be "port" or "blackhole" or "reject" or "local"',
    ],
    [
      400,
      { type: 'reject', port: 'r0-a', gateway: '10.0.1.2' },
      ['port', 'gateway'].map((f) => `${f}: has no meaning in a route of type reject`).join('\n'),
    ],
    [400, { port: 'r0-a', source: '::/0' }, `source: ${family}`],
    [400, { port: 'r0-a', gateway: 'fe80::1' }, `gateway: ${family}`],
    [400, { port: 'r0-a', gateway: '224.0.0.1' }, 'gateway: must be a unicast address'],
    [400, { port: 'r0-a', weight: 65_536 }, 'weight: must be at most 65535'],
    [409, { port: 'r0-a', gateway: '10.0.2.2' }, 'gateway: is in no network of port r0-a'],
    [409, { port: 'r0-a', gateway: '10.0.1.1' }, 'gateway: is the address of port r0-a itself'],
    [409, { port: 'r1-a' }, 'port: must be a port of the router of the route'],
    [409, { port: 'b0-r' }, 'port: must be a port of the router of the route'],
    [409, { port: 'r0-a', tenant: 'acme' }, 'tenant: must be the tenant of the router'],
  ];
  for (const [status, fields, expected] of cases)
    assert.match(made.refused(status, route(fields)), new RegExp(`^${escape(expected)}`));
  const [named] = made.run([route({ name: 'up', port: 'r0-b' })]);
  assert.equal(
    made.refused(400, update('route', 'up', { type: 'blackhole' })),
    'port: has no meaning in a route of type blackhole',
  );
  made.run([update('route', named?.id ?? '', { type: 'blackhole', port: null })]);
  assert.equal(
    made.refused(400, update('route', 'up', { router: 'r1' })),
    'router: cannot change once the route exists',
  );
});
const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');

test('a router has so many routes and no more', () => {
  const made = world();
  const [route] = made.run([
    create('route', { router: 'r0', destination: '::/0', type: 'blackhole' }),
  ]);
  const check = (count: number) =>
    routeKind.check(route ?? assert.fail(), {
      get: (kind, id) => made.topology.get(kind, id),
      list: (kind) => made.topology.list(kind),
      referrers: () => Array.from({ length: count }, (_, i) => String(i)),
    });
  assert.deepEqual(check(ROUTES_PER_ROUTER_MAX), []);
  assert.deepEqual(check(ROUTES_PER_ROUTER_MAX + 1), [
    { path: 'router', message: 'has 65536 routes, and cannot have more' },
  ]);
});

test('a router takes its ports, their links and its routes along; a port its routes', () => {
  const made = world();
  made.run([
    update('port', 'r0-a', { peer: 'b0-r' }),
    create('route', { name: 'by-a', router: 'r0', destination: '10.9.0.0/16', port: 'r0-a' }),
    create('route', { name: 'none', router: 'r0', destination: '10.8.0.0/16', type: 'reject' }),
    create('route', { name: 'by-b', router: 'r0', destination: '10.7.0.0/16', port: 'r0-b' }),
  ]);
  const names = (kind: KindName): (string | undefined)[] =>
    [...made.topology.list(kind)].map(({ name }) => name).sort();
  made.run([remove('port', 'r0-b')]);
  assert.deepEqual(names('route'), ['by-a', 'none']);
  const planned = made.plan([remove('router', 'r0')]);
  assert(planned.ok);
  assert.deepEqual(
    planned.rows.map(({ kind, put }) => `${kind} ${put === undefined ? 'goes' : 'stays'}`).sort(),
    ['port goes', 'port stays', 'route goes', 'route goes', 'router goes'],
  );
  made.run([remove('router', 'r0')]);
  assert.deepEqual([names('router'), names('route')], [[], []]);
  assert.deepEqual(names('port'), ['b0-r', 'b0-x', 'b1-r']);
  assert.equal(peerOf(made, 'b0-r'), undefined);
  made.run([update('port', 'b0-x', { peer: 'b1-r' }), remove('bridge', 'b1')]);
  assert.equal(peerOf(made, 'b0-x'), undefined);
});

test('what belongs to a router has its tenant', () => {
  const made = new World();
  made.run([create('router', { name: 'r0', tenant: 'acme' })]);
  const [by, to] = made.run([
    create('port', { name: 'p', router: 'r0' }),
    create('route', { router: 'r0', destination: '::/0', type: 'blackhole' }),
  ]);
  assert.deepEqual([by?.tenant, to?.tenant], ['acme', 'acme']);
  assert.equal(
    made.refused(409, create('port', { name: 'q', router: 'r0', tenant: 'evil' })),
    'tenant: must be the tenant of the router',
  );
});

test('tenants: neither router, port nor route of another can be named, nor is it told of', () => {
  const made = new World();
  const acme = tenant('acme');
  made.run([
    create('router', { name: 'theirs', tenant: 'evil' }),
    create('port', { name: 'their-port', router: 'theirs' }),
    create('bridge', { name: 'common' }),
    create('port', { name: 'common-a', bridge: 'common' }),
    create('port', {
      name: 'secret',
      bridge: 'common',
      addresses: [{ mac: '02:00:00:00:00:05', ip: '10.0.0.5' }],
    }),
  ]);
  made.run([create('router', { name: 'mine' }), create('bridge', { name: 'b' })], acme);
  made.run(
    [
      create('port', { name: 'p', router: 'mine', networks: ['10.0.0.1/24'] }),
      create('port', { name: 'q', bridge: 'b' }),
    ],
    acme,
  );
  for (const name of ['their-port', idOf(made, 'port', 'their-port')])
    assert.match(
      made.refused(400, update('port', 'p', { peer: name }), acme),
      /^peer: no port (is named|has the id) /,
    );
  assert.equal(
    made.refused(400, create('port', { name: 'x', router: 'theirs' }), acme),
    'router: no router is named "theirs"',
  );
  const route = { router: 'mine', destination: '10.1.0.0/16', port: 'their-port' };
  assert.equal(
    made.refused(400, create('route', route), acme),
    'port: no port is named "their-port"',
  );
  assert.equal(
    made.refused(403, create('router', { name: 'x', tenant: 'evil' }), acme),
    'tenant: must be your own tenant, "acme"',
  );
  made.run([update('port', 'p', { peer: 'q' })], acme);
  assert.equal(peerOf(made, 'q'), 'p');

  // An operator may join what belongs to different tenants.
  made.run([update('port', 'p', { peer: 'common-a' })]);
  const probe = update('port', 'p', { networks: ['10.0.0.5/24'] });
  const told = (who: string): string =>
    `networks.0: is an address of ${who} of the bridge it is linked to`;
  assert.equal(made.refused(409, probe), told('a port of another tenant'));
  assert.match(made.refused(403, probe, acme), /^networks: can be set by an operator only/);
  const seen = port(made, 'p');
  const { revision: _, ...body } = seen;
  const again = made.plan([update('port', 'p', { ...body, mtu: 1400 })], acme);
  assert(again.ok, 'what is there may be repeated, though its owner may not name it');
  made.run([update('port', 'p', { peer: null })], acme);
  assert.equal(peerOf(made, 'common-a'), undefined);
});
