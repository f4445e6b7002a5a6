/**
 * Law 4, in parts: what is handed up has the key of parse.ts, byte by byte, and what is too big is
 * so by size.ts. Real frames over real interfaces; all the rest is in `whole.test.ts`.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { KEY, KEY_SIZE } from '#flow/layout.ts';
import { EXACT } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import { frames, superPackets } from './frames.arbitrary.ts';
import { Injector } from './inject.ts';
import { isRoot, openBench } from './testbed.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 3000);
const SUPER_PACKETS = Math.ceil(RUNS / 10);
const BATCH = 50;
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

/** From a size to an MTU: where one off would be seen. */
const nearby = fc.integer({ min: -1, max: 1 });

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
