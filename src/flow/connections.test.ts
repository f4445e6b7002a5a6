/** The table of connections against a slow and obvious one, under any order of what may happen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip } from '#net/ip.ts';
import { reversed, type ConnectionKey, type Tuple, type Zone } from '#virtual/connection.ts';
import { PORT_IDS } from '#virtual/ids.arbitrary.ts';
import { CONNECTION_BYTES, TCP_FLAG, type ConnectionMemory } from './connection-layout.ts';
import { ConnectionRecords } from './connection-records.ts';
import { CONNECTION_TIMEOUTS, phaseOf, timeoutOf, type Half } from './connection-timeouts.ts';
import { Connections, CONNECTION_SHARE, HALF_OPEN_SHARE } from './connections.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 400);
/** The first slot is never a record. */
const memoryOf = (records: number): ConnectionMemory => ({
  slots: records + 1,
  bytes: new Uint8Array((records + 1) * CONNECTION_BYTES),
});
const open = (memory: ConnectionMemory) => new Connections(memory, { seed: 7 });
const TCP = 6;
const UDP = 17;

const tuple = (n: number, protocol = TCP): Tuple => ({
  protocol,
  src: (n % 2 === 0 ? 0x0a000001 : 'fd000000000000000000000000000001') as Ip,
  dst: (n % 2 === 0 ? 0x0a000002 : 'fd000000000000000000000000000002') as Ip,
  srcPort: 1024 + n,
  dstPort: 80,
});
const key = (zone: number, of: Tuple): ConnectionKey => ({ zone: zone as Zone, tuple: of });
const wanted = (n: number, nowMs: number, port = 0, zones: readonly [number, number] = [1, 2]) => ({
  forward: key(zones[0], tuple(n)),
  returns: key(zones[1], reversed(tuple(n))),
  inPort: PORT_IDS[port],
  outPort: PORT_IDS[9],
  createdMs: nowMs,
  translations: [],
});
const text = ({ zone, tuple: of }: ConnectionKey): string =>
  [zone, of.protocol, of.src, of.dst, of.srcPort, of.dstPort].join(' ');

test('what has ended, or was never answered, is over for who opens it again', () => {
  const FIN = { seenMs: 2, tcp: TCP_FLAG.FIN };
  const RST = { seenMs: 2, tcp: TCP_FLAG.RST };
  const isOver = (
    nowMs: number,
    halves: readonly (Half | undefined)[],
    of: 'forward' | 'returns',
  ) => {
    const table = open(memoryOf(16));
    const record = wanted(0, 1);
    const { ref } = table.commit(record)!;
    for (const side of [0, 1] as const)
      if (halves[side] !== undefined) table.touch(ref, side, halves[side]);
    return table.isOver(table.find(record[of].zone, record[of].tuple)!, nowMs);
  };
  assert.equal(isOver(3_000, [], 'forward'), false, 'one more attempt');
  assert.equal(isOver(5_001, [], 'forward'), true, 'nobody has answered');
  assert.equal(isOver(9_000, [undefined, { seenMs: 2, tcp: 0 }], 'forward'), false, 'it goes on');
  assert.equal(isOver(3, [FIN], 'forward'), true);
  assert.equal(isOver(3, [FIN], 'returns'), false, 'the other end has not closed it');
  assert.equal(isOver(3, [FIN, FIN], 'returns'), true);
  assert.equal(isOver(3, [undefined, RST], 'forward'), true);
});

const UNENDED = { translations: [], anew: false };
test('a record is found by both keys, in every family, and read as it was written', () => {
  const table = open(memoryOf(16));
  for (const n of [0, 1]) {
    const record = wanted(n, 1_000.5 + n);
    const { ref, fresh, changed } = table.commit(record)!;
    assert.ok(fresh);
    assert.deepEqual(changed, [record.returns]);
    assert.deepEqual(table.find(record.forward.zone, record.forward.tuple), {
      ref,
      direction: 'forward',
      ...UNENDED,
    });
    assert.deepEqual(table.find(record.returns.zone, record.returns.tuple), {
      ref,
      direction: 'return',
      ...UNENDED,
    });
    assert.equal(table.find(record.returns.zone, record.forward.tuple), undefined);
    const { halves, incarnation, ...rest } = table.record(ref)!;
    assert.equal(incarnation, ref.generation);
    assert.deepEqual(rest, record);
    assert.equal(halves[0].seenMs, 1_000.5 + n);
    assert.deepEqual(table.commit(record), { ref, fresh: false, changed: [] });
  }
});

test('answers come back elsewhere: the record has the new key, and the old one is told of', () => {
  const table = open(memoryOf(16));
  const before = wanted(0, 1);
  table.commit(before);
  const after = wanted(0, 2, 0, [1, 3]);
  const { fresh, changed } = table.commit(after)!;
  assert.ok(fresh);
  assert.ok(changed.map(text).includes(text(before.returns)));
  assert.ok(changed.map(text).includes(text(after.returns)));
  assert.equal(table.find(before.returns.zone, before.returns.tuple), undefined);
  assert.equal(table.counters().live, 1);
});

