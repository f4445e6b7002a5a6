/**
 * Ports on VLANs of an interface, and which of two stacked interfaces can be one. Needs root; where
 * the kernel has no VLAN interfaces, those tests run in a guest (`./midonet test --kernel debian`).
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { DpPort, Flow } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { addClsact, deleteFilter, putFilter } from '#os/netlink/filters.ts';
import type { PacketSocket } from '#os/packet-socket.ts';
import { fieldSet } from '#virtual/match.ts';
import { until } from '../contract/rig.ts';
import type { Attachment } from './attach.ts';
import type { EbpfDatapath } from './open.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const FIELDS = fieldSet(['ethDst', 'ethType']);
const MARK = [0x88, 0xb5] as const;
const VLAN = 100;

const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' });

/** Whether interfaces of this kind can be made here; tried in a namespace of its own. */
function has(kind: string, ...details: string[]): boolean {
  if (!isRoot()) return false;
  const namespace = `mnt-${process.pid}-${kind}`;
  ip('netns', 'add', namespace);
  try {
    ip('-n', namespace, 'link', 'add', 'v0', 'type', 'veth', 'peer', 'name', 'v1');
    ip('-n', namespace, 'link', 'add', 'link', 'v0', 'name', 'x0', 'type', kind, ...details);
    return true;
  } catch {
    return false;
  } finally {
    ip('netns', 'del', namespace);
  }
}
const root = !isRoot() && 'needs root: network namespaces and bpf(2)';
const vlans = root || (!has('vlan', 'id', '7') && 'this kernel has no VLAN interfaces');
const macvlans = root || (!has('macvlan') && 'this kernel has no macvlan interfaces');

/** A frame with these tags, outermost first, and a number to tell it by. */
function frame(number: number, ...tags: number[]): Uint8Array {
  const addresses = [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1];
  const inserted = tags.flatMap((tag) => [0x81, 0, tag >> 8, tag & 255]);
  return Uint8Array.from([...addresses, ...inserted, ...MARK, number, ...Array(60).fill(0)]);
}

function flow(from: DpPort, to: DpPort): Flow {
  const key = new Uint8Array(KEY_SIZE);
  assert.ok(parseKey(frame(0), key));
  writeEntry(key, { port: from });
  maskKey(key, FIELDS, key);
  return { key, fields: FIELDS, actions: { outputs: [{ port: to }] } };
}

/** Frames of this file that a socket received: their tags and number. */
function drain(socket: PacketSocket): number[][] {
  const found: number[][] = [];
  for (let got = socket.receive(); got !== undefined; got = socket.receive()) {
    const seen: number[] = [];
    let at = 12;
    for (; got[at] === 0x81 && got[at + 1] === 0; at += 4)
      seen.push((((got[at + 2] ?? 0) << 8) | (got[at + 3] ?? 0)) & 0xfff);
    if (got[at] === MARK[0] && got[at + 1] === MARK[1]) found.push([...seen, got[at + 2] ?? 0]);
  }
  return found;
}
/** Waits for one that ends with `number`; answers all that came up to then. */
async function received(socket: PacketSocket, number: number): Promise<number[][]> {
  const all: number[][] = [];
  await until(`frame ${number} arrives`, () => {
    all.push(...drain(socket));
    return all.some((each) => each.at(-1) === number) ? true : undefined;
  });
  return all;
}

interface Stage {
  readonly testbed: Testbed;
  readonly datapath: EbpfDatapath;
  /** The VLAN of v1; behind that is g1. */
  readonly vlan: DpPort;
  readonly v1: DpPort;
  readonly v2: DpPort;
}

function onVlan(what: string, attachment: Attachment, run: (stage: Stage) => Promise<void>): void {
  test(`a VLAN of an interface, ${attachment}: ${what}`, { skip: vlans }, async (t) => {
    sweep();
    const testbed = new Testbed();
    try {
      {
        using asked = testbed.open();
        if (attachment === 'tcx' && asked.attachment !== 'tcx') {
          t.skip('this kernel has no TCX');
          return;
        }
      }
      ip('link', 'set', 'v1', 'up');
      const id = ['type', 'vlan', 'id', String(VLAN)];
      ip('link', 'add', 'link', 'v1', 'name', `v1.${VLAN}`, ...id);
      using datapath = testbed.open({ attachment });
      const [vlan, v1, v2] = [testbed.port(`v1.${VLAN}`), testbed.port('v1'), testbed.port('v2')];
      for (const port of [vlan, v2]) datapath.addPort(port);
      await run({ testbed, datapath, vlan, v1, v2 });
    } finally {
      testbed.close();
    }
  });
}

/** Sends until the datapath hands something up; whose it was, and its tags. */
async function handedUp(datapath: EbpfDatapath, send: () => unknown): Promise<[DpPort, number[]]> {
  return until('a frame is handed up', () => {
    send();
    let found: [DpPort, number[]] | undefined;
    datapath.upcalls((upcall) => {
      if (upcall.entry.port === undefined) return;
      const tagged = upcall.frame[12] === 0x81;
      found = [upcall.entry.port, tagged ? [upcall.frame[15] ?? 0] : []];
    }, 64);
    return found;
  });
}

