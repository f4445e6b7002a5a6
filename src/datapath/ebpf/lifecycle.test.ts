/**
 * The kernel's part outlives the agent's: adoption after a kill, the lock, vanished interfaces,
 * teardown.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, renameSync, unlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'node:test';
import type { DpPeer, DpPort, Flow, TunnelKey } from '#flow/flow.ts';
import { ENTRY_KEY, ENTRY_REF, FLOW_VALUE, KEY, KEY_SIZE, sizeOf } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import type { Ip4 } from '#net/ip.ts';
import { BpfMap, openPinned } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import { netnsPath } from '#os/netns.ts';
import { deleteLink, linkByName, listLinks } from '#os/netlink/links.ts';
import { patient } from '#os/patience.ts';
import { fieldSet } from '#virtual/match.ts';
import { AMPLE_BUDGET } from '../contract/bench.ts';
import { REMOTE6 } from '../contract/frames.ts';
import { until } from '../contract/rig.ts';
import { FRAME_BYTES_MAX } from './inject.ts';
import { destroyEbpf } from './open.ts';
import type { EbpfDatapath } from './open.ts';
import { bpffsDir, versionDir } from './pins.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const REPOSITORY = join(import.meta.dirname, '../../..');
const FIELDS = fieldSet(['ethDst', 'ethType']);
const FRAMES = 2000;
const DEADLINE_MS = 20_000;

/**
 * Runs a module of our own in another process, inside a namespace; resolves when it says `ready`.
 */
async function start(source: string): Promise<ChildProcess> {
  const args = ['--input-type=module-typescript', '--no-warnings', '-e', source];
  const child = spawn(process.execPath, args, {
    cwd: REPOSITORY,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  for await (const chunk of child.stdout) if (String(chunk).includes('ready')) return child;
  throw new Error('the child ended before it was ready');
}

function frame(sequence: number): Uint8Array {
  const out = new Uint8Array(60);
  out.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
  new DataView(out.buffer).setUint32(14, sequence);
  return out;
}

function flow(from: DpPort, to: readonly DpPort[]): Flow {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(frame(0), key));
  writeEntry(key, { port: from });
  maskKey(key, FIELDS, key);
  return { key, fields: FIELDS, actions: { outputs: to.map((port) => ({ port })) } };
}

/**
 * An agent that takes over three ports, with a flow, a flood, a key and a sender, and then waits.
 */
const agentSource = (testbed: Testbed): string => `
  import { openEbpf } from '#datapath/ebpf/open.ts';
  import { enterNetns } from '#os/netns.ts';
  import { linkByName } from '#os/netlink/links.ts';
  enterNetns(${JSON.stringify(netnsPath(testbed.host))});
  const runDir = ${JSON.stringify(testbed.runDir)};
  const dp = openEbpf({ runDir, slots: 512, ringBytes: 1 << 20, tunnelUdpPort: 6677 });
  const [a, b, c] = ['v1', 'v2', 'v3'].map((name) => linkByName(name).index);
  for (const port of [a, b, c]) dp.addPort(port);
  const bytes = ${JSON.stringify([...flow(0 as DpPort, []).key])};
  const key = (port) => Uint8Array.from(bytes.with(${KEY.in_port}, port));
  const put = (slot, from, to) => dp.install({ slot, generation: 3 },
    { key: key(from), fields: ${FIELDS}, actions: { outputs: to.map((port) => ({ port })) } });
  put(5, a, [b]);
  put(9, b, [a, c]);
  dp.commit();
  dp.setKey({ key: 77, port: c, network: 0x800005 });
  dp.addPeer(0xac1f0002);
  dp.allowSender(dp.addPeer('${REMOTE6}'), 0x800005);
  console.log('ready');
  setInterval(() => {}, 1000);
`;

const senderSource = (testbed: Testbed): string => `
  import { PacketSocket } from '#os/packet-socket.ts';
  import { enterNetns } from '#os/netns.ts';
  import { linkByName } from '#os/netlink/links.ts';
  enterNetns(${JSON.stringify(netnsPath(testbed.guest))});
  const socket = new PacketSocket(linkByName('g1').index);
  const frame = Uint8Array.from(${JSON.stringify([...frame(0)])});
  console.log('ready');
  for (let i = 0; i < ${FRAMES}; i++) {
    new DataView(frame.buffer).setUint32(14, i);
    socket.send(frame);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
`;

async function kill(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'exit');
}

