/** Transactions: what they change, and word for word why they are refused. */
import assert from 'node:assert/strict';
import { KIND_NAMES } from './kind.ts';
import { test } from 'node:test';
import { TRANSACTION_ROWS_MAX, type Operation } from './plan.ts';
import { asHost, create, GHOST, remove, update, World, type Fields } from './plan/world.fixture.ts';

test('create: ids and keys are given, names are resolved, defaults filled in', () => {
  const world = new World();
  const objects = world.run([
    create('host', { name: 'h1' }),
    create('bridge', { name: 'b0', tenant: 'acme' }),
    create('port', {
      name: 'p0',
      bridge: 'b0',
      host: 'h1',
      interface: 'tap0',
      addresses: [{ mac: '02:AA:00:00:00:01', ip: 'FD00:0::1' }],
    }),
    create('tunnel-zone', { name: 'z', members: [{ host: 'h1', address: '192.0.2.1' }] }),
  ]);
  const [host, bridge, port, zone] = objects;
  assert.deepEqual(bridge, {
    id: bridge?.id,
    name: 'b0',
    tenant: 'acme',
    adminStateUp: true,
    floodKey: 0x800001,
    revision: 0,
  });
  assert.deepEqual(port, {
    id: port?.id,
    name: 'p0',
    tenant: 'acme',
    type: 'bridge',
    bridge: bridge?.id,
    adminStateUp: true,
    hairpin: false,
    host: host?.id,
    interface: 'tap0',
    addresses: [{ mac: '02:aa:00:00:00:01', ip: 'fd00::1' }],
    security: 'off',
    allowedAddresses: [],
    revision: 0,
  });
  assert.deepEqual(zone?.['members'], [{ host: host?.id, address: '192.0.2.1' }]);
  assert.equal(world.topology.port(port?.id as never)?.name, 'p0');
  const named = world.run([update('port', port?.id.toUpperCase() ?? '', { name: 'p1' })]);
  assert.equal(named[0]?.name, 'p1');
});

test('create: every fault of a body is named by field and rule', () => {
  const world = new World();
  world.create('bridge', { name: 'b0' });
  assert.equal(world.refused(400, create('bridge', {})), 'name: is required');
  assert.equal(
    world.refused(400, create('bridge', { name: '', adminStateUp: 'yes', tenant: '-' })),
    [
      'name: must not be empty',
      'name: must start with a letter, digit or _ and hold only letters, digits, _.:@- or inner spaces',
      'tenant: must start with a letter, digit or _ and hold only letters, digits, _.:@- or inner spaces',
      'adminStateUp: must be true or false',
    ].join('\n'),
  );
  assert.equal(
    world.refused(400, create('bridge', { name: 'b', colour: 1, ['__proto__x']: 2 })),
    'colour: is not a field of a bridge\n__proto__x: is not a field of a bridge',
  );
  const polluted = JSON.parse('{"name":"b","__proto__":{"adminStateUp":false}}') as Fields;
  assert.equal(
    world.refused(400, create('bridge', polluted)),
    '__proto__: is not a field of a bridge',
  );
  assert.equal(
    world.refused(400, create('bridge', { id: GHOST, floodKey: 5, revision: 2, name: 'b' })),
    ['id', 'floodKey', 'revision'].map((field) => `${field}: is given by the server`).join('\n'),
  );
  const port = (fields: Fields): Operation =>
    create('port', { name: 'p', bridge: 'b0', ...fields });
  assert.equal(world.refused(400, create('port', { name: 'p' })), 'bridge: is required');
  assert.equal(world.refused(400, port({ type: 'x' })), 'type: must be "bridge" or "router"');
  assert.equal(world.refused(400, port({ addresses: 5 })), 'addresses: must be a list');
  assert.equal(
    world.refused(400, port({ addresses: [{ mac: '01:00:00:00:00:01' }] })),
    'addresses.0.mac: must be a unicast MAC address',
  );
  assert.equal(
    world.refused(400, port({ addresses: [{ mac: '2:0', ip: '10.0.0.01', vlan: 3 }] })),
    [
      'addresses.0.mac: must be a MAC address such as 02:00:00:00:00:01',
      'addresses.0.ip: must be an IPv4 or IPv6 address',
      'addresses.0.vlan: is not a known field',
    ].join('\n'),
  );
  for (const ip of ['224.0.0.1', 'ff02::1', '::', '0.0.0.0', '255.255.255.255'])
    assert.equal(
      world.refused(400, port({ addresses: [{ mac: '02:00:00:00:00:01', ip }] })),
      'addresses.0.ip: must be a unicast address',
    );
  const many = Array.from({ length: 65 }, () => ({ mac: '02:00:00:00:00:01' }));
  assert.equal(
    world.refused(400, port({ addresses: many })),
    'addresses: must hold at most 64 addresses',
  );
  assert.equal(
    world.refused(400, port({ interface: 'a/b' })),
    'interface: must be an interface name of 1 to 15 ASCII characters without space, / or :',
  );
  assert.equal(
    world.refused(400, create('bridge', { name: 'x'.repeat(256) })),
    'name: must have at most 255 characters',
  );
  assert.equal(
    world.refused(400, create('tunnel-zone', { name: 'z', members: [{ host: 7, address: 'x' }] })),
    'members.0.host: must be a UUID\nmembers.0.address: must be an IPv4 or IPv6 address',
  );
});

