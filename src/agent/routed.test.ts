/** Flows of routed packets on one host: what they carry, what they hand up, which of them go. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Learned } from '#client/types.ts';
import { decodeFrame, encodeFrame } from '#net/frame.ts';
import { parseIp, type Ip4 } from '#net/ip.ts';
import { parseMac } from '#net/mac.ts';
import type { RowChange } from '#virtual/change.ts';
import { ERRORS_BURST } from '#virtual/state/error-budget.ts';
import { bridge, frame, HOST, row, uuid } from './edge.fixture.ts';
import { LIMITS } from './limits.ts';
import {
  linked,
  linkedPort,
  macOf,
  R0,
  RED,
  RoutedHost,
  route,
  router,
  routerPort,
  rows,
  INTERFACES,
  TO_BLUE,
  TO_RED,
  toBlue,
  UP,
} from './routed.fixture.ts';

const carried = (srcPort: number): string =>
  `2: ${macOf(TO_BLUE)} > ${macOf(2)} udp 10.0.1.10:${srcPort} > 10.0.2.10:2 ttl 63`;
const error = (what: string): string =>
  `1: ${macOf(TO_RED)} > ${macOf(1)} icmp 10.0.1.1 > 10.0.1.10 ${what}`;
/** The blue workload is known, and a flow to it is there. */
function flowing(...more: readonly RowChange[]): RoutedHost {
  const one = new RoutedHost().start(...more);
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.deepEqual(one.packet('10.0.2.10', 1), [carried(1)]);
  return one;
}
const big = (size: number, dontFragment: boolean): Uint8Array =>
  encodeFrame({
    ethernet: {
      src: parseMac(macOf(1)) ?? assert.fail(),
      dst: parseMac(macOf(TO_RED)) ?? assert.fail(),
    },
    network: {
      kind: 'ipv4',
      src: parseIp('10.0.1.10') as Ip4,
      dst: parseIp('10.0.2.10') as Ip4,
      dontFragment,
      id: 7,
    },
    transport: { kind: 'udp', srcPort: 9, dstPort: 9 },
    payload: new Uint8Array(size - 28),
  });

test('one flow serves all senders, ports and TTLs; what the TTL does not let through is told', () => {
  const one = flowing();
  const { upcalls } = one.counters;
  const other = `${macOf(1)} > ${macOf(TO_RED)} tcp 10.0.1.77:5 > 10.0.2.10:80 ttl 2`;
  assert.match(one.send(1, other).join(), /tcp 10\.0\.1\.77:5 > 10\.0\.2\.10:80 syn ttl 1$/);
  assert.equal(one.counters.upcalls, upcalls);
  for (const ttl of [1, 0]) {
    assert.deepEqual(one.packet('10.0.2.10', 2, ` ttl ${ttl}`), [
      error('ttl-exceeded id 0 seq 0 tos 192'),
    ]);
    assert.deepEqual(one.packet('10.0.2.10', 3), [carried(3)], 'the flow is still there');
  }
  assert.equal(one.counters.upcalls, upcalls + 2);
  assert.equal(one.counters.drops['ttl-exceeded'], 2);
  assert.equal(one.counters.flowsNow, 1);
});

test('too big: told where it must not be cut, else cut; the flow carries what fits', () => {
  const one = flowing(toBlue({ mtu: 1_400 }));
  const { upcalls } = one.counters;
  assert.equal(one.send(1, big(1_400, true)).length, 1);
  assert.equal(one.counters.upcalls, upcalls, 'fits');
  assert.deepEqual(
    one.send(1, big(1_401, true)).map((text) => text.replace(/ ip id.*/, '')),
    [error('frag-needed mtu 1400 tos 192')],
  );
  one.arrive(1, big(3_000, false));
  while (one.edge.pump((m) => one.posted.push(m)) > 0);
  const parts = one.left.splice(0).map(({ port, frame: bytes }) => {
    const ip = decodeFrame(bytes)?.network;
    assert(port === 2 && ip?.kind === 'ipv4');
    return [ip.fragmentOffset, ip.totalLength, ip.moreFragments, ip.ttl];
  });
  assert.deepEqual(parts, [
    [0, 1_396, true, 63],
    [1_376, 1_396, true, 63],
    [2_752, 248, false, 63],
  ]);
  assert.equal(one.counters.drops['too-big'], 1);
  assert.deepEqual(one.packet('10.0.2.10', 3), [carried(3)]);
  assert.deepEqual(one.edge.wrongFlows(), []);
});

