/** Routing of packets: which way, what is rewritten, what is read, and what stops it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { has, hasNot, ip, macOf, routed, seen, type Network } from '../network.fixture.ts';
import type { Outcome } from '../outcome.ts';
import * as tags from '../tags.ts';

const [R, BLUE, UP] = [macOf(0x11), macOf(0x12), macOf(0x13)];
const way = ({ steps }: Outcome): string | undefined =>
  steps.find(({ did }) => did === 'route')?.detail;
const reason = ({ verdict }: Outcome): string =>
  verdict.kind === 'drop' ? verdict.reason : verdict.kind;

test('from a bridge to a bridge: MACs, TTL, and nothing read that no route depends on', () => {
  const net = routed();
  const outcome = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.2.10:2');
  assert.deepEqual(net.text(outcome), [
    `bridge red: unicast ${R}`,
    'router r0: route 10.0.2.0/24 connected',
    `port r0blue: send 10.0.2.10 at ${macOf(2)}`,
    `bridge blue: unicast ${macOf(2)}`,
    `forward: to port vm2, as ${BLUE} > ${macOf(2)}, ttl less 1`,
  ]);
  assert.equal(seen(outcome), 'ethSrc ethDst ethType vlan ipDst', 'no source, no ports, no TTL');
  assert.deepEqual(outcome.guards, { decTtl: 1, mtu: undefined });
  assert(outcome.cacheable);
  assert.deepEqual(outcome.claims.length, 1, 'the sender, in its bridge');
  const [r0, red, blue] = [net.routerId('r0'), net.bridgeId('red'), net.bridgeId('blue')];
  const ports = ['vm1', 'red0', 'r0red', 'r0blue', 'blue0', 'vm2'].map((p) => net.port(p));
  has(outcome, ...ports.map(tags.portTag), tags.bridgeTag(red), tags.bridgeTag(blue));
  has(outcome, tags.routerTag(r0), tags.destinationTag(r0, ip('10.0.2.10')));
  has(outcome, tags.seededIpTag(blue, ip('10.0.2.10')));
  hasNot(outcome, tags.neighbourTag(net.port('r0blue'), ip('10.0.2.10')));
  const six = net.send('vm1', 'udp [fd00:1::10]:1 > [fd00:2::10]:2');
  assert.deepEqual(six.verdict, outcome.verdict);
  assert.equal(seen(six), 'ethSrc ethDst ethType vlan ipDst ipProto', 'what bridges ask of IPv6');
});

test('neighbours: unknown is waited for, heard is sent to, unreachable is told', () => {
  const net = routed();
  const frame = 'udp 10.0.1.10:1 > 10.0.2.20:2';
  const unknown = net.send('vm1', frame);
  const wanted = { port: net.port('r0blue'), ip: ip('10.0.2.20') };
  assert.deepEqual(unknown.verdict, { kind: 'wait', ...wanted });
  assert.deepEqual(net.text(unknown).slice(-2), [
    'port r0blue: ask 10.0.2.20',
    'wait: port r0blue asks who has 10.0.2.20',
  ]);
  has(unknown, tags.neighbourTag(wanted.port, wanted.ip));
  net.knows('r0blue', '10.0.2.20', 7);
  const known = net.send('vm1', frame);
  assert.deepEqual(
    net
      .text(known)
      .at(-1)
      ?.includes(`as ${BLUE} > ${macOf(7)}`),
    true,
  );
  has(known, tags.neighbourTag(wanted.port, wanted.ip));
  net.unreachable.add(`${wanted.port}/${wanted.ip}`);
  const refused = net.send('vm1', frame);
  assert.equal(reason(refused), 'neighbour-unreachable');
  assert.deepEqual(net.sent(refused), [
    `r0red: ${R} > ${macOf(1)} icmp 10.0.1.1 > 10.0.1.10 host-unreachable id 0 seq 0 tos 192`,
  ]);
  has(refused, tags.neighbourTag(wanted.port, wanted.ip));
});

test('by a gateway: its MAC, and when it is gone the network is unreachable', () => {
  const net = routed();
  const frame = 'udp 10.0.1.10:1 > 203.0.113.5:2';
  const gateway = { port: net.port('up'), ip: ip('192.0.2.254') };
  assert.deepEqual(net.send('vm1', frame).verdict, { kind: 'wait', ...gateway });
  net.knows('up', '192.0.2.254', 9);
  const outcome = net.send('vm1', frame);
  assert.deepEqual(net.text(outcome).slice(1), [
    'router r0: route 0.0.0.0/0 port via 192.0.2.254 default',
    `port up: send 192.0.2.254 at ${macOf(9)}`,
    `forward: to port up, as ${UP} > ${macOf(9)}, ttl less 1`,
  ]);
  has(outcome, tags.neighbourTag(gateway.port, gateway.ip), tags.portTag(gateway.port));
  net.unreachable.add(`${gateway.port}/${gateway.ip}`);
  assert.match(net.sent(net.send('vm1', frame)).join(), /10\.0\.1\.10 net-unreachable/);
  net.put('port', 'up', { networks: ['2001:db8::1/64'] });
  const mute = net.send('vm1', frame);
  assert.equal(reason(mute), 'neighbour-unreachable', 'the port has nothing to ask with');
});

test('the longest prefix, then the longest source, then the lowest weight', () => {
  const net = routed();
  const by = (name: string, destination: string, fields: object = {}): unknown =>
    net.route(name, 'r0', destination, { type: 'blackhole', ...fields });
  by('eight', '203.0.0.0/8');
  by('heavy', '203.0.113.0/24', { weight: 7 });
  by('light', '203.0.113.0/24', { weight: 3 });
  by('host', '203.0.113.9/32', { source: '10.0.1.0/24' });
  by('near', '203.0.113.9/32', { source: '10.0.1.10/32', weight: 9 });
  const to = (dst: string, src = '10.0.1.10'): string | undefined =>
    way(net.send('vm1', `udp ${src}:1 > ${dst}:2`));
  assert.equal(to('203.1.0.1'), '203.0.0.0/8 blackhole eight');
  assert.equal(to('203.0.113.8'), '203.0.113.0/24 blackhole light');
  assert.equal(to('203.0.113.9'), '203.0.113.9/32 blackhole near', 'a source before a weight');
  assert.equal(to('203.0.113.9', '10.0.1.11'), '203.0.113.9/32 blackhole host');
  assert.equal(to('203.0.113.9', '10.9.9.9'), '203.0.113.0/24 blackhole light', 'none for it');
  const plain = net.send('vm1', 'udp 10.0.1.10:1 > 203.0.113.8:2');
  assert.equal(seen(plain), 'ethSrc ethDst ethType vlan ipDst');
  const sourced = net.send('vm1', 'udp 10.0.1.10:1 > 203.0.113.9:2');
  assert.equal(seen(sourced), 'ethSrc ethDst ethType vlan ipSrc ipDst');
  net.remove('route', 'light');
  assert.equal(to('203.0.113.8'), '203.0.113.0/24 blackhole heavy');
});

test('blackhole is silent, reject and no route are told, and each names its destination', () => {
  const net = routed().remove('route', 'default');
  net.route('hole', 'r0', '203.0.113.0/24', { type: 'blackhole' });
  net.route('no', 'r0', '198.51.100.0/24', { type: 'reject' });
  const cases = [
    ['203.0.113.1', 'route-blackhole', undefined],
    ['198.51.100.1', 'route-reject', 'admin-prohibited'],
    ['8.8.8.8', 'no-route', 'net-unreachable'],
  ] as const;
  for (const [dst, why, told] of cases) {
    const outcome = net.send('vm1', `udp 10.0.1.10:1 > ${dst}:2`);
    assert.equal(reason(outcome), why);
    has(outcome, tags.destinationTag(net.routerId('r0'), ip(dst)));
    const wanted = `r0red: ${R} > ${macOf(1)} icmp 10.0.1.1 > 10.0.1.10 ${told} id 0 seq 0 tos 192`;
    assert.deepEqual(net.sent(outcome), told === undefined ? [] : [wanted]);
    assert.equal(outcome.cacheable, told === undefined);
    assert.deepEqual(outcome.guards, { decTtl: 0, mtu: undefined });
  }
});

test('addresses that no router forwards to', () => {
  const net = routed();
  const cases: readonly (readonly [string, string])[] = [
    ['udp 10.0.1.10:1 > 224.0.0.9:2', 'not-forwardable'],
    ['udp 10.0.1.10:1 > 255.255.255.255:2', 'not-forwardable'],
    ['udp 10.0.1.10:1 > 127.0.0.1:2', 'not-forwardable'],
    ['udp 10.0.1.10:1 > 0.0.0.0:2', 'not-forwardable'],
    ['udp 10.0.1.10:1 > 169.254.1.1:2', 'not-forwardable'],
    ['udp 10.0.1.10:1 > 10.0.2.255:2', 'not-forwardable'],
    ['udp 10.0.1.10:1 > 10.0.2.0:2', 'not-forwardable'],
    ['udp [fd00:1::10]:1 > [ff0e::1]:2', 'not-forwardable'],
    ['udp [fd00:1::10]:1 > [::1]:2', 'not-forwardable'],
    ['udp [fd00:1::10]:1 > [::]:2', 'not-forwardable'],
    ['udp [fd00:1::10]:1 > [fe80::77]:2', 'no-route'],
    ['udp 10.0.1.10:1 > 10.0.3.255:2', 'wait'],
  ];
  for (const [frame, wanted] of cases) {
    const outcome = net.send('vm1', `${macOf(1)} > ${R} ${frame}`);
    assert.equal(reason(outcome), wanted, frame);
    if (wanted === 'not-forwardable') assert.deepEqual(outcome.sends, [], frame);
  }
  net.route('six', 'r0', '::/0', { port: net.port('up'), gateway: '2001:db8::fe' });
  const local = net.send('vm1', 'udp [fd00:1::10]:1 > [fe80::77]:2');
  assert.equal(reason(local), 'not-forwardable', 'a default route is no way to a link');
  net.put('port', 'up', { networks: ['169.254.7.1/30'] });
  assert.equal(reason(net.send('vm1', 'udp 10.0.1.10:1 > 169.254.7.2:2')), 'wait', 'connected');
  net.put('port', 'up', { networks: ['192.0.2.0/31'] });
  assert.equal(reason(net.send('vm1', 'udp 10.0.1.10:1 > 192.0.2.1:2')), 'wait', 'RFC 3021');
});

/** r1, r2 and r3 in a row, vm1 behind the first, vm2 behind the last. */
function inARow(): Network {
  const net = routed().router('r2').router('r3').bridge('green').bridgePort('green0', 'green');
  net.bridgePort('vm4', 'green', { addresses: [{ mac: macOf(4), ip: '10.0.4.10' }] });
  net
    .routerPort('r0r2', 'r0', 0x21, '172.16.1.1/30')
    .routerPort('r2r0', 'r2', 0x22, '172.16.1.2/30');
  net
    .routerPort('r2r3', 'r2', 0x23, '172.16.2.1/30')
    .routerPort('r3r2', 'r3', 0x24, '172.16.2.2/30');
  net.routerPort('r3green', 'r3', 0x25, '10.0.4.1/24');
  net.link('r0r2', 'r2r0').link('r2r3', 'r3r2').link('green0', 'r3green');
  const via = (name: string, router: string, to: string, port: string, gateway: string) =>
    net.route(name, router, to, { port: net.port(port), gateway });
  via('a', 'r0', '10.0.4.0/24', 'r0r2', '172.16.1.2');
  via('b', 'r2', '10.0.4.0/24', 'r2r3', '172.16.2.2');
  via('c', 'r2', '10.0.1.0/24', 'r2r0', '172.16.1.1');
  via('d', 'r3', '0.0.0.0/0', 'r3r2', '172.16.2.1');
  return net;
}

