/** What is rewritten in all copies of a frame, and what in one output's only. */
import assert from 'node:assert/strict';
import type { Actions, Output } from '#flow/flow.ts';
import type { Ip4, Ip6 } from '#net/ip.ts';
import { fieldSet } from '#virtual/match.ts';
import { ethernet, FLOOD_KEY, hex, mac, put, tag, to, udp, udp6 } from './frames.ts';
import type { Case, Rig } from './rig.ts';

const OF_ALL = fieldSet(['ethDst']);
const ADDRESS4 = 0xc0a80005 as Ip4;
const ADDRESS6 = `fd99${'0'.repeat(27)}7` as Ip6;

/** `udp` with other ends; its checksum of the header is right, and there is none of UDP. */
const from = (src: number, sport: number, dst = 2): Uint8Array => {
  const frame = udp({ src, dst, sport });
  put(frame, 0, mac(2), 6);
  put(frame, 6, mac(1), 6);
  return frame;
};

/** Sends a frame into `a`, and checks what comes out of `b`, `c` and the tunnel. */
async function leaves(
  rig: Rig,
  frame: Uint8Array,
  want: { readonly b?: Uint8Array; readonly c?: Uint8Array; readonly tunnel?: Uint8Array },
): Promise<void> {
  await rig.send(rig.a, frame);
  for (const [port, wanted] of [
    [rig.b, want.b],
    [rig.c, want.c],
  ] as const)
    assert.deepEqual(await rig.left(port, wanted ? 1 : 0), wanted ? [hex(wanted)] : []);
  const sent = await rig.tunnelled(want.tunnel ? 1 : 0);
  assert.deepEqual(
    sent.map((each) => each.frame),
    want.tunnel ? [hex(want.tunnel)] : [],
  );
}

/** An IPv6 frame behind a routing header that has a segment left (RFC 8200 §4.4). */
function routed(): Uint8Array {
  const frame = udp6({ size: 72 });
  frame.copyWithin(62, 54, 70);
  frame[20] = 43;
  frame.set([17, 0, 3, 1, 0, 0, 0, 0], 54);
  return frame;
}

