/**
 * Programs as filters: they outlive the agent, give way to a new agent's without a gap, and get on
 * with filters of others. Needs root, and `tc` to play the others.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { release } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DpPort, Flow } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { isAtLeast } from '#os/kernel.ts';
import { netnsPath } from '#os/netns.ts';
import { deleteFilter, HOOKS, listFilters, listQdiscs, putFilter } from '#os/netlink/filters.ts';
import type { Hook } from '#os/netlink/filters.ts';
import { fieldSet } from '#virtual/match.ts';
import { until } from '../contract/rig.ts';
import { FilterNotices } from './clsact.fixture.ts';
import { destroyEbpf } from './open.ts';
import type { EbpfDatapath } from './open.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const FIELDS = fieldSet(['ethDst', 'ethType']);
/** Received before it is enough, and agents that may come and go meanwhile. */
const FRAMES = 1000;
const TAKEOVERS_MAX = 20;
/** Agents that begin while the kernel tells what they do. */
const TAKEOVERS_TOLD = 3;
const REPOSITORY = join(import.meta.dirname, '../../..');

function frame(sequence: number): Uint8Array {
  const out = new Uint8Array(60);
  out.set([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x88, 0xb5]);
  new DataView(out.buffer).setUint32(14, sequence);
  return out;
}

function flow(from: DpPort, to: DpPort): Flow {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(frame(0), key));
  writeEntry(key, { port: from });
  maskKey(key, FIELDS, key);
  return { key, fields: FIELDS, actions: { outputs: [{ port: to }] } };
}

/** Another process: it sends a frame every millisecond until it is ended. */
const senderArguments = (testbed: Testbed): string[] => [
  '--input-type=module-typescript',
  '--no-warnings',
  '-e',
  `
    import { PacketSocket } from '#os/packet-socket.ts';
    import { enterNetns } from '#os/netns.ts';
    import { linkByName } from '#os/netlink/links.ts';
    enterNetns(${JSON.stringify(netnsPath(testbed.guest))});
    const socket = new PacketSocket(linkByName('g1').index);
    const frame = Uint8Array.from(${JSON.stringify([...frame(0)])});
    for (let i = 0; ; i++) {
      new DataView(frame.buffer).setUint32(14, i);
      socket.send(frame);
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  `,
];

interface Stage {
  readonly testbed: Testbed;
  readonly open: () => EbpfDatapath;
  readonly a: DpPort;
  readonly b: DpPort;
}

/** In a testbed of its own, in whose namespace `tc` runs, too. */
function filters(what: string, run: (stage: Stage) => void | Promise<void>): void {
  test(`clsact: ${what}`, options, async () => {
    sweep();
    const testbed = new Testbed();
    try {
      const open = (): EbpfDatapath => testbed.open({ attachment: 'clsact' });
      await run({ testbed, open, a: testbed.port('v1'), b: testbed.port('v2') });
    } finally {
      testbed.close();
    }
  });
}

const tc = (...args: string[]): void => void execFileSync('tc', args, { stdio: 'pipe' });
const names = (port: DpPort, hook: Hook): (string | undefined)[] =>
  listFilters(port, hook).map(({ name }) => name);
const hasClsact = (port: DpPort): boolean =>
  listQdiscs().some(({ ifindex, kind }) => ifindex === port && kind === 'clsact');

/** A frame into the port comes up: our program runs, and first. */
async function handsUp(testbed: Testbed, datapath: EbpfDatapath, port: DpPort): Promise<void> {
  using guest = testbed.socket('g1');
  const seen = await until('the frame is handed up', () => {
    guest.send(frame(1));
    let found: DpPort | undefined;
    datapath.upcalls(({ entry }) => (found = entry.port), 64);
    return found;
  });
  assert.equal(seen, port);
}

test('the kernel is asked how programs get onto interfaces', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    using datapath = testbed.open();
    assert.equal(datapath.attachment, isAtLeast(release(), 6, 6) ? 'tcx' : 'clsact');
  } finally {
    testbed.close();
  }
});

filters('frames go on while agents end and begin, in order', async ({ testbed, open, a, b }) => {
  {
    using first = open();
    first.addPort(a);
    first.addPort(b);
    first.install({ slot: 5, generation: 3 }, flow(a, b));
    first.commit();
  }
  using receiver = testbed.socket('g2');
  const arrived: number[] = [];
  const drain = (): boolean => {
    for (let got = receiver.receive(); got !== undefined; got = receiver.receive())
      if (got[12] === 0x88) arrived.push(new DataView(got.buffer).getUint32(14));
    return true;
  };
  const sender = spawn(process.execPath, senderArguments(testbed), {
    cwd: REPOSITORY,
    stdio: 'ignore',
  });
  try {
    await until('the sender sends', () => (drain() && arrived.length > 0 ? true : undefined));
    for (let takeovers = 0; arrived.length < FRAMES; drain(), takeovers++) {
      using next = open();
      assert.deepEqual(new Set(next.ports()), new Set([a, b]));
      assert.equal(next.dump().length, 1);
      // What waits here is bounded by the receiver's buffer.
      if (takeovers === TAKEOVERS_MAX) break;
    }
    await until('frames of after the last', () =>
      drain() && arrived.length >= FRAMES ? true : undefined,
    );
  } finally {
    sender.kill('SIGKILL');
    await once(sender, 'exit');
  }
  const [first = 0] = arrived;
  assert.deepEqual(
    arrived,
    arrived.map((_, i) => first + i),
    'none is missing, none is early',
  );
  assert.deepEqual(names(a, 'ingress'), ['midonet/port_in+clsact'], 'one, however often');
});

