/** Dry runs: the rules and limits of the write, the sight of the caller, and nothing written. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Operation } from '#client/types.ts';
import { ApiError } from '#client/errors.ts';
import { openNode } from './fixture.ts';

const create = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});

test('a dry run says what the write then does, and itself does nothing', async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.transact([
    create('bridge', { name: 'b0' }),
    create('port', { name: 'p', bridge: 'b0' }),
    create('host', { name: 'h1' }),
  ]);
  const operations: Operation[] = [
    create('bridge', { name: 'b1', labels: ['app=web'] }),
    { op: 'update', kind: 'port', id: 'p', body: { host: 'h1', interface: 'tap0' } },
    { op: 'update', kind: 'bridge', id: 'b0', body: { adminStateUp: true } },
  ];
  const { revision } = await operator.status();
  const told = await operator.dryRun(operations);
  assert.equal(told.dryRun, true);
  assert.equal(told.revision, revision);
  assert.equal((await operator.status()).revision, revision);
  assert.deepEqual(
    told.changes?.map(({ op, kind }) => [op, kind]),
    [
      ['create', 'bridge'],
      ['update', 'port'],
    ],
    'what stays as it is, is no change',
  );
  const again = await operator.dryRun(operations);
  const written = await operator.transact(operations);
  const [made, port] = written.objects as unknown as [{ floodKey: number }, { id: string }];
  for (const { changes = [] } of [told, again]) {
    const bridge = changes[0]?.after as unknown as typeof made | undefined;
    assert.equal(bridge?.floodKey, made.floodKey);
    assert.equal(changes[1]?.id, port.id);
  }
  assert.equal(written.dryRun, undefined);
});

test('a dry run is refused as the write would be, and a parameter that is neither', async () => {
  await using node = openNode();
  const { operator, request } = node;
  await operator.create('bridge', { name: 'b0' });
  const status = async (work: Promise<unknown>): Promise<number> => {
    const error: unknown = await work.then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    return error instanceof ApiError ? error.status : 0;
  };
  const gone: Operation = { op: 'delete', kind: 'bridge', id: 'b0', ifRevision: 99 };
  assert.equal(await status(operator.dryRun([gone])), 412);
  assert.equal(await status(operator.dryRun([{ ...gone, id: 'b9' }])), 404);
  assert.equal(await status(operator.dryRun([create('port', { name: 'p', bridge: 'x' })])), 400);
  const many = Array.from({ length: 126 }, (_, i) => create('bridge', { name: `n${i}` }));
  assert.equal(await status(operator.dryRun(many)), 400);
  const wrong = await request('/v1/bridges/b0?dry-run=yes', { method: 'DELETE' });
  assert.equal(wrong.status, 400);
  assert.match(await wrong.text(), /"path":"dry-run","message":"must be true or false"/);
  assert.equal((await request('/v1/bridges/b0?dry_run=true', { method: 'DELETE' })).status, 400);
  assert.notEqual(await operator.get('bridge', 'b0'), undefined);
});

test("of a deletion that is swept in parts all of it is told; of others' objects nothing", async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.transact([
    create('router', { name: 'r0', tenant: 't' }),
    create('bridge', { name: 'public' }),
    create('port', { name: 'up', router: 'r0', networks: ['10.0.0.1/24'] }),
    create('port', { name: 'end', bridge: 'public', peer: 'up' }),
  ]);
  for (let part = 0; part < 2; part++)
    await operator.transact(
      Array.from({ length: 100 }, (_, i) =>
        create('route', { router: 'r0', destination: `20.${part}.${i}.0/24`, port: 'up' }),
      ),
    );
  const mine = await node.as({ role: 'tenant', name: 't', tenant: 't' });
  const remove: Operation = { op: 'delete', kind: 'router', id: 'r0' };
  const all = await operator.dryRun([remove]);
  assert.equal(all.changes?.length, 203);
  const seen = await mine.dryRun([remove]);
  assert.equal(seen.changes?.length, 202, "the peer at the other's bridge is not theirs to see");
  assert.doesNotMatch(JSON.stringify(seen), /"end"|public/);
  assert.equal((await operator.listAll('route')).length, 200);
  const other = await node.as({ role: 'tenant', name: 'x', tenant: 'x' });
  await assert.rejects(other.dryRun([remove]), { status: 404 });
});
