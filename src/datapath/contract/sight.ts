/** What who looks at frames is shown, and that looking changes nothing. */
import assert from 'node:assert/strict';
import type { DpPort } from '#flow/flow.ts';
import { KEY, KEY_SIZE } from '#flow/layout.ts';
import { maskBytes } from '#flow/mask.ts';
import { patient } from '#os/patience.ts';
import { fieldSet } from '#virtual/match.ts';
import type { Sight, Sighting, SightMatch } from '../sight.ts';
import {
  FLOOD_KEY,
  hex,
  keyOf,
  marker,
  ours,
  PORT_KEY,
  REMOTE,
  STRANGER,
  to,
  udp,
} from './frames.ts';
import { until } from './rig.ts';
import type { Case, Rig } from './rig.ts';

const LONG_MS = 60_000;
/** Network headers alone: any entry, any MAC. */
const PACKET = fieldSet(['ethType', 'ipSrc', 'ipDst', 'ipProto', 'tpSrc', 'tpDst']);

const sightOf = (rig: Rig, sight: Partial<Sight> = {}): Sight => ({
  matches: [],
  snapBytes: 2000,
  perSecond: 10_000,
  burst: 10_000,
  untilMs: rig.dp.now() + patient(LONG_MS),
  ...sight,
});

/** The packets of a frame, wherever they are. */
function packets(frame: Uint8Array): SightMatch {
  const key = keyOf({ port: 0 as DpPort }, frame);
  const mask = maskBytes(PACKET).slice().fill(0, 0, KEY.eth_dst);
  return { key: key.map((byte, i) => byte & mask[i]!), mask };
}

/** What was seen of the suite's frames so far, kept. */
class Eye {
  readonly seen: Sighting[] = [];
  readonly #rig: Rig;

  constructor(rig: Rig) {
    this.#rig = rig;
  }
  look(): Sighting[] {
    this.#rig.dp.sights.drain((sighting) => {
      const { key, frame } = sighting;
      if (ours(frame)) this.seen.push({ ...sighting, key: key.slice(), frame: frame.slice() });
    }, 64);
    return this.seen;
  }
  /** Waits for so many, all that were seen. */
  async wait(count: number): Promise<Sighting[]> {
    await until(`${count} frames seen`, () => (this.look().length >= count ? true : undefined));
    assert.equal(this.seen.length, count, 'frames seen');
    return this.seen.splice(0);
  }
}
const told = ({ where, fate, frame }: Sighting) => ({ where, fate, frame: hex(frame) });