test('routers in a row: one outcome, the TTL less by three, no neighbour asked for', () => {
  const net = inARow();
  const outcome = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.4.10:2');
  assert.deepEqual(net.text(outcome), [
    `bridge red: unicast ${R}`,
    'router r0: route 10.0.4.0/24 port via 172.16.1.2 a',
    `port r0r2: send 172.16.1.2 at ${macOf(0x22)}`,
    'router r2: route 10.0.4.0/24 port via 172.16.2.2 b',
    `port r2r3: send 172.16.2.2 at ${macOf(0x24)}`,
    'router r3: route 10.0.4.0/24 connected',
    `port r3green: send 10.0.4.10 at ${macOf(4)}`,
    `bridge green: unicast ${macOf(4)}`,
    `forward: to port vm4, as ${macOf(0x25)} > ${macOf(4)}, ttl less 3`,
  ]);
  assert.deepEqual(outcome.guards, { decTtl: 3, mtu: undefined });
  assert.equal(seen(outcome), 'ethSrc ethDst ethType vlan ipDst');
  for (const router of ['r0', 'r2', 'r3'])
    has(outcome, tags.destinationTag(net.routerId(router), ip('10.0.4.10')));
  hasNot(outcome, tags.neighbourTag(net.port('r0r2'), ip('172.16.1.2')));
  const nobody = net.send('vm1', 'udp 10.0.1.10:1 > 172.16.1.2:2');
  assert.equal(reason(nobody), 'local-refused', 'the other end');
  net.put('port', 'r2r0', { networks: [] });
  const lacks = net.send('vm1', 'udp 10.0.1.10:1 > 172.16.1.2:2');
  assert.equal(reason(lacks), 'neighbour-unreachable', 'an address that the other end lacks');
});

