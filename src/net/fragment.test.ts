/**
 * Fragments of IPv4 put together again are what was cut; limits, options and refusals one by one.
 * IPv6: the headers of each fragment; that they are what was cut is in `reassembly.test.ts`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { damaged, ethernets, frames, ip4s, record, runs, u16, u8 } from './arbitraries.test.ts';
import { write16 } from './bytes.ts';
import { fold } from './checksum.ts';
import { frameFault } from './fault.ts';
import { decodeFrame, encodeFrame, transportSum } from './frame.ts';
import type { Ethernet } from './packet/ethernet.ts';
import { fragments, fragments6, IPV4_MTU_MIN, IPV6_MTU_MIN } from './fragment.ts';
import type { Ipv4 } from './packet/ipv4.ts';
import { parseFrameText } from './text.ts';

const ENDS = '02:00:00:00:00:01 > 02:00:00:00:00:02';
function frameOf(text: string): Uint8Array {
  const bytes = parseFrameText(`${ENDS} ${text}`);
  assert.ok(bytes instanceof Uint8Array, `${text}: ${JSON.stringify(bytes)}`);
  return bytes;
}
interface Cut {
  readonly ethernet: Ethernet;
  readonly ip: Ipv4;
  /** What the IP packet carries. */
  readonly data: Uint8Array;
}
function open(bytes: Uint8Array): Cut {
  const frame = decodeFrame(bytes);
  assert.ok(frame?.network?.kind === 'ipv4');
  const { ethernet, network: ip } = frame;
  const start = (ethernet.tci === undefined ? 14 : 18) + 20 + (ip.options?.length ?? 0);
  return { ethernet, ip, data: bytes.slice(start, bytes.length - frame.trailer.length) };
}

/**
 * The procedure of RFC 791 §3.2, slow: every byte goes to its place once, and none is left out. The
 * frames may be parts of a fragment.
 */
function reassemble(list: readonly Uint8Array[]): { at: number; more: boolean; data: number[] } {
  const data: number[] = [];
  const parts = list.map(open).toSorted((a, b) => a.ip.fragmentOffset - b.ip.fragmentOffset);
  const at = parts[0]?.ip.fragmentOffset ?? 0;
  for (const part of parts)
    part.data.forEach((byte, i) => {
      const place = part.ip.fragmentOffset - at + i;
      assert.equal(data[place], undefined, 'no byte comes twice');
      data[place] = byte;
    });
  assert.equal(Object.keys(data).length, data.length, 'no gap');
  return { at, more: parts.at(-1)?.ip.moreFragments ?? false, data };
}
const sizes = (list: readonly Uint8Array[] | undefined) =>
  list?.map((bytes) => {
    const { ip } = open(bytes);
    return [ip.fragmentOffset, ip.totalLength, ip.moreFragments];
  });

test('offsets, lengths and more-fragments', () => {
  const packet = frameOf('udp 10.0.0.1:1 > 10.0.0.2:2 length 2972');
  assert.deepEqual(sizes(fragments(packet, 1500)), [
    [0, 1500, true],
    [1480, 1500, true],
    [2960, 40, false],
  ]);
  assert.deepEqual(sizes(fragments(packet, 1499)), [
    [0, 1492, true],
    [1472, 1492, true],
    [2944, 56, false],
  ]);
  assert.deepEqual(fragments(packet, 3000), [packet]);
  assert.deepEqual(sizes(fragments(packet, 2999)), [
    [0, 2996, true],
    [2976, 24, false],
  ]);
  assert.equal(fragments(packet, IPV4_MTU_MIN)?.length, 63);
});

test('a fragment is cut further; what follows it still follows', () => {
  const first = fragments(frameOf('udp 10.0.0.1:1 > 10.0.0.2:2 length 2972'), 1500);
  const [, middle, last] = first ?? [];
  assert.ok(middle !== undefined && last !== undefined);
  assert.deepEqual(sizes(fragments(middle, 800)), [
    [1480, 796, true],
    [2256, 724, true],
  ]);
  assert.deepEqual(fragments(last, 800), [last]);
});

