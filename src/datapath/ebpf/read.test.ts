/**
 * Counters are read from the pinned maps, by another process too, while the datapath is open and
 * after it was closed; and what is told port by port adds up to what is told of the host.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { run } from '#os/run.ts';
import { FLOOD_KEY, REMOTE, to, udp } from '../contract/frames.ts';
import { Rig } from '../contract/rig.ts';
import { readStats } from './read.ts';
import type { DatapathStats } from './read.ts';
import { isRoot, openBench } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const mn = new URL('../../mn.ts', import.meta.url).pathname;
const stats = (...args: readonly string[]) =>
  run(process.execPath, [mn, 'agent', 'stats', ...args], { deadlineMs: 20_000 });

const bucket = { perSecond: 1, burst: 40 };
const TIGHT = { frames: bucket, groups: bucket, control: bucket, guards: bucket, stale: bucket };

function dropsOf(found: DatapathStats, port: number): Readonly<Record<string, number>> {
  return found.entries.find((entry) => entry.port === port && entry.source === undefined)!.drops;
}

test(
  'every drop is told, port by port, by reason, with and without an agent',
  options,
  async () => {
    const bench = openBench({ upcallBudget: TIGHT });
    let closed = false;
    try {
      const rig = new Rig(bench);
      const { runDir } = bench.testbed;
      rig.install({ port: rig.a }, udp(), { drop: 'no-route', outputs: [] });
      rig.install({ port: rig.b }, udp(), to(rig.c));
      rig.dp.allowSender(rig.remote, FLOOD_KEY);
      for (let i = 0; i < 5; i++) await rig.send(rig.a, udp());
      for (let i = 0; i < 60; i++) await rig.send(rig.b, udp({ sport: 1 + i, id: i }));
      await rig.send(rig.b, udp());
      await rig.arrive(REMOTE, FLOOD_KEY, udp());
      await rig.dropped('no-route', 5);
      await rig.left(rig.c, 1);
      const isIn = (): boolean => rig.entered() >= 67;
      while (!isIn()) await new Promise((resolve) => setTimeout(resolve, 2));
      rig.dp.dropped('no-port', { port: rig.b });
      rig.dp.dropped('malformed');
      rig.dp.note({ upcalls: 7, evictedOwn: 3 });

      const found = readStats(runDir);
      const { counters, entries } = found;
      assert.deepEqual(counters, rig.dp.counters());
      const b = entries.find((entry) => entry.port === rig.b)!;
      assert.deepEqual(dropsOf(found, rig.a), { 'no-route': 5 });
      assert.ok(b.up.frames >= 40 && b.up.frames < 60);
      assert.deepEqual(b.drops, { 'upcall-budget': 60 - b.up.frames });
      assert.deepEqual([b.interface, b.flows, b.masks], ['v2', 1, 1]);
      assert.deepEqual([b.agentDrops, found.agentDrops], [{ 'no-port': 1 }, { malformed: 1 }]);
      assert.ok(b.queuedBytes > 0, 'nobody has read them');
      assert.deepEqual([found.notes.upcalls, found.notes.evictedOwn], [7, 3]);
      assert.deepEqual([found.flows, found.masks, found.slots], [2, 1, 4096]);
      const remote = entries.find((entry) => entry.source === REMOTE)!;
      assert.equal(remote.up.frames, 1);
      const up = entries.flatMap((entry) => Object.values(entry.up)).reduce((a, n) => a + n, 0);
      assert.equal(up, counters.misses);
      for (const [reason, n] of Object.entries(counters.drops)) {
        const own = entries.map(({ drops }) => (drops as Readonly<Record<string, number>>)[reason]);
        assert.equal(
          own.reduce<number>((a, each) => a + (each ?? 0), 0),
          n,
          reason,
        );
      }

      const during = await stats('--run-dir', runDir);
      rig.dp.upcalls(() => {}, 1000);
      assert.ok(readStats(runDir).entries.every(({ queuedBytes }) => queuedBytes === 0));
      bench.datapath[Symbol.dispose]();
      closed = true;
      const after = await stats('--run-dir', runDir);
      assert.equal(after.stdout, during.stdout);
      assert.match(after.stdout, /^flows 2 of 4096, masks 1 of 32 \(a port: 8\)\n/);
      assert.match(after.stdout, /^v1 \(\d+\) +1 +1 +0 +5 +0 +- +no-route 5$/m);
      assert.match(after.stdout, /^from 172\.31\.0\.2 +0 +0 +1 +0 +0 +frames 1 +-$/m);
      assert.match(after.stdout, /^since the agent started: upcalls 7, evictedOwn 3/m);
      const json = JSON.parse((await stats('--run-dir', runDir, '--json')).stdout) as DatapathStats;
      assert.deepEqual(json.counters, counters);
      assert.deepEqual(dropsOf(json, rig.a), { 'no-route': 5 });
    } finally {
      if (closed) bench.testbed.close();
      else await bench.close();
    }
  },
);

test('where there is no datapath it says so', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'mn-stats-'));
  try {
    const none = await stats('--run-dir', dir);
    assert.match(none.stderr, /^mn agent stats: there is no datapath in .*: is that the agent's/);
    assert.match((await stats('--runs', dir)).stderr, /^mn agent stats: Unknown option '--runs'/);
    assert.match((await stats('--help')).stdout, /No agent has to run/);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
