/**
 * Packets to VIPs and answers of members, at a tenant's router: choice, what stays, what is
 * refused, from inside, from outside, and from a member to itself.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ip, macOf, seen, type Fields, type Network } from '../network.fixture.ts';
import { pass, tenant } from '../nat/nat.fixture.ts';
import type { PoolMemberId, VipId } from '../ids.ts';
import type { Outcome } from '../outcome.ts';
import { covers, memberTag, type Tag } from '../tags.ts';

const OUT = `${macOf(9)} > ${macOf(0x13)}`;
const FROM_2 = `${macOf(2)} > ${macOf(0x11)}`;

/** vm1 10.0.0.1 and vm2 10.0.0.2 serve 203.0.113.80 port 80, at their port 8080. */
function balanced(vip: Fields = {}, pool: Fields = {}, chains: readonly Fields[] = []): Network {
  const net = tenant(chains, []);
  net.put('load-balancer', 'lb', { router: net.id('router', 'r'), adminStateUp: true });
  net.put('pool', 'web', {
    loadBalancer: net.id('load-balancer', 'lb'),
    adminStateUp: true,
    whenDown: 'reject',
    onMemberDown: 'rebalance',
    tableSize: 1_021,
    ...pool,
  });
  member(net, 'web1', { address: '10.0.0.1' });
  member(net, 'web2', { address: '10.0.0.2' });
  return net.put('vip', 'www', {
    loadBalancer: net.id('load-balancer', 'lb'),
    pool: net.id('pool', 'web'),
    address: '203.0.113.80',
    port: 80,
    protocol: 'tcp',
    adminStateUp: true,
    persistence: 'none',
    persistenceTimeout: 300,
    ...vip,
  });
}
const member = (net: Network, name: string, fields: Fields): Network =>
  net.put('pool-member', name, {
    pool: net.id('pool', 'web'),
    port: 8080,
    weight: 1,
    adminStateUp: true,
    ...fields,
  });
/** What checks have found; answers what is stale then. */
function health(net: Network, name: string, status: 'up' | 'down', reason = ''): readonly Tag[] {
  net.put('health-monitor', 'alive', { type: 'tcp', adminStateUp: true });
  net.put('pool', 'web', { healthMonitor: net.id('health-monitor', 'alive') });
  const id = net.id('pool-member', name);
  const object = { id, member: id, status, reason, since: 0, revision: 1 };
  return net.topology.apply({
    revision: net.topology.revision + 1,
    rows: [{ kind: 'member-health', id, put: object }],
  });
}
const ask = (net: Network, port: number, from = '198.51.100.7') =>
  pass(net, 'up', `${OUT} tcp ${from}:${port} > 203.0.113.80:80 syn`);
const memberIn = (text: string): string => / > (\S+)/.exec(text)?.[1] ?? text;

test('a client gets a member, keeps it, and is answered by the VIP', () => {
  const net = balanced();
  const chosen = new Set<string>();
  for (let port = 1_024; port < 1_064; port++) {
    const first = ask(net, port);
    chosen.add(memberIn(first.text));
    assert.equal(ask(net, port).text, first.text);
  }
  assert.deepEqual([...chosen].sort(), ['10.0.0.1:8080', '10.0.0.2:8080']);
  const { text, outcome } = ask(net, 1_024);
  const vm = memberIn(text) === '10.0.0.1:8080' ? 1 : 2;
  assert.ok(outcome.cacheable);
  const back = pass(
    net,
    `vm${vm}`,
    `${macOf(vm)} > ${macOf(0x11)} tcp 10.0.0.${vm}:8080 > 198.51.100.7:1024 syn ack`,
  );
  assert.equal(back.text, 'tcp 203.0.113.80:80 > 198.51.100.7:1024');
  assert.deepEqual(
    [...outcome.steps, ...back.outcome.steps].flatMap(({ balanced: by }) => by?.way ?? []),
    ['in', 'out'],
  );
});

test('the trace says who was chosen, by which place', () => {
  const net = balanced();
  const lines = net.text(net.send('up', `${OUT} tcp 198.51.100.7:1024 > 203.0.113.80:80 syn`));
  assert.match(lines.join('\n'), /balance www to web[12], place \d+ of 1021/);
});

test('who is down, drained or administratively down gets nothing new, and keeps what it has', () => {
  const changes: readonly ((net: Network, name: string) => void)[] = [
    (net, name) => member(net, name, { weight: 0 }),
    (net, name) => member(net, name, { adminStateUp: false }),
  ];
  for (const change of changes) {
    const net = balanced();
    const { text } = ask(net, 1_024);
    const [it, other] = memberIn(text).startsWith('10.0.0.1') ? [1, 2] : [2, 1];
    change(net, `web${it}`);
    assert.equal(ask(net, 1_024).text, text);
    for (let port = 2_000; port < 2_020; port++)
      assert.equal(memberIn(ask(net, port).text), `10.0.0.${other}:8080`);
  }
});

