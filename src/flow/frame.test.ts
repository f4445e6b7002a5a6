/** Parser, masks and actions on whole frames: against the decoder of `net`, and on junk. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { decodeFrame, encodeFrame, fragmentKind } from '#net/frame.ts';
import type { Frame, Layers } from '#net/frame.ts';
import { checksum } from '#net/checksum.ts';
import type { Ip4, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { FIELDS, hasField } from '#virtual/match.ts';
import type { Headers } from '#virtual/match.ts';
import type { Actions, DpPeer, DpPort, TunnelKey } from './flow.ts';
import { interpret } from './interpret.ts';
import { KEY_SIZE } from './layout.ts';
import { EXACT, maskBytes, maskKey, matchedFields } from './mask.ts';
import { entryOf, headersOf, parseKey, writeEntry } from './parse.ts';

type ArbitraryOf<A> = A extends fc.Arbitrary<infer T> ? T : never;
const runs = (numRuns: number) => ({ seed: Number(process.env['SEED'] ?? 1), numRuns });
const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const mac = fc.nat(0xffffffffffff).map((n) => n as Mac);
const ip4 = fc.nat(0xffffffff).map((n) => n as Ip4);
const ip6 = bytes(16).map((all) => Buffer.from(all).toString('hex') as Ip6);
const tci = fc.option(u16, { nil: undefined });

const transport4 = fc.oneof(
  fc.record({ kind: fc.constant('udp' as const), srcPort: u16, dstPort: u16 }),
  fc.record({ kind: fc.constant('tcp' as const), srcPort: u16, dstPort: u16, flags: u8 }),
  fc.record({
    kind: fc.constant('icmp' as const),
    type: fc.constantFrom(0, 3, 8, 11),
    code: u8,
    id: u16,
  }),
);
const transport6 = fc.oneof(
  fc.record({ kind: fc.constant('udp' as const), srcPort: u16, dstPort: u16 }),
  fc.record({ kind: fc.constant('tcp' as const), srcPort: u16, dstPort: u16, flags: u8 }),
  fc.record({
    kind: fc.constant('icmp6' as const),
    type: fc.constantFrom(1, 128, 129),
    code: u8,
    id: u16,
  }),
);
const fragment = fc.constantFrom([0, false], [0, true], [8, true], [1480, false]) as fc.Arbitrary<
  [number, boolean]
>;
const ipv4 = fc
  .record({ src: ip4, dst: ip4, tos: u8, ttl: u8, options: fc.nat(10), part: fragment })
  .map(({ options, part: [fragmentOffset, moreFragments], ...rest }) => ({
    kind: 'ipv4' as const,
    ...rest,
    fragmentOffset,
    moreFragments,
    options: options === 0 ? undefined : new Uint8Array(options * 4).fill(1),
  }));

const HEADERS: readonly number[] = [0, 43, 44, 60];
const extension = fc.record({
  kind: fc.constantFrom(...HEADERS),
  length: fc.nat(2),
  part: fragment,
});
/** Extension headers in a row. A later fragment's is the last: nothing behind it is a header. */
const ipv6 = fc
  .record({
    src: ip6,
    dst: ip6,
    trafficClass: u8,
    hopLimit: u8,
    list: fc.array(extension, { maxLength: 6 }),
  })
  .map(({ list, ...rest }) => {
    const later = list.findIndex(({ kind, part }) => kind === 44 && part[0] > 0);
    const fragments = list.filter(({ kind }) => kind === 44).length;
    const kept = fragments > 1 ? [] : later < 0 ? list : list.slice(0, later + 1);
    return { kind: 'ipv6' as const, ...rest, list: kept };
  });

/**
 * A frame of IPv6 with its extension headers written out, which name each other and the transport.
 */
function withExtensions(network: ArbitraryOf<typeof ipv6>, protocol: number) {
  const { list, ...rest } = network;
  if (list.length === 0) return rest;
  const parts = list.map(({ kind, length, part: [offset, more] }, i) => {
    const part = new Uint8Array(kind === 44 ? 8 : (length + 1) * 8);
    part[0] = list[i + 1]?.kind ?? protocol;
    if (kind === 44) part.set([offset >> 8, (offset & 0xf8) | (more ? 1 : 0)], 2);
    else part[1] = length;
    return part;
  });
  const extensions = Uint8Array.from(parts.flatMap((part) => [...part]));
  const found = list.find(({ kind }) => kind === 44)?.part;
  const part = found && { id: 0, offset: found[0], more: found[1] };
  return { ...rest, extensions, nextHeader: list[0]?.kind ?? protocol, fragment: part };
}
const PROTOCOL = { udp: 17, tcp: 6, icmp6: 58 } as const;

