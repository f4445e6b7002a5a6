/** Bridges linked to bridges: VLAN legs, floods over them, rings, and what is found behind them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { has, mac, macOf, Network, seen } from '../network.fixture.ts';
import type { Outcome, Recipient } from '../outcome.ts';
import * as tags from '../tags.ts';

const ALL = 'ff:ff:ff:ff:ff:ff';
const UDP = 'udp 10.0.0.1:1 > 10.0.0.2:2';
const from = (n: number, to: number | string, vlan?: number): string =>
  `${macOf(n)} > ${typeof to === 'number' ? macOf(to) : to}${vlan === undefined ? '' : ` vlan ${vlan}`} ${UDP}`;

/** A trunk with two ports, and two bridges that are its VLANs 5 and 6, with a port each. */
function trunk(): Network {
  const net = new Network().bridge('trunk').bridge('five').bridge('six');
  net.bridgePort('t1', 'trunk').bridgePort('t2', 'trunk');
  for (const [name, vlan] of [
    ['five', 5],
    ['six', 6],
  ] as const) {
    net.bridgePort(`vm-${name}`, name).bridgePort(`up-${name}`, name);
    net.bridgePort(`leg-${name}`, 'trunk', { vlan }).link(`leg-${name}`, `up-${name}`);
  }
  return net;
}
/** Recipients in text: `flood BRIDGE -EXCEPT vlan N`. */
function to(net: Network, { verdict }: Outcome): string[] {
  if (verdict.kind !== 'forward') return [verdict.kind === 'drop' ? verdict.reason : verdict.kind];
  const { topology } = net;
  return verdict.to.map((each: Recipient) => {
    const vlan = each.vlan === undefined ? '' : ` vlan ${each.vlan & 0xfff}`;
    if ('port' in each) return `port ${topology.port(each.port)?.name}${vlan}`;
    const except = each.except === undefined ? '' : ` -${topology.port(each.except)?.name}`;
    return `flood ${topology.bridge(each.flood)?.name}${except}${vlan}`;
  });
}
const learn = (net: Network, bridge: string, vlan: number, n: number, port: string): void => {
  const place = { bridge: net.bridgeId(bridge), vlan, mac: mac(macOf(n)), port: net.port(port) };
  net.macs.learn(place, 1);
};

test('floods: each bridge with the tag that it is to have there', () => {
  const net = trunk();
  const up = net.send('vm-five', from(1, ALL));
  assert.deepEqual(to(net, up), ['flood trunk vlan 5'], 'nobody else in five');
  assert.deepEqual(net.text(up), [
    'bridge five: broadcast',
    'port leg-five: set vlan 5',
    'forward: to all ports of bridge trunk, vlan 5',
  ]);
  has(up, tags.floodTag(net.bridgeId('five')), tags.floodTag(net.bridgeId('trunk')));
  has(up, tags.bridgeLinksTag(net.bridgeId('trunk')), tags.portTag(net.port('leg-six')));
  const down = net.send('t1', from(1, ALL, 5));
  assert.deepEqual(to(net, down), ['flood trunk -t1', 'flood five vlan 0']);
  assert.deepEqual(net.text(down), [
    'bridge trunk: learn 02:00:00:00:00:01 vlan 5',
    'bridge trunk: broadcast',
    'port leg-five: pop vlan 5',
    'forward: to all ports of bridge trunk except t1; to all ports of bridge five, untagged',
  ]);
  assert.deepEqual(to(net, net.send('t1', from(1, ALL, 6))), [
    'flood trunk -t1',
    'flood six vlan 0',
  ]);
  assert.deepEqual(to(net, net.send('t1', from(1, ALL, 7))), ['flood trunk -t1']);
  assert.deepEqual(to(net, net.send('t1', from(1, ALL))), ['flood trunk -t1']);
  assert.deepEqual(down.rewrites, {});
  assert.deepEqual(down.claims.length, 1, 'learned where it entered only');
  net.bridgePort('vm-more', 'five');
  assert.deepEqual(to(net, net.send('vm-five', from(1, ALL))), [
    'flood five -vm-five',
    'flood trunk vlan 5',
  ]);
  const tagged = net.send('vm-five', from(1, ALL, 9));
  assert.deepEqual(to(net, tagged), ['flood five -vm-five'], 'a tag does not pass a leg inwards');
});