export const REWRITING: { readonly [what: string]: Case } = {
  'addresses and ports are rewritten, in every copy or in one': async (rig) => {
    const own = { ipSrc: (0x0a000000 + 9) as Ip4, tpSrc: 4000 };
    const outputs: Output[] = [
      { port: rig.b },
      { port: rig.c, rewrite: own },
      { key: FLOOD_KEY, remote: rig.remote, rewrite: { tpSrc: 5000 } },
    ];
    const actions = { ipSrc: (0x0a000000 + 7) as Ip4, tpSrc: 3000, outputs };
    const ref = rig.install({ port: rig.a }, udp(), actions, OF_ALL);
    for (let i = 0; i < 2; i++)
      await leaves(rig, udp(), { b: from(7, 3000), c: from(9, 4000), tunnel: from(7, 5000) });
    const arp = ethernet({ src: 1, dst: 2, vlan: undefined, type: 0x0806 }, 46);
    await leaves(rig, arp, { b: arp, c: arp, tunnel: arp });
    const { hits, misses, drops } = rig.dp.counters();
    assert.deepEqual([hits, misses, drops], [3, 0, {}]);
    const { packets, bytes } = rig.dp.stats(ref);
    assert.deepEqual([packets, bytes], [3, 180], 'copies count nowhere');
  },

  'an only output with rewrites of its own, behind its tag': async (rig) => {
    const output = { port: rig.b, vlan: 5, rewrite: { ipSrc: (0x0a000000 + 9) as Ip4 } };
    rig.install({ port: rig.a }, udp(), { vlan: 0, outputs: [output] }, OF_ALL);
    await leaves(rig, udp(), { b: tag(from(9, 1000), 5) });
    rig.dp.execute(udp(), { outputs: [output] }, 0);
    rig.dp.commit();
    assert.deepEqual(await rig.left(rig.b, 1), [hex(tag(from(9, 1000), 5))]);
  },

  'flows come and go with rewrites of their own': async (rig) => {
    for (let i = 1; i <= 40; i++) {
      const rewrite = { ipDst: (0x0a000000 + i) as Ip4 };
      const outputs = [{ port: rig.b, rewrite }, { port: rig.c }];
      const ref = rig.install({ port: rig.a }, udp(), { outputs }, OF_ALL);
      const moved = from(1, 1000, i);
      put(moved, 0, mac(2), 6);
      await leaves(rig, udp(), { b: moved, c: udp() });
      rig.dp.remove([ref]);
    }
  },

  'a packet that hides an address is dropped where that is rewritten, and only there': async (
    rig,
  ) => {
    const dropped = rig.install({ port: rig.a }, udp6(), { ...to(rig.b), ipSrc: ADDRESS6 }, OF_ALL);
    await rig.send(rig.a, routed());
    await rig.dropped('address-hidden', 1);
    assert.equal(rig.dp.stats(dropped).packets, 1);
    rig.dp.execute(routed(), { ...to(rig.b), ipDst: ADDRESS6 }, 0);
    rig.dp.commit();
    await rig.dropped('address-hidden', 2);
    assert.equal(rig.dp.counters().hits, 0);
    rig.dp.remove([dropped]);
    const outputs = [{ port: rig.b, rewrite: { ipDst: ADDRESS6 } }, { port: rig.c }];
    rig.install({ port: rig.a }, udp6(), { outputs }, OF_ALL);
    await leaves(rig, routed(), { c: routed() });
    await rig.dropped('address-hidden', 3);
    assert.equal(rig.dp.counters().hits, 1, 'the other copy left');
    rig.install({ port: rig.a }, udp6(), { ...to(rig.b), ipSrc: ADDRESS4, dscp: 63 }, OF_ALL);
    const marked = routed();
    marked.set([0x6f, 0xc0], 14);
    await leaves(rig, routed(), { b: marked });
  },

  'a dump shows what is rewritten': async (rig) => {
    const four = { ipSrc: ADDRESS4, ipDst: 0 as Ip4, tpSrc: 0, tpDst: 65535, dscp: 0 };
    const all: Actions[] = [
      { ...four, ethSrc: mac(9), ethDst: mac(8), decTtl: 1, ...to(rig.b) },
      { ipDst: ADDRESS6, dscp: 63, ...to(rig.c) },
      { tpDst: 7, outputs: [{ port: rig.b, rewrite: { ipSrc: ADDRESS6 } }, { port: rig.c }] },
      { outputs: [{ key: FLOOD_KEY, remote: rig.remote, vlan: 3, rewrite: { ...four } }] },
    ];
    for (const [i, actions] of all.entries())
      rig.install({ port: rig.a }, udp({ dst: 100 + i }), actions, OF_ALL);
    const seen = rig.dp.dump().toSorted((x, y) => x.ref.slot - y.ref.slot);
    const inOrder = ({ outputs, ...rest }: Actions) => ({
      ...rest,
      outputs: outputs.map((each) => JSON.stringify(each)).toSorted(),
    });
    for (const [i, actions] of all.entries()) {
      const found = seen[i]?.flow.actions;
      assert.ok(found !== undefined);
      assert.deepEqual(inOrder(found), inOrder(actions));
    }
    return Promise.resolve();
  },

  'rewrites that are out of their range are refused by name': (rig) => {
    const refused: [Actions, RegExp][] = [
      [{ ...to(rig.b), dscp: 64 }, /dscp must be 0 to 63/],
      [{ ...to(rig.b), tpSrc: -1 }, /tpSrc must be 0 to 65535/],
      [{ ...to(rig.b), tpDst: 65536 }, /tpDst must be 0 to 65535/],
      [{ ...to(rig.b), ipSrc: ADDRESS4, ipDst: ADDRESS6 }, /ipSrc and ipDst must be of one family/],
      [{ outputs: [{ port: rig.b, rewrite: { dscp: 0.5 } }] }, /rewrite\.dscp must be/],
    ];
    for (const [actions, message] of refused) {
      assert.throws(() => rig.dp.execute(udp(), actions, 0), message);
      assert.throws(() => rig.install({ port: rig.a }, udp(), actions), message);
    }
    return Promise.resolve();
  },
};
