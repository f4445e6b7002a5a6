/**
 * Law 4: the kernel program and the reference do the same to every frame. Real frames over real
 * interfaces: what is handed up has the key of parse.ts, what leaves has the bytes of
 * interpret.ts, and what is too big is so by size.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Actions, Output, TunnelKey } from '#flow/flow.ts';
import { MTU_MIN } from '#flow/flow.ts';
import { KEY, KEY_SIZE } from '#flow/layout.ts';
import type { Copy } from '#flow/interpret.ts';
import { interpret } from '#flow/interpret.ts';
import { EXACT } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import type { Ip4 } from '#net/ip.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import { actionsTo, frames, superPackets } from './frames.arbitrary.ts';
import { Injector } from './inject.ts';
import { isRoot, openBench } from './testbed.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 3000);
const SUPER_PACKETS = Math.ceil(RUNS / 10);
const BATCH = 50;
const TUNNELS = [0xac1f0002, 0xac1f0063].map((remote) => ({
  key: 0x800077 as TunnelKey,
  remote: remote as Ip4,
}));
const DEADLINE_MS = 10_000;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };

async function collect<T>(count: number, take: () => Promise<T[]> | T[]): Promise<T[]> {
  const out: T[] = [];
  const deadline = performance.now() + DEADLINE_MS;
  while (out.length < count && performance.now() < deadline) {
    const more = await take();
    out.push(...more);
    if (more.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  }
  return out;
}

const chunks = <T>(all: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(all.length / BATCH) }, (_, i) =>
    all.slice(i * BATCH, (i + 1) * BATCH),
  );

function keyOf(frame: Uint8Array, port: number): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(frame, key), hex(frame));
  writeEntry(key, { port: port as never });
  return key;
}

test(`the parser: ${RUNS} frames`, options, async (t) => {
  const bench = openBench();
  try {
    const { datapath, ports } = bench;
    const port = ports[0]!;
    datapath.addPort(port);
    const kinds = new Set<string>();
    for (const batch of chunks(
      fc.sample(frames(bench.frameBytesMin), { seed: SEED, numRuns: RUNS }),
    )) {
      for (const frame of batch) await bench.send(port, frame);
      const got = await collect(batch.length, () => {
        const seen: string[] = [];
        datapath.upcalls((upcall) => {
          seen.push(`${hex(upcall.frame)} ${hex(upcall.key)}`);
          kinds.add(
            hex(upcall.key.subarray(KEY.eth_type, KEY.vlan)) + (upcall.key[KEY.ip_frag] ?? 0),
          );
        }, 1000);
        return seen;
      });
      assert.deepEqual(
        got,
        batch.map((frame) => `${hex(frame)} ${hex(keyOf(frame, port))}`),
      );
    }
    t.diagnostic(`${RUNS} keys equal; ${kinds.size} combinations of type and fragment`);
    assert.ok(kinds.size > 8, 'the frames are of many sorts');
  } finally {
    await bench.close();
  }
});

type Case = readonly [frame: Uint8Array, actions: Actions];
type Fate = 'passes' | 'ttl' | 'too-big';

/** From a size to an MTU: where one off would be seen. */
const nearby = fc.integer({ min: -1, max: 1 });
/** With an MTU about as large as the packet, where there is one and such an MTU is possible. */
function asTight([frame, actions, off]: [Uint8Array, Actions, number]): Case {
  const mtu = packetSize(frame, 0) + off;
  return [frame, actions.mtu === undefined || mtu < MTU_MIN ? actions : { ...actions, mtu }];
}

/** What a lookup makes of a frame. */
function fateOf(frame: Uint8Array, { decTtl, mtu }: Actions): Fate {
  const key = keyOf(frame, 0);
  const type = hex(key.subarray(KEY.eth_type, KEY.vlan));
  const ip = type === '0800' || type === '86dd';
  if (ip && decTtl !== undefined && (key[KEY.ip_ttl] ?? 0) <= decTtl) return 'ttl';
  return mtu !== undefined && packetSize(frame, 0) > mtu ? 'too-big' : 'passes';
}

/**
 * Whether a tagged frame so short gets past the far end's kernel depends on where it keeps the tag.
 */
const lasting = (frame: Uint8Array, min: number): boolean =>
  frame.length >= min || !['8100', '88a8'].includes(hex(frame.subarray(12, 14)));

/** Whether the tunnel device takes a frame: not one that lacks some of its IP header. */
function tunnelled(frame: Uint8Array): boolean {
  const typeAt = (at: number): string => hex(frame.subarray(at, at + 2));
  let at = 12;
  while (['8100', '88a8'].includes(typeAt(at))) at += 4;
  const header = { '0800': 20, '86dd': 40 }[typeAt(at)] ?? 0;
  return frame.length >= at + 2 + header;
}

const carried = ({ output, frame }: Copy, min: number): boolean =>
  'remote' in output ? tunnelled(frame) : lasting(frame, min);

/** Where an output leads, whatever its tag. */
const placeOf = (output: Output): string =>
  'port' in output ? `port ${output.port}` : `host ${output.remote}`;

/** Frames by where they leave. */
type Left = Map<string, string[]>;
function add(left: Left, place: string, frame: Uint8Array): void {
  left.set(place, [...(left.get(place) ?? []), hex(frame)]);
}
const sizeOf = (left: Left): number =>
  [...left.values()].reduce((sum, { length }) => sum + length, 0);
const inOrder = (left: Left): [string, string[]][] =>
  [...left].toSorted(([a], [b]) => (a < b ? -1 : 1));

