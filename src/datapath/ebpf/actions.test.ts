/** Actions of slots: what is read back is what was written; floods of a bridge share a group. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Actions, DpPort, Output, TunnelKey, DpPeer } from '#flow/flow.ts';
import { ACTION_STRUCT, FLOW_STATS, GROUP, LIMITS, MEMBER, sizeOf } from '#flow/layout.ts';
import type { Ip4, Ip6 } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { ActionArray } from './actions.ts';
import { Groups } from './groups.ts';
import type { Maps } from './maps.ts';

const SLOTS = 1024;
const SLOTS_ALL = SLOTS + LIMITS.SCRATCH_SLOTS + LIMITS.REWRITE_SLOTS;
function empty(): { actions: ActionArray; groups: Groups } {
  const memory = {
    actions: new ArrayBuffer(SLOTS_ALL * sizeOf(ACTION_STRUCT)),
    stats: new ArrayBuffer(SLOTS * sizeOf(FLOW_STATS)),
    groups: new ArrayBuffer(LIMITS.GROUPS_MAX * sizeOf(GROUP)),
    members: new ArrayBuffer(LIMITS.MEMBERS_MAX * sizeOf(MEMBER)),
  };
  const maps = { memory, slots: SLOTS } as unknown as Maps;
  const groups = new Groups(maps, () => 0);
  return { actions: new ActionArray(maps, groups), groups };
}

const PORTS = Array.from({ length: 400 }, (_, i) => (100 + i) as DpPort);
const tunnel: Output = { key: 5 as TunnelKey, remote: 7 as DpPeer };
const flood = (from: number): Output[] => [
  ...PORTS.filter((port) => port !== from).map((port) => ({ port })),
  tunnel,
];
const text = (outputs: readonly Output[]): string[] =>
  outputs.map((each) => JSON.stringify(each)).toSorted();

test('floods from every port of a big bridge have room, and leave out the port they came from', () => {
  const { actions, groups } = empty();
  for (const [slot, port] of PORTS.entries())
    actions.write({ slot, generation: 1 }, { outputs: flood(port) }, { port, key: 0 });
  assert.equal(groups.refused, 0);
  for (const [slot, port] of PORTS.entries()) {
    const { drop, outputs } = actions.read(slot);
    assert.equal(drop, undefined);
    assert.deepEqual(text(outputs), text(flood(port)));
  }
});

test('a flood back to where it came from, from the tunnel, or without a flow is as it is', () => {
  const { actions } = empty();
  const all = flood(0);
  const entries = [
    { port: 100, key: 0 },
    { port: 9, key: 0x800001 },
    { port: 0, key: 0 },
  ];
  for (const [slot, entry] of entries.entries()) {
    actions.write({ slot, generation: 1 }, { outputs: all }, entry);
    assert.deepEqual(text(actions.read(slot).outputs), text(all));
  }
});

test('ports of several VLANs share a few groups, and each reads its own flood back', () => {
  const { actions, groups } = empty();
  // Of ten ports one is a trunk, which needs the tag; the others are without.
  const vlanOf = (port: DpPort): number => (port % 10 === 0 ? 7 : 0);
  const floodOf = (from: DpPort): Output[] => [
    ...PORTS.filter((port) => port !== from).map((port) => ({ port, vlan: vlanOf(port) })),
    { ...tunnel, vlan: 7 },
  ];
  for (const [slot, port] of PORTS.entries())
    actions.write({ slot, generation: 1 }, { outputs: floodOf(port) }, { port, key: 0 });
  assert.equal(groups.refused, 0, 'there is no room for a group each');
  for (const [slot, port] of PORTS.entries())
    assert.deepEqual(text(actions.read(slot).outputs), text(floodOf(port)));
});

test('everything that actions say is read back; of an only output the tag is said of all', () => {
  const { actions } = empty();
  const own = { port: 100 as DpPort, vlan: 5 };
  const all: [Actions, Actions?][] = [
    [{ outputs: [tunnel], decTtl: 255, mtu: 65535, vlan: 4095 }],
    [{ outputs: [own, tunnel], decTtl: 1, mtu: 68, vlan: 0 }],
    [{ outputs: [own, { ...tunnel, vlan: 0 }] }],
    [
      { outputs: [own], vlan: 9 },
      { outputs: [{ port: own.port }], vlan: 5 },
    ],
    [{ outputs: [{ ...tunnel, vlan: 0 }] }, { outputs: [tunnel], vlan: 0 }],
    [{ drop: 'same-port', outputs: [], decTtl: 2, mtu: 100 }],
    [{ outputs: [tunnel], ipSrc: 0 as Ip4, tpSrc: 0, dscp: 0 }],
    [{ outputs: [tunnel], ipDst: 'ab'.repeat(16) as Ip6, tpDst: 65535, dscp: 63 }],
    [{ outputs: [own, { ...tunnel, rewrite: { ipDst: 9 as Ip4, ethSrc: 1 as Mac } }], tpDst: 1 }],
    [{ outputs: [{ ...own, rewrite: { dscp: 1 } }] }],
  ];
  for (const [slot, [written, read = written]] of all.entries()) {
    actions.write({ slot, generation: 1 }, written);
    assert.deepEqual(actions.read(slot), read);
  }
});

test('a flood of as many outputs as a group can hold still has room', () => {
  const { actions } = empty();
  const outputs = Array.from({ length: LIMITS.GROUP_MEMBERS_MAX }, (_, i) => ({
    port: (i + 1) as DpPort,
  }));
  actions.write({ slot: 0, generation: 1 }, { outputs }, { port: 9_999, key: 0 });
  assert.deepEqual(text(actions.read(0).outputs), text(outputs));
});
