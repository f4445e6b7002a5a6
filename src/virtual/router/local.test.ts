/** What a router answers for its own addresses, and how it refuses the rest. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fragments, fragments6 } from '#net/fragment.ts';
import { encodeFrame, type Layers } from '#net/frame.ts';
import { formatIp, type Ip4, type Ip6 } from '#net/ip.ts';
import { has, ip, mac, macOf, routed, seen } from '../network.fixture.ts';
import { ERRORS_BURST } from '../state/error-budget.ts';
import * as tags from '../tags.ts';

const R = macOf(0x11);
const back = `r0red: ${R} > ${macOf(1)}`;
const packet = (changes: Readonly<Record<string, unknown>>, rest: Partial<Layers>): Uint8Array =>
  encodeFrame({
    ethernet: { src: mac(macOf(1)), dst: mac(R) },
    network: {
      kind: 'ipv4',
      src: ip('10.0.1.10') as Ip4,
      dst: ip('10.0.1.1') as Ip4,
      ...changes,
    },
    ...rest,
  } as Layers);
/** Neighbour discovery in fragments is not to be believed. */
const solicitationInParts = encodeFrame({
  ethernet: { src: mac(macOf(1)), dst: mac(R) },
  network: {
    kind: 'ipv6',
    src: ip('fd00:1::10') as Ip6,
    dst: ip('fd00:1::1') as Ip6,
    hopLimit: 255,
    nextHeader: 44,
    extensions: Uint8Array.of(58, 0, 0, 1, 0, 0, 0, 7),
    protocol: 58,
  },
  payload: Uint8Array.of(135, 0, 0, 0, 0, 0, 0, 0),
});
const ECHO = { kind: 'icmp', type: 8, code: 0, id: 7, sequence: 1 } as const;

test('echo requests for any address of the router are answered, from that address', () => {
  const net = routed();
  const outcome = net.send('vm1', 'icmp 10.0.1.10 > 10.0.2.1 echo id 3 seq 4 tos 8 length 20');
  assert.deepEqual(net.text(outcome), [
    `bridge red: unicast ${R}`,
    'router r0: route 10.0.2.1/32 local',
    'router r0: answer echo from 10.0.2.1',
    'answer: sent out of port r0red',
  ]);
  assert.deepEqual(net.sent(outcome), [`${back} icmp 10.0.2.1 > 10.0.1.10 reply id 3 seq 4 tos 8`]);
  assert.equal(outcome.charge, undefined);
  assert.equal(outcome.cacheable, false);
  assert.equal(seen(outcome), 'ethSrc ethDst ethType vlan ipDst ipProto ipFrag tpSrc');
  has(outcome, tags.destinationTag(net.routerId('r0'), ip('10.0.2.1')));
  const six = net.send('vm1', 'icmp6 fd00:1::10 > fd00:2::1 echo id 3 seq 4');
  assert.deepEqual(net.sent(six), [`${back} icmp6 fd00:2::1 > fd00:1::10 reply id 3 seq 4`]);
  const spoofed = net.send('vm1', 'icmp 0.0.0.0 > 10.0.1.1 echo');
  assert.deepEqual([spoofed.sends, spoofed.verdict.kind], [[], 'drop'], 'names no host');
});

test('an echo that came tagged is answered without the tag', () => {
  const bytes = encodeFrame({
    ethernet: { src: mac(macOf(9)), dst: mac(macOf(0x13)), tci: 0x6000 },
    network: { kind: 'ipv4', src: ip('192.0.2.9') as Ip4, dst: ip('192.0.2.1') as Ip4 },
    transport: ECHO,
  });
  const net = routed();
  const outcome = net.send('up', bytes);
  assert.deepEqual(net.sent(outcome), [
    `up: ${macOf(0x13)} > ${macOf(9)} icmp 192.0.2.1 > 192.0.2.9 reply id 7 seq 1`,
  ]);
});

