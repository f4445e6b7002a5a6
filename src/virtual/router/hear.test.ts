/**
 * ARP and neighbour discovery at ports of routers: answers, what is believed, what is passed on.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { encodeFrame, type Layers } from '#net/frame.ts';
import { formatIp, type Ip4, type Ip6 } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { neighbourAdvertisement } from '#net/neighbours.ts';
import { has, hasNot, ip, mac, macOf, routed, seen, type Network } from '../network.fixture.ts';
import type { Outcome } from '../outcome.ts';
import * as tags from '../tags.ts';

const ALL = 'ff:ff:ff:ff:ff:ff';
const R = macOf(0x13);
/** To whom it is told what the port with this MAC heard. */
const by = (net: Network, n: number): Outcome['tells'] => [
  { router: net.routerId('r0'), mac: mac(macOf(n)) },
];
/** Claims about neighbours: `PORT IP is-at MAC at PORT`. */
const heard = (net: Network, { claims }: Outcome): string[] =>
  claims.flatMap((claim) => {
    if (!('hear' in claim)) return [];
    const { port, ip: address, mac: at, at: by } = claim.hear;
    const name = (id: typeof by): string => (id && net.topology.port(id)?.name) ?? 'elsewhere';
    return [`${name(port)} ${formatIp(address)} is-at ${formatMac(at)} at ${name(by)}`];
  });
const arp = (operation: number, changes: Readonly<Record<string, unknown>>, dst = ALL): Layers =>
  ({
    ethernet: { src: mac(macOf(9)), dst: mac(dst) },
    network: {
      kind: 'arp',
      operation,
      senderMac: mac(macOf(9)),
      senderIp: ip('192.0.2.9'),
      targetMac: 0,
      targetIp: ip('192.0.2.1') as Ip4,
      ...changes,
    },
  }) as unknown as Layers;

test('a question for the port is answered, and tells where the asker is', () => {
  const net = routed();
  const port = net.port('up');
  const outcome = net.send('up', 'arp who-has 192.0.2.1 tell 192.0.2.9');
  assert.deepEqual(net.text(outcome), [
    `port up: hear 192.0.2.9 is-at ${macOf(1)}`,
    `port up: answer 192.0.2.1 is-at ${R}`,
    'answer: sent out of port up',
  ]);
  assert.deepEqual(net.sent(outcome), [
    `up: ${R} > ${macOf(1)} arp reply 192.0.2.1 is-at ${R} to 192.0.2.9`,
  ]);
  assert.equal(outcome.charge, undefined, 'an answer is no error');
  assert.deepEqual(heard(net, outcome), [`up 192.0.2.9 is-at ${macOf(1)} at up`]);
  assert.deepEqual(outcome.tells, by(net, 0x13));
  assert.equal(outcome.cacheable, false);
  assert.equal(seen(outcome), 'ethSrc ethDst ethType vlan ipSrc ipDst ipProto');
  has(outcome, tags.neighbourTag(port, ip('192.0.2.9')), tags.hearingTag(port));
  net.knows('up', '192.0.2.9', 1);
  const again = net.send('up', 'arp who-has 192.0.2.1 tell 192.0.2.9');
  assert.equal(again.sends.length, 1);
  assert.deepEqual([again.claims, again.tells, again.confirms], [[], [], []], 'nothing new');
});

test('a reply in the VLAN of the question: a priority tag comes back', () => {
  const net = routed();
  const layers = arp(1, {});
  const bytes = encodeFrame({ ...layers, ethernet: { ...layers.ethernet, tci: 0x6000 } });
  const [send] = net.send('up', bytes).sends;
  assert.deepEqual([...(send?.frame.subarray(12, 16) ?? [])], [0x81, 0, 0x60, 0]);
});

test('a probe is answered, and teaches nothing (RFC 5227)', () => {
  const net = routed();
  const outcome = net.send('up', 'arp who-has 192.0.2.1 tell 0.0.0.0');
  assert.equal(outcome.sends.length, 1);
  assert.deepEqual([heard(net, outcome), outcome.tells], [[], []]);
});