test('errors end with the budget of the port, by a flow that drops, and come again', () => {
  const to = { router: uuid(5, R0), destination: '198.51.100.0/24', weight: 1 };
  const one = flowing(row('route', { id: uuid(6, 3), type: 'reject', ...to }));
  const told = error('admin-prohibited id 0 seq 0 tos 192');
  for (let n = 1; n <= ERRORS_BURST; n++)
    assert.deepEqual(one.packet('198.51.100.7', n), [told], String(n));
  const { upcalls } = one.counters;
  for (let n = 0; n < 20; n++) assert.deepEqual(one.packet('198.51.100.7', n + 1), []);
  assert.equal(one.counters.upcalls, upcalls + 1, 'one flow drops the rest');
  assert.equal(one.counters.drops['route-reject'], ERRORS_BURST + 20);
  const other = `${macOf(3)} > ${macOf(TO_RED)} udp 10.0.1.30:1 > 198.51.100.7:2`;
  assert.equal(one.send(3, other).length, 1, 'another port has its own budget');
  one.advance(LIMITS.tickMs);
  assert.deepEqual(one.packet('198.51.100.7', 9), [told]);
});

test('the network itself answers: echo, ARP, and a reset', () => {
  const one = new RoutedHost().start();
  const to = `${macOf(1)} > ${macOf(TO_RED)}`;
  const back = `1: ${macOf(TO_RED)} > ${macOf(1)}`;
  assert.deepEqual(one.send(1, `${to} icmp 10.0.1.10 > 192.0.2.1 echo id 3 seq 4`), [
    `${back} icmp 192.0.2.1 > 10.0.1.10 reply id 3 seq 4`,
  ]);
  assert.deepEqual(
    one.send(1, 'arp who-has 10.0.1.1 tell 10.0.1.10').filter((text) => text.startsWith('1:')),
    [`${back} arp reply 10.0.1.1 is-at ${macOf(TO_RED)} to 10.0.1.10`],
  );
  assert.deepEqual(one.send(1, `${to} tcp 10.0.1.10:5 > 10.0.1.1:22`), [
    `${back} tcp 10.0.1.1:22 > 10.0.1.10:5 ack rst (ack 1, win 0)`,
  ]);
  assert.equal(one.counters.flowsNow, 0, 'none of it is cached');
});

test('what one first packet may bring about is bounded, and the rest is counted', () => {
  const many = LIMITS.sendsPerUpcallMax + 6;
  const leaves = Array.from({ length: many }, (_, i) => [
    bridge(100 + i),
    router(100 + i),
    linkedPort(1_000 + i, RED, 2_000 + i),
    linkedPort(2_000 + i, 100 + i, 1_000 + i),
    linkedPort(3_000 + i, 100 + i, 4_000 + i),
    routerPort(4_000 + i, 100 + i, ['10.0.1.99/24'], { ...linked(3_000 + i), mac: macOf(100 + i) }),
  ]).flat();
  const one = new RoutedHost().start(...leaves);
  const out = one.send(1, 'arp who-has 10.0.1.99 tell 10.0.1.10');
  assert.equal(out.filter((text) => text.includes('reply')).length, LIMITS.sendsPerUpcallMax);
  assert.equal(one.counters.drops['too-many-hops'], 6);
});

const DESTINATIONS = 1_000;
const destination = (i: number): string => `100.64.${Math.trunc(i / 100)}.${(i % 100) + 1}`;
/** Flows to so many destinations by ten routes over one gateway. */
function many(): RoutedHost {
  const tenRoutes = Array.from({ length: 10 }, (_, i) =>
    route(10 + i, `100.64.${i}.0/24`, '192.0.2.254'),
  );
  const one = new RoutedHost(2_048).start(...tenRoutes, route(99, '172.16.0.0/12', '192.0.2.7'));
  one.reply(9, '192.0.2.254', UP, '192.0.2.1');
  one.reply(9, '192.0.2.253', UP, '192.0.2.1', macOf(8));
  for (let i = 0; i < DESTINATIONS; i++) assert.equal(one.packet(destination(i)).length, 1);
  assert.equal(one.counters.flowsNow, DESTINATIONS);
  return one;
}

