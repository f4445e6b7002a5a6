/** The flow table against a slow and obvious model, and its limits one by one. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FIELDS, fieldSet } from '#virtual/match.ts';
import type { FieldSet } from '#virtual/match.ts';
import type { Step } from '#virtual/outcome.ts';
import type { PortId } from '#virtual/ids.ts';
import type { Tag } from '#virtual/tags.ts';
import type { Cause } from './cause.ts';
import type { DpPort, FlowRef } from './flow.ts';
import { ENTRY_MASKS_MAX, MASKS_MAX } from './flow.ts';
import { KEY, KEY_SIZE } from './layout.ts';
import { EXACT, maskKey, matchedFields } from './mask.ts';
import { writeEntry } from './parse.ts';
import { FlowTable } from './table.ts';
import { LINKS_PER_SLOT } from './tag-index.ts';

const tag = (n: number) => `port/${n}` as Tag;
const step = (n: number): Step => ({ at: { kind: 'port', id: `p${n}` as PortId }, did: 'enter' });
const cause = (...steps: number[]): Cause => ({
  steps: steps.map(step),
  verdict: { kind: 'drop', reason: 'port-down' },
});
function keyOf(n: number, port = 1): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  writeEntry(key, { port: port as DpPort });
  key[KEY.eth_dst] = n;
  key[KEY.eth_src] = n >> 3;
  return key;
}
const open = (slots: number) => new FlowTable({ slots, idleMs: 100, ageMaxMs: 1000, seed: 7 });
const EXACT_FLOW = { fields: EXACT, tags: [tag(1)], cause: cause(1), now: 0 };

interface ModelFlow {
  readonly ref: FlowRef;
  readonly key: string;
  readonly fields: FieldSet;
  tags: Set<Tag>;
  cause: Cause | undefined;
  created: number;
  stale: boolean;
}
const id = ({ slot, generation }: FlowRef): string => `${slot}/${generation}`;
const hex = (key: Uint8Array): string => Buffer.from(key).toString('hex');
function masked(key: Uint8Array, fields: FieldSet): string {
  const out = new Uint8Array(KEY_SIZE);
  maskKey(key, fields, out);
  return hex(out);
}
const ids = (refs: readonly FlowRef[]): string[] => refs.map(id).toSorted();

/** Does everything by looking at every flow. */
class Model {
  flows: ModelFlow[] = [];
  readonly table: FlowTable;
  readonly slots: number;
  constructor(slots: number) {
    this.slots = slots;
    this.table = open(slots);
  }
  live(): ModelFlow[] {
    return this.flows.filter((flow) => !flow.stale);
  }
  add(n: number, fields: FieldSet, tags: Tag[], now: number): void {
    const matched = matchedFields(fields);
    const key = masked(keyOf(n), matched);
    const because = cause(n % 5, n % 3, ...tags.map((each) => each.length + Number(each.slice(5))));
    const added = this.table.add({ key: keyOf(n), fields, tags, cause: because, now });
    const same = this.live().find((flow) => flow.fields === matched && flow.key === key);
    if (same !== undefined) {
      assert.deepEqual([added?.fresh, added && id(added.ref)], [false, id(same.ref)]);
      return;
    }
    assert.equal(added === undefined, this.flows.length === this.slots, 'refused when full only');
    if (added === undefined) return;
    assert.ok(added.fresh);
    assert.equal(hex(added.key), key);
    assert.ok(
      this.flows.every((flow) => flow.ref.slot !== added.ref.slot),
      'a free slot',
    );
    const { ref } = added;
    const stale = false;
    this.flows.push({
      ref,
      key,
      fields: matched,
      tags: new Set(tags),
      cause: because,
      created: now,
      stale,
    });
  }
  adopt(slot: number, n: number, fields: FieldSet, now: number): void {
    const ref = { slot, generation: 1000 + n };
    const matched = matchedFields(fields);
    const key = masked(keyOf(n), matched);
    const free =
      slot < this.slots &&
      this.flows.every((flow) => flow.ref.slot !== slot) &&
      this.live().every((flow) => flow.fields !== matched || flow.key !== key);
    assert.equal(this.table.adopt(ref, { key: keyOf(n), fields }, now), free);
    if (free)
      this.flows.push({
        ref,
        key,
        fields: matched,
        tags: new Set(),
        cause: undefined,
        created: now,
        stale: false,
      });
  }
  reconcile(tags: Tag[]): void {
    const adopted = this.live().find((flow) => flow.cause === undefined);
    if (adopted === undefined) return;
    assert.ok(this.table.reconcile(adopted.ref, { tags, cause: cause(9) }));
    adopted.tags = new Set(tags);
    adopted.cause = cause(9);
  }
  retireIf(refs: readonly FlowRef[], which: (flow: ModelFlow) => boolean): void {
    const hit = this.live().filter(which);
    assert.deepEqual(ids(refs), ids(hit.map((flow) => flow.ref)));
    for (const flow of hit) flow.stale = true;
  }
  removeStale(): void {
    this.table.remove(this.flows.filter((flow) => flow.stale).map((flow) => flow.ref));
    this.flows = this.live();
  }
  check(): void {
    const { table } = this;
    const live = this.live();
    assert.deepEqual(ids(table.refs()), ids(live.map((flow) => flow.ref)));
    assert.deepEqual(
      ids(table.refs('adopted')),
      ids(live.filter((flow) => flow.cause === undefined).map((flow) => flow.ref)),
    );
    for (const flow of this.flows) {
      const { ref, stale, fields, key } = flow;
      const found = table.find(fields, Uint8Array.from(Buffer.from(key, 'hex')));
      if (!stale) assert.deepEqual(found && id(found), id(ref));
      else assert.notDeepEqual(found && id(found), id(ref));
      assert.deepEqual(table.cause(ref), flow.cause);
      assert.deepEqual(new Set(table.tags(ref)), stale ? new Set() : flow.tags);
      const match = table.match(ref);
      assert.deepEqual(match && [hex(match.key), match.fields], stale ? undefined : [key, fields]);
    }
    for (let n = 0; n < 6; n++) {
      const under = live.filter((flow) => flow.tags.has(tag(n)));
      assert.deepEqual(ids(table.flowsUnder(tag(n))), ids(under.map((flow) => flow.ref)));
    }
    const { live: count, adopted, stale, masks, tags } = table.counters();
    assert.deepEqual(
      [count, adopted, stale, masks, tags],
      [
        live.length,
        live.filter((flow) => flow.cause === undefined).length,
        this.flows.length - live.length,
        new Set(this.flows.map((flow) => flow.fields)).size,
        new Set(live.flatMap((flow) => [...flow.tags])).size,
      ],
    );
  }
}