test('a tag that is not what a leg carries ends there', () => {
  const net = trunk();
  net.put('port', 'leg-five', { addresses: [{ mac: macOf(7) }] });
  net.put('port', 'up-five', { addresses: [{ mac: macOf(8) }] });
  for (const vlan of [undefined, 6]) {
    const out = net.send('t1', from(1, 7, vlan));
    assert.deepEqual(to(net, out), ['vlan-mismatch']);
    assert.deepEqual(net.text(out).at(-2), 'port leg-five: drop vlan-mismatch');
    has(out, tags.portTag(net.port('leg-five')));
  }
  assert.deepEqual(to(net, net.send('t1', from(1, 7, 5))), ['flood five vlan 0']);
  const into = net.send('vm-five', from(1, 8, 5));
  assert.deepEqual(to(net, into), ['vlan-mismatch']);
  assert.deepEqual(to(net, net.send('vm-five', from(1, 8))), ['flood trunk vlan 5']);
});

test('unicast: found behind a leg, in the VLAN that it is there, and nowhere else', () => {
  const net = trunk();
  learn(net, 'five', 0, 50, 'vm-five');
  const pop = net.send('t1', from(1, 50, 5));
  assert.deepEqual(to(net, pop), ['port vm-five vlan 0']);
  assert.deepEqual(net.text(pop).slice(1), [
    `bridge trunk: unicast ${macOf(50)}`,
    'port leg-five: pop vlan 5',
    `bridge five: unicast ${macOf(50)}`,
    'forward: to port vm-five, untagged',
  ]);
  assert.equal(seen(pop), 'ethSrc ethDst vlan');
  const [five, root] = [net.bridgeId('five'), net.bridgeId('trunk')];
  has(pop, tags.macTag(five, 0, mac(macOf(50))), tags.macTag(root, 5, mac(macOf(50))));
  has(pop, tags.seededMacTag(five, mac(macOf(50))), tags.bridgeLinksTag(root));
  assert.deepEqual(to(net, net.send('t1', from(1, 50, 6))), [
    'flood trunk -t1',
    'flood six vlan 0',
  ]);
  learn(net, 'trunk', 5, 51, 't1');
  learn(net, 'trunk', 6, 52, 't1');
  assert.deepEqual(to(net, net.send('vm-five', from(1, 51))), ['port t1 vlan 5']);
  assert.deepEqual(
    to(net, net.send('vm-five', from(1, 52))),
    ['flood trunk vlan 5'],
    'another VLAN',
  );
  assert.deepEqual(to(net, net.send('vm-six', from(1, 52))), ['port t1 vlan 6']);
  learn(net, 'six', 0, 53, 'vm-six');
  assert.deepEqual(to(net, net.send('vm-five', from(1, 53))), ['flood trunk vlan 5'], 'isolated');
  net.put('port', 'vm-six', { addresses: [{ mac: macOf(54) }] });
  assert.deepEqual(to(net, net.send('t2', from(1, 54, 6))), ['port vm-six vlan 0'], 'seeded');
});

test('what is down is not crossed: either end, or the bridge behind', () => {
  const open = ['flood trunk -t1', 'flood five vlan 0'];
  for (const name of ['leg-five', 'up-five']) {
    const net = trunk().put('port', name, { adminStateUp: false });
    const outcome = net.send('t1', from(1, ALL, 5));
    assert.deepEqual(to(net, outcome), ['flood trunk -t1'], name);
    has(outcome, tags.portTag(net.port(name)));
    net.put('port', name, { adminStateUp: true });
    assert.deepEqual(to(net, net.send('t1', from(1, ALL, 5))), open);
  }
  const net = trunk().put('bridge', 'five', { adminStateUp: false });
  const outcome = net.send('t1', from(1, ALL, 5));
  assert.deepEqual(to(net, outcome), ['flood trunk -t1']);
  has(outcome, tags.bridgeTag(net.bridgeId('five')));
  learn(net, 'five', 0, 50, 'vm-five');
  assert.deepEqual(to(net, net.send('t1', from(1, 50, 5))), ['flood trunk -t1']);
});

/** a, b and c, each linked to the next, with a port each. */
function ring(): Network {
  const net = new Network().bridge('a').bridge('b').bridge('c');
  for (const name of ['a', 'b', 'c'])
    net
      .bridgePort(`vm-${name}`, name)
      .bridgePort(`${name}-next`, name)
      .bridgePort(`${name}-last`, name);
  return net.link('a-next', 'b-last').link('b-next', 'c-last').link('c-next', 'a-last');
}