test('a sender that cannot be there is neither believed nor answered', () => {
  const net = routed();
  const outside = net.send('up', 'arp who-has 192.0.2.1 tell 203.0.113.5');
  assert.deepEqual(outside.verdict, { kind: 'answer' });
  assert.deepEqual([outside.sends, outside.claims], [[], []], 'of no network of the port');
  const lies: readonly Layers[] = [
    arp(1, { senderMac: mac(macOf(8)) }),
    arp(1, { senderMac: mac(ALL) }),
    arp(257, {}),
    arp(2, { senderMac: mac(macOf(8)) }, R),
  ];
  for (const layers of lies) {
    const outcome = net.send('up', encodeFrame(layers));
    assert.deepEqual([outcome.sends, outcome.claims], [[], []], JSON.stringify(layers));
    assert.deepEqual(outcome.verdict, { kind: 'drop', reason: 'not-for-router' });
    assert.equal(outcome.cacheable, false, 'it took reading');
  }
  const itself = net.send('up', 'arp who-has 192.0.2.1 tell 192.0.2.1');
  assert.deepEqual([itself.sends, itself.claims], [[], []], 'somebody has our address');
});

test('gratuitous ARP is news of itself; a question to others is not, unless it contradicts', () => {
  const net = routed();
  const gratuitous = net.send('up', 'arp who-has 192.0.2.9 tell 192.0.2.9');
  assert.deepEqual(heard(net, gratuitous), [`up 192.0.2.9 is-at ${macOf(1)} at up`]);
  assert.deepEqual(gratuitous.verdict, { kind: 'answer' });
  assert.deepEqual(net.text(gratuitous).at(-1), 'answer: heard, nothing to say');
  const announced = net.send('up', encodeFrame(arp(2, { targetIp: ip('192.0.2.9') })));
  assert.deepEqual(heard(net, announced), [`up 192.0.2.9 is-at ${macOf(9)} at up`]);
  const toOthers = net.send('up', 'arp who-has 192.0.2.7 tell 192.0.2.9');
  assert.deepEqual([heard(net, toOthers), toOthers.cacheable], [[], true]);
  net.knows('up', '192.0.2.9', 5);
  const moved = net.send('up', 'arp who-has 192.0.2.7 tell 192.0.2.9');
  assert.deepEqual(heard(net, moved), [`up 192.0.2.9 is-at ${macOf(1)} at up`]);
  net.unreachable.add(`${net.port('up')}/${ip('192.0.2.6')}`);
  const back = net.send('up', 'arp who-has 192.0.2.7 tell 192.0.2.6');
  assert.deepEqual(heard(net, back), [`up 192.0.2.6 is-at ${macOf(1)} at up`], 'there after all');
});

test('a reply to the port is believed; one that says what is known confirms it', () => {
  const net = routed();
  const reply = `${macOf(9)} > ${R} arp reply 192.0.2.9 is-at ${macOf(9)} to 192.0.2.1`;
  const outcome = net.send('up', reply);
  assert.deepEqual(outcome.verdict, { kind: 'answer' });
  assert.deepEqual(heard(net, outcome), [`up 192.0.2.9 is-at ${macOf(9)} at up`]);
  assert.deepEqual([outcome.tells, outcome.confirms], [by(net, 0x13), []]);
  net.knows('up', '192.0.2.9', 9);
  const confirmed = net.send('up', reply);
  assert.deepEqual(confirmed.confirms, [{ port: net.port('up'), ip: ip('192.0.2.9') }]);
  assert.deepEqual([confirmed.claims, confirmed.tells], [[], []]);
});

test('a full port remembers no more, but corrects what it knows', () => {
  const net = routed();
  for (const n of [101, 102, 103, 104]) net.knows('up', `192.0.2.${n}`, n);
  const fresh = net.send('up', 'arp who-has 192.0.2.1 tell 192.0.2.9');
  assert.equal(fresh.sends.length, 1, 'answered all the same');
  assert.deepEqual(heard(net, fresh), []);
  has(fresh, tags.hearingTag(net.port('up')));
  const known = net.send('up', 'arp who-has 192.0.2.1 tell 192.0.2.101');
  assert.deepEqual(heard(net, known), [`up 192.0.2.101 is-at ${macOf(1)} at up`]);
});

test('a seeded address is never learned as a neighbour', () => {
  const net = routed();
  const claim = net.send('vm2', `${macOf(7)} > ${ALL} arp who-has 10.0.2.10 tell 10.0.2.10`);
  assert.deepEqual(heard(net, claim), []);
  has(claim, tags.seededIpTag(net.bridgeId('blue'), ip('10.0.2.10')));
  hasNot(claim, tags.neighbourTag(net.port('r0blue'), ip('10.0.2.10')));
});