test('random operations leave the table as a slow model says', () => {
  const n = fc.nat(40);
  const fields = fc.constantFrom(0, EXACT, fieldSet(['ethDst']), fieldSet(['ethSrc', 'ipDst']));
  const tags = fc.array(fc.nat(5).map(tag), { maxLength: 5 });
  const lapse = fc.nat(120);
  type Do = (model: Model, now: number) => number | void;
  const operation: fc.Arbitrary<Do> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.tuple(n, fields, tags).map(
        ([a, b, c]): Do =>
          (m, now) =>
            m.add(a, b, c, now),
      ),
    },
    fc.tuple(fc.nat(12), n, fields).map(
      ([a, b, c]): Do =>
        (m, now) =>
          m.adopt(a, b, c, now),
    ),
    tags.map(
      (some): Do =>
        (m) =>
          m.reconcile(some),
    ),
    tags.map(
      (some): Do =>
        (m) =>
          m.retireIf(m.table.invalidate(some), (flow) => some.some((each) => flow.tags.has(each))),
    ),
    fc.constant<Do>((m) => m.removeStale()),
    fc.tuple(lapse, n).map(([time, used]): Do => (m, now) => {
      const at = now + time;
      const last = ({ slot }: FlowRef) => (slot === used ? at : 0);
      m.retireIf(m.table.expire(at, last), ({ ref, created }) => {
        const age = at - created;
        return age >= 1000 || (age >= 100 && at - last(ref) >= 100);
      });
      return at;
    }),
    {
      weight: 1,
      arbitrary: fc.constant<Do>((m) => m.retireIf(m.table.invalidate('all'), () => true)),
    },
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 12 }),
      fc.array(operation, { maxLength: 60 }),
      (slots, list) => {
        const model = new Model(slots);
        let now = 1;
        for (const run of list) {
          const at = run(model, now);
          if (typeof at === 'number') now = at;
          model.check();
        }
        model.retireIf(model.table.invalidate('all'), () => true);
        model.removeStale();
        const { live, stale, masks, tags: left } = model.table.counters();
        assert.deepEqual([live, stale, masks, left], [0, 0, 0, 0]);
      },
    ),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 400 },
  );
});

test('a full table refuses and counts; freed slots come back with a new generation', () => {
  const table = open(2);
  const first = table.add({ ...EXACT_FLOW, key: keyOf(1) });
  assert.ok(first !== undefined && table.add({ ...EXACT_FLOW, key: keyOf(2) }) !== undefined);
  assert.equal(table.add({ ...EXACT_FLOW, key: keyOf(3) }), undefined);
  assert.equal(table.counters().refusedFull, 1);
  table.remove([first.ref]);
  const again = table.add({ ...EXACT_FLOW, key: keyOf(3) });
  assert.deepEqual(again?.ref, { slot: first.ref.slot, generation: first.ref.generation + 1 });
  table.remove([first.ref]);
  assert.deepEqual(table.retire([first.ref]), []);
  assert.equal(table.counters().live, 2);
});

