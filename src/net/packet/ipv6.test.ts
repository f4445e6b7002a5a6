/** IPv6 headers and the walk over extension headers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { chain, checkCodec, extensionsTo, ip6s, record, u16, u8 } from '../arbitraries.test.ts';
import { UNSPECIFIED6 } from '../ip.ts';
import {
  decodeIpv6,
  describeIpv6,
  encodeIpv6,
  EXTENSIONS_MAX,
  IPV6_SIZE,
  ipv6Size,
  protocolAt,
  type Ipv6,
} from './ipv6.ts';

const base = {
  kind: 'ipv6',
  trafficClass: 0,
  flowLabel: 0,
  hopLimit: 64,
  src: UNSPECIFIED6,
  dst: UNSPECIFIED6,
} as const;

/** A packet of these extension headers and `rest` bytes behind them. */
function packet(
  headers: readonly { type: number; units: number }[],
  protocol: number,
  edit: (extensions: Uint8Array) => void = () => undefined,
): Uint8Array {
  const { nextHeader, extensions } = chain(headers, protocol);
  if (extensions !== undefined) edit(extensions);
  const payloadLength = extensions?.length ?? 0;
  const header = { ...base, nextHeader, extensions, payloadLength, protocol, fragment: undefined };
  const bytes = new Uint8Array(ipv6Size(header));
  encodeIpv6(bytes, 0, header);
  return bytes;
}
const decode = (bytes: Uint8Array): Ipv6 | undefined => decodeIpv6(bytes, 0, bytes.length);

test('codec, without and with extension headers', () => {
  const protocols = u8.filter((protocol) => ![0, 43, 44, 60].includes(protocol));
  const fields = {
    kind: fc.constant('ipv6' as const),
    trafficClass: u8,
    flowLabel: fc.integer({ min: 0, max: 0xfffff }),
    hopLimit: u8,
    src: ip6s,
    dst: ip6s,
  };
  const arbitrary = fc.tuple(record(fields), protocols, u16).chain(([header, protocol, more]) =>
    extensionsTo(protocol).map(({ nextHeader, extensions }): Ipv6 => {
      const atLeast = extensions?.length ?? 0;
      const payloadLength = atLeast + (more % (0xffff - atLeast));
      const atomic = { id: 0, offset: 0, more: false };
      const fragment = includesFragment(nextHeader, extensions) ? atomic : undefined;
      return { ...header, payloadLength, nextHeader, extensions, protocol, fragment };
    }),
  );
  checkCodec({ arbitrary, size: ipv6Size, encode: encodeIpv6, decode: decodeIpv6 });
});

function includesFragment(first: number, extensions: Uint8Array | undefined): boolean {
  let type = first;
  for (let at = 0; at < (extensions?.length ?? 0);) {
    if (type === 44) return true;
    type = extensions?.[at] ?? 0;
    at += 8 + (extensions?.[at + 1] ?? 0) * 8;
  }
  return false;
}

test('the walk has a bound', () => {
  const headers = Array.from({ length: EXTENSIONS_MAX }, () => ({ type: 60, units: 0 }));
  assert.equal(decode(packet(headers, 17))?.protocol, 17);
  assert.equal(decode(packet([...headers, { type: 60, units: 0 }], 17)), undefined);
});

test('every kind is walked, in any order; others end the walk', () => {
  const kinds = [0, 43, 60, 44].map((type) => ({ type, units: type === 44 ? 0 : 3 }));
  const there = decode(packet(kinds, 6));
  assert.equal(there?.protocol, 6);
  assert.equal(there?.extensions?.length, 3 * 32 + 8);
  assert.equal(decode(packet(kinds.toReversed(), 6))?.protocol, 6);
  for (const protocol of [50, 51, 59, 135]) {
    assert.equal(decode(packet([{ type: 0, units: 0 }], protocol))?.protocol, protocol);
  }
});

test('the walk stops behind a fragment header that starts past 0', () => {
  const headers = [
    { type: 0, units: 0 },
    { type: 44, units: 0 },
  ];
  const bytes = packet(headers, 60, (extensions) => {
    extensions.set([0x05, 0xa9, 1, 2, 3, 4], 10);
  });
  const later = decode(bytes);
  assert.deepEqual(later?.fragment, { id: 0x01020304, offset: 0x05a8, more: true });
  assert.equal(later?.protocol, 60);
  assert.equal(later?.extensions?.length, 16);
});

test('refused: cut or overlong extension headers', () => {
  const whole = packet([{ type: 0, units: 1 }], 17);
  for (let end = 0; end < whole.length; end++) assert.equal(decodeIpv6(whole, 0, end), undefined);
  const beyondPayload = whole.slice();
  beyondPayload[5] = 15;
  assert.equal(decode(beyondPayload), undefined);
  const overlong = whole.slice();
  overlong[IPV6_SIZE + 1] = 2;
  assert.equal(decode(overlong), undefined);
  const version4 = whole.slice();
  version4[0] = 0x45;
  assert.equal(decode(version4), undefined);
});

test('the byte that names the protocol', () => {
  for (const types of [[], [0], [44], [44, 60], [60, 43, 0, 44], [0, 60, 44, 43]]) {
    const headers = types.map((type) => ({ type, units: type === 44 ? 0 : 2 }));
    const bytes = packet(headers, 200);
    const header = decode(bytes);
    assert.ok(header !== undefined);
    assert.equal(bytes[protocolAt(header)], 200);
    const last = headers.at(-1);
    const size = last === undefined ? 34 : 8 + last.units * 8;
    assert.equal(protocolAt(header), ipv6Size(header) - size);
  }
});

test('description', () => {
  const header = decode(packet([], 47));
  assert.equal(header && describeIpv6(header), 'ip :: > :: proto 47');
});
