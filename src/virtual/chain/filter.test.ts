/** What filters decide, in which order they are asked, and what becomes of floods. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Network, has, hasNot, macOf, routed, seen } from '../network.fixture.ts';
import type { Outcome } from '../outcome.ts';
import { chainTag, floodTag, portGroupTag, addressGroupTag } from '../tags.ts';
import { ip } from '../network.fixture.ts';
import { FILTER_MATCHES_MAX } from './filter.ts';
import { JUMP_DEPTH_MAX } from './jumps.ts';

const ACCEPT = { action: 'accept' };
const DROP = { action: 'drop' };

/** What chains said, and the verdict. */
const ruled = (net: Network, outcome: Outcome): string[] =>
  net.text(outcome).filter((line) => /^(chain|drop|forward|answer)/.test(line));

/** One bridge, three ports; vm1 to vm3 have the MACs 1 to 3. */
const bridged = (): Network =>
  new Network()
    .bridge('b')
    .bridgePort('vm1', 'b', { addresses: [{ mac: macOf(1) }] })
    .bridgePort('vm2', 'b', { addresses: [{ mac: macOf(2) }] })
    .bridgePort('vm3', 'b', { addresses: [{ mac: macOf(3) }] });
const to2 = `${macOf(1)} > ${macOf(2)}`;
const tcp = `${to2} tcp 10.0.0.1:999 > 10.0.0.2:80`;
const udp = `${to2} udp 10.0.0.1:999 > 10.0.0.2:53`;
const all = `${macOf(1)} > ff:ff:ff:ff:ff:ff`;
const who = `${all} arp who-has 10.0.0.2 tell 10.0.0.1`;

test('rules in order decide; what none decides is accepted', () => {
  const net = bridged()
    .chain('c', { ...DROP, protocol: 'udp', name: 'no-udp' }, { ...ACCEPT, protocol: 'tcp' }, DROP)
    .filter('port', 'vm1', 'inboundFilter', 'c');
  assert.deepEqual(ruled(net, net.send('vm1', tcp)), [
    'chain c: rule 200 accept',
    'forward: to port vm2',
  ]);
  assert.deepEqual(ruled(net, net.send('vm1', udp)), [
    'chain c: rule 100 drop no-udp',
    'drop: A rule of a filter drops the packet.',
  ]);
  assert.deepEqual(net.send('vm1', who).verdict, { kind: 'drop', reason: 'filter-drop' });
  net.remove('rule', 'c-3');
  assert.deepEqual(ruled(net, net.send('vm1', `${to2} icmp 10.0.0.1 > 10.0.0.2 echo`)), [
    'chain c: no rule',
    'forward: to port vm2',
  ]);
});

test('jumps come back where they left, and return leaves a chain', () => {
  const net = bridged()
    .chain('inner', { action: 'return', protocol: 'tcp' }, { action: 'continue' }, DROP)
    .chain('c', { action: 'jump', jump: 'inner' }, ACCEPT)
    .filter('bridge', 'b', 'inboundFilter', 'c');
  const way = [
    'chain c: rule 100 jump',
    'chain inner: rule 100 return',
    'chain c: rule 200 accept',
  ];
  const otherWay = ['chain c: rule 100 jump', 'chain inner: rule 200 continue'];
  const outcome = net.send('vm1', tcp);
  assert.deepEqual(ruled(net, outcome), [...way, 'forward: to port vm2']);
  has(outcome, chainTag(net.id('chain', 'c')), chainTag(net.id('chain', 'inner')));
  assert.deepEqual(ruled(net, net.send('vm1', udp)).slice(0, 3), [
    ...otherWay,
    'chain inner: rule 300 drop',
  ]);
});

