/**
 * Rewritten fields: against frames encoded anew with the other values, which computes every
 * checksum from scratch; and what is left alone.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeFrame } from '#net/frame.ts';
import type { Ipv4Layer, Ipv6Layer, Layers, TransportLayer } from '#net/frame.ts';
import { fragments, fragments6 } from '#net/fragment.ts';
import type { Ip, Ip4, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { Rewrites } from './flow.ts';
import { hidesAddress, rewrite, rewriteText } from './rewrite.ts';

const runs = (numRuns: number) => ({ seed: Number(process.env['SEED'] ?? 1), numRuns });
const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true });
const u8 = fc.nat(0xff);
const u16 = fc.nat(0xffff);
const mac = fc.nat(0xffffffffffff).map((n) => n as Mac);
const ip4 = fc
  .oneof(fc.nat(0xffffffff), fc.constantFrom(0, 0xffffffff, 0xffff0000))
  .map((n) => n as Ip4);
const ip6 = fc
  .array(fc.oneof(u16, fc.constantFrom(0, 0xffff)), { minLength: 8, maxLength: 8 })
  .map((words) => words.map((word) => word.toString(16).padStart(4, '0')).join('') as Ip6);

const ports = { srcPort: u16, dstPort: u16 };
const tcp = record({ kind: fc.constant('tcp' as const), ...ports, flags: u8 });
/** Also without a checksum, which only IPv4 lets the encoder leave out. */
const udp = record({ kind: fc.constant('udp' as const), ...ports });
const bare = record({ kind: fc.constant('udp' as const), ...ports, checksum: fc.constant(0) });
const icmp = record({
  kind: fc.constant('icmp' as const),
  type: fc.constantFrom(0, 8, 3, 11),
  code: u8,
  id: u16,
});
const icmp6 = record({
  kind: fc.constant('icmp6' as const),
  type: fc.constantFrom(128, 129, 1, 3),
  code: u8,
  id: u16,
});
const ethernet = record({ src: mac, dst: mac, tci: fc.option(u16, { nil: undefined }) });
const payload = fc.uint8Array({ maxLength: 40 });
const ipv4 = record({ kind: fc.constant('ipv4' as const), src: ip4, dst: ip4, tos: u8 });
const ipv6 = record({ kind: fc.constant('ipv6' as const), src: ip6, dst: ip6, trafficClass: u8 });
/** Eight bytes of padding before the transport (RFC 8200 §4.6), or none. */
const padded = fc.constantFrom(undefined, 60, 0);

const four = record({
  ethernet,
  network: ipv4,
  transport: fc.oneof(tcp, udp, bare, icmp),
  payload,
});
const six = record({ ethernet, network: ipv6, transport: fc.oneof(tcp, udp, icmp6), payload })
  .chain((layers) => padded.map((nextHeader) => ({ layers, nextHeader })))
  .map(({ layers, nextHeader }) => {
    if (nextHeader === undefined) return layers;
    const next = { tcp: 6, udp: 17, icmp6: 58 }[layers.transport.kind];
    const extensions = Uint8Array.from([next, 0, 1, 4, 0, 0, 0, 0]);
    return { ...layers, network: { ...layers.network, nextHeader, extensions } };
  });
interface Whole extends Layers {
  readonly network: Ipv4Layer | Ipv6Layer;
  readonly transport: TransportLayer;
}
const whole: fc.Arbitrary<Whole> = fc.oneof<fc.Arbitrary<Whole>[]>(four, six);

const what: fc.Arbitrary<Rewrites> = fc.record(
  {
    ...{ ethSrc: mac, ethDst: mac, dscp: fc.nat(63), tpSrc: u16, tpDst: u16 },
    ipSrc: ip4 as fc.Arbitrary<Ip>,
    ipDst: ip4 as fc.Arbitrary<Ip>,
  },
  { requiredKeys: [], noNullPrototype: true },
);
/** With addresses of the family. */
const fitted = (rewrites: Rewrites, layers: Whole): Rewrites => {
  const out: { -readonly [K in keyof Rewrites]: Rewrites[K] } = { ...rewrites };
  if (layers.network.kind !== 'ipv6') return out;
  for (const field of ['ipSrc', 'ipDst'] as const)
    if (out[field] !== undefined) out[field] = out[field].toString(16).padStart(32, 'f') as Ip6;
  return out;
};

const rewritten = (frame: Uint8Array, rewrites: Rewrites): Uint8Array => {
  const out = frame.slice();
  rewrite(out, rewrites);
  return out;
};

