/** Ids of requests, logs and their levels, status, and metrics of a node. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { METRICS } from '#telemetry/metrics.ts';
import { parseMetrics, secretPart } from '#telemetry/testing.ts';
import { BASE, type Fixture, openNode, openTimedNode, reportAt } from './fixture.ts';

const post = (node: Fixture, id?: string): Promise<Response> =>
  node.request('/v1/bridges', {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      ...(id !== undefined && { 'x-request-id': id }),
    },
    body: '{"name":"b"}',
  });

test('a request has the id it came with if that has the form, else one of its own', async () => {
  await using node = openNode();
  const given = await post(node, 'run-17.a_B');
  assert.equal(given.headers.get('x-request-id'), 'run-17.a_B');
  for (const bad of ['', 'a b', 'x'.repeat(65), '"><script>']) {
    const own = (await post(node, bad)).headers.get('x-request-id') ?? '';
    assert.match(own, /^[0-9a-f]{16}$/, bad);
  }
  const refused = await node.request('/v1/nothing', { headers: { 'x-request-id': 'lost' } });
  assert.equal(refused.headers.get('x-request-id'), 'lost');
});

test('each request has a line: who, what, how it ended; no secret, no body, no query', async () => {
  await using node = openNode();
  const secret = await node.secret({ role: 'tenant', name: 'ann', tenant: 'acme' });
  const ask = (path: string, init: RequestInit = {}): Promise<Response> =>
    node.api.fetch(
      new Request(`${BASE}${path}`, {
        ...init,
        headers: {
          authorization: `Bearer ${secret}`,
          'content-type': 'application/json',
          'x-request-id': 'mine',
        },
      }),
    );
  await ask('/v1/bridges', { method: 'POST', body: '{"name":"told-to-nobody"}' });
  await ask(`/v1/bridges/${secret}?name=asked-by-query`);
  const { lines } = await node.operator.logs(undefined, { text: '"mine"' });
  assert.equal(lines.length, 2);
  const [made, looked] = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  assert.match(String(made?.['who']), /^tenant ann \([0-9a-f]{16}\)$/);
  assert.deepEqual(
    [made?.['method'], made?.['path'], made?.['route'], made?.['status'], made?.['level']],
    ['POST', '/v1/bridges', 'create-bridge', 201, 'info'],
  );
  assert.equal(looked?.['status'], 400);
  const all = lines.join();
  for (const gone of [secretPart(secret), 'told-to-nobody', 'asked-by-query'])
    assert.ok(!all.includes(gone), gone);
});

test('what only looks is told at debug; the level returns to where it was', async () => {
  await using node = openNode();
  const lines = async (): Promise<number> =>
    (await node.operator.logs(undefined, { text: 'list-bridges' })).lines.length;
  await node.operator.list('bridge');
  assert.equal(await lines(), 0);
  const set = await node.operator.setLogLevel(undefined, 'debug', 60_000);
  assert.deepEqual(set, { level: 'debug', usual: 'info' });
  await node.operator.list('bridge');
  assert.equal(await lines(), 1);
  assert.deepEqual(await node.operator.logLevel(undefined), set);
  await node.operator.setLogLevel(undefined, 'info', 1_000);
  for (const body of [
    '{"level":"loud"}',
    '{"level":"debug","forMs":1}',
    '{"level":"debug","forMs":1e9}',
  ]) {
    const headers = { 'content-type': 'application/json' };
    const refused = await node.request('/v1/log-level', { method: 'PUT', headers, body });
    assert.equal(refused.status, 400, body);
  }
});

test('nobody but operators is told of health', async () => {
  await using node = openNode();
  await node.operator.create('host', { name: 'h1' });
  for (const token of [
    { role: 'tenant', name: 't', tenant: 'acme' },
    { role: 'host', name: 'h', host: 'h1' },
  ] as const) {
    const client = await node.as(token);
    for (const asked of [
      client.logs(undefined),
      client.logs('h1'),
      client.logLevel(undefined),
      client.setLogLevel('h1', 'debug'),
      client.doctor(),
      client.hostCounters('h1'),
      client.metrics(),
    ])
      await assert.rejects(asked, /Not allowed/);
    assert.equal((await client.status()).node, undefined);
  }
});

test('the text of metrics is of the table, and parses', async () => {
  await using node = openTimedNode();
  await node.operator.create('host', { name: 'h1' });
  const agent = await node.as({ role: 'host', name: 'h1', host: 'h1' });
  await agent.report(reportAt(1));
  const { revision } = await node.operator.create('bridge', { name: 'b' });
  await agent.report(reportAt(revision));
  await node.operator.status();
  const families = parseMetrics(await node.operator.metrics());
  const expected = Object.keys(METRICS).filter((name) => name.startsWith('mn_api_'));
  assert.deepEqual([...families.keys()].toSorted(), expected.toSorted());
  const value = (name: string): number | undefined =>
    [...families.values()].flatMap(({ samples }) => samples).find(([of]) => of === name)?.[1];
  assert.equal(value('mn_api_revision'), revision);
  assert.equal(value('mn_api_hosts{state="alive"}'), 1);
  assert.equal(value('mn_api_host_behind_revisions{host="h1"}'), 0);
  assert.equal(value('mn_api_requests_total{route="POST /v1/bridges",status="201"}'), 1);
  assert.ok((value('mn_api_commit_seconds_count') ?? 0) >= 2);
});

test('a change is measured until the last live host has it', async () => {
  await using node = openTimedNode();
  for (const name of ['h1', 'h2', 'gone']) await node.operator.create('host', { name });
  const one = await node.as({ role: 'host', name: 'h1', host: 'h1' });
  const two = await node.as({ role: 'host', name: 'h2', host: 'h2' });
  const start = (await node.operator.status()).revision;
  await one.report(reportAt(start));
  await two.report(reportAt(start));
  const before = (await node.operator.status()).node?.enforcement?.count ?? 0;
  const { revision } = await node.operator.create('bridge', { name: 'b' });
  await one.report(reportAt(revision));
  node.clock.advance(300);
  const status = await node.operator.status();
  assert.equal(status.node?.enforcement?.count ?? 0, before, 'h2 has not said so');
  const behind = status.hosts.map(({ name, behindMs }) => [name, behindMs]);
  assert.deepEqual(Object.fromEntries(behind), { h1: undefined, h2: 300, gone: undefined });
  await two.report(reportAt(revision));
  await node.operator.status();
  const { node: after } = await node.operator.status();
  assert.equal(after?.enforcement?.count, before + 1);
  assert.equal(after?.enforcement?.p99Ms, 300);
});

test('drops in a second are those between two reports', async () => {
  await using node = openTimedNode();
  await node.operator.create('host', { name: 'h1' });
  const agent = await node.as({ role: 'host', name: 'h1', host: 'h1' });
  const report = async (drops: number): Promise<number | undefined> => {
    const counters = { ...reportAt(1).counters, drops: { 'no-port': drops } };
    await agent.report({ ...reportAt(1), counters });
    await node.operator.status();
    return (await node.operator.status()).hosts[0]?.dropsPerSecond;
  };
  assert.equal(await report(100), 0);
  node.clock.advance(2_000);
  assert.equal(await report(150), 25);
  node.clock.advance(2_000);
  assert.equal(await report(3), 0, 'another agent counts anew');
});

test('a report of an older agent is taken, and one with what the API does not know is not', async () => {
  await using node = openNode();
  await node.operator.create('host', { name: 'h1' });
  const agent = await node.as({ role: 'host', name: 'h1', host: 'h1' });
  await agent.report(reportAt(1));
  const newer = {
    ...reportAt(1),
    limits: [{ name: 'flows', used: 1, max: 2 }],
    machine: { timeMs: 5, kernel: '6.18', uptimeMs: 7 },
    firstPackets: { count: 3, p50Ms: 0.1, p99Ms: 0.4 },
  };
  await agent.report(newer);
  await assert.rejects(agent.report({ ...newer, mood: 'fine' } as never), /mood/);
  await node.operator.status();
  assert.deepEqual((await node.operator.status()).hosts[0]?.report?.limits, newer.limits);
});