test('through a bridge: the router is asked alone; floods are heard by it too', () => {
  const net = routed();
  const asked = net.send('vm1', 'arp who-has 10.0.1.1 tell 10.0.1.10');
  assert.deepEqual(net.sent(asked), [
    `r0red: ${macOf(0x11)} > ${macOf(1)} arp reply 10.0.1.1 is-at ${macOf(0x11)} to 10.0.1.10`,
  ]);
  assert.deepEqual(heard(net, asked), [`r0red 10.0.1.10 is-at ${macOf(1)} at vm1`]);
  const flood = [{ flood: net.bridgeId('red'), except: net.port('vm1') }];
  const gratuitous = net.send('vm1', 'arp who-has 10.0.1.10 tell 10.0.1.10');
  assert.deepEqual(gratuitous.verdict, { kind: 'forward', to: flood });
  assert.deepEqual(heard(net, gratuitous), [`r0red 10.0.1.10 is-at ${macOf(1)} at vm1`]);
  assert.deepEqual(gratuitous.tells, by(net, 0x11));
  const plain = net.send('vm1', 'arp who-has 10.0.1.20 tell 10.0.1.10');
  assert.deepEqual(plain.verdict, { kind: 'forward', to: flood });
  assert.deepEqual([heard(net, plain), plain.cacheable], [[], true]);
  has(plain, tags.neighbourTag(net.port('r0red'), ip('10.0.1.10')));
  has(plain, tags.hearingTag(net.port('r0red')), tags.hearingTag(net.port('vm1')));
});

test('who is in a VLAN of the bridge is no neighbour, and gets no answer', () => {
  const net = routed().bridge('v10').bridgePort('vm9', 'v10').bridgePort('up10', 'v10');
  net.bridgePort('leg10', 'red', { vlan: 10 }).link('leg10', 'up10');
  net.knows('r0red', '10.0.1.10', 1);
  const lie = `${macOf(9)} > ${ALL} arp who-has 10.0.1.10 tell 10.0.1.10`;
  const question = `${macOf(9)} > ${ALL} arp who-has 10.0.1.1 tell 10.0.1.9`;
  const solicits = `${macOf(9)} > 33:33:ff:00:00:01 ns fd00:1::9 for fd00:1::1`;
  for (const text of [lie, question, solicits]) {
    const outcome = net.send('vm9', text);
    assert.deepEqual(
      [outcome.claims, outcome.tells].map((each) => each.length),
      [1, 0],
      text,
    );
    assert.deepEqual([heard(net, outcome), net.sent(outcome)], [[], []], text);
  }
});

test('hosts elsewhere only listen: to floods, and to what was passed on to them', () => {
  const net = routed();
  const question = 'arp who-has 10.0.1.1 tell 10.0.1.10';
  const half = net.walk({ flood: net.bridgeId('red') }, question);
  assert.deepEqual(half.sends, [], 'whoever is at the port that asked answers');
  assert.deepEqual(heard(net, half), [`r0red 10.0.1.10 is-at ${macOf(1)} at elsewhere`]);
  assert.deepEqual(half.tells, []);
  const reply = `${macOf(9)} > ${R} arp reply 192.0.2.9 is-at ${macOf(9)} to 192.0.2.1`;
  const passed = net.walk({ heard: net.routerId('r0') }, reply);
  assert.deepEqual(passed.verdict, { kind: 'answer' });
  assert.deepEqual(heard(net, passed), [`up 192.0.2.9 is-at ${macOf(9)} at elsewhere`]);
  assert.deepEqual(passed.tells, []);
  has(passed, tags.routerPortsTag(net.routerId('r0')), tags.portTag(net.port('up')));
  const toNobody = `${macOf(1)} > ${macOf(0x77)} ${question}`;
  const strangers = net.walk({ heard: net.routerId('r0') }, toNobody);
  assert.deepEqual(heard(net, strangers), [], 'unicast to nobody of this router');
  const gateway = `${macOf(1)} > 33:33:00:00:00:01 na fe80::1 is-at ${macOf(1)} to ff02::1`;
  assert.deepEqual(net.send('vm1', gateway).tells, by(net, 0x11));
  const toAll = net.walk({ heard: net.routerId('r0') }, gateway);
  assert.deepEqual(heard(net, toAll), [], 'fe80::1 is another neighbour on each network');
  const toRed = net.walk(
    { heard: net.routerId('r0') },
    gateway.replace(/> \S+/, `> ${macOf(0x11)}`),
  );
  assert.deepEqual(heard(net, toRed), [`r0red fe80::1 is-at ${macOf(1)} at elsewhere`]);
  net.put('router', 'r0', { adminStateUp: false });
  const down = net.walk({ heard: net.routerId('r0') }, reply);
  assert.deepEqual(down.verdict, { kind: 'drop', reason: 'router-down' });
  const nobody = net.walk({ heard: net.id('router', 'none') }, reply);
  assert.deepEqual(nobody.verdict, { kind: 'drop', reason: 'router-down' });
});

