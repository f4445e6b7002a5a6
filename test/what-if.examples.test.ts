/** What-if, case by case: what it covers, whom it tells what, and that it writes nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { runCli } from '#cli/cli.ts';
import { filesOf } from '#cli/files.ts';
import { createClient } from '#client/client.ts';
import { ApiError } from '#client/errors.ts';
import type { Operation } from '#client/types.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { World } from './world.ts';

const make = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});
const update = (kind: Operation['kind'], id: string, body: Record<string, unknown>): Operation => ({
  op: 'update',
  kind,
  id,
  body,
});

/** Two subnets at a router, and traffic between them; red owns the one, blue the other. */
async function network(): Promise<World> {
  const world = await World.open({
    hosts: ['h1', 'h2'],
    workloads: [
      {
        name: 'vm1',
        host: 'h1',
        mac: '02:00:00:00:01:02',
        addresses: ['10.0.1.2/24'],
        via: ['10.0.1.1'],
      },
      {
        name: 'vm2',
        host: 'h2',
        mac: '02:00:00:00:02:02',
        addresses: ['10.0.2.2/24'],
        via: ['10.0.2.1'],
      },
    ],
  });
  await world.client.transact([
    make('bridge', { name: 'b1', tenant: 'red' }),
    make('bridge', { name: 'secret-b2', tenant: 'blue' }),
    make('router', { name: 'r0', tenant: 'red' }),
    make('port', { name: 'vm1', bridge: 'b1', host: 'h1', interface: 'vm1' }),
    make('port', { name: 'secret-vm2', bridge: 'secret-b2', host: 'h2', interface: 'vm2' }),
    make('port', {
      name: 'r0-b1',
      router: 'r0',
      mac: '02:00:00:00:01:01',
      networks: ['10.0.1.1/24'],
    }),
    make('port', {
      name: 'r0-b2',
      router: 'r0',
      mac: '02:00:00:00:02:01',
      networks: ['10.0.2.1/24'],
    }),
    make('port', { name: 'b1-r0', bridge: 'b1', peer: 'r0-b1' }),
    make('port', { name: 'secret-r0', bridge: 'secret-b2', peer: 'r0-b2' }),
  ]);
  await world.settle();
  // What the first packets teach makes their own flows stale.
  for (const id of [1, 2, 3]) {
    world.workload('vm1').ping(parseIp('10.0.2.2') as Ip, { id });
    await world.settle();
    assert.equal(world.workload('vm1').outcome(id)?.kind, 'reply');
  }
  return world;
}
const DOWN = [update('port', 'r0-b2', { adminStateUp: false })];

async function problemOf(attempt: Promise<unknown>) {
  const error = await attempt.catch((thrown: unknown) => thrown);
  assert.ok(error instanceof ApiError, String(error));
  return error.problem;
}

test('nothing is written; who is away is named; a share of the flows is told to be one', async () => {
  await using world = await network();
  const { client } = world;
  const { revision } = await client.status();
  const all = await client.whatIf({ operations: DOWN });
  assert.equal((await client.status()).revision, revision);
  assert.equal(
    ((await client.get('port', 'r0-b2')) as { adminStateUp?: boolean }).adminStateUp,
    true,
  );
  assert.ok(all.counts.broken >= 2, JSON.stringify(all.counts));
  assert.equal(all.coverage.hosts, 2);
  const forth = all.flows.find(
    ({ hostName, match }) => hostName === 'h1' && match.includes('10.0.2.2'),
  );
  assert.equal(forth?.class, 'broken');
  assert.deepEqual(
    [forth.before.effect, forth.after.effect, forth.after.reason, forth.after.step],
    ['delivered', 'dropped', 'no-route', 'router r0: drop no-route'],
  );
  assert.deepEqual(
    all.objects.map(({ op, kind, name }) => [op, kind, name]),
    [['update', 'port', 'r0-b2']],
  );
  const few = await client.whatIf({ operations: DOWN, flows: 2 });
  assert.deepEqual([few.coverage.flows, few.coverage.partly], [2, ['h1', 'h2']]);
  await world.agent('h2', 'stop');
  const half = await client.whatIf({ operations: DOWN });
  assert.equal(half.coverage.hosts, 1);
  assert.deepEqual(
    half.coverage.missing.map(({ host }) => host),
    ['h2'],
  );
  assert.match(half.coverage.missing[0]?.why ?? '', /\w/);
  assert.ok(half.flows.every(({ hostName }) => hostName === 'h1'));
});

