/** Fragments in any order become what was cut; contradictions and limits are counted. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { damaged, ethernets, extensionsTo, frames, ip4s, ip6s } from './arbitraries.test.ts';
import { record, runs, u16, u32, u8 } from './arbitraries.test.ts';
import { frameFault } from './fault.ts';
import { fragments, fragments6, IPV6_MTU_MIN } from './fragment.ts';
import { decodeFrame, encodeFrame, fragmentKind, type Layers } from './frame.ts';
import { EXTENSION } from './packet/ipv6.ts';
import { FRAGMENT_COST_BYTES, Reassembly, type Whole } from './reassembly.ts';
import { parseFrameText } from './text.ts';

const LIMITS = {
  perSourceMax: 16,
  datagramsMax: 512,
  bytesMax: 4 * 1024 * 1024,
  fragmentsMax: 128,
  ageMs: 15_000,
};
const NOTHING = { datagrams: 0, bytes: 0, sources: 0 };
const opened = (limits: Partial<typeof LIMITS> = {}): Reassembly =>
  new Reassembly({ ...LIMITS, ...limits });

const ENDS = '02:00:00:00:00:01 > 02:00:00:00:00:02';
function frameOf(text: string): Uint8Array {
  const bytes = parseFrameText(`${ENDS} ${text}`);
  assert.ok(bytes instanceof Uint8Array, `${text}: ${JSON.stringify(bytes)}`);
  return bytes;
}
/** The parts of an echo request of so many bytes. */
const ping = (id: number, length = 2000, mtu = 1500): readonly Uint8Array[] => {
  const frame = decodeFrame(frameOf(`icmp 10.0.0.1 > 10.0.0.2 echo length ${length}`));
  assert.ok(frame?.network?.kind === 'ipv4');
  return fragments(encodeFrame({ ...frame, network: { ...frame.network, id } }), mtu) ?? [];
};
const withoutPadding = (bytes: Uint8Array): Uint8Array =>
  bytes.subarray(0, bytes.length - (decodeFrame(bytes)?.trailer.length ?? 0));
const sizeOf = (bytes: Uint8Array): number => {
  const frame = decodeFrame(bytes);
  return withoutPadding(bytes).length - (frame?.ethernet.tci === undefined ? 14 : 18);
};

/** Bytes that tell where they were; quick to shrink. */
const payload = fc
  .tuple(fc.integer({ min: 1, max: 4000 }), u8)
  .map(([length, n]) => Uint8Array.from({ length }, (_, i) => n + i * 31 + (i >> 8)));
const trailer = fc.uint8Array({ maxLength: 6 });
const four = record({
  ethernet: ethernets,
  network: record({
    kind: fc.constant('ipv4' as const),
    tos: u8,
    id: u16,
    ttl: u8,
    src: ip4s,
    dst: ip4s,
    protocol: fc.constantFrom(1, 47),
    options: fc.constantFrom(undefined, Uint8Array.of(0x83, 7, 4, 10, 0, 0, 9, 0)),
  }),
  payload,
  trailer,
});
const six = record({
  ethernet: ethernets,
  network: record({
    kind: fc.constant('ipv6' as const),
    trafficClass: u8,
    flowLabel: fc.constant(0x12345),
    hopLimit: u8,
    src: ip6s,
    dst: ip6s,
  }),
  transport: record({
    kind: fc.constant('icmp6' as const),
    type: fc.constant(128),
    code: u8,
    id: u16,
    sequence: u16,
  }),
  payload,
  trailer,
})
  .chain((frame) => extensionsTo(58).map((more) => ({ frame, more })))
  .map(({ frame, more }): Layers => ({ ...frame, network: { ...frame.network, ...more } }));

interface Cut {
  readonly bytes: Uint8Array;
  readonly parts: readonly Uint8Array[];
}
/** A frame and its fragments; those of IPv4 are of many sizes. */
const cuts: fc.Arbitrary<Cut> = fc.oneof(
  fc
    .tuple(four, fc.integer({ min: 100, max: 1500 }), fc.array(fc.integer({ min: 68, max: 700 })))
    .map(([layers, mtu, again]) => {
      const bytes = encodeFrame(layers);
      const parts = fragments(bytes, mtu) ?? [];
      return {
        bytes,
        parts: parts.flatMap((part, i) => fragments(part, again[i] ?? mtu) ?? []),
      };
    }),
  fc
    .tuple(six, fc.integer({ min: IPV6_MTU_MIN, max: 2000 }), u32)
    .map(([layers, mtu, id]) => ({ layers, bytes: encodeFrame(layers), mtu, id }))
    // With a fragment header in it, it was cut before.
    .filter(({ bytes }) => {
      const ip = decodeFrame(bytes)?.network;
      return ip?.kind === 'ipv6' && ip.fragment === undefined;
    })
    .map(({ bytes, mtu, id }) => ({ bytes, parts: fragments6(bytes, mtu, id) ?? [] })),
);