test('the TTL ends at each router in turn, and the port by which it came there says so', () => {
  const net = inARow();
  const speaks = [`r0red: ${R} > ${macOf(1)} icmp 10.0.1.1`, 'r2r0: ', 'r3r2: '];
  const expected = [
    `${speaks[0]} > 10.0.1.10 ttl-exceeded id 0 seq 0 tos 192`,
    `r2r0: ${macOf(0x22)} > ${macOf(0x21)} icmp 172.16.1.2 > 10.0.1.10 ttl-exceeded id 0 seq 0 tos 192`,
    `r3r2: ${macOf(0x24)} > ${macOf(0x23)} icmp 172.16.2.2 > 10.0.1.10 ttl-exceeded id 0 seq 0 tos 192`,
  ];
  for (const [i, text] of expected.entries()) {
    const outcome = net.send('vm1', `udp 10.0.1.10:1 > 10.0.4.10:2 ttl ${i + 1}`);
    assert.equal(reason(outcome), 'ttl-exceeded');
    assert.deepEqual(net.sent(outcome), [text]);
    assert.deepEqual([outcome.cacheable, outcome.guards.decTtl], [false, i]);
    assert.match(seen(outcome), /ipTtl/);
    assert.deepEqual(outcome.charge, net.port('vm1'));
    const quoted = outcome.sends[0]?.frame ?? new Uint8Array(0);
    assert.equal(quoted[14 + 20 + 8 + 8], 1, 'quoted as that router saw it');
  }
  const enough = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.4.10:2 ttl 4');
  assert.equal(reason(enough), 'forward');
});

