/** Errors of a router: each cause, each packet without one, and a law over any bytes. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import fc from 'fast-check';
import { damaged, frames, ip4s, ip6s, macs, record, runs, u8 } from './arbitraries.test.ts';
import { chain } from './arbitraries.test.ts';
import { read16 } from './bytes.ts';
import { frameFault } from './fault.ts';
import { decodeFrame, encodeFrame, type Frame } from './frame.ts';
import { errorAbout, mayElicitError, type ErrorAbout, type ErrorCause } from './icmp-error.ts';
import { parseIp, parseIp6, UNSPECIFIED4, UNSPECIFIED6, type Ip, type Ip6 } from './ip.ts';
import { parseMac, ZERO_MAC } from './mac.ts';
import { readPcap } from './pcap.ts';
import { describeFrame, parseFrameText } from './text.ts';

const ENDS = '02:00:00:00:00:01 > 02:00:00:00:00:02';
const UDP4 = `${ENDS} udp 10.0.0.1:1 > 10.0.9.2:2 length 4`;
const UDP6 = `${ENDS} udp [fd00::1]:1 > [fd00:9::2]:2 length 4`;
const src = parseMac('02:00:00:00:00:02') ?? ZERO_MAC;
const dst = parseMac('02:00:00:00:00:01') ?? ZERO_MAC;
const ip = (text: string): Ip => parseIp(text) ?? UNSPECIFIED4;
const ROUTER4 = ip('10.0.0.254');
const ROUTER6 = ip('fd00::fe');
const CAUSES: readonly ErrorCause[] = [
  'net-unreachable',
  'host-unreachable',
  'protocol-unreachable',
  'port-unreachable',
  'admin-prohibited',
  'ttl-exceeded',
  { tooBig: 1400 },
];

function frameOf(text: string): Uint8Array {
  const bytes = parseFrameText(text);
  assert.ok(bytes instanceof Uint8Array, `${text}: ${JSON.stringify(bytes)}`);
  return bytes;
}
function decoded(bytes: Uint8Array): Frame {
  const frame = decodeFrame(bytes);
  assert.ok(frame !== undefined);
  return frame;
}
function about(bytes: Uint8Array, cause: ErrorCause, more: Partial<ErrorAbout> = {}) {
  const six = decodeFrame(bytes)?.network?.kind === 'ipv6';
  return errorAbout(bytes, { cause, from: six ? ROUTER6 : ROUTER4, src, dst, ...more });
}
const BACK = '02:00:00:00:00:02 > 02:00:00:00:00:01';

test('every cause of IPv4', () => {
  const told = CAUSES.map((cause) => {
    const error = about(frameOf(UDP4), cause);
    assert.ok(error !== undefined && frameFault(error) === undefined);
    assert.deepEqual(error.subarray(42), frameOf(UDP4).subarray(14));
    return describeFrame(error).replace(/ data .*/, '');
  });
  const head = `${BACK} icmp 10.0.0.254 > 10.0.0.1`;
  assert.deepEqual(told, [
    `${head} net-unreachable id 0 seq 0 tos 192`,
    `${head} host-unreachable id 0 seq 0 tos 192`,
    `${head} protocol-unreachable id 0 seq 0 tos 192`,
    `${head} port-unreachable id 0 seq 0 tos 192`,
    `${head} admin-prohibited id 0 seq 0 tos 192`,
    `${head} ttl-exceeded id 0 seq 0 tos 192`,
    `${head} frag-needed mtu 1400 tos 192`,
  ]);
});

test('every cause of IPv6', () => {
  const told = CAUSES.map((cause) => {
    const error = about(frameOf(UDP6), cause);
    assert.ok(error !== undefined && frameFault(error) === undefined);
    assert.deepEqual(error.subarray(62), frameOf(UDP6).subarray(14));
    return describeFrame(error).replace(/ data .*/, '');
  });
  const head = `${BACK} icmp6 fd00::fe > fd00::1`;
  assert.deepEqual(told, [
    `${head} no-route id 0 seq 0`,
    `${head} address-unreachable id 0 seq 0`,
    `${head} type 4 code 1 id 0 seq 6`,
    `${head} port-unreachable id 0 seq 0`,
    `${head} admin-prohibited id 0 seq 0`,
    `${head} hop-limit-exceeded id 0 seq 0`,
    `${head} too-big mtu 1400`,
  ]);
  const wide = about(frameOf(UDP6), { tooBig: 0x12345 }) ?? new Uint8Array();
  assert.match(describeFrame(wide), /too-big mtu 74565/);
});