test('in any order, and some of them twice, fragments are what was cut', () => {
  let met = 0;
  fc.assert(
    fc.property(cuts, u32, ({ bytes, parts }, seed) => {
      if (parts.length < 2 || parts.length > LIMITS.fragmentsMax) return;
      met++;
      const reassembly = opened();
      const left = parts.map((_, i) => i);
      const came: number[] = [];
      let added = 0;
      let random = seed;
      const pick = (of: readonly number[]): number => {
        random = (Math.imul(random, 0x41c64e6d) + 12345) >>> 0;
        return (random >>> 8) % of.length;
      };
      const add = (n: number): Whole | undefined => {
        added++;
        // In a Buffer, which is overwritten as soon as it was handed over.
        const given = Buffer.from(parts[n] ?? []);
        const whole = reassembly.add(given, 'a', 1);
        given.fill(0xee);
        return whole;
      };
      while (left.length > 0) {
        if (came.length > 0 && pick([0, 1, 2]) === 0)
          assert.equal(add(came[pick(came)] ?? 0), undefined);
        const [n = 0] = left.splice(pick(left), 1);
        came.push(n);
        const whole = add(n);
        if (left.length > 0) assert.equal(whole, undefined);
        else {
          assert.deepEqual(whole?.frame, withoutPadding(bytes));
          assert.equal(whole.largest, Math.max(...parts.map(sizeOf)));
        }
      }
      assert.deepEqual(reassembly.kept, NOTHING);
      assert.equal(reassembly.dropped, added - parts.length, 'duplicates');
    }),
    runs(1000),
  );
  assert.ok(process.env['RUNS'] !== undefined || met > 500, `${met} were cut`);
});

test('the largest datagrams there are', () => {
  const reassembly = opened();
  const bytes = frameOf('icmp 10.0.0.1 > 10.0.0.2 echo length 65507');
  const results = (fragments(bytes, 1500) ?? []).map((part) => reassembly.add(part, 'a', 1));
  assert.deepEqual(results.at(-1), { frame: bytes, largest: 1500, id: 0 });
  const frame = decodeFrame(frameOf('icmp6 fd00::1 > fd00::2 echo'));
  assert.ok(frame !== undefined);
  const most = encodeFrame({ ...frame, payload: new Uint8Array(65_527) });
  const parts = fragments6(most, 1280, 0xfeedbeef) ?? [];
  const wholes = parts.map((part) => reassembly.add(part, 'a', 1));
  assert.deepEqual(wholes.at(-1), { frame: most, largest: 1280, id: 0xfeedbeef });
  assert.equal(reassembly.dropped, 0);
});

/** A fragment of one datagram: units of 8 bytes from `at` on, of the value `fill`. */
interface Piece {
  readonly at: number;
  readonly units: number;
  readonly more: boolean;
  readonly fill: number;
}
const pieceOf = ({ at, units, more, fill }: Piece, network: object = {}): Uint8Array =>
  encodeFrame({
    ethernet: { src: 1, dst: 2 },
    network: {
      kind: 'ipv4',
      src: 1,
      dst: 2,
      protocol: 47,
      moreFragments: more,
      fragmentOffset: at * 8,
      ...network,
    },
    payload: new Uint8Array(units * 8).fill(fill),
  } as unknown as Layers);