test('chains that lead on for too long, or are not there, let nothing pass', () => {
  const net = bridged();
  const last = JUMP_DEPTH_MAX + 1;
  net.chain(`c${last}`, ACCEPT);
  for (let n = last - 1; n > 0; n--) net.chain(`c${n}`, { action: 'jump', jump: `c${n + 1}` });
  net.filter('port', 'vm1', 'inboundFilter', 'c1');
  assert.deepEqual(net.send('vm1', tcp).verdict, { kind: 'drop', reason: 'filter-limit' });
  net.filter('port', 'vm1', 'inboundFilter', 'c2');
  assert.equal(net.send('vm1', tcp).verdict.kind, 'forward');
  const many = Array.from({ length: FILTER_MATCHES_MAX + 1 }, () => ({ action: 'continue' }));
  net.chain('many', ...many).filter('port', 'vm1', 'inboundFilter', 'many');
  assert.deepEqual(net.send('vm1', tcp).verdict, { kind: 'drop', reason: 'filter-limit' });
  net.remove('chain', 'many');
  const outcome = net.send('vm1', tcp);
  assert.deepEqual(outcome.verdict, { kind: 'drop', reason: 'filter-drop' });
  has(outcome, chainTag(net.id('chain', 'many')));
});

test('filters are asked in the order of the way', () => {
  const net = routed();
  const at: readonly (readonly ['port' | 'bridge' | 'router', string, string])[] = [
    ['port', 'vm1', 'inboundFilter'],
    ['bridge', 'red', 'inboundFilter'],
    ['bridge', 'red', 'outboundFilter'],
    ['port', 'red0', 'outboundFilter'],
    ['port', 'r0red', 'inboundFilter'],
    ['router', 'r0', 'localFilter'],
    ['router', 'r0', 'inboundFilter'],
    ['router', 'r0', 'forwardFilter'],
    ['router', 'r0', 'outboundFilter'],
    ['port', 'r0blue', 'outboundFilter'],
    ['port', 'blue0', 'inboundFilter'],
    ['bridge', 'blue', 'inboundFilter'],
    ['bridge', 'blue', 'outboundFilter'],
    ['port', 'vm2', 'outboundFilter'],
  ];
  for (const [kind, name, field] of at) {
    net.chain(`${name}-${field}`, ACCEPT);
    net.filter(kind, name, field, `${name}-${field}`);
  }
  const packet = 'udp 10.0.1.10:1 > 10.0.2.10:2';
  const outcome = net.send('vm1', packet);
  const asked = ruled(net, outcome).filter((line) => line.startsWith('chain'));
  assert.deepEqual(
    asked,
    at.map(([, name, field]) => `chain ${name}-${field}: rule 100 accept`),
  );
  for (const [kind, name, field] of at) {
    net.chain('no', DROP).filter(kind, name, field, 'no');
    assert.deepEqual(
      net.send('vm1', packet).verdict,
      { kind: 'drop', reason: 'filter-drop' },
      name,
    );
    net.filter(kind, name, field, `${name}-${field}`);
  }
});

test('nothing is learned from what a filter keeps out', () => {
  const net = new Network().bridge('b').bridgePort('vm1', 'b').bridgePort('vm2', 'b');
  net.chain('c', DROP);
  assert.equal(net.send('vm1', tcp).claims.length, 1);
  net.filter('port', 'vm1', 'inboundFilter', 'c');
  assert.equal(net.send('vm1', tcp).claims.length, 0);
});

test('frames with a tag are filtered like others', () => {
  const net = bridged()
    .chain('c', { ...DROP, protocol: 'udp' }, { ...DROP, vlan: 7 })
    .filter('bridge', 'b', 'inboundFilter', 'c');
  assert.equal(net.send('vm1', `${to2} vlan 5 udp 10.0.0.1:1 > 10.0.0.2:2`).verdict.kind, 'drop');
  assert.equal(net.send('vm1', `${to2} vlan 7 tcp 10.0.0.1:1 > 10.0.0.2:2`).verdict.kind, 'drop');
  assert.equal(
    net.send('vm1', `${to2} vlan 5 tcp 10.0.0.1:1 > 10.0.0.2:2`).verdict.kind,
    'forward',
  );
});

test('a walk without filters reads what it did, and has their tags only where they are', () => {
  const net = bridged();
  const before = net.send('vm1', tcp);
  net.chain('c', ACCEPT).filter('port', 'vm3', 'outboundFilter', 'c');
  assert.deepEqual(net.send('vm1', tcp), before);
  assert.equal(seen(before), 'ethSrc ethDst vlan');
});