filters('a new agent takes the place of the old one, which is never empty', ({ open, a, b }) => {
  {
    using first = open();
    first.addPort(a);
    first.addPort(b);
  }
  using notices = new FilterNotices();
  for (let takeovers = 0; takeovers < TAKEOVERS_TOLD; takeovers++) {
    open()[Symbol.dispose]();
    const told = notices.read();
    assert.deepEqual(
      told.filter(({ what }) => what === 'taken'),
      [],
      'nothing was off for a moment',
    );
    for (const port of [a, b])
      assert.deepEqual(
        told.filter(({ ifindex }) => ifindex === port).map(({ hook }) => hook),
        HOOKS,
        'each direction got the new program, once',
      );
  }
  deleteFilter({ ifindex: a, hook: 'egress', ...(listFilters(a, 'egress')[0] ?? assert.fail()) });
  const gone = { what: 'taken', ifindex: a, hook: 'egress' } as const;
  assert.deepEqual(notices.read().slice(0, 1), [gone], 'the kernel does tell of what is taken off');
});

filters('a direction that lost its filter gets it back', ({ open, a }) => {
  open()[Symbol.dispose]();
  {
    using datapath = open();
    datapath.addPort(a);
  }
  const [filter] = listFilters(a, 'egress');
  assert.ok(filter !== undefined);
  deleteFilter({ ifindex: a, hook: 'egress', ...filter });
  using datapath = open();
  assert.deepEqual(datapath.ports(), [a]);
  assert.deepEqual(names(a, 'egress'), ['midonet/port_out+clsact']);
});

filters('what another put there stays, and comes after ours', async ({ testbed, open, a, b }) => {
  tc('qdisc', 'add', 'dev', 'v1', 'clsact');
  using datapath = open();
  // It drops whatever it sees, at the same priority.
  const other = { ifindex: a, hook: 'ingress', priority: 1, handle: 1 } as const;
  putFilter(other, 'other', datapath.programs.sink);
  tc('filter', 'add', 'dev', 'v1', 'egress', 'prio', '9', 'u32', 'match', 'u32', '0', '0');
  datapath.addPort(a);
  assert.deepEqual(names(a, 'ingress'), ['midonet/port_in', 'other']);
  await handsUp(testbed, datapath, a);
  datapath.removePort(a);
  assert.deepEqual(names(a, 'ingress'), ['other']);
  assert.ok(listFilters(a, 'egress').some(({ kind }) => kind === 'u32'));
  assert.deepEqual(datapath.ports(), [], 'one with only the filters of others is not ours');

  datapath.addPort(b);
  assert.deepEqual(names(b, 'ingress'), ['midonet/port_in+clsact']);
  putFilter({ ...other, ifindex: b, priority: 2 }, 'other', datapath.programs.sink);
  datapath.removePort(b);
  assert.deepEqual(names(b, 'ingress'), ['other'], 'who came later, too');
});

filters('a clsact of ours goes with the port; one that was there stays', ({ open, a, b }) => {
  tc('qdisc', 'add', 'dev', 'v2', 'clsact');
  {
    using datapath = open();
    datapath.addPort(a);
    datapath.addPort(b);
  }
  using datapath = open();
  for (const port of [a, b]) datapath.removePort(port);
  assert.deepEqual([hasClsact(a), hasClsact(b)], [false, true]);
});

filters('an interface whose place is taken is refused, with the reason', ({ open, a, b }) => {
  tc('qdisc', 'add', 'dev', 'v1', 'ingress');
  tc('qdisc', 'add', 'dev', 'v2', 'clsact');
  const match = ['protocol', 'ip', 'u32', 'match', 'u32', '0', '0'];
  tc('filter', 'add', 'dev', 'v2', 'egress', 'prio', '1', ...match);
  using datapath = open();
  assert.throws(() => datapath.addPort(a), /has an ingress qdisc in the place of clsact/);
  assert.throws(() => datapath.addPort(b), /a filter \(u32\) at the egress .* has the priority 1/);
  assert.deepEqual(datapath.ports(), []);
  assert.deepEqual(names(b, 'ingress'), [], 'nothing half attached');
});

filters('an interface made anew under the name and index of one that went', async (stage) => {
  const { testbed, open, a, b } = stage;
  using datapath = open();
  datapath.addPort(a);
  datapath.addPort(b);
  testbed.remake('v1', a);
  assert.equal(testbed.port('v1'), a, 'the same index');
  assert.deepEqual(datapath.ports(), [b], 'nothing isolates it');
  datapath.addPort(a);
  await handsUp(testbed, datapath, a);
  testbed.remake('v1', a);
  datapath.addPort(a);
  assert.deepEqual(new Set(datapath.ports()), new Set([a, b]), 'also without asking first');
});

filters('destroy takes every filter of ours off', ({ testbed, open, a }) => {
  open()[Symbol.dispose]();
  {
    using datapath = open();
    datapath.addPort(a);
  }
  destroyEbpf(testbed.runDir);
  assert.ok(!hasClsact(a));
  for (const hook of HOOKS) assert.deepEqual(listFilters(a, hook), []);
  using again = open();
  assert.deepEqual(again.ports(), []);
});
