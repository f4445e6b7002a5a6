/** What is kept says what would be made, and there is a bound to it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import type { BridgeId, PortId, RouterId } from './ids.ts';
import { ip, mac, macOf, routed } from './network.fixture.ts';
import { READY_MAX, ReadyBridge, ReadyPort, ReadyRoom, ReadyRouter } from './ready.ts';
import * as tags from './tags.ts';

const P = 'p' as PortId;
const B = 'b' as BridgeId;
const R = 'r' as RouterId;

test('tags are those that tags.ts makes, however often they are asked for', () => {
  const room = new ReadyRoom();
  const [port, bridge, router] = [
    new ReadyPort(P, room),
    new ReadyBridge(B, room),
    new ReadyRouter(R, room),
  ];
  const [m, n, to] = [mac(macOf(1)), mac(macOf(2)), ip('fd00::1')];
  for (let round = 0; round < 2; round++) {
    assert.deepEqual(
      [port.tag, port.binding, port.location, port.neighbour(to).tag],
      [tags.portTag(P), tags.bindingTag(P), tags.locationTag(P), tags.neighbourTag(P, to)],
    );
    assert.deepEqual(
      [bridge.tag, bridge.links, bridge.flood, bridge.seeds, bridge.seededIp(to)],
      [
        tags.bridgeTag(B),
        tags.bridgeLinksTag(B),
        tags.floodTag(B),
        tags.seedsTag(B),
        tags.seededIpTag(B, to),
      ],
    );
    for (const each of [m, n])
      for (const vlan of [0, 5, 0]) {
        assert.equal(bridge.mac(each).learned(vlan), tags.macTag(B, vlan, each));
        assert.equal(bridge.mac(each).seeded, tags.seededMacTag(B, each));
      }
    assert.deepEqual(
      [router.tag, router.ports, router.destination(to)],
      [tags.routerTag(R), tags.routerPortsTag(R), tags.destinationTag(R, to)],
    );
  }
});

test('a neighbour that moves to another MAC is sent to there', () => {
  const neighbour = new ReadyPort(P, new ReadyRoom()).neighbour(ip('10.0.0.1'));
  const details = [1, 1, 2, 1].map((n) => neighbour.send(mac(macOf(n))).detail);
  const at = (n: number): string => `10.0.0.1 at ${macOf(n)}`;
  assert.deepEqual(details, [at(1), at(1), at(2), at(1)]);
});

test('what depends on packets is bounded for all objects together', () => {
  const room = new ReadyRoom();
  const bridges = [new ReadyBridge(B, room), new ReadyBridge('c' as BridgeId, room)];
  const router = new ReadyRouter(R, room);
  const kept = bridges[0]!.mac(0 as Mac);
  assert.equal(bridges[0]!.mac(0 as Mac), kept, 'kept while there is room');
  for (let n = 1; n <= READY_MAX; n++) {
    bridges[n % 2]!.mac((2 ** 40 + n) as Mac);
    router.destination(n as Ip);
    assert(room.used <= READY_MAX);
  }
  assert.notEqual(bridges[0]!.mac(0 as Mac), kept, 'and then made anew');
});

test('two walks of the same way take the very same steps', () => {
  const net = routed().knows('r0red', '10.0.1.10', 1);
  const walk = () => net.send('vm1', 'udp 10.0.1.10:1 > 10.0.2.10:2');
  walk();
  const [a, b] = [walk(), walk()];
  const made = a.steps.filter((step, i) => step !== b.steps[i]).map(({ did }) => did);
  assert.deepEqual(made, ['learn'], 'all but what is said of a packet');
  assert.equal(a.verdict, b.verdict);
});
