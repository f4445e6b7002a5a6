/** The table of neighbours: the last word, its bounds, and the tags of whatever changes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip4 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { PortId } from '../ids.ts';
import { hearingTag, neighbourTag } from '../tags.ts';
import { NeighbourTable, type Neighbour, type Source } from './neighbours.ts';

const seed = Number(process.env['SEED'] ?? 1);
const [P1, P2] = ['p1', 'p2'] as unknown as [PortId, PortId];
const ip = (n: number) => n as Ip4;
const heard = (port: PortId, n: number, m: number, source: Source = 'here') => ({
  port,
  ip: ip(n),
  mac: m as Mac,
  at: source === 'here' ? port : undefined,
  source,
});

test('what is new is named, what is known is not, and the last word counts', () => {
  const table = new NeighbourTable({ perPortMax: 2 });
  assert.deepEqual(table.hear(heard(P1, 1, 7), 1), [neighbourTag(P1, ip(1))]);
  assert.deepEqual(table.hear(heard(P1, 1, 7), 5), []);
  assert.equal(table.get(P1, ip(1))?.heardAtMs, 5);
  assert.deepEqual(table.hear(heard(P1, 1, 8, 'elsewhere'), 6), [neighbourTag(P1, ip(1))]);
  assert.deepEqual(table.get(P1, ip(1)), { ...heard(P1, 1, 8, 'elsewhere'), heardAtMs: 6 });
  assert.equal(table.mac(P1, ip(1)), 8);
  assert.equal(table.mac(P2, ip(1)), undefined, 'of another port');
  assert.deepEqual(table.forget(P1, ip(1)), [neighbourTag(P1, ip(1))]);
  assert.deepEqual(table.forget(P1, ip(1)), []);
  assert.equal(table.size, 0);
});

test('the last place of a port is named, and what finds none is counted', () => {
  const table = new NeighbourTable({ perPortMax: 2 });
  table.hear(heard(P1, 1, 7), 1);
  assert(table.mayHear(P1));
  assert.deepEqual(table.hear(heard(P1, 2, 7), 1), [neighbourTag(P1, ip(2)), hearingTag(P1)]);
  assert(!table.mayHear(P1) && table.mayHear(P2));
  assert.deepEqual(table.hear(heard(P1, 3, 7), 1), []);
  assert.equal(table.mac(P1, ip(3)), undefined);
  assert.deepEqual(table.hear(heard(P1, 2, 9), 1), [neighbourTag(P1, ip(2))], 'it may move');
  assert.deepEqual(table.forget(P1, ip(1)), [hearingTag(P1), neighbourTag(P1, ip(1))]);
  assert.deepEqual(table.counters, { refused: 1, evicted: 0 });
});

test('one port of a bridge brings so many, and leaves room to the others', () => {
  const [V1, V2] = ['v1', 'v2'] as unknown as [PortId, PortId];
  const table = new NeighbourTable({ perPortMax: 9, perPlaceMax: 2 });
  const by = (n: number, at: PortId) => table.hear({ ...heard(P1, n, 7), at }, 1);
  by(1, V1);
  assert.deepEqual(by(2, V1), [hearingTag(V1), neighbourTag(P1, ip(2))]);
  assert.deepEqual([by(3, V1), table.mac(P1, ip(3)), table.counters.refused], [[], undefined, 1]);
  assert(!table.mayHear(P1, V1) && !table.mayHear(P2, V1), 'of whatever router port');
  assert(table.mayHear(P1, V2) && table.mayHear(P1, P1) && table.mayHear(P1));
  assert.deepEqual(by(2, V2), [hearingTag(V1)], 'it moved');
  assert(table.mayHear(P1, V1));
  assert.deepEqual(by(3, V1), [hearingTag(V1), neighbourTag(P1, ip(3))]);
  assert.deepEqual(table.forget(P1, ip(3)), [hearingTag(V1), neighbourTag(P1, ip(3))]);
  table.hear(heard(P1, 4, 7), 1);
  table.hear(heard(P1, 5, 7), 1);
  table.hear(heard(P1, 6, 7), 1);
  assert(table.mayHear(P1, P1), 'what the router hears itself is bounded by its own budget');
});

test('when all is full, the one heard of longest ago goes, whoever heard it', () => {
  const table = new NeighbourTable({ perPortMax: 9, entriesMax: 3 });
  table.hear(heard(P1, 1, 7), 1);
  table.hear(heard(P1, 2, 7, 'elsewhere'), 2);
  table.hear(heard(P2, 3, 7), 3);
  table.hear(heard(P1, 1, 7), 4);
  assert.deepEqual(table.hear(heard(P2, 4, 7), 5), [
    neighbourTag(P1, ip(2)),
    neighbourTag(P2, ip(4)),
  ]);
  table.hear(heard(P2, 5, 7), 6);
  assert.deepEqual([table.mac(P2, ip(3)), table.mac(P1, ip(1))], [undefined, 7]);
  assert.deepEqual(table.counters, { refused: 0, evicted: 2 });
});

test('own ones, passed ones too, come first and oldest first', () => {
  const table = new NeighbourTable({ perPortMax: 9 });
  table.hear(heard(P1, 1, 7), 1);
  table.hear(heard(P1, 2, 7, 'passed'), 2);
  table.hear(heard(P1, 3, 7, 'elsewhere'), 2);
  table.hear(heard(P1, 1, 7), 3);
  assert.deepEqual(
    [...table.own()].map((each) => each.ip),
    [2, 1],
  );
  assert.deepEqual(
    [...table.entries()].map((each) => each.ip),
    [2, 1, 3],
  );
  table.hear(heard(P1, 2, 7, 'elsewhere'), 4);
  assert.deepEqual(
    [...table.own()].map((each) => each.ip),
    [1],
    'the store has said it',
  );
});

test('law: every answer that changes is named, and the table is what a list would be', () => {
  const event = fc.record({
    port: fc.constantFrom(P1, P2),
    n: fc.integer({ min: 1, max: 5 }),
    mac: fc.constantFrom(7, 8),
    source: fc.constantFrom<Source>('here', 'passed', 'elsewhere'),
    forget: fc.integer({ min: 0, max: 3 }).map((of) => of === 0),
  });
  fc.assert(
    fc.property(fc.array(event, { maxLength: 40 }), (events) => {
      const table = new NeighbourTable({ perPortMax: 3, entriesMax: 5 });
      let list: Neighbour[] = [];
      for (const [now, { port, n, mac, source, forget }] of events.entries()) {
        const at = (of: PortId, to: number) => [table.mac(of, ip(to)), table.mayHear(of)] as const;
        const all = [P1, P2].flatMap((of) => [1, 2, 3, 4, 5].map((to) => [of, to] as const));
        const before = all.map(([of, to]) => at(of, to));
        const entry = heard(port, n, mac, source);
        const tags = forget ? table.forget(port, ip(n)) : table.hear(entry, now);
        for (const [i, [of, to]] of all.entries()) {
          const [mac1, may1] = at(of, to);
          if (mac1 !== before[i]?.[0]) assert(tags.includes(neighbourTag(of, ip(to))));
          if (may1 !== before[i]?.[1]) assert(tags.includes(hearingTag(of)));
        }
        const others = list.filter((each) => each.port !== port || each.ip !== n);
        const known = others.length < list.length;
        const room = list.filter((each) => each.port === port).length < 3;
        if (forget) list = others;
        else if (known) list = [...others, { ...entry, heardAtMs: now }];
        else if (room)
          list = [...list.slice(list.length >= 5 ? 1 : 0), { ...entry, heardAtMs: now }];
        const order = (a: Neighbour, b: Neighbour): number => a.heardAtMs - b.heardAtMs;
        assert.deepEqual([...table.entries()].sort(order), list);
      }
    }),
    { seed, numRuns: 1_000 },
  );
});
