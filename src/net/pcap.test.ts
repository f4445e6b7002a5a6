/** Capture files: written, read, read in the other byte order, cut short, refused, and junk. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { bytesUpTo, damaged, record, runs } from './arbitraries.test.ts';
import { PCAP_RECORD_MAX, pcapHeader, pcapRecord, readPcap, type PcapFile } from './pcap.ts';

const records = fc.array(
  record({
    timeUs: fc.integer({ min: 0, max: 4_294_967_295 * 1_000_000 + 999_999 }),
    frame: bytesUpTo(60),
    more: fc.nat(100),
  }).map(({ timeUs, frame, more }) => ({ timeUs, frame, originalLength: frame.length + more })),
  { maxLength: 6 },
);
const fileOf = (list: readonly PcapFile['records'][number][]): Uint8Array =>
  Uint8Array.from(
    [pcapHeader(), ...list.map((r) => pcapRecord(r.timeUs, r.frame, r.originalLength))].flatMap(
      (part) => [...part],
    ),
  );
/** The same file as a machine of the other byte order writes it. */
function swapped(file: Uint8Array): Uint8Array {
  const from = new DataView(file.buffer, file.byteOffset, file.length);
  const bytes = file.slice();
  const to = new DataView(bytes.buffer);
  const swap32 = (at: number): void => to.setUint32(at, from.getUint32(at, true), false);
  for (const at of [0, 8, 12, 16, 20]) swap32(at);
  for (const at of [4, 6]) to.setUint16(at, from.getUint16(at, true), false);
  for (let at = 24; at < file.length; at += 16 + from.getUint32(at + 8, true)) {
    for (const field of [0, 4, 8, 12]) swap32(at + field);
  }
  return bytes;
}

test('read(write(x)) = x, in either byte order', () => {
  fc.assert(
    fc.property(records, (list) => {
      const file = fileOf(list);
      const wanted = { snapLength: 262_144, records: list, cutShort: false };
      assert.deepEqual(readPcap(file), wanted);
      assert.deepEqual(readPcap(swapped(file)), wanted);
    }),
    runs(500),
  );
});

test('a file cut anywhere gives every whole record', () => {
  const list = [1, 2, 3].map((n) => ({
    timeUs: n * 1_500_000,
    originalLength: n,
    frame: new Uint8Array(n),
  }));
  const file = fileOf(list);
  const ends = [24, 41, 59, 78];
  for (let end = 24; end <= file.length; end++) {
    const read = readPcap(file.subarray(0, end));
    assert.ok('records' in read);
    assert.equal(read.records.length, ends.filter((at) => at <= end).length - 1, `${end} bytes`);
    assert.equal(read.cutShort, !ends.includes(end), `${end} bytes`);
  }
});

test('refused files', () => {
  const error = (edit: (view: DataView) => void, length = 24): string => {
    const bytes = pcapHeader();
    edit(new DataView(bytes.buffer));
    const read = readPcap(bytes.subarray(0, length));
    return 'error' in read ? read.error : '';
  };
  assert.equal(
    error(() => undefined),
    '',
  );
  assert.match(
    error(() => undefined, 23),
    /shorter/,
  );
  assert.match(
    error((view) => view.setUint32(0, 0x0a0d0d0a)),
    /magic/,
  );
  assert.match(
    error((view) => view.setUint32(0, 0xa1b23c4d, true)),
    /nanosecond/,
  );
  assert.match(
    error((view) => view.setUint32(20, 113, true)),
    /link type 113/,
  );
});

test('a record of absurd length ends the reading', () => {
  const file = fileOf([{ timeUs: 0, originalLength: 2, frame: new Uint8Array(2) }]);
  new DataView(file.buffer).setUint32(32, PCAP_RECORD_MAX + 1, true);
  const read = readPcap(file);
  assert.deepEqual('records' in read && [read.records.length, read.cutShort], [0, true]);
});

test('damage never throws', () => {
  fc.assert(
    fc.property(damaged(records.map(fileOf)), (file) => {
      readPcap(file);
    }),
    runs(5000),
  );
});

test('a file of tcpdump', () => {
  const read = readPcap(readFileSync(new URL('./testdata/kernel.pcap', import.meta.url)));
  assert.ok('records' in read);
  assert.equal(read.cutShort, false);
  const times = read.records.map(({ timeUs }) => timeUs);
  assert.deepEqual(
    times,
    times.toSorted((a, b) => a - b),
  );
  for (const { frame, originalLength } of read.records) assert.equal(frame.length, originalLength);
});
