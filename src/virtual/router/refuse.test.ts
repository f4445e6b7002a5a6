/** Packets that are too big, and when the network itself says why it dropped something. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFrame, type Layers } from '#net/frame.ts';
import { type Ip4 } from '#net/ip.ts';
import { has, hasNot, ip, mac, macOf, routed, seen, type Network } from '../network.fixture.ts';
import type { Outcome } from '../outcome.ts';
import { ERRORS_BURST, ERRORS_PER_TICK } from '../state/error-budget.ts';
import * as tags from '../tags.ts';

const [R, BLUE] = [macOf(0x11), macOf(0x12)];
const reason = ({ verdict }: Outcome): string =>
  verdict.kind === 'drop' ? verdict.reason : verdict.kind;
/** A UDP packet from vm1 to vm2 of this many bytes. */
const sized = (size: number, changes: object = {}): Uint8Array =>
  encodeFrame({
    ethernet: { src: mac(macOf(1)), dst: mac(R) },
    network: {
      kind: 'ipv4',
      src: ip('10.0.1.10') as Ip4,
      dst: ip('10.0.2.10') as Ip4,
      ...changes,
    },
    transport: { kind: 'udp', srcPort: 1, dstPort: 2 },
    payload: new Uint8Array(size - 28),
  });
const narrow = (mtu = 1400): Network => routed().put('port', 'r0blue', { mtu });

test('what fits is forwarded, and that it did is a guard, not a field', () => {
  const net = narrow();
  for (const size of [100, 1400]) {
    const outcome = net.send('vm1', sized(size));
    assert.equal(reason(outcome), 'forward');
    assert.deepEqual(outcome.guards, { decTtl: 1, mtu: 1400 });
    assert(outcome.cacheable);
    assert.equal(seen(outcome), 'ethSrc ethDst ethType vlan ipDst');
    has(outcome, tags.portTag(net.port('r0blue')));
  }
  const other = net.send('vm2', `${macOf(2)} > ${BLUE} udp 10.0.2.10:1 > 10.0.1.10:2 length 2000`);
  assert.equal(reason(other), 'wait', 'the MTU is that of the way out');
});

test('too big: cut, told where it must not be, and always told for IPv6', () => {
  const net = narrow();
  const cut = net.send('vm1', sized(1401));
  const to = [{ port: net.port('vm2') }];
  assert.deepEqual(cut.verdict, { kind: 'forward', to, cut: 1400 });
  assert.deepEqual([cut.cacheable, cut.guards.mtu, cut.sends], [false, undefined, []]);
  assert.deepEqual(net.text(cut).slice(2), [
    'port r0blue: cut 1400',
    `port r0blue: send 10.0.2.10 at ${macOf(2)}`,
    `bridge blue: unicast ${macOf(2)}`,
    `forward: to port vm2, as ${BLUE} > ${macOf(2)}, ttl less 1, cut to 1400 bytes`,
  ]);
  const whole = net.send('vm1', sized(1401, { dontFragment: true }));
  assert.equal(reason(whole), 'too-big');
  assert.equal(whole.cacheable, false);
  assert.deepEqual(net.sent(whole), [
    `r0red: ${R} > ${macOf(1)} icmp 10.0.1.1 > 10.0.1.10 frag-needed mtu 1400 tos 192`,
  ]);
  const length = 1400 - 47;
  const six = net.send('vm1', `udp [fd00:1::10]:1 > [fd00:2::10]:2 length ${length}`);
  assert.equal(reason(six), 'too-big');
  assert.deepEqual(net.sent(six), [
    `r0red: ${R} > ${macOf(1)} icmp6 fd00:1::1 > fd00:1::10 too-big mtu 1400`,
  ]);
  const fits = net.send('vm1', `udp [fd00:1::10]:1 > [fd00:2::10]:2 length ${length - 1}`);
  assert.deepEqual(fits.guards, { decTtl: 1, mtu: 1400 });
});

test('the smallest MTU on the way counts, and the router there tells it', () => {
  const net = narrow(1400).router('r2').bridge('green').bridgePort('green0', 'green');
  net.bridgePort('vm4', 'green', { addresses: [{ mac: macOf(4), ip: '10.0.4.10' }] });
  net
    .routerPort('r0r2', 'r0', 0x21, '172.16.1.1/30')
    .routerPort('r2r0', 'r2', 0x22, '172.16.1.2/30');
  net.routerPort('r2green', 'r2', 0x25, '10.0.4.1/24').link('r0r2', 'r2r0');
  net.link('green0', 'r2green').put('port', 'r0r2', { mtu: 1300 });
  net.put('port', 'r2green', { mtu: 1200 });
  net.route('a', 'r0', '10.0.4.0/24', { port: net.port('r0r2'), gateway: '172.16.1.2' });
  const to = (size: number, dontFragment: boolean): Outcome =>
    net.send('vm1', sized(size, { dst: ip('10.0.4.10'), dontFragment }));
  assert.deepEqual(to(1200, true).guards, { decTtl: 2, mtu: 1200 });
  const second = to(1250, true);
  assert.deepEqual(net.sent(second), [
    `r2r0: ${macOf(0x22)} > ${macOf(0x21)} icmp 172.16.1.2 > 10.0.1.10 frag-needed mtu 1200 tos 192`,
  ]);
  assert.match(net.sent(to(1350, true)).join(), /10\.0\.1\.1 > .* mtu 1300/);
  for (const size of [1250, 1350])
    assert.equal((to(size, false).verdict as { cut?: number }).cut, 1200);
});