test(
  'kill -9 and a new agent: every frame arrives, in order, and everything is found',
  options,
  async (t) => {
    sweep();
    const testbed = new Testbed();
    const children: ChildProcess[] = [];
    try {
      const [a, b, c] = (['v1', 'v2', 'v3'] as const).map((name) => testbed.port(name)) as [
        DpPort,
        DpPort,
        DpPort,
      ];
      const agent = await start(agentSource(testbed));
      children.push(agent);
      assert.throws(() => testbed.open(), /another process runs the datapath/);
      using receiver = testbed.socket('g2');
      const sender = await start(senderSource(testbed));
      children.push(sender);
      const arrived: number[] = [];
      const drain = (): void => {
        for (let got = receiver.receive(); got !== undefined; got = receiver.receive()) {
          if (got[12] === 0x88 && got[13] === 0xb5)
            arrived.push(new DataView(got.buffer).getUint32(14));
        }
      };
      const deadline = performance.now() + patient(DEADLINE_MS);
      const reach = async (count: number): Promise<void> => {
        for (drain(); arrived.length < count && performance.now() < deadline; drain()) {
          await new Promise((resolve) => setTimeout(resolve, 5));
        }
      };
      await reach(100);
      await kill(agent);
      const orphaned = arrived.length;
      await reach(orphaned + 300);
      using datapath = testbed.open({ slots: 64, ringBytes: 1 << 22 });
      await reach(FRAMES);
      assert.deepEqual(
        arrived,
        Array.from({ length: FRAMES }, (_, i) => i),
      );
      t.diagnostic(`${FRAMES} of ${FRAMES} frames, ${orphaned} before the kill`);

      assert.equal(datapath.adopted, true);
      assert.equal(datapath.slots, 512, 'the size stays as it was made');
      assert.deepEqual([...datapath.ports()].sort(), [a, b, c].sort());
      assert.deepEqual(datapath.keys(), [{ key: 77 as TunnelKey, port: c, network: 0x800005 }]);
      assert.deepEqual(datapath.peers(), [
        { peer: 1, address: 0xac1f0002 },
        { peer: 2, address: REMOTE6 },
      ]);
      assert.deepEqual(datapath.senders(), [{ source: 2 as DpPeer, network: 0x800005 }]);
      assert.equal(datapath.addPeer(REMOTE6), 2, 'the same number as before');
      assert.equal(datapath.addPeer(0xac1f0063 as Ip4), 3, 'and no number twice');
      const found = datapath.dump().toSorted((x, y) => x.ref.slot - y.ref.slot);
      const wanted = [
        { ref: { slot: 5, generation: 3 }, flow: flow(a, [b]) },
        { ref: { slot: 9, generation: 3 }, flow: flow(b, [a, c]) },
      ];
      assert.deepEqual(found, wanted);
      assert.equal(datapath.stats({ slot: 5, generation: 3 }).packets, FRAMES);
      assert.throws(() => datapath.install({ slot: 5, generation: 4 }, flow(c, [a])), /in use/);
      // The adopted flood is told apart from a new group, and can be let go.
      datapath.install({ slot: 1, generation: 1 }, flow(c, [a, b]));
      datapath.commit();
      assert.deepEqual(
        datapath.dump().map((each) => each.flow.actions.outputs.length),
        [2, 1, 2],
      );
      datapath.remove(datapath.dump().map((each) => each.ref));
      assert.deepEqual(datapath.dump(), []);
    } finally {
      for (const child of children) await kill(child);
      testbed.close();
    }
  },
);

test(
  'after an agent whose layout says nothing of itself, its interfaces stay isolated and are ours',
  options,
  async () => {
    sweep();
    const testbed = new Testbed();
    try {
      const [a, b] = [testbed.port('v1'), testbed.port('v2')];
      {
        using old = testbed.open();
        for (const port of [a, b]) old.addPort(port);
        old.install({ slot: 5, generation: 3 }, flow(a, [b]));
        old.commit();
      }
      const pins = bpffsDir(testbed.runDir);
      // Nobody knows what its maps hold: before 4 there were no descriptions.
      unlinkSync(join(versionDir(testbed.runDir), 'layout'));
      renameSync(versionDir(testbed.runDir), join(pins, 'v1'));
      using datapath = testbed.open();
      assert.equal(datapath.adopted, false);
      assert.deepEqual([...datapath.ports()].sort(), [a, b].sort());
      assert.deepEqual(
        readdirSync(pins).filter((name) => name.startsWith('v')),
        [basename(versionDir(testbed.runDir))],
      );
      datapath.addPort(a);
      using guest = testbed.socket('g1');
      const upcall = await until('the frame is handed up to the new agent', () => {
        guest.send(frame(1));
        let found: DpPort | undefined;
        datapath.upcalls(({ entry }) => (found = entry.port), 64);
        return found;
      });
      assert.equal(upcall, a);
    } finally {
      testbed.close();
    }
  },
);

