/** Recipes: what is accepted, and that a refusal names the field. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { machineOf, namespacesOf, underlayMtu } from './names.ts';
import { relation } from './expected.ts';
import { addressOf, parseRecipe, readRecipe, recipeNames, tenantOf } from './recipe.ts';

const recipe = (workload: string): string => `
about: one
hosts: [h1]
bridges: { net1: { tenant: alpha } }
workloads:
  vm1: ${workload}
`;
const GOOD =
  "{ host: h1, bridge: net1, mac: '02:00:00:00:00:01', addresses: [10.0.0.1/24, 'fd00::1/64'] }";

test('every recipe that comes with the lab is valid', () => {
  assert.deepEqual(recipeNames().toSorted(), ['bare', 'demo', 'guests', 'pair', 'routed']);
  for (const name of recipeNames()) assert.ok(readRecipe(name).hosts.length > 0);
});

test('addresses are found by family', () => {
  const { vm1 } = parseRecipe(recipe(GOOD)).workloads;
  assert.ok(vm1);
  assert.equal(addressOf(vm1, 4), '10.0.0.1');
  assert.equal(addressOf(vm1, 6), 'fd00::1');
});

test('an underlay is of one family, with room for packets of 1500 bytes unless told', () => {
  const of = (text: string) => parseRecipe(recipe(GOOD).replace('hosts:', `${text}\nhosts:`));
  const first = (text: string) => {
    const parsed = of(text);
    return [machineOf(parsed, 'h1').tunnelAddress, underlayMtu(parsed)];
  };
  assert.deepEqual(first(''), ['172.30.0.1', 1550]);
  assert.deepEqual(first('underlay: ipv6'), ['fd30::1', 1570]);
  assert.deepEqual(first('underlayMtu: 9000'), ['172.30.0.1', 9000]);
  assert.throws(() => of('underlay: ipx'), /underlay: /);
  assert.throws(() => of('underlayMtu: 1279'), /underlayMtu: /);
});

test('a lab is its underlay, its API, its hosts, its workloads', () => {
  const names = namespacesOf('x', parseRecipe(recipe(GOOD)));
  assert.deepEqual(names, ['mn.x.net', 'mn.x.api', 'mn.x.h1', 'mn.x.vm1']);
});

const refused: readonly (readonly [string, string, RegExp])[] = [
  ['an unknown host', GOOD.replace('h1', 'h9'), /workloads\.vm1\.host: is no host here/],
  ['an unknown bridge', GOOD.replace('net1', 'net9'), /workloads\.vm1\.bridge: is no bridge here/],
  ['a group MAC', GOOD.replace('02:', '03:'), /workloads\.vm1\.mac: must be a unicast MAC/],
  [
    'an address without length',
    GOOD.replace('/24', ''),
    /workloads\.vm1\.addresses\.0: must be an address/,
  ],
  [
    'a length too long',
    GOOD.replace('/24', '/33'),
    /workloads\.vm1\.addresses\.0: must be an address/,
  ],
  ['an unknown field', GOOD.replace('host:', 'hots: x, host:'), /workloads\.vm1: .*hots/],
];
for (const [what, workload, message] of refused)
  test(`${what} is refused`, () => {
    assert.throws(() => parseRecipe(recipe(workload)), message);
  });

test('a name that the lab itself needs is refused', () => {
  assert.throws(
    () => parseRecipe(recipe(GOOD).replaceAll('vm1', 'api')),
    /a name the lab itself needs/,
  );
  assert.throws(() => parseRecipe(recipe(GOOD).replaceAll('vm1', 'h1')), /h1 is used twice/);
});

const routed = (ports: string, workload = GOOD): string => `${recipe(workload)}
routers: { r1: { tenant: alpha, ports: ${ports} } }
`;
const IN_BRIDGE = '{ p1: { bridge: net1, networks: [10.0.0.254/24] } }';
const refusedRouters: readonly (readonly [string, string, RegExp])[] = [
  [
    'a port of a router with no plug',
    routed('{ p1: { networks: [10.0.0.1/24] } }'),
    /p1: must have one of/,
  ],
  [
    'a port with two plugs',
    routed('{ p1: { bridge: net1, workload: vm1, networks: [10.0.0.1/24] } }'),
    /p1: must have one of/,
  ],
  [
    'a peer that is not there',
    routed("{ p1: { peer: 'r2:p2', networks: [10.0.0.1/24] } }"),
    /p1\.peer: must be ROUTER:PORT/,
  ],
  [
    'a port called as a workload',
    routed(IN_BRIDGE.replace('p1', 'vm1')),
    /vm1: the name is used twice/,
  ],
  [
    'a workload with no plug',
    recipe(GOOD.replace('bridge: net1, ', '')),
    /vm1: must have a bridge/,
  ],
  [
    'a route by a port of nobody',
    `${recipe(GOOD)}routers: { r1: { tenant: alpha, ports: ${IN_BRIDGE}, routes: [{ destination: 10.9.0.0/16, port: p9 }] } }`,
    /routes\.0\.port: is no port of it/,
  ],
];
for (const [what, text, message] of refusedRouters)
  test(`${what} is refused`, () => {
    assert.throws(() => parseRecipe(text), message);
  });

test('who should reach whom follows from networks and routes', () => {
  const all = readRecipe('routed');
  assert.equal(relation(all, 'red1', 'red2'), 'linked');
  assert.equal(relation(all, 'red1', 'red3'), 'routed');
  assert.equal(relation(all, 'red1', 'blue3'), 'routed');
  assert.equal(relation(all, 'blue2', 'outside'), 'routed');
  assert.equal(tenantOf(all, 'outside'), 'provider');
  const [, ...others] = all.routers['provider']?.routes ?? [];
  const oneWay = { ...all, routers: { ...all.routers } };
  if (all.routers['provider'] !== undefined)
    oneWay.routers['provider'] = { ...all.routers['provider'], routes: others };
  assert.equal(relation(oneWay, 'red1', 'blue3'), 'apart', 'the way back is missing');
  assert.equal(relation(oneWay, 'blue2', 'outside'), 'routed');
  const demo = readRecipe('demo');
  assert.equal(relation(demo, 'red1', 'red2'), 'linked');
  assert.equal(relation(demo, 'red1', 'blue2'), 'apart');
});
