/** Rules of chains and groups across objects: what a plan lets pass, and what it refuses why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { JUMP_DEPTH_MAX, RULES_PER_WALK_MAX } from '../chain/jumps.ts';
import type { ObjectOf } from '../kinds.ts';
import type { Topology } from '../topology.ts';
import { create, OPERATOR, remove, tenant, update, World } from './world.fixture.ts';

const ACME = tenant('acme');
const RIVAL = tenant('rival');

/** Chains by these names. */
function withChains(...names: readonly string[]): World {
  const world = new World();
  for (const name of names) world.create('chain', { name });
  return world;
}
const jump = (chain: string, to: string) =>
  create('rule', { chain, action: 'jump', jump: to, name: `${chain}-${to}` });
const positions = (world: World, chain: string): unknown => {
  const [id] = world.topology.named('chain', chain);
  return world.topology.chain(id as never)?.rules.map(({ name, position }) => [name, position]);
};

test('a rule without a position goes behind the last one, with room between', () => {
  const world = withChains('web');
  const rule = (name: string, fields = {}) =>
    create('rule', { chain: 'web', name, action: 'drop', ...fields });
  world.run([rule('a'), rule('b', { position: 130 }), rule('c')]);
  assert.deepEqual(positions(world, 'web'), [
    ['a', 100],
    ['b', 130],
    ['c', 230],
  ]);
  world.run([rule('last', { position: 1_000_000 })]);
  assert.equal(world.refused(400, rule('behind')), 'position: must be at most 1000000');
});

test('two rules of a chain have two positions; one transaction may change both', () => {
  const world = withChains('web');
  const rule = (name: string, position: number) =>
    create('rule', { chain: 'web', name, action: 'drop', position });
  const [a, b] = world.run([rule('a', 1), rule('b', 2)]);
  assert.equal(
    world.refused(409, update('rule', 'b', { position: 1 })),
    `position: is that of rule a (${a?.id}) of the chain already`,
  );
  assert.match(world.refused(409, rule('c', 2)), new RegExp(`rule b \\(${b?.id}\\)`));
  world.run([update('rule', 'a', { position: 2 }), update('rule', 'b', { position: 1 })]);
  assert.deepEqual(positions(world, 'web'), [
    ['b', 1],
    ['a', 2],
  ]);
});

test('jumps in a circle are refused, however long, and whichever rule comes last', () => {
  const world = withChains('a', 'b', 'c');
  assert.equal(world.refused(400, jump('a', 'a')), 'jump: is the chain of the rule itself');
  world.run([jump('a', 'b'), jump('b', 'c')]);
  const back = 'jump: leads back to the chain of the rule: jumps must not go in a circle';
  assert.equal(world.refused(409, jump('c', 'a')), back);
  assert.equal(world.refused(409, jump('c', 'b')), back);
  world.run([jump('a', 'c')]);
  assert.match(
    world.refused(400, [remove('rule', 'a-b'), update('rule', 'b-c', { jump: 'b' })]),
    /itself/,
  );
  world.run([remove('rule', 'b-c'), remove('rule', 'a-b'), jump('c', 'b')]);
  assert.match(world.refused(409, [jump('b', 'a')]), /circle/);
});

test('random jumps: what is accepted has no circle, and a circle is all that is refused', () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const jumps = fc.array(fc.tuple(fc.constantFrom(...names), fc.constantFrom(...names)), {
    maxLength: 10,
  });
  const leads = (edges: ReadonlySet<string>, from: string, to: string): boolean =>
    from === to || names.some((next) => edges.has(`${from}${next}`) && leads(edges, next, to));
  fc.assert(
    fc.property(jumps, (edges) => {
      const world = withChains(...names);
      const accepted = new Set<string>();
      for (const [from, to] of edges) {
        const body = { chain: from, action: 'jump', jump: to };
        const { ok } = world.plan([create('rule', body)]);
        assert.equal(ok, !leads(accepted, to, from), `${from}-${to}`);
        if (!ok) continue;
        world.create('rule', body);
        accepted.add(`${from}${to}`);
      }
    }),
    { numRuns: 200 },
  );
});