/** The same layers with the other values: nothing of the code under test. */
function changed({ ethernet: eth, network, transport, payload: rest }: Whole, to: Rewrites) {
  const tos = (old = 0): number => (to.dscp === undefined ? old : (to.dscp << 2) | (old & 3));
  const echo =
    (transport.kind === 'icmp' && [0, 8].includes(transport.type)) ||
    (transport.kind === 'icmp6' && [128, 129].includes(transport.type));
  return {
    ethernet: { ...eth, src: to.ethSrc ?? eth.src, dst: to.ethDst ?? eth.dst },
    network: {
      ...network,
      ...{ src: to.ipSrc ?? network.src, dst: to.ipDst ?? network.dst },
      ...(network.kind === 'ipv4' && { tos: tos(network.tos) }),
      ...(network.kind === 'ipv6' && { trafficClass: tos(network.trafficClass) }),
    },
    transport: {
      ...transport,
      ...('srcPort' in transport && {
        srcPort: to.tpSrc ?? transport.srcPort,
        dstPort: to.tpDst ?? transport.dstPort,
      }),
      ...(echo && 'id' in transport && { id: to.tpDst ?? transport.id }),
    },
    payload: rest,
  } as Whole;
}

test('a rewritten frame is the frame with other values, checksums computed from scratch', () => {
  fc.assert(
    fc.property(whole, what, (layers, rewrites) => {
      const to = fitted(rewrites, layers);
      assert.deepEqual(rewritten(encodeFrame(layers), to), encodeFrame(changed(layers, to)));
    }),
    runs(6000),
  );
});

test('what was there before, written again, gives the bytes that were there before', () => {
  fc.assert(
    fc.property(whole, what, (layers, rewrites) => {
      const frame = encodeFrame(layers);
      const { network, transport, ethernet: eth } = layers;
      const old = {
        ...{ ethSrc: eth.src, ethDst: eth.dst, ipSrc: network.src, ipDst: network.dst },
        dscp: ((network.kind === 'ipv4' ? network.tos : network.trafficClass) ?? 0) >> 2,
        ...('srcPort' in transport
          ? { tpSrc: transport.srcPort, tpDst: transport.dstPort }
          : { tpDst: 'id' in transport ? (transport.id ?? 0) : 0 }),
      };
      assert.deepEqual(rewritten(rewritten(frame, fitted(rewrites, layers)), old), frame);
    }),
    runs(3000),
  );
});

test('fragments of a rewritten packet are its rewritten fragments', () => {
  const long = fc.uint8Array({ minLength: 100, maxLength: 200 });
  fc.assert(
    fc.property(four, long, what, (layers, body, to) => {
      const frame = encodeFrame({ ...layers, payload: body });
      const parts = fragments(frame, 76);
      assert.ok(parts !== undefined && parts.length > 1);
      assert.deepEqual(
        parts.map((part) => rewritten(part, to)),
        fragments(rewritten(frame, to), 76),
      );
    }),
    runs(1500),
  );
});

test('fragments of a rewritten IPv6 packet are its rewritten fragments', () => {
  const body = fc.uint8Array({ minLength: 1400, maxLength: 1500 });
  fc.assert(
    fc.property(six as fc.Arbitrary<Whole>, body, what, (layers, long, rewrites) => {
      const to = fitted(rewrites, layers);
      const frame = encodeFrame({ ...layers, payload: long });
      const parts = fragments6(frame, 1280, 7);
      assert.ok(parts !== undefined && parts.length > 1);
      assert.deepEqual(
        parts.map((part) => rewritten(part, to)),
        fragments6(rewritten(frame, to), 1280, 7),
      );
    }),
    runs(200),
  );
});

const bytesOf = (hex: string): Uint8Array =>
  Uint8Array.from(Buffer.from(hex.replaceAll(' ', ''), 'hex'));
const MACS = '020000000001 020000000002';
const ALL4: Rewrites = { ipSrc: 1 as Ip4, ipDst: 2 as Ip4, tpSrc: 3, tpDst: 4, dscp: 5 };
const ALL6: Rewrites = { ...ALL4, ipSrc: '1'.repeat(32) as Ip6, ipDst: '2'.repeat(32) as Ip6 };

test('what has no IP header of the family keeps its addresses, ARP too', () => {
  const arp = bytesOf(`${MACS} 0806 0001080006040001 ${'0a'.repeat(20)}`);
  const other = bytesOf(`${MACS} 88b5 ${'45'.repeat(40)}`);
  const broken = bytesOf(`${MACS} 0800 54 ${'00'.repeat(39)}`);
  const twice = bytesOf(`${MACS} 81000001 81000002 0800 45 ${'00'.repeat(39)}`);
  for (const frame of [arp, other, broken, twice])
    for (const to of [ALL4, ALL6]) assert.deepEqual(rewritten(frame, to), frame);
  const layers = {
    ethernet: { src: 1 as Mac, dst: 2 as Mac },
    network: { kind: 'ipv4' as const, src: 9 as Ip4, dst: 8 as Ip4 },
    transport: { kind: 'udp' as const, srcPort: 7, dstPort: 6 },
  };
  const { dscp: _, tpSrc: __, tpDst: ___, ...addresses } = ALL6;
  assert.deepEqual(rewritten(encodeFrame(layers), addresses), encodeFrame(layers));
});

