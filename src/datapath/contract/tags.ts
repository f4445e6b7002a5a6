/** What becomes of tags: one for all outputs, or each output its own. */
import assert from 'node:assert/strict';
import type { Actions, Output } from '#flow/flow.ts';
import { OUTPUTS_PER_FLOW_MAX } from '#flow/flow.ts';
import { fieldSet } from '#virtual/match.ts';
import { FLOOD_KEY, hex, mac, ours, put, tag, to, udp } from './frames.ts';
import type { Case, Rig } from './rig.ts';

const OF_ALL = fieldSet(['ethDst']);

/** A frame and what it is without its tag, and that tag's TCI if it has one. */
interface Tagged {
  readonly frame: Uint8Array;
  readonly bare: Uint8Array;
  readonly tci: number | undefined;
}
const PLAIN = udp({ ttl: 9 });
const ofTag = (bare: Uint8Array, tci: number): Tagged => ({ frame: tag(bare, tci), bare, tci });
const untagged = (frame: Uint8Array): Tagged => ({ frame, bare: frame, tci: undefined });
/** Without a tag, with one of each kind, with two; with one that counts as none. */
const FRAMES: readonly Tagged[] = [
  untagged(PLAIN),
  ofTag(PLAIN, 0xb005),
  ofTag(PLAIN, 0x6000),
  ofTag(PLAIN, 7),
  ofTag(tag(PLAIN, 0x4064), 0xa005),
  ofTag(tag(PLAIN, 0x4064, 0x88a8), 0xe007),
  untagged(tag(PLAIN, 0x2009, 0x88a8)),
];

const wanted = ({ frame, bare, tci }: Tagged, vlan: number | undefined): Uint8Array => {
  if (vlan === undefined) return frame;
  return vlan === 0 ? bare : tag(bare, ((tci ?? 0) & 0xf000) | vlan);
};
const byText = (all: readonly Uint8Array[]): string[] => all.map(hex).toSorted();

/** Checks that everything is where `outputs` say, each copy with its own tag. */
async function arrives(rig: Rig, frame: Tagged, { vlan, outputs }: Actions): Promise<void> {
  const copies = outputs.map((output) => ({
    output,
    frame: wanted(frame, output.vlan ?? vlan),
  }));
  for (const port of [rig.a, rig.b, rig.c]) {
    const mine = copies.filter(({ output }) => 'port' in output && output.port === port);
    const got = (await rig.left(port, mine.length)).toSorted();
    assert.deepEqual(got, byText(mine.map((each) => each.frame)));
  }
  const remote = copies.filter(({ output }) => 'remote' in output);
  const sent = (await rig.tunnelled(remote.length)).map((each) => `${each.remote} ${each.frame}`);
  const want = remote.map(
    (each) =>
      `${'remote' in each.output ? rig.addressOf(each.output.remote) : 0} ${hex(each.frame)}`,
  );
  assert.deepEqual(sent.toSorted(), want.toSorted());
}

const withVlan = <T extends Output>(output: T, vlan: number | undefined): T =>
  vlan === undefined ? output : { ...output, vlan };
/** Outputs by two ports and two tunnels with these tags, in this order. */
function outputsOf(rig: Rig, vlans: readonly (number | undefined)[]): Output[] {
  const places = [
    { port: rig.b },
    { key: FLOOD_KEY, remote: rig.remote },
    { port: rig.c },
    { key: FLOOD_KEY, remote: rig.stranger },
  ];
  return vlans.map((vlan, i) => withVlan(places[i % places.length] ?? { port: rig.b }, vlan));
}