test('jumps lead through a bounded number of chains, and a packet tries a bounded number of rules', () => {
  const names = Array.from({ length: JUMP_DEPTH_MAX + 1 }, (_, i) => `c${i}`);
  const world = withChains(...names);
  const pairs = names.slice(1).map((to, i) => [names[i] ?? '', to] as const);
  // The one in the middle comes last: neither of its ends is deep by itself.
  const [middle, ...others] = [...pairs.slice(16), ...pairs.slice(0, 16)];
  assert(middle !== undefined);
  world.run(others.map(([from, to]) => jump(from, to)));
  const tooDeep = `jump: makes jumps deeper than ${JUMP_DEPTH_MAX} chains`;
  assert.equal(world.refused(409, jump(...middle)), tooDeep);
  world.run([remove('rule', 'c31-c32'), jump(...middle)]);
  // Each chain asks the next one twice: doubled 15 times that is more than anybody should try.
  const again = pairs
    .slice(0, 16)
    .map(([from, to]) => create('rule', { chain: from, action: 'jump', jump: to }));
  assert.equal(
    world
      .refused(409, again)
      .split('\n')
      .at(-1)
      ?.replace(/^operations\.\d+\./, ''),
    `jump: makes a packet try more than ${RULES_PER_WALK_MAX} rules, jumps included`,
  );
});

test('a chain in use is not deleted; one out of use takes its rules along', () => {
  const world = withChains('web', 'sub');
  world.create('bridge', { name: 'b', inboundFilter: 'web' });
  const { id } = world.topology.list('bridge')[Symbol.iterator]().next().value ?? { id: '' };
  world.run([jump('web', 'sub')]);
  assert.equal(
    world.refused(409, remove('chain', 'web')),
    `: cannot be deleted: it is the inboundFilter of bridge b (${id})`,
  );
  assert.match(world.refused(409, remove('chain', 'sub')), /it is the jump of rule web-sub/);
  world.run([update('bridge', 'b', { inboundFilter: null }), remove('chain', 'web')]);
  assert.deepEqual([...world.topology.list('rule')], []);
  world.run([remove('chain', 'sub')]);
});

test('what a rule names is of its own tenant, and so are filters, or of none', () => {
  const world = new World();
  for (const name of ['acme', 'rival']) {
    const caller = tenant(name);
    world.create('chain', { name: `${name}-chain` }, caller);
    world.create('address-group', { name: `${name}-group` }, caller);
    world.create('bridge', { name: `${name}-net` }, caller);
    world.create('port', { name: `${name}-port`, bridge: `${name}-net` }, caller);
  }
  world.create('chain', { name: 'policy' });
  const rule = { chain: 'acme-chain', action: 'drop' };
  assert.equal(world.create('rule', rule).tenant, 'acme');
  const foreign = [
    [{ sourceGroup: 'rival-group' }, 'sourceGroup'],
    [{ inPorts: ['acme-port', 'rival-port'] }, 'inPorts.1'],
    [{ traversedBridge: 'rival-net' }, 'traversedBridge'],
    [{ action: 'jump', jump: 'rival-chain' }, 'jump'],
    [{ action: 'jump', jump: 'policy' }, 'jump'],
  ] as const;
  for (const [fields, path] of foreign) {
    const operation = create('rule', { ...rule, ...fields });
    assert.equal(world.refused(409, operation), `${path}: must be of the tenant of the rule`);
    assert.match(world.refused(400, operation, ACME), new RegExp(`^${path}: no .* is named`));
  }
  const filter = (name: string) => update('port', 'acme-port', { inboundFilter: name });
  assert.match(world.refused(409, filter('rival-chain')), /same tenant, or of none/);
  world.run([filter('acme-chain')], ACME);
  world.run([filter('policy')]);
  // What the operator has put there the tenant can repeat, not take away.
  const imposed = world.topology.named('chain', 'policy')[0] ?? '';
  world.run([update('port', 'acme-port', { inboundFilter: imposed, name: 'acme-port2' })], ACME);
  for (const inboundFilter of [null, 'acme-chain'])
    assert.match(
      world.refused(403, update('port', 'acme-port2', { inboundFilter }), ACME),
      /chain of the operator/,
    );
  assert.match(world.refused(404, remove('chain', 'acme-chain'), RIVAL), /no chain/);
});

test('whoever may not see the holder is not told who it is', () => {
  const world = new World();
  world.create('address-group', { name: 'office' }, ACME);
  world.create('chain', { name: 'policy' });
  world.create('rule', { chain: 'policy', action: 'drop', name: 'secret', sourceGroup: 'office' });
  assert.equal(
    world.refused(409, remove('address-group', 'office'), ACME),
    ': cannot be deleted: it is the sourceGroup of a rule of another tenant',
  );
  assert.match(world.refused(409, remove('address-group', 'office'), OPERATOR), /rule secret/);
});

