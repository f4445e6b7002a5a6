/** What one caller may take: nesting, faults told, streams; and what is never ignored. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Problem } from '#client/types.ts';
import { BASE, openNode, reportAt, type Fixture } from './fixture.ts';
import { WAITS_PER_TOKEN_MAX } from './hosts.ts';
import { ERRORS_TOLD_MAX } from './problems.ts';
import { STREAMS_PER_TOKEN_MAX } from './watch.ts';

const streams = async (node: Fixture): Promise<number> => {
  const text = await (await node.request('/metrics')).text();
  return Number(/^mn_api_streams (\d+)$/m.exec(text)?.[1]);
};

async function refused(node: Fixture, body: string): Promise<Problem> {
  const headers = { 'content-type': 'application/json' };
  const response = await node.request('/v1/bridges', { method: 'POST', headers, body });
  assert.equal(response.status, 400);
  return (await response.json()) as Problem;
}

test('a body that is nested too deep is refused, however deep it is', async () => {
  await using node = openNode();
  for (const levels of [17, 200_000])
    for (const [open, close] of [
      ['{"a":', '}'],
      ['[', ']'],
    ] as const) {
      const body = `{"name":${open.repeat(levels)}1${close.repeat(levels)}}`;
      assert.match((await refused(node, body)).detail ?? '', /nested deeper than 16 levels/);
    }
});

test('of very many faults the first are told, and how many more there are', async () => {
  await using node = openNode();
  const fields = Array.from({ length: ERRORS_TOLD_MAX + 7 }, (_, i) => [`f${i}`, 1]);
  const { errors = [] } = await refused(node, JSON.stringify(Object.fromEntries(fields)));
  assert.equal(errors.length, ERRORS_TOLD_MAX + 1);
  assert.deepEqual(errors.at(-1), { path: '', message: 'and 7 faults more' });
});

test('a write with a parameter is refused: what it asks for would be ignored', async () => {
  await using node = openNode();
  await node.operator.create('bridge', { name: 'b' });
  const response = await node.request('/v1/bridges/b?ifRevision=9', { method: 'DELETE' });
  assert.equal(response.status, 400);
  assert.match(await response.text(), /ifRevision","message":"is not a known parameter/);
  assert.equal((await node.operator.get('bridge', 'b')).name, 'b');
});

test('HEAD leaves no stream behind', async () => {
  await using node = openNode();
  const response = await node.request('/v1/watch', { method: 'HEAD' });
  assert.equal(response.status, 200);
  assert.equal(response.body, null);
  assert.equal(await streams(node), 0);
});

test('one token cannot take all the waits', async () => {
  await using node = openNode();
  await node.operator.create('host', { name: 'h1' });
  const bob = await node.as({ role: 'tenant', name: 'bob', tenant: 'acme' });
  const waits = Array.from({ length: WAITS_PER_TOKEN_MAX }, () => bob.wait(1, 60_000));
  await assert.rejects(bob.wait(1, 60_000), /64 of your requests are waiting already/);
  assert.deepEqual((await node.operator.wait(1, 0)).behind, ['h1']);
  const host = await node.as({ role: 'host', name: 'h1', host: 'h1' });
  await host.report(reportAt(1));
  assert.deepEqual((await Promise.all(waits))[0]?.enforced, ['a host']);
  assert.deepEqual((await bob.wait(1, 0)).behind, []);
});

test('one stream too many of a token ends its oldest, and nobody else', async () => {
  await using node = openNode();
  const open = async (secret: string): Promise<ReadableStreamDefaultReader<Uint8Array>> => {
    const headers = { authorization: `Bearer ${secret}` };
    const { body } = await node.api.fetch(new Request(`${BASE}/v1/watch`, { headers }));
    assert(body !== null);
    const reader = body.getReader();
    assert.equal((await reader.read()).done, false);
    return reader;
  };
  const other = await open(await node.secret({ role: 'operator', name: 'ann' }));
  const secret = await node.secret({ role: 'tenant', name: 'bob', tenant: 'acme' });
  const [oldest, ...more] = await Promise.all(
    Array.from({ length: STREAMS_PER_TOKEN_MAX }, () => open(secret)),
  );
  more.push(await open(secret));
  assert.equal((await oldest?.read())?.done, true);
  assert.equal(await streams(node), STREAMS_PER_TOKEN_MAX + 1);
  for (const reader of [other, ...more]) await reader.cancel();
  assert.equal(await streams(node), 0);
});
