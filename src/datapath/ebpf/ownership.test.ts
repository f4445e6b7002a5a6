/**
 * Whose datapath it is: one process, one run directory, one network namespace; what is left of a
 * machine that started anew; and interfaces that appear while nobody runs it.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { parseDescription } from '#flow/description.ts';
import { unmount } from '#os/mount.ts';
import { linkByName } from '#os/netlink/links.ts';
import { readSysctl } from '#os/sysctl.ts';
import { until } from '../contract/rig.ts';
import { removeDevices } from './devices.ts';
import { guardOnce } from './guard.ts';
import { tryLockRunDir } from './lock.ts';
import { destroyEbpf } from './open.ts';
import {
  bpffsDir,
  linkDir,
  readDescription,
  unlinkPin,
  versionDir,
  writeDescription,
} from './pins.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };

test('a second process is refused and told about the first', options, () => {
  sweep();
  const testbed = new Testbed();
  const other = mkdtempSync(join(tmpdir(), `mnt-${process.pid}-other-`));
  try {
    {
      using _ = testbed.open();
      const process_ = `process ${process.pid}`;
      assert.throws(() => testbed.open(), {
        message: `another process runs the datapath of ${testbed.runDir}: ${process_}`,
      });
      const where = `${process_}, with run directory ${testbed.runDir}, runs the datapath of this`;
      assert.throws(() => testbed.open({ runDir: other }), new RegExp(where));
      // Without its lock, as when somebody emptied the run directory under it.
      rmSync(join(testbed.runDir, 'datapath.lock'));
      assert.throws(() => testbed.open(), new RegExp(where));
    }
    // Nobody runs it, but its flows go on.
    assert.throws(() => testbed.open({ runDir: other }), {
      message:
        `the datapath of this network namespace is that of run directory ${testbed.runDir}, whose ` +
        `flows go on without a process: start it with that one, or unmount ` +
        `${bpffsDir(testbed.runDir)} first`,
    });
    // Nor are its devices taken away with another's pins.
    destroyEbpf(other);
    assert.ok(linkByName('mninj0'));
    testbed.open()[Symbol.dispose]();
    unmount(bpffsDir(testbed.runDir));
    testbed.open({ runDir: other })[Symbol.dispose]();
    destroyEbpf(other);
    assert.equal(linkByName('mninj0'), undefined);
  } finally {
    rmSync(other, { recursive: true, force: true });
    testbed.close();
  }
});

test('a lock file is no lock; the guard is waited for', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    writeFileSync(join(testbed.runDir, 'datapath.lock'), 'agent 4194304\n');
    testbed.open()[Symbol.dispose]();
    assert.match(readFileSync(join(testbed.runDir, 'datapath.lock'), 'utf8'), /^agent \d+\n$/);
    using guard = tryLockRunDir(testbed.runDir, 'guard');
    assert.ok(guard);
    const before = performance.now();
    assert.throws(() => testbed.open(), /another process runs the datapath/);
    assert.ok(performance.now() - before > 1000, 'not at once');
  } finally {
    testbed.close();
  }
});

test('after the machine started anew, or lost its pins, all is made anew', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    for (const devicesToo of [true, false]) {
      {
        using datapath = testbed.open();
        for (const name of ['v1', 'v2'] as const) datapath.addPort(testbed.port(name));
      }
      // The directory and the lock stay; what lived in the kernel does not.
      unmount(bpffsDir(testbed.runDir));
      if (devicesToo) removeDevices();
      using datapath = testbed.open();
      assert.equal(datapath.adopted, false);
      assert.equal(datapath.migration, undefined);
      assert.deepEqual(datapath.ports(), []);
      datapath.addPort(testbed.port('v1'));
      assert.deepEqual(datapath.ports(), [testbed.port('v1')]);
      datapath.removePort(testbed.port('v1'));
    }
  } finally {
    testbed.close();
  }
});

test('maps of another build with the same layout number are refused, not misread', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    const layout = { dir: versionDir(testbed.runDir) };
    {
      using datapath = testbed.open();
      datapath.addPort(testbed.port('v1'));
    }
    const text = readDescription(layout) ?? '';
    assert.ok(parseDescription(text));
    const describe = (as: string): void => {
      unlinkPin(join(layout.dir, 'layout'));
      writeDescription(layout, as);
    };
    describe(text.replace('"NOT_BACK":64', '"NOT_BACK":128'));
    assert.throws(() => testbed.open(), /v\d+ is not of this build, though of the same layout/);
    describe(text);
    using datapath = testbed.open();
    assert.deepEqual(datapath.ports(), [testbed.port('v1')], 'nothing was changed');
  } finally {
    testbed.close();
  }
});

test(
  'a bound name that appears while no agent runs is isolated by the guard',
  options,
  async () => {
    sweep();
    const testbed = new Testbed();
    try {
      const old = testbed.port('v1');
      {
        using datapath = testbed.open();
        datapath.addPort(old);
        datapath.addPort(testbed.port('v2'));
        testbed.remake('v1', old + 100);
        assert.deepEqual(guardOnce(testbed.runDir), [], 'an agent runs: it is its business');
      }
      assert.deepEqual(guardOnce(testbed.runDir), ['v1']);
      assert.deepEqual(guardOnce(testbed.runDir), [], 'once');
      testbed.remake('v1', old + 101);
      assert.deepEqual(guardOnce(testbed.runDir), ['v1'], 'as often as it comes');
      const port = testbed.port('v1');
      const link = linkByName('v1');
      assert.deepEqual([link?.up, link?.arp], [true, false]);
      assert.equal(readSysctl('net/ipv6/conf/v1/disable_ipv6').trim(), '1');
      const pins = readdirSync(linkDir({ dir: versionDir(testbed.runDir) }, 'ports')).sort();
      const index = testbed.port('v2');
      assert.deepEqual(
        pins,
        [`in-${index}-v2`, `in-${port}-v1`, `out-${index}-v2`, `out-${port}-v1`].sort(),
      );
      // Nothing of it gets through, and that is counted.
      using guest = testbed.socket('g1');
      const frame = new Uint8Array(60).fill(0xff, 0, 6);
      await until('the wire is up', () => (guest.send(frame) ? true : undefined));
      using datapath = testbed.open();
      const dropped = await until('frames are dropped', () => {
        guest.send(frame);
        const { drops, misses } = datapath.counters();
        return (drops['upcall-budget'] ?? 0) + misses || undefined;
      });
      assert.ok(dropped > 0);
      assert.deepEqual([...datapath.ports()].sort(), [port, index].sort(), 'and is adopted');
    } finally {
      testbed.close();
    }
  },
);

test(
  'the guard touches nothing of another namespace, and needs nothing to be there',
  options,
  () => {
    sweep();
    const testbed = new Testbed();
    const elsewhere = new Testbed();
    try {
      assert.deepEqual(guardOnce(join(testbed.runDir, 'nowhere')), []);
      assert.deepEqual(guardOnce(testbed.runDir), []);
      // This thread is in the second one's namespace, where there is a v1 as well.
      elsewhere.close();
      {
        using datapath = testbed.open();
        datapath.addPort(testbed.port('v1'));
      }
      testbed.remake('v1', testbed.port('v1') + 100);
      removeDevices();
      assert.deepEqual(guardOnce(testbed.runDir), []);
    } finally {
      testbed.close();
    }
  },
);