test('operations themselves are checked: they come from outside', () => {
  const world = new World();
  const bad = (value: unknown): string => world.refused(400, [value as Operation]);
  assert.equal(bad(null), ': must be an object');
  assert.equal(bad({ op: 'drop' }), 'op: must be "create" or "update" or "delete"');
  assert.equal(
    bad({ op: 'create', kind: 'toString', body: {} }),
    `kind: must be one of ${KIND_NAMES.join(', ')}`,
  );
  assert.equal(bad({ op: 'update', kind: 'host', body: {} }), 'id: must be an id or a name');
  assert.equal(bad({ op: 'create', kind: 'host', body: [] }), 'body: must be an object');
  assert.equal(
    bad({ op: 'delete', kind: 'host', id: 'h', ifRevision: '1' }),
    'ifRevision: must be a number',
  );
});

test('references: unknown ids, unknown and ambiguous names', () => {
  const world = new World();
  const port = (bridge: unknown): Operation => create('port', { name: 'p', bridge });
  assert.equal(world.refused(400, port('nope')), 'bridge: no bridge is named "nope"');
  assert.equal(world.refused(400, port(GHOST)), `bridge: no bridge has the id ${GHOST}`);
  const [a, b] = world.run([
    create('bridge', { name: 'twin' }),
    create('bridge', { name: 'twin' }),
  ]);
  const twins = `2 bridges are named "twin": give one of the ids ${a?.id}, ${b?.id}`;
  assert.equal(world.refused(409, port('twin')), `bridge: ${twins}`);
  assert.equal(world.refused(409, remove('bridge', 'twin')), `: ${twins}`);
  assert.equal(world.refused(404, remove('bridge', 'none')), ': no bridge is named "none"');
  assert.equal(
    world.refused(404, update('tunnel-zone', GHOST, {})),
    `: no tunnel zone has the id ${GHOST}`,
  );
  assert.equal(
    world.refused(
      400,
      create('tunnel-zone', { name: 'z', members: [{ host: 'h9', address: '192.0.2.1' }] }),
    ),
    'members.0.host: no host is named "h9"',
  );
  world.run(Array.from({ length: 5 }, () => create('bridge', { name: 'twin' })));
  assert.match(world.refused(409, port('twin')), /^bridge: 7 bridges .*( \S+,){5} …$/);
});