test('the connections of a member that is down go to another one, or stay', () => {
  for (const [onMemberDown, stays] of [
    ['rebalance', false],
    ['keep', true],
  ] as const) {
    const net = balanced({}, { onMemberDown });
    const { text } = ask(net, 1_024);
    health(net, memberIn(text).startsWith('10.0.0.1') ? 'web1' : 'web2', 'down');
    assert.equal(ask(net, 1_024).text === text, stays);
  }
});

test('a connection in progress whose member is lost is reset, from where it was', () => {
  const net = balanced();
  const { text } = ask(net, 1_024);
  const name = memberIn(text).startsWith('10.0.0.1') ? 'web1' : 'web2';
  health(net, name, 'down');
  const lost = pass(net, 'up', `${OUT} tcp 198.51.100.7:1024 > 203.0.113.80:80 ack`);
  assert.equal(lost.text, 'member-lost');
  assert.equal(lost.outcome.cacheable, false, 'a segment that opens one is decided otherwise');
  assert.match(net.sent(lost.outcome).join(), /tcp 203.0.113.80:80 > 198.51.100.7:1024 rst/);
  const broken = pass(net, 'up', `${OUT} tcp 198.51.100.7:1024 > 203.0.113.80:80 rst`);
  assert.deepEqual([broken.text, net.sent(broken.outcome)], ['member-lost', []]);
  assert.notEqual(memberIn(ask(net, 1_024).text), memberIn(text));
});

test('what checks say makes flows stale only where it moves anybody', () => {
  const net = balanced();
  const isStale = (...found: readonly ['up' | 'down', string]): boolean =>
    health(net, 'web1', ...found).includes(
      memberTag(net.id('pool-member', 'web1') as PoolMemberId),
    );
  assert.equal(isStale('up', 'status 200'), false, 'as when nothing was known');
  assert.equal(isStale('down', 'refused'), true);
  assert.equal(isStale('down', 'silent'), false, 'for another reason');
  assert.equal(isStale('up', 'status 200'), true);
});

test('nobody is left: the client is told, or not, or the backup serves', () => {
  const net = balanced();
  for (const name of ['web1', 'web2']) member(net, name, { adminStateUp: false });
  const told = ask(net, 1_024);
  assert.equal(told.text, 'no-member');
  assert.match(net.sent(told.outcome).join(), /tcp 203.0.113.80:80 > 198.51.100.7:1024/);
  net.put('pool', 'web', { whenDown: 'drop' });
  const dropped = ask(net, 1_025);
  assert.equal(dropped.text, 'no-member');
  assert.deepEqual(net.sent(dropped.outcome), []);
  net.put('pool', 'sorry', {
    loadBalancer: net.id('load-balancer', 'lb'),
    adminStateUp: true,
    whenDown: 'reject',
    onMemberDown: 'rebalance',
    tableSize: 1_021,
  });
  net.put('pool-member', 'sorry1', {
    pool: net.id('pool', 'sorry'),
    address: '10.0.0.2',
    port: 9_090,
    weight: 1,
    adminStateUp: true,
  });
  net.put('pool', 'web', { backupPool: net.id('pool', 'sorry') });
  assert.equal(memberIn(ask(net, 1_026).text), '10.0.0.2:9090');
  net.put('vip', 'www', { adminStateUp: false });
  assert.equal(ask(net, 1_027).text, 'vip-down');
  assert.equal(memberIn(ask(net, 1_026).text), '10.0.0.2:9090');
});

test('a client beside the member is answered by the VIP, too: the member sees the router', () => {
  const net = balanced();
  member(net, 'web1', { adminStateUp: false });
  // vm2 asks the VIP and gets itself.
  const { text } = pass(net, 'vm2', `${FROM_2} tcp 10.0.0.2:5000 > 203.0.113.80:80 syn`);
  const port = Number(/^tcp 10\.0\.0\.254:(\d+) > 10\.0\.0\.2:8080$/.exec(text)?.[1]);
  assert.ok(port >= 1_024, text);
  const back = pass(net, 'vm2', `${FROM_2} tcp 10.0.0.2:8080 > 10.0.0.254:${port} syn ack`);
  assert.equal(back.text, 'tcp 203.0.113.80:80 > 10.0.0.2:5000');
  // So does vm1, which is in the same network.
  const beside = pass(net, 'vm1', 'tcp 10.0.0.1:5000 > 203.0.113.80:80 syn');
  assert.match(beside.text, /^tcp 10\.0\.0\.254:\d+ > 10\.0\.0\.2:8080$/);
});

test('filters see a VIP as clients do, and can keep them from it', () => {
  const net = balanced({}, {}, [
    { action: 'drop', destination: '203.0.113.80/32', source: '198.51.100.66/32' },
  ]);
  assert.equal(ask(net, 1_024, '198.51.100.66').text, 'filter-drop');
  assert.match(ask(net, 1_024).text, /10\.0\.0\.[12]:8080/);
});

