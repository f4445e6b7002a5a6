/** Checks of members as the server plans them: rows, service ports, reports, who may write. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostId } from '../ids.ts';
import { Balanced } from '../member-health/balanced.fixture.ts';
import { freeNetworks, serviceNetworks } from '../member-health/service-port.ts';
import { CHECK_ROWS_MAX, mayReport, planReports } from './member-health.ts';
import { planRestore } from './restore.ts';
import { madeMac } from './objects.ts';
import { asHost, create, remove, tenant, update } from './world.fixture.ts';

function swept(): Balanced {
  const world = new Balanced();
  world.sweep(world.living(world.h1, world.h2));
  return world;
}
const reportsContext = {
  now: 5_000,
  newId: () => '',
  nextFloodKey: () => 0,
  nextTunnelKey: () => 0,
};

test('each host that checks for a router has a port of it, with networks of its own', () => {
  const world = swept();
  const router = world.topology.named('router', 'r0')[0] ?? '';
  const services = world.services();
  assert.equal(services.length, 2);
  assert.deepEqual(
    services.map(({ networks }) => networks),
    [
      ['169.254.1.1/30', 'fd6d:6e68::101/126'],
      ['169.254.1.5/30', 'fd6d:6e68::105/126'],
    ],
  );
  for (const port of services) {
    const { id, name, host = '', mac, adminStateUp, type } = port;
    assert.equal(name, `health-${router.slice(0, 8)}-${host.slice(0, 8)}`);
    assert.equal(port.interface, `mnhc${id.slice(0, 8)}`);
    assert.deepEqual([mac, adminStateUp, type], [madeMac(id), true, 'router']);
  }
  assert.deepEqual(new Set(services.map(({ host }) => host)), new Set([world.h1, world.h2]));
});

test('a service port goes with the last member that is checked by it', () => {
  const world = swept();
  world.sweep(world.living(world.h2));
  assert.deepEqual(
    world.services().map(({ host }) => host),
    [world.h2],
  );
  world.run([update('pool', 'pool0', { healthMonitor: null })]);
  world.sweep(world.living(world.h2));
  assert.deepEqual([world.services(), [...world.topology.list('member-health')]], [[], []]);
});

test('a service port goes with its host and its router, and keeps neither', () => {
  const world = swept();
  world.run([remove('port', 'vm0-11'), remove('host', 'h1')]);
  assert.deepEqual(
    world.services().map(({ host }) => host),
    [world.h2],
  );
  assert.equal(world.health('m0 10.0.0.11')?.host, undefined);
  world.sweep(world.living(world.h2));
  assert.deepEqual(world.checkers(), ['h2', 'h2', 'h2']);
  world.run([remove('load-balancer', 'lb0'), remove('router', 'r0')]);
  assert.deepEqual(world.services(), []);
});

test('a rollback takes a service port away with its host or its router', () => {
  const world = swept();
  const [service] = world.services();
  assert.ok(service !== undefined);
  const { id, host = '', interface: at = '' } = service;
  world.run([update('location', id, { interface: at })], asHost(host));
  const bound = [...world.topology.portsOnHost(host as HostId)].filter((port) => port !== id);
  const restores = [
    ...bound.map((port) => ({ kind: 'port' as const, id: port, object: undefined })),
    { kind: 'host' as const, id: host, object: undefined },
  ];
  const planned = planRestore(world.topology, restores, {
    ...reportsContext,
    caller: { role: 'operator' },
  });
  assert.ok(planned.ok, JSON.stringify(planned));
  const gone = planned.rows.filter(({ put }) => put === undefined).map((row) => row.kind);
  assert.deepEqual(new Set(gone), new Set(['port', 'location', 'host', 'member-health']));
});

test('callers neither make, change, delete nor name a service port; its host locates it', () => {
  const world = swept();
  const [service] = world.services();
  assert.ok(service !== undefined);
  const { id, host = '', interface: at = '' } = service;
  const fields = { router: 'r0', service: true };
  assert.match(world.refused(400, create('port', { name: 'x', ...fields })), /given by the server/);
  assert.match(world.refused(403, update('port', id, { adminStateUp: false })), /by the server/);
  assert.match(world.refused(403, remove('port', id)), /made and removed by the server/);
  const route = { router: 'r0', destination: '10.9.0.0/16', port: id };
  assert.match(world.refused(400, create('route', route)), /^port: is a port of the server/);
  world.run([update('location', id, { interface: at })], asHost(host));
  assert.equal((world.topology.get('location', id) as { host?: string }).host, host);
});

test('networks are free of all addresses of the router, and skip what is somebody else’s', () => {
  const world = swept();
  const router = world.topology.named('router', 'r0')[0] ?? '';
  world.create('port', { name: 'odd', router: 'r0', networks: ['169.254.1.10/24'] });
  assert.deepEqual(freeNetworks(world.topology, router), ['169.254.1.13/30', 'fd6d:6e68::10d/126']);
  assert.deepEqual(
    [0, 169 * 64, 255 * 64, -1, 16_384].map(serviceNetworks),
    Array(5).fill(undefined),
  );
  assert.equal(serviceNetworks(254 * 64 + 63)?.[0], '169.254.254.253/30');
});

test('what is too much for one transaction is done by the next ones', () => {
  const world = new Balanced();
  for (let n = 0; n < 250; n++)
    world.create('pool-member', { pool: 'pool0', address: `10.1.0.${n + 1}`, port: 80 });
  const rows: number[] = [];
  do rows.push(world.sweep(world.living(world.h1, world.h2)));
  while (rows.at(-1) !== 0);
  assert.ok(Math.max(...rows) <= CHECK_ROWS_MAX + 1, rows.join());
  assert.equal([...world.topology.list('member-health')].length, 253);
  assert.equal(world.services().length, 2);
});

test('reports change what they are about, if they say anything new; status outlives its host', () => {
  const world = swept();
  const member = world.member('m0 10.0.0.11');
  const foreign = world.member('m0 10.0.0.12');
  const report = (status: 'up' | 'down', reason = 'refused', now = reportsContext.now) => {
    const reports = [member, foreign].map((each) => ({ member: each, status, reason }));
    const found = planReports(world.topology, reports, { ...reportsContext, now, host: world.h1 });
    assert.ok(found.ok);
    world.topology.apply({ revision: world.topology.revision + 1, rows: found.rows });
    return found.rows.map(({ id }) => id);
  };
  assert.deepEqual(
    [member, foreign].map((each) => mayReport(world.topology, world.h1, each)),
    [true, false],
  );
  assert.deepEqual(report('down'), [member]);
  assert.deepEqual(report('down'), []);
  assert.deepEqual(report('down', 'silent', 6_000), [member]);
  world.sweep(world.living(world.h2), 9_000);
  const { host, status, reason, since } = world.health('m0 10.0.0.11') ?? {};
  assert.deepEqual([host, status, reason, since], [world.h2, 'down', 'silent', 5_000]);
});

test('nobody writes the health of members by a transaction', () => {
  const world = swept();
  const member = world.member('m0 10.0.0.11');
  for (const caller of [undefined, tenant('acme'), asHost(world.h1)]) {
    const change = update('member-health', member, { status: 'up' });
    assert.match(world.refused(403, change, caller), /is written by the server/);
    assert.match(world.refused(403, remove('member-health', member), caller), /by the server/);
  }
});

test('a host gets public ports of an address of a router that has a load balancer', () => {
  const world = new Balanced();
  const [router = ''] = world.topology.named('router', 'r0');
  const ask = (address: string) => create('nat-block', { router, address, ports: 64 });
  const [block] = world.run([ask('10.0.0.1')], asHost(world.h1));
  assert.deepEqual([block?.['first'], block?.['last']], [1_024, 1_087]);
  assert.match(world.refused(409, ask('10.0.0.2'), asHost(world.h1)), /^address: is no target/);
  world.run([remove('load-balancer', 'lb0')]);
  assert.match(world.refused(409, ask('10.0.0.1'), asHost(world.h1)), /^address: is no target/);
});
