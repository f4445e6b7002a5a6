/** What agents tell each other: every datagram comes back as it was, and no other is taken. */
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip } from '#net/ip.ts';
import { TRANSLATIONS_MAX, type Translation, type Zone } from '#virtual/connection.ts';
import { PORT_IDS } from '#virtual/ids.arbitrary.ts';
import {
  ASKS_MAX,
  DATAGRAM_BYTES_MAX,
  decode,
  encode,
  epochOf,
  HEADER_BYTES,
  RECORDS_MAX,
  ROOM,
  sizeOfRecord,
  type TellingRecord,
} from './wire.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 500);
const u32 = fc.nat(0xffffffff);
const port = fc.nat(0xffff);
const ip4s = u32 as fc.Arbitrary<Ip>;
const ip6s = fc
  .uint8Array({ minLength: 16, maxLength: 16 })
  .map((bytes) => Buffer.from(bytes).toString('hex') as Ip);
const age = fc.option(fc.nat(0xfffffffe), { nil: undefined });
const portId = fc.option(fc.constantFrom(...PORT_IDS), { nil: undefined });

const recordsOf = (ips: fc.Arbitrary<Ip>): fc.Arbitrary<TellingRecord> =>
  fc
    .record({
      protocol: fc.nat(255),
      zones: fc.tuple(u32, u32),
      ips: fc.tuple(ips, ips, ips, ips),
      ports: fc.tuple(port, port, port, port),
      inPort: portId,
      outPort: portId,
      ages: fc.tuple(age, age),
      tcp: fc.tuple(fc.nat(255), fc.nat(255)),
      incarnation: u32,
    })
    .map(({ protocol, zones, ips: [a, b, c, d], ports: [i, j, k, l], ...rest }) => ({
      ...rest,
      // Not drawn: none, or up to as many as there may be.
      translations: Array.from({ length: i % (TRANSLATIONS_MAX + 1) }, (_, n): Translation => ({
        zone: zones[n % 2] as Zone,
        changes: (j + n) % 2 === 0 ? 'source' : 'destination',
        from: { ip: a, port: k },
        to: { ip: c, port: l },
      })),
      forward: {
        zone: zones[0] as Zone,
        tuple: { protocol, src: a, dst: b, srcPort: i, dstPort: j },
      },
      returns: {
        zone: zones[1] as Zone,
        tuple: { protocol, src: c, dst: d, srcPort: k, dstPort: l },
      },
    }));
const records = fc.oneof(recordsOf(ip4s), recordsOf(ip6s));
const lists = fc.array(records, { maxLength: RECORDS_MAX }).map((all) => {
  let room = ROOM;
  return all.filter((record) => (room -= sizeOfRecord(record)) >= 0);
});
/** Records, or questions. */
const bodies = fc.oneof(
  lists.map((list) => ({ records: list, asks: [] })),
  fc
    .array(records, { maxLength: ASKS_MAX })
    .map((list) => ({ records: [], asks: list.map(({ returns }) => returns) })),
);
const headers = fc.record(
  {
    epoch: u32,
    boot: u32,
    sequence: u32,
    peerBoot: u32,
    ack: u32,
    ackBits: u32,
    wants: fc.nat(0xffff),
    asked: fc.nat(0xffff),
    answered: fc.nat(0xffff),
  },
  { noNullPrototype: true },
);
const key = new Uint8Array(32).fill(7);

test('a datagram is read as it was written, and fits', () => {
  fc.assert(
    fc.property(headers, bodies, (header, body) => {
      const bytes = encode({ header, ...body }, key);
      assert.ok(bytes.length <= DATAGRAM_BYTES_MAX);
      assert.equal(epochOf(bytes), header.epoch);
      assert.deepEqual(decode(bytes, key), { header, ...body });
    }),
    { seed, numRuns },
  );
});

test('with another key, or one byte changed, added or missing, it is refused', () => {
  const damage = fc.tuple(
    fc.nat(),
    fc.integer({ min: 1, max: 255 }),
    fc.constantFrom('flip', 'cut', 'more'),
  );
  fc.assert(
    fc.property(headers, bodies, damage, (header, body, [at, by, how]) => {
      const bytes = encode({ header, ...body }, key);
      assert.equal(decode(bytes, new Uint8Array(32).fill(8)), undefined);
      const other =
        how === 'cut'
          ? bytes.slice(0, at % bytes.length)
          : new Uint8Array([...bytes, ...(how === 'more' ? [by] : [])]);
      if (how === 'flip') other[at % other.length]! ^= by;
      assert.equal(decode(other, key), undefined);
    }),
    { seed, numRuns },
  );
});

test('junk, and junk made with the key, does no harm', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: DATAGRAM_BYTES_MAX + 50 }), headers, (junk, header) => {
      assert.equal(decode(junk, key), undefined);
      // The right MAC around a count and records that are not whole.
      const bytes = encode({ header, records: [], asks: [] }, key);
      const head = bytes.subarray(0, HEADER_BYTES);
      const made = remade(new Uint8Array([...head, ...junk.subarray(0, 1_000)]));
      const decoded = decode(made, key);
      if (decoded !== undefined) assert.ok(decoded.records.length <= RECORDS_MAX);
    }),
    { seed, numRuns },
  );
});

/** Bytes as a datagram with as many records and questions as they hold by chance, and its MAC. */
function remade(body: Uint8Array): Uint8Array {
  const view = new DataView(body.buffer);
  view.setUint8(28, body.length % 5);
  view.setUint8(29, body.length % 3);
  const mac = createHmac('sha256', key).update(body).digest().subarray(0, 16);
  return new Uint8Array([...body, ...mac]);
}