test('a VIP in a network of the router: it answers ARP and echo requests for it', () => {
  const net = balanced({ address: '10.0.0.80' });
  const asked = net.send(
    'vm1',
    `${macOf(1)} > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.80 tell 10.0.0.1`,
  );
  assert.match(net.sent(asked).join(), /r-blue: .*10\.0\.0\.80 is-at 02:00:00:00:00:11/);
  const echo = net.send('vm1', 'icmp 10.0.0.1 > 10.0.0.80 echo id 7 seq 1');
  assert.match(net.sent(echo).join(), /icmp 10\.0\.0\.80 > 10\.0\.0\.1 reply/);
  const closed = net.send('vm1', 'tcp 10.0.0.1:5000 > 10.0.0.80:81 syn');
  assert.deepEqual(closed.verdict, { kind: 'drop', reason: 'local-refused' });
});

test('a client that is remembered gets its member; a limit of sessions holds', () => {
  const net = balanced({ persistence: 'source-ip' });
  const chosen = new Set<string>();
  for (let port = 1_024; port < 1_064; port++) chosen.add(memberIn(ask(net, port).text));
  assert.equal(chosen.size, 1);
  const [now] = chosen;
  const other = now === '10.0.0.1:8080' ? 'web2' : 'web1';
  let asked: VipId | undefined;
  net.balancing = {
    memberOf: (vip) => {
      asked = vip;
      return net.id('pool-member', other);
    },
    sessions: () => 5,
  };
  assert.notEqual(memberIn(ask(net, 3_000).text), now);
  assert.equal(asked, net.id('vip', 'www'));
  net.put('vip', 'www', { sessionLimit: 5 });
  assert.equal(ask(net, 3_001).text, 'session-limit');
  net.put('vip', 'www', { sessionLimit: 6 });
  assert.match(ask(net, 3_001).text, /10\.0\.0\.[12]:8080/);
});

test('UDP and IPv6 are balanced alike', () => {
  const net = balanced({ protocol: 'udp' });
  const { text } = pass(net, 'up', `${OUT} udp 198.51.100.7:53 > 203.0.113.80:80`);
  assert.match(text, /^udp 198\.51\.100\.7:53 > 10\.0\.0\.[12]:8080$/);
  assert.equal(ask(net, 1_024).text, 'local-refused');
  net.put('port', 'r-blue', { networks: ['10.0.0.254/24', 'fd00::254/64'] });
  net.put('pool', 'six', {
    loadBalancer: net.id('load-balancer', 'lb'),
    adminStateUp: true,
    whenDown: 'reject',
    onMemberDown: 'keep',
    tableSize: 1_021,
  });
  net.put('vip', 'six', {
    loadBalancer: net.id('load-balancer', 'lb'),
    pool: net.id('pool', 'six'),
    address: 'fd00::80',
    port: 80,
    protocol: 'tcp',
    adminStateUp: true,
    persistence: 'none',
  });
  net.put('pool-member', 'six1', {
    pool: net.id('pool', 'six'),
    address: 'fd00::2',
    port: 80,
    weight: 1,
    adminStateUp: true,
  });
  net.knows('r-blue', 'fd00::2', 2);
  const six = net.send('vm1', 'tcp [fd00::1]:5000 > [fd00::80]:80 syn');
  assert.equal(six.rewrites.ipDst, ip('fd00::2'));
  assert.equal(six.rewrites.ipSrc, ip('fd00::254'));
});

test('who becomes a member, or a VIP, has no flow left of before', () => {
  const net = balanced();
  const outwards = net.send('vm2', `${FROM_2} udp 10.0.0.9:5000 > 198.51.100.7:53`);
  const inwards = net.send('up', `${OUT} tcp 198.51.100.7:53 > 203.0.113.81:80 syn`);
  const covered = (of: Outcome): boolean =>
    net.changed.some((tag) => of.tags.some((held) => covers(tag, held)));
  member(net, 'web3', { address: '10.0.0.9' });
  assert.deepEqual([covered(outwards), covered(inwards)], [true, false]);
  const www = { loadBalancer: net.id('load-balancer', 'lb'), pool: net.id('pool', 'web') };
  const more = { address: '203.0.113.81', port: 80, protocol: 'tcp', adminStateUp: true };
  net.put('vip', 'more', { ...www, ...more, persistence: 'none' });
  assert.deepEqual([covered(outwards), covered(inwards)], [false, true]);
});

test('who is no client of a VIP costs no more than his addresses', () => {
  const net = balanced();
  const passing = net.send('up', `${OUT} udp 198.51.100.7:53 > 10.0.0.1:5000`);
  assert.ok(!seen(passing).includes('tp'), seen(passing));
  // What a member asks of others is asked for its port: it may be an answer.
  const asking = net.send('vm1', 'udp 10.0.0.1:5000 > 198.51.100.7:53');
  assert.ok(!seen(asking).includes('tpDst'), seen(asking));
});

test('what comes from where a member serves may be an answer that came before its record', () => {
  const net = balanced();
  const early = net.send('vm1', 'tcp 10.0.0.1:8080 > 198.51.100.7:1024 syn ack');
  assert.equal(early.unserved, true);
  const own = net.send('vm1', 'tcp 10.0.0.1:5000 > 198.51.100.7:443 syn');
  assert.equal(own.unserved, undefined);
});