test('the pointer names the field behind extension headers', () => {
  const at = (types: readonly number[]): number | undefined => {
    const extensions = chain(
      types.map((type) => ({ type, units: 1 })),
      200,
    );
    const network = { kind: 'ipv6' as const, src: six('fd00::1'), dst: six('fd00::2') };
    const bytes = encodeFrame({
      ethernet: { src: dst, dst: src },
      network: { ...network, ...extensions, protocol: 200 },
    });
    const error = about(bytes, 'protocol-unreachable') ?? new Uint8Array();
    const pointer = ((error[60] ?? 0) << 8) | (error[61] ?? 0);
    assert.equal(bytes[14 + pointer], 200);
    return pointer;
  };
  const six = (text: string): Ip6 => parseIp6(text) ?? UNSPECIFIED6;
  assert.deepEqual([at([]), at([0]), at([0, 60]), at([0, 44]), at([44, 60])], [6, 40, 56, 56, 48]);
});

test('576 bytes of IPv4 and 1280 of IPv6 at most, and as many as there are', () => {
  for (const [text, most, headers] of [
    ['udp 10.0.0.1:1 > 10.0.9.2:2', 576, 28],
    ['udp [fd00::1]:1 > [fd00:9::2]:2', 1280, 48],
  ] as const) {
    const own = most === 576 ? 28 : 48;
    for (const [length, size] of [
      [most - headers - own, most],
      [most - headers - own - 1, most - 1],
      [most - headers - own + 1, most],
      [9000, most],
    ] as const) {
      const packet = frameOf(`${ENDS} ${text} length ${length}`);
      const error = about(packet, 'ttl-exceeded') ?? new Uint8Array();
      assert.equal(error.length - 14, size);
      assert.deepEqual(error.subarray(14 + own), packet.subarray(14, 14 + size - own));
      assert.equal(frameFault(error), undefined);
    }
  }
});

test('neither tag nor padding is quoted; the TTL is that which the router saw', () => {
  for (const text of [UDP4, UDP6]) {
    const plain = frameOf(text);
    const tagged = frameOf(text.replace('udp', 'vlan 5 udp'));
    const padded = Uint8Array.from([...tagged, 1, 2, 3]);
    assert.deepEqual(about(padded, 'ttl-exceeded'), about(plain, 'ttl-exceeded'));
    const sent = about(padded, 'ttl-exceeded', { tci: 0x2007 }) ?? new Uint8Array();
    assert.equal(decoded(sent).ethernet.tci, 0x2007);
    const seen = frameOf(`${text} ttl 1`);
    assert.deepEqual(about(plain, 'ttl-exceeded', { ttl: 1 }), about(seen, 'ttl-exceeded'));
    assert.deepEqual(about(plain, 'ttl-exceeded', { ttl: 64 }), about(plain, 'ttl-exceeded'));
    for (const bad of [{ ttl: 256 }, { ttl: -1 }, { ttl: 1.5 }, { tci: 0x10000 }, { tci: NaN }])
      assert.equal(about(plain, 'ttl-exceeded', bad), undefined);
  }
});

test('options are quoted whole', () => {
  const frame = decoded(frameOf(UDP4));
  assert.ok(frame.network?.kind === 'ipv4');
  const options = new Uint8Array(40).fill(1);
  const bytes = encodeFrame({ ...frame, network: { ...frame.network, options } });
  const error = about(bytes, 'net-unreachable', { ttl: 7 }) ?? new Uint8Array();
  const quoted = Uint8Array.from([...bytes.subarray(0, 14), ...error.subarray(42)]);
  assert.equal(frameFault(quoted), undefined);
  const inner = decoded(quoted).network;
  assert.ok(inner?.kind === 'ipv4');
  assert.deepEqual([inner.ttl, inner.options], [7, options]);
});