/** The rules, slow: nothing is looked at but all that came. */
class Slow {
  #came: Piece[] = [];
  #spoilt = false;
  add(piece: Piece): boolean {
    const ends = (a: Piece): number => a.at + a.units;
    const same = (a: Piece): boolean =>
      Object.entries(piece).every(([k, v]) => Reflect.get(a, k) === v);
    if (this.#spoilt || this.#came.some(same)) return false;
    const all = [...this.#came, piece];
    const last = all.filter(({ more }) => !more);
    const clash =
      this.#came.some((a) => a.at < ends(piece) && piece.at < ends(a)) ||
      last.length > 1 ||
      all.some((a) => last.some((end) => ends(a) > ends(end)));
    this.#spoilt = clash;
    if (clash) return false;
    this.#came = all;
    const bytes = all.reduce((sum, { units }) => sum + units, 0);
    const whole = last[0] !== undefined && bytes === ends(last[0]);
    if (whole) this.#came = [];
    return whole;
  }
}

test('overlaps, second ends and what is beyond the end spoil the whole datagram, for good', () => {
  const piece = record<Piece>({
    at: fc.nat(3),
    units: fc.integer({ min: 1, max: 3 }),
    more: fc.boolean(),
    fill: fc.constantFrom(1, 1, 1, 2),
  }).filter(({ at, more }) => at > 0 || more);
  let wholes = 0;
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 12 }), (list) => {
      const [reassembly, slow] = [opened(), new Slow()];
      for (const each of list) {
        const whole = reassembly.add(pieceOf(each), 'a', 1);
        if (whole !== undefined) wholes++;
        assert.equal(whole !== undefined, slow.add(each), JSON.stringify(list));
      }
    }),
    runs(20_000),
  );
  assert.ok(process.env['RUNS'] !== undefined || wholes > 500, `${wholes} wholes`);
});

test('an overlap is not forgotten while its datagram could still come', () => {
  const reassembly = opened();
  const [first, last] = [
    { at: 0, units: 2, more: true, fill: 1 },
    { at: 2, units: 1, more: false, fill: 1 },
  ];
  reassembly.add(pieceOf(first), 'a', 0);
  reassembly.add(pieceOf({ ...first, at: 1, fill: 9 }), 'a', 0);
  assert.deepEqual([reassembly.dropped, reassembly.kept.bytes], [2, 0]);
  for (const each of [first, last]) reassembly.add(pieceOf(each), 'a', LIMITS.ageMs - 1);
  assert.equal(reassembly.dropped, 4);
  reassembly.add(pieceOf(first), 'a', LIMITS.ageMs);
  assert.ok(reassembly.add(pieceOf(last), 'a', LIMITS.ageMs) !== undefined);
});

test('what tells datagrams apart', () => {
  const first = { at: 0, units: 1, more: true, fill: 1 };
  const last = { at: 1, units: 1, more: false, fill: 1 };
  for (const other of [{ src: 3 }, { dst: 3 }, { id: 3 }, { protocol: 3 }]) {
    const reassembly = opened();
    reassembly.add(pieceOf(first), 'a', 0);
    assert.equal(reassembly.add(pieceOf(last, other), 'a', 0), undefined);
    assert.ok(reassembly.add(pieceOf(last), 'a', 0) !== undefined, JSON.stringify(other));
  }
  for (const [at, value] of [
    [0, 4],
    [15, 7],
  ] as const) {
    const reassembly = opened();
    const tagged = (piece: Piece): Uint8Array => {
      const bytes = pieceOf(piece);
      return Uint8Array.from([...bytes.subarray(0, 12), 0x81, 0, 0, 5, ...bytes.subarray(12)]);
    };
    const strange = tagged(last);
    strange[at] = value;
    reassembly.add(tagged(first), 'a', 0);
    assert.equal(reassembly.add(strange, 'a', 0), undefined, 'MAC and VLAN');
    assert.ok(reassembly.add(tagged(last), 'a', 0) !== undefined);
  }
  const reassembly = opened();
  reassembly.add(pieceOf(first), 'a', 0);
  assert.equal(reassembly.add(pieceOf(last), 'b', 0), undefined, 'of another source');
  assert.ok(reassembly.add(pieceOf(last), 'a', 0) !== undefined);
});

test('fragments of one IPv6 packet may name different headers; the first one counts', () => {
  const parts = fragments6(frameOf('icmp6 fd00::1 > fd00::2 echo length 2000'), 1280, 7) ?? [];
  const [first, last] = parts;
  assert.ok(first !== undefined && last !== undefined && parts.length === 2);
  last[54] = 17;
  const reassembly = opened();
  reassembly.add(last, 'a', 0);
  const whole = reassembly.add(first, 'a', 0);
  assert.deepEqual(whole?.frame, frameOf('icmp6 fd00::1 > fd00::2 echo length 2000'));
});

