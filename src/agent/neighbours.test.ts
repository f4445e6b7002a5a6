/**
 * Frames that wait for a neighbour, the questions asked for it, and who keeps what is known: on one
 * host with a router, over the reference datapath.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LearnedNeighbour } from '#client/types.ts';
import type { TunnelKey } from '#flow/flow.ts';
import { parseIp4, type Ip } from '#net/ip.ts';
import type { RowChange } from '#virtual/change.ts';
import { bridge, frame, HOST, host, location, OTHER, port, uuid, zone } from './edge.fixture.ts';
import { LIMITS } from './limits.ts';
import {
  BLUE,
  linkedPort,
  macOf,
  R0,
  RED,
  RoutedHost,
  routerPort,
  TO_BLUE,
  TO_RED,
  UP,
} from './routed.fixture.ts';

const QUESTION = `2: ${macOf(TO_BLUE)} > ff:ff:ff:ff:ff:ff arp who-has`;
const asks = (ip: string): string => `${QUESTION} ${ip} tell 10.0.2.1`;
const probe = (ip: string, mac = macOf(2)): string =>
  `2: ${macOf(TO_BLUE)} > ${mac} arp who-has ${ip} tell 10.0.2.1`;
const unreachable = `1: ${macOf(TO_RED)} > ${macOf(1)} icmp 10.0.1.1 > 10.0.1.10 host-unreachable id 0 seq 0 tos 192`;
const carried = (srcPort: number, dst = '10.0.2.10'): string =>
  `2: ${macOf(TO_BLUE)} > ${macOf(2)} udp 10.0.1.10:${srcPort} > ${dst}:2 ttl 63`;
const heard = (ip = '10.0.2.10', mac = macOf(2)): LearnedNeighbour => ({
  of: uuid(2, TO_BLUE),
  ip,
  mac,
  port: uuid(2, 2),
});
/** What leaves while time passes, with the time of each. */
function during(one: RoutedHost, ms: number): [number, string][] {
  const from = one.timeMs;
  const seen: [number, string][] = [];
  for (let left = ms; left > 0; left -= 500) {
    one.advance(500);
    seen.push(...one.out().map((text): [number, string] => [one.timeMs - from, text]));
  }
  return seen;
}
const store = (
  one: RoutedHost,
  put: LearnedNeighbour[],
  by = HOST,
  forget: LearnedNeighbour[] = [],
) =>
  one.event({
    type: 'learned',
    all: false,
    put: put.map((each) => ({ ...each, host: by })),
    forget: forget.map((each) => ({ ...each, host: by })),
  });

test('frames wait until the neighbour is known, are asked for once, and keep their order', () => {
  const one = new RoutedHost().start();
  assert.deepEqual(one.packet('10.0.2.10', 1), [asks('10.0.2.10')]);
  for (const srcPort of [2, 3]) assert.deepEqual(one.packet('10.0.2.10', srcPort), []);
  assert.deepEqual(one.packet('10.0.2.77', 9), [asks('10.0.2.77')], 'another one');
  assert.deepEqual(
    one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1'),
    [1, 2, 3].map((n) => carried(n)),
  );
  const { upcalls } = one.counters;
  assert.deepEqual(one.packet('10.0.2.10', 4), [carried(4)]);
  assert.equal(one.counters.upcalls, upcalls, 'by a flow');
  assert.deepEqual(one.neighbours().put, [`10.0.2.10 is-at ${macOf(2)}`]);
  assert.deepEqual(one.edge.wrongFlows(), []);
  assert.deepEqual(one.counters.drops, {});
});

test('what the store says, or another host, releases what waits as well', () => {
  const one = new RoutedHost().start();
  one.packet('10.0.2.10', 1);
  store(one, [{ ...heard(), port: uuid(2, 7) }], OTHER);
  assert.equal(one.out().length, 1);
  assert.deepEqual(one.neighbours().put, [], 'it is not ours to say');
});

