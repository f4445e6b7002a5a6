/**
 * The MTU of ways and interfaces: flows follow it, what is too big is told, cut or dropped; and the
 * numbers of hosts that went away.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DpPeer, TunnelKey } from '#flow/flow.ts';
import { checksum } from '#net/checksum.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { describeFrame } from '#net/text.ts';
import { ERRORS_BURST } from '#virtual/state/error-budget.ts';
import {
  bridge,
  frame,
  host,
  HOST,
  location,
  OneHost,
  OTHER,
  port,
  uuid,
  zone,
} from './edge.fixture.ts';

const RED = 1;
const NEAR = '02:00:00:00:00:01';
const FAR = '02:00:00:00:00:02';
const THERE = '172.16.0.2';
const zoneAt = (address: string) =>
  zone({ [HOST]: address.includes(':') ? 'fd16::1' : '172.16.0.1', [OTHER]: address });
const rows = (there = THERE) => [
  host(HOST),
  host(OTHER),
  zoneAt(there),
  bridge(RED),
  port(1, RED, 'a'),
  location(1, 7),
  port(2, RED, 'z', OTHER),
  location(2, 8, OTHER),
  port(3, RED, 'c'),
  location(3, 9),
];
/** IPv4 that must not be cut. */
function df(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer);
  view.setUint16(20, view.getUint16(20) | 0x4000);
  view.setUint16(24, 0);
  view.setUint16(24, checksum(bytes, 14, 34));
  return bytes;
}
/** UDP in one packet of so many bytes. */
const packet = (size: number, to = FAR, from = '10.0.0.1'): Uint8Array =>
  frame(`${NEAR} > ${to} udp ${from}:7 > 10.0.0.2:8 length ${size - 28}`);
const packet6 = (size: number): Uint8Array =>
  frame(`${NEAR} > ${FAR} udp [fd00::1]:7 > [fd00::2]:8 length ${size - 48}`);

/** A host with ports on two interfaces, which knows that FAR is behind another host. */
class Near extends OneHost {
  readonly #sent: Uint8Array[] = [];
  /** What left by interfaces because of the last frame. */
  told: string[] = [];

