/** A router's agent answers echo requests in fragments with fragments, and keeps within limits. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { frameFault } from '#net/fault.ts';
import { fragments, fragments6 } from '#net/fragment.ts';
import { decodeFrame, encodeFrame, type Frame, type Layers } from '#net/frame.ts';
import { Reassembly } from '#net/reassembly.ts';
import { describeFrame } from '#net/text.ts';
import { bridge, frame, OneHost, port } from './edge.fixture.ts';
import { LIMITS } from './limits.ts';
import { linked, linkedPort, macOf, router, routerPort } from './routed.fixture.ts';

const BY = '02:00:00:00:00:01';
const R = macOf(8);
const NETWORKS = ['10.0.0.254/24', 'fd00::fe/64'];

/** Two workloads, at the interfaces 1 and 2, and a router on their bridge. */
const gateway = (): OneHost =>
  new OneHost().begin(
    [
      bridge(1),
      port(1, 1, 'a'),
      port(2, 1, 'b'),
      router(1),
      routerPort(8, 1, NETWORKS, linked(9)),
      linkedPort(9, 1, 8),
    ],
    { a: 1, b: 2 },
  );

/** Bytes that tell where they were. */
const body = (length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => i * 7 + (i >> 8));
/** An echo request with such a body, and what the answer is but for that. */
function request(text: string, length: number, id = 0): { bytes: Uint8Array; reply: Frame } {
  const layers = decodeFrame(frame(`${BY} > ${R} ${text} echo id 5 seq 6`)) ?? assert.fail();
  const { network } = layers;
  const with4 = network?.kind === 'ipv4' ? { ...network, id } : network;
  const asked = { ...layers, network: with4, payload: body(length) } as Layers;
  const [from, to] = text
    .split(' ')
    .slice(1)
    .filter((word) => word !== '>');
  const kind = text.split(' ')[0];
  const answer = decodeFrame(frame(`${R} > ${BY} ${kind} ${to} > ${from} reply id 5 seq 6`));
  return { bytes: encodeFrame(asked), reply: answer ?? assert.fail() };
}
const FOUR = 'icmp 10.0.0.1 > 10.0.0.254';
const SIX = 'icmp6 fd00::1 > fd00::fe';
const cut = (bytes: Uint8Array, mtu = 1500, id = 0xabcdef01): readonly Uint8Array[] =>
  fragments(bytes, mtu) ?? fragments6(bytes, mtu, id) ?? assert.fail();

/** What left by an interface, put together. */
function together(one: OneHost, at: number, count: number): Frame {
  const left = one.carried();
  assert.equal(left.length, count);
  const { datagramAgeMs: ageMs } = LIMITS;
  const all = { perSourceMax: 1, datagramsMax: 1, bytesMax: 1e9, fragmentsMax: 1e9, ageMs };
  const reassembly = new Reassembly(all);
  const whole = left
    .map((each) => {
      assert.equal(each.port, at);
      assert.ok(each.frame.length <= 1514);
      return reassembly.add(each.frame, '', 0);
    })
    .at(-1);
  assert.ok(whole !== undefined);
  assert.equal(frameFault(whole.frame), undefined);
  return decodeFrame(whole.frame) ?? assert.fail();
}
function assertReply(got: Frame, { reply }: { reply: Frame }, length: number): void {
  const said = (of: Frame): string =>
    describeFrame(encodeFrame({ ...of, payload: new Uint8Array() } as Layers));
  assert.equal(said(got), said(reply));
  assert.deepEqual(got.payload, body(length));
}
const drops = (one: OneHost): Readonly<Record<string, number>> => one.edge.state().counters.drops;

test('65,000 bytes in fragments are answered in such, whatever their order', () => {
  for (const text of [FOUR, SIX])
    for (const order of ['', 'backwards', 'odd ones first']) {
      const one = gateway();
      const asked = request(text, 65_000);
      const parts = cut(asked.bytes);
      const odd = parts.filter((_, i) => i % 2 === 1);
      const even = parts.filter((_, i) => i % 2 === 0);
      const sent = { '': parts, backwards: parts.toReversed() }[order] ?? [...odd, ...even];
      for (const part of sent.slice(0, -1)) one.arrive(1, part);
      assert.deepEqual(one.carried(), [], 'not before all are there');
      one.arrive(1, sent.at(-1) ?? assert.fail());
      assertReply(together(one, 1, parts.length), asked, 65_000);
      assert.deepEqual([drops(one), one.datapath.dump()], [{}, []]);
    }
});

