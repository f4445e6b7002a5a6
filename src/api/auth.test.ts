/** Who may do what: every route for every role, and secrets stay secret. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import type { Token } from '#client/types.ts';
import { openNode, type Fixture } from './fixture.ts';
import { authenticate } from './tokens.ts';

const ask = (
  node: Fixture,
  method: string,
  path: string,
  authorization?: string,
): Promise<Response> =>
  node.api.fetch(
    new Request(`http://api${path}`, {
      method,
      headers: {
        ...(authorization !== undefined && { authorization }),
        'content-type': 'application/json',
      },
      ...(method !== 'GET' && method !== 'DELETE' && { body: '{}' }),
    }),
  );

test('without the token that was issued every route but health and description answers 401', async () => {
  await using node = openNode();
  const secret = await node.secret({ role: 'operator', name: 'ann' });
  const other = `${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`;
  const document = (await (await node.request('/openapi.json')).json()) as {
    paths: Record<string, Record<string, { 'x-roles': unknown }>>;
  };
  let routes = 0;
  for (const [path, methods] of Object.entries(document.paths))
    for (const [method, { 'x-roles': roles }] of Object.entries(methods)) {
      if (roles === 'anyone') continue;
      routes += 1;
      const real = path.replaceAll(/\{\w+\}/g, 'x');
      for (const authorization of [
        undefined,
        `Bearer ${other}`,
        'Bearer x',
        `Basic ${secret}`,
        'Bearer ',
      ]) {
        const response = await ask(node, method.toUpperCase(), real, authorization);
        assert.equal(response.status, 401, `${method} ${path} with ${authorization}`);
        assert.equal(response.headers.get('www-authenticate'), 'Bearer');
      }
    }
  assert.ok(routes > 25);
  assert.equal((await ask(node, 'GET', '/v1/status', `Bearer ${secret}`)).status, 200);
  assert.equal((await ask(node, 'GET', '/metrics', `Bearer ${secret}`)).status, 403);
  assert.equal((await ask(node, 'GET', '/healthz')).status, 200);
});

test('each role is refused what is not its own, route by route', async () => {
  await using node = openNode();
  await node.operator.create('host', { name: 'h1' });
  const tokens: Token[] = [
    { role: 'operator', name: 'ann' },
    { role: 'tenant', name: 'bob', tenant: 'acme' },
    { role: 'host', name: 'h1', host: 'h1' },
  ];
  const document = (await (await node.request('/openapi.json')).json()) as {
    paths: Record<string, Record<string, { 'x-roles': string[] | string }>>;
  };
  for (const token of tokens) {
    const authorization = `Bearer ${await node.secret(token)}`;
    for (const [path, methods] of Object.entries(document.paths))
      for (const [method, { 'x-roles': roles }] of Object.entries(methods)) {
        if (typeof roles === 'string' || path === '/v1/watch') continue;
        const real = path.replaceAll(/\{\w+\}/g, 'x');
        const response = await ask(node, method.toUpperCase(), real, authorization);
        const told = `${token.role}: ${method} ${path}: ${response.status}`;
        const byRoute = response.status === 403 && (await response.text()).includes('this is for');
        assert.equal(byRoute, !roles.includes(token.role), told);
      }
  }
});

test('a tenant sees and touches only what is its own', async () => {
  await using node = openNode();
  const acme = await node.as({ role: 'tenant', name: 'a', tenant: 'acme' });
  const evil = await node.as({ role: 'tenant', name: 'e', tenant: 'evil' });
  await node.operator.create('host', { name: 'h1' });
  await acme.create('bridge', { name: 'net' });
  await acme.create('port', { name: 'p', bridge: 'net' });
  assert.deepEqual(
    (await acme.listAll('bridge')).map(({ tenant }) => tenant),
    ['acme'],
  );
  assert.deepEqual(await acme.listAll('host'), []);
  for (const kind of ['bridge', 'port'] as const) {
    assert.deepEqual(await evil.listAll(kind), []);
    const [object] = await acme.listAll(kind);
    const id = object?.id ?? '';
    await assert.rejects(evil.get(kind, id), /no (bridge|port) has the id/);
    await assert.rejects(evil.update(kind, id, { name: 'mine' }), /no (bridge|port) has the id/);
    await assert.rejects(evil.remove(kind, id), /no (bridge|port) has the id/);
  }
  await assert.rejects(evil.trace({ port: 'p', frame: '00'.repeat(14) }), /no port is named "p"/);
  await assert.rejects(
    evil.create('port', { name: 'q', bridge: 'net' }),
    /bridge: no bridge is named/,
  );
  await assert.rejects(
    acme.update('port', 'p', { host: 'h1', interface: 'eth0' }),
    /Not allowed|operator/,
  );
  const { hosts } = await acme.status();
  assert.deepEqual(hosts, []);
});

test('a tenant learns no name of a host: not by waiting, not by a filter', async () => {
  await using node = openNode();
  await node.operator.create('host', { name: 'h1' });
  await node.operator.create('bridge', { name: 'net', tenant: 'acme' });
  const port = { name: 'p', bridge: 'net', host: 'h1', interface: 'eth0' };
  await node.operator.create('port', port);
  const acme = await node.as({ role: 'tenant', name: 'a', tenant: 'acme' });
  const { enforced, behind, away } = await acme.wait(1, 0);
  assert.deepEqual([...enforced, ...behind, ...away], ['a host']);
  assert.equal((await acme.list('port', { where: { host: 'h1' } })).items.length, 0);
  assert.equal((await acme.list('port', { where: { bridge: 'net' } })).items.length, 1);
  assert.equal((await node.operator.list('port', { where: { host: 'h1' } })).items.length, 1);
});

test('the store and the lists hold no secret, and a token works until it is revoked', async () => {
  await using node = openNode();
  const secret = await node.secret({ role: 'operator', name: 'ann' });
  const [, , random = ''] = /^mn_([0-9a-f]+)_(.+)$/.exec(secret) ?? [];
  assert.equal(random.length, 43);
  const stored = JSON.stringify(await node.store.list(''));
  const listed = await (await node.request('/v1/tokens')).text();
  assert.ok(!stored.includes(random) && !listed.includes(random) && !listed.includes('hash'));
  const { items } = JSON.parse(listed) as { items: { id: string; name: string }[] };
  assert.deepEqual(
    items.map(({ name }) => name),
    ['ann'],
  );
  const revoked = await node.request(`/v1/tokens/${items[0]?.id}`, { method: 'DELETE' });
  assert.equal(revoked.status, 204);
  assert.equal((await ask(node, 'GET', '/v1/status', `Bearer ${secret}`)).status, 401);
  assert.throws(() => authenticate(`Bearer ${secret}`, new Map()), { message: /revoked/ });
});
