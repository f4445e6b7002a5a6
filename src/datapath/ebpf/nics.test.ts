/**
 * A port bound to a card of the host. The stand-in filters as a card does: a bridge's own interface
 * takes frames for its MAC and for groups, and others only when it is told to take all.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { linkByName } from '#os/netlink/links.ts';
import { EXACT } from '#flow/mask.ts';
import { flowOf, hex, to, udp } from '../contract/frames.ts';
import { until } from '../contract/rig.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };

test('a card carries frames for workloads, whose MACs are not its own', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const ip = (...args: string[]) => execFileSync('ip', ['-n', testbed.host, ...args]);
    ip('link', 'add', 'nic0', 'up', 'type', 'bridge', 'mcast_snooping', '0');
    ip('link', 'set', 'v1', 'up', 'master', 'nic0');
    const [nic, b] = [testbed.port('nic0'), testbed.port('v2')];
    using wire = testbed.socket('g1');
    using workload = testbed.socket('g2');
    using dp = testbed.open();
    for (const port of [nic, b]) dp.addPort(port);
    assert.equal(linkByName('nic0')?.promiscuous, true);
    assert.equal(linkByName('v2')?.promiscuous, false, 'a cable needs nothing');
    const back = udp({ src: 2, dst: 1 });
    dp.install({ slot: 0, generation: 1 }, flowOf({ port: nic }, udp(), to(b), EXACT));
    dp.install({ slot: 1, generation: 1 }, flowOf({ port: b }, back, to(nic), EXACT));
    dp.commit();
    // A bridge loses frames for a moment after it was set up.
    const inwards = await until('a frame comes from the wire', () => {
      wire.send(udp());
      return workload.receive();
    });
    assert.equal(hex(inwards), hex(udp()));
    const outwards = await until('a frame goes out to the wire', () => {
      workload.send(back);
      return wire.receive();
    });
    assert.equal(hex(outwards), hex(back));
    dp.removePort(nic);
    const { up, promiscuous } = linkByName('nic0') ?? {};
    assert.deepEqual([up, promiscuous], [false, false], 'let go, it is as it was, and down');
  } finally {
    testbed.close();
  }
});
