/** Who is told that a filter refuses a packet: how, by whom, and when nobody is. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Network, has, macOf, routed } from '../network.fixture.ts';
import { ERRORS_BURST } from '../state/error-budget.ts';
import { errorsTag } from '../tags.ts';

const REJECT = { action: 'reject' };
const DROPPED = { kind: 'drop', reason: 'filter-reject' } as const;

const bridged = (): Network =>
  new Network()
    .bridge('b')
    .bridgePort('vm1', 'b', { addresses: [{ mac: macOf(1) }] })
    .bridgePort('vm2', 'b', { addresses: [{ mac: macOf(2) }] })
    .chain('no', REJECT);
const to2 = `${macOf(1)} > ${macOf(2)}`;
const back = `${macOf(2)} > ${macOf(1)}`;
const tcp = 'tcp 10.0.0.1:999 > 10.0.0.2:80 syn';
const udp = 'udp 10.0.0.1:999 > 10.0.0.2:53';

test('a bridge answers as the host that the packet was for', () => {
  for (const [kind, name, field] of [
    ['port', 'vm1', 'inboundFilter'],
    ['bridge', 'b', 'inboundFilter'],
    ['bridge', 'b', 'outboundFilter'],
    ['port', 'vm2', 'outboundFilter'],
  ] as const) {
    const net = bridged().filter(kind, name, field, 'no');
    const reset = net.send('vm1', `${to2} ${tcp}`);
    assert.deepEqual(reset.verdict, DROPPED);
    assert.deepEqual(net.sent(reset), [
      `vm1: ${back} tcp 10.0.0.2:80 > 10.0.0.1:999 ack rst (ack 1, win 0)`,
    ]);
    const error = net.send('vm1', `${to2} ${udp}`);
    assert.deepEqual(net.sent(error), [
      `vm1: ${back} icmp 10.0.0.2 > 10.0.0.1 admin-prohibited id 0 seq 0 tos 192`,
    ]);
    has(error, errorsTag(net.port('vm1')));
    assert.equal(error.charge, net.port('vm1'));
    assert(!error.cacheable);
  }
});

test('the answer has the tag that the frame has, and none behind a leg', () => {
  const net = bridged().filter('bridge', 'b', 'inboundFilter', 'no');
  for (const what of [tcp, udp])
    assert.match(net.sent(net.send('vm1', `${to2} vlan 5 ${what}`))[0] ?? '', /vlan 5 /);
});

test('a router speaks for itself, a reset is as from the host', () => {
  for (const [kind, name, field] of [
    ['port', 'r0red', 'inboundFilter'],
    ['router', 'r0', 'localFilter'],
    ['router', 'r0', 'inboundFilter'],
    ['router', 'r0', 'forwardFilter'],
    ['router', 'r0', 'outboundFilter'],
    ['port', 'r0blue', 'outboundFilter'],
  ] as const) {
    const net = routed().chain('no', REJECT).filter(kind, name, field, 'no');
    const macs = `${macOf(0x11)} > ${macOf(1)}`;
    const error = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.2.10:2');
    assert.deepEqual(error.verdict, DROPPED, name);
    assert.deepEqual(net.sent(error), [
      `r0red: ${macs} icmp 10.0.1.1 > 10.0.1.10 admin-prohibited id 0 seq 0 tos 192`,
    ]);
    const six = net.send(
      'vm1',
      'udp fd00:1::10:1 > fd00:2::10:2'.replace(/(::10):/g, '$1]:').replace(/fd00/g, '[fd00'),
    );
    assert.deepEqual(net.sent(six), [
      `r0red: ${macs} icmp6 fd00:1::1 > fd00:1::10 admin-prohibited id 0 seq 0`,
    ]);
    const reset = net.send('vm1', 'tcp 10.0.1.10:1 > 10.0.2.10:2 syn');
    assert.deepEqual(net.sent(reset), [
      `r0red: ${macs} tcp 10.0.2.10:2 > 10.0.1.10:1 ack rst (ack 1, win 0)`,
    ]);
  }
});

test('behind a router the answer goes back to it', () => {
  const net = routed().chain('no', REJECT).filter('port', 'vm2', 'outboundFilter', 'no');
  const outcome = net.send('vm1', 'udp 10.0.1.10:1 > 10.0.2.10:2');
  assert.deepEqual(net.sent(outcome), [
    `blue0: ${macOf(2)} > ${macOf(0x12)} icmp 10.0.2.10 > 10.0.1.10 admin-prohibited id 0 seq 0 tos 192`,
  ]);
  // And from there it is routed like everything else.
  net.knows('r0red', '10.0.1.10', 1);
  const [sent] = outcome.sends;
  assert(sent !== undefined);
  const walked = net.walk({ out: sent.port }, sent.frame);
  assert.equal(walked.verdict.kind, 'forward');
  assert.equal(net.text(walked).at(-1)?.startsWith('forward: to all ports of bridge red'), true);
});

test('nobody is told about floods, errors, resets, and by whom the budget is spent', () => {
  const net = bridged().filter('bridge', 'b', 'inboundFilter', 'no');
  const all = `${macOf(1)} > ff:ff:ff:ff:ff:ff`;
  for (const frame of [
    `${all} udp 10.0.0.1:1 > 255.255.255.255:2`,
    `${all} arp who-has 10.0.0.2 tell 10.0.0.1`,
    `${to2} icmp 10.0.0.1 > 10.0.0.2 type 3 code 3`,
    `${to2} tcp 10.0.0.1:1 > 10.0.0.2:2 rst`,
    `${to2} type 0x88cc`,
  ]) {
    const outcome = net.send('vm1', frame);
    assert.deepEqual([outcome.verdict, outcome.sends], [DROPPED, []], frame);
  }
  for (let n = 0; n < ERRORS_BURST; n++) net.errors.charge(net.port('vm1'));
  const spent = net.send('vm1', `${to2} ${udp}`);
  assert.deepEqual([spent.verdict, spent.sends, spent.cacheable], [DROPPED, [], true]);
  // What the network itself sends, or another host, brings about none.
  const own = net
    .filter('port', 'vm1', 'outboundFilter', 'no')
    .walk({ out: net.port('vm1') }, `${back} ${udp}`);
  assert.deepEqual([own.verdict, own.sends], [DROPPED, []]);
});