test('no answer to wrong checksums, parts of anything else, and other ICMP', () => {
  const net = routed();
  const wrong = packet({}, { transport: ECHO });
  wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
  const frames: readonly (readonly [string, Uint8Array | string])[] = [
    ['checksum', wrong],
    ['first part of a reply', packet({ moreFragments: true }, { transport: { ...ECHO, type: 0 } })],
    ['part of a datagram', packet({ moreFragments: true, protocol: 17 }, {})],
    ['a later part', packet({ fragmentOffset: 8, protocol: 17 }, { payload: new Uint8Array(8) })],
    ['first part of a question', solicitationInParts],
    ['a reply', 'icmp 10.0.1.10 > 10.0.1.1 reply id 1 seq 1'],
    ['an error', 'icmp 10.0.1.10 > 10.0.1.1 ttl-exceeded'],
    ['ICMPv6 over IPv4', 'ip 10.0.1.10 > 10.0.1.1 proto 58'],
    ['ICMP over IPv6', 'ip fd00:1::10 > fd00:1::1 proto 1'],
  ];
  for (const [name, frame] of frames) {
    const outcome = net.send('vm1', frame);
    assert.deepEqual(outcome.verdict, { kind: 'drop', reason: 'local-refused' }, name);
    assert.deepEqual(outcome.sends, [], name);
    assert.equal(outcome.cacheable, name !== 'checksum', name);
  }
});

test('parts of echo requests are kept until there are all; no flow decides about them', () => {
  const net = routed();
  const four = net.bytes('icmp 10.0.1.10 > 10.0.2.1 echo id 3 seq 4 length 3000');
  const six = net.bytes('icmp6 fd00:1::10 > fd00:2::1 echo id 3 seq 4 length 3000');
  for (const parts of [fragments(four, 1500), fragments6(six, 1500, 7)]) {
    assert.equal(parts?.length, 3);
    for (const part of parts) {
      const outcome = net.send('vm1', part);
      assert.deepEqual(outcome.verdict, { kind: 'collect' });
      assert.deepEqual([outcome.sends, outcome.cacheable], [[], false]);
    }
  }
  const fields = fragments(four, 1500)?.map((part) =>
    seen(net.send('vm1', part)).split(' ').at(-1),
  );
  assert.deepEqual(fields, ['tpSrc', 'ipFrag', 'ipFrag']);
  assert.deepEqual(net.text(net.send('vm1', fragments(four, 1500)?.[0] ?? four)), [
    `bridge red: unicast ${R}`,
    'router r0: route 10.0.2.1/32 local',
    'collect: kept until the datagram is whole',
  ]);
});

test('an echo that came in parts is answered in parts, no larger than they were', () => {
  const net = routed();
  const cutOf = (frame: string, size?: number): number | undefined => {
    const outcome = net.walk({ port: net.port('vm1') }, frame, size);
    assert.deepEqual([outcome.verdict.kind, outcome.cacheable], ['answer', false]);
    return outcome.sends[0]?.cut;
  };
  const four = 'icmp 10.0.1.10 > 10.0.1.1 echo length 2000';
  const six = 'icmp6 fd00:1::10 > fd00:1::1 echo length 2000';
  assert.deepEqual([cutOf(four), cutOf(six)], [undefined, undefined], 'it came whole');
  assert.deepEqual([cutOf(four, 1500), cutOf(six, 1500)], [1500, 1500]);
  assert.deepEqual([cutOf(four, 2028), cutOf(six, 2048)], [undefined, undefined]);
  assert.deepEqual([cutOf(four, 2027), cutOf(six, 2047)], [2027, 2047]);
  assert.deepEqual([cutOf(four, 28), cutOf(six, 500)], [68, 1280], 'every link carries as much');
});

