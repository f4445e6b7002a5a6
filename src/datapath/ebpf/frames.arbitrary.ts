/**
 * For tests: frames of every sort that the parser tells apart, whole and damaged, from a seed.
 */
import type { Direction } from '#virtual/connection.ts';
import fc from 'fast-check';
import type { Actions, Output, Rewrites } from '#flow/flow.ts';
import { MTU_MAX, MTU_MIN } from '#flow/flow.ts';
import type { Ip4, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';

const byte = fc.integer({ min: 0, max: 255 });
const bytes = (length: number): fc.Arbitrary<number[]> =>
  fc.array(byte, { minLength: length, maxLength: length });
const u16 = (value: number): number[] => [value >> 8, value & 255];

const l4 = fc.oneof(
  fc.record({ proto: fc.constant(6), body: bytes(20) }),
  fc.record({ proto: fc.constant(17), body: bytes(8) }),
  // Without a checksum (RFC 768).
  bytes(6).map((head) => ({ proto: 17, body: [...head, 0, 0] })),
  fc
    .tuple(fc.constantFrom(1, 58), fc.constantFrom(0, 3, 8, 11, 128, 129, 135), bytes(11))
    .map(([proto, type, rest]) => ({ proto, body: [type, ...rest] })),
  fc.record({ proto: byte, body: fc.array(byte, { maxLength: 12 }) }),
);

const ttl = fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 64, 255);
/** Flags and fragment offset. */
const fragment = fc.constantFrom(0, 0, 0, 0x4000, 0x2000, 0x2001, 0x0001, 0x00b9, 0x8000);

/** Without a right checksum: incremental update works on any. */
const ip4 = fc
  .record({
    options: fc.nat(10),
    version: fc.constantFrom(4, 4, 4, 4, 5),
    tos: byte,
    fragment,
    ttl,
    sum: bytes(2),
    to: bytes(8),
    l4,
  })
  .map(({ options, version, tos, fragment: frag, ttl: hops, sum, to, l4: { proto, body } }) => {
    const head = [
      (version << 4) | (5 + options),
      tos,
      0,
      0,
      0,
      1,
      ...u16(frag),
      hops,
      proto,
      ...sum,
      ...to,
    ];
    return [...head, ...Array.from({ length: options * 4 }, () => 1), ...body];
  });

const extension = fc.oneof(
  fc.tuple(fc.constantFrom(0, 43, 60), fc.nat(2), bytes(22)).map(([kind, units, fill]) => ({
    kind,
    build: (next: number) => [next, units, ...fill.slice(0, 6 + units * 8)],
  })),
  fc.tuple(fc.constantFrom(0, 1, 8, 9, 0x100, 0xfff8, 6)).map(([offset]) => ({
    kind: 44,
    build: (next: number) => [next, 0, ...u16(offset), 0, 0, 0, 1],
  })),
  // Says it is longer than the frame.
  fc.constant({ kind: 60, build: (next: number) => [next, 200, 0, 0, 0, 0, 0, 0] }),
);

const ip6 = fc
  .record({
    version: fc.constantFrom(6, 6, 6, 6, 4),
    tos: byte,
    ttl,
    to: bytes(32),
    chain: fc.array(extension, { maxLength: 8 }),
    l4,
  })
  .map(({ version, tos, ttl: hops, to, chain, l4: { proto, body } }) => {
    let rest = body;
    let next = proto;
    for (const { kind, build } of chain.toReversed()) {
      rest = [...build(next), ...rest];
      next = kind;
    }
    return [
      (version << 4) | (tos >> 4),
      (tos & 15) << 4,
      0,
      0,
      ...u16(rest.length),
      next,
      hops,
      ...to,
      ...rest,
    ];
  });

const arp = fc
  .tuple(
    fc.constantFrom([0, 1, 8, 0, 6, 4], [0, 1, 8, 0, 6, 4], [0, 6, 8, 0, 6, 4], [0, 1, 8, 0, 8, 4]),
    bytes(22),
  )
  .map(([head, rest]) => [...head, ...rest]);

