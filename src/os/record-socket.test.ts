/** Datagrams of both families through one socket. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { RecordSocket } from './record-socket.ts';

const DEADLINE_MS = 10_000;

test('what is sent to IPv4 arrives with who sent it, and a port that is taken is refused', async () => {
  const probe = createSocket('udp4').bind(0, '127.0.0.1');
  await once(probe, 'listening');
  const { port } = probe.address();
  probe.close();
  await once(probe, 'close');
  using socket = new RecordSocket(port);
  assert.throws(() => new RecordSocket(port), /EADDRINUSE|in use/);
  const loopback = Uint8Array.of(127, 0, 0, 1);
  for (const n of [1, 2]) socket.send(loopback, port, Uint8Array.of(n, n, n));
  const got: string[] = [];
  const deadline = performance.now() + DEADLINE_MS;
  while (got.length < 2 && performance.now() < deadline) {
    socket.receive((from, bytes) => got.push(`${from.join('.')} ${bytes.join()}`), 16);
    await sleep(1);
  }
  assert.deepEqual(got, ['127.0.0.1 1,1,1', '127.0.0.1 2,2,2']);
  assert.equal(
    socket.receive(() => assert.fail('there is nothing more'), 16),
    0,
  );
  assert.throws(() => socket.send(loopback, port, new Uint8Array(4_096)), /too long/);
});