test('in a ring every bridge is flooded once, and a walk for somebody unknown ends', () => {
  const net = ring();
  for (const dst of [ALL, macOf(77)]) {
    const outcome = net.send('vm-a', from(1, dst));
    assert.deepEqual(to(net, outcome).toSorted(), ['flood b', 'flood c']);
  }
  learn(net, 'c', 0, 30, 'vm-c');
  for (const at of ['vm-a', 'vm-b'])
    assert.deepEqual(to(net, net.send(at, from(1, 30))), ['port vm-c'], at);
  learn(net, 'b', 0, 31, 'c-last');
  const stale = net.send('vm-a', from(1, 31));
  assert.deepEqual(to(net, stale).toSorted(), ['flood b', 'flood c'], 'a place of another bridge');
});

test('a router behind a leg: asked in the VLAN, routed from it, answered into it', () => {
  const net = trunk().router('r0').bridgePort('five-r', 'five');
  net.routerPort('r-five', 'r0', 0x11, '10.0.5.1/24').link('five-r', 'r-five');
  net.routerPort('up', 'r0', 0x12, '192.0.2.1/24').locate('up').knows('up', '192.0.2.9', 9);
  const question = `${macOf(1)} > ${ALL} vlan 5 arp who-has 10.0.5.1 tell 10.0.5.10`;
  const asked = net.send('t1', question);
  assert.deepEqual(net.sent(asked), [
    `r-five: ${macOf(0x11)} > ${macOf(1)} arp reply 10.0.5.1 is-at ${macOf(0x11)} to 10.0.5.10`,
  ]);
  assert.deepEqual(to(net, asked), ['flood trunk -t1', 'flood five vlan 0']);
  assert.deepEqual(net.send('t1', question.replace('vlan 5', 'vlan 6')).sends, []);
  learn(net, 'trunk', 5, 1, 't1');
  const answer = asked.sends[0]?.frame ?? assert.fail();
  assert.deepEqual(to(net, net.walk({ out: net.port('r-five') }, answer)), ['port t1 vlan 5']);
  const packet = `${macOf(1)} > ${macOf(0x11)} vlan 5 udp 10.0.5.10:1 > 192.0.2.9:2`;
  const routed = net.send('t1', packet);
  assert.deepEqual(to(net, routed), ['port up vlan 0']);
  assert.equal(routed.guards.decTtl, 1);
  const expired = net.send('t1', `${packet} ttl 1`);
  assert.match(
    net.sent(expired).join(),
    /^r-five: .* icmp 10\.0\.5\.1 > 10\.0\.5\.10 ttl-exceeded/,
  );
});

test('neighbours seeded in a bridge that is linked to that of the router are known', () => {
  const net = trunk().router('r0').bridgePort('five-r', 'five');
  net.routerPort('r-five', 'r0', 0x11, '10.0.5.1/24').link('five-r', 'r-five');
  net.routerPort('up', 'r0', 0x12, '192.0.2.1/24').locate('up');
  net.put('port', 't1', { addresses: [{ mac: macOf(5), ip: '10.0.5.55' }] });
  const outcome = net.send('up', `${macOf(9)} > ${macOf(0x12)} udp 192.0.2.9:1 > 10.0.5.55:2`);
  assert.deepEqual(to(net, outcome), ['port t1 vlan 5']);
  has(outcome, tags.bridgeLinksTag(net.bridgeId('five')));
});

test('a chain of very many bridges ends a flood, not the agent', () => {
  const net = new Network().bridge('b0').bridgePort('vm', 'b0').bridgePort('vm2', 'b0');
  net
    .router('r')
    .routerPort('up', 'r', 0x11, '10.0.0.1/24')
    .bridgePort('rb', 'b0')
    .link('up', 'rb');
  for (let n = 1; n <= 5_000; n++) {
    net
      .bridge(`b${n}`)
      .bridgePort(`l${n}`, `b${n - 1}`)
      .bridgePort(`m${n}`, `b${n}`);
    net.link(`l${n}`, `m${n}`);
  }
  const all = net.send('vm', `${macOf(1)} > ff:ff:ff:ff:ff:ff udp 10.0.0.9:1 > 255.255.255.255:2`);
  assert.deepEqual(all.verdict, { kind: 'drop', reason: 'flood-limit' });
  const unknown = net.send('vm', `${macOf(1)} > ${macOf(7)} udp 10.0.0.9:1 > 10.0.0.8:2`);
  assert.deepEqual(unknown.verdict, { kind: 'drop', reason: 'flood-limit' });
  const routed = `${macOf(1)} > ${macOf(0x11)} udp 10.0.0.9:1 > 10.0.0.8:2`;
  assert.equal(net.send('vm', routed).verdict.kind, 'wait');
});
