/** Deleting what does not fit into one transaction. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation } from '#client/types.ts';
import { openNode, type Fixture } from './fixture.ts';

const ROUTES = 700;
const create = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});

async function large({ operator }: Fixture): Promise<void> {
  await operator.transact([
    create('bridge', { name: 'b0', tenant: 't' }),
    create('router', { name: 'r0', tenant: 't' }),
    create('router', { name: 'r1', tenant: 't' }),
    create('port', { name: 'up', router: 'r0', networks: ['10.0.0.1/24'] }),
    create('port', { name: 'other', router: 'r1', networks: ['10.0.0.2/24'] }),
    { op: 'update', kind: 'port', id: 'up', body: { peer: 'other' } },
  ]);
  for (let n = 0; n < 60; n++) {
    const name = `near${n}`;
    await operator.transact([
      create('port', { name, bridge: 'b0' }),
      create('port', { name: `far${n}`, router: 'r0', networks: [`10.1.${n}.1/24`] }),
      { op: 'update', kind: 'port', id: name, body: { peer: `far${n}` } },
    ]);
  }
  for (let from = 0; from < ROUTES; from += 100)
    await operator.transact(
      Array.from({ length: 100 }, (_, i) =>
        create('route', {
          router: 'r0',
          destination: `20.${(from + i) >> 8}.${(from + i) & 255}.0/24`,
          port: 'up',
          gateway: '10.0.0.2',
        }),
      ),
    );
}

test('a router of hundreds of routes and ports is deleted, and what it was linked to stays', async () => {
  await using node = openNode();
  await large(node);
  const tenant = await node.as({ role: 'tenant', name: 't', tenant: 't' });
  await tenant.remove('router', 'r0');
  assert.deepEqual(await node.operator.listAll('route'), []);
  const names = (await node.operator.listAll('port')).map(({ name }) => name);
  assert.equal(names.length, 61, 'the ends at the bridge, and that at the other router');
  assert.ok(!names.includes('up') && names.includes('other') && names.includes('near59'));
  const other = (await node.operator.get('port', 'other')) as { readonly peer?: string };
  assert.equal(other.peer, undefined);
});

test('what may not be deleted loses nothing: another revision, another tenant, a refusal', async () => {
  await using node = openNode();
  await large(node);
  const count = async (): Promise<number> => (await node.operator.listAll('route')).length;
  await assert.rejects(node.operator.remove('router', 'r0', 999), /revision/);
  const stranger = await node.as({ role: 'tenant', name: 's', tenant: 's' });
  await assert.rejects(stranger.remove('router', 'r0'), /no router is named/);
  assert.equal(await count(), ROUTES);
});
