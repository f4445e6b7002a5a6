/** The other ends of the tunnel: their numbers, and an underlay of either family. */
import assert from 'node:assert/strict';
import type { DpPeer } from '#flow/flow.ts';
import { LIMITS } from '#flow/layout.ts';
import { UNSPECIFIED4, type Ip4 } from '#net/ip.ts';
import { FLOOD_KEY, hex, keyOf, ours, PORT_KEY, REMOTE, REMOTE6, STRANGER, udp } from './frames.ts';
import type { Case } from './rig.ts';

const numbered = (n: number): Ip4 => (0x0a000000 + n) as Ip4;

export const PEERS: { readonly [what: string]: Case } = {
  'an address has one number, and a number one address': async (rig) => {
    const six = rig.dp.addPeer(REMOTE6);
    assert.equal(new Set([rig.remote, rig.stranger, six]).size, 3);
    assert.equal(rig.dp.addPeer(REMOTE6), six);
    assert.equal(rig.dp.addPeer(REMOTE), rig.remote);
    assert.deepEqual(rig.dp.peers(), [
      { peer: rig.remote, address: REMOTE },
      { peer: rig.stranger, address: STRANGER },
      { peer: six, address: REMOTE6 },
    ]);
    assert.throws(() => rig.dp.addPeer(UNSPECIFIED4), /no peer/);
    await rig.settled(rig.a);
  },

  'a number that became free is the last to be given again': async (rig) => {
    const free = rig.dp.addPeer(numbered(0));
    rig.dp.removePeer(free);
    rig.dp.removePeer(free);
    const given: DpPeer[] = [];
    const room = LIMITS.PEERS_MAX - rig.dp.peers().length;
    for (let n = 1; n <= room; n++) given.push(rig.dp.addPeer(numbered(n)));
    assert.equal(given.indexOf(free), room - 1);
    assert.throws(() => rig.dp.addPeer(numbered(0)), /no room for peer 10.0.0.0: there are 4096/);
    assert.equal(rig.dp.addPeer(numbered(1)), given[0], 'who has one keeps it');
    rig.dp.removePeer(given[5] ?? free);
    assert.equal(rig.dp.addPeer(numbered(0)), given[5]);
    await rig.settled(rig.a);
  },

  'frames go to a host behind IPv6, alone and in a flood': async (rig) => {
    const six = rig.dp.addPeer(REMOTE6);
    rig.install({ port: rig.a }, udp(), { outputs: [{ key: PORT_KEY, remote: six }] });
    const flood = [rig.remote, six].map((remote) => ({ key: FLOOD_KEY, remote }));
    rig.install({ port: rig.b }, udp(), { outputs: [{ port: rig.c }, ...flood] });
    await rig.send(rig.a, udp());
    const frame = hex(udp());
    assert.deepEqual(await rig.tunnelled(1), [{ remote: REMOTE6, key: PORT_KEY, frame }]);
    await rig.send(rig.b, udp());
    const sent = (await rig.tunnelled(2)).toSorted(
      (x, y) => Number(x.remote === REMOTE6) - Number(y.remote === REMOTE6),
    );
    assert.deepEqual(sent, [
      { remote: REMOTE, key: FLOOD_KEY, frame },
      { remote: REMOTE6, key: FLOOD_KEY, frame },
    ]);
    assert.deepEqual(await rig.left(rig.c, 1), [frame]);
  },

  'frames come from hosts behind IPv6 that are allowed, and are known by their number': async (
    rig,
  ) => {
    const six = rig.dp.addPeer(REMOTE6);
    rig.dp.setKey({ key: PORT_KEY, port: rig.b, network: FLOOD_KEY });
    for (const key of [PORT_KEY, FLOOD_KEY]) await rig.arrive(REMOTE6, key, udp());
    await rig.dropped('unknown-sender', 2);
    rig.dp.allowSender(six, FLOOD_KEY);
    await rig.arrive(REMOTE6, PORT_KEY, udp());
    assert.deepEqual(await rig.left(rig.b, 1), [hex(udp())]);
    await rig.arrive(REMOTE6, FLOOD_KEY, udp());
    const entry = { port: rig.dp.tunnelPort, tunnel: { key: FLOOD_KEY, source: six } };
    const upcall = await rig.upcall();
    assert.deepEqual(upcall.entry, entry);
    assert.equal(hex(upcall.key), hex(keyOf(entry, udp())));
    rig.install(entry, udp(), { outputs: [{ port: rig.c }] });
    await rig.arrive(REMOTE6, FLOOD_KEY, udp());
    assert.deepEqual(await rig.left(rig.c, 1), [hex(udp())]);
    // The same four bytes as an IPv4 address are another host.
    await rig.arrive(REMOTE, FLOOD_KEY, udp());
    await rig.dropped('unknown-sender', 3);
  },

  'nobody sends to, or hears, a peer that was removed': async (rig) => {
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    const outputs = [rig.remote, rig.stranger].map((remote) => ({ key: FLOOD_KEY, remote }));
    rig.install({ port: rig.a }, udp(), { outputs });
    rig.install({ port: rig.b }, udp(), { outputs: outputs.slice(0, 1) });
    rig.dp.removePeer(rig.remote);
    assert.deepEqual(rig.dp.senders(), []);
    assert.throws(() => rig.dp.allowSender(rig.remote, FLOOD_KEY), /there is no peer/);
    await rig.arrive(REMOTE, FLOOD_KEY, udp());
    await rig.dropped('unknown-sender', 1);
    await rig.send(rig.a, udp());
    const frame = hex(udp());
    assert.deepEqual(await rig.tunnelled(1), [{ remote: STRANGER, key: FLOOD_KEY, frame }]);
    await rig.dropped('not-located', 1);
    await rig.send(rig.b, udp());
    await rig.dropped('not-located', 2);
    const sent = await rig.bench.tunnelled();
    assert.deepEqual(
      sent.filter((each) => ours(each.frame)),
      [],
    );
  },
};