test('what looks like its own answer has no record', () => {
  const table = open(memoryOf(16));
  const of = { ...tuple(0), dst: tuple(0).src, dstPort: tuple(0).srcPort };
  const own = { ...wanted(0, 1), forward: key(1, of), returns: key(1, reversed(of)) };
  assert.equal(table.commit(own), undefined);
  assert.equal(table.counters().live, 0);
});

test('phases and lives follow from both halves', () => {
  const none = { seenMs: 0, tcp: 0 };
  const at = (tcp: number) => ({ seenMs: 5, tcp });
  const { SYN, ACK, FIN, RST } = TCP_FLAG;
  assert.equal(phaseOf(TCP, at(SYN), none), 'opening');
  assert.equal(phaseOf(TCP, at(SYN | ACK), at(SYN | ACK)), 'established');
  assert.equal(phaseOf(TCP, at(SYN | ACK | FIN), at(SYN | ACK)), 'closing');
  assert.equal(phaseOf(TCP, at(SYN | ACK | FIN), at(SYN | ACK | FIN)), 'closed');
  assert.equal(phaseOf(TCP, at(SYN), at(RST | ACK)), 'closed');
  assert.equal(phaseOf(UDP, at(0), none), 'unanswered');
  assert.equal(phaseOf(UDP, at(0), at(0)), 'answered');
  assert.equal(timeoutOf(TCP, 'established'), CONNECTION_TIMEOUTS.tcpEstablished);
  assert.equal(timeoutOf(UDP, 'unanswered'), CONNECTION_TIMEOUTS.udpUnanswered);
});

test('a record ends when both halves are idle, and not before', () => {
  const table = open(memoryOf(16));
  const { ref } = table.commit(wanted(0, 1))!;
  const life = CONNECTION_TIMEOUTS.tcpOpening;
  assert.deepEqual(table.sweep(life, 16).ended, []);
  table.touch(ref, 1, { seenMs: life, tcp: TCP_FLAG.SYN | TCP_FLAG.ACK });
  assert.deepEqual(table.sweep(life + 1, 16).ended, []);
  const day = CONNECTION_TIMEOUTS.tcpEstablished;
  assert.deepEqual(table.sweep(life + day - 1, 16).ended, []);
  assert.equal(table.sweep(life + day, 16).ended.length, 2);
  assert.equal(table.counters().live, 0);
});

test('what went on here is told: at a third of its life, and an end at once', () => {
  const table = open(memoryOf(16));
  const { ref } = table.commit(wanted(0, 1))!;
  table.told(ref);
  assert.deepEqual(table.sweep(2, 16).told, []);
  table.touch(ref, 1, { seenMs: 3, tcp: TCP_FLAG.ACK });
  assert.deepEqual(table.sweep(4, 16).told, [], 'who told it knows it');
  // A stamp of the kernel.
  table.commit(wanted(0, 2 + CONNECTION_TIMEOUTS.tcpEstablished / 3));
  assert.deepEqual(table.sweep(CONNECTION_TIMEOUTS.tcpEstablished / 3 + 3, 16).told, [ref]);
  assert.deepEqual(table.endings(), []);
});

test('no more end at a time than are asked for, and all do in the end', () => {
  const table = open(memoryOf(64));
  for (let n = 0; n < 8; n++) table.commit(wanted(n * 2, 1, n % 3));
  const late = CONNECTION_TIMEOUTS.tcpOpening + 2;
  const ended = [0, 1, 2, 3].map(() => table.sweep(late, 64, 3).refs.length);
  assert.deepEqual(ended, [3, 3, 2, 0]);
});

test('the first packet of a direction is told at once, however young the clock is', () => {
  const memory = memoryOf(4);
  const table = open(memory);
  const { ref } = table.commit(wanted(0, 5))!;
  assert.deepEqual(table.sweep(6, 16).told, [], 'the opening itself is told by who opened it');
  new ConnectionRecords(memory).stamp(ref.slot, 1, { seenMs: 7, tcp: 0 });
  assert.deepEqual(table.sweep(8, 16).told, [ref]);
  table.told(ref);
  assert.deepEqual(table.sweep(9, 16).told, []);
});

test('a port at its limit pays itself, and half-open records go first', () => {
  const slots = 64;
  const table = open(memoryOf(slots));
  for (let n = 0; n < 200; n++) table.commit(wanted(n * 2, n + 1, 0));
  const { live, halfOpen, evictedHalfOpen } = table.counters();
  assert.ok(Math.abs(live - slots * HALF_OPEN_SHARE) <= 1);
  assert.equal(halfOpen, live);
  assert.equal(evictedHalfOpen, 200 - live);
  for (let n = 0; n < 200; n++) {
    const { ref } = table.commit(wanted(n * 2, n + 1_000, 1))!;
    table.touch(ref, 1, { seenMs: n + 1_000, tcp: 0 });
  }
  assert.ok(Math.abs(table.largest().live - slots * CONNECTION_SHARE) <= 1);
  assert.equal(table.byPort(PORT_IDS[0]!).length, live, 'the other lost none');
});

