/** The host's interfaces as the edge is told of them. Needs root. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { enterNetns, HeldNetns, netnsPath } from '#os/netns.ts';
import { openLinks } from './links.ts';
import type { LocalInterface } from './messages.ts';

const options = { skip: process.getuid?.() !== 0 && 'needs root: network namespaces' };
const DEADLINE_MS = 20_000;
/** So long that only events lead to new lists. */
const clock = {
  now: () => performance.now(),
  sleep: (_ms: number, signal: AbortSignal) =>
    sleep(DEADLINE_MS, undefined, { signal }).catch(() => undefined),
};

test(
  'interfaces made anew under name and index, and carriers that go, are told',
  options,
  async () => {
    const namespace = `mnt-${process.pid}-links`;
    using home = new HeldNetns();
    const ip = (...args: string[]) => execFileSync('ip', args, { stdio: 'pipe' });
    const make = () => {
      const peer = ['peer', 'name', 'peer7', 'index', '78'];
      ip('link', 'add', 'tap7', 'index', '77', 'type', 'veth', ...peer);
    };
    const elsewhere = `${namespace}-2`;
    for (const each of [namespace, elsewhere]) ip('netns', 'add', each);
    const stop = AbortSignal.timeout(DEADLINE_MS);
    try {
      enterNetns(netnsPath(namespace));
      make();
      const lists = openLinks(clock).watch(stop)[Symbol.asyncIterator]();
      const next = async (): Promise<readonly LocalInterface[]> => {
        const { value, done } = await lists.next();
        assert.ok(done !== true, 'nothing was told');
        return value;
      };
      const has = (list: readonly LocalInterface[]): boolean =>
        list.some(({ name, index }) => name === 'tap7' && index === 77);
      assert.ok(has(await next()));
      // Both events wait when the monitor is read: the lists before and after are equal.
      ip('link', 'del', 'tap7');
      make();
      assert.ok(has(await next()));
      const carrier = async (wanted: boolean): Promise<void> => {
        while ((await next()).find(({ name }) => name === 'tap7')?.carrier !== wanted);
      };
      ip('link', 'set', 'tap7', 'up');
      ip('link', 'set', 'peer7', 'up');
      await carrier(true);
      ip('link', 'set', 'peer7', 'down');
      await carrier(false);
      // The other end moves to another namespace: frames must not go where it was.
      ip('link', 'set', 'peer7', 'netns', elsewhere);
      ip('-n', elsewhere, 'link', 'set', 'peer7', 'up');
      const moved = async () => (await next()).find(({ name }) => name === 'tap7');
      for (let tap = await moved(); tap?.netns === undefined; tap = await moved());
      await lists.return?.();
    } finally {
      home.enter();
      for (const each of [namespace, elsewhere]) ip('netns', 'del', each);
    }
  },
);
