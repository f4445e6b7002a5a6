/** The table of routes against a slow and obvious lookup; what a lookup costs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isIp6, parseIp, type Ip, type Ip4 } from '#net/ip.ts';
import { contains, networkOf, type Prefix } from '#net/prefix.ts';
import { IPS } from '../packet.arbitrary.ts';
import type { RouteView } from '../view.ts';
import { RouteTable } from './table.ts';

const seed = Number(process.env['SEED'] ?? 1);

const prefixes: fc.Arbitrary<Prefix> = fc.constantFrom(...IPS).chain((address) => {
  const lengths = isIp6(address) ? [0, 16, 61, 64, 127, 128] : [0, 8, 9, 24, 31, 32];
  return fc
    .constantFrom(...lengths)
    .map((length) => ({ address: networkOf(address, length), length }));
});
const route = fc.record({
  destination: prefixes,
  source: fc.option(prefixes, { nil: undefined }),
  weight: fc.constantFrom(1, 2),
});
const view = (
  id: string,
  rest: Pick<RouteView, 'destination' | 'source' | 'weight'>,
): RouteView => ({
  ...rest,
  id,
  name: undefined,
  kind: 'blackhole',
  port: undefined,
  gateway: undefined,
});
const routes: fc.Arbitrary<RouteView[]> = fc.array(route, { maxLength: 24 }).map((list) =>
  list.map((each, i) => {
    const mixed = each.source && isIp6(each.source.address) !== isIp6(each.destination.address);
    return view(`r${i}`, { ...each, source: mixed ? undefined : each.source });
  }),
);

/** What the words say: longest destination that has one for the source, longest source, weight. */
function slow(all: readonly RouteView[], dst: Ip, src: Ip): string[] {
  const fits = all.filter(
    ({ destination, source }) =>
      contains(destination, dst) && (source === undefined || contains(source, src)),
  );
  const best = (of: (route: RouteView) => number, among: readonly RouteView[]): RouteView[] => {
    const most = Math.max(...among.map(of));
    return among.filter((each) => of(each) === most);
  };
  const longest = best(({ destination }) => destination.length, fits);
  const nearest = best(({ source }) => source?.length ?? -1, longest);
  return best(({ weight }) => -weight, nearest)
    .map(({ id }) => id)
    .sort();
}
const tableOf = (list: readonly RouteView[]): RouteTable => {
  const table = new RouteTable();
  for (const each of list) table.add(each);
  return table;
};
const found = (table: RouteTable, dst: Ip, src: Ip): string[] =>
  table.find(dst, () => src).map(({ id }) => id);

test('it finds what going through all routes finds, after any additions and removals', () => {
  fc.assert(
    fc.property(routes, fc.array(fc.nat(30)), (list, removals) => {
      const table = tableOf(list);
      const left = [...list];
      for (const n of removals) {
        const [gone] = left.splice(n, 1);
        if (gone !== undefined) table.remove(gone);
      }
      for (const dst of IPS)
        for (const src of IPS)
          if (isIp6(src) === isIp6(dst))
            assert.deepEqual(found(table, dst, src), slow(left, dst, src));
    }),
    { seed, numRuns: 1_000 },
  );
});

test('what it answers does not depend on the order in which routes came', () => {
  const shuffled = routes.chain((list) =>
    fc.tuple(fc.constant(list), fc.shuffledSubarray(list, { minLength: list.length })),
  );
  fc.assert(
    fc.property(shuffled, ([list, other]) => {
      const [a, b] = [tableOf(list), tableOf(other)];
      for (const dst of IPS)
        for (const src of IPS) assert.deepEqual(found(a, dst, src), found(b, dst, src));
    }),
    { seed, numRuns: 500 },
  );
});

test('the source is asked for only where a route depends on it', () => {
  const [dst] = IPS;
  assert(dst !== undefined);
  const never = (): Ip => assert.fail('asked');
  const destination = { address: networkOf(dst, 24), length: 24 };
  const plain = view('a', { destination, source: undefined, weight: 1 });
  const table = tableOf([plain]);
  assert.deepEqual(table.find(dst, never), [plain]);
  const sourced = view('b', {
    destination: { address: dst, length: 32 },
    source: destination,
    weight: 1,
  });
  table.add(sourced);
  let asked = 0;
  const elsewhere = (): Ip => (asked++, 1 as Ip4);
  assert.deepEqual(table.find(dst, elsewhere), [plain], 'back to the shorter one');
  assert.equal(asked, 1);
});

/** How often maps are asked during a lookup. */
function probes(table: RouteTable, dst: Ip): number {
  const { get } = Map.prototype;
  let count = 0;
  Map.prototype.get = function (this: Map<unknown, unknown>, key: unknown): unknown {
    count++;
    return get.call(this, key);
  };
  try {
    table.find(dst, () => dst);
  } finally {
    Map.prototype.get = get;
  }
  return count;
}

test('a lookup costs one probe for each length in use, however many routes there are', () => {
  const dst = parseIp('10.200.200.200') ?? assert.fail();
  for (const n of [10, 10_000]) {
    const list = Array.from({ length: n }, (_, i) => {
      const length = [16, 24, 32][i % 3] ?? 0;
      const address = networkOf((0x0a000000 + i * 256) as Ip4, length);
      return view(`r${i}`, { destination: { address, length }, source: undefined, weight: 1 });
    });
    const table = tableOf(list);
    assert.equal(probes(table, dst), 3, `${n} routes`);
    for (const each of list) if (each.destination.length === 24) table.remove(each);
    assert.equal(probes(table, dst), 2, 'a length that nobody uses is forgotten');
  }
});