test('about these there is no error', () => {
  const silent = [
    ...['net-unreachable', 'ttl-exceeded', 'frag-needed', 'type 5 code 1', 'type 4 code 0'].map(
      (word) => `${ENDS} icmp 10.0.0.1 > 10.0.9.2 ${word}`,
    ),
    `${ENDS} icmp 10.0.0.1 > 10.0.9.2 type 12 code 0`,
    `${ENDS} icmp 10.0.0.1 > 10.0.9.2 type 99 code 0`,
    `${ENDS} icmp6 fd00::1 > fd00:9::2 no-route`,
    `${ENDS} icmp6 fd00::1 > fd00:9::2 too-big mtu 1300`,
    `${ENDS} icmp6 fd00::1 > fd00:9::2 type 127 code 0`,
    `${ENDS} icmp6 fd00::1 > fd00:9::2 type 137 code 0`,
    `${ENDS} ip 10.0.0.1 > 10.0.9.2 proto 1`,
    `${ENDS} ip fd00::1 > fd00:9::2 proto 58`,
    ...['255.255.255.255', '224.0.0.1', '239.1.2.3', '0.0.0.0'].map((to) =>
      UDP4.replace('10.0.9.2', to),
    ),
    ...['0.0.0.0', '0.0.0.9', '127.0.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255'].map(
      (from) => UDP4.replace('10.0.0.1', from),
    ),
    ...['ff02::1', '::'].map((to) => UDP6.replace('fd00:9::2', to)),
    ...['::', '::1', 'ff02::1'].map((from) => UDP6.replace('fd00::1', from)),
    ...[UDP4, UDP6].flatMap((text) =>
      ['ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01'].map((mac) =>
        text.replace('02:00:00:00:00:02', mac),
      ),
    ),
    `${ENDS} arp who-has 10.0.0.2 tell 10.0.0.1`,
    `${ENDS} type 0x88cc length 50`,
    `${ENDS} type 0x0800 length 50`,
  ];
  for (const text of silent) {
    const bytes = frameOf(text);
    assert.equal(mayElicitError(decoded(bytes), 'ttl-exceeded'), false, text);
    assert.equal(about(bytes, 'ttl-exceeded'), undefined, text);
  }
});

test('about these there is one', () => {
  for (const text of [
    `${ENDS} icmp 10.0.0.1 > 10.0.9.2 echo`,
    `${ENDS} icmp 10.0.0.1 > 10.0.9.2 type 13 code 0`,
    `${ENDS} icmp6 fd00::1 > fd00:9::2 echo`,
    `${ENDS} ns fd00::1 for fd00::2 to fd00::2`,
    `${ENDS} ip 10.0.0.1 > 10.0.9.2 proto 6`,
    `${ENDS} ip 10.0.0.1 > 10.0.9.2 proto 58`,
    `${ENDS} ip fd00::1 > fd00:9::2 proto 1`,
  ])
    assert.ok(about(frameOf(text), 'host-unreachable') !== undefined, text);
  // Path MTU discovery of groups (RFC 4443 §2.4(e.3)).
  const group = frameOf(
    UDP6.replace('fd00:9::2', 'ff0e::1').replace(/> \S+/, '> 33:33:00:00:00:01'),
  );
  assert.ok(about(group, { tooBig: 1280 }) !== undefined);
  assert.equal(about(group, 'ttl-exceeded'), undefined);
  const group4 = frameOf(UDP4.replace('10.0.9.2', '224.1.1.1'));
  assert.equal(about(group4, { tooBig: 1280 }), undefined);
});

test('fragments: about the first one only', () => {
  const { ethernet, network, payload } = decoded(
    frameOf(`${ENDS} ip 10.0.0.1 > 10.0.0.2 proto 17 length 16`),
  );
  assert.ok(network?.kind === 'ipv4');
  const at = (fragmentOffset: number, moreFragments: boolean) =>
    about(
      encodeFrame({ ethernet, payload, network: { ...network, fragmentOffset, moreFragments } }),
      'ttl-exceeded',
    );
  assert.ok(at(0, true) !== undefined && at(0, false) !== undefined);
  assert.equal(at(8, true), undefined);
  assert.equal(at(8, false), undefined);
});