test('update: merge patch; what cannot change; If-Match; no change is no row', () => {
  const world = new World();
  world.run([
    create('host', { name: 'h1' }),
    create('bridge', { name: 'b0' }),
    create('bridge', { name: 'b1' }),
  ]);
  const port = world.create('port', {
    name: 'p',
    bridge: 'b0',
    host: 'h1',
    interface: 'tap0',
    hairpin: true,
  });
  const [cleared] = world.run([
    update('port', 'p', { host: null, interface: null, hairpin: null }),
  ]);
  assert.deepEqual(
    [cleared?.['host'], cleared?.['interface'], cleared?.['hairpin']],
    [undefined, undefined, false],
  );
  assert.equal(
    world.refused(400, update('port', 'p', { bridge: 'b1', type: 'x', tenant: 't' })),
    ['bridge', 'type', 'tenant'].map((f) => `${f}: cannot change once the port exists`).join('\n'),
  );
  assert.equal(
    world.refused(400, update('bridge', 'b0', { floodKey: 1 })),
    'floodKey: is given by the server',
  );
  assert.equal(world.refused(400, update('bridge', 'b0', { name: null })), 'name: is required');
  const { revision } = world.topology.get('port', port.id) ?? assert.fail();
  assert.equal(
    world.refused(412, update('port', 'p', { name: 'q' }, revision - 1)),
    `: is at revision ${revision}, not ${revision - 1}`,
  );
  assert.equal(
    world.refused(412, { op: 'delete', kind: 'port', id: 'p', ifRevision: 99 }),
    `: is at revision ${revision}, not 99`,
  );
  const same = world.plan([
    update('port', 'p', { ...world.topology.get('port', port.id) }, revision),
  ]);
  assert(same.ok && same.rows.length === 0);
  assert.deepEqual(same.objects, [world.topology.get('port', port.id)]);
  const twice = world.plan([
    update('port', 'p', { name: 'q' }, revision),
    update('port', 'q', { name: 'r' }, revision),
  ]);
  assert(twice.ok && twice.rows.length === 1);
  assert.equal(
    world.refused(412, [create('bridge', { name: 'n' }), update('bridge', 'n', {}, 7)]),
    'operations.1: is at revision 0, not 7',
  );
});

test('a transaction sees its own operations, is all or nothing, and says which one failed', () => {
  const world = new World();
  world.create('bridge', { name: 'b0' });
  const renamed = world.plan([
    update('bridge', 'b0', { name: 'b9' }),
    create('port', { name: 'p', bridge: 'b9' }),
    remove('bridge', 'b9'),
  ]);
  assert(renamed.ok);
  assert.deepEqual(
    renamed.rows.map(({ kind, put }) => [kind, put]),
    [['bridge', undefined]],
  );
  assert.deepEqual(renamed.objects, [undefined, undefined, undefined]);
  assert.equal(
    world.refused(400, [
      create('bridge', { name: 'ok' }),
      create('port', { name: 'p', bridge: 'gone' }),
    ]),
    'operations.1.bridge: no bridge is named "gone"',
  );
  assert.equal(
    world.refused(400, [
      update('bridge', 'b0', { name: 'b9' }),
      create('port', { name: 'p', bridge: 'b0' }),
    ]),
    'operations.1.bridge: no bridge is named "b0"',
  );
});

test('rules across objects: on the final state, in both orders', () => {
  const world = new World();
  world.run([
    create('host', { name: 'h1' }),
    create('host', { name: 'h2' }),
    create('bridge', { name: 'b0' }),
  ]);
  const h1 = world.topology.named('host', 'h1')[0] ?? '';
  const seeds = [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }];
  const p = world.create('port', {
    name: 'p',
    bridge: 'b0',
    host: 'h1',
    interface: 'tap0',
    addresses: seeds,
  });
  assert.equal(
    world.refused(409, create('host', { name: 'h1' })),
    `name: is the name of host ${h1} already`,
  );
  const port = (fields: Fields): Operation =>
    create('port', { name: 'q', bridge: 'b0', ...fields });
  const half = 'must be given together with the other half of the binding (host and interface)';
  assert.equal(world.refused(400, port({ host: 'h1' })), `interface: ${half}`);
  assert.equal(world.refused(400, port({ interface: 'tap1' })), `host: ${half}`);
  assert.equal(
    world.refused(409, port({ host: 'h1', interface: 'tap0' })),
    `interface: is bound to port p (${p.id}) already`,
  );
  const taken = `is an address of port p (${p.id}) of this bridge already`;
  assert.equal(
    world.refused(409, port({ addresses: [{ mac: '02:00:00:00:00:02' }, ...seeds] })),
    `addresses.1.mac: ${taken}\naddresses.1.ip: ${taken}`,
  );
  const twice = [...seeds, { mac: '02:00:00:00:00:02', ip: '10.0.0.1' }];
  assert.equal(
    world.refused(400, [
      create('bridge', { name: 'b1' }),
      create('port', { name: 'q', bridge: 'b1', addresses: twice }),
    ]),
    'operations.1.addresses.1.ip: is given twice',
  );
  assert.equal(
    world.refused(409, port({ tenant: 'acme' })),
    'tenant: must be the tenant of the bridge',
  );
  // Seeds and an interface change hands within one transaction, the new owner first.
  world.run([
    port({ host: 'h1', interface: 'tap0', addresses: seeds }),
    update('port', 'p', { host: 'h2', addresses: [] }),
  ]);
  const zone = (members: Fields[]): Operation => create('tunnel-zone', { name: 'z', members });
  assert.equal(
    world.refused(
      400,
      zone([
        { host: 'h1', address: '192.0.2.1' },
        { host: 'h1', address: '192.0.2.1' },
      ]),
    ),
    'members.1.host: is a member twice\nmembers.1.address: is used by two members',
  );
  world.run([zone([])]);
  const z = world.topology.named('tunnel-zone', 'z')[0];
  assert.equal(world.refused(409, zone([])), `name: is the name of tunnel zone ${z} already`);
});