test('what was spent stays spent for a new agent, and goes with its port', options, async () => {
  sweep();
  const testbed = new Testbed();
  try {
    const [a, b] = [testbed.port('v1'), testbed.port('v2')];
    const bucket = { perSecond: 1, burst: 200 };
    const upcallBudget = { ...AMPLE_BUDGET, frames: bucket, groups: bucket };
    const open = () => testbed.open({ upcallBudget });
    const buckets = (): number => {
      const fd = openPinned(join(versionDir(testbed.runDir), 'maps', 'entry_refs')) ?? -1;
      const map = new BpfMap(fd, sizeOf(ENTRY_KEY), sizeOf(ENTRY_REF));
      let count = 0;
      for (let more = map.next(true); more; more = map.next(false)) count++;
      closeFd(fd);
      return count;
    };
    using guest = testbed.socket('g1');
    const storm = async (datapath: EbpfDatapath): Promise<number> => {
      const entered = (): number => {
        const { misses, drops } = datapath.counters();
        return misses + (drops['upcall-budget'] ?? 0);
      };
      const [before, { misses }] = [entered(), datapath.counters()];
      for (let i = 0; i < 2 * bucket.burst; i++) guest.send(frame(i));
      await until('all have entered', () =>
        entered() >= before + 2 * bucket.burst ? true : undefined,
      );
      return datapath.counters().misses - misses;
    };
    {
      using datapath = open();
      for (const port of [a, b]) datapath.addPort(port);
      datapath.allowSender(datapath.addPeer(0xac1f0002 as Ip4), 0x800005);
      assert.equal(buckets(), 3);
      assert.throws(() => datapath.addPort(0x7ffffff0 as DpPort), /no interface/);
      assert.equal(buckets(), 3, 'who is not taken over has none');
      await until('the wire is up', () => (guest.send(frame(0)) ? true : undefined));
      assert.ok((await storm(datapath)) >= bucket.burst - 1);
    }
    {
      using datapath = open();
      assert.equal(buckets(), 3);
      assert.ok((await storm(datapath)) < bucket.burst / 2, 'no full one by a restart');
    }
    deleteLink(b);
    using datapath = open();
    assert.deepEqual(datapath.ports(), [a]);
    assert.equal(buckets(), 2, 'the one of a port that went while nobody looked');
    datapath.denySender(1 as DpPeer, 0x800005);
    datapath.removePort(a);
    assert.equal(buckets(), 0);
  } finally {
    testbed.close();
  }
});

test('an interface that vanished leaves no pin behind', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    const [a, b] = [testbed.port('v1'), testbed.port('v2')];
    {
      using datapath = testbed.open();
      datapath.addPort(a);
      datapath.addPort(b);
      deleteLink(b);
      datapath.removePort(b);
      assert.deepEqual(datapath.ports(), [a]);
      assert.throws(() => datapath.addPort(b), /no interface/);
      datapath.addPort(testbed.port('v3'));
    }
    deleteLink(testbed.port('v3'));
    using datapath = testbed.open();
    assert.deepEqual(datapath.ports(), [a]);
    if (datapath.attachment === 'tcx')
      assert.equal(readdirSync(join(versionDir(testbed.runDir), 'ports')).length, 2);
  } finally {
    testbed.close();
  }
});

test(
  'an interface under the name and index of one that went is taken over anew',
  options,
  async () => {
    sweep();
    const testbed = new Testbed();
    try {
      const [a, b] = [testbed.port('v1'), testbed.port('v2')];
      using datapath = testbed.open();
      datapath.addPort(a);
      datapath.addPort(b);
      testbed.remake('v1', a);
      assert.equal(testbed.port('v1'), a, 'the same index');
      assert.deepEqual(datapath.ports(), [b], 'nothing isolates it');
      datapath.addPort(a);
      using guest = testbed.socket('g1');
      guest.send(frame(1));
      const seen: string[] = [];
      await until('the first packet', () => {
        datapath.upcalls(({ reason }) => seen.push(reason), 8);
        return seen.length > 0 ? true : undefined;
      });
      testbed.remake('v1', a);
      datapath.addPort(a);
      assert.deepEqual(new Set(datapath.ports()), new Set([a, b]), 'also without asking first');
    } finally {
      testbed.close();
    }
  },
);