export const SIGHT: { readonly [what: string]: Case } = {
  'who looks at a port is shown what enters and leaves there, and what became of it': async (
    rig,
  ) => {
    const eye = new Eye(rig);
    rig.dp.sights.look(0, sightOf(rig, { port: rig.a }));
    const ref = rig.install({ port: rig.a }, udp(), to(rig.b));
    rig.install({ port: rig.a }, udp({ dst: 9 }), { drop: 'port-down', outputs: [] });
    rig.install({ port: rig.b }, udp({ src: 2, dst: 1 }), to(rig.a));
    rig.install({ port: rig.b }, udp({ src: 2, dst: 3 }), to(rig.c));
    await rig.send(rig.a, udp(), udp({ dst: 9 }), udp({ dst: 10 }));
    await rig.upcalls(1);
    await rig.send(rig.b, udp({ src: 2, dst: 3 }), udp({ src: 2, dst: 1 }));
    await rig.left(rig.a, 1);
    const seen = await eye.wait(4);
    assert.deepEqual(seen.map(told), [
      {
        where: 'port',
        fate: { kind: 'sent', outputs: 1, to: { port: rig.b } },
        frame: hex(udp()),
      },
      {
        where: 'port',
        fate: { kind: 'dropped', reason: 'port-down' },
        frame: hex(udp({ dst: 9 })),
      },
      { where: 'port', fate: { kind: 'up', reason: 'miss' }, frame: hex(udp({ dst: 10 })) },
      {
        where: 'out',
        fate: { kind: 'sent', outputs: 1, to: { port: rig.a } },
        frame: hex(udp({ src: 2, dst: 1 })),
      },
    ]);
    assert.deepEqual(seen[0]?.ref, ref);
    assert.equal(hex(seen[0]!.key), hex(keyOf({ port: rig.a }, udp())));
    assert.deepEqual(seen[2]?.ref, undefined);
    assert.ok(seen.every(({ port, sights }) => port === rig.a && sights === 1));
    assert.equal(rig.dp.sights.matched(0), 4);
    // As much went through as without.
    await rig.left(rig.b, 1);
    await rig.left(rig.c, 1);
    assert.equal(rig.entered(), 5);
  },

  'who looks at packets is shown them wherever they pass, and no others': async (rig) => {
    const eye = new Eye(rig);
    rig.dp.setKey({ key: PORT_KEY, port: rig.b, network: FLOOD_KEY });
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    rig.dp.sights.look(3, sightOf(rig, { matches: [packets(udp()), packets(udp({ dst: 5 }))] }));
    await rig.arrive(REMOTE, PORT_KEY, udp());
    await rig.left(rig.b, 1);
    await rig.arrive(REMOTE, PORT_KEY, udp({ dst: 6 }));
    await rig.left(rig.b, 1);
    await rig.arrive(STRANGER, PORT_KEY, udp({ dst: 5 }));
    await rig.dropped('unknown-sender', 1);
    const seen = await eye.wait(3);
    assert.deepEqual(
      seen.map(({ where, fate }) => ({ where, fate })),
      [
        { where: 'tunnel', fate: { kind: 'sent', outputs: 1, to: { port: rig.b } } },
        { where: 'out', fate: { kind: 'sent', outputs: 1, to: { port: rig.b } } },
        { where: 'tunnel', fate: { kind: 'dropped', reason: 'unknown-sender' } },
      ],
    );
    assert.ok(seen.every(({ sights }) => sights === 8));
    assert.equal(rig.dp.sights.matched(3), 3, 'others are not even looked at');
  },

  'what the agent sends is shown: by which flow, and where to': async (rig) => {
    const eye = new Eye(rig);
    rig.dp.sights.look(1, sightOf(rig, { matches: [packets(udp())] }));
    const ref = rig.install({ port: rig.a }, udp({ ttl: 9 }), {
      outputs: [{ key: PORT_KEY, remote: rig.remote }],
    });
    rig.dp.inject(ref, udp({ ttl: 9 }), 0);
    rig.dp.execute(udp(), { outputs: [{ port: rig.b }, { port: rig.c }] }, 0);
    rig.dp.commit();
    await rig.left(rig.b, 1);
    await rig.left(rig.c, 1);
    const seen = await eye.wait(4);
    assert.deepEqual(
      seen.filter(({ where }) => where === 'inject').map(({ fate }) => fate),
      [
        { kind: 'sent', outputs: 1, to: { peer: rig.remote, key: PORT_KEY } },
        { kind: 'sent', outputs: 2 },
      ],
    );
    assert.deepEqual(seen[0]?.ref, ref);
    rig.dp.invalidate([ref]);
    rig.dp.inject(ref, udp({ ttl: 9 }), 0);
    rig.dp.commit();
    const [stale] = await eye.wait(1);
    assert.deepEqual(stale?.fate, { kind: 'dropped', reason: 'stale-injection' });
  },

  'frames are shown cut, with their length and their tag': async (rig) => {
    const eye = new Eye(rig);
    rig.dp.sights.look(0, sightOf(rig, { port: rig.a, snapBytes: 40 }));
    const frame = udp({ vlan: 0x6005, size: 1400 });
    await rig.send(rig.a, frame, udp({ size: 500 }));
    await rig.upcalls(2);
    const seen = await eye.wait(2);
    assert.equal(hex(seen[0]!.frame), hex(frame.subarray(0, 40)));
    assert.deepEqual(
      seen.map(({ length }) => length),
      [1418, 514],
    );
    rig.dp.sights.look(0, sightOf(rig, { port: rig.a }));
    await rig.send(rig.a, frame);
    await rig.upcalls(1);
    const [whole] = await eye.wait(1);
    assert.equal(hex(whole!.frame), hex(frame));
  },

  'nothing is shown after the deadline, nor to who has ended': async (rig) => {
    const eye = new Eye(rig);
    rig.dp.sights.look(0, sightOf(rig, { port: rig.a, untilMs: rig.dp.now() - 1 }));
    rig.dp.sights.look(1, sightOf(rig, { port: rig.a }));
    rig.dp.sights.look(2, sightOf(rig, { port: rig.a }));
    rig.dp.sights.end(2);
    await rig.send(rig.a, udp());
    await rig.upcalls(1);
    const [first] = await eye.wait(1);
    assert.equal(first?.sights, 2);
    assert.equal(rig.dp.sights.matched(0), 0);
    rig.dp.sights.prolong(1, rig.dp.now() - 1);
    await rig.send(rig.a, udp());
    await rig.upcalls(1);
    rig.dp.sights.prolong(1, rig.dp.now() + patient(LONG_MS));
    await rig.send(rig.a, udp({ id: 7 }));
    await rig.upcalls(1);
    const [last] = await eye.wait(1);
    assert.equal(hex(last!.frame), hex(udp({ id: 7 })));
    assert.equal(rig.dp.sights.matched(1), 2);
  },

  'a look takes no more frames than its rate, and those it lacks are counted': async (rig) => {
    const eye = new Eye(rig);
    rig.dp.sights.look(0, sightOf(rig, { port: rig.a, perSecond: 1, burst: 3 }));
    rig.dp.sights.look(1, sightOf(rig, { port: rig.b }));
    for (let i = 0; i < 20; i++) await rig.send(rig.a, udp({ id: i }));
    await rig.upcalls(20);
    await rig.send(rig.b, marker(1));
    await rig.upcalls(1);
    await until('the last frame', () =>
      eye.look().some(({ sights }) => sights === 2) ? true : undefined,
    );
    const shown = eye.seen.filter(({ sights }) => sights === 1).length;
    assert.ok(shown >= 3 && shown < 20, `${shown} shown`);
    assert.equal(rig.dp.sights.matched(0), 20);
  },

  'drops are told of each entry: by the datapath, and by the agent': async (rig) => {
    rig.install({ port: rig.a }, udp(), { drop: 'port-down', outputs: [] });
    await rig.send(rig.a, udp(), udp());
    await rig.dropped('port-down', 2);
    const tunnel = { key: FLOOD_KEY, source: rig.remote };
    rig.dp.allowSender(rig.remote, FLOOD_KEY);
    rig.install({ port: rig.dp.tunnelPort, tunnel }, udp(), { drop: 'same-port', outputs: [] });
    await rig.arrive(REMOTE, FLOOD_KEY, udp());
    await rig.dropped('same-port', 1);
    rig.dp.dropped('too-big', { port: rig.a }, 3);
    rig.dp.dropped('same-port', { port: rig.dp.tunnelPort, tunnel });
    rig.dp.dropped('no-port');
    const told = rig.dp
      .entryDrops()
      .filter(({ drops, agentDrops }) => Object.keys({ ...drops, ...agentDrops }).length > 0);
    assert.deepEqual(
      told.toSorted((x, y) => (x.port ?? 0) - (y.port ?? 0)).map((each) => ({ ...each })),
      [
        { port: undefined, source: undefined, drops: {}, agentDrops: { 'no-port': 1 } },
        { port: rig.a, source: undefined, drops: { 'port-down': 2 }, agentDrops: { 'too-big': 3 } },
        {
          port: rig.dp.tunnelPort,
          source: rig.remote,
          drops: { 'same-port': 1 },
          agentDrops: { 'same-port': 1 },
        },
      ].toSorted((x, y) => (x.port ?? 0) - (y.port ?? 0)),
    );
  },

  'a look that is not possible is refused': async (rig) => {
    const bad: Partial<Sight>[] = [
      { snapBytes: 13 },
      { snapBytes: 100_000 },
      { perSecond: 0 },
      { burst: 1.5 },
      { matches: [{ key: new Uint8Array(3), mask: new Uint8Array(KEY_SIZE) }] },
    ];
    for (const each of bad)
      assert.throws(() => rig.dp.sights.look(0, sightOf(rig, each)), /sight\.[a-zA-Z]+ must/);
    for (const id of [-1, 8])
      assert.throws(() => rig.dp.sights.look(id, sightOf(rig)), /sight\.id must/);
    await rig.settled(rig.a);
  },
};