const ethernet = fc.record({ src: mac, dst: mac, tci });
const arp = fc.record({
  kind: fc.constant('arp' as const),
  operation: fc.constantFrom(1, 2),
  senderMac: mac,
  senderIp: ip4,
  targetMac: mac,
  targetIp: ip4,
});
const payload = fc.uint8Array({ maxLength: 40 });
const layers: fc.Arbitrary<Layers> = fc.oneof(
  fc.record({ ethernet, network: arp }),
  fc.record({ ethernet, network: ipv4, transport: transport4, payload }),
  fc
    .record({ ethernet, network: ipv6, transport: transport6, payload })
    .map(({ network, transport, ...rest }) => ({
      ...rest,
      transport,
      network: withExtensions(network, PROTOCOL[transport.kind]),
    })),
);
const valid = layers.map(encodeFrame);

/** What the decoder of `net` says about a frame, as headers. */
function expected({ ethernet: eth, network, transport }: Frame): Headers {
  const headers = {
    ethSrc: eth.src,
    ethDst: eth.dst,
    ethType: eth.type,
    vlan: eth.tci === undefined ? 0 : 0x1000 | (eth.tci & 0xfff),
    ipSrc: 0 as Ip4,
    ipDst: 0 as Ip4,
    ipProto: 0,
    ipTos: 0,
    ipTtl: 0,
    ipFrag: 0,
    tpSrc: 0,
    tpDst: 0,
  };
  if (network === undefined) return headers;
  if (network.kind === 'arp') {
    const { senderIp: ipSrc, targetIp: ipDst, operation } = network;
    return { ...headers, ipSrc, ipDst, ipProto: operation & 0xff };
  }
  const ip = {
    ...headers,
    ipSrc: network.src,
    ipDst: network.dst,
    ipProto: network.protocol,
    ipTos: network.kind === 'ipv4' ? network.tos : network.trafficClass,
    ipTtl: network.kind === 'ipv4' ? network.ttl : network.hopLimit,
    ipFrag: fragmentKind(network),
  };
  if (transport === undefined) return ip;
  if ('srcPort' in transport) return { ...ip, tpSrc: transport.srcPort, tpDst: transport.dstPort };
  if (!('code' in transport)) return ip;
  const { kind, type, code, id } = transport;
  const echo = kind === 'icmp' ? type === 0 || type === 8 : type === 128 || type === 129;
  return { ...ip, tpSrc: (type << 8) | code, tpDst: echo ? id : 0 };
}

function keyOf(frame: Uint8Array): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(frame, key));
  return key;
}

test('the key of a valid frame says what the decoder says', () => {
  fc.assert(
    fc.property(valid, (frame) => {
      const decoded = decodeFrame(frame);
      assert.ok(decoded?.network !== undefined);
      assert.deepEqual(headersOf(keyOf(frame)), expected(decoded));
    }),
    runs(3000),
  );
});

test('a frame cut anywhere has a key, or is too short for one', () => {
  const out = new Uint8Array(KEY_SIZE).fill(0xaa);
  fc.assert(
    fc.property(valid, fc.nat(200), (frame, cut) => {
      const short = frame.subarray(0, Math.min(cut, frame.length));
      const needed = short[12] === 0x81 && short[13] === 0 ? 18 : 14;
      assert.equal(parseKey(short, out), short.length >= needed);
      if (short.length < needed) assert.ok(out.every((byte) => byte === 0));
      else if (short.length === needed)
        assert.ok(
          out.subarray(28).every((byte) => byte === 0),
          'nothing beyond what is there',
        );
    }),
    runs(1000),
  );
});