test('of a header that is cut short, what is there is rewritten', () => {
  const head = `${MACS} 0800 4500001c000100004006 0000 0a000001 0a000002`;
  const cut = (transport: string): Uint8Array => bytesOf(head + transport);
  const tail = (frame: Uint8Array): string => Buffer.from(frame.subarray(34)).toString('hex');
  assert.equal(tail(rewritten(cut('111122'), ALL4)), '111122');
  assert.equal(tail(rewritten(cut('11112222'), ALL4)), '00030004');
  const before = '11112222000000000000000050100000';
  assert.equal(tail(rewritten(cut(before), ALL4)), `00030004${before.slice(8)}`);
  assert.equal(tail(rewritten(cut(`${before}ff`), ALL4)), `00030004${before.slice(8)}ff`);
});

/** An IPv6 UDP frame with these extension headers, `next` the first of them. */
const ip6Frame = (next: string, chain: string): Uint8Array => {
  const length = (chain.replaceAll(' ', '').length / 2 + 8).toString(16).padStart(4, '0');
  const to = `${MACS} 86dd 60000000 ${length} ${next} 40 ${'aa'.repeat(16)} ${'bb'.repeat(16)}`;
  return bytesOf(`${to} ${chain} 1111 2222 0008 3333`);
};

test('IPv6 addresses are hidden by what the checksum may cover in their place', () => {
  const pad = '00 01 04 00000000';
  const hidden = {
    'segments left': ip6Frame('2b', '11 00 03 01 00000000'),
    'a home address': ip6Frame('3c', `11 02 0102 0000 c910 ${'cc'.repeat(16)}`),
    'one more header than are passed': ip6Frame('3c', `${`3c ${pad}`.repeat(6)} 11 ${pad}`),
    'a header beyond the frame': ip6Frame('3c', '11 ff 00000000 0000'),
    'segments left, in a first fragment': ip6Frame(
      '2b',
      '2c 00 03 01 00000000 11 00 0001 00000001',
    ),
  };
  const plain = {
    'no header': ip6Frame('11', ''),
    'no segments left': ip6Frame('2b', '11 00 03 00 00000000'),
    'options without room': ip6Frame('3c', `11 01 0100 0000 0000 ${'00'.repeat(8)}`),
    'hop by hop': ip6Frame('00', `11 02 010c ${'00'.repeat(20)}`),
    'a later fragment': ip6Frame('2c', '3c 00 0bb8 00000001'),
  };
  for (const [why, frame] of Object.entries(hidden)) {
    assert.ok(hidesAddress(frame, { ipSrc: ALL6.ipSrc! }), why);
    assert.ok(hidesAddress(frame, { ipDst: ALL6.ipDst! }), why);
    assert.ok(!hidesAddress(frame, { tpSrc: 1, dscp: 1 }), `${why}: no address is rewritten`);
    assert.ok(!hidesAddress(frame, ALL4), `${why}: of the other family`);
  }
  for (const [why, frame] of Object.entries(plain)) assert.ok(!hidesAddress(frame, ALL6), why);
});

test('junk is rewritten without an error, and no more than its own bytes', () => {
  const heads = [`0800 45`, `0800 4f`, `86dd 60`, `8100 0001 0800 45`, `8100 0001 86dd 6f`];
  const head = fc.constantFrom(...heads.map((each) => [...bytesOf(MACS + each)]));
  fc.assert(
    fc.property(head, fc.uint8Array({ maxLength: 90 }), what, (start, rest, to) => {
      const frame = Uint8Array.from([...start, ...rest]);
      const room = new Uint8Array(frame.length + 8).fill(0xee);
      room.set(frame);
      if (frame.length < 18) return;
      const inside = room.subarray(0, frame.length);
      hidesAddress(inside, ALL6);
      rewrite(inside, { ...to, ...(rest.length % 2 === 0 && ALL6) });
      assert.ok(room.subarray(frame.length).every((byte) => byte === 0xee));
    }),
    runs(3000),
  );
});

test('the text of rewrites is equal for equal ones only', () => {
  const all: Rewrites[] = [{}, { tpSrc: 1 }, { tpDst: 1 }, { dscp: 1 }, ALL4, ALL6];
  all.push({ ipSrc: 1 as Ip4 }, { ipDst: 1 as Ip4 }, { ethSrc: 1 as Mac }, { ethDst: 1 as Mac });
  assert.equal(new Set(all.map(rewriteText)).size, all.length);
  assert.equal(rewriteText({ tpDst: 4, tpSrc: 3 }), rewriteText({ tpSrc: 3, tpDst: 4 }));
});
