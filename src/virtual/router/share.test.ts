/** Equal routes share connections: alike everywhere, in both directions, and moving few. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeFrame } from '#net/frame.ts';
import type { Ip, Ip4 } from '#net/ip.ts';
import type { PortId } from '../ids.ts';
import { Match, type Headers } from '../match.ts';
import { ip, mac, macOf, routed, seen } from '../network.fixture.ts';
import { IPS, packets } from '../packet.arbitrary.ts';
import type { RouteView } from '../view.ts';
import { connectionHash, shareOf } from './share.ts';

const seed = Number(process.env['SEED'] ?? 1);
const NO_BYTES = new Uint8Array(0);
const routes = (n: number): RouteView[] =>
  Array.from({ length: n }, (_, i) => ({
    id: `00000006-0000-4000-8000-${String(i).padStart(12, '0')}`,
    name: undefined,
    kind: 'port',
    destination: { address: 0 as Ip, length: 0 },
    source: undefined,
    weight: 100,
    port: `p${i}` as PortId,
    gateway: undefined,
  }));
const header = (fields: Partial<Headers>): Headers =>
  ({ ipProto: 17, ipFrag: 0, tpSrc: 0, tpDst: 0, ...fields }) as Headers;
const chosen = (headers: Headers, among: readonly RouteView[]): string =>
  shareOf(new Match(headers, NO_BYTES, 0), among).id;
const turned = (headers: Headers): Headers => ({
  ...headers,
  ipSrc: headers.ipDst,
  ipDst: headers.ipSrc,
  tpSrc: headers.tpDst,
  tpDst: headers.tpSrc,
});
const CONNECTIONS = 10_000;
const connections: readonly Headers[] = Array.from({ length: CONNECTIONS }, (_, i) =>
  header({
    ipSrc: (0x0a000000 + (i % 50)) as Ip4,
    ipDst: (0xc0000200 + (i % 7)) as Ip4,
    tpSrc: 32_768 + i,
    tpDst: i % 3 === 0 ? 443 : 80,
  }),
);

test('both directions of a connection take the same of the routes, in whatever order they come', () => {
  const ends = fc.record({
    ipSrc: fc.constantFrom(...IPS),
    ipDst: fc.constantFrom(...IPS),
    ipProto: fc.constantFrom(1, 6, 17, 58, 132),
    tpSrc: fc.nat(65_535),
    tpDst: fc.nat(65_535),
  });
  fc.assert(
    fc.property(ends, fc.integer({ min: 1, max: 9 }), (fields, n) => {
      // The type and code of ICMP are other ones in an answer.
      const ports = fields.ipProto === 6 || fields.ipProto === 17;
      const there = header(fields);
      const back = ports ? turned(there) : { ...turned(there), tpSrc: 0 };
      assert.equal(chosen(back, routes(n)), chosen(there, routes(n)));
      assert.equal(chosen(there, routes(n).reverse()), chosen(there, routes(n)));
    }),
    { seed, numRuns: 2_000 },
  );
});

test('connections are shared evenly', () => {
  for (const n of [2, 3, 5]) {
    const counts = new Map<string, number>();
    for (const each of connections) {
      const id = chosen(each, routes(n));
      counts.set(id, (counts.get(id) ?? 0) + 1);
    }
    assert.equal(counts.size, n);
    const even = CONNECTIONS / n;
    for (const count of counts.values())
      assert(Math.abs(count - even) < even / 10, `${count} of ${even} among ${n}`);
  }
});

test('hosts that differ in their address only are shared too', () => {
  const counts = new Map<string, number>();
  for (let i = 0; i < 1_000; i++) {
    const id = chosen(header({ ipProto: 1, ipSrc: i as Ip4, ipDst: 5 as Ip4 }), routes(2));
    counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  for (const count of counts.values()) assert(count > 400, String(count));
});

test('a route that goes moves its own connections only; one that comes takes from all', () => {
  const all = routes(4);
  for (const gone of all) {
    const left = all.filter((route) => route !== gone);
    const took = new Set<string>();
    for (const each of connections) {
      const before = chosen(each, all);
      const after = chosen(each, left);
      if (before === gone.id) took.add(after);
      else assert.equal(after, before);
    }
    assert.equal(took.size, left.length, 'by all that are left');
  }
});

test('a route that is made anew takes the connections it had', () => {
  const all = routes(3);
  const anew = all.map((route, i) => ({ ...route, id: `f000000${i}`, name: 'anew' }));
  const by = (among: readonly RouteView[], each: Headers): unknown =>
    among.find(({ id }) => id === chosen(each, among))?.port;
  for (const each of connections.slice(0, 1_000)) assert.equal(by(anew, each), by(all, each));
  const same = all.map((route) => ({ ...route, port: 'p' as PortId }));
  assert.equal(chosen(header({ ipSrc: 1 as Ip4, ipDst: 2 as Ip4 }), same), same[0]?.id);
});

test('the parts of a datagram go together, whatever is where their ports would be', () => {
  for (const each of connections.slice(0, 500)) {
    const first = { ...each, ipFrag: 1 };
    const later = { ...each, ipFrag: 3, tpSrc: 0, tpDst: 0 };
    assert.equal(chosen(first, routes(5)), chosen(later, routes(5)));
  }
});

test('a single route reads nothing; several read what tells connections apart', () => {
  fc.assert(
    fc.property(packets, ({ headers, bytes, size }) => {
      const alone = new Match(headers, bytes, size);
      shareOf(alone, routes(1));
      assert.equal(alone.seen, 0);
      const match = new Match(headers, bytes, size);
      const hash = connectionHash(match);
      assert(match.cacheable && Number.isInteger(hash));
    }),
    { seed, numRuns: 500 },
  );
});

test('in a router: the fields seen, and one outcome for a connection and its answers', () => {
  const net = routed();
  net.routerPort('up2', 'r0', 0x14, '198.51.100.1/24').locate('up2');
  net.route('other', 'r0', '0.0.0.0/0', { port: net.port('up2'), gateway: '198.51.100.254' });
  net.knows('up', '192.0.2.254', 9).knows('up2', '198.51.100.254', 8);
  const used = new Set<string>();
  for (let i = 1; i < 40; i++) {
    const outcome = net.send('vm1', `udp 10.0.1.10:${i} > 203.0.113.5:53`);
    assert.equal(
      seen(outcome),
      'ethSrc ethDst ethType vlan ipSrc ipDst ipProto ipFrag tpSrc tpDst',
    );
    assert.match(net.text(outcome)[1] ?? '', /0\.0\.0\.0\/0 port via .*, one of 2$/);
    used.add(JSON.stringify(outcome.verdict));
  }
  assert.equal(used.size, 2);
  const echo = net.send('vm1', 'icmp 10.0.1.10 > 203.0.113.5 echo id 5');
  assert.equal(seen(echo), 'ethSrc ethDst ethType vlan ipSrc ipDst ipProto ipFrag');
  const part = encodeFrame({
    ethernet: { src: mac(macOf(1)), dst: mac(macOf(0x11)) },
    network: {
      kind: 'ipv4',
      src: ip('10.0.1.10') as Ip4,
      dst: ip('203.0.113.5') as Ip4,
      fragmentOffset: 8,
      protocol: 17,
    },
    payload: new Uint8Array(8),
  });
  assert.equal(seen(net.send('vm1', part)), seen(echo));
});
