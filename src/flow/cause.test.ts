/** Causes come back as they were given, and what nothing needs any more is gone. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip4 } from '#net/ip.ts';
import type { BridgeId, PortId } from '#virtual/ids.ts';
import type { Step, Verdict } from '#virtual/outcome.ts';
import { CauseTable } from './cause.ts';
import type { Cause } from './cause.ts';

const plain = { noNullPrototype: true };
const step: fc.Arbitrary<Step> = fc
  .tuple(fc.nat(3), fc.constantFrom('enter', 'learn', 'leave'), fc.constantFrom(undefined, 'x'))
  .map(([n, did, detail]) => {
    const at = { kind: 'port', id: `p${n}` as PortId } as const;
    return detail === undefined ? { at, did } : { at, did, detail };
  });
const BRIDGE = 'b' as BridgeId;
const verdict: fc.Arbitrary<Verdict> = fc.constantFrom<Verdict[]>(
  { kind: 'answer' },
  { kind: 'collect' },
  { kind: 'drop', reason: 'port-down' },
  { kind: 'forward', to: [{ port: 'p1' as PortId }] },
  { kind: 'forward', to: [{ flood: BRIDGE }] },
  { kind: 'forward', to: [{ flood: BRIDGE, here: true }] },
  { kind: 'forward', to: [{ flood: BRIDGE, except: 'p1' as PortId }] },
  { kind: 'forward', to: [{ flood: BRIDGE, vlan: 5 }, { port: 'p1' as PortId }] },
  { kind: 'forward', to: [{ port: 'p1' as PortId, vlan: 0 }] },
  { kind: 'forward', to: [{ port: 'p1' as PortId }], cut: 1400 },
  { kind: 'wait', port: 'p1' as PortId, ip: 1 as Ip4 },
  { kind: 'wait', port: 'p1' as PortId, ip: 2 as Ip4 },
);
const cause: fc.Arbitrary<Cause> = fc.record(
  { steps: fc.array(step, { maxLength: 6 }), verdict },
  plain,
);

test('random interning and releasing keeps every cause that is held, and nothing else', () => {
  const operation = fc.oneof(
    cause.map((value) => ({ value })),
    fc.nat(1000).map((release) => ({ release })),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 120 }), (operations) => {
      const table = new CauseTable();
      const held: { id: number; value: Cause }[] = [];
      for (const operation of operations) {
        if ('value' in operation) {
          const { value } = operation;
          held.push({ id: table.intern(value), value });
        } else {
          const [gone] = held.splice(operation.release % (held.length + 1), 1);
          if (gone !== undefined) table.release(gone.id);
        }
        for (const { id, value } of held) assert.deepEqual(table.read(id), value);
      }
      const texts = held.map(({ value }) => JSON.stringify(value));
      assert.equal(new Set(held.map(({ id }) => id)).size, new Set(texts).size, 'equal is one');
      const items = held.flatMap(({ value }) => [...value.steps, value.verdict]);
      assert.equal(table.items, new Set(items.map((item) => JSON.stringify(item))).size);
      for (const { id } of held) table.release(id);
      assert.deepEqual([table.nodes, table.items], [0, 0]);
    }),
    { seed: Number(process.env['SEED'] ?? 1), numRuns: 300 },
  );
});

test('a further flow between known ports costs one node', () => {
  const table = new CauseTable();
  const walk = (from: number, to: number): Cause => ({
    steps: [
      { at: { kind: 'port', id: `p${from}` as PortId }, did: 'enter' },
      { at: { kind: 'bridge', id: BRIDGE }, did: 'learn', detail: `m${from}` },
      { at: { kind: 'bridge', id: BRIDGE }, did: 'unicast', detail: `m${to}` },
      { at: { kind: 'port', id: `p${to}` as PortId }, did: 'leave' },
    ],
    verdict: { kind: 'forward', to: [{ port: `p${to}` as PortId }] },
  });
  for (let from = 0; from < 30; from++)
    for (let to = 0; to < 30; to++) table.intern(walk(from, to));
  assert.equal(table.nodes, 30 * 30 + 30 + 2 * 30);
});