test('what is refused', () => {
  const packet = frameOf('udp 10.0.0.1:1 > 10.0.0.2:2 length 2972');
  for (const mtu of [67, 0, -1, 1500.5, Number.NaN, Infinity])
    assert.equal(fragments(packet, mtu), undefined);
  for (const text of [
    'udp [fd00::1]:1 > [fd00::2]:2 length 2972',
    'arp who-has 10.0.0.2 tell 10.0.0.1',
    'type 0x0800 length 2000',
  ])
    assert.equal(fragments(frameOf(text), 1500), undefined, text);
  assert.equal(fragments(packet.subarray(0, -1), 1500), undefined, 'cut short');
  assert.equal(fragments(packet.subarray(0, 13), 1500), undefined, 'no frame');
  const wrong = packet.slice();
  wrong[22] = 3;
  assert.equal(fragments(wrong, 1500), undefined, 'header checksum');
  const { ethernet, ip, data } = open(packet);
  const made = (network: Partial<Ipv4>, payload = data) =>
    encodeFrame({ ethernet, network: { ...ip, ...network }, payload });
  const df = made({ dontFragment: true });
  assert.equal(fragments(df, 1500), undefined);
  assert.deepEqual(fragments(df, 3000), [df]);
  assert.equal(fragments(made({ moreFragments: true }), 1500), undefined, 'not in units of 8');
  assert.ok(fragments(made({ moreFragments: true }, data.subarray(4)), 1500) !== undefined);
  assert.equal(fragments(made({ fragmentOffset: 62_560 }), 1500), undefined, 'beyond 65535');
  assert.ok(fragments(made({ fragmentOffset: 62_528 }), 1500) !== undefined);
});

test('only options with the copied flag are in every fragment', () => {
  const { ethernet, ip, data } = open(frameOf('udp 10.0.0.1:1 > 10.0.0.2:2 length 2000'));
  const cut = (...options: number[]) =>
    fragments(
      encodeFrame({
        ethernet,
        network: { ...ip, options: Uint8Array.from(options) },
        payload: data,
      }),
      1500,
    )?.map((bytes) => [...(open(bytes).ip.options ?? [])]);
  const route = [0x83, 7, 4, 10, 0, 0, 9];
  const record4 = [7, 7, 4, 0, 0, 0, 0];
  assert.deepEqual(cut(1, ...route), [
    [1, ...route],
    [...route, 0],
  ]);
  assert.deepEqual(cut(...record4, 0), [[...record4, 0], []]);
  assert.deepEqual(cut(...record4, ...route, 1, 0), [
    [...record4, ...route, 1, 0],
    [...route, 0],
  ]);
  assert.deepEqual(cut(0, 0x83, 9, 9), [[0, 0x83, 9, 9], []]);
  for (const broken of [
    [0x83, 1, 0, 0],
    [0x83, 0, 0, 0],
    [0x83, 5, 0, 0],
    [1, 1, 1, 0x83],
  ])
    assert.equal(cut(...broken), undefined, String(broken));
});

test('a checksum left to the interface is completed before cutting, and only then', () => {
  for (const kind of ['tcp', 'udp'] as const) {
    const flags = kind === 'tcp' ? ' syn' : '';
    const right = frameOf(`${kind} 10.0.0.1:1 > 10.0.0.2:2${flags} length 1999`);
    const left = right.slice();
    const { ip, data } = open(right);
    write16(left, 34 + (kind === 'tcp' ? 16 : 6), fold(transportSum(ip, kind, data.length)));
    assert.notDeepEqual(left, right);
    // The `slice` of a Buffer is a view: it must not be completed in place.
    const before = left.slice();
    const given = Buffer.from(left.buffer, left.byteOffset, left.length);
    assert.deepEqual(fragments(given, 1500), fragments(right, 1500));
    assert.deepEqual(left, before);
    assert.deepEqual(fragments(left, 9000), [left]);
    // One off is somebody's mistake, not ours to hide.
    const wrong = left.slice();
    wrong[35 + (kind === 'tcp' ? 16 : 6)] = (wrong[35 + (kind === 'tcp' ? 16 : 6)] ?? 0) ^ 1;
    assert.deepEqual(reassemble(fragments(wrong, 1500) ?? []).data, [...open(wrong).data]);
  }
});