test('it is asked three times, in no step with others, then the senders are told', () => {
  const one = new RoutedHost().start();
  const first = [1, 2, 3].flatMap((srcPort) => one.packet('10.0.2.10', srcPort));
  assert.deepEqual(first, [asks('10.0.2.10')]);
  const seen = during(one, 5_000);
  assert.deepEqual(
    seen.map(([, text]) => text),
    [asks('10.0.2.10'), asks('10.0.2.10'), unreachable, unreachable, unreachable],
  );
  const times = [0, ...seen.map(([at]) => at)].slice(0, 4);
  for (const [i, at] of times.slice(1).entries()) {
    const pause = at - (times[i] ?? 0);
    assert(pause >= LIMITS.neighbourAskMs * 0.75 && pause <= LIMITS.neighbourAskMs * 1.25 + 500);
  }
  assert.deepEqual(one.packet('10.0.2.10', 4), [unreachable], 'not asked again at once');
  assert.deepEqual(one.neighbours(), { put: [], forget: [] });
  one.advance(LIMITS.neighbourUnreachableMs * 1.25);
  assert.deepEqual(one.packet('10.0.2.10', 5), [asks('10.0.2.10')], 'but later');
});

test('an unreachable neighbour that is heard is sent to at once', () => {
  const one = new RoutedHost().start();
  one.packet('10.0.2.10', 1);
  during(one, 4_500);
  assert.deepEqual(one.packet('10.0.2.10', 2), [unreachable]);
  one.send(2, 'arp who-has 10.0.2.88 tell 10.0.2.10');
  assert.deepEqual(one.packet('10.0.2.10', 3), [carried(3)]);
});

test('questions about many neighbours are spread in time, and none is lost', () => {
  const one = new RoutedHost().start();
  const many = LIMITS.sendsPerUpcallMax * 3;
  for (let n = 1; n <= many; n++) assert.equal(one.packet(`10.0.2.${n + 1}`, n).length, 1);
  const seen = during(one, 2_000).filter(([, text]) => text.startsWith(QUESTION));
  const second = new Map(seen.toReversed().map(([at, text]) => [text, at]));
  assert.equal(second.size, many, 'all of them a second time');
  assert(new Set(second.values()).size > 1, 'not all at once');
  const rest = during(one, 3_000);
  const questions = [...seen, ...rest].filter(([, text]) => text.startsWith(QUESTION));
  assert.equal(questions.length, many * (LIMITS.neighbourAsksMax - 1));
  assert.equal(one.counters.drops['too-many-hops'], undefined);
});

test('every frame that waited in vain is told, as far as its port may', () => {
  const one = new RoutedHost().start();
  for (let n = 1; n <= 50; n++) {
    one.packet('10.0.2.10', n);
    one.send(3, `${macOf(3)} > ${macOf(TO_RED)} udp 10.0.1.30:${n} > 10.0.2.10:2`);
  }
  const told = during(one, 5_000).filter(([, text]) => text.includes('host-unreachable'));
  assert.equal(told.length, 100);
  assert.equal(one.counters.drops['too-many-hops'], undefined);
});

test('limits: frames for one neighbour, neighbours of one port; what finds no place is counted', () => {
  const one = new RoutedHost().start();
  for (let n = 1; n <= LIMITS.parkedPerNeighbourMax + 5; n++) one.packet('10.0.2.10', n);
  assert.equal(one.counters.drops['neighbour-limit'], 5);
  const released = one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.equal(released.length, LIMITS.parkedPerNeighbourMax);
  assert.deepEqual(released.at(-1), carried(LIMITS.parkedPerNeighbourMax));
  const wide = routerPort(TO_BLUE, 1, ['10.2.0.1/16'], { peer: uuid(2, 22) });
  const other = new RoutedHost().start(wide);
  for (let n = 0; n < LIMITS.asksPerSourceMax + 7; n++)
    other.packet(`10.2.${1 + (n >> 8)}.${n & 255}`);
  assert.equal(other.counters.drops['neighbour-limit'], 7);
  const another = `${macOf(3)} > ${macOf(TO_RED)} udp 10.0.1.30:1 > 10.2.9.9:2`;
  assert.equal(other.send(3, another).length, 1, 'one that asks for all leaves others their share');
});