test('what is no use alone is dropped alone', () => {
  const reassembly = opened();
  const [first, last] = ping(1) as [Uint8Array, Uint8Array];
  reassembly.add(first, 'a', 0);
  const wrong = last.slice();
  wrong[22] = 3;
  const twice = encodeFrame({
    ethernet: { src: 1, dst: 2 },
    network: {
      kind: 'ipv6',
      src: '0'.repeat(32),
      dst: '0'.repeat(32),
      protocol: 58,
      nextHeader: EXTENSION.FRAGMENT,
      extensions: Uint8Array.of(44, 0, 0, 1, 0, 0, 0, 1, 58, 0, 0, 1, 0, 0, 0, 2),
    },
    payload: new Uint8Array(8),
  } as unknown as Layers);
  const bad: Readonly<Record<string, Uint8Array>> = {
    'no frame': last.subarray(0, 13),
    'cut short': last.subarray(0, -1),
    'header checksum': wrong,
    'a whole packet': frameOf('icmp 10.0.0.1 > 10.0.0.2 echo'),
    'not IP': frameOf('arp who-has 10.0.0.2 tell 10.0.0.1'),
    'nothing in it': pieceOf({ at: 1, units: 0, more: false, fill: 0 }),
    'not in units of 8': encodeFrame({
      ...decodeFrame(pieceOf({ at: 1, units: 1, more: true, fill: 0 })),
      payload: new Uint8Array(9),
    } as Layers),
    'beyond 65535': pieceOf({ at: 8188, units: 2, more: false, fill: 0 }),
    'two fragment headers': twice,
  };
  Object.entries(bad).forEach(([name, bytes], i) => {
    assert.equal(reassembly.add(bytes, 'a', 0), undefined, name);
    assert.equal(reassembly.dropped, i + 1, name);
  });
  assert.ok(reassembly.add(last, 'a', 0) !== undefined);
});

test('with the headers of its first part a datagram may be too long', () => {
  const reassembly = opened();
  const options = new Uint8Array(40).fill(1);
  reassembly.add(pieceOf({ at: 0, units: 1, more: true, fill: 0 }, { options }), 'a', 0);
  const end = decodeFrame(pieceOf({ at: 1, units: 0, more: false, fill: 0 })) as Layers;
  const longest = encodeFrame({ ...end, payload: new Uint8Array(65_507) });
  assert.equal(reassembly.add(longest, 'a', 0), undefined);
  assert.deepEqual([reassembly.dropped, reassembly.kept], [2, NOTHING]);
});

test('a datagram is given up when it is too old, or in too many parts', () => {
  const reassembly = opened({ fragmentsMax: 3 });
  const [first, last] = ping(1) as [Uint8Array, Uint8Array];
  reassembly.add(first, 'a', 100);
  reassembly.expire(100 + LIMITS.ageMs - 1);
  assert.equal(reassembly.kept.datagrams, 1);
  assert.equal(reassembly.add(last, 'a', 100 + LIMITS.ageMs), undefined, 'too late');
  assert.deepEqual([reassembly.dropped, reassembly.kept.datagrams], [1, 1]);
  reassembly.expire(1e6);
  assert.deepEqual([reassembly.dropped, reassembly.kept], [2, NOTHING]);
  const many = ping(2, 300, 100);
  assert.equal(many.length, 4);
  for (const part of many) assert.equal(reassembly.add(part, 'a', 1e6), undefined);
  assert.deepEqual([reassembly.dropped, reassembly.kept.bytes], [6, 0]);
  for (const part of ping(3, 200, 100)) reassembly.add(part, 'a', 1e6);
  assert.equal(reassembly.dropped, 6, 'three are not too many');
});

test('the oldest of a source makes room for its newest', () => {
  const reassembly = opened({ perSourceMax: 2 });
  const firsts = [1, 2, 3].map((id) => ping(id)[0] as Uint8Array);
  const lasts = [1, 2, 3].map((id) => ping(id)[1] as Uint8Array);
  for (const part of firsts) reassembly.add(part, 'a', 0);
  assert.deepEqual([reassembly.dropped, reassembly.kept.datagrams], [1, 2]);
  const wholes = [1, 2, 0].map((i) => reassembly.add(lasts[i] as Uint8Array, 'a', 0));
  assert.deepEqual(
    wholes.map((whole) => whole !== undefined),
    [true, true, false],
  );
});

