/**
 * What a member answers to a client of a VIP, while the host of that client has not told of the
 * connection: its agent died just after it opened it, or its word is lost.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '#agent/limits.ts';
import type { Ip4 } from '#net/ip.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId } from '#virtual/ids.ts';
import { Cluster, row, type Transmission } from './cluster.ts';
import { id } from './laws.script.ts';
import type { Fate } from './world-records.ts';

const HOSTS = [0, 1].map((n) => ({ id: id(3, n) as HostId, address: (0xac100001 + n) as Ip4 }));
const [FRONT, BACK, ROUTER] = [id(1, 1), id(1, 2), id(5, 1)];
const VIP = '192.0.2.1';
const CLIENT = { ip: '10.0.1.2', mac: '02:00:00:00:01:02', index: 100, host: 0 };
const MEMBER = { ip: '10.0.2.2', mac: '02:00:00:00:02:02', index: 200, host: 1 };
const MACS = { front: '02:00:00:00:01:01', back: '02:00:00:00:02:01' };
const TICK_MS = 500;

const bridge = (own: string, name: string, floodKey: number): RowChange =>
  row('bridge', { id: own, name, adminStateUp: true, floodKey });
function link(n: number, of: string, mac: string, network: string): RowChange[] {
  const [near, far] = [id(2, n), id(2, n + 1)];
  const end = { type: 'bridge', bridge: of, hairpin: false, addresses: [], peer: far };
  const own = { type: 'router', router: ROUTER, mac, networks: [network], peer: near };
  return [
    row('port', { id: near, name: `b${n}`, adminStateUp: true, ...end }),
    row('port', { id: far, name: `r${n}`, adminStateUp: true, ...own }),
  ];
}
const vm = (n: number, of: string, { ip, mac, host }: typeof CLIENT): RowChange =>
  row('port', {
    ...{ id: id(2, n), name: `vm${n}`, adminStateUp: true, type: 'bridge', bridge: of },
    ...{ hairpin: false, host: HOSTS[host]?.id, interface: `vm${n}`, addresses: [{ mac, ip }] },
  });

/** A client and a member on two hosts, a router with a VIP between them. */
function cluster(fate: () => Fate): Cluster {
  const c = new Cluster({ hosts: HOSTS, caching: true, records: fate });
  const members = HOSTS.map(({ id: host }, i) => ({ host, address: `172.16.0.${i + 1}` }));
  const [lb, pool] = [id(6, 1), id(6, 2)];
  c.change([
    ...HOSTS.map(({ id: own }, i) => row('host', { id: own, name: `h${i}` })),
    row('tunnel-zone', { id: id(4, 1), name: 'z', protocol: 'geneve', members }),
    ...[bridge(FRONT, 'front', 0x800001), bridge(BACK, 'back', 0x800002)],
    row('router', { id: ROUTER, name: 'r', adminStateUp: true, networkKey: 0x800009 }),
    ...link(10, FRONT, MACS.front, '10.0.1.1/24'),
    ...link(12, BACK, MACS.back, '10.0.2.1/24'),
    ...[vm(1, FRONT, CLIENT), vm(2, BACK, MEMBER)],
    row('load-balancer', { id: lb, name: 'lb', router: ROUTER, adminStateUp: true }),
    row('pool', {
      ...{ id: pool, name: 'web', loadBalancer: lb, adminStateUp: true, whenDown: 'reject' },
      ...{ onMemberDown: 'rebalance', tableSize: 1_021 },
    }),
    row('pool-member', {
      ...{ id: id(6, 3), name: 'm', pool, address: MEMBER.ip, port: 8080, weight: 1 },
      adminStateUp: true,
    }),
    row('vip', {
      ...{ id: id(6, 4), name: 'www', loadBalancer: lb, pool, address: VIP, port: 80 },
      ...{ protocol: 'tcp', adminStateUp: true, persistence: 'none', persistenceTimeout: 300 },
    }),
  ]);
  for (const host of HOSTS.keys()) c.interfaces(host, interfacesOf(host));
  // Agents get to know each other.
  for (let i = 0; i < 8; i++) c.advance(TICK_MS);
  return c;
}
const interfacesOf = (host: number) =>
  [CLIENT, MEMBER]
    .map(({ host: at, index }, i) => ({ at, name: `vm${i + 1}`, index }))
    .filter(({ at }) => at === host);