test('answers that nobody has looked at yet are no reason to end anything', () => {
  const slots = 64;
  const memory = memoryOf(slots);
  const table = open(memory);
  const records = new ConnectionRecords(memory);
  const most = Math.ceil(memory.slots * HALF_OPEN_SHARE);
  for (let n = 0; n < most + 3; n++) {
    const { ref } = table.commit(wanted(n * 2, n + 1, 0))!;
    // As the kernel does: it tells nobody.
    if (n !== 0) records.stamp(ref.slot, 1, { seenMs: n + 1, tcp: 0 });
  }
  const { live, evictedHalfOpen } = table.counters();
  assert.deepEqual([live, evictedHalfOpen], [most + 3, 0]);
  // The one that was not answered is found among them, and counts.
  for (let n = 100; n < 120; n++) table.commit(wanted(n * 2, n + 1, 0));
  assert.equal(table.counters().live, most + 2 + most);
  assert.equal(table.find(1 as Zone, tuple(0)), undefined, 'the oldest half-open one went');
});

test('of a full table only who has more than an equal share pays', () => {
  const slots = 60;
  const table = open(memoryOf(slots));
  const established = (n: number, port: number, at: number): void => {
    const { ref } = table.commit(wanted(n * 2, at, port))!;
    table.touch(ref, 1, { seenMs: at, tcp: 0 });
  };
  for (let port = 0; port < 3; port++)
    for (let n = 0; n < 30; n++) established(port * 100 + n, port, port * 100 + n + 1);
  assert.equal(table.counters().live, slots);
  for (let port = 0; port < 3; port++)
    assert.ok(table.byPort(PORT_IDS[port]!).length >= slots / 3 - 1, `port ${port}`);
  for (let n = 0; n < 500; n++) established(1_000 + n, 2, 10_000 + n);
  for (let port = 0; port < 2; port++)
    assert.ok(table.byPort(PORT_IDS[port]!).length >= slots / 3 - 1, `port ${port} lost its share`);
});

type Step = readonly [what: string, n: number, port: number, zone: number];
const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.tuple(
    fc.constantFrom('commit', 'commit', 'commit', 'answer', 'reopen', 'remove', 'sweep', 'restart'),
    fc.nat(11),
    fc.nat(2),
    fc.integer({ min: 1, max: 3 }),
  ),
  { minLength: 1, maxLength: 60 },
);

test('any order of events: index, memory and a naive table agree; pairs are never torn', () => {
  fc.assert(
    fc.property(steps, (sequence) => {
      const memory = memoryOf(8);
      let table = open(memory);
      let now = 1;
      /** By forward key: the return key. */
      const model = new Map<string, string>();
      const dropKey = (gone: string): void => {
        for (const [forward, back] of model)
          if (forward === gone || back === gone) model.delete(forward);
      };
      for (const [what, n, port, zone] of sequence) {
        now += 1_000;
        const record = wanted(n, now, port, [1, zone]);
        const found = table.find(record.forward.zone, record.forward.tuple);
        if (what === 'commit') {
          const result = table.commit(record);
          assert.ok(result);
          for (const each of result.changed)
            if (table.find(each.zone, each.tuple) === undefined) dropKey(text(each));
          if (result.fresh) {
            dropKey(text(record.forward));
            dropKey(text(record.returns));
          }
          model.set(text(record.forward), text(record.returns));
        } else if (what === 'answer' && found !== undefined)
          table.touch(found.ref, 1, { seenMs: now, tcp: TCP_FLAG.ACK });
        else if (what === 'reopen' && found !== undefined) table.reopen(found.ref, now);
        else if (what === 'remove' && found !== undefined)
          for (const each of table.remove([found.ref])) dropKey(text(each));
        else if (what === 'sweep')
          for (const each of table.sweep(now + n * 20_000, 8).ended) dropKey(text(each));
        else if (what === 'restart') table = open(memory);
        const all = [...table.refs()].map((ref) => table.record(ref)!);
        assert.deepEqual(
          new Map(all.map(({ forward, returns }) => [text(forward), text(returns)] as const)),
          new Map([...model].toSorted()),
        );
        assert.equal(table.counters().live, model.size);
        for (const { forward, returns } of all) {
          const [there, back] = [forward, returns].map((each) => table.find(each.zone, each.tuple));
          assert.deepEqual(there?.ref, back?.ref);
          assert.deepEqual([there?.direction, back?.direction], ['forward', 'return']);
        }
      }
    }),
    { seed, numRuns },
  );
});

test('damaged memory: whatever is in it, what is read of it holds together', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 8 * CONNECTION_BYTES, maxLength: 8 * CONNECTION_BYTES }),
      (bytes) => {
        const table = open({ slots: 8, bytes: bytes.slice() });
        for (const ref of table.refs()) {
          const { forward, returns } = table.record(ref)!;
          assert.deepEqual(table.find(forward.zone, forward.tuple)?.ref, ref);
          assert.deepEqual(table.find(returns.zone, returns.tuple)?.ref, ref);
        }
        for (let n = 0; n < 20; n++) assert.ok(table.commit(wanted(n, n + 1, n % 3)));
      },
    ),
    { seed, numRuns: Math.min(numRuns, 200) },
  );
});