test('groups are asked by address and by port, and named in tags', () => {
  const net = bridged()
    .put('address-group', 'web', { addresses: ['10.0.0.2', '192.0.2.0/24'] })
    .put('port-group', 'mine', { ports: [] });
  net.put('port-group', 'mine', { ports: [net.port('vm2')] });
  const group = net.id<never>('address-group', 'web');
  const ports = net.id<never>('port-group', 'mine');
  net
    .chain('c', { ...ACCEPT, destinationGroup: group }, { ...ACCEPT, outPortGroup: ports }, DROP)
    .filter('bridge', 'b', 'outboundFilter', 'c');
  const outcome = net.send('vm1', tcp);
  assert.equal(outcome.verdict.kind, 'forward');
  has(outcome, addressGroupTag(group, ip('10.0.0.2')));
  hasNot(outcome, portGroupTag(ports, net.port('vm2')));
  net.put('address-group', 'web', { addresses: [] });
  assert.deepEqual(ruled(net, net.send('vm1', tcp))[0], 'chain c: rule 200 accept');
  const to3 = net.send('vm1', `${macOf(1)} > ${macOf(3)} tcp 10.0.0.1:1 > 10.0.0.2:2`);
  assert.equal(to3.verdict.kind, 'drop');
  has(to3, portGroupTag(ports, net.port('vm3')));
});

test('later fragments have no ports: rules about ports are not for them', () => {
  const net = bridged()
    .chain('c', { ...ACCEPT, protocol: 'udp', destinationPorts: '53' }, DROP)
    .filter('port', 'vm2', 'outboundFilter', 'c');
  const first = net.bytes(`${udp} length 64`).slice();
  first.set([0x20, 0], 20);
  const later = first.slice();
  later.set([0, 8], 20);
  for (const frame of [first, later]) {
    frame.set([0, 0], 24);
    let sum = 0;
    for (let i = 14; i < 34; i += 2) sum += (frame[i]! << 8) | frame[i + 1]!;
    sum = 0xffff ^ ((sum & 0xffff) + (sum >>> 16));
    frame.set([sum >>> 8, sum & 0xff], 24);
  }
  assert.equal(net.send('vm1', first).verdict.kind, 'forward');
  assert.equal(net.send('vm1', later).verdict.kind, 'drop');
  net.chain('c', { ...ACCEPT, protocol: 'udp', destinationPorts: '53' }, DROP);
  net.put('rule', 'c-2', { ...ACCEPT, fragments: 'later' });
  assert.equal(net.send('vm1', later).verdict.kind, 'forward');
});

test('a flood leaves out the ports whose filters keep it', () => {
  const net = bridged()
    .chain('no', { ...DROP, etherType: 'arp' })
    .filter('port', 'vm2', 'outboundFilter', 'no');
  const outcome = net.send('vm1', who);
  const [flood, except] = [net.bridgeId('b'), net.port('vm1')];
  assert.deepEqual(outcome.verdict, {
    kind: 'forward',
    to: [{ flood, except, not: [net.port('vm2')] }],
  });
  assert.deepEqual(net.text(outcome), [
    'bridge b: broadcast',
    'chain no: rule 100 drop',
    'port vm2: keep filter-drop',
    'forward: to all ports of bridge b except vm1, filters keep it from vm2',
  ]);
  net.filter('port', 'vm2', 'outboundFilter', undefined);
  assert(net.changed.includes(floodTag(flood)));
});

test('each host asks the filters of its own ports', () => {
  const net = bridged()
    .chain('no', { ...DROP, etherType: 'arp' })
    .filter('port', 'vm2', 'outboundFilter', 'no')
    .filter('port', 'vm3', 'outboundFilter', 'no');
  const [flood, except] = [net.bridgeId('b'), net.port('vm1')];
  net.here = (port) => port !== net.port('vm3');
  assert.deepEqual(net.send('vm1', who).verdict, {
    kind: 'forward',
    to: [{ flood, except, not: [net.port('vm2')] }],
  });
  net.here = (port) => port === net.port('vm3');
  assert.deepEqual(net.walk({ flood }, who).verdict, {
    kind: 'forward',
    to: [{ flood, here: true, not: [net.port('vm3')] }],
  });
});