for (const attachment of ['tcx', 'clsact'] as const) {
  onVlan('frames go both ways, the tag off and on', attachment, async (stage) => {
    const { testbed, datapath, vlan, v2 } = stage;
    using behind = testbed.socket('g1');
    using other = testbed.socket('g2');
    const send = () => behind.send(frame(1, VLAN));
    assert.deepEqual(await handedUp(datapath, send), [vlan, []]);
    const inner = () => behind.send(frame(2, VLAN, 7));
    await until('the frame with a second tag', async () => {
      const [port, tags] = await handedUp(datapath, inner);
      assert.equal(port, vlan);
      return tags[0] === 7 ? true : undefined;
    });
    datapath.install({ slot: 1, generation: 1 }, flow(vlan, v2));
    datapath.install({ slot: 2, generation: 1 }, flow(v2, vlan));
    datapath.commit();
    behind.send(frame(3, VLAN));
    assert.deepEqual((await received(other, 3)).at(-1), [3]);
    await until('v2 takes frames', () => (other.send(frame(4)) ? true : undefined));
    assert.deepEqual((await received(behind, 4)).at(-1), [VLAN, 4]);
    datapath.execute(frame(5, 7), { outputs: [{ port: vlan }] }, 0);
    datapath.commit();
    assert.deepEqual((await received(behind, 5)).at(-1), [VLAN, 7, 5]);
  });

  onVlan('it is apart from its interface and from other VLANs', attachment, async (stage) => {
    const { testbed, datapath, vlan } = stage;
    using behind = testbed.socket('g1');
    using host = testbed.socket('v1', testbed.host);
    using hostVlan = testbed.socket(`v1.${VLAN}`, testbed.host);
    await until('the wire is up', () => (behind.send(frame(1, 200)) ? true : undefined));
    behind.send(frame(2));
    // The host's own, as before: the interface below is not ours.
    assert.deepEqual((await received(host, 2)).at(-1), [2]);
    assert.deepEqual(await handedUp(datapath, () => behind.send(frame(3, VLAN))), [vlan, []]);
    assert.equal(datapath.counters().drops['not-ours'], undefined);
    hostVlan.send(frame(4));
    host.send(frame(5));
    assert.deepEqual(
      (await received(behind, 5)).filter((each) => each.at(-1) === 4),
      [],
      'what the host sends on the VLAN goes nowhere',
    );
    assert.equal(datapath.counters().drops['not-ours'], 1);
  });

  onVlan('the interface below is refused while it is a port', attachment, async (stage) => {
    const { datapath, vlan, v1, v2 } = stage;
    assert.throws(() => datapath.addPort(v1), /interface v1 carries v1\.100, which is bound/);
    assert.deepEqual(new Set(datapath.ports()), new Set([vlan, v2]));
    datapath.removePort(vlan);
    datapath.addPort(v1);
    assert.throws(() => datapath.addPort(vlan), /interface v1\.100 stands on v1, which is bound/);
    datapath.removePort(v1);
    await Promise.resolve();
  });
}

onVlan('a program below is asked first', 'clsact', async ({ testbed, datapath, v1 }) => {
  using behind = testbed.socket('g1');
  await handedUp(datapath, () => behind.send(frame(1, VLAN)));
  datapath.upcalls(() => {}, 64);
  addClsact(v1);
  const below = { ifindex: v1, hook: 'ingress', priority: 3, handle: 3 } as const;
  putFilter(below, 'below', datapath.programs.sink);
  const numbers: number[] = [];
  behind.send(frame(2, VLAN));
  deleteFilter(below);
  behind.send(frame(3, VLAN));
  await until('the second frame', () => {
    datapath.upcalls(({ frame: up }) => numbers.push(up[14] ?? 0), 64);
    return numbers.includes(3) ? true : undefined;
  });
  assert.ok(!numbers.includes(2), 'this is why both cannot be ports');
});

test('of a macvlan and its interface one is a port', { skip: macvlans }, () => {
  sweep();
  const testbed = new Testbed();
  try {
    ip('link', 'set', 'v1', 'up');
    ip('link', 'add', 'link', 'v1', 'name', 'm1', 'type', 'macvlan');
    const [upper, lower] = [testbed.port('m1'), testbed.port('v1')];
    {
      using datapath = testbed.open();
      datapath.addPort(upper);
      assert.throws(() => datapath.addPort(lower), /interface v1 carries m1/);
    }
    using datapath = testbed.open();
    assert.throws(() => datapath.addPort(lower), /interface v1 carries m1/, 'after a restart, too');
    datapath.addPort(upper);
    datapath.removePort(upper);
    datapath.addPort(lower);
    assert.throws(() => datapath.addPort(upper), /interface m1 stands on v1/);
    datapath.addPort(testbed.port('v2'));
  } finally {
    testbed.close();
  }
});