test('a port that is linked elsewhere, or has other networks, has other neighbours', () => {
  const one = new RoutedHost().start();
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.deepEqual(one.packet('10.0.2.10', 1), [carried(1)]);
  one.neighbours();
  const elsewhere = { peer: uuid(2, 23) };
  one.change(linkedPort(23, RED, TO_BLUE), routerPort(TO_BLUE, R0, ['10.0.2.1/24'], elsewhere));
  assert.deepEqual(one.neighbours().forget, [`10.0.2.10 is-at ${macOf(2)}`]);
  const question = asks('10.0.2.10').slice(2);
  assert.deepEqual(one.packet('10.0.2.10', 2).toSorted(), [`1:${question}`, `3:${question}`]);
  one.reply(3, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.deepEqual(one.neighbours().put, [`10.0.2.10 is-at ${macOf(3)}`]);
  one.change(routerPort(TO_BLUE, R0, ['10.0.3.1/24'], elsewhere));
  one.advance(LIMITS.tickMs);
  assert.deepEqual(one.neighbours().forget, [`10.0.2.10 is-at ${macOf(3)}`]);
  assert.deepEqual(one.edge.wrongFlows(), []);
});

test('whoever heard a neighbour asks it again, alone, and keeps it while it answers', () => {
  const one = new RoutedHost().start();
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.deepEqual(one.neighbours().put, [`10.0.2.10 is-at ${macOf(2)}`]);
  for (let round = 0; round < 3; round++) {
    const asked: [number, string][] = [];
    while (asked.length === 0) asked.push(...during(one, 500));
    assert.deepEqual(
      asked.map(([, text]) => text),
      [probe('10.0.2.10')],
    );
    one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
    const quiet = LIMITS.neighbourStaleMs * 0.75 - 1_000;
    assert.deepEqual(during(one, quiet), [], 'it is not asked again before it is stale');
  }
  assert.deepEqual(one.packet('10.0.2.10', 1), [carried(1)]);
  assert.deepEqual(one.neighbours().forget, []);
});

test('a neighbour that is silent is asked three times, withdrawn, and asked for anew', () => {
  const one = new RoutedHost().start();
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  one.packet('10.0.2.10', 1);
  const seen = during(one, LIMITS.neighbourStaleMs * 1.25 + 5_000);
  assert.deepEqual(
    seen.map(([, text]) => text),
    [1, 2, 3].map(() => probe('10.0.2.10')),
  );
  const [at = 0] = seen[0] ?? [];
  assert(at >= LIMITS.neighbourStaleMs * 0.75 && at <= LIMITS.neighbourStaleMs * 1.25 + 500);
  assert.deepEqual(one.neighbours().forget, [`10.0.2.10 is-at ${macOf(2)}`]);
  assert.deepEqual(one.packet('10.0.2.10', 2), [asks('10.0.2.10')], 'no flow is left');
  assert.deepEqual(one.edge.wrongFlows(), []);
});

test('thousands of neighbours that answer are all kept', () => {
  const net = routerPort(TO_BLUE, 1, ['10.2.0.1/16'], { peer: uuid(2, 22) });
  const one = new RoutedHost(4_096).start(net);
  const known = 4_000;
  const address = (n: number): string => `10.2.${1 + (n >> 8)}.${n & 255}`;
  store(
    one,
    Array.from({ length: known }, (_, n) => heard(address(n))),
  );
  for (let time = 0; time < 180_000; time += 500) {
    one.advance(500);
    for (const text of one.out()) {
      const ip = /who-has (\S+) tell/.exec(text)?.[1] ?? assert.fail(text);
      one.reply(2, ip, TO_BLUE, '10.2.0.1');
    }
  }
  assert.deepEqual(one.neighbours().forget, []);
  assert.deepEqual(one.counters.drops, {});
});

test("the store's echo of our own word does not keep a silent neighbour alive", () => {
  const one = new RoutedHost().start();
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  one.neighbours();
  const from = one.timeMs;
  const asked: [number, string][] = [];
  for (let gone: string[] = []; gone.length === 0; gone = one.neighbours().forget) {
    assert(one.timeMs - from < LIMITS.neighbourStaleMs * 1.25 + 5_000, 'it is kept for ever');
    store(one, [heard()]);
    asked.push(...during(one, 500));
  }
  assert.equal(asked.length, LIMITS.neighbourAsksMax);
  store(one, [], HOST, [heard()]);
  assert.deepEqual(one.packet('10.0.2.10', 2), [asks('10.0.2.10')]);
});

test('a word that the store lost is said again, one about a neighbour elsewhere is gone', () => {
  const one = new RoutedHost().start();
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  one.neighbours();
  const far = { ...heard('10.0.2.66', macOf(6)), port: uuid(2, 7) };
  store(one, [far], OTHER);
  store(one, [], HOST, [heard()]);
  store(one, [], OTHER, [far]);
  assert.deepEqual(one.neighbours().put, [`10.0.2.10 is-at ${macOf(2)}`]);
  assert.deepEqual(one.packet('10.0.2.10', 1), [carried(1)]);
  assert.deepEqual(one.packet('10.0.2.66', 1), [asks('10.0.2.66')]);
  store(one, [far], OTHER);
  assert.match(one.out().join(), new RegExp(`> ${macOf(6)} udp`), 'known again');
  one.learned([]);
  assert.deepEqual(one.neighbours().put, [`10.0.2.10 is-at ${macOf(2)}`], 'all of it anew');
  assert.deepEqual(one.packet('10.0.2.66', 2), [asks('10.0.2.66')]);
});

test('the store has the last word, and a port that leaves takes its neighbours along', () => {
  const one = new RoutedHost().start();
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  store(one, [{ ...heard('10.0.2.10', macOf(6)), port: uuid(2, 7) }], OTHER);
  assert.match(one.packet('10.0.2.10', 1).join(), new RegExp(`> ${macOf(6)} udp`));
  one.reply(2, '10.0.2.11', TO_BLUE, '10.0.2.1');
  one.neighbours();
  one.change(port(2, BLUE, 'b', OTHER));
  one.advance(500);
  assert.deepEqual(one.neighbours().forget, [`10.0.2.11 is-at ${macOf(2)}`]);
});

/** The same host with another one, on which a port of the blue bridge is up. */
function withOther(): RoutedHost {
  return new RoutedHost().start(
    host(HOST),
    host(OTHER),
    zone({ [HOST]: '172.16.0.1', [OTHER]: '172.16.0.2' }),
    port(7, BLUE, 'z', OTHER),
    location(7, 107, OTHER),
  );
}
const ROUTER_KEY = 0x800101 as TunnelKey;
const OTHER_ADDRESS = parseIp4('172.16.0.2') ?? assert.fail();

test('what is heard here is passed on at once to the other hosts near the router', () => {
  const one = withOther();
  const told: [Ip, number][] = [];
  one.datapath.onTunnel((remote, key) => told.push([remote, key]));
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.deepEqual(told, [[OTHER_ADDRESS, ROUTER_KEY]]);
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.equal(told.length, 1, 'what is no news is not passed on');
});

test('a host behind another bridge of the segment is near too, whichever of the two hears', () => {
  const TRUNK = 3;
  const trunk = [
    host(HOST),
    host(OTHER),
    zone({ [HOST]: '172.16.0.1', [OTHER]: '172.16.0.2' }),
    bridge(TRUNK),
    port(7, TRUNK, 'z', OTHER),
    location(7, 107, OTHER),
    linkedPort(31, TRUNK, 32),
    linkedPort(32, BLUE, 31),
  ];
  const one = new RoutedHost().start(...trunk);
  const told: [Ip, number][] = [];
  one.datapath.onTunnel((remote, key) => told.push([remote, key]));
  one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1');
  assert.deepEqual(told, [[OTHER_ADDRESS, ROUTER_KEY]]);
  const [onBlue, here] = [port(2, BLUE, 'b', OTHER), [port(1, TRUNK, 'a'), location(1, 101)]];
  const two = new RoutedHost().start(...trunk, onBlue, location(2, 102, OTHER), ...here);
  two.change(...[3, UP].map((n): RowChange => ({ kind: 'port', id: uuid(2, n) })));
  const addresses = new Map(two.datapath.peers().map(({ peer, address }) => [peer, address]));
  const allowed = two.datapath
    .senders()
    .map(({ source, network }) => [addresses.get(source), network]);
  assert.deepEqual(
    allowed.filter(([, network]) => network === ROUTER_KEY),
    [[OTHER_ADDRESS, ROUTER_KEY]],
  );
});

test('what another host passes on is believed, and lapses unless the store says it', () => {
  for (const said of [false, true]) {
    const one = withOther();
    const far = { ...heard('10.0.2.70', macOf(7)), port: uuid(2, 7) };
    const reply = `${macOf(7)} > ${macOf(TO_BLUE)} arp reply 10.0.2.70 is-at ${macOf(7)} to 10.0.2.1`;
    const tunnelled: (Ip | number)[] = [];
    one.packet('10.0.2.70', 1);
    one.datapath.onTunnel((remote, key) => tunnelled.push(key, remote));
    one.datapath.receiveTunnel(OTHER_ADDRESS, ROUTER_KEY, frame(reply));
    one.event({
      type: 'learned',
      all: false,
      put: [{ bridge: uuid(1, BLUE), vlan: 0, mac: macOf(7), port: uuid(2, 7), host: OTHER }],
      forget: [],
    });
    assert.deepEqual(one.out(), []);
    assert.deepEqual(tunnelled, [107, OTHER_ADDRESS], 'the frame that waited, and nothing told on');
    assert.deepEqual(one.neighbours(), { put: [], forget: [] });
    if (said) store(one, [far], OTHER);
    one.advance(LIMITS.neighbourPassedMs + 1_000);
    const asked = one.packet('10.0.2.70', 2);
    assert.deepEqual(asked, said ? [] : [asks('10.0.2.70')]);
    assert.deepEqual(one.edge.wrongFlows(), []);
  }
});

test('a question of another host is heard too; the answer is for the host of the port', () => {
  const one = withOther();
  const question = `${macOf(7)} > ff:ff:ff:ff:ff:ff arp who-has 10.0.2.1 tell 10.0.2.70`;
  one.datapath.receiveTunnel(OTHER_ADDRESS, (0x800000 + BLUE) as TunnelKey, frame(question));
  assert.deepEqual(
    one.out().filter((text) => text.includes('reply')),
    [],
  );
  const known = one.packet('10.0.2.70', 1);
  assert(!known.includes(asks('10.0.2.70')), known.join());
});

test('frames that wait do not outlive their interface, and a router that goes is no harm', () => {
  const one = new RoutedHost().start();
  one.packet('10.0.2.10', 1);
  one.timeMs += 1;
  one.interfaces({ b: 2, c: 3, u: 9 });
  one.interfaces({ a: 1, b: 2, c: 3, u: 9 });
  assert.deepEqual(one.reply(2, '10.0.2.10', TO_BLUE, '10.0.2.1'), []);
  assert.equal(one.counters.drops['no-port'], 1);
  const two = new RoutedHost().start();
  two.packet('10.0.2.10', 1);
  two.change({ kind: 'port', id: uuid(2, TO_BLUE) });
  const [seen, ...others] = new Set(during(two, 6_000).map(([, text]) => text));
  assert.deepEqual(others, []);
  assert.match(seen ?? '', /^9: .* who-has 192\.0\.2\.254/);
});

test('the gateway of routes is a neighbour like others', () => {
  const one = new RoutedHost().start();
  const question = `9: ${macOf(UP)} > ff:ff:ff:ff:ff:ff arp who-has 192.0.2.254 tell 192.0.2.1`;
  assert.deepEqual(one.packet('203.0.113.5', 1), [question]);
  assert.deepEqual(one.packet('203.0.113.6', 2), [], 'one question for both');
  assert.deepEqual(one.reply(9, '192.0.2.254', UP, '192.0.2.1'), [
    `9: ${macOf(UP)} > ${macOf(9)} udp 10.0.1.10:1 > 203.0.113.5:2 ttl 63`,
    `9: ${macOf(UP)} > ${macOf(9)} udp 10.0.1.10:2 > 203.0.113.6:2 ttl 63`,
  ]);
  one.send(9, 'arp who-has 192.0.2.254 tell 192.0.2.254', macOf(8));
  assert.match(one.packet('203.0.113.5', 3).join(), new RegExp(`> ${macOf(8)} udp`), 'it moved');
  assert.deepEqual(one.edge.wrongFlows(), []);
});
