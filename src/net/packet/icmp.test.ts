/** ICMP headers and their words. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCodec, icmps } from '../arbitraries.test.ts';
import type { Ip4 } from '../ip.ts';
import { decodeIcmp, describeIcmp, encodeIcmp, ICMP_SIZE, isEcho } from './icmp.ts';

test('codec', () => {
  checkCodec({ arbitrary: icmps, size: () => ICMP_SIZE, encode: encodeIcmp, decode: decodeIcmp });
});

test('description', () => {
  const describe = (type: number, code: number, id: number, sequence: number): string => {
    const message = { kind: 'icmp', type, code, checksum: 0, id, sequence } as const;
    return describeIcmp(0x0a000001 as Ip4, 0x0a000002 as Ip4, message);
  };
  assert.equal(describe(8, 0, 7, 1), 'icmp 10.0.0.1 > 10.0.0.2 echo id 7 seq 1');
  assert.equal(describe(0, 0, 7, 1), 'icmp 10.0.0.1 > 10.0.0.2 reply id 7 seq 1');
  assert.equal(describe(3, 4, 0, 1400), 'icmp 10.0.0.1 > 10.0.0.2 frag-needed mtu 1400');
  assert.equal(describe(5, 1, 0, 2), 'icmp 10.0.0.1 > 10.0.0.2 type 5 code 1 id 0 seq 2');
});

test('echo types', () => {
  assert.deepEqual([0, 8, 3, 11, 128].map(isEcho), [true, true, false, false, false]);
});
