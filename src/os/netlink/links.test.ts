/** Interfaces of a namespace of our own: made, changed, watched, deleted. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { HeldNetns, enterNetns, netnsPath } from '../netns.ts';
import { PacketSocket } from '../packet-socket.ts';
import { disableIpv6, readSysctl } from '../sysctl.ts';
import { addAddress, listAddresses } from './addresses.ts';
import {
  createVeth,
  createVxlan,
  deleteLink,
  linkByIndex,
  linkByName,
  listLinks,
  setLink,
} from './links.ts';
import { LinkMonitor } from './monitor.ts';

const options = { skip: process.getuid?.() !== 0 && 'needs root: network namespaces' };
const DEADLINE_MS = 10_000;

/** Runs inside a new namespace, which is gone afterwards. */
async function inside(name: string, body: () => Promise<void>): Promise<void> {
  const namespace = `mnt-${process.pid}-${name}`;
  using home = new HeldNetns();
  execFileSync('ip', ['netns', 'add', namespace]);
  try {
    enterNetns(netnsPath(namespace));
    await body();
  } finally {
    home.enter();
    execFileSync('ip', ['netns', 'del', namespace]);
  }
}

const must = <T>(value: T | undefined): T => {
  assert.ok(value !== undefined);
  return value;
};

test('veth and VXLAN: made, found, changed, deleted', options, () =>
  inside('links', async () => {
    createVeth({ name: 'a0', peer: 'a1', mtu: 9000 });
    assert.throws(() => createVeth({ name: 'a0', peer: 'b1' }), /make interface a0: EEXIST/);
    createVxlan({ name: 'x0', udpPort: 6677, mtu: 65000 });
    assert.deepEqual(
      listLinks()
        .map((link) => link.name)
        .sort(),
      ['a0', 'a1', 'lo', 'x0'],
    );
    const a0 = must(linkByName('a0'));
    assert.deepEqual(
      [a0.kind, a0.mtu, a0.up, a0.arp, a0.mac.length],
      ['veth', 9000, false, true, 6],
    );
    const x0 = must(linkByName('x0'));
    assert.deepEqual([x0.kind, x0.mtu, x0.vxlanPort], ['vxlan', 65000, 6677]);
    disableIpv6('a0');
    assert.equal(readSysctl('net/ipv6/conf/a0/disable_ipv6'), '1');
    setLink(a0.index, { up: true, arp: false, mtu: 1400, mac: Uint8Array.of(2, 0, 0, 0, 0, 9) });
    const changed = must(linkByIndex(a0.index));
    assert.deepEqual(
      [changed.up, changed.arp, changed.mtu, changed.mac[5]],
      [true, false, 1400, 9],
    );
    const address = { index: a0.index, address: Uint8Array.of(10, 0, 0, 1), prefixLength: 24 };
    addAddress(address);
    addAddress(address);
    assert.deepEqual(
      listAddresses().map((each) => ({ ...each, address: each.address.slice() })),
      [address],
    );
    deleteLink(a0.index);
    deleteLink(a0.index);
    assert.equal(linkByIndex(a0.index), undefined);
    assert.equal(linkByName('a1'), undefined);
    assert.throws(() => setLink(a0.index, { up: true }), /ENODEV/);
    await Promise.resolve();
  }),
);

test('the monitor tells of interfaces that come, change and go', options, () =>
  inside('monitor', async () => {
    using monitor = new LinkMonitor();
    assert.deepEqual(monitor.read(), []);
    createVeth({ name: 'a0', peer: 'a1' });
    const { index } = must(linkByName('a0'));
    setLink(index, { up: true });
    deleteLink(index);
    const seen: string[] = [];
    for (const deadline = performance.now() + DEADLINE_MS; performance.now() < deadline;) {
      for (const event of monitor.read()) {
        if (event.type !== 'overrun' && event.link.name === 'a0')
          seen.push(`${event.type} ${event.link.up}`);
      }
      if (seen.some((each) => each.startsWith('gone'))) break;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    assert.equal(seen[0], 'changed false');
    assert.ok(seen.includes('changed true'));
    assert.match(seen.at(-1) ?? '', /^gone/);
  }),
);

test('a packet socket sends and receives whole frames, tags in place', options, () =>
  inside('packet', async () => {
    createVeth({ name: 'a0', peer: 'a1' });
    for (const name of ['a0', 'a1']) {
      disableIpv6(name);
      setLink(must(linkByName(name)).index, { up: true, arp: false });
    }
    using left = new PacketSocket(must(linkByName('a0')).index);
    using right = new PacketSocket(must(linkByName('a1')).index);
    assert.equal(right.receive(), undefined);
    for (const head of [
      [0x88, 0xb5],
      [0x81, 0, 0x60, 5, 0x88, 0xb5],
      [0x88, 0xa8, 0, 7, 0x81, 0, 0, 9],
    ]) {
      const frame = new Uint8Array(64);
      frame.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, ...head]);
      assert.ok(left.send(frame));
      let got = right.receive();
      for (
        const deadline = performance.now() + DEADLINE_MS;
        got === undefined && performance.now() < deadline;
      ) {
        await new Promise((resolve) => setTimeout(resolve, 1));
        got = right.receive();
      }
      assert.deepEqual(got, frame);
      assert.equal(left.receive(), undefined, 'what was sent is not received');
    }
  }),
);