test('who has the most makes room for others; who has no less gets none', () => {
  const first = (id: number): Uint8Array => ping(id)[0] as Uint8Array;
  const reassembly = opened({ perSourceMax: 4, datagramsMax: 5 });
  for (const id of [1, 2, 3]) reassembly.add(first(id), 'a', 0);
  for (const id of [1, 2]) reassembly.add(first(id), 'b', 0);
  reassembly.add(first(1), 'c', 0);
  assert.equal(reassembly.dropped, 1, 'the oldest of a');
  reassembly.add(first(3), 'b', 0);
  assert.equal(reassembly.dropped, 2, 'its own oldest');
  const last = ping(1)[1] as Uint8Array;
  assert.deepEqual(
    ['c', 'b', 'a'].map((source) => reassembly.add(last, source, 0) !== undefined),
    [true, false, false],
  );
  const tied = opened({ perSourceMax: 4, datagramsMax: 5 });
  for (const id of [1, 2, 3]) tied.add(first(id), 'a', 0);
  for (const id of [1, 2, 3]) tied.add(first(id), 'b', 0);
  assert.ok(tied.add(last, 'a', 0) !== undefined, 'b has no right to as many as a has');
  const bytesMax = 3 * (first(1).length + FRAGMENT_COST_BYTES);
  const small = opened({ bytesMax });
  for (const id of [1, 2, 3]) small.add(first(id), 'a', 0);
  small.add(first(1), 'b', 0);
  assert.deepEqual([small.dropped, small.kept.bytes], [1, bytesMax]);
  small.add(first(4), 'a', 0);
  assert.deepEqual([small.dropped, small.kept.bytes], [2, bytesMax]);
  assert.ok(small.add(last, 'b', 0) !== undefined, 'a still has more');
  assert.equal(small.dropped, 3);
  const none = opened({ bytesMax: 100 });
  none.add(first(1), 'a', 0);
  assert.deepEqual([none.dropped, none.kept], [1, NOTHING]);
});

test('every fragment is used, kept or counted; who keeps to its share is never in the way', () => {
  const limits = { perSourceMax: 4, datagramsMax: 9, bytesMax: 9 * 600, fragmentsMax: 8 };
  // Four sources: a share is at least two datagrams, and a quarter of the bytes.
  const step = fc.record({
    source: fc.constantFrom('b', 'c', 'd'),
    id: fc.nat(6),
    part: fc.nat(2),
    wait: fc.constantFrom(0, 0, 0, 1000, 9000),
  });
  const parts = Array.from({ length: 7 }, (_, id) => ping(id, 200, 100));
  let given = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 40, maxLength: 120 }), (steps) => {
      const reassembly = opened(limits);
      let [added, used, now, mine] = [0, 0, 0, 0];
      const add = (source: string, bytes: Uint8Array | undefined): boolean => {
        added++;
        const whole = reassembly.add(bytes ?? new Uint8Array(), source, now);
        if (whole !== undefined) used += 3;
        const { datagrams, bytes: kept } = reassembly.kept;
        assert.ok(datagrams <= limits.datagramsMax && kept <= limits.bytesMax);
        return whole !== undefined;
      };
      steps.forEach(({ source, id, part, wait }, i) => {
        add(source, parts[id]?.[part]);
        // One datagram at a time, in a moment: its parts between those of others.
        if (wait > 0 && mine === 0) now += wait;
        if (i % 2 === 1) return;
        assert.equal(add('a', parts[0]?.[mine]), mine === 2, 'ours is whole');
        if (mine === 2) given++;
        mine = (mine + 1) % 3;
      });
      reassembly.expire(now + LIMITS.ageMs);
      assert.deepEqual(reassembly.kept, NOTHING);
      assert.equal(reassembly.dropped + used, added);
    }),
    runs(500),
  );
  assert.ok(process.env['RUNS'] !== undefined || given > 1000, `${given} of ours`);
});

test('any bytes: nothing throws or is written to, and what comes of them is no fragment', () => {
  const pieces = fc
    .tuple(fc.constantFrom(...ping(1, 60, 68)), fc.constantFrom(0, 0, 20, 21, 34))
    .map(([bytes, at]) => bytes.map((byte, i) => (i === at && at > 0 ? byte ^ 1 : byte)));
  const some = fc.oneof(frames.map(encodeFrame), pieces);
  fc.assert(
    fc.property(fc.array(fc.oneof(some, damaged(some)), { maxLength: 30 }), (list) => {
      const reassembly = opened();
      for (const bytes of list) {
        const before = bytes.slice();
        const whole = reassembly.add(bytes, 'a', 0);
        assert.deepEqual(bytes, before);
        if (whole === undefined) continue;
        const ip = decodeFrame(whole.frame)?.network;
        assert.ok(ip !== undefined && ip.kind !== 'arp' && fragmentKind(ip) === 0);
        assert.doesNotMatch(frameFault(whole.frame) ?? '', /^ip |cut short/);
      }
    }),
    runs(2000),
  );
});
