/**
 * Port security on real keys: what the datapath's parser makes of frames that hide something, that
 * flows carry what is let in and drop what is not, and that a spoofer's frames are all decided.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EXTENSION_HEADERS_MAX } from '#flow/parse.ts';
import { parseIp6, writeIp6 } from '#net/ip.ts';
import { bridge, frame, host, HOST, location, OneHost, port, row, uuid } from './edge.fixture.ts';

const MAC1 = [2, 0, 0, 0, 0, 1];
const secured = (n: number, security: 'on' | 'off' = 'on') =>
  row('port', {
    ...port(n, 1, `tap${n}`).put,
    addresses: [
      { mac: `02:00:00:00:00:0${n}`, ip: `10.0.0.${n}` },
      { mac: `02:00:00:00:00:0${n}`, ip: `fd00::${n}` },
    ],
    security,
  });
const begin = (): OneHost =>
  new OneHost().begin(
    [host(HOST), bridge(1), secured(1), port(2, 1, 'tap2'), location(1, 1), location(2, 2)],
    { tap1: 1, tap2: 2 },
  );
const drops = (one: OneHost): Readonly<Record<string, number>> => one.edge.state().counters.drops;

/** An IPv6 packet to all nodes from fd00::1: extension headers and payload as they are. */
function packet(nextHeader: number, ...body: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(14 + 40 + body.length);
  bytes.set([0x33, 0x33, 0, 0, 0, 1, ...MAC1, 0x86, 0xdd, 0x60, 0, 0, 0, 0, body.length]);
  bytes.set([nextHeader, 255], 20);
  writeIp6(bytes, 22, parseIp6('fd00::1') ?? assert.fail());
  writeIp6(bytes, 38, parseIp6('ff02::1') ?? assert.fail());
  bytes.set(body, 54);
  return bytes;
}
const options = (next: number): number[] => [next, 0, 1, 4, 0, 0, 0, 0];
const fragment = (next: number, offset: number, more: boolean): number[] => [
  next,
  0,
  offset >> 8,
  (offset & 0xf8) | Number(more),
  0,
  0,
  0,
  7,
];
const ADVERTISEMENT = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
const ECHO = [128, 0, 0, 0, 0, 7, 0, 1];

test('a router advertisement gets nowhere, whatever it is hidden behind', () => {
  const one = begin();
  const many = Array.from({ length: EXTENSION_HEADERS_MAX + 1 }, (_, i) =>
    options(i === EXTENSION_HEADERS_MAX ? 58 : 60),
  ).flat();
  const hidden: readonly Uint8Array[] = [
    packet(58, ...ADVERTISEMENT),
    packet(60, ...options(58), ...ADVERTISEMENT),
    packet(0, ...options(60), ...options(58), ...ADVERTISEMENT),
    // More headers than a key looks through.
    packet(60, ...many, ...ADVERTISEMENT),
    // RFC 7112: the first fragment ends before the upper header, in or right behind an extension.
    packet(44, ...fragment(58, 0, true)),
    packet(44, ...fragment(60, 0, true), ...options(58)),
    packet(44, ...fragment(60, 0, true), 58, 3, 1, 4, 0, 0, 0, 0),
    packet(44, ...fragment(58, 0, true), ...ADVERTISEMENT),
    // RFC 6946: a fragment that is the whole.
    packet(44, ...fragment(58, 0, false), ...ADVERTISEMENT),
  ];
  for (const [i, bytes] of hidden.entries()) {
    one.arrive(1, bytes);
    assert.deepEqual(one.pump(), [], `frame ${i}`);
    assert.equal(drops(one)['router-advertisement'], i + 1, `frame ${i}`);
  }
  for (const bytes of [
    packet(58, ...ECHO),
    packet(60, ...options(58), ...ECHO),
    packet(44, ...fragment(58, 0, true), ...ECHO),
    packet(44, ...fragment(58, 1480, false), ...ECHO),
    packet(44, ...fragment(60, 1480, false), ...ECHO),
  ]) {
    one.arrive(1, bytes);
    assert.deepEqual(one.pump(), [2]);
  }
});

test('what is let in or refused by an address goes by a flow; each claim is read', () => {
  const one = begin();
  const upcalls = (): number => one.edge.state().counters.upcalls;
  const arrive = (text: string): readonly number[] => {
    one.arrive(1, frame(`02:00:00:00:00:01 > 02:00:00:00:00:09 ${text}`));
    return one.pump();
  };
  assert.deepEqual(arrive('udp 10.0.0.1:1 > 10.0.0.9:53'), [2]);
  assert.deepEqual(arrive('udp 10.0.0.9:1 > 10.0.0.9:53'), []);
  const first = upcalls();
  // Other ports of the sender, and other addresses of the receiver, are the same flow's.
  assert.deepEqual(arrive('udp 10.0.0.1:2 > 10.0.0.8:53'), [2]);
  assert.deepEqual(arrive('udp 10.0.0.9:7 > 10.0.0.8:99'), []);
  assert.equal(upcalls(), first);
  assert.equal(drops(one)['spoofed-ip'], 2);
  for (let n = 1; n <= 3; n++) {
    assert.deepEqual(arrive('arp reply 10.0.0.1 is-at 02:00:00:00:00:01'), [2]);
    assert.deepEqual(arrive('arp reply 10.0.0.1 is-at 02:00:00:00:00:05'), []);
    assert.equal(upcalls(), first + 2 * n);
  }
  assert.equal(drops(one)['spoofed-arp'], 3);
});

test('security that comes or goes holds from the next frame on, for old flows too', () => {
  const one = begin();
  const spoofed = frame('02:00:00:00:00:01 > 02:00:00:00:00:09 udp 10.0.0.9:1 > 10.0.0.9:53');
  const arrive = (at: number): readonly number[] => {
    one.arrive(at, spoofed);
    return one.pump();
  };
  assert.deepEqual(arrive(1), []);
  one.change(secured(1, 'off'));
  assert.deepEqual(arrive(1), [2]);
  one.change(secured(1));
  assert.deepEqual(arrive(1), []);
  // The MAC of port 1 is seeded there: from port 2 it went on its way, until it was secured.
  assert.deepEqual(arrive(2), []);
  one.change(secured(1, 'off'));
  assert.deepEqual(arrive(2), [1]);
  one.change(row('port', { ...secured(1).put, id: uuid(2, 1) }));
  assert.deepEqual(arrive(2), []);
  assert.equal(drops(one)['spoofed-mac'], 2);
  assert.deepEqual(one.published().put, []);
});
