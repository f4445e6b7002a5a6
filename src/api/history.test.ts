/** The history: complete, exact, bounded, and of each reader only what is theirs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from '#client/errors.ts';
import type { Client } from '#client/types.ts';
import { DEADLINE_MS } from '#store/contract.ts';
import { openSqlite } from '#store/sqlite.ts';
import { edits } from './edits.fixture.ts';
import { type Fixture, openNode } from './fixture.ts';
import { begin, play, shownBy } from './history.fixture.ts';
import { FORGET_MAX } from './history.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 12);

/** The whole history, by pages of any size. */
async function allOf(client: Client, query: Parameters<Client['history']>[0] = {}) {
  const items = [];
  for (let before: number | undefined; ;) {
    const page = await client.history({ ...query, ...(before !== undefined && { before }) });
    items.push(...page.items);
    if (page.next === undefined) return items;
    before = page.next;
  }
}

test('the topology of every kept revision is the one that was there', async () => {
  const property = fc.asyncProperty(edits(30), fc.nat(3), async (all, every) => {
    await using store = openSqlite(':memory:');
    const node = openNode(store, false);
    const past = await begin(node);
    await play(node, past, all);
    for (const [revision, state] of past.states)
      assert.deepEqual(await shownBy(node.operator, revision), state, `at ${revision}`);
    await node[Symbol.asyncDispose]();
    // Another node over the same store knows no less, whatever it is asked first.
    await using again = openNode(store, false);
    const some = [...past.states].filter((_, i) => i % (every + 1) === 0).reverse();
    for (const [revision, state] of some)
      assert.deepEqual(await shownBy(again.operator, revision), state, `again at ${revision}`);
    assert.deepEqual(await shownBy(again.operator, 0), []);
  });
  await fc.assert(property, { seed, numRuns });
});

test('every write of objects has its entry, with who, when and both states', async () => {
  await using node = openNode();
  const { operator, clock } = node;
  const tenant = await node.as({ role: 'tenant', name: 'ann', tenant: 't' });
  await operator.create('host', { name: 'h1' });
  const agent = await node.as({ role: 'host', name: 'agent of h1', host: 'h1' });
  clock.advance(1_500);
  await tenant.create('bridge', { name: 'b0', labels: ['a=1'] });
  await tenant.update('bridge', 'b0', { name: 'b9' });
  await operator.transact([
    { op: 'create', kind: 'port', body: { name: 'p', bridge: 'b9' } },
    { op: 'update', kind: 'port', id: 'p', body: { host: 'h1', interface: 'tap0' } },
  ]);
  await agent.locate('p', { interface: 'tap0' }).catch(() => {});
  const { id } = await operator.get('port', 'p');
  await agent.locate(id, { interface: 'tap0' });
  await tenant.remove('bridge', 'b9');
  await operator.update('host', 'h1', { name: 'h1' });
  const items = await allOf(operator, { all: true, limit: 2 });
  assert.deepEqual(
    items.map(({ by, at, rows }) => [
      by.name,
      at,
      rows
        .map(({ kind, before, after }) => `${kind} ${before?.name ?? '-'} ${after?.name ?? '-'}`)
        .sort(),
    ]),
    [
      ['ann', '1970-01-01T00:00:01.500Z', ['bridge b9 -', 'location - -', 'port p -']],
      ['agent of h1', '1970-01-01T00:00:01.500Z', ['location - -']],
      ['operator', '1970-01-01T00:00:01.500Z', ['port - p']],
      ['ann', '1970-01-01T00:00:01.500Z', ['bridge b0 b9']],
      ['ann', '1970-01-01T00:00:01.500Z', ['bridge - b0']],
      ['operator', '1970-01-01T00:00:00.000Z', ['host - h1']],
    ],
    'what changes nothing is no change',
  );
  const [token] = (await operator.tokens()).filter(({ name }) => name === 'ann');
  assert.deepEqual(items[0]?.by, { role: 'tenant', name: 'ann', id: token?.id });
  assert.deepEqual(items[2]?.by, { role: 'operator', name: 'operator' });
  const [renamed] = await allOf(operator, { kind: 'bridge', name: 'b0', limit: 1 });
  assert.deepEqual(
    [renamed?.rows[0]?.before?.labels, renamed?.rows[0]?.after?.revision],
    [['a=1'], renamed?.revision],
  );
  const hidden = await allOf(operator);
  assert.doesNotMatch(JSON.stringify(hidden), /location/);
  assert.equal((await allOf(operator, { by: token?.id ?? '' })).length, 3);
  assert.equal((await allOf(operator, { since: items[3]?.revision ?? 0 })).length, 2);
});

test('the id of a request is in its entry, a new one in place of what is none', async () => {
  await using node = openNode();
  const create = (name: string, id: string): Promise<Response> =>
    node.request('/v1/bridges', {
      method: 'POST',
      body: JSON.stringify({ name }),
      headers: { 'content-type': 'application/json', 'x-request-id': id },
    });
  await create('b0', 'req-1.A_b');
  await create('b1', 'not an id');
  const [second, first] = (await node.operator.history()).items;
  assert.equal(first?.request, 'req-1.A_b');
  assert.match(second?.request ?? '', /^[0-9a-f]{16}$/);
});

