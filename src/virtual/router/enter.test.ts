/** What a router takes from a port at all, and what becomes of frames while it is down. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFrame } from '#net/frame.ts';
import type { Ip4 } from '#net/ip.ts';
import { has, ip, mac, macOf, routed, seen } from '../network.fixture.ts';
import { ERRORS_BURST } from '../state/error-budget.ts';
import * as tags from '../tags.ts';

const ROUTER = mac(macOf(0x13));
const M9 = mac(macOf(9));
const UDP = 'udp 192.0.2.9:1 > 10.0.2.10:2';
const TO_ROUTER = `${macOf(9)} > ${macOf(0x13)}`;

test('tagged frames, other types, other MACs and groups are not for a router', () => {
  const net = routed();
  const cases: readonly (readonly [string, string])[] = [
    [`${TO_ROUTER} vlan 5 ${UDP}`, 'vlan'],
    [`${TO_ROUTER} type 0x88cc`, 'ethType vlan'],
    [`${macOf(9)} > ${macOf(8)} ${UDP}`, 'ethDst ethType vlan'],
    [`${macOf(9)} > ff:ff:ff:ff:ff:ff ${UDP}`, 'ethDst ethType vlan'],
    [`${macOf(9)} > 01:00:5e:00:00:05 ip 192.0.2.9 > 224.0.0.5 proto 89`, 'ethDst ethType vlan'],
    [`${macOf(9)} > ${macOf(8)} arp who-has 192.0.2.1 tell 192.0.2.9`, 'ethDst ethType vlan'],
  ];
  for (const [frame, fields] of cases) {
    const outcome = net.send('up', frame);
    assert.deepEqual(outcome.verdict, { kind: 'drop', reason: 'not-for-router' }, frame);
    assert.equal(seen(outcome), fields, frame);
    assert(outcome.cacheable && outcome.sends.length === 0, frame);
    has(outcome, tags.portTag(net.port('up')), tags.routerTag(net.routerId('r0')));
  }
});

test('a priority tag is no VLAN: the packet is routed, and leaves without it', () => {
  const net = routed();
  const bytes = encodeFrame({
    ethernet: { src: M9, dst: ROUTER, tci: 0x6000 },
    network: { kind: 'ipv4', src: ip('192.0.2.9') as Ip4, dst: ip('10.0.2.10') as Ip4 },
    transport: { kind: 'udp', srcPort: 1, dstPort: 2 },
  });
  const outcome = net.send('up', bytes);
  const to = [{ port: net.port('vm2'), vlan: 0 }];
  assert.deepEqual(outcome.verdict, { kind: 'forward', to });
  assert.deepEqual(net.send('up', `${TO_ROUTER} ${UDP}`).verdict, {
    kind: 'forward',
    to: [{ port: net.port('vm2') }],
  });
});

test('a router that is down refuses what it would forward, while there is budget', () => {
  const net = routed().put('router', 'r0', { adminStateUp: false });
  const port = net.port('up');
  const outcome = net.send('up', `${TO_ROUTER} ${UDP}`);
  assert.deepEqual(outcome.verdict, { kind: 'drop', reason: 'router-down' });
  assert.deepEqual(net.sent(outcome), [
    `up: ${macOf(0x13)} > ${macOf(9)} icmp 192.0.2.1 > 192.0.2.9 admin-prohibited id 0 seq 0 tos 192`,
  ]);
  assert.deepEqual(outcome.charge, port);
  assert.equal(outcome.cacheable, false);
  has(outcome, tags.routerTag(net.routerId('r0')), tags.errorsTag(port));
  for (let n = 0; n < ERRORS_BURST; n++) net.errors.charge(port);
  const spent = net.send('up', `${TO_ROUTER} ${UDP}`);
  assert.deepEqual([spent.verdict, spent.sends], [outcome.verdict, []]);
  assert(spent.cacheable, 'a flow drops the others');
  has(spent, tags.errorsTag(port));
  net.errors.tick();
  assert.equal(net.send('up', `${TO_ROUTER} ${UDP}`).sends.length, 1, 'filled again');
  const asked = net.send(
    'up',
    `${macOf(9)} > ff:ff:ff:ff:ff:ff arp who-has 192.0.2.1 tell 192.0.2.9`,
  );
  assert.deepEqual(asked.verdict, { kind: 'drop', reason: 'router-down' });
  assert.deepEqual([asked.sends, asked.claims], [[], []], 'it has no ears');
});

test('ports of routers: down, gone with their router, and out of it', () => {
  const net = routed();
  net.put('port', 'up', { adminStateUp: false });
  assert.deepEqual(net.send('up', `${TO_ROUTER} ${UDP}`).verdict, {
    kind: 'drop',
    reason: 'port-down',
  });
  assert.deepEqual(net.walk({ out: net.port('up') }, UDP).verdict, {
    kind: 'drop',
    reason: 'port-down',
  });
  net.put('port', 'up', { adminStateUp: true }).remove('router', 'r0');
  const gone = net.send('up', `${TO_ROUTER} ${UDP}`);
  assert.deepEqual(gone.verdict, { kind: 'drop', reason: 'no-port' });
  has(gone, tags.routerTag(net.routerId('r0')));
});

test('a frame of the network itself leaves by its port, through what is linked there', () => {
  const net = routed();
  const up = net.walk({ out: net.port('up') }, `${macOf(0x13)} > ${macOf(9)} ${UDP}`);
  assert.deepEqual(up.verdict, { kind: 'forward', to: [{ port: net.port('up') }] });
  assert.equal(seen(up), '');
  const question = `${macOf(0x12)} > ff:ff:ff:ff:ff:ff arp who-has 10.0.2.77 tell 10.0.2.1`;
  const asked = net.walk({ out: net.port('r0blue') }, question);
  assert.deepEqual(asked.verdict, { kind: 'forward', to: [{ flood: net.bridgeId('blue') }] });
  assert.deepEqual(asked.claims, [], 'its own MAC is not learned at a link');
});