test('no error about errors, parts, groups, and senders that are no host', () => {
  const net = routed().remove('route', 'default');
  const later: Layers = {
    ethernet: { src: mac(macOf(1)), dst: mac(R) },
    network: {
      kind: 'ipv4',
      src: ip('10.0.1.10') as Ip4,
      dst: ip('8.8.8.8') as Ip4,
      fragmentOffset: 64,
      protocol: 17,
    },
    payload: new Uint8Array(16),
  };
  const quiet: readonly (readonly [string, string | Uint8Array])[] = [
    ['an error', 'icmp 10.0.1.10 > 8.8.8.8 port-unreachable'],
    ['ICMPv6 error', 'icmp6 fd00:1::10 > fd00:9::1 too-big mtu 1280'],
    ['unknown ICMP', 'icmp 10.0.1.10 > 8.8.8.8 type 77 code 1'],
    ['a later part', encodeFrame(later)],
    ['0.0.0.0', 'udp 0.0.0.0:68 > 8.8.8.8:67'],
    ['multicast source', 'udp 224.0.0.1:1 > 8.8.8.8:2'],
    ['loopback source', 'udp 127.0.0.1:1 > 8.8.8.8:2'],
    ['broadcast source', 'udp 255.255.255.255:1 > 8.8.8.8:2'],
  ];
  for (const [name, frame] of quiet) {
    const outcome = net.send('vm1', frame);
    assert.deepEqual([reason(outcome), outcome.sends], ['no-route', []], name);
    has(outcome, tags.errorsTag(net.port('vm1')));
  }
  const first = { ...later, network: { ...later.network, fragmentOffset: 0, moreFragments: true } };
  assert.equal(net.send('vm1', encodeFrame(first as Layers)).sends.length, 1, 'the first part');
  assert.equal(net.send('vm1', 'icmp 10.0.1.10 > 8.8.8.8 echo').sends.length, 1, 'a question');
  const broken = net.bytes('udp 10.0.1.10:1 > 8.8.8.8:2');
  broken[24] = (broken[24] ?? 0) ^ 1;
  assert.deepEqual(net.send('vm1', broken).sends, [], 'header checksum');
});

test('frames of other hosts and of the network itself bring about no errors', () => {
  const net = routed().remove('route', 'default');
  const frame = `${macOf(1)} > ${R} udp 10.0.1.10:1 > 8.8.8.8:2`;
  const own = net.walk({ out: net.port('red0') }, frame);
  assert.deepEqual([reason(own), own.sends], ['no-route', []]);
  hasNot(own, tags.errorsTag(net.port('vm1')));
  assert(own.cacheable);
});

test('the budget is that of the port it came by, spent and filled again', () => {
  const net = routed().remove('route', 'default');
  const frame = 'udp 10.0.1.10:1 > 8.8.8.8:2';
  const charge = (n: number): void => {
    for (let i = 0; i < n; i++) {
      const outcome = net.send('vm1', frame);
      assert.equal(outcome.sends.length, 1);
      assert.equal(outcome.charge, net.port('vm1'));
      net.errors.charge(net.port('vm1'));
    }
  };
  charge(ERRORS_BURST);
  const spent = net.send('vm1', frame);
  assert.deepEqual([reason(spent), spent.sends, spent.cacheable], ['no-route', [], true]);
  assert.deepEqual(net.text(spent).at(-1), 'drop: The router has no route to the destination.');
  has(spent, tags.errorsTag(net.port('vm1')));
  assert.equal(net.send('vm3', frame).sends.length, 1, 'another port has its own');
  assert.deepEqual(net.errors.tick(), [tags.errorsTag(net.port('vm1'))]);
  charge(ERRORS_PER_TICK);
  assert.deepEqual(net.send('vm1', frame).sends, []);
});

test('whoever speaks: the port, else the lowest of the router, else nobody', () => {
  const net = routed().remove('route', 'default').put('port', 'r0red', { networks: [] });
  const four = 'udp 10.0.1.10:1 > 8.8.8.8:2';
  const outcome = net.send('vm1', four);
  assert.match(net.sent(outcome).join(), /^r0red: .* icmp 10\.0\.2\.1 > 10\.0\.1\.10/);
  has(outcome, tags.routerPortsTag(net.routerId('r0')), tags.portTag(net.port('r0blue')));
  for (const port of ['r0blue', 'up']) net.put('port', port, { networks: [] });
  assert.deepEqual(net.send('vm1', four).sends, [], 'no IPv4 address at all');
  const six = net.send('vm1', 'udp [fd00:1::10]:1 > [fd00:9::10]:2');
  assert.match(net.sent(six).join(), /icmp6 fe80::.* > fd00:1::10 no-route/, 'link-local');
});
