/** Text and bytes of MAC addresses. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { macs, runs } from './arbitraries.test.ts';
import { BROADCAST, formatMac, isGroup, parseMac, readMac, writeMac, type Mac } from './mac.ts';

test('parse(format(x)) = x, in either case', () => {
  fc.assert(
    fc.property(macs, (mac) => {
      assert.equal(parseMac(formatMac(mac)), mac);
      assert.equal(parseMac(formatMac(mac).toUpperCase()), mac);
    }),
    runs(2000),
  );
});

test('read(write(x)) = x, six bytes and no more, the first octet first', () => {
  fc.assert(
    fc.property(macs, (mac) => {
      const bytes = new Uint8Array(8).fill(0xee);
      writeMac(bytes, 1, mac);
      assert.equal(readMac(bytes, 1), mac);
      assert.deepEqual([bytes[0], bytes[7]], [0xee, 0xee]);
      const text = [...bytes.subarray(1, 7)].map((byte) => byte.toString(16).padStart(2, '0'));
      assert.equal(formatMac(mac), text.join(':'));
    }),
    runs(2000),
  );
});

test('refused forms', () => {
  const refused = [
    '',
    '02:00:00:00:00',
    '02:00:00:00:00:0',
    '02:00:00:00:00:011',
    '2:00:00:00:00:001',
    '02-00-00-00-00-01',
    '0200.0000.0001',
    '020000000001',
    '02:00:00:00:00:0g',
    '02:00:00:00:00:0:',
    ' 2:00:00:00:00:01',
    '02:00:00:00:00:01 ',
    '02:00:00:00:00:+1',
    '02:00:00:00:00:０1',
    '02:00:00:00:00:\u00101',
  ];
  for (const text of refused) assert.equal(parseMac(text), undefined, text);
});

test('the group bit', () => {
  assert.equal(isGroup(BROADCAST), true);
  assert.equal(isGroup(parseMac('01:00:5e:00:00:01') ?? (0 as Mac)), true);
  assert.equal(isGroup(parseMac('33:33:00:00:00:01') ?? (0 as Mac)), true);
  assert.equal(isGroup(parseMac('02:ff:ff:ff:ff:ff') ?? BROADCAST), false);
  assert.equal(isGroup(parseMac('fe:01:01:01:01:01') ?? BROADCAST), false);
});
