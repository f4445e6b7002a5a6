/** What rows of `carry.ts` can say, on maps of the kernel with a table made for it. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACTION_STRUCT, MEMBER, offsets, sizeOf } from '#flow/layout.ts';
import { BpfMap, createMap, mapInfo, openPinned } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import { OWN_LAYOUT } from './carry.ts';
import type { Row } from './carry.ts';
import type { MapName } from './maps.ts';
import { migrate } from './migrate.ts';
import { mapPath, versionDir } from './pins.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const NAMES = ['actions', 'members', 'groups'] as const satisfies readonly MapName[];

/** Old maps, and new ones of the same shape. */
function twoSets(testbed: Testbed) {
  testbed.open({ slots: 64 })[Symbol.dispose]();
  const dir = mapPath({ dir: versionDir(testbed.runDir) }, '');
  const old: Record<string, number> = {};
  const fresh: Record<string, number> = {};
  for (const name of NAMES) {
    const fd = openPinned(`${dir}/${name}`);
    if (fd === undefined) throw new Error(`there is no ${name}`);
    old[name] = fd;
    fresh[name] = createMap({ name, ...mapInfo(fd) });
  }
  const close = (): void => [old, fresh].flatMap((set) => Object.values(set)).forEach(closeFd);
  const fds = { old, fresh } as Readonly<Record<'old' | 'fresh', Record<MapName, number>>>;
  return { source: { layout: OWN_LAYOUT, dir }, fds, close };
}

test(
  'records go with what they refer to, actions with marks, and fields are forgotten',
  options,
  () => {
    sweep();
    const testbed = new Testbed();
    const { source, fds, close } = twoSets(testbed);
    try {
      const [member, action] = [offsets(MEMBER), offsets(ACTION_STRUCT)];
      const members = new BpfMap(fds.old.members, 4, sizeOf(MEMBER));
      const actions = new BpfMap(fds.old.actions, 4, sizeOf(ACTION_STRUCT));
      const put = (at: number, { tunKey = 0, mark = 0, unknown = false }): void => {
        members.key.u32(0, at);
        members.value.u32(member.tun_key, tunKey).u32(member.ifindex, mark);
        members.value.u32(member.vlan, unknown ? 0x8000 : 0x1007);
        members.update();
      };
      actions.key.u32(0, 9);
      actions.value.u32(action.generation, 77);
      actions.update();
      actions.key.u32(0, 11);
      actions.value.u32(action.flags, 2 ** 31);
      actions.update();
      put(0, { tunKey: 3 });
      put(1, { tunKey: 0, mark: 10 });
      put(2, { tunKey: 2 });
      put(3, { mark: 12 });
      put(4, { unknown: true });
      put(5, { mark: 0xfffff });
      // Groups stand in for what members may refer to: 3 is one, 2 is none.
      const groups = new BpfMap(fds.old.groups, 4, mapInfo(fds.old.groups).valueSize);
      groups.key.u32(0, 3);
      groups.value.u32(0, 1);
      groups.update();
      const table: [MapName, Row][] = [
        ['groups', { value: 'group', carry: 'records' }],
        [
          'members',
          {
            value: 'member',
            carry: 'records',
            refers: { tun_key: 'groups' },
            marks: ['ifindex'],
            forgets: ['vlan'],
          },
        ],
      ];
      const { carried, left } = migrate(source, fds.fresh, table);
      assert.deepEqual(carried, { groups: 1, members: 2 });
      // 2 refers to none, 3 to an action with an unknown flag, 4 has one itself, 5 names no slot.
      assert.deepEqual(left, { members: 4 });
      const read = new BpfMap(fds.fresh.members, 4, sizeOf(MEMBER));
      const words = Array.from({ length: 6 }, (_, at) => {
        read.key.u32(0, at);
        read.lookup();
        const u32 = (field: number): number => read.value.view.getUint32(field, true);
        return [u32(member.tun_key), u32(member.ifindex), u32(member.vlan)];
      });
      const none = [0, 0, 0];
      assert.deepEqual(words, [[3, 0, 0], [0, 10, 0], none, none, none, none]);
      const slot = new BpfMap(fds.fresh.actions, 4, sizeOf(ACTION_STRUCT));
      slot.key.u32(0, 9);
      slot.lookup();
      assert.equal(slot.value.view.getUint32(action.generation, true), 77);
    } finally {
      close();
      testbed.close();
    }
  },
);

test('a map that holds another struct over there is left alone', options, () => {
  sweep();
  const testbed = new Testbed();
  const { source, fds, close } = twoSets(testbed);
  try {
    const layout = { ...OWN_LAYOUT, maps: { ...OWN_LAYOUT.maps, members: { value: 'sender' } } };
    const member = new BpfMap(fds.old.members, 4, sizeOf(MEMBER));
    member.value.u32(0, 1);
    member.update();
    const table: [MapName, Row][] = [['members', { value: 'member', carry: 'records' }]];
    const { carried, left } = migrate({ ...source, layout }, fds.fresh, table);
    assert.deepEqual([carried, left], [{}, {}]);
  } finally {
    close();
    testbed.close();
  }
});
