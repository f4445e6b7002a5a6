/** A change of routes makes stale exactly the flows whose destinations it covers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip, Ip4, Ip6 } from '#net/ip.ts';
import { bitsOf } from '#net/prefix.ts';
import { covers, destinationTag, routesTag, type Tag } from '#virtual/tags.ts';
import type { Cause } from './cause.ts';
import { Destinations } from './destinations.ts';
import type { DpPort, FlowRef } from './flow.ts';
import { KEY, KEY_SIZE } from './layout.ts';
import { EXACT } from './mask.ts';
import { writeEntry } from './parse.ts';
import { FlowTable } from './table.ts';
import { TagIndex } from './tag-index.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 1000);
const SLOTS = 12;
const BASE4 = 0x0a000000;
const BASE6 = 0xfd00n << 112n;

/** Few addresses that differ in few bits, so that prefixes part them. */
const bit = fc.oneof(fc.constantFrom(0, 1, 8, 30, 31, 32, 126, 127), fc.nat(127));
const addresses: fc.Arbitrary<Ip> = fc
  .tuple(fc.boolean(), fc.option(bit, { nil: undefined }))
  .map(([six, at]) =>
    six
      ? ((at === undefined ? BASE6 : BASE6 ^ (1n << BigInt(127 - at)))
          .toString(16)
          .padStart(32, '0') as Ip6)
      : (((at === undefined ? BASE4 : BASE4 ^ (1 << (31 - (at % 32)))) >>> 0) as Ip4),
  );
const routers = fc.constantFrom('r1', 'r2');
const destinations = fc.tuple(routers, addresses).map(([r, ip]) => destinationTag(r, ip));
const prefixes = fc
  .tuple(addresses, bit, fc.nat(2))
  .map(([address, at, more]) => ({ address, length: Math.min(at + more, bitsOf(address)) }));
const routes = fc.oneof(
  { weight: 4, arbitrary: fc.tuple(routers, prefixes).map(([r, prefix]) => routesTag(r, prefix)) },
  { weight: 1, arbitrary: routers.map((r) => routesTag(r)) },
);
const others = fc.constantFrom('port/r1', 'seed-ip/r1/167772160').map((text) => text as Tag);
const held = fc.oneof({ weight: 4, arbitrary: destinations }, others);
const changed = fc.oneof({ weight: 4, arbitrary: routes }, destinations, others);

const cause: Cause = { steps: [], verdict: { kind: 'drop', reason: 'port-down' } };
const id = ({ slot, generation }: FlowRef): string => `${slot}/${generation}`;

interface Held {
  readonly ref: FlowRef;
  readonly tags: readonly Tag[];
}

/** Does everything by looking at every flow, and keeps the table beside it. */
class Model {
  readonly table = new FlowTable({ slots: SLOTS, idleMs: 1, ageMaxMs: 1, seed: 7 });
  flows: Held[] = [];
  #keys = 0;
  /** Flows that some invalidation reached. */
  hits = 0;

  add(tags: readonly Tag[]): void {
    const key = new Uint8Array(KEY_SIZE);
    writeEntry(key, { port: 1 as DpPort });
    key[KEY.eth_dst] = this.#keys >> 8;
    key[KEY.eth_src] = this.#keys++;
    const added = this.table.add({ key, fields: EXACT, tags, cause, now: 0 });
    assert.equal(added === undefined, this.flows.length === SLOTS);
    if (added !== undefined) this.flows.push({ ref: added.ref, tags });
  }
  remove(n: number): void {
    const [flow] = this.flows.splice(n % SLOTS, 1);
    if (flow !== undefined) this.table.remove([flow.ref]);
  }
  invalidate(tags: readonly Tag[]): void {
    const hit = this.flows.filter((flow) =>
      flow.tags.some((each) => tags.some((tag) => covers(tag, each))),
    );
    const refs = this.table.invalidate(tags);
    assert.deepEqual(refs.map(id).toSorted(), hit.map(({ ref }) => id(ref)).toSorted());
    this.table.remove(refs);
    this.flows = this.flows.filter((flow) => !hit.includes(flow));
    this.hits += hit.length;
  }
}

test('routes: the flows made stale are exactly those of which a tag is covered', () => {
  type Do = (model: Model) => void;
  const operation: fc.Arbitrary<Do> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.array(held, { maxLength: 4 }).map(
        (tags): Do =>
          (m) =>
            m.add(tags),
      ),
    },
    fc.nat(SLOTS).map(
      (n): Do =>
        (m) =>
          m.remove(n),
    ),
    {
      weight: 2,
      arbitrary: fc.array(changed, { minLength: 1, maxLength: 3 }).map(
        (tags): Do =>
          (m) =>
            m.invalidate(tags),
      ),
    },
  );
  let hits = 0;
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 40, size: 'max' }), (list) => {
      const model = new Model();
      for (const run of list) run(model);
      const { live, tags } = model.table.counters();
      assert.equal(live, model.flows.length);
      assert.equal(tags, new Set(model.flows.flatMap((flow) => flow.tags)).size);
      hits += model.hits;
    }),
    { seed, numRuns },
  );
  assert.ok(process.env['RUNS'] !== undefined || hits > numRuns, `${hits} flows were made stale`);
});

test('only destinations that flows hold are remembered', () => {
  const index = new TagIndex(4);
  const to = (n: number): Tag => destinationTag('r1', (BASE4 + n) as Ip4);
  const first = index.add(0, [to(1), to(2), 'port/1' as Tag]);
  const second = index.add(1, [to(2), destinationTag('r2', BASE4 as Ip4)]);
  assert.ok(first !== undefined && second !== undefined);
  assert.deepEqual([index.tags, index.destinations], [4, 3]);
  assert.deepEqual(index.inside(routesTag('r1')), [to(1), to(2)]);
  const one = routesTag('r1', { address: (BASE4 + 1) as Ip4, length: 32 });
  assert.deepEqual(index.inside(one), [to(1)]);
  assert.deepEqual(index.inside(to(1)), []);
  assert.deepEqual(index.inside(routesTag('r3')), []);
  index.remove(first);
  assert.deepEqual(index.inside(routesTag('r1')), [to(2)]);
  index.remove(second);
  assert.deepEqual([index.tags, index.destinations], [0, 0]);
  // The number of a tag that is gone may be another's by now.
  assert.ok(index.add(2, ['port/2' as Tag, 'port/3' as Tag]) !== undefined);
  assert.deepEqual(index.inside(routesTag('r1')), []);
});

test('a flow that is refused for want of room leaves no destination', () => {
  const index = new TagIndex(1);
  const many = Array.from({ length: 33 }, (_, n) => destinationTag('r1', (BASE4 + n) as Ip4));
  assert.equal(index.add(0, many), undefined);
  assert.deepEqual([index.tags, index.destinations], [0, 0]);
});

test('other tags are not taken, and what was not added is not removed', () => {
  const known = new Destinations();
  const to = destinationTag('r1', BASE4 as Ip4);
  known.add('port/1' as Tag, 1);
  known.remove(2);
  assert.equal(known.size, 0);
  known.add(to, 2);
  known.remove(3);
  assert.equal(known.size, 1);
  known.remove(2);
  assert.equal(known.size, 0);
});