test('nothing listens: UDP, TCP and other protocols are refused each in its way', () => {
  const net = routed();
  const told = (frame: string): string[] => {
    const outcome = net.send('vm1', frame);
    assert.deepEqual(outcome.verdict, { kind: 'drop', reason: 'local-refused' });
    assert.deepEqual(outcome.charge, net.port('vm1'), 'paid by the port it came by');
    has(outcome, tags.errorsTag(net.port('vm1')));
    assert.equal(outcome.steps.at(-1)?.did, 'error');
    return net.sent(outcome);
  };
  assert.deepEqual(told('udp 10.0.1.10:1 > 10.0.2.1:2'), [
    `${back} icmp 10.0.1.1 > 10.0.1.10 port-unreachable id 0 seq 0 tos 192`,
  ]);
  assert.deepEqual(told('ip 10.0.1.10 > 10.0.2.1 proto 89'), [
    `${back} icmp 10.0.1.1 > 10.0.1.10 protocol-unreachable id 0 seq 0 tos 192`,
  ]);
  assert.deepEqual(told('tcp 10.0.1.10:5 > 10.0.2.1:2'), [
    `${back} tcp 10.0.2.1:2 > 10.0.1.10:5 ack rst (ack 1, win 0)`,
  ]);
  assert.deepEqual(told('udp [fd00:1::10]:1 > [fd00:2::1]:2'), [
    `${back} icmp6 fd00:1::1 > fd00:1::10 port-unreachable id 0 seq 0`,
  ]);
  assert.deepEqual(told('ip fd00:1::10 > fd00:2::1 proto 89'), [
    `${back} icmp6 fd00:1::1 > fd00:1::10 type 4 code 1 id 0 seq 6`,
  ]);
  assert.deepEqual(told('tcp [fd00:1::10]:5 > [fd00:2::1]:2'), [
    `${back} tcp [fd00:2::1]:2 > [fd00:1::10]:5 ack rst (ack 1, win 0)`,
  ]);
  const reset = net.send('vm1', 'tcp 10.0.1.10:5 > 10.0.2.1:2 rst');
  assert.deepEqual([reset.sends, reset.verdict.kind], [[], 'drop'], 'no reset of a reset');
});

test('without budget, or from elsewhere, there is no refusal', () => {
  const net = routed();
  for (let n = 0; n < ERRORS_BURST; n++) net.errors.charge(net.port('vm1'));
  for (const frame of ['udp 10.0.1.10:1 > 10.0.1.1:2', 'tcp 10.0.1.10:1 > 10.0.1.1:2']) {
    const spent = net.send('vm1', frame);
    assert.deepEqual([spent.sends, spent.cacheable], [[], true], frame);
    has(spent, tags.errorsTag(net.port('vm1')));
    const own = net.walk({ out: net.port('red0') }, frame);
    assert.deepEqual([own.verdict.kind, own.sends], ['drop', []], frame);
  }
  assert.equal(net.send('vm1', 'icmp 10.0.1.10 > 10.0.1.1 echo').sends.length, 1, 'no error');
});

test('link-local addresses are those of the port the packet came by, and of no other', () => {
  const net = routed();
  const linkLocal = (name: string): string =>
    formatIp((net.topology.port(net.port(name)) as { linkLocal: Ip6 }).linkLocal);
  const own = linkLocal('r0red');
  const echo = net.send('vm1', `icmp6 fe80::10 > ${own} echo id 1 seq 1`);
  assert.deepEqual(net.sent(echo), [`${back} icmp6 ${own} > fe80::10 reply id 1 seq 1`]);
  const other = net.send('vm1', `icmp6 fe80::10 > ${linkLocal('r0blue')} echo id 1 seq 1`);
  assert.deepEqual(other.verdict, { kind: 'drop', reason: 'not-forwardable' });
  const refused = net.send('vm1', `udp [fe80::10]:1 > [${own}]:2`);
  assert.deepEqual(net.sent(refused), [
    `${back} icmp6 fd00:1::1 > fe80::10 port-unreachable id 0 seq 0`,
  ]);
});

test('a neighbour that asks the address itself is answered, and what it says is heard', () => {
  const net = routed();
  const frame = `${macOf(1)} > ${R} ns fd00:1::10 for fd00:1::1 to fd00:1::1`;
  const outcome = net.send('vm1', frame);
  assert.deepEqual(net.sent(outcome), [`${back} na fd00:1::1 is-at ${R} to fd00:1::10 router`]);
  assert.deepEqual(outcome.claims.length, 2);
  const told = net.send('vm1', `${macOf(1)} > ${R} na fd00:1::10 is-at ${macOf(1)} to fd00:1::1`);
  assert.deepEqual([told.verdict, told.claims.length], [{ kind: 'answer' }, 2]);
});

test("a local route makes more addresses the router's own", () => {
  const net = routed().route('lo', 'r0', '198.51.100.0/24', { type: 'local' });
  const echo = net.send('vm1', 'icmp 10.0.1.10 > 198.51.100.7 echo id 1 seq 1');
  assert.deepEqual(net.sent(echo), [`${back} icmp 198.51.100.7 > 10.0.1.10 reply id 1 seq 1`]);
});
