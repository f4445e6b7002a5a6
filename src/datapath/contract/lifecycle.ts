/** How flows come and go, what is counted, and who is kept apart. */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Actions, DpPort, Entry, TunnelKey } from '#flow/flow.ts';
import { EXACT } from '#flow/mask.ts';
import { fieldSet } from '#virtual/match.ts';
import type { FieldSet } from '#virtual/match.ts';
import {
  FLOOD_KEY,
  flowOf,
  hex,
  mac,
  marker,
  ours,
  PORT_KEY,
  put,
  REMOTE,
  to,
  udp,
} from './frames.ts';
import { until } from './rig.ts';
import type { Case } from './rig.ts';

const byText = (x: object, y: object): number => (JSON.stringify(x) < JSON.stringify(y) ? -1 : 1);
const ascending = <N extends number>(numbers: readonly N[]): N[] =>
  numbers.toSorted((x, y) => x - y);
/**
 * Actions in one spelling. Not part of the contract of a dump: the order of several outputs, and
 * whether a tag is said of all of them or of each.
 */
const sorted = ({ vlan, outputs, ...rest }: Actions): unknown => {
  const tagged = outputs.map((output) => ({ ...output, vlan: output.vlan ?? vlan ?? 'as is' }));
  const texts = tagged.map((output) => JSON.stringify(Object.entries(output).toSorted(byText)));
  return [Object.entries(rest).toSorted(byText), texts.toSorted()];
};

