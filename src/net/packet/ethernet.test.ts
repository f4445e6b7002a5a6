/** Ethernet headers with and without a tag. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCodec, ethernets, u16 } from '../arbitraries.test.ts';
import fc from 'fast-check';
import { BROADCAST, type Mac } from '../mac.ts';
import {
  decodeEthernet,
  describeEthernet,
  encodeEthernet,
  ETHER_TYPE,
  ethernetSize,
} from './ethernet.ts';

test('codec', () => {
  const types = u16.filter((type) => type !== ETHER_TYPE.VLAN);
  const arbitrary = fc.tuple(ethernets, types).map(([header, type]) => ({ ...header, type }));
  checkCodec({ arbitrary, size: ethernetSize, encode: encodeEthernet, decode: decodeEthernet });
});

test('a tag without its four bytes is no header; a second tag is payload', () => {
  const bytes = new Uint8Array(22);
  bytes.set([0x81, 0x00, 0x20, 0x05, 0x81, 0x00, 0x00, 0x06], 12);
  assert.equal(decodeEthernet(bytes, 0, 17), undefined);
  const header = decodeEthernet(bytes, 0, 18);
  assert.deepEqual(header, { dst: 0, src: 0, tci: 0x2005, type: 0x8100 });
});

test('description', () => {
  const header = { dst: BROADCAST, src: 0x020000000001 as Mac, tci: undefined, type: 0x0800 };
  assert.equal(describeEthernet(header), '02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff');
  const tagged = describeEthernet({ ...header, tci: 0x6005 });
  assert.equal(tagged, '02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff vlan 5');
});
