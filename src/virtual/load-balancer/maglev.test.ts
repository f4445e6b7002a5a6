/** Tables of places: shares follow weights, everybody makes the same, a loss moves its own only. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip4 } from '#net/ip.ts';
import type { ConnectionKey, Zone } from '../connection.ts';
import { chooseOf, placesOf, type Claimant } from './maglev.ts';

const SIZE = 1_021;
const claimant = (n: number, weight = 1): Claimant => ({ key: `10.0.0.${n}/80`, weight });
const claimants = fc
  .uniqueArray(fc.record({ n: fc.nat(200), weight: fc.integer({ min: 0, max: 8 }) }), {
    minLength: 1,
    maxLength: 16,
    selector: ({ n }) => n,
  })
  .map((all) => all.map(({ n, weight }) => claimant(n, weight)));

const countOf = (table: Uint16Array, all: readonly Claimant[]): number[] =>
  all.map((_, i) => table.reduce((sum, index) => sum + (index === i ? 1 : 0), 0));
/** The n-th of many connections. */
const connection = (n: number): ConnectionKey => ({
  zone: 0x800001 as Zone,
  tuple: {
    protocol: 6,
    src: (0x0a000000 + (n >> 4)) as Ip4,
    dst: 0x0a010101 as Ip4,
    srcPort: 1_024 + (n & 15) * 977,
    dstPort: 80,
  },
});

test('shares follow weights, to one place', () => {
  fc.assert(
    fc.property(claimants, (all) => {
      const table = placesOf(all, SIZE);
      const sum = all.reduce((of, { weight }) => of + weight, 0);
      const heaviest = Math.max(...all.map(({ weight }) => weight));
      for (const [i, count] of countOf(table, all).entries()) {
        const share = sum === 0 ? 0 : (SIZE * all[i]!.weight) / sum;
        // A round that is not finished gives the heaviest at most one place more each.
        const bound = sum === 0 ? 0 : 1 + all[i]!.weight / heaviest;
        assert.ok(Math.abs(count - share) <= bound + 1, `${count} of ${share}`);
      }
    }),
  );
});

test('whatever the order, the table is the same', () => {
  fc.assert(
    fc.property(claimants, fc.nat(), (all, turn) => {
      const by = turn % all.length;
      const turned = [...all.slice(by), ...all.slice(0, by)];
      const keys = (table: Uint16Array, of: readonly Claimant[]) =>
        Array.from(table, (index) => of[index]?.key);
      assert.deepEqual(keys(placesOf(all, SIZE), all), keys(placesOf(turned, SIZE), turned));
    }),
  );
});

const CONNECTIONS = 20_000;
function choices(table: Uint16Array, available: readonly boolean[]): number[] {
  return Array.from({ length: CONNECTIONS }, (_, n) => {
    const found = chooseOf(table, connection(n), available);
    return found?.index ?? -1;
  });
}

for (const members of [2, 10, 100])
  test(`of ${members} members one is lost: its share moves, and nobody else's connections`, () => {
    const all = Array.from({ length: members }, (_, n) => claimant(n));
    const table = placesOf(all, 16_381);
    const up = all.map(() => true);
    const before = choices(table, up);
    const after = choices(table, up.with(0, false));
    const moved = before.filter((index, n) => index !== after[n]).length;
    assert.equal(moved, before.filter((index) => index === 0).length);
    assert.ok(moved / CONNECTIONS <= 1 / members + 0.01, `${moved} of ${CONNECTIONS}`);
    assert.ok(!after.includes(0));
    // Those that moved are spread over all that are left.
    const takers = new Set(after.filter((_, n) => before[n] === 0));
    assert.ok(takers.size >= Math.min(members - 1, 50), `${takers.size} takers`);
  });

for (const [members, size] of [
  [3, 16_381],
  [10, 16_381],
  [100, 65_537],
] as const)
  test(`one of ${members} members is taken out of the pool: hardly more than its share moves`, () => {
    const all = Array.from({ length: members }, (_, n) => claimant(n));
    const less = all.slice(1);
    const before = choices(
      placesOf(all, size),
      all.map(() => true),
    );
    const after = choices(
      placesOf(less, size),
      less.map(() => true),
    );
    const moved = before.filter((index, n) => index !== after[n]! + 1).length;
    assert.ok(moved / CONNECTIONS <= 1 / members + 0.01, `${moved} of ${CONNECTIONS}`);
  });

test('who is left alone of many is found; where nobody is, nobody is chosen', () => {
  const all = Array.from({ length: 500 }, (_, n) => claimant(n));
  const table = placesOf(all, SIZE);
  const none = all.map(() => false);
  for (let n = 0; n < 100; n++) {
    assert.equal(chooseOf(table, connection(n), none.with(77, true))?.index, 77);
    assert.equal(chooseOf(table, connection(n), none), undefined);
  }
  assert.ok(placesOf([claimant(1, 0)], SIZE).every((index) => index === 0xffff));
});
