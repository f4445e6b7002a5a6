/**
 * For tests: frames of which every layer can be read, each sort about as often as any other. Those
 * of `frames.arbitrary.ts` are mostly broken in some way, which hides what is behind.
 */
import fc from 'fast-check';

const byte = fc.integer({ min: 0, max: 255 });
const bytes = (length: number): fc.Arbitrary<number[]> =>
  fc.array(byte, { minLength: length, maxLength: length });
const u16 = (value: number): number[] => [value >> 8, value & 255];

/** Checksums need not be right to be updated; zero and all ones are what updating trips over. */
const sum = fc.oneof(
  { weight: 4, arbitrary: bytes(2) },
  fc.constantFrom([0, 0], [0xff, 0xff], [0xff, 0xfe], [0, 1]),
);
const payload = fc.array(byte, { maxLength: 40 });

interface Upper {
  readonly proto: number;
  readonly body: number[];
}
const tcp: fc.Arbitrary<Upper> = fc
  .tuple(bytes(16), sum, bytes(2), payload)
  .map(([head, check, urgent, rest]) => ({
    proto: 6,
    body: [...head.slice(0, 12), 0x50, ...head.slice(13), ...check, ...urgent, ...rest],
  }));
const udp: fc.Arbitrary<Upper> = fc
  .tuple(bytes(6), sum, payload)
  .map(([head, check, rest]) => ({ proto: 17, body: [...head, ...check, ...rest] }));
/** Without a checksum (RFC 768, RFC 6935). */
const bare: fc.Arbitrary<Upper> = fc
  .tuple(bytes(6), payload)
  .map(([head, rest]) => ({ proto: 17, body: [...head, 0, 0, ...rest] }));
const icmp = (six: boolean): fc.Arbitrary<Upper> =>
  fc
    .tuple(
      six ? fc.constantFrom(128, 129, 1, 135) : fc.constantFrom(8, 0, 3, 11),
      byte,
      sum,
      bytes(4),
      payload,
    )
    .map(([type, code, check, id, rest]) => ({
      proto: six ? 58 : 1,
      body: [type, code, ...check, ...id, ...rest],
    }));
/** UDP-Lite, ESP, the other family's ICMP, and any. */
const other = (six: boolean): fc.Arbitrary<Upper> =>
  fc
    .tuple(fc.constantFrom(136, 50, six ? 1 : 58, 200), fc.array(byte, { maxLength: 30 }))
    .map(([proto, body]) => ({ proto, body }));
const uppers = (six: boolean): fc.Arbitrary<Upper> =>
  fc.oneof(tcp, udp, bare, icmp(six), icmp(six), other(six));

type Fragment = 'none' | 'first' | 'later';
const fragments = fc.oneof(
  { weight: 3, arbitrary: fc.constant<Fragment>('none') },
  { weight: 5, arbitrary: fc.constant<Fragment>('first') },
  { weight: 1, arbitrary: fc.constant<Fragment>('later') },
);
const OFFSET4 = { none: 0x4000, first: 0x2000, later: 0x00b9 } as const;
const OFFSET6 = { none: 0, first: 1, later: 0x0bb8 } as const;
const ttl = fc.constantFrom(1, 2, 4, 64, 64, 64, 255);

const ip4 = fc
  .record({
    words: fc.constantFrom(0, 0, 1, 10),
    tos: byte,
    fragment: fragments,
    hops: ttl,
    check: sum,
    to: bytes(8),
    upper: uppers(false),
  })
  .map(({ words, tos, fragment, hops, check, to, upper: { proto, body } }) => {
    const more = Array.from({ length: words * 4 }, () => 1);
    const length = 20 + more.length + body.length;
    return [
      ...[0x45 + words, tos, ...u16(length), 0, 1, ...u16(OFFSET4[fragment]), hops, proto],
      ...[...check, ...to, ...more, ...body],
    ];
  });

/** Extension headers: harmless ones, and those that hide an address. */
const extension = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ kind: 60, body: [0, 1, 4, 0, 0, 0, 0] }) },
  { weight: 2, arbitrary: fc.constant({ kind: 0, body: [0, 1, 4, 0, 0, 0, 0] }) },
  { weight: 2, arbitrary: fc.constant({ kind: 43, body: [0, 3, 0, 0, 0, 0, 0] }) },
  bytes(6).map((rest) => ({ kind: 43, body: [0, ...rest] })),
  // With a home address (RFC 6275 §6.3), or room for one.
  bytes(16).map((home) => ({ kind: 60, body: [2, 1, 2, 0, 0, 201, 16, ...home] })),
);
const ip6 = fc
  .record({
    traffic: byte,
    fragment: fc.option(fragments, { nil: undefined, freq: 2 }),
    hops: ttl,
    to: bytes(32),
    chain: fc.oneof(
      { weight: 2, arbitrary: fc.constant([]) },
      fc.array(extension, { maxLength: 2 }),
    ),
    upper: uppers(true),
  })
  .map(({ traffic, fragment, hops, to, chain, upper: { proto, body } }) => {
    const headers =
      fragment === undefined
        ? chain
        : [...chain, { kind: 44, body: [0, ...u16(OFFSET6[fragment]), 0, 0, 0, 1] }];
    let rest = body;
    let next = proto;
    for (const header of headers.toReversed()) {
      rest = [next, ...header.body, ...rest];
      next = header.kind;
    }
    return [
      ...[0x60 | (traffic >> 4), (traffic & 15) << 4, 0, 0, ...u16(rest.length), next, hops],
      ...[...to, ...rest],
    ];
  });

const arp = bytes(20).map((rest) => [0, 1, 8, 0, 6, 4, 0, 1, ...rest]);
const network = fc.oneof(
  { weight: 9, arbitrary: ip4.map((body) => ({ type: 0x0800, body })) },
  { weight: 10, arbitrary: ip6.map((body) => ({ type: 0x86dd, body })) },
  { weight: 1, arbitrary: arp.map((body) => ({ type: 0x0806, body })) },
  { weight: 1, arbitrary: payload.map((body) => ({ type: 0x88b5, body })) },
);
const tags = fc.oneof(
  { weight: 3, arbitrary: fc.constant([]) },
  bytes(2).map((tci) => [0x81, 0, ...tci]),
);

/** A frame of at least `min` bytes; one in eight is cut somewhere in its upper layer. */
export const soundFrames = (min: number): fc.Arbitrary<Uint8Array> =>
  fc
    .record({ macs: bytes(4), tag: tags, network, cut: fc.nat(160) })
    .map(({ macs, tag, network: { type, body }, cut }) => {
      const all = [2, 0, ...macs, 2, 0, 0, 0, 0, 0, ...tag, ...u16(type), ...body];
      const whole = cut >= 20 ? all : all.slice(0, Math.max(min, all.length - cut - 1));
      while (whole.length < min) whole.push(0);
      return Uint8Array.from(whole);
    });
