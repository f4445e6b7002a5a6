/** Of which state a packet's connection is, what it opens, and on what that depends. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFrame } from '#net/frame.ts';
import { errorAbout } from '#net/icmp-error.ts';
import type { Ip4 } from '#net/ip.ts';
import {
  hashOfConnection,
  reversed,
  type ConnectionKey,
  type ConnectionsView,
  type ConnectionState,
  type FoundConnection,
} from './connection.ts';
import { has, hasNot, ip, mac, macOf, Network, seen } from './network.fixture.ts';
import type { Outcome } from './outcome.ts';
import { connectionTag } from './tags.ts';

/** One bridge; whatever leaves vm1 is asked for its state, and let through. */
const tracked = (): Network =>
  new Network()
    .bridge('b')
    .bridgePort('vm1', 'b', { addresses: [{ mac: macOf(1) }] })
    .bridgePort('vm2', 'b', { addresses: [{ mac: macOf(2) }] })
    .chain('c', { action: 'accept', connection: ['related'] })
    .filter('port', 'vm1', 'inboundFilter', 'c');
const to2 = `${macOf(1)} > ${macOf(2)}`;
const tcp = (flags: string): string => `${to2} tcp 10.0.0.1:999 > 10.0.0.2:80 ${flags}`;

/** Records with these keys as they are opened, and their answers. */
function recordsOf(...forward: readonly ConnectionKey[]): ConnectionsView {
  const ref = { slot: 1, generation: 1 };
  const known = new Map<string, FoundConnection>(
    forward.flatMap(({ zone, tuple }) => [
      [hashOfConnection({ zone, tuple }), { ref, direction: 'forward' as const, translations: [] }],
      [
        hashOfConnection({ zone, tuple: reversed(tuple) }),
        { ref, direction: 'return' as const, translations: [] },
      ],
    ]),
  );
  return { find: (zone, tuple) => known.get(hashOfConnection({ zone, tuple })) };
}
const stateOf = ({ connection }: Outcome): ConnectionState | undefined => connection?.state;
/** What a packet opens is known from here on. */
function learn(net: Network, frame: string): ConnectionKey {
  const key = net.send('vm1', frame).connection?.key;
  assert.ok(key);
  net.connections = recordsOf(key);
  return key;
}

test('a packet opens what it is forwarded for: both keys, in the zones where they enter', () => {
  const net = tracked();
  const outcome = net.send('vm1', tcp('syn'));
  const { state, key, found, opens } = outcome.connection!;
  assert.deepEqual([state, found, opens.length], ['new', undefined, 1]);
  assert.deepEqual(opens[0], {
    returns: { zone: key!.zone, tuple: reversed(key!.tuple) },
    to: net.port('vm2'),
  });
  has(outcome, connectionTag(key!));
  assert.match(seen(outcome), /ipSrc ipDst ipProto .*tpSrc tpDst/);
  assert.equal(outcome.guards.soundTcp, true);
});

test('with its record a packet is as new as without; its answers are established', () => {
  const net = tracked();
  const { zone, tuple } = learn(net, tcp('syn'));
  assert.equal(stateOf(net.send('vm1', tcp('ack'))), 'new');
  net.connections = recordsOf({ zone, tuple: reversed(tuple) });
  const answer = net.send('vm1', tcp('syn ack'));
  assert.equal(stateOf(answer), 'established');
  assert.deepEqual(answer.connection?.opens, []);
  assert.equal(answer.connection?.found?.direction, 'return');
});

test('flags that no stack sends are invalid, decided one by one', () => {
  const net = tracked();
  for (const flags of ['syn fin', 'syn rst', 'fin', 'noflags']) {
    const outcome = net.send('vm1', tcp(flags));
    assert.deepEqual([stateOf(outcome), outcome.cacheable], ['invalid', false], flags);
  }
});

