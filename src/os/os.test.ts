/** The small ones: waiting for descriptors, commands, memory. No privileges needed. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Epoll, EventFd, TimerFd } from './epoll.ts';
import { closeFd, errnoName, Memory, must, onReadable, syscall, SYS, SystemError } from './libc.ts';
import { run, runOk } from './run.ts';

test('a bell wakes a waiting thread until it is cleared', () => {
  using epoll = new Epoll();
  using bell = new EventFd();
  epoll.add(bell.fd);
  assert.deepEqual([...epoll.wait(0)], []);
  bell.ring();
  bell.ring();
  assert.deepEqual([...epoll.wait(1000)], [bell.fd]);
  assert.deepEqual([...epoll.wait(1000)], [bell.fd], 'level-triggered');
  assert.equal(bell.clear(), 2);
  assert.equal(bell.clear(), 0);
  assert.deepEqual([...epoll.wait(0)], []);
});

test('a timer fires again and again, and can be stopped', () => {
  using epoll = new Epoll();
  using timer = new TimerFd();
  epoll.add(timer.fd);
  assert.equal(timer.clear(), 0);
  timer.every(1);
  for (let fired = 0; fired < 3;) {
    assert.deepEqual([...epoll.wait(5000)], [timer.fd]);
    fired += timer.clear();
  }
  timer.every(0);
  timer.clear();
  assert.deepEqual([...epoll.wait(0)], []);
});

test('the event loop hears of a readable descriptor', async () => {
  using bell = new EventFd();
  await new Promise<void>((resolve) => {
    const watch = onReadable(bell.fd, () => {
      bell.clear();
      watch[Symbol.dispose]();
      resolve();
    });
    bell.ring();
  });
});

test('errors carry their number and its name', () => {
  assert.equal(errnoName(2), 'ENOENT');
  assert.throws(
    () => must(syscall(SYS.close, 1 << 20), 'close'),
    (error) => error instanceof SystemError && error.code === 9 && error.message === 'close: EBADF',
  );
});

test('memory holds what it was given, and the kernel sees it', () => {
  const word = Memory.text('häh');
  assert.deepEqual([...word.bytes], [0x68, 0xc3, 0xa4, 0x68, 0]);
  const number = new Memory(8).u64(0, 2 ** 40 + 5);
  assert.equal(number.view.getBigUint64(0, true), 2n ** 40n + 5n);
  const fd = must(syscall(SYS.eventfd2, 3, 0), 'eventfd2');
  assert.equal(syscall(SYS.read, fd, number.address, 8), 8);
  assert.equal(number.view.getUint32(0, true), 3);
  closeFd(fd);
});

test('commands: output, failure, deadline, absence', async () => {
  assert.equal(await runOk('printf', ['%s', 'a b; c']), 'a b; c');
  assert.equal((await run('cat', [], { input: 'in' })).stdout, 'in');
  await assert.rejects(runOk('sh', ['-c', 'echo why >&2; exit 3']), /exit 3: why/);
  await assert.rejects(run('sleep', ['60'], { deadlineMs: 20 }), /no end within 20 ms/);
  await assert.rejects(run('no-such-command', []), /cannot be started/);
});