test('a list of ports is left out or filled; emptied by deletions it matches nothing', () => {
  const world = withChains('web');
  world.run([create('bridge', { name: 'b' }), create('port', { name: 'p', bridge: 'b' })]);
  const empty = 'inPorts: must not be empty: leave it out to match all';
  const rule = { chain: 'web', action: 'drop', name: 'r', inPorts: [] };
  assert.equal(world.refused(400, create('rule', rule)), empty);
  world.run([create('rule', { ...rule, inPorts: ['p'] })]);
  assert.equal(world.refused(400, update('rule', 'r', { inPorts: [] })), empty);
  world.create('port-group', { name: 'g', ports: ['p'] });
  world.run([remove('port', 'p')]);
  const [left] = world.topology.list('rule') as Iterable<ObjectOf<'rule'>>;
  assert.deepEqual(left?.inPorts, []);
  assert.deepEqual(world.topology.chain(left.chain)?.rules[0]?.condition.inPorts, new Set());
  const [group] = world.topology.list('port-group') as Iterable<ObjectOf<'port-group'>>;
  assert.deepEqual(group?.ports, []);
  // It can be changed otherwise, and filled again.
  world.run([update('rule', 'r', { position: 7 })]);
});

test('fields that contradict each other are refused, with the field and the rule', () => {
  const world = withChains('web');
  const refusals: readonly (readonly [object, string])[] = [
    [{ action: 'jump' }, 'jump: is required for a rule with action jump'],
    [{ not: ['source'] }, 'not.0: names source, which the rule does not give'],
    [
      { protocol: 'icmp', destinationPorts: 80 },
      'destinationPorts: has a meaning only with protocol tcp or udp, not icmp',
    ],
    [
      { source: '10.0.0.0/8', destination: 'fd00::/64' },
      'destination: must be of the same family as the source',
    ],
    [
      { destinationPorts: 80, fragments: 'later' },
      'fragments: must be header or whole: later fragments have no ports and no ICMP type',
    ],
    [{ source: '10.0.0.1/8' }, 'source: has bits behind its length: did you mean 10.0.0.0/8?'],
    [
      { sourceMac: '02:00:00:00:00:01/ff:00:00:00:00:00' },
      'sourceMac: has bits that its mask leaves out',
    ],
    [
      { protocol: 'tpc' },
      'protocol: must be a protocol: a number up to 255, or icmp, igmp, tcp, udp, gre, esp, ah, icmp6, sctp',
    ],
    [
      { sourcePorts: '90-80' },
      'sourcePorts: must be a port or a range of ports such as 80 or 1000-2000, each at most 65535',
    ],
    [{ state: 'established' }, 'state: is not a field of a rule'],
  ];
  for (const [fields, message] of refusals)
    assert.equal(
      world.refused(400, create('rule', { chain: 'web', action: 'drop', ...fields })),
      message,
    );
});

test('values are stored in one form, whatever form they were given in', () => {
  const world = withChains('web');
  const given = {
    source: '10.0.0.1',
    destination: 'FD00:0::1',
    not: ['destination'],
    protocol: 6,
    etherType: '0x86DD',
    sourceMac: '02:00:00:00:00:AB/ff:ff:ff:ff:ff:ff',
    destinationPorts: 443,
    sourcePorts: '1000-1000',
  };
  const rule = world.create('rule', { chain: 'web', action: 'accept', ...given });
  const stored = Object.fromEntries(Object.keys(given).map((field) => [field, rule[field]]));
  assert.deepEqual(stored, {
    source: '10.0.0.1/32',
    destination: 'fd00::1/128',
    not: ['destination'],
    protocol: 'tcp',
    etherType: 'ip6',
    sourceMac: '02:00:00:00:00:ab',
    destinationPorts: '443',
    sourcePorts: '1000',
  });
  const again = world.plan([update('rule', rule.id, { ...stored, protocol: 'tcp' })]);
  assert(again.ok);
  assert.deepEqual(again.rows, []);
  const group = world.create('address-group', {
    name: 'g',
    addresses: ['10.0.0.1/32', 'FD00::/64', '10.0.0.2'],
  });
  assert.deepEqual(group['addresses'], ['10.0.0.1', 'fd00::/64', '10.0.0.2']);
  const twice = update('address-group', 'g', { addresses: ['10.0.0.1', '10.0.0.1/32'] });
  assert.equal(world.refused(400, twice), 'addresses.1: is given twice');
});

test('a chain of 10,000 rules is full', () => {
  const world = withChains('web');
  const topology: Topology = world.topology;
  const [chain = ''] = topology.named('chain', 'web');
  const rows = Array.from({ length: 10_000 }, (_, i) => {
    const id = `${String(i).padStart(8, '0')}-0000-4000-8000-00000000000a`;
    const put = { id, chain, position: i + 1, action: 'drop', invert: false, revision: 1 };
    return { kind: 'rule' as const, id, put: put as never };
  });
  topology.apply({ revision: 9, rows });
  const one = (position: number) => create('rule', { chain: 'web', action: 'drop', position });
  assert.equal(world.refused(409, one(20_000)), 'chain: has 10000 rules, and cannot have more');
  const [first] = rows;
  assert(first !== undefined);
  world.run([remove('rule', first.id), one(20_000)]);
});
