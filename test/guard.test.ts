/** `mn agent --guard`, the process: sees a bound name come back while no agent runs. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { until } from '#datapath/contract/rig.ts';
import { linkDir, versionDir } from '#datapath/ebpf/pins.ts';
import { isRoot, sweep, Testbed } from '#datapath/ebpf/testbed.ts';
import { netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };

test(
  'the guard isolates an interface under a bound name, and ends when told',
  options,
  async () => {
    sweep();
    const testbed = new Testbed();
    const { runDir, host } = testbed;
    try {
      const old = testbed.port('v1');
      {
        using datapath = testbed.open();
        datapath.addPort(old);
      }
      const mn = join(import.meta.dirname, '../src/mn.ts');
      const words = [process.execPath, mn, 'agent', '--guard', '--run-dir', runDir];
      const guard = spawn('nsenter', [`--net=${netnsPath(host)}`, '--', ...words]);
      const ended = once(guard, 'exit');
      let log = '';
      guard.stderr.setEncoding('utf8').on('data', (text: string) => (log += text));
      try {
        await until('it has started', () => (log.includes('guard started') ? true : undefined));
        testbed.remake('v1', old + 50);
        const pins = linkDir({ dir: versionDir(runDir) }, 'ports');
        await until('it isolates', () => {
          const files = readdirSync(pins);
          const whole = [`in-${old + 50}-v1`, `out-${old + 50}-v1`].every((f) => files.includes(f));
          return whole && linkByName('v1')?.arp === false ? true : undefined;
        });
        await until('it says so', () => (/isolated.*v1/.test(log) ? true : undefined));
      } finally {
        guard.kill('SIGTERM');
      }
      assert.deepEqual(await ended, [0, null], log);
    } finally {
      testbed.close();
    }
  },
);