const network = fc.oneof(
  ip4.map((body) => ({ type: 0x0800, body })),
  ip6.map((body) => ({ type: 0x86dd, body })),
  arp.map((body) => ({ type: 0x0806, body })),
  fc.record({
    type: fc.constantFrom(0x0800, 0x86dd, 0x0806, 0x88b5, 0x0042, 0x8100, 0x88a8),
    body: fc.array(byte, { maxLength: 60 }),
  }),
);

/** TPID and tag, from the outside in. */
const tags = fc.oneof(
  fc.constant([]),
  fc.constant([]),
  bytes(2).map((tci) => [0x81, 0, ...tci]),
  bytes(2).map((tci) => [0x88, 0xa8, ...tci]),
  fc.tuple(bytes(2), bytes(2)).map(([a, b]) => [0x81, 0, ...a, 0x81, 0, ...b]),
  fc.tuple(bytes(2), bytes(2)).map(([a, b]) => [0x88, 0xa8, ...a, 0x81, 0, ...b]),
);

/** A frame of at least `min` bytes; three in ten are cut short. */
export const frames = (min: number): fc.Arbitrary<Uint8Array> =>
  fc
    .record({
      addresses: bytes(10),
      tags,
      network,
      cut: fc.option(fc.nat(100), { freq: 2 }),
      pad: fc.nat(8),
    })
    .map(({ addresses, tags: tag, network: { type, body }, cut, pad }) => {
      // Unicast and locally administered, and never one of the bridge's link-local group.
      const macs = [2, 0, ...addresses.slice(0, 4), 2, 0, ...addresses.slice(4, 8)];
      const all = [...macs, ...tag, ...u16(type), ...body, ...Array.from({ length: pad }, () => 0)];
      const whole = cut === null ? all : all.slice(0, Math.max(min, all.length - cut));
      while (whole.length < min) whole.push(0);
      return Uint8Array.from(whole);
    });

const mac = fc.integer({ min: 1, max: 0xffff }).map((low) => (0x020000000000 + low) as Mac);

const port16 = fc.oneof(fc.nat(65535), fc.constantFrom(0, 65535));
const ip4s = fc.oneof(fc.nat(0xffffffff), fc.constantFrom(0, 0xffffffff)) as fc.Arbitrary<Ip4>;
const ip6s = bytes(16).map((all) => Buffer.from(all).toString('hex') as Ip6);

const optional = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<Partial<T>> =>
  fc.record<T>(model, { requiredKeys: [], noNullPrototype: true }) as fc.Arbitrary<Partial<T>>;

/** Every combination of fields, with addresses of one family. */
const rewrites: fc.Arbitrary<Rewrites> = fc
  .tuple(
    optional({ ethSrc: mac, ethDst: mac, dscp: fc.nat(63), tpSrc: port16, tpDst: port16 }),
    fc.oneof(optional({ ipSrc: ip4s, ipDst: ip4s }), optional({ ipSrc: ip6s, ipDst: ip6s })),
  )
  .map(([rest, addresses]) => ({ ...rest, ...addresses }));

const vlan = fc.constantFrom(0, 0, 1, 5, 4095);
/** What an output has of its own; most have nothing. */
const own = fc.record(
  {
    vlan: fc.option(vlan, { nil: undefined }),
    rewrite: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, rewrites),
  },
  { noNullPrototype: true },
);

/** Some of these outputs, at least one, with tags and rewrites of their own or without. */
const outputsAmong = (places: readonly Output[]): fc.Arbitrary<Output[]> =>
  fc
    .tuple(fc.shuffledSubarray([...places], { minLength: 1 }), fc.tuple(...places.map(() => own)))
    .map(([some, owns]) =>
      some.map((each, i) => {
        const { vlan: tag, rewrite } = owns[i] ?? {};
        const tagged = tag === undefined ? each : { ...each, vlan: tag };
        return rewrite === undefined ? tagged : { ...tagged, rewrite };
      }),
    );