const bytes = (text: string): Uint8Array => {
  const frame = parseFrameText(text);
  assert.ok(frame instanceof Uint8Array, JSON.stringify(frame));
  return frame;
};
const OPEN = `${CLIENT.mac} > ${MACS.front} tcp ${CLIENT.ip}:1024 > ${VIP}:80`;
const answer = (flags: string, port = 1024): string =>
  `${MEMBER.mac} > ${MACS.back} tcp ${MEMBER.ip}:8080 > ${CLIENT.ip}:${port} ${flags}`;
/** Who got what. */
const told = (all: readonly Transmission[]): string[] =>
  all.map(({ port, frame }) => {
    const [, from = '', flags = ''] = / tcp (\S+) > \S+ (ack|syn ack)/.exec(describeFrame(frame))!;
    return `${port === CLIENT.index ? 'client' : 'member'} from ${from} ${flags}`;
  });
const ofVip = [`client from ${VIP}:80 syn ack`];

test('the answer to a new connection waits for the word of the host that opened it', () => {
  let fate: Fate = 'now';
  const c = cluster(() => fate);
  fate = 'lost';
  assert.equal(c.send(0, CLIENT.index, bytes(OPEN)).length, 1, 'the member gets it');
  c.restart(0, interfacesOf(0));
  for (let tries = 0; tries < 3; tries++) {
    assert.deepEqual(told(c.send(1, MEMBER.index, bytes(answer('syn ack')))), []);
    assert.deepEqual(told(c.advance(TICK_MS)), [], 'nobody has answered');
  }
  fate = 'now';
  for (let i = 0; i < 8; i++) assert.deepEqual(told(c.advance(TICK_MS)), []);
  const at = c.send(1, MEMBER.index, bytes(answer('syn ack')));
  assert.deepEqual([...told(at), ...told(c.advance(TICK_MS))], ofVip, 'it comes from the VIP');
  assert.deepEqual(c.wrongFlows(), []);
});

test('a member that has asked too much tells its clients nothing that lasts', () => {
  let fate: Fate = 'now';
  const c = cluster(() => fate);
  fate = 'lost';
  let port = 2_000;
  // No more wait at a time than so many; each time some of the budget comes back.
  for (let rounds = 0; rounds < 12; rounds++) {
    for (let i = 0; i < LIMITS.parkedPerSourceMax; i++)
      c.send(1, MEMBER.index, bytes(answer('syn ack', port++)));
    if (rounds < 11) c.advance(TICK_MS);
  }
  c.send(0, CLIENT.index, bytes(OPEN));
  const at = told(c.send(1, MEMBER.index, bytes(answer('syn ack'))));
  assert.deepEqual(at, [`client from ${MEMBER.ip}:8080 syn ack`], 'as it is: nobody was asked');
  fate = 'now';
  for (let i = 0; i < 8; i++) c.advance(TICK_MS);
  assert.equal(c.send(0, CLIENT.index, bytes(OPEN)).length, 1, 'the member gets it again');
  const again = told(c.send(1, MEMBER.index, bytes(answer('syn ack'))));
  assert.deepEqual([...again, ...told(c.advance(TICK_MS))], ofVip, 'and it comes from the VIP');
});

test('who asks a member itself is answered by it, when nobody knows of another connection', () => {
  let fate: Fate = 'now';
  const c = cluster(() => fate);
  const open = `${CLIENT.mac} > ${MACS.front} tcp ${CLIENT.ip}:1024 > ${MEMBER.ip}:8080`;
  const ofMember = (flags: string): string[] => [`client from ${MEMBER.ip}:8080 ${flags}`];
  assert.equal(c.send(0, CLIENT.index, bytes(open)).length, 1);
  const at = told(c.send(1, MEMBER.index, bytes(answer('syn ack'))));
  assert.deepEqual([...at, ...told(c.advance(TICK_MS))], ofMember('syn ack'));
  fate = 'lost';
  const later = told(c.send(1, MEMBER.index, bytes(answer('ack data 00'))));
  assert.deepEqual([...later, ...told(c.advance(TICK_MS))], ofMember('ack'), 'it goes on');
});