test('a set of fields too many becomes exact, for which there is always room', () => {
  const table = open(100);
  const flow = { tags: [], cause: cause(), now: 0, key: keyOf(200) };
  const sets = Array.from({ length: MASKS_MAX }, (_, i) => (i << 3) | fieldSet(['ethType']));
  // As many of each port as one may have, but for the exact one.
  const portOf = (i: number): number => 1 + Math.floor(i / (ENTRY_MASKS_MAX - 1));
  for (const [i, fields] of [...new Set(sets)].entries())
    table.add({ ...flow, key: keyOf(200, portOf(i)), fields });
  const { masks, widened } = table.counters();
  assert.equal(masks, MASKS_MAX);
  assert.equal(widened, 1);
  const wide = table.add({ ...flow, key: keyOf(7, 9), fields: fieldSet(FIELDS.slice(0, 11)) });
  assert.equal(wide?.fields, EXACT);
  assert.equal(hex(wide.key), hex(keyOf(7, 9)));
  assert.ok(!table.adopt({ slot: 90, generation: 1 }, { key: keyOf(1, 9), fields: 0b101 }, 0));
  assert.deepEqual(table.lookup(keyOf(7, 9)), wide.ref);
});

test('tags are bounded: a flow with too many is refused and leaves nothing behind', () => {
  const table = open(2);
  const many = Array.from({ length: 2 * LINKS_PER_SLOT + 1 }, (_, n) => tag(n));
  assert.equal(table.add({ ...EXACT_FLOW, key: keyOf(1), tags: many }), undefined);
  assert.equal(table.counters().refusedTags, 1);
  assert.equal(table.counters().tags, 0);
  assert.ok(table.add({ ...EXACT_FLOW, key: keyOf(1), tags: many.slice(1) })?.fresh);
  assert.equal(table.invalidate([tag(2 * LINKS_PER_SLOT)]).length, 1);
});

test('lookup finds the flow of a frame whatever its fields', () => {
  const table = open(8);
  const fields = fieldSet(['ethDst']);
  const added = table.add({ ...EXACT_FLOW, key: keyOf(1), fields });
  const frame = keyOf(1);
  frame[KEY.tp_dst] = 9;
  assert.deepEqual(table.lookup(frame), added?.ref);
  assert.equal(table.lookup(keyOf(2)), undefined);
  assert.equal(table.find(EXACT, frame), undefined);
});

test('expiry looks at a bounded number of slots, and comes round', () => {
  const table = open(10);
  for (let n = 0; n < 10; n++) table.add({ ...EXACT_FLOW, key: keyOf(n) });
  const seen: number[] = [];
  for (let n = 0; n < 4; n++) seen.push(table.expire(500, () => 0, 3).length);
  assert.deepEqual(seen, [3, 3, 3, 1]);
  assert.equal(table.counters().expiredIdle, 10);
});

test('an entry has so many masks; one too many becomes exact, and others do not mind', () => {
  const table = open(100);
  const flow = { tags: [], cause: cause(), now: 0 };
  const sets = FIELDS.map((field) => fieldSet([field, 'ethType'])).filter((set, i, all) => {
    return all.indexOf(set) === i;
  });
  const added = sets.map((fields, n) => table.add({ ...flow, key: keyOf(n), fields })!);
  const own = added.filter(({ fields }) => fields !== EXACT);
  assert.equal(own.length, ENTRY_MASKS_MAX - 1);
  const { masks, widened, widenedOwn } = table.counters();
  assert.deepEqual([masks, widened, widenedOwn], [ENTRY_MASKS_MAX, 0, sets.length - own.length]);
  const last = sets.at(-1)!;
  assert.equal(table.add({ ...flow, key: keyOf(1, 2), fields: last })?.fields, last);
  // Stale flows are in the datapath: their mask is still the entry's.
  table.retire([own[0]!.ref]);
  assert.equal(table.add({ ...flow, key: keyOf(90), fields: last })?.fields, EXACT);
  table.remove([own[0]!.ref]);
  assert.equal(table.add({ ...flow, key: keyOf(91), fields: last })?.fields, last);
  // Adopted flows are counted alike.
  const more = { key: keyOf(92), fields: fieldSet(['ethSrc']) };
  assert.ok(!table.adopt({ slot: 99, generation: 5 }, more, 0));
});