/** What leaves a bench until it is so many frames. */
async function leaves(bench: ReturnType<typeof openBench>, count: number): Promise<Left> {
  const left: Left = new Map();
  await collect(count, async () => {
    const before = sizeOf(left);
    for (const port of bench.ports)
      for (const frame of await bench.received(port)) add(left, placeOf({ port }), frame);
    for (const { key, remote, frame } of await bench.tunnelled())
      add(left, placeOf({ key, remote }), frame);
    return Array.from({ length: sizeOf(left) - before });
  });
  return left;
}

for (const way of ['by a flow', 'sent by the agent'] as const) {
  test(`the actions, ${way}: ${RUNS} frames`, options, async (t) => {
    const bench = openBench();
    try {
      const { datapath, ports, frameBytesMin } = bench;
      const from = ports[0]!;
      for (const port of ports) datapath.addPort(port);
      const places = [{ port: ports[1]! }, { port: ports[2]! }, ...TUNNELS];
      const cases = fc.tuple(frames(frameBytesMin), actionsTo(places), nearby).map(asTight);
      const fates = { passes: 0, ttl: 0, 'too-big': 0 };
      let rewritten = 0;
      for (const batch of chunks<Case>(fc.sample(cases, { seed: SEED + 1, numRuns: RUNS }))) {
        const lasts = batch.filter(([frame, actions]) =>
          interpret(frame, actions).every((copy) => carried(copy, frameBytesMin)),
        );
        const all = [...new Map(lasts.map((each) => [hex(keyOf(each[0], from)), each])).values()];
        const want: Left = new Map();
        const wantUp: string[] = [];
        for (const [frame, actions] of all) {
          let fate = fateOf(frame, actions);
          if (way === 'sent by the agent' && fate === 'too-big') fate = 'passes';
          fates[fate]++;
          if (fate !== 'passes') wantUp.push(`${fate} ${hex(frame)}`);
          else
            for (const copy of interpret(frame, actions)) {
              add(want, placeOf(copy.output), copy.frame);
              if (hex(copy.frame) !== hex(frame)) rewritten++;
            }
        }
        const refs = all.map((_, slot) => ({ slot, generation: 7 }));
        const up: string[] = [];
        if (way === 'by a flow') {
          for (const [slot, [frame, actions]] of all.entries())
            datapath.install(refs[slot]!, { key: keyOf(frame, from), fields: EXACT, actions });
          datapath.commit();
          for (const [frame] of all) await bench.send(from, frame);
        } else {
          for (const [frame, actions] of all) datapath.execute(frame, actions, 0);
          datapath.commit();
        }
        assert.deepEqual(inOrder(await leaves(bench, sizeOf(want))), inOrder(want));
        datapath.upcalls((upcall) => up.push(`${upcall.reason} ${hex(upcall.frame)}`), 1000);
        if (way === 'by a flow') assert.deepEqual(up, wantUp);
        datapath.remove(refs);
      }
      t.diagnostic(`${rewritten} rewritten copies equal; ${JSON.stringify(fates)}`);
      assert.ok(rewritten > RUNS / 2 && fates.ttl > 0, 'the actions do something');
      const { misses, drops } = datapath.counters();
      if (way === 'by a flow') {
        assert.ok(fates['too-big'] > 0, 'some are too big');
        assert.deepEqual([misses, drops], [fates.ttl + fates['too-big'], {}]);
      } else assert.deepEqual(drops, { malformed: fates.ttl });
    } finally {
      await bench.close();
    }
  });
}

test(`the size of segments: ${SUPER_PACKETS} super-packets`, options, async (t) => {
  const bench = openBench();
  const { datapath, ports, testbed } = bench;
  const [from, to] = [ports[0]!, ports[1]!];
  // A workload's end of the wire, where frames can be sent with what virtio says of them.
  const sender = inNetns(netnsPath(testbed.guest), () => new Injector(linkByName('g1')!.index));
  try {
    datapath.addPort(from);
    datapath.addPort(to);
    await bench.send(from, new Uint8Array(60));
    const cases = fc.tuple(superPackets, nearby);
    const fates = { passes: 0, 'too-big': 0 };
    for (const [{ frame, gsoSize }, off] of fc.sample(cases, {
      seed: SEED + 2,
      numRuns: SUPER_PACKETS,
    })) {
      const size = packetSize(frame, gsoSize);
      const ref = { slot: 0, generation: 7 };
      const key = keyOf(frame, from);
      const actions = { outputs: [{ port: to }], mtu: size + off };
      datapath.install(ref, { key, fields: EXACT, actions });
      datapath.commit();
      datapath.upcalls(() => {}, 1000);
      sender.push(0, 0, frame, gsoSize);
      sender.flush();
      const fate = size > actions.mtu ? 'too-big' : 'passes';
      fates[fate]++;
      const [seen] = await collect(1, async () => {
        const ends = (await bench.received(to)).map(({ length }) => `passes ${length}`);
        datapath.upcalls((up) => {
          ends.push(`${up.reason} ${up.frame.length} ${up.gsoSize}`);
          assert.equal(packetSize(up.frame, up.gsoSize), size);
        }, 10);
        return ends;
      });
      const want = `${fate} ${frame.length}${fate === 'passes' ? '' : ` ${gsoSize}`}`;
      assert.equal(seen, want, `${hex(frame.subarray(0, 80))} in segments of ${gsoSize}`);
      datapath.remove([ref]);
    }
    t.diagnostic(JSON.stringify(fates));
    assert.ok(Math.min(...Object.values(fates)) > SUPER_PACKETS / 10, 'of both sorts');
    assert.equal(sender.lost, 0);
  } finally {
    sender[Symbol.dispose]();
    await bench.close();
  }
});