test('delete: bridges take their ports and locations along; bound hosts refuse; zones let go', () => {
  const world = new World();
  world.run([
    create('host', { name: 'h1' }),
    create('host', { name: 'h2' }),
    create('tunnel-zone', {
      name: 'z',
      members: [
        { host: 'h1', address: '192.0.2.1' },
        { host: 'h2', address: '192.0.2.2' },
      ],
    }),
    create('bridge', { name: 'b0' }),
    create('port', { name: 'p', bridge: 'b0', host: 'h1', interface: 'tap0' }),
    create('port', { name: 'q', bridge: 'b0', host: 'h1', interface: 'tap1' }),
  ]);
  const h1 = world.topology.named('host', 'h1')[0] ?? '';
  const p = world.topology.named('port', 'p')[0] ?? '';
  world.run([update('location', p, { interface: 'tap0' })], asHost(h1));
  assert.equal(
    world.refused(409, remove('host', 'h1')),
    `: cannot be deleted: it is the host of port p (${p}) and of 1 more`,
  );
  world.run([remove('port', 'q')]);
  assert.equal(
    world.refused(409, remove('host', 'h1')),
    `: cannot be deleted: it is the host of port p (${p})`,
  );
  world.run([remove('host', 'h2')]);
  const [zone] = world.topology.list('tunnel-zone');
  assert.deepEqual((zone as unknown as Fields)['members'], [{ host: h1, address: '192.0.2.1' }]);
  world.run([remove('bridge', 'b0'), remove('host', 'h1')]);
  assert.deepEqual(
    [...world.topology.objects()].map(({ kind }) => kind),
    ['tunnel-zone'],
  );
});

test('limits: operations and rows, cascades included', () => {
  const world = new World();
  const operations = Array.from({ length: TRANSACTION_ROWS_MAX + 1 }, (_, i) =>
    create('bridge', { name: `b${i}` }),
  );
  assert.equal(world.refused(413, operations), 'operations: has 126 operations; at most 125 fit');
  world.run(operations.slice(1));
  const ports = (count: number, first = 0): Operation[] =>
    Array.from({ length: count }, (_, i) =>
      create('port', { name: `p${first + i}`, bridge: 'b1' }),
    );
  world.run(ports(124));
  assert(world.plan([remove('bridge', 'b1')]).ok, 'exactly 125 rows');
  assert.equal(
    world.refused(413, [remove('bridge', 'b2'), remove('bridge', 'b1')]),
    'operations.1: changes more than 125 objects; do it in parts',
  );
  world.run(ports(1, 124));
  assert.equal(
    world.refused(413, remove('bridge', 'b1')),
    ': cannot be deleted in one step: more than 125 objects go with it; delete them in parts first',
  );
});

test('a name is never of the form of an id, and has no space at its end', () => {
  const world = new World();
  const uuid = '0195aaaa-0000-7000-8000-000000000001';
  assert.equal(
    world.refused(400, create('bridge', { name: uuid })),
    'name: must not look like an id',
  );
  assert.match(world.refused(400, create('bridge', { name: 'b ' })), /^name: must start with/);
  world.run([create('bridge', { name: 'b 0', tenant: uuid })]);
});

test('a tunnel address is one that a host can own', () => {
  const world = new World();
  world.run([create('host', { name: 'h' })]);
  for (const address of ['224.0.0.1', '0.0.0.0', '255.255.255.255'])
    assert.equal(
      world.refused(400, create('tunnel-zone', { name: 'z', members: [{ host: 'h', address }] })),
      'members.0.address: must be a unicast address',
    );
});
