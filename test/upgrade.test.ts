/**
 * Upgrades and downgrades of the datapath's layout, and kills on the way: installed flows forward
 * every frame meanwhile, and afterwards all is known that was.
 */
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { basename } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { until } from '#datapath/contract/rig.ts';
import { bpffsDir } from '#datapath/ebpf/pins.ts';
import { isRoot, sweep, Testbed } from '#datapath/ebpf/testbed.ts';
import { LAYOUT_VERSION } from '#flow/layout.ts';
import { makeNextTree, missingForNext, NEXT, type Tree } from '#lab/experiment/next-layout.ts';
import {
  allArrive,
  kill,
  killAll,
  Load,
  SET_UP,
  startPart,
  told,
  type Told,
} from './upgrade.fixture.ts';

const lack = isRoot() ? await missingForNext() : 'root: network namespaces and bpf(2)';
const skip = lack === undefined ? false : `needs ${lack}`;
/** Kill points of a change of layout that the default run tries; the experiment tries all. */
const SAMPLE = 3;

/** What must be the same whoever runs the datapath. */
const kept = ({ ports, keys, senders, flows }: Told) => ({ ports, keys, senders, flows });
const layouts = (testbed: Testbed): string[] =>
  readdirSync(bpffsDir(testbed.runDir)).filter((name) => name.startsWith('v'));
const versionName = (n: number): string => `v${LAYOUT_VERSION + n}`;

suite('a change of layout', { skip }, () => {
  let next: Tree;
  before(async () => (next = await makeNextTree()));
  after(() => next[Symbol.dispose]());

  test('N, N+1, N under load: nothing is lost, and all is known', async (t) => {
    sweep();
    const testbed = new Testbed();
    try {
      let running = await told(testbed, { body: SET_UP });
      const first = running.told;
      assert.equal(first.flows.length, 5);
      using load = new Load(testbed);
      await until('frames arrive', () => (load.arrived.length > 50 ? true : undefined));
      let packets = 0;
      for (const tree of [next.root, undefined, next.root, undefined]) {
        await kill(running);
        running = await told(testbed, tree === undefined ? {} : { tree });
        const now = running.told;
        assert.deepEqual(kept(now), kept(first));
        assert.equal(now.version, LAYOUT_VERSION + (tree === undefined ? 0 : 1));
        assert.equal(now.adopted, true);
        assert.deepEqual(now.migration?.left, {});
        const { flows, keys, senders, masks, groups, members } = now.migration.carried;
        assert.deepEqual([flows, keys, senders, masks, groups, members], [5, 1, 2, 2, 1, 3]);
        assert.ok(now.packets > packets, 'statistics go on');
        assert.ok(now.hits > packets, 'and so do counters');
        packets = now.packets;
        assert.deepEqual(layouts(testbed), [versionName(tree === undefined ? 0 : 1)]);
        t.diagnostic(`layout ${now.migration.from} to ${now.version}: ${now.migration.ms} ms`);
      }
      await allArrive(load);
      t.diagnostic(`${load.sent} of ${load.sent} frames`);
    } finally {
      await killAll();
      testbed.close();
    }
  });

  test('what the other version does not understand is left out, and nothing else', async () => {
    sweep();
    const testbed = new Testbed();
    try {
      // A flag in flow 5, a field in a member of flow 9's group and in a port key: all of N+1.
      const strange = `${SET_UP}
        const { ACTION_STRUCT, KEY_TARGET, MEMBER, offsets, sizeOf } =
          await import('#flow/layout.ts');
        const { BpfMap, openPinned } = await import('#os/bpf.ts');
        const { versionDir } = await import('#datapath/ebpf/pins.ts');
        const edit = (name, key, rows, change) => {
          const map = new BpfMap(openPinned(versionDir(runDir) + '/maps/' + name), 4, sizeOf(rows));
          map.key.u32(0, key);
          map.lookup();
          change(map.value, offsets(rows));
          map.update();
        };
        edit('actions', 5, ACTION_STRUCT, (value, at) =>
          value.u32(at.flags, value.view.getUint32(at.flags, true) | ${NEXT.bit}));
        edit('members', 1, MEMBER, (value, at) => value.u32(at.${NEXT.field}, 1));
        const edit77 = (value, at) => value.u32(at.${NEXT.field}, 1);
        edit('keys', 77, KEY_TARGET, edit77);
      `;
      const there = await told(testbed, { tree: next.root, body: strange });
      assert.equal(there.told.flows.length, 5);
      await kill(there);
      const here = await told(testbed);
      assert.deepEqual(
        here.told.flows.map((text) => (JSON.parse(text) as [{ slot: number }])[0].slot),
        [11, 12, 13],
      );
      assert.deepEqual(here.told.migration?.left, { flows: 2, members: 1, groups: 1, keys: 1 });
      // Frames of a flow that was left out are handed up, not forwarded and not dropped.
      using load = new Load(testbed);
      await until('frames are sent', () => (load.sent > 20 ? true : undefined));
      load.stop();
      await kill(here);
      const again = await told(testbed, {
        body:
          'const seen = []; dp.upcalls(({ reason }) => seen.push(reason), 4096);' +
          "if (seen.length < 20 || seen.some((x) => x !== 'miss')) throw new Error(seen.join());",
      });
      assert.deepEqual(load.arrived, []);
      assert.equal(again.told.migration, undefined);
    } finally {
      await killAll();
      testbed.close();
    }
  });

  test('killed at any point of it, either version goes on', async (t) => {
    sweep();
    const testbed = new Testbed();
    try {
      const start = await told(testbed, { body: SET_UP });
      await kill(start);
      const probe = await told(testbed, { tree: next.root, killAt: 1_000_000 });
      await kill(probe);
      await kill(await told(testbed));
      const { startPoints: points } = probe.told;
      assert.ok(points > 50, `${points} points`);
      using load = new Load(testbed);
      for (let i = 0; i < SAMPLE; i++) {
        const killAt = 1 + Math.floor((points * (i + 0.5)) / SAMPLE);
        const died = await startPart(testbed, { tree: next.root, killAt });
        assert.equal(died, undefined, `killed at point ${killAt}`);
        // The same version goes on, then the other; or the other goes back.
        const trees = i % 2 === 0 ? [next.root, undefined] : [undefined];
        for (const tree of trees) {
          const running = await told(testbed, tree === undefined ? {} : { tree });
          assert.deepEqual(kept(running.told), kept(start.told), `after point ${killAt}`);
          assert.deepEqual(layouts(testbed), [versionName(tree === undefined ? 0 : 1)]);
          await kill(running);
        }
      }
      await allArrive(load);
      t.diagnostic(`${points} points, ${SAMPLE} tried; ${load.sent} of ${load.sent} frames`);
    } finally {
      await killAll();
      testbed.close();
    }
  });
});

test('a copy with the next layout is gone afterwards', { skip }, async () => {
  const tree = await makeNextTree();
  assert.match(basename(tree.root), /^midonet-next-/);
  tree[Symbol.dispose]();
  assert.equal(existsSync(tree.root), false);
});
