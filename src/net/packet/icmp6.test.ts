/** ICMPv6 headers, neighbour messages, their options, and which of them are believed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkCodec, icmp6s, neighbours } from '../arbitraries.test.ts';
import { ALL_NODES6, parseIp6, solicitedNode, UNSPECIFIED6, type Ip6 } from '../ip.ts';
import type { Mac } from '../mac.ts';
import { ICMP_SIZE } from './icmp.ts';
import {
  decodeIcmp6,
  decodeNeighbour,
  describeIcmp6,
  describeNeighbour,
  encodeIcmp6,
  encodeNeighbour,
  isEcho6,
  linkAddress,
  linkAddressOption,
  NA_FLAG,
  ND_OPTIONS_MAX,
  NEIGHBOUR_SIZE,
  neighbourFault,
  neighbourSize,
  type Neighbour,
} from './icmp6.ts';

const A = parseIp6('fd00::1') ?? UNSPECIFIED6;
const B = parseIp6('fd00::2') ?? UNSPECIFIED6;
const MAC = 0x020000000001 as Mac;
const ns: Neighbour = {
  kind: 'neighbour',
  type: 135,
  checksum: 0,
  flags: 0,
  target: B,
  options: [linkAddressOption(1, MAC)],
};
const na: Neighbour = {
  ...ns,
  type: 136,
  flags: NA_FLAG.SOLICITED + NA_FLAG.OVERRIDE,
  options: [linkAddressOption(2, MAC)],
};

test('codec of the header', () => {
  const size = () => ICMP_SIZE;
  checkCodec({ arbitrary: icmp6s, size, encode: encodeIcmp6, decode: decodeIcmp6 });
});

test('codec of neighbour messages, every option kept', () => {
  checkCodec({
    arbitrary: neighbours,
    size: neighbourSize,
    encode: encodeNeighbour,
    decode: decodeNeighbour,
  });
});

const bytesOf = (message: Neighbour): Uint8Array => {
  const bytes = new Uint8Array(neighbourSize(message));
  encodeNeighbour(bytes, 0, message);
  return bytes;
};
const edited = (message: Neighbour, at: number, value: number): Neighbour | undefined => {
  const bytes = bytesOf(message);
  bytes[at] = value;
  return decodeNeighbour(bytes, 0, bytes.length);
};

test('refused: other types, a code, a multicast target, options cut or of length 0', () => {
  assert.deepEqual(edited(ns, 0, 135), ns);
  assert.equal(edited(ns, 0, 134), undefined);
  assert.equal(edited(ns, 1, 1), undefined);
  assert.equal(edited(ns, 8, 0xff), undefined);
  assert.equal(edited(ns, NEIGHBOUR_SIZE + 1, 0), undefined);
  assert.equal(edited(ns, NEIGHBOUR_SIZE + 1, 2), undefined);
  const bytes = bytesOf(ns);
  for (let end = 0; end < bytes.length; end++) {
    const cut = decodeNeighbour(bytes, 0, end);
    assert.equal(cut !== undefined, end === NEIGHBOUR_SIZE, `cut at ${end}`);
  }
});

test('options have a bound', () => {
  const many = (count: number): Neighbour => ({
    ...ns,
    options: Array.from({ length: count }, () => linkAddressOption(14, MAC)),
  });
  const decode = (bytes: Uint8Array) => decodeNeighbour(bytes, 0, bytes.length);
  assert.equal(decode(bytesOf(many(ND_OPTIONS_MAX)))?.options.length, ND_OPTIONS_MAX);
  assert.equal(decode(bytesOf(many(ND_OPTIONS_MAX + 1))), undefined);
});

test('the link address is the option of the right type and size', () => {
  assert.equal(linkAddress(ns), MAC);
  assert.equal(linkAddress(na), MAC);
  assert.equal(linkAddress({ ...ns, options: na.options }), undefined);
  assert.equal(linkAddress({ ...na, options: [] }), undefined);
  const long = { type: 2, body: new Uint8Array(14) };
  assert.equal(linkAddress({ ...na, options: [long] }), undefined);
  assert.equal(linkAddress({ ...na, options: [long, linkAddressOption(2, MAC)] }), MAC);
});

test('what is not believed', () => {
  const fault = (message: Neighbour, src: Ip6, dst: Ip6, hopLimit = 255) =>
    neighbourFault({ src, dst, hopLimit }, message);
  const dad = { ...ns, options: [] };
  assert.equal(fault(ns, A, solicitedNode(B)), undefined);
  assert.equal(fault(ns, A, B), undefined);
  assert.equal(fault(na, B, A), undefined);
  assert.equal(fault({ ...na, flags: NA_FLAG.OVERRIDE }, B, ALL_NODES6), undefined);
  assert.equal(fault(dad, UNSPECIFIED6, solicitedNode(B)), undefined);
  assert.match(fault(ns, A, B, 254) ?? '', /hop limit/);
  assert.match(fault(na, B, ALL_NODES6) ?? '', /multicast/);
  assert.match(fault(dad, UNSPECIFIED6, B) ?? '', /solicited-node/);
  assert.match(fault(ns, UNSPECIFIED6, solicitedNode(B)) ?? '', /link address/);
});

test('description', () => {
  assert.equal(describeNeighbour(A, solicitedNode(B), ns), 'ns fd00::1 for fd00::2');
  assert.equal(describeNeighbour(A, B, ns), 'ns fd00::1 for fd00::2 to fd00::2');
  assert.equal(describeNeighbour(B, A, na), 'na fd00::2 is-at 02:00:00:00:00:01 to fd00::1');
  const router = { ...na, flags: na.flags + NA_FLAG.ROUTER };
  assert.equal(
    describeNeighbour(B, A, router),
    'na fd00::2 is-at 02:00:00:00:00:01 to fd00::1 router',
  );
  const echo = { kind: 'icmp6', type: 128, code: 0, checksum: 0, id: 7, sequence: 1 } as const;
  assert.equal(describeIcmp6(A, B, echo), 'icmp6 fd00::1 > fd00::2 echo id 7 seq 1');
  const big = { ...echo, type: 2, id: 1, sequence: 2 };
  assert.equal(describeIcmp6(A, B, big), 'icmp6 fd00::1 > fd00::2 too-big mtu 65538');
  assert.deepEqual([128, 129, 130, 8].map(isEcho6), [true, true, false, false]);
});