test('an edit of one of many routes retires the flows to its destinations and no others', () => {
  const one = many();
  const { upcalls } = one.counters;
  one.change(route(13, '100.64.3.0/24', '192.0.2.253'));
  assert.equal(one.counters.flowsNow, DESTINATIONS - 100);
  assert.deepEqual(one.edge.wrongFlows(), []);
  assert.match(one.packet(destination(300)).join(), new RegExp(`> ${macOf(8)} udp`));
  assert.match(one.packet(destination(299)).join(), new RegExp(`> ${macOf(9)} udp`));
  assert.equal(one.counters.upcalls, upcalls + 1);
  one.change(route(50, '100.64.5.6/32', '192.0.2.253'));
  assert.equal(one.counters.flowsNow, DESTINATIONS - 99 - 1, 'a longer one takes a single flow');
  one.change(route(99, '172.16.0.0/12', '192.0.2.253'));
  assert.equal(one.counters.flowsNow, DESTINATIONS - 100, 'no flow goes there');
  one.change({ kind: 'route', id: uuid(6, 10) });
  assert.equal(one.counters.flowsNow, DESTINATIONS - 200);
});

test('a gateway that moves, and a port that goes, take all flows by them and no others', () => {
  const one = many();
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  one.packet('10.0.2.10', 1);
  one.send(9, 'arp who-has 192.0.2.254 tell 192.0.2.254', macOf(7));
  assert.equal(one.counters.flowsNow, 1, 'only the blue one is left');
  assert.match(one.packet(destination(1)).join(), new RegExp(`> ${macOf(7)} udp`));
  one.change({ kind: 'location', id: uuid(2, UP) });
  assert.match(one.packet(destination(1)).join(), /10\.0\.1\.10 no-route|net-unreachable/);
  assert.deepEqual(one.packet('10.0.2.10', 2), [carried(2)]);
  assert.deepEqual(one.edge.wrongFlows(), []);
});

test('a new agent keeps routed flows with their guards, and retires those that are wrong', () => {
  const mtu = toBlue({ mtu: 1_400 });
  for (const changed of [false, true]) {
    const one = flowing(mtu);
    assert.deepEqual(one.packet('203.0.113.5', 1).length, 1, 'asked for');
    one.reply(9, '192.0.2.254', UP, '192.0.2.1');
    const installed = one.counters.flowsNow;
    const known: Learned[] = [...one.published().put];
    one.restart();
    one.snapshot(rows(changed ? toBlue({ mtu: 1_300 }) : mtu));
    one.learned(known);
    one.interfaces(INTERFACES);
    assert.equal(one.datapath.dump().length, changed ? installed - 1 : installed);
    assert.deepEqual(one.packet('10.0.2.10', 2), [carried(2)]);
    assert.match(one.packet('203.0.113.9', 2).join(), /^9: .* ttl 63$/);
    assert.equal(one.packet('203.0.113.5', 2).length, 1);
    assert.deepEqual(one.edge.wrongFlows(), []);
    assert.equal(one.packet('10.0.2.10', 3, ' ttl 1').join().includes('ttl-exceeded'), true);
  }
});

test('a priority tag of a routed frame ends at the router, by a flow too', () => {
  const one = flowing();
  const plain = frame(`${macOf(1)} > ${macOf(TO_RED)} udp 10.0.1.10:4 > 10.0.2.10:2`, macOf(1));
  const tagged = new Uint8Array(plain.length + 4);
  tagged.set(plain.subarray(0, 12));
  tagged.set([0x81, 0, 0x60, 0], 12);
  tagged.set(plain.subarray(12), 16);
  for (let n = 0; n < 2; n++) assert.deepEqual(one.send(1, tagged), [carried(4)]);
});

test('a port of a router whose interface has no carrier is told as down, a bridge port is not', () => {
  const place = (n: number, name: string, more: object = {}): RowChange =>
    row('location', {
      id: uuid(2, n),
      port: uuid(2, n),
      host: HOST,
      interface: name,
      tunnelKey: 100 + n,
      ...more,
    });
  const one = new RoutedHost().start(place(UP, 'u'), place(1, 'a'));
  const told = (): string[] =>
    one.edge
      .state()
      .locate.filter(({ port }) => [uuid(2, UP), uuid(2, 1)].includes(port))
      .map((each) => `${each.interface} ${each.up ? 'up' : 'down'}`);
  assert.deepEqual(told(), []);
  one.interfaces(INTERFACES, ['a', 'u']);
  assert.deepEqual(told(), ['u down']);
  one.change(place(UP, 'u', { up: false }));
  assert.deepEqual(told(), []);
  one.interfaces(INTERFACES);
  assert.deepEqual(told(), ['u up']);
});