test('an echo is asked and answered by its identifier; an answer to nothing is invalid', () => {
  const net = tracked();
  const ask = `${to2} icmp 10.0.0.1 > 10.0.0.2 echo id 7`;
  const reply = `${to2} icmp 10.0.0.1 > 10.0.0.2 reply id 7`;
  assert.equal(stateOf(net.send('vm1', reply)), 'invalid');
  const { zone, tuple } = learn(net, ask);
  // The other end asked.
  const asked = { ...tuple, src: tuple.dst, dst: tuple.src };
  net.connections = recordsOf({ zone, tuple: asked });
  assert.equal(stateOf(net.send('vm1', reply)), 'established');
  assert.equal(stateOf(net.send('vm1', reply.replace('id 7', 'id 8'))), 'invalid');
});

test('an error is related to what it quotes, either way, and to nothing else', () => {
  const net = tracked();
  const about = (from: string, to: string): Uint8Array => {
    const bytes = net.bytes(`${macOf(2)} > ${macOf(1)} udp ${from} > ${to}`);
    const ends = { from: ip('10.0.0.1'), src: mac(macOf(1)), dst: mac(macOf(2)) };
    const error = errorAbout(bytes, { cause: 'port-unreachable', ...ends });
    assert.ok(error);
    return error;
  };
  const quoting = about('10.0.0.2:53', '10.0.0.1:999');
  assert.equal(stateOf(net.send('vm1', quoting)), 'invalid');
  const { zone, tuple } = learn(net, `${to2} udp 10.0.0.1:999 > 10.0.0.2:53`);
  for (const way of [tuple, reversed(tuple)]) {
    net.connections = recordsOf({ zone, tuple: way });
    const outcome = net.send('vm1', quoting);
    assert.deepEqual([stateOf(outcome), outcome.cacheable], ['related', false]);
    assert.deepEqual(outcome.connection?.opens, []);
  }
  assert.equal(stateOf(net.send('vm1', about('10.0.0.2:54', '10.0.0.1:999'))), 'invalid');
});

test('ARP, neighbours and later fragments have no state', () => {
  const net = tracked();
  for (const frame of [
    `${macOf(1)} > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.1`,
    `${macOf(1)} > ${macOf(2)} icmp6 fe80::1 > fe80::2 type 133`,
  ])
    assert.equal(net.send('vm1', frame).connection, undefined, frame);
  const part = (fragmentOffset: number): Uint8Array =>
    encodeFrame({
      ethernet: { src: mac(macOf(1)), dst: mac(macOf(2)) },
      network: {
        kind: 'ipv4',
        src: ip('10.0.0.1') as Ip4,
        dst: ip('10.0.0.2') as Ip4,
        moreFragments: true,
        fragmentOffset,
        protocol: 17,
      },
      payload: new Uint8Array(16),
    });
  assert.equal(stateOf(net.send('vm1', part(0))), 'new', 'the first part');
  assert.equal(net.send('vm1', part(64)).connection, undefined, 'a later part');
});

test('groups, and what looks like its own answer, are new and open nothing', () => {
  const net = tracked();
  for (const frame of [
    `${macOf(1)} > 01:00:5e:00:00:05 udp 10.0.0.1:5 > 224.0.0.5:5`,
    `${macOf(1)} > ff:ff:ff:ff:ff:ff udp 10.0.0.1:5 > 255.255.255.255:5`,
    `${to2} udp 10.0.0.1:5 > 10.0.0.1:5`,
  ]) {
    const { connection, verdict } = net.send('vm1', frame);
    assert.equal(verdict.kind, 'forward', frame);
    assert.deepEqual([connection?.state, connection?.opens], ['new', []], frame);
  }
});

test('nobody looks where nobody asks: not here, nor where answers will come by', () => {
  const net = tracked().filter('port', 'vm1', 'inboundFilter', undefined);
  const plain = net.send('vm1', tcp('syn'));
  assert.equal(plain.connection, undefined);
  assert.equal(seen(plain), 'ethSrc ethDst vlan');
  for (const [port, filter] of [
    ['vm1', 'outboundFilter'],
    ['vm2', 'inboundFilter'],
  ] as const) {
    const asked = tracked()
      .filter('port', 'vm1', 'inboundFilter', undefined)
      .filter('port', port, filter, 'c');
    const outcome = asked.send('vm1', tcp('syn'));
    assert.equal(outcome.connection?.opens.length, 1, `${filter} of ${port}`);
  }
  hasNot(plain, connectionTag(tracked().send('vm1', tcp('syn')).connection!.key!));
});
