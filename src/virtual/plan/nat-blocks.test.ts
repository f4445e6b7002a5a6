/** Blocks of public ports: who gets which, what is refused, and that no port has two owners. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ObjectOf } from '../kinds.ts';
import { NAT_BLOCK_PORTS } from '../nat-block/nat-block.ts';
import { asHost, create, remove, tenant, update, World } from './world.fixture.ts';

const ADDRESS = '192.0.2.1';

/** Hosts that each carry a workload behind a router, whose rule translates to `targets`. */
function withHosts(count: number, targets: readonly string[] = [ADDRESS]) {
  const world = new World();
  const router = world.create('router', { name: 'r' }).id;
  world.create('bridge', { name: 'b' });
  world.create('port', { name: 'r-b', router: 'r', networks: ['10.0.0.1/24'] });
  world.create('port', { name: 'b-r', bridge: 'b', peer: 'r-b' });
  world.create('chain', { name: 'out' });
  world.create('rule', { chain: 'out', action: 'snat', targets, name: 'snat' });
  world.run([update('router', 'r', { outboundFilter: 'out' })]);
  const hosts = Array.from({ length: count }, (_, i) => {
    const { id } = world.create('host', { name: `h${i}` });
    world.create('port', { name: `vm${i}`, bridge: 'b', host: id, interface: `vm${i}` });
    return id;
  });
  const ask = (fields: object = {}) =>
    create('nat-block', { router, address: ADDRESS, ports: 64, ...fields });
  return { world, router, hosts, ask };
}
const blocks = (world: World): ObjectOf<'nat-block'>[] =>
  [...world.topology.list('nat-block')] as ObjectOf<'nat-block'>[];

test('a host gets ports that nobody has, in whole blocks, and not more than is fair', () => {
  const { world, hosts, ask } = withHosts(2);
  const [a, b] = hosts;
  world.run([ask()], asHost(a!));
  world.run([ask({ ports: 65 })], asHost(b!));
  world.run([ask({ ports: 16_384 })], asHost(a!));
  const got = blocks(world).map(({ first, last, host }) => [first, last, host === a]);
  assert.deepEqual(got.slice(0, 2), [
    [1_024, 1_087, true],
    [1_088, 1_215, false],
  ]);
  const [first, last] = got[2] as unknown as [number, number];
  assert.equal(first, 1_216);
  assert.ok(last - first + 1 < 65_536 / 4 && last - first + 1 > 65_536 / 5, 'a quarter at most');
});

test('whoever asks for what no rule has, or what is none of its own, gets nothing', () => {
  const { world, hosts, ask } = withHosts(1, [`${ADDRESS}:2048-2111`]);
  const host = asHost(hosts[0]!);
  assert.match(world.refused(409, ask({ address: '192.0.2.2' }), host), /^address: is no target/);
  assert.match(world.refused(400, ask({ ports: 0 }), host), /^ports: must be a whole number/);
  assert.match(world.refused(400, ask({ first: 9, last: 8 }), host), /^last: must not be less/);
  assert.match(world.refused(400, ask({ router: 'r' }), host), /^router: must be the id/);
  assert.match(world.refused(400, ask({ host: 'x' }), host), /^host: is not a field/);
  assert.match(world.refused(403, ask(), tenant('acme')), /written by hosts/);
  world.run([ask()], host);
  assert.match(world.refused(409, ask(), host), /^address: has no port from 1024 to 65535 left/);
  const stranger = world.create('host', { name: 'stranger' }).id;
  assert.match(world.refused(403, ask(), asHost(stranger)), /^router: is none that packets/);
});

test('the address itself, for protocols without ports, has one owner', () => {
  const { world, hosts, ask } = withHosts(2);
  world.run([ask({ first: 0, last: 0 })], asHost(hosts[0]!));
  assert.deepEqual(
    blocks(world).map(({ first, last }) => [first, last]),
    [[0, NAT_BLOCK_PORTS - 1]],
  );
  const text = world.refused(409, ask({ first: 0, last: 0 }), asHost(hosts[1]!));
  assert.match(text, /^address: is used by another host/);
});

test('a host gives back what is its own, and a host that is removed owns nothing', () => {
  const { world, hosts, ask } = withHosts(2);
  const [a, b] = hosts;
  const [block] = world.run([ask()], asHost(a!));
  assert.match(world.refused(404, remove('nat-block', block!.id), asHost(b!)), /no nat block/);
  world.run([remove('nat-block', block!.id)], asHost(a!));
  assert.deepEqual(blocks(world), []);
  world.run([ask()], asHost(a!));
  world.run([remove('port', 'vm0'), remove('host', 'h0')]);
  assert.deepEqual(blocks(world), []);
});

test('no port has two owners, whoever asks for how many and gives what back', () => {
  const step = fc.record({
    host: fc.nat(3),
    ports: fc.integer({ min: 1, max: 9_000 }),
    back: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const { world, hosts, ask } = withHosts(4);
      for (const { host, ports, back } of steps) {
        const own = blocks(world).filter((block) => block.host === hosts[host]);
        if (back && own.length > 0)
          world.run([remove('nat-block', own[ports % own.length]!.id)], asHost(hosts[host]!));
        else {
          const planned = world.plan([ask({ ports })], asHost(hosts[host]!));
          if (planned.ok) world.run([ask({ ports })], asHost(hosts[host]!));
        }
        const all = blocks(world).toSorted((x, y) => x.first - y.first);
        for (const [i, { first, last }] of all.entries()) {
          assert.ok(first % NAT_BLOCK_PORTS === 0 && (last + 1) % NAT_BLOCK_PORTS === 0);
          assert.ok(i === 0 || all[i - 1]!.last < first, `${first} is owned twice`);
        }
      }
    }),
    { seed: 1, numRuns: Number(process.env['RUNS'] ?? 60) },
  );
});

test('rules that translate are for routers; what would lose addresses is refused', () => {
  const { world } = withHosts(1);
  world.create('bridge', { name: 'b2' });
  const used = /translates addresses, which is done at routers/;
  assert.match(world.refused(409, update('bridge', 'b2', { inboundFilter: 'out' })), used);
  world.create('chain', { name: 'plain' });
  world.run([update('bridge', 'b2', { inboundFilter: 'plain' })]);
  const rule = (fields: object) => create('rule', { chain: 'plain', ...fields });
  assert.match(world.refused(409, rule({ action: 'jump', jump: 'out' })), used);
  assert.match(world.refused(409, rule({ action: 'reverse-snat' })), used);
  const one = { chain: 'out', action: 'snat', static: true, targets: ['192.0.2.7'] };
  assert.match(world.refused(400, create('rule', one)), /^source: is required, and not inverted/);
  assert.match(
    world.refused(400, create('rule', { ...one, source: '10.0.0.0/24' })),
    /^targets: must be of the family and the length of source/,
  );
  assert.match(
    world.refused(400, create('rule', { chain: 'out', action: 'snat' })),
    /^targets: is required/,
  );
  const range = { chain: 'out', action: 'dnat', targets: ['10.0.0.0/24'] };
  assert.match(world.refused(400, create('rule', range)), /^targets.0: is a prefix/);
  assert.match(
    world.refused(400, create('rule', { chain: 'out', action: 'drop', targets: ['10.0.0.1'] })),
    /^targets: has no meaning in a rule with action drop/,
  );
});