test(
  'a flow never takes frames of another entry, whatever its element turns into',
  options,
  async () => {
    sweep();
    const testbed = new Testbed();
    try {
      const [a, b, c] = [testbed.port('v1'), testbed.port('v2'), testbed.port('v3')];
      using datapath = testbed.open();
      for (const port of [a, b, c]) datapath.addPort(port);
      datapath.install({ slot: 0, generation: 1 }, flow(a, [b]));
      datapath.install({ slot: 1, generation: 1 }, flow(c, [b]));
      datapath.commit();
      // What a program sees whose element is given to another key after it was found.
      const fd = openPinned(join(versionDir(testbed.runDir), 'maps', 'flows')) ?? -1;
      const flows = new BpfMap(fd, KEY_SIZE, sizeOf(FLOW_VALUE));
      for (let more = flows.next(true); more; more = flows.next(false)) {
        flows.lookup();
        if (flows.value.view.getUint32(0, true) === 0) break;
      }
      flows.value.u32(0, 1);
      flows.update();
      closeFd(fd);
      using guest = testbed.socket('g1');
      guest.send(frame(1));
      const seen: string[] = [];
      await until('the frame is handed up', () => {
        datapath.upcalls(({ reason }) => seen.push(reason), 8);
        return seen.length > 0 ? true : undefined;
      });
      assert.deepEqual(seen, ['stale']);
      assert.equal(datapath.counters().hits, 0);
    } finally {
      testbed.close();
    }
  },
);

test('a frame that the socket does not take is a drop with a name', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    using datapath = testbed.open();
    const port = testbed.port('v1');
    datapath.addPort(port);
    datapath.execute(new Uint8Array(FRAME_BYTES_MAX + 1), { outputs: [{ port }] }, 0);
    datapath.commit();
    assert.deepEqual(datapath.counters().drops, { 'injection-lost': 1 });
  } finally {
    testbed.close();
  }
});

test('odd names can be taken over and are found again', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    const port = testbed.port('v1');
    testbed.rename('v1', 'tap.1_2-x@y');
    testbed.open()[Symbol.dispose]();
    {
      using datapath = testbed.open();
      datapath.addPort(port);
    }
    using datapath = testbed.open();
    assert.deepEqual(datapath.ports(), [port]);
  } finally {
    testbed.close();
  }
});

test('destroy leaves nothing, twice; it is refused while the datapath is open', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    const before = listLinks()
      .map((link) => link.name)
      .sort();
    {
      using datapath = testbed.open();
      datapath.addPort(testbed.port('v1'));
      assert.ok(linkByName('mnvx0')?.up);
      assert.throws(() => destroyEbpf(testbed.runDir), /another process runs/);
    }
    destroyEbpf(testbed.runDir);
    destroyEbpf(testbed.runDir);
    assert.deepEqual(
      listLinks()
        .map((link) => link.name)
        .sort(),
      before,
    );
    assert.ok(!existsSync(join(testbed.runDir, 'bpf')));
    assert.ok(!readFileSync('/proc/mounts', 'utf8').includes(testbed.runDir));
    using again = testbed.open();
    assert.equal(again.adopted, false);
  } finally {
    testbed.close();
  }
});

test('sizes that are not possible are refused by name and change nothing', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    assert.throws(() => testbed.open({ slots: 0 }), /slots must be/);
    assert.throws(() => testbed.open({ slots: 2 ** 20 }), /slots must be/);
    assert.throws(() => testbed.open({ ringBytes: 3 << 20 }), /ringBytes must be/);
    assert.throws(() => testbed.open({ tunnelUdpPort: 0 }), /tunnelUdpPort must be/);
    const bucket = { perSecond: 0, burst: 100 };
    const upcallBudget = { ...AMPLE_BUDGET, frames: bucket, groups: bucket };
    assert.throws(() => testbed.open({ upcallBudget }), /frames\.perSecond must be/);
    assert.equal(linkByName('mninj0'), undefined);
    testbed.open()[Symbol.dispose]();
    // Another UDP port: the tunnel device is made anew.
    using datapath = testbed.open({ tunnelUdpPort: 6688 });
    assert.equal(linkByName('mnvx0')?.vxlanPort, 6688);
    assert.equal(datapath.tunnelPort, linkByName('mnvx0')?.index);
  } finally {
    testbed.close();
  }
});
