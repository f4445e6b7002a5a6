/** Single checks, against servers on loopback. */
import assert from 'node:assert/strict';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttp, type RequestListener } from 'node:http';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { test } from 'node:test';
import type { Check, Monitor } from './duties.ts';
import { isExpected, probeBy } from './prober.ts';

const probe = probeBy(async (_, begin) => await begin());
const checkOf = (port: number, monitor: Partial<Monitor>, address = '127.0.0.1'): Check => ({
  ...{ member: 'm', address, port, space: '', status: 'unknown', reason: '' },
  monitor: { type: 'tcp', interval: 5, timeout: 1, rise: 1, fall: 1, ...monitor },
});
async function listening(server: Server): Promise<{ port: number } & AsyncDisposable> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      server.close();
      await once(server, 'close');
    },
  };
}
const answering = (listener: RequestListener) => listening(createHttp(listener));
/** A port where nobody listens. */
async function closedPort(): Promise<number> {
  await using open = await listening(createServer());
  return open.port;
}

test('tcp: a connection opens, or is refused', async () => {
  await using server = await listening(createServer((socket) => socket.destroy()));
  assert.deepEqual(await probe(checkOf(server.port, {})), { ok: true, reason: 'connection open' });
  assert.deepEqual(await probe(checkOf(await closedPort(), {})), {
    ok: false,
    reason: 'connection refused',
  });
});

test('http: status, text, host and path are as the monitor says', async () => {
  let asked = '';
  await using server = await answering((request, response) => {
    asked = `${request.method} ${request.headers.host} ${request.url}`;
    response.statusCode = request.url === '/well' ? 204 : 503;
    if (request.url === '/text') response.statusCode = 200;
    response.end(request.url === '/text' ? 'all is well here' : undefined);
  });
  const ask = (monitor: Partial<Monitor>) =>
    probe(checkOf(server.port, { type: 'http', ...monitor }));
  assert.deepEqual(await ask({ path: '/well', codes: '200-204', hostName: 'www.example.org' }), {
    ok: true,
    reason: 'status 204',
  });
  assert.equal(asked, `GET www.example.org:${server.port} /well`);
  assert.equal((await ask({})).reason, 'status 503, not 200');
  assert.equal((await ask({ path: '/text', body: 'is well' })).ok, true);
  assert.equal((await ask({ path: '/text', body: 'ill' })).reason, 'status 200, without "ill"');
});

test('http: who never answers is given up, and who talks nonsense is no server', async () => {
  await using silent = await listening(createServer((socket) => void socket.resume()));
  const late = await probe(checkOf(silent.port, { type: 'http' }));
  assert.deepEqual(late, { ok: false, reason: 'no answer within 1 s' });
  await using nonsense = await listening(
    createServer((socket) => void socket.resume().end('what?\r\n\r\n')),
  );
  assert.equal((await probe(checkOf(nonsense.port, { type: 'http' }))).ok, false);
});

test('udp: only who says that nobody listens is down', async () => {
  const socket = createSocket('udp4');
  socket.bind(0, '127.0.0.1');
  await once(socket, 'listening');
  const { port } = socket.address();
  const quiet = await probe(checkOf(port, { type: 'udp' }));
  assert.deepEqual(quiet, { ok: true, reason: 'not refused' });
  socket.on('message', (_, from) => socket.send('!', from.port, from.address));
  assert.equal((await probe(checkOf(port, { type: 'udp' }))).reason, 'an answer');
  socket.close();
  await once(socket, 'close');
  const refused = await probe(checkOf(port, { type: 'udp' }));
  assert.deepEqual(refused, { ok: false, reason: 'connection refused' });
});

const skip = process.getuid?.() === 0 ? false : 'needs root: raw sockets';
test('ping: an echo comes back, of either family', { skip }, async () => {
  for (const address of ['127.0.0.1', '::1']) {
    const found = await probe(checkOf(0, { type: 'ping' }, address));
    assert.deepEqual(found, { ok: true, reason: 'an echo' }, address);
  }
});

test('codes are single ones and ranges', () => {
  assert.ok(isExpected(204, '200,202-204'));
  assert.ok(!isExpected(201, '200,202-204'));
});
