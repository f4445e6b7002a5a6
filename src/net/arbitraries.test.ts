/**
 * What the properties of this folder draw from: addresses, headers and whole frames, and the law
 * that every codec keeps. Holds no test of its own.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Layers } from './frame.ts';
import type { Ip4, Ip6 } from './ip.ts';
import type { Mac } from './mac.ts';

/** A fixed seed and so many cases, unless SEED and RUNS say otherwise. */
export const runs = (numRuns: number) => ({
  seed: Number(process.env['SEED'] ?? 1),
  numRuns: Number(process.env['RUNS'] ?? numRuns),
});

/** Plain objects: a decoder's result has a prototype. */
export const record = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }): fc.Arbitrary<T> =>
  fc.record<T>(model, { noNullPrototype: true });

export const u8 = fc.integer({ min: 0, max: 0xff });
export const u16 = fc.integer({ min: 0, max: 0xffff });
export const u32 = fc.integer({ min: 0, max: 0xffffffff });
export const macs = fc
  .oneof(fc.integer({ min: 0, max: 2 ** 48 - 1 }), fc.constantFrom(0, 1, 2 ** 40, 2 ** 48 - 1))
  .map((n) => n as Mac);
export const ip4s = fc.oneof(u32, fc.constantFrom(0, 0x0a000001, 0xe0000001)).map((n) => n as Ip4);
const group = fc.oneof(
  { weight: 3, arbitrary: fc.constant('0000') },
  u16.map((n) => n.toString(16).padStart(4, '0')),
);
export const ip6s = fc
  .array(group, { minLength: 8, maxLength: 8 })
  .map((groups) => groups.join('') as Ip6);
export const ips = fc.oneof(ip4s, ip6s);

/** Options of IPv4 and TCP: up to 40 bytes in words of four. */
export const options = fc.option(
  fc
    .integer({ min: 1, max: 10 })
    .chain((words) => fc.uint8Array({ minLength: words * 4, maxLength: words * 4 })),
  { nil: undefined },
);
export const bytesUpTo = (maxLength: number) => fc.uint8Array({ maxLength });

export const ethernets = record({
  dst: macs,
  src: macs,
  tci: fc.option(u16, { nil: undefined }),
});

const EXTENSION_TYPES = [0, 43, 60] as const;
/**
 * Extension headers as a chain that ends at `protocol`, an atomic fragment header perhaps among
 * them.
 */
export const extensionsTo = (protocol: number) =>
  fc
    .array(
      fc.oneof(
        record({ type: fc.constantFrom(...EXTENSION_TYPES), units: fc.nat(2) }),
        fc.constant({ type: 44, units: 0 }),
      ),
      { maxLength: 8 },
    )
    .map((headers) => chain(headers, protocol));

/** The bytes of a chain of extension headers, each `units` * 8 bytes longer than the least. */
export function chain(
  headers: readonly { readonly type: number; readonly units: number }[],
  protocol: number,
): { nextHeader: number; extensions: Uint8Array | undefined } {
  const bytes: number[] = [];
  headers.forEach(({ type, units }, i) => {
    const next = headers[i + 1]?.type ?? protocol;
    const size = type === 44 ? 0 : units;
    bytes.push(next, size, ...Array.from({ length: 6 + size * 8 }, () => 0));
  });
  const nextHeader = headers[0]?.type ?? protocol;
  return { nextHeader, extensions: bytes.length > 0 ? Uint8Array.from(bytes) : undefined };
}

const ndOptions = fc.array(
  record({ type: u8, units: fc.integer({ min: 1, max: 3 }) }).chain(({ type, units }) =>
    fc
      .uint8Array({ minLength: units * 8 - 2, maxLength: units * 8 - 2 })
      .map((body) => ({ type, body })),
  ),
  { maxLength: 4 },
);
export const neighbours = record({
  kind: fc.constant('neighbour' as const),
  type: fc.constantFrom(135 as const, 136 as const),
  checksum: u16,
  flags: u32,
  target: ip6s.filter((ip) => !ip.startsWith('ff')),
  options: ndOptions,
});
export const udps = record({
  kind: fc.constant('udp' as const),
  srcPort: u16,
  dstPort: u16,
  length: fc.integer({ min: 8, max: 0xffff }),
  checksum: u16,
});
export const tcps = record({
  kind: fc.constant('tcp' as const),
  srcPort: u16,
  dstPort: u16,
  sequence: u32,
  acknowledgement: u32,
  flags: fc.integer({ min: 0, max: 0xfff }),
  window: u16,
  checksum: u16,
  urgent: u16,
  options,
});
const message = { type: u8, code: u8, checksum: u16, id: u16, sequence: u16 };
export const icmps = record({ kind: fc.constant('icmp' as const), ...message });
export const icmp6s = record({ kind: fc.constant('icmp6' as const), ...message });

const ipv4Fields = {
  kind: fc.constant('ipv4' as const),
  tos: u8,
  id: u16,
  reserved: fc.boolean(),
  dontFragment: fc.boolean(),
  ttl: u8,
  src: ip4s,
  dst: ip4s,
  options,
};
export const ipv4s = record({
  ...ipv4Fields,
  totalLength: fc.integer({ min: 60, max: 0xffff }),
  moreFragments: fc.boolean(),
  fragmentOffset: fc.integer({ min: 0, max: 0x1fff }).map((units) => units * 8),
  protocol: u8,
  checksum: u16,
});
const ipv6Fields = {
  kind: fc.constant('ipv6' as const),
  trafficClass: u8,
  flowLabel: fc.integer({ min: 0, max: 0xfffff }),
  hopLimit: u8,
  src: ip6s,
  dst: ip6s,
};