/** Every combination of guards and rewrites, to some of these outputs. */
export const actionsTo = (places: readonly Output[]): fc.Arbitrary<Actions> =>
  fc
    .tuple(
      optional({
        decTtl: fc.integer({ min: 1, max: 5 }),
        mtu: fc.integer({ min: MTU_MIN, max: MTU_MAX }),
        vlan,
        soundTcp: fc.constant<true>(true),
        connection: fc
          .constantFrom<Direction>('forward', 'return')
          .map((direction) => ({ slot: 1, direction })),
      }),
      rewrites,
      outputsAmong(places),
    )
    .map(([guards, fields, outputs]) => ({ ...guards, ...fields, outputs }));

/** A super-packet of TCP or UDP, and the payload bytes of its segments. */
export interface SuperPacket {
  readonly frame: Uint8Array;
  readonly gsoSize: number;
}

const tcpHead = fc
  .tuple(bytes(8), fc.integer({ min: 5, max: 15 }))
  .map(([ports, words]) => [
    ...[...ports, 0, 0, 0, 0, words << 4, 0x10, 1, 0, 0, 0, 0, 0],
    ...Array.from({ length: (words - 5) * 4 }, () => 1),
  ]);
const udpHead = (length: number) => bytes(4).map((ports) => [...ports, ...u16(8 + length), 0, 0]);

/** Such as the kernel takes for sound when a tap or a packet socket sends them. */
export const superPackets: fc.Arbitrary<SuperPacket> = fc
  .record({
    addresses: bytes(10),
    tag: fc.oneof(
      fc.constant([]),
      bytes(2).map((tci) => [0x81, 0, ...tci]),
    ),
    v6: fc.boolean(),
    /** Words of IPv4 options, or IPv6 extension headers. */
    more: fc.nat(3),
    tcp: fc.boolean(),
    gsoSize: fc.integer({ min: 100, max: 1400 }),
    segments: fc.integer({ min: 2, max: 9 }),
    last: fc.integer({ min: 1, max: 100 }),
  })
  .chain(({ addresses, tag, v6, more, tcp, gsoSize, segments, last }) => {
    const payload = gsoSize * (segments - 1) + last;
    return (tcp ? tcpHead : udpHead(payload)).map((l4): SuperPacket => {
      const macs = [2, 0, ...addresses.slice(0, 4), 2, 0, ...addresses.slice(4, 8)];
      const proto = tcp ? 6 : 17;
      const ip = (v6 ? ip6Head : ip4Head)(proto, more, l4.length + payload);
      const type = v6 ? 0x86dd : 0x0800;
      const head = [...macs, ...tag, ...u16(type), ...ip, ...l4];
      const frame = new Uint8Array(head.length + payload);
      frame.set(head);
      return { frame, gsoSize };
    });
  });

function ip4Head(proto: number, words: number, length: number): number[] {
  const options = Array.from({ length: words * 4 }, () => 1);
  const size = 20 + options.length + length;
  const to = [10, 0, 0, 1, 10, 0, 0, 2];
  return [0x45 + words, 0, ...u16(size), 0, 1, 0x40, 0, 64, proto, 0, 0, ...to, ...options];
}
function ip6Head(proto: number, extensions: number, length: number): number[] {
  // Destination options (60), each of 8 bytes: PadN (RFC 8200 §4.2, §4.6).
  const chain = Array.from({ length: extensions }, (_, i) => [
    ...[i + 1 === extensions ? proto : 60, 0, 1, 4],
    ...[0, 0, 0, 0],
  ]).flat();
  const to = [0xfd, ...Array.from({ length: 14 }, () => 0), 1];
  const next = extensions === 0 ? proto : 60;
  return [0x60, 0, 0, 0, ...u16(chain.length + length), next, 64, ...to, ...to, ...chain];
}
