/** What a secured port means for the other ports of its bridge, and for what was learned. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { has, ip, mac, macOf } from '../network.fixture.ts';
import {
  ALL,
  check,
  M1,
  M2,
  network,
  refusal,
  STRANGER,
  VIRTUAL,
} from '../port/security.fixture.ts';
import { portTag, seededIpTag, seededMacTag, seedsTag } from '../tags.ts';

test('a prefix, or the MAC of another, gives nobody an address that is known elsewhere', () => {
  const net = network();
  check(net, 'b', [
    [`${M2} > ${ALL} arp who-has 10.0.0.9 tell 10.0.0.77`, ''],
    [`${M2} > ${ALL} arp reply 10.0.0.1 is-at ${M2}`, 'spoofed-arp 10.0.0.1: at another port'],
    [`${M2} > ${ALL} arp reply 10.0.0.254 is-at ${M2}`, 'spoofed-arp 10.0.0.254: at another port'],
    [`${M2} > ${ALL} arp who-has 10.0.0.1 tell 0.0.0.0`, 'spoofed-arp 10.0.0.1: at another port'],
    // Beside seeds: what a secured port is allowed by itself.
    [`${M2} > ${ALL} arp reply 10.0.0.100 is-at ${M2}`, 'spoofed-arp 10.0.0.100: at another port'],
    [`${M2} > ${ALL} na fd00::1 is-at ${M2} to ff02::1`, 'spoofed-nd fd00::1: at another port'],
  ]);
  net.put('port', 'b', { allowedAddresses: [{ ip: '10.0.0.9', mac: M1 }] });
  check(net, 'b', [
    [`${M1} > ${ALL} arp reply 10.0.0.9 is-at ${M1}`, `spoofed-mac source ${M1}: at another port`],
  ]);
  // As a router it may forward what others sent.
  net.put('port', 'b', { allowedAddresses: [{ ip: '0.0.0.0/0' }] });
  check(net, 'b', [[`${M2} > ${M1} udp 10.0.0.1:1 > 10.0.5.1:2`, '']]);
});

test('a port without security may claim nothing that is secured elsewhere, and else anything', () => {
  const net = network();
  check(net, 'c', [
    [`${M1} > ${ALL} udp 10.0.0.9:1 > 10.0.0.2:2`, `spoofed-mac source ${M1}: at another port`],
    [`${VIRTUAL} > ${M2} type 0x88b5`, `spoofed-mac source ${VIRTUAL}: at another port`],
    [
      `${STRANGER} > ${ALL} arp reply 10.0.0.1 is-at ${STRANGER}`,
      'spoofed-arp 10.0.0.1: at another port',
    ],
    [
      `${STRANGER} > ${ALL} arp who-has 10.0.0.9 tell 10.0.0.100`,
      'spoofed-arp 10.0.0.100: at another port',
    ],
    [
      `${STRANGER} > ${ALL} na fd00::1 is-at ${STRANGER} to ff02::1`,
      'spoofed-nd fd00::1: at another port',
    ],
    [`${STRANGER} > ${ALL} ns fd00::1 for fd00::9`, 'spoofed-nd fd00::1: at another port'],
    [`${STRANGER} > ${ALL} arp reply 10.0.5.1 is-at ${STRANGER}`, ''],
    [`${STRANGER} > ${ALL} arp reply 10.0.0.9 is-at ${STRANGER}`, ''],
    [`${STRANGER} > ${ALL} na fd00::9 is-at ${STRANGER} to ff02::1`, ''],
    [`${STRANGER} > ${M2} udp 10.0.0.1:67 > 10.0.0.2:68`, ''],
    [`${STRANGER} > ${M2} type 0x88a8`, ''],
  ]);
  // What it is seeded with stays its own, whatever others are allowed.
  net.put('port', 'c', { addresses: [{ mac: STRANGER, ip: '10.0.0.100' }] });
  check(net, 'c', [[`${STRANGER} > ${ALL} arp reply 10.0.0.100 is-at ${STRANGER}`, '']]);
  check(net, 'a', [
    [`arp reply 10.0.0.100 is-at ${M1}`, 'spoofed-arp 10.0.0.100: at another port'],
  ]);
});

test('learned before it was secured, a MAC is found there no more', () => {
  const net = network();
  net.macs.learn(
    { bridge: net.bridgeId('b0'), vlan: 0, mac: mac(VIRTUAL), port: net.port('c') },
    1,
    'here',
  );
  const to = net.send('b', `${M2} > ${VIRTUAL} udp 10.0.0.2:1 > 10.0.5.1:2`);
  assert.equal(net.text(to)[0], `bridge b0: unknown unicast ${VIRTUAL}`);
  net.macs.learn(
    { bridge: net.bridgeId('b0'), vlan: 0, mac: mac(VIRTUAL), port: net.port('a') },
    2,
    'here',
  );
  const found = net.send('b', `${M2} > ${VIRTUAL} udp 10.0.0.2:1 > 10.0.5.1:2`);
  assert.deepEqual(net.text(found).slice(0, 1), [`bridge b0: unicast ${VIRTUAL}`]);
  has(to, seededMacTag(net.bridgeId('b0'), mac(VIRTUAL)));
});

test('a frame over a link between bridges may not claim what is secured behind it', () => {
  const net = network()
    .bridge('b9')
    .bridgePort('d', 'b9')
    .bridgePort('b9-b0', 'b9')
    .bridgePort('b0-b9', 'b0')
    .link('b9-b0', 'b0-b9');
  const told = `${STRANGER} > ${ALL} arp reply 10.0.0.100 is-at ${STRANGER}`;
  const flood = net.send('d', told);
  assert.deepEqual(
    flood.claims.filter((claim) => 'hear' in claim),
    [],
  );
  assert.deepEqual(net.text(flood), [
    'bridge b9: broadcast',
    'port b0-b9: refuse 10.0.0.100: at another port',
    'bridge b9: drop no-recipient',
    'drop: The flood has nobody to reach: no other port of the bridge is up.',
  ]);
  const alone = net.send(
    'd',
    `${STRANGER} > ${macOf(0x11)} arp reply 10.0.0.100 is-at ${STRANGER}`,
  );
  assert.deepEqual(alone.verdict, { kind: 'drop', reason: 'spoofed-arp' });
});

test('a change of what is secured names who asked, and nothing else of the bridge', () => {
  const net = network();
  const b0 = net.bridgeId('b0');
  net.put('port', 'a', { allowedAddresses: [{ ip: '10.0.0.101' }] });
  assert.deepEqual(
    new Set(net.changed),
    new Set([
      portTag(net.port('a')),
      seededIpTag(b0, ip('10.0.0.100')),
      seededIpTag(b0, ip('10.0.0.101')),
      seededMacTag(b0, mac(VIRTUAL)),
      seededIpTag(b0, ip('fe80::ff:fe00:a')),
    ]),
  );
  net.put('port', 'b', { security: 'off' });
  net.put('port', 'a', { name: 'other' });
  assert.equal(net.changed.length, 0);
  net.put('port', 'a', { security: 'off' });
  assert(net.changed.includes(seedsTag(b0)));
  assert.equal(
    refusal(net.send('a', `${STRANGER} > ${ALL} arp reply 10.0.0.2 is-at ${STRANGER}`)),
    '',
  );
});
