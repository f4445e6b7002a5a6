/** What a route does: the TTL goes down, and what is too big for the way does not go it. */
import assert from 'node:assert/strict';
import type { Actions } from '#flow/flow.ts';
import { EXACT } from '#flow/mask.ts';
import { fieldSet } from '#virtual/match.ts';
import { ethernet, flowOf, FLOOD_KEY, hex, ours, REMOTE, to, udp, udp6 } from './frames.ts';
import type { Case, Rig } from './rig.ts';

const OF_ALL = fieldSet(['ethDst']);
const MTU = 600;
const KINDS = [udp, udp6];
const VLANS = [undefined, 0x6007];
const tagOf = (vlan: number | undefined) => (vlan === undefined ? {} : { vlan });
/** Of an EtherType that no IP is in. */
const other = (size: number): Uint8Array =>
  ethernet({ src: 1, dst: 2, vlan: undefined, type: 0x88b5 }, size);

/** Sends a frame into `a` that must come out of `b` as `want`. */
async function passes(rig: Rig, frame: Uint8Array, want: Uint8Array): Promise<void> {
  await rig.send(rig.a, frame);
  assert.deepEqual(await rig.left(rig.b, 1), [hex(want)]);
}
/** Sends a frame into `a` that must be handed up, whole. */
async function handedUp(rig: Rig, frame: Uint8Array, reason: string): Promise<void> {
  await rig.send(rig.a, frame);
  const upcall = await rig.upcall();
  assert.deepEqual([upcall.reason, hex(upcall.frame)], [reason, hex(frame)]);
  assert.deepEqual(upcall.entry, { port: rig.a });
}

