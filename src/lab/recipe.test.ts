/** Recipes: what is accepted, and that a refusal names the field. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { namespacesOf } from './names.ts';
import { addressOf, parseRecipe, readRecipe, recipeNames } from './recipe.ts';

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
  assert.deepEqual(recipeNames().toSorted(), ['demo', 'pair']);
  for (const name of recipeNames()) assert.ok(readRecipe(name).hosts.length > 0);
});

test('addresses are found by family', () => {
  const { vm1 } = parseRecipe(recipe(GOOD)).workloads;
  assert.ok(vm1);
  assert.equal(addressOf(vm1, 4), '10.0.0.1');
  assert.equal(addressOf(vm1, 6), 'fd00::1');
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