test('headers too broken to read leave everything but the type zero', () => {
  const frame = (hex: string) => Uint8Array.from(Buffer.from(`${'02'.repeat(12)}${hex}`, 'hex'));
  const rest = '00'.repeat(44);
  const broken = ['080044', '080035', '08004f', '86dd50', '08060002080006040001', '88a80005080045'];
  for (const head of broken) {
    const long = frame(head + rest).subarray(0, head === '08004f' ? 14 + 59 : undefined);
    const headers = headersOf(keyOf(head === '08004f' ? long.subarray(0, 14 + 40) : long));
    assert.equal(headers.ethType, Number.parseInt(head.slice(0, 4), 16));
    const { ipProto, ipTos, ipTtl, ipFrag, tpSrc, tpDst, vlan } = headers;
    assert.deepEqual([ipProto, ipTos, ipTtl, ipFrag, tpSrc, tpDst, vlan], [0, 0, 0, 0, 0, 0, 0]);
    assert.equal(Number(`0x${headers.ipSrc}`) + Number(`0x${headers.ipDst}`), 0);
  }
});

test('behind two tags, and behind seven extension headers, nothing is read', () => {
  const two = Uint8Array.from(
    Buffer.from(`${'02'.repeat(12)}81000005810000060800${'45'.repeat(40)}`, 'hex'),
  );
  assert.deepEqual(
    [headersOf(keyOf(two)).vlan, headersOf(keyOf(two)).ethType, headersOf(keyOf(two)).ipSrc],
    [0x1005, 0x8100, 0],
  );
  const chain = (count: number) => {
    const frame = new Uint8Array(14 + 40 + count * 8 + 8);
    frame.set([0x86, 0xdd, 0x60], 12);
    frame[14 + 6] = 60;
    for (let i = 0; i < count; i++) frame[54 + i * 8] = i + 1 < count ? 60 : 17;
    frame.set([1, 2, 3, 4], 54 + count * 8);
    return headersOf(keyOf(frame));
  };
  assert.deepEqual([chain(6).ipProto, chain(6).tpSrc, chain(6).tpDst], [17, 0x102, 0x304]);
  assert.deepEqual([chain(7).ipProto, chain(7).tpSrc], [60, 0]);
});

test('parsing junk answers and never throws', () => {
  const key = new Uint8Array(KEY_SIZE);
  const head = fc.constantFrom(
    [8, 0, 0x45],
    [0x86, 0xdd, 0x60],
    [8, 6, 0],
    [0x81, 0, 0],
    [0, 0, 0],
  );
  fc.assert(
    fc.property(bytes(12), head, fc.uint8Array({ maxLength: 100 }), (start, middle, end) => {
      const frame = Uint8Array.from([...start, ...middle, ...end]);
      if (parseKey(frame, key)) headersOf(key);
    }),
    runs(2000),
  );
});

test('the entry is written and read back', () => {
  const plain = { noNullPrototype: true };
  const port = fc.integer({ min: 1, max: 0x7fffffff });
  const source = fc.integer({ min: 1, max: 0xffffffff });
  const tunnel = fc.record({ key: fc.nat(0xffffff), source }, plain);
  const entry = fc.oneof(fc.record({ port }, plain), fc.record({ port, tunnel }, plain));
  fc.assert(
    fc.property(entry, bytes(KEY_SIZE), (value, key) => {
      const before = key.slice(12);
      const where = value as ReturnType<typeof entryOf>;
      writeEntry(key, where);
      assert.deepEqual(entryOf(key), where);
      assert.deepEqual(key.slice(12), before);
    }),
    runs(500),
  );
});

test('keys equal under a mask have equal headers in its fields, and only then', () => {
  const swap = fc.uint8Array({ minLength: KEY_SIZE, maxLength: KEY_SIZE });
  fc.assert(
    fc.property(valid, valid, swap, fc.nat(EXACT), (frame, other, noise, fields) => {
      const key = keyOf(frame);
      const mask = maskBytes(fields);
      const alike = key.map((byte, at) => (mask[at] === 0 && at < 68 ? noise[at]! : byte));
      const masked = new Uint8Array(KEY_SIZE);
      maskKey(alike, fields, masked);
      const want = new Uint8Array(KEY_SIZE);
      maskKey(key, fields, want);
      assert.deepEqual(masked, want);
      const third = headersOf(keyOf(other));
      maskKey(keyOf(other), fields, masked);
      const same = Buffer.compare(masked, want) === 0;
      for (const candidate of [headersOf(alike), ...(same ? [third] : [])])
        for (const field of FIELDS)
          if (hasField(fields, field)) assert.equal(candidate[field], headersOf(key)[field], field);
      const differ = FIELDS.some(
        (field) => hasField(matchedFields(fields), field) && third[field] !== headersOf(key)[field],
      );
      assert.equal(same, !differ);
    }),
    runs(2000),
  );
});