test('numbers and addresses that do not fit', () => {
  for (const tooBig of [-1, 1.5, Number.NaN, 2 ** 32, Infinity]) {
    assert.equal(about(frameOf(UDP4), { tooBig }), undefined);
    assert.equal(about(frameOf(UDP6), { tooBig }), undefined);
  }
  assert.equal(about(frameOf(UDP4), { tooBig: 0x10000 }), undefined);
  for (const from of [ROUTER6, ip('0.0.0.0'), ip('224.0.0.1'), ip('127.0.0.1')])
    assert.equal(about(frameOf(UDP4), 'ttl-exceeded', { from }), undefined);
  for (const from of [ROUTER4, ip('::'), ip('ff02::1')])
    assert.equal(about(frameOf(UDP6), 'ttl-exceeded', { from }), undefined);
  const wrong = frameOf(UDP4);
  wrong[22] = 63;
  assert.equal(about(wrong, 'ttl-exceeded'), undefined, 'a wrong header checksum');
  assert.equal(about(frameOf(UDP4).subarray(0, 45), 'ttl-exceeded'), undefined, 'cut short');
  assert.equal(about(frameOf(UDP6).subarray(0, 65), 'ttl-exceeded'), undefined, 'cut short');
});

test('to the byte what the Linux kernel sends, but identification and flow label', () => {
  const file = readPcap(readFileSync(new URL('./testdata/kernel.pcap', import.meta.url)));
  assert.ok('records' in file);
  const captured = file.records.map(({ frame }) => new Uint8Array(frame));
  const comparable = (bytes: Uint8Array): string => {
    const copy = bytes.slice();
    const four = decoded(copy).network?.kind === 'ipv4';
    for (const at of four ? [18, 19, 24, 25] : [15, 16, 17]) copy[at] = 0;
    return Buffer.from(copy).toString('hex');
  };
  const known = new Set(captured.map(comparable));
  const closed = captured.filter((bytes) => {
    const { transport } = decoded(bytes);
    return transport?.kind === 'udp' && transport.dstPort === 9;
  });
  assert.equal(closed.length, 2);
  for (const bytes of closed) {
    const { ethernet, network } = decoded(bytes);
    assert.ok(network?.kind === 'ipv4' || network?.kind === 'ipv6');
    const sending = { from: network.dst, src: ethernet.dst, dst: ethernet.src };
    const error = errorAbout(bytes, { cause: 'port-unreachable', ...sending });
    assert.ok(error !== undefined && known.has(comparable(error)), describeFrame(bytes));
  }
});

const causes = fc.oneof(
  fc.constantFrom(...CAUSES),
  fc.integer({ min: 0, max: 0xffff }).map((tooBig) => ({ tooBig })),
);

test('any bytes: nothing, or a right error that elicits none and quotes the packet', () => {
  const whole = frames.map(encodeFrame);
  const ways = record({ cause: causes, src: macs, dst: macs });
  const ends = fc.tuple(ip4s, ip6s);
  let sent = 0;
  fc.assert(
    fc.property(fc.oneof(whole, damaged(whole)), ways, ends, u8, (bytes, options, froms, ttl) => {
      const before = bytes.slice();
      // The `slice` of a Buffer is a view: what is quoted must be a copy all the same.
      const given = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
      const six = decodeFrame(bytes)?.network?.kind === 'ipv6';
      const from = six ? froms[1] : froms[0];
      const error = errorAbout(given, { ...options, from, ttl });
      assert.deepEqual(bytes, before);
      if (error === undefined) return;
      sent++;
      assert.equal(frameFault(error), undefined);
      const { network } = decoded(error);
      const offending = decoded(bytes);
      assert.ok(network?.kind === 'ipv4' || network?.kind === 'ipv6');
      assert.ok(network.kind === offending.network?.kind);
      assert.deepEqual([network.src, network.dst], [from, offending.network.src]);
      assert.ok(error.length - 14 <= (six ? 1280 : 576));
      if (network.kind === 'ipv4') assert.equal(network.id, read16(error, 42 + 4));
      for (const cause of CAUSES) assert.equal(mayElicitError(decoded(error), cause), false);
      const quoted = error.slice(six ? 62 : 42);
      const start = offending.ethernet.tci === undefined ? 14 : 18;
      const packet = bytes.slice(start, start + quoted.length);
      assert.equal(quoted[six ? 7 : 8], ttl);
      for (const at of six ? [7] : [8, 10, 11]) quoted[at] = packet[at] = 0;
      assert.deepEqual(quoted, packet);
    }),
    runs(4000),
  );
  assert.ok(process.env['RUNS'] !== undefined || sent > 100, `${sent} errors were sent`);
});