export const LIFECYCLE: { readonly [what: string]: Case } = {
  'an invalidated flow hands up; a new one takes its place': async (rig) => {
    const old = rig.install({ port: rig.a }, udp(), to(rig.b));
    rig.dp.invalidate([old]);
    await rig.send(rig.a, udp());
    assert.equal((await rig.upcall()).reason, 'stale');
    const next = rig.install({ port: rig.a }, udp(), to(rig.c));
    await rig.send(rig.a, udp());
    await rig.left(rig.c, 1);
    rig.dp.remove([old]);
    await rig.send(rig.a, udp());
    await rig.left(rig.c, 1);
    await rig.settled(rig.a);
    assert.equal(rig.dp.stats(next).packets, 2);
    assert.deepEqual((await rig.bench.received(rig.b)).filter(ours), []);
  },

  'a flow invalidated while it waits for its commit never forwards': async (rig) => {
    const ref = rig.ref();
    rig.dp.install(ref, flowOf({ port: rig.a }, udp(), to(rig.b), EXACT));
    rig.dp.inject(ref, udp(), 0);
    rig.dp.invalidate([ref]);
    rig.dp.commit();
    await rig.dropped('stale-injection', 1);
    await rig.send(rig.a, udp());
    await rig.upcall();
    assert.deepEqual((await rig.bench.received(rig.b)).filter(ours), []);
  },

  'what a flow does is told while there is one of this name': async (rig) => {
    const actions = { ...to(rig.b), vlan: 6, decTtl: 2 };
    const ref = rig.ref();
    assert.equal(rig.dp.actions(ref), undefined);
    rig.dp.install(ref, flowOf({ port: rig.a }, udp(), actions, EXACT));
    const told = (): unknown => {
      const found = rig.dp.actions(ref);
      return found && sorted(found);
    };
    assert.deepEqual(told(), sorted(actions));
    rig.dp.commit();
    assert.deepEqual(told(), sorted(actions));
    assert.equal(rig.dp.actions({ ...ref, generation: ref.generation + 1 }), undefined);
    rig.dp.remove([ref]);
    assert.equal(told(), undefined);
  },

  'a live flow is replaced without a gap': async (rig) => {
    const old = rig.install({ port: rig.a }, udp(), to(rig.b));
    rig.install({ port: rig.a }, udp(), to(rig.c));
    rig.dp.remove([old]);
    await rig.send(rig.a, udp());
    await rig.left(rig.c, 1);
    await rig.settled(rig.a);
    assert.equal(rig.dp.dump().length, 1);
  },

  'a removed flow is gone and its slot can be used again': async (rig) => {
    const old = rig.install({ port: rig.a }, udp(), to(rig.b));
    await rig.send(rig.a, udp());
    await rig.left(rig.b, 1);
    rig.dp.remove([old]);
    rig.dp.remove([old]);
    await rig.send(rig.a, udp());
    assert.equal((await rig.upcall()).reason, 'miss');
    const again = { slot: old.slot, generation: old.generation + 1 };
    rig.dp.install(again, flowOf({ port: rig.b }, udp(), to(rig.c), EXACT));
    rig.dp.commit();
    assert.equal(rig.dp.stats(again).packets, 0);
    rig.dp.invalidate([old]);
    rig.dp.remove([old]);
    rig.dp.inject(old, udp({ id: 5 }), 0);
    rig.dp.commit();
    await rig.dropped('stale-injection', 1);
    await rig.send(rig.b, udp());
    await rig.left(rig.c, 1);
  },

  'frames are sent by a flow, queued or in force, and without one': async (rig) => {
    const ref = rig.ref();
    rig.dp.install(ref, flowOf({ port: rig.a }, udp(), { ...to(rig.b), vlan: 6 }, EXACT));
    const frame = udp({ id: 1 });
    rig.dp.inject(ref, frame, 0);
    frame.fill(0);
    rig.dp.commit();
    assert.deepEqual(await rig.left(rig.b, 1), [hex(udp({ id: 1, vlan: 6 }))]);
    rig.dp.inject(ref, udp({ id: 2 }), 0);
    rig.dp.commit();
    assert.deepEqual(await rig.left(rig.b, 1), [hex(udp({ id: 2, vlan: 6 }))]);
    assert.equal(rig.dp.stats(ref).packets, 2);
    const outputs = [{ port: rig.c }, { key: PORT_KEY, remote: rig.remote }];
    rig.dp.execute(udp({ id: 3, vlan: 2 }), { outputs, ethDst: mac(0x77) }, 0);
    rig.dp.execute(marker(4), to(rig.c), 0);
    rig.dp.commit();
    const want = udp({ id: 3, vlan: 2 });
    put(want, 0, mac(0x77), 6);
    assert.deepEqual(await rig.left(rig.c, 2), [hex(want), hex(marker(4))]);
    assert.equal((await rig.tunnelled(1))[0]?.frame, hex(want));
    await rig.settled(rig.a);
  },

  'an injected frame counts in the drops of a drop flow': async (rig) => {
    const ref = rig.install({ port: rig.a }, udp(), { drop: 'no-recipient', outputs: [] });
    rig.dp.inject(ref, udp(), 0);
    rig.dp.commit();
    await rig.dropped('no-recipient', 1);
  },

  'no frame overtakes an earlier one of its flow': async (rig) => {
    const early = Array.from({ length: 8 }, (_, i) => udp({ id: i }));
    await rig.send(rig.a, ...early);
    const waiting = await rig.upcalls(early.length);
    const ref = rig.ref();
    rig.dp.install(ref, flowOf({ port: rig.a }, udp(), to(rig.b), EXACT));
    for (const upcall of waiting) rig.dp.inject(ref, upcall.frame, upcall.gsoSize);
    rig.dp.commit();
    const late = Array.from({ length: 8 }, (_, i) => udp({ id: 8 + i }));
    await rig.send(rig.a, ...late);
    assert.deepEqual(await rig.left(rig.b, 16), [...early, ...late].map(hex));
  },

  'ports, keys and senders: as asked for, however often': async (rig) => {
    const { dp, a, b, c } = rig;
    dp.addPort(a);
    assert.deepEqual(ascending(dp.ports()), ascending([a, b, c]));
    dp.removePort(b);
    dp.removePort(b);
    assert.deepEqual(ascending(dp.ports()), ascending([a, c]));
    dp.removePort(0x7ffffff0 as DpPort);
    await rig.settled(a);
    dp.addPort(b);
    await rig.send(b, udp({ id: 2 }));
    assert.equal(hex((await rig.upcall()).frame), hex(udp({ id: 2 })));
    dp.setKey({ key: PORT_KEY, port: a, network: FLOOD_KEY });
    dp.setKey({ key: PORT_KEY, port: b, network: FLOOD_KEY });
    assert.deepEqual(dp.keys(), [{ key: PORT_KEY, port: b, network: FLOOD_KEY }]);
    dp.allowSender(rig.remote, FLOOD_KEY);
    dp.allowSender(rig.remote, FLOOD_KEY);
    assert.deepEqual(dp.senders(), [{ source: rig.remote, network: FLOOD_KEY }]);
    await rig.arrive(REMOTE, PORT_KEY, udp({ id: 3 }));
    assert.deepEqual(await rig.left(b, 1), [hex(udp({ id: 3 }))]);
    dp.removeKey(PORT_KEY);
    dp.removeKey(PORT_KEY);
    dp.denySender(rig.remote, FLOOD_KEY);
    dp.denySender(rig.remote, FLOOD_KEY);
    assert.deepEqual([dp.keys(), dp.senders()], [[], []]);
  },

  'a port key may be any number of its 23 bits: they are given out and never used again': async (
    rig,
  ) => {
    const { dp, b } = rig;
    const keys = [1, 0xffff, 0x10000, 0x7fffff] as TunnelKey[];
    dp.allowSender(rig.remote, FLOOD_KEY);
    for (const key of keys) dp.setKey({ key, port: b, network: FLOOD_KEY });
    assert.deepEqual(ascending(dp.keys().map(({ key }) => key)), keys);
    for (const [id, key] of keys.entries()) await rig.arrive(REMOTE, key, udp({ id }));
    assert.deepEqual(
      await rig.left(b, keys.length),
      keys.map((_, id) => hex(udp({ id }))),
    );
    for (const key of keys) dp.removeKey(key);
    await rig.arrive(REMOTE, keys[3] as TunnelKey, udp({ id: 9 }));
    await rig.dropped('unknown-key', 1);
  },

  'an upcall says when its frame came': async (rig) => {
    const before = rig.dp.now();
    await rig.send(rig.a, udp());
    const { timeMs } = await rig.upcall();
    // now() is cut to microseconds.
    assert.ok(timeMs >= before && timeMs <= rig.dp.now() + 0.001, `${before} ${timeMs}`);
  },

  'a dump shows what is installed, and only that': async (rig) => {
    const tunnel = { port: rig.dp.tunnelPort, tunnel: { key: FLOOD_KEY, source: rig.remote } };
    const wanted: [Entry, Actions, FieldSet][] = [
      [{ port: rig.a }, to(rig.b), EXACT],
      [{ port: rig.b }, { drop: 'same-port', outputs: [] }, fieldSet(['ethDst'])],
      [tunnel, { ...to(rig.a, rig.b), vlan: 0 }, fieldSet(['ethDst', 'vlan'])],
      [
        { port: rig.c },
        {
          outputs: [{ key: PORT_KEY, remote: rig.remote }, { port: rig.a }],
          vlan: 9,
          ethSrc: mac(1),
        },
        fieldSet(['ethSrc']),
      ],
      [
        { port: rig.c },
        { outputs: [{ key: PORT_KEY, remote: rig.remote }], decTtl: 1, ethDst: mac(2) },
        fieldSet(['ethSrc', 'ipTtl']),
      ],
      [
        { port: rig.a },
        { outputs: [{ port: rig.b, vlan: 7 }], vlan: 0, decTtl: 255, mtu: 65535 },
        fieldSet(['tpDst']),
      ],
      [
        { port: rig.b },
        { outputs: [{ port: rig.c, vlan: 0 }], decTtl: 2, mtu: 68 },
        fieldSet(['tpDst']),
      ],
      [
        { port: rig.c },
        {
          outputs: [
            { key: FLOOD_KEY, remote: rig.remote, vlan: 0 },
            { port: rig.a, vlan: 4095 },
            { port: rig.b },
            { key: FLOOD_KEY, remote: rig.stranger, vlan: 1 },
          ],
          vlan: 12,
          mtu: 1500,
        },
        fieldSet(['tpDst']),
      ],
      // Its neighbours flood to it with a tag: they may share what they are kept in.
      [
        { port: rig.a },
        {
          outputs: [
            { port: rig.b, vlan: 0 },
            { port: rig.c, vlan: 3 },
          ],
        },
        fieldSet(['ipTos']),
      ],
      [
        { port: rig.b },
        {
          outputs: [
            { port: rig.a, vlan: 0 },
            { port: rig.c, vlan: 3 },
          ],
        },
        fieldSet(['ipTos']),
      ],
    ];
    const installed = wanted.map(([entry, actions, fields]) => ({
      ref: rig.install(entry, udp(), actions, fields),
      flow: flowOf(entry, udp(), actions, fields),
    }));
    const gone = rig.install({ port: rig.a }, udp({ sport: 9 }), to(rig.b));
    const stale = rig.install({ port: rig.a }, udp({ sport: 10 }), to(rig.b));
    rig.dp.remove([gone]);
    rig.dp.invalidate([stale]);
    const text = ({ ref, flow }: (typeof installed)[number]) =>
      JSON.stringify([ref.slot, ref.generation, hex(flow.key), flow.fields, sorted(flow.actions)]);
    assert.deepEqual(rig.dp.dump().map(text).toSorted(), installed.map(text).toSorted());
    // The slot of the stale one is free again.
    rig.dp.install(
      { slot: stale.slot, generation: 9 },
      flowOf({ port: rig.a }, udp({ sport: 10 }), to(rig.c), EXACT),
    );
    rig.dp.commit();
    await rig.send(rig.a, udp({ sport: 10 }));
    await rig.left(rig.c, 1);
  },

  'statistics count frames and bytes, and know when': async (rig) => {
    const ref = rig.install({ port: rig.a }, udp(), to(rig.b));
    assert.deepEqual(rig.dp.stats(ref), { packets: 0, bytes: 0, lastUsedMs: 0 });
    const before = rig.dp.now();
    await rig.send(rig.a, udp(), udp());
    await rig.left(rig.b, 2);
    const { packets, bytes, lastUsedMs } = rig.dp.stats(ref);
    assert.deepEqual([packets, bytes], [2, 120]);
    // A coarse clock may lag by a tick (10 ms at 100 Hz).
    assert.ok(lastUsedMs >= before - 10 && lastUsedMs <= rig.dp.now(), 'last used is now');
    assert.deepEqual(rig.dp.stats({ ...ref, generation: 7 }).packets, 0);
  },

  'junk is accounted frame by frame and harms nobody': async (rig) => {
    const seed = Number(process.env['SEED'] ?? 1);
    const byte = fc.oneof(
      fc.integer({ min: 0, max: 255 }),
      fc.constantFrom(0, 1, 6, 17, 44, 58, 255),
    );
    const type = fc.constantFrom([8, 0], [8, 6], [0x86, 0xdd], [0x81, 0], [0x88, 0xb5]);
    const version = fc.constantFrom(0x45, 0x46, 0x4f, 0x44, 0x60, 0x00);
    const frame = fc
      .tuple(fc.array(byte, { maxLength: 120 }), type, version)
      .map(([bytes, [high = 0, low = 0], first]) => {
        const all = Uint8Array.from([
          2,
          0x4d,
          0x4e,
          0,
          0,
          1,
          2,
          0x4d,
          0x4e,
          0,
          0,
          2,
          high,
          low,
          first,
          ...bytes,
        ]);
        return all;
      });
    const short = fc.uint8Array({ maxLength: 20 });
    const frames = fc
      .sample(fc.oneof(frame, frame, frame, short), { seed, numRuns: 300 })
      .filter((each) => each.length >= rig.bench.frameBytesMin);
    rig.install({ port: rig.a }, udp(), to(rig.b), fieldSet(['ethType']));
    let sent = 0;
    for (const each of frames) {
      await rig.send(rig.a, each);
      sent++;
      await until('the frame is accounted', () => {
        rig.dp.upcalls(() => {}, 64);
        return rig.entered() >= sent ? true : undefined;
      });
      assert.equal(rig.entered(), sent, `once: ${hex(each)}`);
    }
    assert.ok(rig.dp.counters().misses > 0 && rig.dp.counters().hits > 0, 'of all sorts');
  },

  'ports are isolated from each other and from the host': async (rig) => {
    rig.install({ port: rig.a }, udp(), to(rig.b));
    await rig.send(rig.c, udp());
    assert.deepEqual((await rig.upcall()).entry, { port: rig.c });
    await rig.send(rig.b, udp());
    assert.deepEqual((await rig.upcall()).entry, { port: rig.b });
    if (rig.bench.hostSends !== undefined) {
      const before = rig.drops('not-ours');
      await rig.bench.hostSends(rig.b, udp({ id: 9 }));
      await rig.dropped('not-ours', before + 1);
    }
    for (const port of [rig.a, rig.b, rig.c])
      assert.deepEqual((await rig.bench.received(port)).filter(ours), []);
  },
};