test('an error of a router behind others finds its way back', () => {
  const net = inARow().knows('r0red', '10.0.1.10', 1);
  const [error] = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.4.10:2 ttl 3').sends;
  const back = net.walk({ out: net.port('r3r2') }, error?.frame ?? '');
  assert.equal(back.guards.decTtl, 2);
  assert.deepEqual(back.verdict, { kind: 'forward', to: [{ flood: net.bridgeId('red') }] });
});

test('routers that send to each other for ever end, by the TTL or by the devices', () => {
  const net = inARow();
  net.route('loop', 'r2', '10.0.4.0/24', {
    port: net.port('r2r0'),
    gateway: '172.16.1.1',
    weight: 1,
  });
  const short = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.4.10:2 ttl 5');
  assert.equal(reason(short), 'ttl-exceeded');
  const long = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.4.10:2');
  assert.equal(reason(long), 'too-many-hops');
  assert(long.cacheable);
});

test('routes of a port are there while it can carry traffic', () => {
  const net = routed();
  const to = (dst: string): string => {
    const outcome = net.send('vm1', `udp 10.0.1.10:1 > ${dst}:2`);
    return way(outcome) ?? reason(outcome);
  };
  const [default0, blue0] = ['0.0.0.0/0 port via 192.0.2.254 default', '10.0.2.0/24 connected'];
  assert.equal(to('8.8.8.8'), default0);
  net.put('port', 'up', { adminStateUp: false });
  assert.equal(to('8.8.8.8'), 'no-route', 'down');
  assert.equal(to('192.0.2.1'), 'no-route', 'and so are its addresses');
  net.put('port', 'up', { adminStateUp: true });
  assert.equal(to('8.8.8.8'), default0);
  assert.equal(to('10.0.2.10'), blue0);
  net.put('port', 'blue0', { adminStateUp: false });
  assert.equal(to('10.0.2.10'), default0, 'the other end of the link is down');
  net.put('port', 'blue0', { adminStateUp: true, peer: undefined });
  assert.equal(to('10.0.2.10'), default0, 'linked at one end is not linked');
  net.link('blue0', 'r0blue');
  assert.equal(to('10.0.2.10'), blue0);
  net.remove('location', 'up');
  net.topology.apply({ revision: 999, rows: [{ kind: 'location', id: net.port('up') }] });
  assert.equal(to('8.8.8.8'), 'no-route', 'up on no host');
});