const EVICTION = { most: 4, sinceMs: 50, lastUsedMs: () => 0 };
const portsOf = (table: FlowTable, refs: readonly FlowRef[]): Map<number, number> => {
  const count = new Map<number, number>();
  for (const ref of refs) {
    const port = new DataView(table.match(ref)!.key.buffer).getUint32(KEY.in_port, true);
    count.set(port, (count.get(port) ?? 0) + 1);
  }
  return count;
};
const fill = (table: FlowTable, port: number, flows: number): FlowRef[] =>
  Array.from({ length: flows }, (_, n) => table.add({ ...EXACT_FLOW, key: keyOf(n, port) })!.ref);

test('an entry at its quota makes room of its own: its oldest that were not used lately', () => {
  const table = new FlowTable({ slots: 20, quota: 8, idleMs: 100, ageMaxMs: 1000, seed: 7 });
  const refs = fill(table, 1, 8);
  fill(table, 2, 3);
  assert.equal(table.add({ ...EXACT_FLOW, key: keyOf(50) }), undefined);
  assert.equal(table.counters().refusedQuota, 1);
  const busy = new Set([0, 2, 7]);
  const lastUsedMs = ({ slot }: FlowRef) => (busy.has(slot) ? 60 : 0);
  const gone = table.evictFor(keyOf(50), { ...EVICTION, lastUsedMs });
  assert.deepEqual(ids(gone), ids([1, 3, 4, 5].map((n) => refs[n]!)));
  assert.equal(table.counters().evictedOwn, 4);
  assert.ok(table.add({ ...EXACT_FLOW, key: keyOf(50) })?.fresh);
  assert.equal(table.counters().evicted, 0);
  // When all are busy the one that was seen busy longest ago goes: there is always room for one.
  for (const n of [51, 52, 53]) table.add({ ...EXACT_FLOW, key: keyOf(n) });
  const all = table.evictFor(keyOf(60), { ...EVICTION, lastUsedMs: () => 60 });
  assert.equal(all.length, 1);
  assert.ok(!busy.has(all[0]!.slot) || all[0]!.slot === 0);
});

test('of a full table the largest pays, down to its share; who has its share pays itself', () => {
  const table = open(30);
  fill(table, 1, 22);
  fill(table, 2, 8);
  // Three entries with the new one: ten each.
  const gone = table.evictFor(keyOf(0, 3), { ...EVICTION, most: 100 });
  assert.equal(gone.length, 12);
  assert.deepEqual(
    [...portsOf(table, table.refs())],
    [
      [1, 10],
      [2, 8],
    ],
  );
  assert.equal(table.counters().evicted, 12);
  assert.deepEqual(table.evictFor(keyOf(0, 3), EVICTION), [], 'slots become free anyway');
  table.remove(gone);
  fill(table, 3, 12);
  const own = table.evictFor(keyOf(90, 3), { ...EVICTION, most: 2 });
  assert.deepEqual(portsOf(table, table.refs()).get(3), 10);
  assert.deepEqual([own.length, table.counters().evictedOwn], [2, 2]);
  assert.deepEqual(portsOf(table, table.refs()).get(2), 8, 'within its share');
});

test('nobody within its share loses a flow to another, whatever comes', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 6, max: 40 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 6 }), fc.nat(200)), { maxLength: 300 }),
      (slots, frames) => {
        const table = open(slots);
        for (const [port, n] of frames) {
          const flow = { ...EXACT_FLOW, key: keyOf(n, port) };
          if (table.add(flow) !== undefined) continue;
          const before = portsOf(table, table.refs());
          const share = Math.floor(slots / (before.size + (before.has(port) ? 0 : 1)));
          const gone = table.evictFor(flow.key, EVICTION);
          const after = portsOf(table, table.refs());
          assert.ok(gone.length > 0, 'room is made');
          for (const [other, had] of before)
            if (other !== port && (after.get(other) ?? 0) < had)
              assert.ok((after.get(other) ?? 0) >= share, `port ${other}`);
          table.remove(gone);
        }
      },
    ),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 300 },
  );
});

test('the room for tags is shared as well', () => {
  const table = new FlowTable({ slots: 8, quota: 2, idleMs: 100, ageMaxMs: 1000, seed: 7 });
  const many = Array.from({ length: LINKS_PER_SLOT + 9 }, (_, n) => tag(n));
  const first = table.add({ ...EXACT_FLOW, key: keyOf(1), tags: many });
  assert.equal(table.add({ ...EXACT_FLOW, key: keyOf(2), tags: many }), undefined);
  assert.equal(table.counters().refusedQuota, 1);
  assert.deepEqual(table.evictFor(keyOf(2), EVICTION), [first?.ref]);
  assert.ok(table.add({ ...EXACT_FLOW, key: keyOf(2), tags: many })?.fresh);
  assert.ok(table.add({ ...EXACT_FLOW, key: keyOf(1, 2), tags: many })?.fresh);
});
