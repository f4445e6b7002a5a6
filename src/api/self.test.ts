/** Who the API takes a caller for: what a shell shows, and nothing about anybody else. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openNode } from './fixture.ts';

test('each caller hears of itself, and who shows no token of nobody', async () => {
  await using node = openNode();
  assert.deepEqual(await node.operator.self(), { role: 'operator', name: 'unix-socket' });
  const tenant = { role: 'tenant', name: 'alice', tenant: 'acme' } as const;
  assert.deepEqual(await (await node.as(tenant)).self(), tenant);
  const { objects } = await node.operator.create('host', { name: 'h1' });
  const host = { role: 'host', name: 'h1', host: objects[0]?.id ?? '' } as const;
  assert.deepEqual(await (await node.as(host)).self(), host);
  const stranger = await node.api.fetch(new Request('http://api/v1/self'));
  assert.equal(stranger.status, 401);
});
