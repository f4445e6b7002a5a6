/**
 * `mn api` as a process: sockets, tokens, streams, restart, and a socket file left by a killed one.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { after, test } from 'node:test';
import assert from 'node:assert/strict';
import { createClient } from '#client/client.ts';
import { connect } from '#client/connect.ts';
import { Unavailable } from '#client/errors.ts';
import type { Client } from '#client/types.ts';

const folder = mkdtempSync(join(tmpdir(), 'mn-api-'));
const children = new Set<ChildProcess>();
after(() => {
  for (const child of children) child.kill('SIGKILL');
  rmSync(folder, { recursive: true });
});
const socket = join(folder, 'run', 'api.sock');
const data = join(folder, 'data');
const MN = new URL('../mn.ts', import.meta.url).pathname;

async function start(...more: string[]): Promise<{ child: ChildProcess; urls: string[] }> {
  const args = [MN, 'api', '--data', data, '--socket', socket, '--listen', '127.0.0.1:0', ...more];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  children.add(child);
  child.on('exit', () => children.delete(child));
  child.stderr.resume();
  for await (const line of createInterface(child.stdout)) {
    const [ready, ...urls] = line.split(' ');
    assert.equal(ready, 'ready');
    return { child, urls };
  }
  throw new Error('ended without a ready line');
}
async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<unknown[]> {
  const exited = once(child, 'exit');
  child.kill(signal);
  return exited;
}
const clientOf = (url = '', token?: string): Client =>
  createClient({ fetch: connect(url, token), retry: { delayMsMin: 10, delayMsMax: 50 } });

test('socket and TCP serve; a watch survives kill -9 and a restart; SIGTERM ends it well', async () => {
  const first = await start();
  assert.equal(statSync(socket).mode & 0o777, 0o600);
  assert.equal(first.urls[0], `unix:${socket}`);
  const operator = clientOf(first.urls[0]);
  await operator.create('host', { name: 'h1' });
  const { secret } = await operator.issueToken({ role: 'host', name: 'h1', host: 'h1' });
  await assert.rejects(clientOf(first.urls[1]).status(), /A valid token is required/);
  const agent = clientOf(first.urls[1], secret);
  assert.equal((await agent.status()).hosts[0]?.name, 'h1');

  const stop = new AbortController();
  const seen: string[] = [];
  const heard = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const watching = (async () => {
    for await (const event of operator.watch({ signal: stop.signal })) {
      seen.push(event.type);
      started.resolve();
      if (JSON.stringify(event).includes('"name":"after"')) heard.resolve();
    }
  })();
  await started.promise;
  const { revision } = await operator.create('bridge', { name: 'before' });
  assert.deepEqual(await end(first.child, 'SIGKILL'), [null, 'SIGKILL']);
  await assert.rejects(operator.status(), Unavailable);

  const second = await start();
  const again = clientOf(second.urls[0]);
  assert.equal((await again.get('bridge', 'before')).revision, revision);
  await again.create('bridge', { name: 'after' });
  const third = createClient({ fetch: connect(`unix:${folder}/none,${second.urls[1]}`, secret) });
  await assert.rejects(third.status(), Unavailable);
  assert.equal((await third.status()).version, (await again.status()).version);
  const late = new AbortController();
  for await (const event of again.watch({ signal: late.signal })) {
    assert.equal(event.type, 'snapshot');
    late.abort();
  }
  assert.deepEqual(await end(second.child, 'SIGTERM'), [0, null]);
  assert.throws(() => statSync(socket), { code: 'ENOENT' });
  const last = await start();
  await heard.promise;
  assert.ok(seen.includes('snapshot'));
  stop.abort();
  await watching;
  assert.deepEqual(await end(last.child, 'SIGINT'), [0, null]);
});

async function failing(...args: string[]): Promise<{ code: unknown; text: string }> {
  const child = spawn(process.execPath, [MN, 'api', ...args], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  children.add(child);
  let text = '';
  child.stderr.on('data', (chunk: Buffer) => (text += chunk.toString()));
  const [code] = await once(child, 'close');
  children.delete(child);
  return { code, text };
}

test('what cannot be started says why and ends', async () => {
  assert.deepEqual((await failing()).code, 2);
  assert.deepEqual(await failing('--help'), { code: 0, text: '' });
  assert.match((await failing('--data', data, '--color')).text, /--color/);
  const plain = join(folder, 'plain');
  writeFileSync(plain, '');
  const notSocket = await failing('--data', data, '--socket', plain);
  assert.equal(notSocket.code, 1);
  assert.match(notSocket.text, /is there and is no socket/);
  const bad = await failing('--data', data, '--socket', socket, '--listen', 'nowhere');
  assert.match(bad.text, /--listen nowhere: must be ADDRESS:PORT/);
  const { child } = await start();
  const taken = await failing('--data', data, '--socket', `${socket}2`);
  assert.match(taken.text, /--data .*: another process has it open/);
  const served = await failing('--data', join(folder, 'other'), '--socket', socket);
  assert.match(served.text, /another process serves it/);
  await end(child, 'SIGTERM');
});
