/** UDP headers and endpoints in text. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCodec, udps } from '../arbitraries.test.ts';
import { UNSPECIFIED6, type Ip4 } from '../ip.ts';
import { decodeUdp, describeUdp, encodeUdp, formatEndpoint, UDP_SIZE } from './udp.ts';

test('codec', () => {
  checkCodec({ arbitrary: udps, size: () => UDP_SIZE, encode: encodeUdp, decode: decodeUdp });
});

test('refused: a length below the header', () => {
  const bytes = new Uint8Array(8);
  for (const [length, decodes] of [
    [0, false],
    [7, false],
    [8, true],
    [9, true],
  ] as const) {
    bytes[5] = length;
    assert.equal(decodeUdp(bytes, 0, 8) !== undefined, decodes, `length ${length}`);
  }
});

test('description', () => {
  const udp = { kind: 'udp', srcPort: 53, dstPort: 1024, length: 8, checksum: 0 } as const;
  const text = describeUdp(0x0a000001 as Ip4, 0x0a000002 as Ip4, udp);
  assert.equal(text, 'udp 10.0.0.1:53 > 10.0.0.2:1024');
  assert.equal(formatEndpoint(UNSPECIFIED6, 53), '[::]:53');
});