test('a sum of zero is sent as all ones by UDP, as zero by TCP', () => {
  for (const [kind, at, sent] of [
    ['udp', 40, 0xffff],
    ['tcp', 50, 0],
  ] as const) {
    const flags = kind === 'tcp' ? ' syn' : '';
    const bytes = frameOf(`${kind} 10.0.0.1:1 > 10.0.0.2:2${flags} length 200`);
    // Two bytes of the payload take what the checksum was: all of it then sums up to zero.
    bytes.set(bytes.subarray(at, at + 2), 100);
    const { ip, data } = open(bytes);
    write16(bytes, at, fold(transportSum(ip, kind, data.length)));
    const whole = encodeFrame({ ...decodeFrame(bytes)!, trailer: new Uint8Array() });
    assert.equal((whole[at] ?? 0) * 256 + (whole[at + 1] ?? 0), sent);
    assert.deepEqual(reassemble(fragments(bytes, 100) ?? []).data, [...open(whole).data]);
  }
});

/** Options that a receiver can read. */
const readable = fc
  .array(
    fc.oneof(
      fc.constant([1]),
      fc
        .tuple(fc.constantFrom(7, 68, 0x82, 0x83, 0x94), fc.uint8Array({ maxLength: 8 }))
        .map(([type, body]) => [type, body.length + 2, ...body]),
    ),
    { maxLength: 4 },
  )
  .map((list) => list.flat().slice(0, 40))
  .map((bytes) => (bytes.length === 0 ? undefined : bytes))
  .map((bytes) => bytes && Uint8Array.from([...bytes, 0, 0, 0].slice(0, (bytes.length + 3) & ~3)));

const packets = record({
  ethernet: ethernets,
  network: record({
    kind: fc.constant('ipv4' as const),
    tos: u8,
    id: u16,
    reserved: fc.boolean(),
    ttl: u8,
    src: ip4s,
    dst: ip4s,
    options: readable,
    protocol: fc.constantFrom(1, 47, 132),
    moreFragments: fc.boolean(),
    fragmentOffset: fc.oneof(
      fc.constant(0),
      fc.integer({ min: 0, max: 7000 }).map((n) => n * 8),
    ),
  }),
  payload: fc.uint8Array({ minLength: 1, maxLength: 1200, size: 'max' }),
  trailer: fc.uint8Array({ maxLength: 6 }),
}).map((packet) => {
  const { payload, network } = packet;
  return network.moreFragments
    ? { ...packet, payload: payload.subarray(0, payload.length & ~7) }
    : packet;
});

/** What all fragments of a packet share. */
const common = (ip: Ipv4) => ({
  ...ip,
  totalLength: 0,
  fragmentOffset: 0,
  moreFragments: false,
  options: undefined,
  checksum: 0,
});

test('put together again, fragments are what was cut', () => {
  let cuts = 0;
  fc.assert(
    fc.property(packets, fc.integer({ min: 68, max: 700 }), (packet, mtu) => {
      const bytes = encodeFrame(packet);
      const { ip, ethernet, data } = open(bytes);
      const list = fragments(bytes, mtu);
      // Only options that were cut off in the middle are refused.
      if (list === undefined) return assert.ok(packet.network.options !== undefined);
      if (list.length === 1) return assert.deepEqual(list, [bytes]);
      cuts++;
      for (const each of list) {
        const part = open(each);
        assert.ok(part.ip.totalLength <= mtu && part.data.length > 0);
        assert.deepEqual(part.ethernet, ethernet);
        assert.ok(!part.ip.moreFragments || part.data.length % 8 === 0);
        assert.deepEqual(common(part.ip), common(ip));
        assert.doesNotMatch(frameFault(each) ?? '', /^ip |cut short/);
      }
      const again = reassemble(list.toReversed());
      assert.deepEqual(again, { at: ip.fragmentOffset, more: ip.moreFragments, data: [...data] });
      // Cut twice is cut: a narrower link behind does not change what arrives.
      const twice = list.map((each) => fragments(each, 68));
      assert.ok(twice.every((each) => each !== undefined));
      assert.deepEqual(reassemble(twice.flat()), again);
    }),
    runs(1500),
  );
  assert.ok(process.env['RUNS'] !== undefined || cuts > 300, `${cuts} packets were cut`);
});

test('any bytes: nothing throws, and nothing is written to', () => {
  const whole = frames.map(encodeFrame);
  fc.assert(
    fc.property(fc.oneof(whole, damaged(whole)), (bytes) => {
      const before = bytes.slice();
      const list = fragments(bytes, 68);
      assert.deepEqual(bytes, before);
      for (const each of list ?? []) assert.ok(each === bytes || open(each).ip.totalLength <= 68);
    }),
    runs(4000),
  );
});