export const TAGS: { readonly [what: string]: Case } = {
  'tagged frames keep their tag, lose it, or get another, as the flow says': async (rig) => {
    for (const frame of FRAMES)
      for (const all of [undefined, 0, 9, 4095])
        for (const own of [undefined, 0, 3]) {
          const actions = { ...(all === undefined ? {} : { vlan: all }) };
          const outputs = outputsOf(rig, [own]);
          const ref = rig.install({ port: rig.a }, frame.frame, { ...actions, outputs }, OF_ALL);
          await rig.send(rig.a, frame.frame);
          await arrives(rig, frame, { ...actions, outputs });
          rig.dp.remove([ref]);
        }
  },

  'every output has its own tag, whatever the others have': async (rig) => {
    const each: readonly (readonly (number | undefined)[])[] = [
      [undefined, 0, 5, 300],
      [5, undefined, 0, 0],
      [0, 7, undefined, undefined],
      [300, 300, 301, 302, 0, undefined, 0, 1],
    ];
    for (const all of [undefined, 0, 9])
      for (const vlans of each) {
        const actions = {
          ...(all === undefined ? {} : { vlan: all }),
          outputs: outputsOf(rig, vlans),
        };
        const ref = rig.install({ port: rig.a }, PLAIN, actions, OF_ALL);
        for (const frame of FRAMES) {
          await rig.send(rig.a, frame.frame);
          await arrives(rig, frame, actions);
          rig.dp.inject(ref, frame.frame, 0);
          rig.dp.commit();
          await arrives(rig, frame, actions);
          rig.dp.execute(frame.frame, actions, 0);
          rig.dp.commit();
          await arrives(rig, frame, actions);
        }
        rig.dp.remove([ref]);
      }
  },

  'addresses and TTL are rewritten once, before the tags': async (rig) => {
    const outputs = outputsOf(rig, [5, 0, undefined, 6]);
    const actions = { ethDst: mac(0x52), ethSrc: mac(0x51), decTtl: 4, mtu: 100, outputs };
    rig.install({ port: rig.a }, PLAIN, actions, OF_ALL);
    const bare = udp({ ttl: 5 });
    put(bare, 0, mac(0x52), 6);
    put(bare, 6, mac(0x51), 6);
    for (const tci of [0xb005, 0x6000]) {
      await rig.send(rig.a, tag(PLAIN, tci));
      await arrives(rig, ofTag(bare, tci), actions);
    }
    assert.equal(rig.dp.counters().hits, 2);
  },

  'the floods of neighbours have the right tags and do not go back': async (rig) => {
    const { a, b, c } = rig;
    const tags = new Map([
      [a, undefined],
      [b, 0],
      [c, 30],
    ]);
    const remote = { key: FLOOD_KEY, remote: rig.remote, vlan: 40 };
    const flows = [a, b, c].map((from) => {
      const others = [a, b, c].filter((port) => port !== from);
      const local = others.map((port) => withVlan({ port }, tags.get(port)));
      return { from, actions: { outputs: [...local, remote] } };
    });
    for (const { from, actions } of flows) rig.install({ port: from }, PLAIN, actions, OF_ALL);
    for (const { from, actions } of flows)
      for (const frame of FRAMES) {
        await rig.send(from, frame.frame);
        await arrives(rig, frame, actions);
      }
  },

  'as many outputs as there may be, each with a tag': async (rig) => {
    const vlans = [undefined, 5, 0, 9, 300];
    const outputs = Array.from({ length: OUTPUTS_PER_FLOW_MAX }, (_, i) =>
      withVlan({ port: i % 3 === 0 ? rig.b : rig.c }, vlans[i % vlans.length]),
    );
    for (const count of [31, 32, 33, 64, 65, OUTPUTS_PER_FLOW_MAX]) {
      const actions = { outputs: outputs.slice(0, count) };
      const ref = rig.install({ port: rig.a }, PLAIN, actions, OF_ALL);
      // What is kept behind it: outputs where none of these frames may go.
      const behind = [{ port: rig.a, vlan: count }, { port: rig.a }];
      const next = rig.install({ port: rig.b }, PLAIN, { outputs: behind }, OF_ALL);
      for (const frame of FRAMES.slice(0, 2)) {
        await rig.send(rig.a, frame.frame);
        await arrives(rig, frame, actions);
      }
      rig.dp.remove([ref, next]);
    }
    rig.install({ port: rig.a }, PLAIN, to(rig.b), OF_ALL);
    await rig.settled(rig.a);
    assert.deepEqual((await rig.bench.received(rig.b)).filter(ours), []);
  },
};