const payload = bytesUpTo(80);
const trailer = bytesUpTo(8);

const PROTOCOL = { icmp: 1, icmp6: 58, neighbour: 58, tcp: 6, udp: 17 } as const;
const overIpv4 = fc.oneof(
  icmps,
  tcps,
  udps,
  udps.map((udp) => ({ ...udp, checksum: 0 })),
);
/** ICMPv6 types that are not neighbour messages, which decode as such. */
const overIpv6 = fc.oneof(
  icmp6s.filter(({ type }) => type !== 135 && type !== 136),
  neighbours,
  tcps,
  udps,
);

/** Frames that decode into exactly the layers given, apart from what encoding computes. */
export const frames: fc.Arbitrary<Layers> = fc.oneof(
  record({
    ethernet: ethernets,
    network: record({
      kind: fc.constant('arp' as const),
      operation: u16,
      senderMac: macs,
      senderIp: ip4s,
      targetMac: macs,
      targetIp: ip4s,
    }),
    trailer,
  }),
  record({
    ethernet: ethernets,
    network: record(ipv4Fields),
    transport: overIpv4,
    payload,
    trailer,
  }),
  record({
    ethernet: ethernets,
    network: record(ipv6Fields),
    transport: overIpv6,
    payload,
    trailer,
  }).chain((frame) =>
    extensionsTo(PROTOCOL[frame.transport.kind]).map((extensions) => {
      const fragmented = hasFragment(extensions);
      // Neighbour messages behind a fragment header are not decoded as such; they have no payload.
      const alone = fragmented ? { nextHeader: 58, extensions: undefined } : extensions;
      return frame.transport.kind === 'neighbour'
        ? { ...frame, payload: new Uint8Array(0), network: { ...frame.network, ...alone } }
        : { ...frame, network: { ...frame.network, ...extensions } };
    }),
  ),
  record({
    ethernet: ethernets,
    network: record({
      ...ipv4Fields,
      protocol: fc.constantFrom(2, 6, 17, 47, 58, 132),
      fragmentOffset: fc.constantFrom(8, 1480, 65_528),
      moreFragments: fc.boolean(),
    }),
    payload,
    trailer,
  }),
  record({
    ethernet: ethernets,
    network: record({ ...ipv4Fields, moreFragments: fc.constant(true) }),
    transport: overIpv4,
    payload,
  }),
  record({
    ethernet: record({
      dst: macs,
      src: macs,
      tci: fc.option(u16, { nil: undefined }),
      type: fc.constantFrom(0, 0x26, 0x05ff, 0x0600, 0x88cc, 0x88a8, 0xffff),
    }),
    payload,
  }),
);

function hasFragment({ nextHeader, extensions }: ReturnType<typeof chain>): boolean {
  let type = nextHeader;
  for (let at = 0; extensions !== undefined && at < extensions.length;) {
    if (type === 44) return true;
    type = extensions[at] ?? 0;
    at += 8 + (extensions[at + 1] ?? 0) * 8;
  }
  return false;
}

/** Damage: bytes overwritten, then cut or grown. */
export const damaged = (valid: fc.Arbitrary<Uint8Array>): fc.Arbitrary<Uint8Array> =>
  record({
    bytes: valid,
    writes: fc.array(fc.tuple(fc.nat(120), u8), { maxLength: 3 }),
    cut: fc.option(fc.nat(120), { nil: undefined }),
  }).map(({ bytes, writes, cut }) => {
    const copy = bytes.slice(0, cut ?? bytes.length);
    for (const [at, value] of writes) if (at < copy.length) copy[at] = value;
    return copy;
  });

interface Codec<T> {
  readonly arbitrary: fc.Arbitrary<T>;
  readonly size: (value: T) => number;
  readonly encode: (bytes: Uint8Array, at: number, value: T) => number;
  readonly decode: (bytes: Uint8Array, at: number, end: number) => T | undefined;
}

/**
 * decode(encode(x)) = x at any offset, with whatever stands around it; every shorter range is
 * refused, or at least not taken for the same; a range beyond the array is refused; junk never
 * throws.
 */
export function checkCodec<T>({ arbitrary, size, encode, decode }: Codec<T>): void {
  const around = fc.uint8Array({ maxLength: 6 });
  fc.assert(
    fc.property(arbitrary, around, around, (value, before, after) => {
      const at = before.length;
      const end = at + size(value);
      const bytes = Uint8Array.from([...before, ...Array(size(value)).fill(0xee), ...after]);
      assert.equal(encode(bytes, at, value), end);
      assert.deepEqual(decode(bytes, at, end), value);
      assert.deepEqual(bytes.subarray(0, at), before);
      assert.deepEqual(bytes.subarray(end), after);
      for (let cut = at; cut < end; cut++) assert.notDeepEqual(decode(bytes, at, cut), value);
      assert.equal(decode(bytes, at, bytes.length + 1), undefined);
    }),
    runs(500),
  );
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 100 }), (junk) => {
      decode(junk, 0, junk.length);
    }),
    runs(5000),
  );
}
