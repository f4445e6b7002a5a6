/** What flows, keys and actions do to frames. */
import assert from 'node:assert/strict';
import type { TunnelKey } from '#flow/flow.ts';
import { EXACT } from '#flow/mask.ts';
import { fieldSet } from '#virtual/match.ts';
import {
  FLOOD_KEY,
  hex,
  keyOf,
  mac,
  marker,
  ours,
  PORT_KEY,
  put,
  REMOTE,
  STRANGER,
  to,
  udp,
} from './frames.ts';
import type { Case } from './rig.ts';

export const FORWARDING: { readonly [what: string]: Case } = {
  'a frame without a flow is handed up whole, with its key': async (rig) => {
    const arp = udp();
    put(arp, 12, 0x0806_0001, 4);
    put(arp, 16, 0x0800_0604, 4);
    put(arp, 20, 1, 2);
    const v6 = udp();
    put(v6, 12, 0x86dd_60a0, 4);
    const frames = [udp(), udp({ vlan: 0x6005 }), udp({ vlan: 0 }), arp, v6, marker(1)];
    for (const frame of frames) {
      await rig.send(rig.b, frame);
      const upcall = await rig.upcall();
      assert.equal(hex(upcall.frame), hex(frame));
      assert.equal(hex(upcall.key), hex(keyOf({ port: rig.b }, frame)));
      assert.deepEqual(upcall.entry, { port: rig.b });
      assert.equal(upcall.reason, 'miss');
      assert.equal(upcall.gsoSize, 0);
    }
    assert.equal(rig.dp.counters().misses, frames.length);
  },

  'an exact flow forwards its frames and no others': async (rig) => {
    rig.install({ port: rig.a }, udp(), to(rig.b));
    await rig.send(rig.a, udp({ id: 1 }), udp({ id: 2 }));
    assert.deepEqual(await rig.left(rig.b, 2), [hex(udp({ id: 1 })), hex(udp({ id: 2 }))]);
    await rig.settled(rig.a);
    const others = [udp({ sport: 1001 }), udp({ src: 3 }), udp({ vlan: 5 }), udp({ ttl: 63 })];
    await rig.send(rig.a, ...others);
    const handedUp = await rig.upcalls(others.length);
    assert.deepEqual(
      handedUp.map((upcall) => hex(upcall.frame)),
      others.map(hex),
    );
    assert.equal(rig.dp.counters().hits, 2);
  },

  'a masked flow serves every frame that agrees on its fields': async (rig) => {
    const fields = fieldSet(['ethDst', 'vlan']);
    rig.install({ port: rig.a }, udp({ dst: 7 }), to(rig.c), fields);
    const frames = [udp({ dst: 7, src: 1 }), udp({ dst: 7, src: 9, sport: 5, ttl: 3 })];
    await rig.send(rig.a, ...frames);
    assert.deepEqual(await rig.left(rig.c, 2), frames.map(hex));
    await rig.send(rig.a, udp({ dst: 8 }), udp({ dst: 7, vlan: 1 }));
    await rig.upcalls(2);
  },

  'flows with different masks live side by side': async (rig) => {
    const sets = [fieldSet(['ethDst']), fieldSet(['ethSrc', 'tpSrc']), fieldSet(['ipDst']), EXACT];
    const frames = sets.map((_, i) => udp({ dst: 10 + i, src: 20 + i, sport: 30 + i }));
    for (const [i, fields] of sets.entries())
      rig.install({ port: rig.a }, frames[i] ?? udp(), to(i % 2 === 0 ? rig.b : rig.c), fields);
    await rig.send(rig.a, ...frames);
    assert.deepEqual(
      await rig.left(rig.b, 2),
      [0, 2].map((i) => hex(frames[i] ?? udp())),
    );
    assert.deepEqual(
      await rig.left(rig.c, 2),
      [1, 3].map((i) => hex(frames[i] ?? udp())),
    );
    await rig.settled(rig.a);
  },

  'rewrites: both addresses and the TTL, with a right checksum': async (rig) => {
    const actions = { ...to(rig.b), ethSrc: mac(0x51), ethDst: mac(0x52), decTtl: 1 } as const;
    for (const vlan of [undefined, 7]) {
      const tag = vlan === undefined ? {} : { vlan };
      rig.install({ port: rig.a }, udp(tag), actions, fieldSet(['ethDst', 'ipTtl', 'vlan']));
      await rig.send(rig.a, udp(tag));
      const want = udp({ ...tag, ttl: 63 });
      put(want, 0, mac(0x52), 6);
      put(want, 6, mac(0x51), 6);
      assert.deepEqual(await rig.left(rig.b, 1), [hex(want)]);
    }
  },

  'a drop flow counts by its reason, and is no hit': async (rig) => {
    const ref = rig.install({ port: rig.a }, udp(), { drop: 'same-port', outputs: [] });
    await rig.send(rig.a, udp(), udp(), udp());
    await rig.dropped('same-port', 3);
    await rig.settled(rig.a);
    assert.equal(rig.dp.counters().hits, 0);
    assert.equal(rig.dp.stats(ref).packets, 3);
  },

  'several outputs get a copy each, local ports and tunnels': async (rig) => {
    const outputs = [
      { port: rig.b },
      { key: FLOOD_KEY, remote: rig.remote },
      { port: rig.c },
      { key: FLOOD_KEY, remote: rig.stranger },
    ];
    rig.install({ port: rig.a }, udp(), { ethSrc: mac(0x33), outputs });
    await rig.send(rig.a, udp());
    const want = udp();
    put(want, 6, mac(0x33), 6);
    const frame = hex(want);
    assert.deepEqual(await rig.left(rig.b, 1), [frame]);
    assert.deepEqual(await rig.left(rig.c, 1), [frame]);
    const sent = (await rig.tunnelled(2)).toSorted((x, y) => Number(x.remote) - Number(y.remote));
    assert.deepEqual(sent, [
      { remote: REMOTE, key: FLOOD_KEY, frame },
      { remote: STRANGER, key: FLOOD_KEY, frame },
    ]);
    assert.equal(rig.dp.counters().hits, 1);
    assert.deepEqual((await rig.bench.received(rig.a)).filter(ours), []);
  },

  'a flow may have a hundred outputs': async (rig) => {
    const outputs = Array.from({ length: 100 }, (_, i) => ({ port: i % 2 === 0 ? rig.b : rig.c }));
    rig.install({ port: rig.a }, udp(), { outputs });
    await rig.send(rig.a, udp());
    await rig.left(rig.b, 50);
    await rig.left(rig.c, 50);
  },

  'a frame may go back out of the port it came from': async (rig) => {
    rig.install({ port: rig.a }, udp(), to(rig.a));
    await rig.send(rig.a, udp());
    assert.deepEqual(await rig.left(rig.a, 1), [hex(udp())]);
  },

  'one output into the tunnel': async (rig) => {
    const tagged = udp({ vlan: 3 });
    for (const frame of [udp(), tagged]) {
      const outputs = [{ key: PORT_KEY, remote: rig.remote }];
      rig.install({ port: rig.a }, frame, { outputs });
      await rig.send(rig.a, frame);
      assert.deepEqual(await rig.tunnelled(1), [
        { remote: REMOTE, key: PORT_KEY, frame: hex(frame) },
      ]);
    }
  },

  'a port key leads to its port, for allowed senders only': async (rig) => {
    rig.dp.setKey({ key: PORT_KEY, port: rig.b, network: FLOOD_KEY });
    await rig.arrive(REMOTE, PORT_KEY, udp());
    await rig.dropped('unknown-sender', 1);
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    for (const frame of [udp({ id: 1 }), udp({ vlan: 5 })]) {
      await rig.arrive(REMOTE, PORT_KEY, frame);
      assert.deepEqual(await rig.left(rig.b, 1), [hex(frame)]);
    }
    await rig.arrive(STRANGER, PORT_KEY, udp());
    await rig.dropped('unknown-sender', 2);
    await rig.arrive(REMOTE, 0x4321 as TunnelKey, udp());
    await rig.dropped('unknown-key', 1);
    rig.dp.denySender(rig.remote, FLOOD_KEY);
    await rig.arrive(REMOTE, PORT_KEY, udp());
    await rig.dropped('unknown-sender', 3);
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    rig.dp.removeKey(PORT_KEY);
    await rig.arrive(REMOTE, PORT_KEY, udp());
    await rig.dropped('unknown-key', 2);
    assert.equal(rig.dp.counters().tunnelHits, 2);
    assert.deepEqual((await rig.bench.received(rig.b)).filter(ours), []);
    await rig.settled(rig.a);
  },

  'a flood key goes through the flows': async (rig) => {
    const entry = { port: rig.dp.tunnelPort, tunnel: { key: FLOOD_KEY, source: rig.remote } };
    await rig.arrive(REMOTE, FLOOD_KEY, udp());
    await rig.dropped('unknown-sender', 1);
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    await rig.arrive(REMOTE, FLOOD_KEY, udp({ vlan: 4 }));
    const upcall = await rig.upcall();
    assert.deepEqual(upcall.entry, entry);
    assert.equal(hex(upcall.key), hex(keyOf(entry, udp({ vlan: 4 }))));
    assert.equal(hex(upcall.frame), hex(udp({ vlan: 4 })));
    rig.install(entry, udp(), to(rig.a, rig.c), fieldSet(['ethDst', 'vlan']));
    await rig.arrive(REMOTE, FLOOD_KEY, udp({ id: 2 }));
    assert.deepEqual(await rig.left(rig.a, 1), [hex(udp({ id: 2 }))]);
    assert.deepEqual(await rig.left(rig.c, 1), [hex(udp({ id: 2 }))]);
    await rig.arrive(STRANGER, FLOOD_KEY, udp());
    await rig.dropped('unknown-sender', 2);
    assert.deepEqual(await rig.tunnelled(0), []);
  },
};
