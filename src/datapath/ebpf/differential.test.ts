/**
 * Law 4: the kernel program and the reference do the same to every frame. Real frames over real
 * interfaces: what is handed up has the key of parse.ts, and what leaves has the bytes of
 * interpret.ts.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Actions } from '#flow/flow.ts';
import { KEY, KEY_SIZE } from '#flow/layout.ts';
import { interpret, rewrite } from '#flow/interpret.ts';
import { EXACT } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { actionsTo, frames } from './frames.arbitrary.ts';
import { isRoot, openBench } from './testbed.ts';

const SEED = Number(process.env['SEED'] ?? 1);
const RUNS = Number(process.env['RUNS'] ?? 3000);
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

type Case = readonly [frame: Uint8Array, actions: Actions];

/** Whether a lookup hands the frame up instead: its TTL is used up. */
const expires = (key: Uint8Array, actions: Actions): boolean => {
  const type = hex(key.subarray(KEY.eth_type, KEY.vlan));
  return (
    actions.decTtl === true && (type === '0800' || type === '86dd') && (key[KEY.ip_ttl] ?? 0) <= 1
  );
};

/**
 * Whether a tagged frame so short gets past the far end's kernel depends on where it keeps the tag.
 */
const lasting = (frame: Uint8Array, min: number): boolean =>
  frame.length >= min || !['8100', '88a8'].includes(hex(frame.subarray(12, 14)));

for (const way of ['by a flow', 'sent by the agent'] as const) {
  test(`the actions, ${way}: ${RUNS} frames`, options, async (t) => {
    const bench = openBench();
    try {
      const { datapath, ports } = bench;
      const [from, to] = [ports[0]!, ports[1]!];
      datapath.addPort(from);
      datapath.addPort(to);
      const cases = fc.tuple(frames(bench.frameBytesMin), actionsTo(to));
      let rewritten = 0;
      let expired = 0;
      for (const batch of chunks<Case>(fc.sample(cases, { seed: SEED + 1, numRuns: RUNS }))) {
        const lasts = batch.filter((each) => lasting(rewrite(...each), bench.frameBytesMin));
        const unique = new Map(lasts.map((each) => [hex(keyOf(each[0], from)), each]));
        const live = [...unique.values()].filter(
          ([frame, actions]) => !expires(keyOf(frame, from), actions),
        );
        expired += unique.size - live.length;
        const refs = [...unique.values()].map((_, slot) => ({ slot, generation: 7 }));
        if (way === 'by a flow') {
          for (const [slot, [frame, actions]] of [...unique.values()].entries()) {
            datapath.install(
              { slot, generation: 7 },
              { key: keyOf(frame, from), fields: EXACT, actions },
            );
          }
          datapath.commit();
          for (const [frame] of unique.values()) await bench.send(from, frame);
        } else {
          for (const [frame, actions] of unique.values()) datapath.execute(frame, actions, 0);
          datapath.commit();
        }
        const all = live.map(([frame, actions]) => interpret(frame, actions)[0]!.frame);
        const want = all.map(hex);
        const got = await collect(want.length, async () => (await bench.received(to)).map(hex));
        assert.deepEqual(got, want);
        rewritten += live.filter(([frame], i) => hex(all[i]!) !== hex(frame)).length;
        if (way === 'by a flow') datapath.remove(refs);
        datapath.upcalls(() => {}, 1000);
      }
      t.diagnostic(`${rewritten} rewritten frames equal; ${expired} with a TTL that was used up`);
      assert.ok(rewritten > RUNS / 2 && expired > 0, 'the actions do something');
      const { misses, drops } = datapath.counters();
      if (way === 'by a flow') assert.deepEqual([misses, drops], [expired, {}]);
      else assert.deepEqual(drops, { malformed: expired });
    } finally {
      await bench.close();
    }
  });
}