test('solicitations for the port: to its group and to itself, with and without an address', () => {
  const net = routed();
  const V9 = '2001:db8::9';
  const advertised = `${R} > ${macOf(1)} na 2001:db8::1 is-at ${R} to ${V9} router`;
  for (const frame of [
    `ns ${V9} for 2001:db8::1`,
    `${macOf(1)} > ${R} ns ${V9} for 2001:db8::1 to 2001:db8::1`,
  ]) {
    const outcome = net.send('up', frame);
    assert.deepEqual(net.sent(outcome), [`up: ${advertised}`], frame);
    assert.deepEqual(heard(net, outcome), [`up ${V9} is-at ${macOf(1)} at up`], frame);
    assert.deepEqual(outcome.tells, by(net, 0x13));
  }
  const detecting = net.send('up', 'ns :: for 2001:db8::1');
  assert.deepEqual(net.sent(detecting), [
    `up: ${R} > 33:33:00:00:00:01 na 2001:db8::1 is-at ${R} to ff02::1 router`,
  ]);
  assert.deepEqual(heard(net, detecting), []);
  const local = formatIp((net.topology.port(net.port('up')) as { linkLocal: Ip6 }).linkLocal);
  const toLocal = net.send('up', `ns fe80::9 for ${local}`);
  assert.match(net.sent(toLocal).join(), new RegExp(`na ${local} is-at ${R} to fe80::9 router`));
  assert.deepEqual(
    heard(net, toLocal),
    [`up fe80::9 is-at ${macOf(1)} at up`],
    'link-local is near',
  );
});

test('solicitations that are not for the port, or not beyond doubt', () => {
  const net = routed();
  const far = net.send('up', 'ns 2001:db8::9 for 2001:db8::77');
  assert.deepEqual(far.verdict, { kind: 'drop', reason: 'not-for-router' });
  assert(far.cacheable, 'another group: nothing was read');
  const sameGroup = net.send('up', 'ns 2001:db8::9 for 2001:db8::5:0:1');
  assert.deepEqual([sameGroup.verdict.kind, sameGroup.cacheable], ['drop', false]);
  const forwarded = net.send('up', 'ns 2001:db8::9 for 2001:db8::1 ttl 64');
  assert.deepEqual([forwarded.verdict.kind, forwarded.sends], ['drop', []]);
  const outside = net.send('up', 'ns 2001:db8:9::9 for 2001:db8::1');
  assert.deepEqual(heard(net, outside), [], 'of no network of the port');
});

test('advertisements: to us, to all, of others; known ones confirm', () => {
  const net = routed();
  const V9 = '2001:db8::9';
  const toUs = `${macOf(9)} > ${R} na ${V9} is-at ${macOf(9)} to 2001:db8::1`;
  const believed = net.send('up', toUs);
  assert.deepEqual(heard(net, believed), [`up ${V9} is-at ${macOf(9)} at up`]);
  assert.deepEqual(believed.verdict, { kind: 'answer' });
  const toAll = net.send('up', `na ${V9} is-at ${macOf(9)} to ff02::1`);
  assert.deepEqual(heard(net, toAll), [`up ${V9} is-at ${macOf(9)} at up`], 'unsolicited');
  const spoofed = net.send('up', `${macOf(8)} > ${R} na ${V9} is-at ${macOf(9)} to 2001:db8::1`);
  assert.deepEqual(heard(net, spoofed), [], 'sent by somebody else');
  const outside = net.send(
    'up',
    `${macOf(9)} > ${R} na 2001:db8:9::9 is-at ${macOf(9)} to 2001:db8::1`,
  );
  assert.deepEqual([heard(net, outside), outside.verdict.kind], [[], 'drop']);
  const toNodes = { mac: mac('33:33:00:00:00:01'), ip: ip('ff02::1') as Ip6 };
  const said = { mac: mac(macOf(1)), target: ip(V9) as Ip6, to: toNodes };
  const { transport, ...layers } = neighbourAdvertisement(said);
  const polite = encodeFrame({ ...layers, transport: { ...transport, flags: 0 } } as Layers);
  assert.deepEqual(heard(net, net.send('up', polite)), [`up ${V9} is-at ${macOf(1)} at up`]);
  net.knows('up', V9, 9);
  assert.deepEqual(heard(net, net.send('up', polite)), [], 'it does not override');
  const confirmed = net.send('up', toUs);
  assert.deepEqual(confirmed.confirms, [{ port: net.port('up'), ip: ip(V9) }]);
  assert.deepEqual(confirmed.claims, []);
});
