/** IPv4 headers, and lengths that contradict each other. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCodec, ipv4s } from '../arbitraries.test.ts';
import { decodeIpv4, describeIpv4, encodeIpv4, ipv4Size } from './ipv4.ts';

test('codec', () => {
  checkCodec({ arbitrary: ipv4s, size: ipv4Size, encode: encodeIpv4, decode: decodeIpv4 });
});

const plain = '450000140001000040fd00000a0000010a000002';
const decode = (hex: string) => {
  const bytes = Uint8Array.from(Buffer.from(hex, 'hex'));
  return decodeIpv4(bytes, 0, bytes.length);
};

test('refused headers', () => {
  assert.notEqual(decode(plain), undefined);
  const refused = {
    'version 6': `6${plain.slice(1)}`,
    'header of four words': `44${plain.slice(2)}`,
    'header longer than the bytes': `46${plain.slice(2)}`,
    'total length below the header': `45000013${plain.slice(8)}`,
    'total length 0': `45000000${plain.slice(8)}`,
    'total length that cuts the options': `46000014${plain.slice(8)}00000000`,
  };
  for (const [why, hex] of Object.entries(refused)) assert.equal(decode(hex), undefined, why);
});

test('options are skipped by length, whatever they hold', () => {
  const header = decode(`4f00003c${plain.slice(8)}${'ff'.repeat(40)}`);
  assert.equal(header?.options?.length, 40);
  assert.equal(decode(`45000fa0${plain.slice(8)}`)?.totalLength, 4000);
});

test('description', () => {
  const header = decode(plain);
  assert.equal(header && describeIpv4(header), 'ip 10.0.0.1 > 10.0.0.2 proto 253');
});