export const ROUTING: { readonly [what: string]: Case } = {
  'a flow takes from the TTL what it says, and a right checksum stays right': async (rig) => {
    for (const decTtl of [1, 3, 200]) {
      const ref = rig.install({ port: rig.a }, udp(), { ...to(rig.b), decTtl }, OF_ALL);
      for (const frame of KINDS)
        for (const vlan of VLANS)
          for (const ttl of [decTtl + 1, 231, 255])
            await passes(
              rig,
              frame({ ttl, ...tagOf(vlan) }),
              frame({ ttl: ttl - decTtl, ...tagOf(vlan) }),
            );
      await passes(rig, other(60), other(60));
      rig.dp.remove([ref]);
    }
  },

  'a TTL that would be used up is handed up instead': async (rig) => {
    for (const decTtl of [1, 3, 255]) {
      const ref = rig.install({ port: rig.a }, udp(), { ...to(rig.b), decTtl }, OF_ALL);
      const { misses } = rig.dp.counters();
      const ttls = [0, 1, decTtl];
      for (const frame of KINDS)
        for (const vlan of VLANS)
          for (const ttl of ttls) await handedUp(rig, frame({ ttl, ...tagOf(vlan) }), 'ttl');
      const broken = udp();
      broken[14] = 0x44;
      await handedUp(rig, broken, 'ttl');
      const sent = KINDS.length * VLANS.length * ttls.length + 1;
      assert.equal(rig.dp.counters().misses - misses, sent);
      assert.deepEqual(rig.dp.stats(ref), { packets: 0, bytes: 0, lastUsedMs: 0 });
      rig.dp.remove([ref]);
    }
    assert.equal(rig.dp.counters().hits, 0);
    assert.deepEqual((await rig.bench.received(rig.b)).filter(ours), []);
  },

  'a frame of the agent whose TTL would be used up is malformed': async (rig) => {
    const actions = { ...to(rig.b), decTtl: 3 };
    const ref = rig.install({ port: rig.a }, udp(), actions, OF_ALL);
    for (const ttl of [2, 3]) {
      rig.dp.inject(ref, udp({ ttl }), 0);
      rig.dp.execute(udp6({ ttl }), actions, 0);
    }
    rig.dp.inject(ref, udp6({ ttl: 4 }), 0);
    rig.dp.execute(udp({ ttl: 4 }), actions, 0);
    rig.dp.commit();
    assert.deepEqual(await rig.left(rig.b, 2), [hex(udp6({ ttl: 1 })), hex(udp({ ttl: 1 }))]);
    await rig.dropped('malformed', 4);
    assert.equal(rig.dp.stats(ref).packets, 1);
  },

  'a packet as large as the MTU passes, and a larger one is handed up': async (rig) => {
    const ref = rig.install({ port: rig.a }, udp(), { ...to(rig.b), mtu: MTU }, OF_ALL);
    let bytes = 0;
    for (const frame of KINDS)
      for (const vlan of VLANS) {
        const sized = (size: number) => frame({ size, ...tagOf(vlan) });
        await passes(rig, sized(MTU), sized(MTU));
        bytes += sized(MTU).length;
        await handedUp(rig, sized(MTU + 1), 'too-big');
        await handedUp(rig, sized(MTU + 800), 'too-big');
      }
    const { packets, bytes: counted } = rig.dp.stats(ref);
    assert.deepEqual([packets, counted], [4, bytes]);
    await passes(rig, other(MTU + 1), other(MTU + 1));
    const { hits, misses, drops } = rig.dp.counters();
    assert.deepEqual([hits, misses, drops], [5, 8, {}]);
  },

  'the MTU is that of the flow, and the smallest and largest there are': async (rig) => {
    for (const [mtu, size] of [
      [68, 68],
      [1499, 1499],
      [65535, 1500],
    ] as const) {
      const ref = rig.install({ port: rig.a }, udp(), { ...to(rig.b, rig.c), mtu }, OF_ALL);
      await passes(rig, udp({ size }), udp({ size }));
      await rig.left(rig.c, 1);
      if (size < 1500) await handedUp(rig, udp({ size: size + 1 }), 'too-big');
      rig.dp.remove([ref]);
    }
    rig.install({ port: rig.a }, udp(), to(rig.b), OF_ALL);
    await passes(rig, udp({ size: 1500 }), udp({ size: 1500 }));
  },

  'an MTU is asked for what came through the tunnel, too': async (rig) => {
    const entry = { port: rig.dp.tunnelPort, tunnel: { key: FLOOD_KEY, source: rig.remote } };
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    rig.install(entry, udp(), { ...to(rig.b), mtu: MTU, decTtl: 2 }, OF_ALL);
    await rig.arrive(REMOTE, FLOOD_KEY, udp({ size: MTU }));
    assert.deepEqual(await rig.left(rig.b, 1), [hex(udp({ size: MTU, ttl: 62 }))]);
    await rig.arrive(REMOTE, FLOOD_KEY, udp({ size: MTU + 1 }));
    const upcall = await rig.upcall();
    assert.deepEqual([upcall.reason, upcall.entry], ['too-big', entry]);
  },

  'the TTL is looked at before the MTU, and both before a drop; injections have no MTU': async (
    rig,
  ) => {
    const actions = { ...to(rig.b), mtu: MTU, decTtl: 2 };
    const large = udp({ size: MTU + 1, ttl: 2 });
    const ref = rig.install({ port: rig.a }, udp(), actions, OF_ALL);
    await handedUp(rig, large, 'ttl');
    rig.dp.inject(ref, udp({ size: MTU + 1, ttl: 9 }), 0);
    rig.dp.execute(udp6({ size: MTU + 1, ttl: 9 }), actions, 0);
    rig.dp.commit();
    const want = [udp({ size: MTU + 1, ttl: 7 }), udp6({ size: MTU + 1, ttl: 7 })];
    assert.deepEqual(await rig.left(rig.b, 2), want.map(hex));
    assert.equal(rig.dp.stats(ref).packets, 1);
    rig.dp.remove([ref]);
    const drop = { drop: 'same-port', outputs: [], mtu: MTU, decTtl: 2 } as const;
    rig.install({ port: rig.a }, udp(), drop, OF_ALL);
    await handedUp(rig, large, 'ttl');
    await handedUp(rig, udp({ size: MTU + 1, ttl: 3 }), 'too-big');
    await rig.send(rig.a, udp({ size: MTU, ttl: 3 }));
    await rig.dropped('same-port', 1);
    await rig.settled(rig.a);
  },

  'numbers that no frame has are refused': async (rig) => {
    const wrong: Partial<Actions>[] = [
      { decTtl: 0 },
      { decTtl: 256 },
      { decTtl: 1.5 },
      { mtu: 67 },
      { mtu: 65536 },
      { vlan: 4096 },
      { outputs: [{ port: rig.b }, { port: rig.c, vlan: -1 }] },
      { outputs: [] },
    ];
    for (const each of wrong) {
      const actions = { ...to(rig.b), ...each };
      const flow = flowOf({ port: rig.a }, udp(), actions, EXACT);
      assert.throws(
        () => rig.dp.install({ slot: 0, generation: 1 }, flow),
        /^\w*Error: datapath: /,
      );
      assert.throws(() => rig.dp.execute(udp(), actions, 0), /^\w*Error: datapath: /);
    }
    rig.install({ port: rig.a }, udp(), to(rig.b));
    await passes(rig, udp(), udp());
  },
};
