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
import { MASKS_MAX } from './flow.ts';
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
function keyOf(n: number): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  writeEntry(key, { port: 1 as DpPort });
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
      assert.deepEqual(table.cause(ref), stale ? undefined : flow.cause);
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
  for (const fields of new Set(sets)) table.add({ ...flow, fields });
  const { masks, widened } = table.counters();
  assert.equal(masks, MASKS_MAX);
  assert.equal(widened, 1);
  const wide = table.add({ ...flow, key: keyOf(7), fields: fieldSet(FIELDS.slice(0, 11)) });
  assert.equal(wide?.fields, EXACT);
  assert.equal(hex(wide.key), hex(keyOf(7)));
  assert.ok(!table.adopt({ slot: 90, generation: 1 }, { key: keyOf(1), fields: 0b101 }, 0));
  assert.deepEqual(
    table.lookup(keyOf(7))?.slot,
    table.find(sets[0] ?? 0, keyOf(7))?.slot ?? wide.ref.slot,
  );
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
