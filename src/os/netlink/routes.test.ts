/** The MTU of ways, as the kernel has it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { inNetns, netnsPath } from '../netns.ts';
import { decodeRoute, Routes } from './routes.ts';

const isRoot = process.getuid?.() === 0;
const NAME = `mnt-${process.pid}-routes`;
const ip = (...args: string[]): void => {
  execFileSync('ip', args, { stdio: ['ignore', 'ignore', 'pipe'] });
};
const six = (last: number): Uint8Array => Uint8Array.of(0xfd, 9, ...new Uint8Array(13), last);

test(
  'the MTU of a way is that of its interface, or less',
  { skip: !isRoot && 'needs root' },
  () => {
    ip('netns', 'add', NAME);
    try {
      for (const line of [
        'link add w0 mtu 1700 type veth peer name w1',
        'link set w0 up',
        'link set w1 up',
        'addr add 10.9.0.1/24 dev w0',
        'addr add fd09::1/64 dev w0 nodad',
        'route add 10.9.0.3/32 dev w0 mtu 1400',
        'route add fd09::3/128 dev w0 mtu 1300',
        'route add unreachable 10.9.0.4/32',
      ])
        ip('-n', NAME, ...line.split(' '));
      using routes = inNetns(netnsPath(NAME), () => new Routes());
      const mtu = (address: Uint8Array) => routes.pathMtu(address);
      assert.equal(mtu(Uint8Array.of(10, 9, 0, 2)), 1700);
      assert.equal(mtu(Uint8Array.of(10, 9, 0, 3)), 1400);
      assert.equal(mtu(Uint8Array.of(10, 9, 0, 4)), undefined);
      assert.equal(mtu(Uint8Array.of(10, 8, 0, 1)), undefined, 'no route');
      assert.equal(mtu(six(2)), 1700);
      assert.equal(mtu(six(3)), 1300);
      ip('-n', NAME, 'link', 'set', 'w0', 'mtu', '1350');
      assert.equal(mtu(Uint8Array.of(10, 9, 0, 3)), 1350);
    } finally {
      ip('netns', 'del', NAME);
    }
  },
);

test('junk is no route', () => {
  assert.equal(
    decodeRoute({ type: 24, flags: 0, sequence: 1, body: new Uint8Array(3) }),
    undefined,
  );
  const body = new Uint8Array(12);
  assert.deepEqual(decodeRoute({ type: 24, flags: 0, sequence: 1, body }), {
    index: 0,
    mtu: undefined,
  });
  using routes = new Routes();
  assert.throws(() => routes.pathMtu(new Uint8Array(5)), /4 or 16 bytes/);
});