/** An IPv6 packet of GRE behind these extension headers, each of 8 bytes. */
const behind = (length: number, ...types: readonly number[]): Uint8Array => {
  const frame = decodeFrame(frameOf('ip fd00::1 > fd00::2 proto 47'));
  assert.ok(frame?.network?.kind === 'ipv6');
  const all = [...types, 47];
  const extensions = Uint8Array.from(
    types.flatMap((_, i) => [all[i + 1] ?? 0, 0, 0, 0, 0, 0, 0, 0]),
  );
  return encodeFrame({
    ...frame,
    network: { ...frame.network, nextHeader: all[0] ?? 0, extensions },
    payload: new Uint8Array(length).fill(7),
    trailer: new Uint8Array(3),
  });
};
/** From the IPv6 header on: next header, and the extension headers in hex, a space between two. */
const headers6 = (list: readonly Uint8Array[] | undefined) =>
  list?.map((bytes) => {
    const ip = decodeFrame(bytes)?.network;
    assert.ok(ip?.kind === 'ipv6' && frameFault(bytes) === undefined);
    assert.equal(bytes.length, 14 + 40 + ip.payloadLength, 'no padding');
    const text = (ip.extensions ?? new Uint8Array()).toHex().replace(/.{16}(?=.)/g, '$& ');
    return `${ip.payloadLength} ${ip.nextHeader}: ${text}`;
  });

test('IPv6: a fragment header behind what routers look at', () => {
  const id = 0x8badf00d;
  assert.deepEqual(headers6(fragments6(behind(2000), 1280, id)), [
    '1240 44: 2f0000018badf00d',
    '776 44: 2f0004d08badf00d',
  ]);
  assert.deepEqual(headers6(fragments6(behind(2000, 0), 1280, id)), [
    '1240 0: 2c00000000000000 2f0000018badf00d',
    '792 0: 2c00000000000000 2f0004c88badf00d',
  ]);
  assert.deepEqual(headers6(fragments6(behind(1232, 60, 43, 60), 1281, id)), [
    '1240 60: 2b00000000000000 2c00000000000000 3c0000018badf00d 2f00000000000000',
    '48 60: 2b00000000000000 2c00000000000000 3c0004c08badf00d',
  ]);
  const [first] = fragments6(behind(2000, 0, 60), 1280, id) ?? [];
  assert.deepEqual(headers6(first && [first]), [
    '1240 0: 2c00000000000000 3c0000018badf00d 2f00000000000000',
  ]);
});

test('IPv6: what fits, and what is refused', () => {
  const packet = behind(2000);
  assert.deepEqual(fragments6(packet, 2040, 1), [packet]);
  assert.equal(fragments6(packet, 2039, 1)?.length, 2);
  for (const mtu of [IPV6_MTU_MIN - 1, 0, 1500.5, Number.NaN, Infinity])
    assert.equal(fragments6(packet, mtu, 1), undefined);
  assert.equal(fragments6(packet.subarray(0, -4), 1280, 1), undefined, 'cut short');
  assert.equal(fragments6(frameOf('udp 10.0.0.1:1 > 10.0.0.2:2 length 2000'), 1280, 1), undefined);
  const [part] = fragments6(behind(4000), 2000, 1) ?? [];
  assert.ok(part !== undefined);
  assert.equal(fragments6(part, 1280, 1), undefined, 'only the source cuts');
  assert.equal(fragments6(behind(2000, 44), 1280, 1), undefined, 'nor with an atomic one');
  const long = decodeFrame(behind(100, 60));
  assert.ok(long?.network?.kind === 'ipv6');
  const options = new Uint8Array(1600);
  options.set([47, 199]);
  const chain = encodeFrame({ ...long, network: { ...long.network, extensions: options } });
  assert.equal(fragments6(chain, 1500, 1), undefined, 'headers in two fragments');
  assert.equal(fragments6(chain, 1660, 1)?.length, 2);
});

test('IPv6: a checksum left to the interface is completed before cutting', () => {
  const right = frameOf('udp [fd00::1]:1 > [fd00::2]:2 length 1999');
  const left = right.slice();
  const ip = decodeFrame(right)?.network;
  assert.ok(ip?.kind === 'ipv6');
  write16(left, 60, fold(transportSum(ip, 'udp', 2007)));
  assert.deepEqual(fragments6(left, 1280, 1), fragments6(right, 1280, 1));
});