test('the largest ping there is, in the smallest fragments that are taken', () => {
  for (const [text, length, mtu] of [
    [FOUR, 65_507, 576],
    [SIX, 65_527, 1280],
  ] as const) {
    const one = gateway();
    const asked = request(text, length);
    const parts = cut(asked.bytes, mtu);
    for (const part of parts) one.arrive(1, part);
    assertReply(together(one, 1, parts.length), asked, length);
  }
});

test('each answer has fragments of its own', () => {
  const one = gateway();
  const idOf = (bytes: Uint8Array): number => {
    const ip = decodeFrame(bytes)?.network;
    return ip?.kind === 'ipv6' ? (ip.fragment?.id ?? 0) : ip?.kind === 'ipv4' ? ip.id : -1;
  };
  for (const id of [1, 2]) {
    for (const part of cut(request(SIX, 2000).bytes, 1500, id)) one.arrive(1, part);
    for (const part of cut(request(FOUR, 2000, id).bytes)) one.arrive(1, part);
  }
  const ids = one.carried().map(({ frame: bytes }) => idOf(bytes));
  assert.deepEqual(ids, [1, 1, 1, 1, 2, 2, 2, 2]);
});

test('a flood of first fragments at one port takes nothing from another', () => {
  const one = gateway();
  const asked = request(FOUR, 3000);
  const [first, middle, last] = cut(asked.bytes);
  const flood = (from: number): void => {
    for (let id = from; id < from + 300; id++)
      one.arrive(2, cut(request('icmp 10.0.0.2 > 10.0.0.254', 3000, id).bytes)[0] ?? assert.fail());
    assert.deepEqual(one.carried(), []);
  };
  one.arrive(1, first ?? assert.fail());
  flood(0);
  one.arrive(1, middle ?? assert.fail());
  flood(1000);
  one.arrive(1, last ?? assert.fail());
  assertReply(together(one, 1, 3), asked, 3000);
  assert.deepEqual(drops(one), { 'reassembly-limit': 600 - LIMITS.datagramsPerPortMax });
  one.advance(LIMITS.datagramAgeMs + LIMITS.tickMs);
  assert.deepEqual(drops(one), { 'reassembly-limit': 600 }, 'given up by time');
});

test('what contradicts itself, and what is no echo request, has no answer', () => {
  const one = gateway();
  const [first, last] = cut(request(FOUR, 2000).bytes);
  const [other] = cut(request(FOUR, 1999).bytes);
  const changed = other?.slice() ?? assert.fail();
  changed[1000] = (changed[1000] ?? 0) ^ 1;
  for (const part of [first, changed, last]) one.arrive(1, part ?? assert.fail());
  assert.deepEqual([one.carried(), drops(one)], [[], { 'reassembly-limit': 3 }]);
  const wrong = request(FOUR, 2000, 7).bytes;
  wrong[100] = (wrong[100] ?? 0) ^ 1;
  for (const part of cut(wrong)) one.arrive(1, part);
  assert.deepEqual(one.carried(), [], 'a wrong checksum');
  assert.equal(drops(one)['local-refused'], 1);
  const udp = frame(`${BY} > ${R} udp 10.0.0.1:1 > 10.0.0.254:2 length 2000`);
  for (const part of cut(udp)) one.arrive(1, part);
  assert.deepEqual(one.carried(), []);
  assert.deepEqual(drops(one), { 'reassembly-limit': 3, 'local-refused': 3 });
});

test('fragments of two interfaces are never put together, also when both carried the port', () => {
  const one = gateway();
  const [first, last] = cut(request(FOUR, 2000).bytes);
  one.arrive(1, first ?? assert.fail());
  one.arrive(2, last ?? assert.fail());
  assert.deepEqual(one.carried(), []);
  one.timeMs += 1;
  one.change(port(1, 1, 'b'), port(2, 1, 'a'));
  one.arrive(2, last ?? assert.fail());
  assert.deepEqual(one.carried(), []);
  one.advance(LIMITS.datagramAgeMs);
  assert.deepEqual(drops(one), { 'reassembly-limit': 3 });
});