test('a filter that asks where a frame came from is asked where that is known', () => {
  const net = bridged();
  net
    .chain('c', { ...ACCEPT, inPorts: [net.port('vm1')] }, DROP)
    .filter('port', 'vm3', 'outboundFilter', 'c');
  const [flood, vm1, vm2, vm3] = [
    net.bridgeId('b'),
    ...['vm1', 'vm2', 'vm3'].map((p) => net.port(p)),
  ];
  net.here = (port) => port !== vm3;
  assert.deepEqual(net.send('vm1', who).verdict, {
    kind: 'forward',
    to: [{ flood, except: vm1 }, { port: vm3 }],
  });
  assert.deepEqual(net.send('vm2', who.replace(macOf(1), macOf(2))).verdict, {
    kind: 'forward',
    to: [{ flood, except: vm2 }],
  });
  net.here = (port) => port === vm3;
  assert.deepEqual(net.walk({ flood }, who).verdict, {
    kind: 'forward',
    to: [{ flood, here: true, not: [vm3] }],
  });
});

test('a router hears no flood that filters keep from it', () => {
  const net = routed();
  const question = `${macOf(1)} > ff:ff:ff:ff:ff:ff arp who-has 10.0.1.1 tell 10.0.1.10`;
  const gratuitous = `${macOf(1)} > ff:ff:ff:ff:ff:ff arp who-has 10.0.1.10 tell 10.0.1.10`;
  const hears = (outcome: Outcome): boolean => outcome.claims.some((claim) => 'hear' in claim);
  assert(hears(net.send('vm1', gratuitous)));
  net.chain('no', { ...DROP, etherType: 'arp' });
  for (const [name, field] of [
    ['red0', 'outboundFilter'],
    ['r0red', 'inboundFilter'],
  ] as const) {
    net.filter('port', name, field, 'no');
    assert(!hears(net.send('vm1', gratuitous)), name);
    assert(!hears(net.walk({ flood: net.bridgeId('red') }, gratuitous)), name);
    assert.deepEqual(net.send('vm1', question).sends, [], name);
    net.filter('port', name, field, undefined);
  }
  net.filter('router', 'r0', 'inboundFilter', 'no');
  assert(hears(net.send('vm1', gratuitous)), 'ARP is the port’s, not a packet for the router');
});

test('a flood over links meets the filters of both ends and of the other bridge', () => {
  const net = bridged()
    .bridge('c')
    .bridgePort('far', 'c')
    .bridgePort('b-c', 'b')
    .bridgePort('c-b', 'c');
  net.link('b-c', 'c-b').chain('no', DROP);
  const reaches = (): boolean => {
    const { verdict } = net.send('vm1', who);
    return verdict.kind === 'forward' && verdict.to.length === 2;
  };
  assert(reaches());
  for (const [kind, name, field] of [
    ['port', 'b-c', 'outboundFilter'],
    ['port', 'c-b', 'inboundFilter'],
    ['bridge', 'c', 'inboundFilter'],
    ['bridge', 'c', 'outboundFilter'],
  ] as const) {
    net.filter(kind, name, field, 'no');
    assert(!reaches(), `${name} ${field}`);
    net.filter(kind, name, field, undefined);
  }
});

test('neighbour discovery of a router is not its filters’, no more than ARP', () => {
  const net = routed().chain('no', DROP).filter('router', 'r0', 'inboundFilter', 'no');
  const ns = 'ns fd00:1::10 for fd00:1::1 to fd00:1::1';
  assert.equal(net.send('vm1', ns).verdict.kind, 'answer');
  const echo = 'icmp6 fd00:1::10 > fd00:1::1 echo';
  assert.deepEqual(net.send('vm1', echo).verdict, { kind: 'drop', reason: 'filter-drop' });
  // Not a way around the filter for others.
  const on = 'ns fd00:1::10 for fd00:2::10 to fd00:2::10';
  assert.deepEqual(net.send('vm1', on).verdict, { kind: 'drop', reason: 'filter-drop' });
});
