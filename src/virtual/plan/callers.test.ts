/** Who may change what: hosts their locations, tenants what is theirs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { KindName, StoredObject } from '../kind.ts';
import type { Operation } from '../plan.ts';
import {
  asHost,
  create,
  GHOST,
  OPERATOR,
  remove,
  tenant,
  update,
  World,
  type Fields,
} from './world.fixture.ts';

test('locations: from the host that carries the port only, one key while the host stays', () => {
  const world = new World();
  world.run([
    create('host', { name: 'h1' }),
    create('host', { name: 'h2' }),
    create('bridge', { name: 'b0' }),
    create('port', { name: 'p', bridge: 'b0', host: 'h1', interface: 'tap0' }),
    create('port', { name: 'q', bridge: 'b0', host: 'h2', interface: 'tap0' }),
  ]);
  const idOf = (kind: KindName, name: string): string => world.topology.named(kind, name)[0] ?? '';
  const [p, q, h1, h2] = [
    idOf('port', 'p'),
    idOf('port', 'q'),
    idOf('host', 'h1'),
    idOf('host', 'h2'),
  ];
  const here = asHost(h1);
  const up = (port: string, body: Fields): Operation => update('location', port, body);
  const [first] = world.run([up(p, { interface: 'tap0' })], here);
  assert.deepEqual(first, {
    id: p,
    port: p,
    host: h1,
    interface: 'tap0',
    up: true,
    tunnelKey: 1,
    revision: 0,
  });
  const again = world.plan([up(p, { interface: 'tap0' })], here);
  assert(again.ok && again.rows.length === 0, 'nothing changed');
  const created = world.plan([create('location', { port: 'p', interface: 'tap0' })], here);
  assert(created.ok && created.rows.length === 0, 'create is the same');
  world.run([update('port', 'p', { interface: 'tap9' })]);
  assert.equal(
    world.refused(409, up(p, { interface: 'tap0' }), here),
    'interface: must be tap9, which port p is bound to',
  );
  const [moved] = world.run([up(p, { interface: 'tap9' })], here);
  assert.equal(moved?.['tunnelKey'], 1, 'another interface, the same key');

  assert.equal(
    world.refused(403, up(q, { interface: 'tap0' }), here),
    `: port ${q} is not bound to this host`,
  );
  assert.equal(world.refused(404, up('q', { interface: 'tap0' }), here), ': no port is named "q"');
  assert.equal(
    world.refused(404, up(GHOST, { interface: 'tap0' }), here),
    `: no port has the id ${GHOST}`,
  );
  assert.equal(world.refused(400, up(p, {}), here), 'interface: is required');
  assert.equal(world.refused(400, create('location', {}), here), 'port: is required');
  assert.equal(
    world.refused(
      400,
      up(p, { interface: 'tap9', host: h2, tunnelKey: 7, port: q, speed: 1 }),
      here,
    ),
    [
      'port: is given by the server',
      'host: is given by the server',
      'tunnelKey: is given by the server',
      'speed: is not a field of a location',
    ].join('\n'),
  );
  assert.equal(
    world.refused(412, update('location', p, { interface: 'tap9' }, 1), here),
    `: is at revision ${world.topology.get('location', p)?.revision}, not 1`,
  );
  const ends = ': a location lasts until its port is bound elsewhere or deleted';
  assert.equal(world.refused(403, remove('location', p), here), ends);
  for (const caller of [OPERATOR, tenant('acme')])
    assert.equal(
      world.refused(403, up(p, { interface: 'tap9' }), caller),
      ': locations are written by hosts',
    );
  assert.equal(
    world.refused(403, update('port', p, {}), here),
    ': a host may write only its own locations and blocks of ports',
  );

  world.run([update('port', 'p', { host: 'h2', interface: 'tap1' })]);
  assert.equal(world.topology.get('location', p), undefined, 'bound elsewhere');
  const [there] = world.run([up(p, { interface: 'tap1' })], asHost(h2));
  assert.equal(there?.['tunnelKey'], 2);
  world.run([
    update('port', 'p', { host: null, interface: null }),
    update('port', 'p', { host: 'h2', interface: 'tap1' }),
  ]);
  assert.notEqual(world.topology.get('location', p), undefined, 'the same binding in the end');
  world.run([update('port', 'p', { host: null, interface: null })]);
  assert.equal(world.topology.get('location', p), undefined, 'unbound');
});

test('tenants: see and write only what is theirs, and never where it runs', () => {
  const world = new World();
  const acme = tenant('acme');
  world.run([
    create('host', { name: 'h1' }),
    create('bridge', { name: 'theirs', tenant: 'other' }),
  ]);
  const theirs = world.topology.named('bridge', 'theirs')[0] ?? '';
  const mine = world.create('bridge', { name: 'mine' }, acme);
  assert.equal(mine.tenant, 'acme');
  const port = world.create('port', { name: 'p', bridge: 'mine' }, acme);
  assert.equal(port.tenant, 'acme');
  assert.equal(
    world.refused(403, create('bridge', { name: 'x', tenant: 'other' }), acme),
    'tenant: must be your own tenant, "acme"',
  );
  assert.equal(
    world.refused(400, create('port', { name: 'p', bridge: 'theirs' }), acme),
    'bridge: no bridge is named "theirs"',
  );
  assert.equal(
    world.refused(404, remove('bridge', theirs), acme),
    `: no bridge has the id ${theirs}`,
  );
  assert.equal(
    world.refused(404, update('bridge', 'theirs', {}), acme),
    ': no bridge is named "theirs"',
  );
  assert.equal(
    world.refused(403, create('host', { name: 'h2' }), acme),
    ': only an operator may write hosts',
  );
  assert.equal(
    world.refused(403, update('port', 'p', { host: 'h1', interface: 'tap0' }), acme),
    'host: can be set by an operator only\ninterface: can be set by an operator only',
  );
  world.run([update('port', 'p', { host: 'h1', interface: 'tap0' })]);
  const bound = world.topology.get('port', port.id) as StoredObject & Fields;
  world.run([update('port', 'p', { host: bound['host'], interface: 'tap0', hairpin: true })], acme);
  assert.equal(
    world.refused(403, update('port', 'p', { host: null, interface: null }), acme).split('\n')
      .length,
    2,
  );
  world.create('bridge', { name: 'mine' });
  world.run([update('bridge', 'mine', { adminStateUp: false })], acme);
  assert.match(world.refused(409, update('bridge', 'mine', {})), /^: 2 bridges are named "mine"/);
});

test("a tenant's router takes no address of the bridge that an operator linked it to", () => {
  const world = new World();
  const acme = tenant('acme');
  world.run([
    create('bridge', { name: 'public' }),
    create('port', { name: 'up', bridge: 'public' }),
    create('router', { name: 'r', tenant: 'acme' }),
    create('port', { name: 'out', router: 'r', networks: ['203.0.113.5/24'], peer: 'up' }),
  ]);
  const why = 'can be set by an operator only: the bridge is of another tenant';
  const gateway = { networks: ['203.0.113.1/24'], mac: '02:00:00:00:00:01' };
  assert.equal(
    world.refused(403, update('port', 'out', gateway), acme),
    `mac: ${why}\nnetworks: ${why}`,
  );
  assert.equal(world.refused(403, update('port', 'out', { mac: null }), acme), `mac: ${why}`);
  world.run([update('port', 'out', { networks: ['203.0.113.5/24'], mtu: 1400 })], acme);
  world.run([update('port', 'out', { networks: ['203.0.113.6/24'] })]);
  world.run([update('port', 'out', { peer: null }), update('port', 'out', gateway)], acme);
  world.create('bridge', { name: 'own' }, acme);
  world.create('port', { name: 'end', bridge: 'own', peer: 'out' }, acme);
  world.run([update('port', 'out', { networks: ['203.0.113.2/24'] })], acme);
});