const option = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const edits = fc
  .record({
    ethSrc: option(mac),
    ethDst: option(mac),
    decTtl: option(fc.integer({ min: 1, max: 255 })),
    vlan: option(fc.nat(4095)),
  })
  .map((all) => Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)));
const PORT = { port: 1 as DpPort };
const TUNNEL = { key: 5 as TunnelKey, remote: 9 as DpPeer };
const outputs = [PORT, TUNNEL];
const vlans = fc.array(option(fc.oneof(fc.constant(0), fc.nat(4095))), {
  minLength: 1,
  maxLength: 5,
});

test('actions do what they say, and a right checksum stays right', () => {
  fc.assert(
    fc.property(valid, edits, (frame, rewrites) => {
      const actions = { ...rewrites, outputs } as Actions;
      const before = frame.slice();
      const copies = interpret(frame, actions);
      assert.deepEqual(
        copies.map((copy) => copy.output),
        outputs,
      );
      const out = copies[1]?.frame ?? new Uint8Array(0);
      assert.deepEqual(frame, before, 'the frame given is as it was');
      const was = decodeFrame(frame);
      const is = decodeFrame(out);
      assert.ok(was !== undefined && is !== undefined);
      const { vlan, decTtl } = actions;
      const had = was.ethernet.tci;
      const tag = vlan === undefined ? had : vlan === 0 ? undefined : ((had ?? 0) & 0xf000) | vlan;
      assert.deepEqual(is.ethernet, {
        ...was.ethernet,
        src: actions.ethSrc ?? was.ethernet.src,
        dst: actions.ethDst ?? was.ethernet.dst,
        tci: tag,
      });
      const want = expected(was);
      const got = expected(is);
      const ip = was.network?.kind === 'ipv4' || was.network?.kind === 'ipv6';
      const ttl = ip ? (want.ipTtl + 256 - (decTtl ?? 0)) % 256 : want.ipTtl;
      const { ethSrc, ethDst, vlan: id } = got;
      assert.deepEqual(got, { ...want, ethSrc, ethDst, vlan: id, ipTtl: ttl });
      assert.deepEqual([is.payload, is.transport], [was.payload, was.transport]);
      const at = tag === undefined ? 14 : 18;
      if (is.network?.kind === 'ipv4')
        assert.equal(checksum(out, at, at + (out[at]! & 15) * 4), 0, 'IPv4 checksum');
    }),
    runs(2000),
  );
});

test('every output gets the frame that it would get alone, with its own tag', () => {
  fc.assert(
    fc.property(valid, edits, vlans, (frame, rewrites, each) => {
      const actions = { ...rewrites, outputs: [] } as Actions;
      const mixed = each.map((vlan, i) => ({
        ...(i % 2 === 0 ? PORT : TUNNEL),
        ...(vlan === undefined ? {} : { vlan }),
      }));
      const copies = interpret(frame, { ...actions, outputs: mixed });
      for (const [i, output] of mixed.entries()) {
        const { vlan = actions.vlan, ...rest } = output;
        const { vlan: _, ...others } = actions;
        const alone = { ...others, ...(vlan === undefined ? {} : { vlan }), outputs: [rest] };
        assert.equal(copies[i]?.output, output);
        assert.deepEqual(copies[i]?.frame, interpret(frame, alone)[0]?.frame);
      }
    }),
    runs(1000),
  );
});

test('actions that drop send nothing, and actions without rewrites do not copy', () => {
  const frame = new Uint8Array(60);
  assert.deepEqual(interpret(frame, { drop: 'same-port', outputs: [] }), []);
  assert.equal(interpret(frame, { outputs })[0]?.frame, frame);
});

test('rewriting junk never throws', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 18, maxLength: 80 }),
      edits,
      fc.nat(3),
      (frame, rewrites, type) => {
        frame.set(
          [
            [8, 0, 0x4f],
            [0x86, 0xdd, 0x60],
            [0x81, 0, 0],
            [8, 0, 0x45],
          ][type]!,
          12,
        );
        interpret(frame, { ...rewrites, outputs } as Actions);
      },
    ),
    runs(1000),
  );
});