  constructor(pathMtu: number | undefined, there = THERE) {
    super();
    this.pathMtu = pathMtu;
    this.datapath.onTunnel((_, __, bytes) => this.#sent.push(bytes.slice()));
    this.begin(rows(there), { a: 1, c: 3 });
    this.learned([{ bridge: uuid(1, RED), vlan: 0, mac: FAR, port: uuid(2, 2) }]);
    this.tunnelled(packet(100));
  }
  /** Lets a frame enter; the sizes of the packets that leave by the tunnel. */
  tunnelled(bytes: Uint8Array): number[] {
    this.arrive(1, bytes);
    this.told = this.carried().map((each) => describeFrame(each.frame));
    return this.#sent.splice(0).map((each) => each.length - 14);
  }
}
const withFar = (pathMtu: number | undefined, there?: string) => new Near(pathMtu, there);
const dropsOf = (one: OneHost): number => one.edge.state().counters.drops['too-big'] ?? 0;
const mtusOf = (one: OneHost) => one.datapath.dump().map(({ flow }) => flow.actions.mtu);

test('a way takes 50 bytes from its MTU over IPv4 and 70 over IPv6, and 4 more for a tag', () => {
  assert.deepEqual(mtusOf(withFar(1500)), [1450]);
  assert.deepEqual(mtusOf(withFar(1500, 'fd16::2')), [1430]);
  assert.deepEqual(mtusOf(withFar(undefined)), [undefined]);
  const one = withFar(1500);
  one.learned([0, 5].map((vlan) => ({ bridge: uuid(1, RED), vlan, mac: FAR, port: uuid(2, 2) })));
  one.arrive(1, frame(`${NEAR} > ${FAR} vlan 5 udp 10.0.0.1:7 > 10.0.0.2:8`));
  one.pump();
  assert.deepEqual(mtusOf(one).toSorted(), [1446, 1450]);
});

test('what fits goes whole, what may be cut in pieces that fit', () => {
  const one = withFar(1500);
  assert.deepEqual(one.tunnelled(packet(1450)), [1450]);
  assert.deepEqual(one.tunnelled(packet(1451)), [1444, 27]);
  assert.deepEqual(one.told, []);
  const { cut } = one.edge.state().counters;
  assert.deepEqual([cut, dropsOf(one)], [1, 0]);
});

test('who must not be cut is told what fits, as from where it sent to', () => {
  const one = withFar(1500);
  assert.deepEqual(one.tunnelled(df(packet(1451))), []);
  assert.equal(one.told.length, 1);
  const back4 = `${FAR} > ${NEAR} icmp 10.0.0.2 > 10.0.0.1 frag-needed mtu 1450 `;
  assert.equal(one.told[0]?.slice(0, back4.length), back4);
  assert.deepEqual(one.tunnelled(packet6(1451)), []);
  assert.equal(one.told.length, 1);
  const back6 = `${FAR} > ${NEAR} icmp6 fd00::2 > fd00::1 too-big mtu 1450 `;
  assert.equal(one.told[0]?.slice(0, back6.length), back6);
  assert.equal(dropsOf(one), 2);
});

test('the first packet of a flow is looked at like those after it', () => {
  const one = withFar(1500);
  const other = (size: number): Uint8Array => df(packet(size, FAR, '10.0.0.9'));
  one.advance(1);
  one.change(zoneAt('172.16.0.3'));
  one.arrive(1, other(100));
  one.arrive(1, other(1451));
  one.carried();
  assert.equal(dropsOf(one), 1, 'a flow decided a moment ago does not take it along');
});

test('a flow follows the MTU of its way, and of its interface', () => {
  const one = withFar(1500);
  one.pathMtu = 1400;
  assert.deepEqual(one.tunnelled(packet(1450)), [1450], 'until the agent asks again');
  one.advance(500);
  assert.deepEqual(one.tunnelled(packet(1350)), [1350]);
  assert.deepEqual(one.tunnelled(packet(1351)), [1348, 23]);
  one.learned([{ bridge: uuid(1, RED), vlan: 0, mac: FAR, port: uuid(2, 3) }]);
  one.mtus = { a: 1500, c: 1300 };
  one.interfaces({ a: 1, c: 3 });
  one.arrive(1, packet(100));
  one.pump();
  assert.deepEqual(mtusOf(one), [1300]);
  one.mtus = { a: 1500, c: 1200 };
  one.interfaces({ a: 1, c: 3 });
  one.arrive(1, df(packet(1201)));
  assert.match(
    one
      .carried()
      .map((each) => describeFrame(each.frame))
      .join(),
    /1200/,
  );
});

test('a flood follows the MTU of its ways, too', () => {
  const one = withFar(1500);
  const flood = (size: number): number[] => one.tunnelled(packet(size, 'ff:ff:ff:ff:ff:ff'));
  assert.deepEqual(flood(1450), [1450]);
  one.pathMtu = 1400;
  one.advance(500);
  assert.deepEqual(flood(1450), [1348, 122]);
  one.pathMtu = 1600;
  one.advance(500);
  assert.deepEqual(flood(1450), [1450]);
});

test('the interface of a port elsewhere counts, as its host has told', () => {
  const one = withFar(9000);
  assert.deepEqual(mtusOf(one), [8950]);
  const row = location(2, 8, OTHER);
  one.change({ ...row, put: { ...row.put, mtu: 1400 } as never });
  assert.deepEqual(one.tunnelled(packet(1400)), [1400]);
  assert.deepEqual(mtusOf(one), [1400]);
});

test('a host tells the MTU of its interfaces with where its ports are', () => {
  const one = new OneHost();
  one.mtus = { a: 1400 };
  one.begin(rows(), { a: 1, c: 3 });
  const told = one.edge.state().locate.map((each) => [each.port, each.mtu]);
  assert.deepEqual(told.toSorted(), [
    [uuid(2, 1), 1400],
    [uuid(2, 3), undefined],
  ]);
});

test('of a flood, whom it fits get it whole; nobody is told of the others', () => {
  const one = withFar(1500);
  const everybody = 'ff:ff:ff:ff:ff:ff';
  assert.deepEqual(one.tunnelled(packet(1500, everybody)), [1444, 76]);
  assert.equal(one.told.length, 1);
  assert.deepEqual(one.tunnelled(df(packet(1500, everybody))), []);
  assert.equal(one.told.length, 1, 'the port here');
  assert.equal(dropsOf(one), 1);
});

test('what is no IP, and what came from another host, is dropped without a word', () => {
  const one = withFar(1500);
  one.mtus = { a: 1400, c: 1400 };
  one.interfaces({ a: 1, c: 3 });
  const from = parseIp(THERE) as Ip;
  const big = df(packet(1401, 'ff:ff:ff:ff:ff:ff'));
  one.datapath.receiveTunnel(from, (0x800000 + RED) as TunnelKey, big);
  assert.deepEqual(one.carried(), []);
  assert.equal(dropsOf(one), 1);
  const may = packet(1401, 'ff:ff:ff:ff:ff:ff');
  one.datapath.receiveTunnel(from, (0x800000 + RED) as TunnelKey, may);
  const sizes = one.carried().map((each) => each.frame.length - 14);
  assert.deepEqual(
    sizes.toSorted((a, b) => a - b),
    [25, 25, 1396, 1396],
  );
});

test('errors are paid for like those of routers', () => {
  const one = withFar(1500);
  let told = 0;
  for (let n = 0; n < ERRORS_BURST + 10; n++) {
    one.tunnelled(df(packet(1451)));
    told += one.told.length;
  }
  assert.equal(told, ERRORS_BURST);
  assert.equal(dropsOf(one), ERRORS_BURST + 10);
});

test('no error is about an error', () => {
  const one = withFar(1500);
  const error = frame(`${NEAR} > ${FAR} icmp 10.0.0.1 > 10.0.0.2 host-unreachable`);
  const large = new Uint8Array(14 + 1451);
  large.set(error);
  new DataView(large.buffer).setUint16(16, 1451);
  assert.deepEqual(one.tunnelled(df(large)), []);
  assert.deepEqual(one.told, []);
  assert.equal(dropsOf(one), 1);
});

test('the number of a host that no zone joins any more goes, after its flows', () => {
  const one = withFar(1500);
  const before = one.datapath.peers();
  assert.equal(before.length, 1);
  const removed: number[] = [];
  const { removePeer } = one.datapath;
  one.datapath.removePeer = (peer: DpPeer) => {
    const naming = one.datapath
      .dump()
      .flatMap(({ flow }) => flow.actions.outputs)
      .filter((output) => 'remote' in output && output.remote === peer);
    assert.deepEqual(naming, []);
    removed.push(peer);
    removePeer.call(one.datapath, peer);
  };
  const flood = frame(`${FAR} > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.9 tell 10.0.0.2`);
  one.datapath.receiveTunnel(parseIp(THERE) as Ip, (0x800000 + RED) as TunnelKey, flood);
  one.pump();
  assert.equal(one.edge.state().counters.flowsNow, 2);
  one.change(zoneAt('172.16.0.3'));
  assert.deepEqual(removed, [before[0]?.peer]);
  assert.equal(one.edge.state().counters.flowsNow, 0);
  one.change(zone({ [HOST]: '172.16.0.1', [OTHER]: 'fd16::2' }));
  assert.deepEqual(one.datapath.peers(), [], 'addresses of two families do not reach each other');
  assert.deepEqual(one.edge.wrongFlows(), []);
});