test('a tenant: only its own operations, and flows of its own ports', async () => {
  await using world = await network();
  const red = await tenant(world, 'red');
  const told = await red.whatIf({ operations: DOWN });
  assert.ok(told.counts.broken >= 1);
  assert.equal(told.coverage.hosts, undefined);
  assert.ok(told.flows.every(({ portName }) => portName === 'vm1'));
  const text = JSON.stringify(told);
  for (const word of ['secret', 'h1', 'h2']) assert.ok(!text.includes(word), `${word}: ${text}`);
  for (const { id } of await world.client.listAll('host')) assert.ok(!text.includes(id));
  for (const name of ['secret-vm2', 'secret-r0', 'secret-b2']) {
    const kind = name === 'secret-b2' ? 'bridge' : 'port';
    const operations = [update(kind, name, { adminStateUp: false })];
    const refused = await problemOf(red.whatIf({ operations }));
    assert.deepEqual(refused, await problemOf(red.transact(operations)));
    assert.equal(refused.status, 404);
  }
  await world.agent('h1', 'stop');
  const none = await red.whatIf({ operations: DOWN });
  assert.deepEqual(
    none.coverage.missing.map(({ host }) => host),
    ['a host'],
  );
});

async function tenant(world: World, name: string) {
  const { secret } = await world.client.issueToken({ role: 'tenant', name, tenant: name });
  return createClient({ fetch: (path, init) => world.request(path, secret, init) });
}

test('more than a transaction holds: in parts, as they would be written; faults by their place', async () => {
  await using world = await network();
  const { client } = world;
  const many = Array.from({ length: 300 }, (_, i) => make('bridge', { name: `x${i}` }));
  const last = make('port', { name: 'on-x', bridge: 'x299', host: 'h1', interface: 'none' });
  const told = await client.whatIf({ operations: [...many, last, ...DOWN] });
  assert.equal(told.changes, 302);
  assert.ok(told.counts.broken > 0);
  const wrong = many.with(200, make('bridge', { name: 'x', speed: 9 }));
  assert.deepEqual((await problemOf(client.whatIf({ operations: wrong }))).errors, [
    { path: 'operations.200.speed', message: 'is not a field of a bridge' },
  ]);
  const over = Array.from({ length: 2_001 }, (_, i) => make('bridge', { name: `x${i}` }));
  assert.match(
    JSON.stringify((await problemOf(client.whatIf({ operations: over }))).errors),
    /must hold at most 2000 operations/,
  );
});

test('mn what-if: documents, or operations; a fault is told with its place', async () => {
  await using world = await network();
  const files = filesOf({
    'down.yaml': 'kind: port\nname: r0-b2\nadminStateUp: false\n',
    'gone.yaml': 'kind: port\nname: r0-b2\ndelete: true\n',
    'same.yaml': 'kind: port\nname: r0-b2\nadminStateUp: true\n',
    'list.yaml': '- {op: update, kind: port, id: r0-b2, body: {adminStateUp: false}}\n',
    'whole.json': JSON.stringify({ operations: DOWN }),
    'wrong.yaml': 'kind: port\nname: r0-b2\nadminStateUp: maybe\n',
    'wrong-list.yaml': '- {op: update, kind: port, id: r9, body: {}}\n',
  });
  const run = async (...args: readonly string[]) => {
    let [out, err] = ['', ''];
    const code = await runCli(['what-if', ...args], {
      client: world.client,
      files,
      out: (text) => (out += text),
      err: (text) => (err += text),
    });
    return { out, err, code };
  };
  const down = await run('-f', 'down.yaml');
  assert.equal(down.code, 0, down.err);
  assert.match(
    down.out,
    /^1 object would change\n  update port r0-b2\n\d+ flows on 2 hosts: \d broken/,
  );
  assert.match(
    down.out,
    /broken h1 vm1: .*10\.0\.2\.2.*\n  now   forward: to port secret-vm2.*\n  then  router r0: drop no-route/,
  );
  for (const name of ['list.yaml', 'whole.json'])
    assert.equal((await run('-f', name)).out, down.out, name);
  assert.match((await run('-f', 'gone.yaml')).out, /delete port r0-b2/);
  assert.equal((await run('-f', 'same.yaml')).out, 'nothing would change\n');
  const detailed = await run('-f', 'down.yaml', '--form', 'detailed');
  assert.match(detailed.out, /\n  now\n    port vm1: enter\n/);
  const json = JSON.parse((await run('-f', 'down.yaml', '-o', 'json')).out) as { changes: number };
  assert.equal(json.changes, 1);
  const wrong = await run('-f', 'wrong.yaml');
  assert.equal(wrong.code, 1);
  assert.match(wrong.err, /wrong\.yaml:3: .*adminStateUp: must be true or false/);
  assert.match((await run('-f', 'wrong-list.yaml')).err, /no port is named "r9"/);
});