test('a tenant sees what was its own, and nothing of others: no row, name or author', async () => {
  await using node = openNode();
  const { operator } = node;
  const mine = await node.as({ role: 'tenant', name: 'ann', tenant: 'mine' });
  const theirs = await node.as({ role: 'tenant', name: 'bob-secret', tenant: 'theirs' });
  await theirs.create('bridge', { name: 'hidden' });
  await mine.create('bridge', { name: 'b0' });
  await operator.transact([
    { op: 'create', kind: 'host', body: { name: 'hidden-host' } },
    { op: 'create', kind: 'port', body: { name: 'hidden-port', bridge: 'hidden' } },
    { op: 'update', kind: 'bridge', id: 'b0', body: { adminStateUp: false } },
  ]);
  await mine.remove('bridge', 'b0');
  await theirs.remove('bridge', 'hidden');
  const items = await allOf(mine, { all: true });
  assert.deepEqual(
    items.map(({ by, rows }) => [by.name, rows.map(({ kind }) => kind)]),
    [
      ['ann', ['bridge']],
      ['another operator', ['bridge']],
      ['ann', ['bridge']],
    ],
  );
  assert.doesNotMatch(JSON.stringify(items), /hidden|secret/);
  assert.deepEqual(await allOf(mine, { name: 'hidden' }), []);
  assert.deepEqual(await allOf(mine, { by: 'bob-secret' }), []);
  const agent = await node.as({ role: 'host', name: 'h', host: 'hidden-host' });
  await assert.rejects(agent.history(), { status: 403 });
});

async function until(node: Fixture, holds: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + DEADLINE_MS; !(await holds());) {
    assert.ok(Date.now() < deadline, 'in time');
    await node.operator.create('bridge', { name: 'tick' });
  }
}

test('the oldest entries are forgotten; what is kept is exact, and a restart changes nothing', async () => {
  await using store = openSqlite(':memory:');
  const limits = { historyLimits: { entriesMax: 50, bytesMax: 1_000_000 } };
  const node = openNode(store, false, limits);
  for (let i = 0; i < 400; i++) await node.operator.create('bridge', { name: `b${i}` });
  await until(node, async () => (await allOf(node.operator)).length <= 50 + FORGET_MAX);
  const kept = await allOf(node.operator);
  assert.ok(kept.length >= 50);
  const oldest = (kept.at(-1)?.revision ?? 0) - 1;
  const were = (await node.operator.listAll('bridge')).length - kept.length;
  assert.equal((await shownBy(node.operator, oldest)).length, were);
  const refused = await node.operator.listAll('bridge', {}, oldest - 1).catch((e: unknown) => e);
  assert.ok(refused instanceof ApiError);
  assert.match(
    refused.message,
    new RegExp(`at: must be a revision that is kept: ${oldest} to \\d+`),
  );
  await node[Symbol.asyncDispose]();
  await using again = openNode(store, false, limits);
  assert.equal((await shownBy(again.operator, oldest)).length, were);
  assert.deepEqual(await allOf(again.operator), kept);
  await again.operator.create('bridge', { name: 'last' });
  assert.equal((await allOf(again.operator)).length, kept.length + 1);
});

test('the history is bounded in bytes too', async () => {
  await using node = openNode(undefined, true, {
    historyLimits: { entriesMax: 1_000, bytesMax: 40_000 },
  });
  const name = (i: number): string => `${'x'.repeat(200)}${i}`;
  for (let i = 0; i < 150; i++) await node.operator.create('bridge', { name: name(i) });
  await until(node, async () => (await allOf(node.operator)).length < 100);
  assert.ok((await allOf(node.operator)).length > 20);
});

test('an entry of a full transaction of large objects fits, and is whole', async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.create('bridge', { name: 'b0' });
  const seeds = (n: number) =>
    Array.from({ length: 64 }, (_, i) => ({
      mac: `02:00:00:00:${n.toString(16).padStart(2, '0')}:${i.toString(16).padStart(2, '0')}`,
      ip: `10.0.${n}.${i + 1}`,
    }));
  const ports = Array.from({ length: 100 }, (_, n) => n);
  await operator.transact(
    ports.map((n) => ({
      op: 'create',
      kind: 'port',
      body: { name: `p${n}`, bridge: 'b0', addresses: seeds(n) },
    })),
  );
  const before = await shownBy(operator);
  const { revision } = await operator.status();
  await operator.transact(
    ports.map((n) => ({ op: 'update', kind: 'port', id: `p${n}`, body: { hairpin: true } })),
  );
  await operator.remove('bridge', 'b0');
  assert.deepEqual(await shownBy(operator, revision), before);
});
