/** A trace on the topology as it was, and all that it tells beside the lines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError } from '#client/errors.ts';
import { parseFrameText } from '#net/text.ts';
import { openSqlite } from '#store/sqlite.ts';
import { createClient } from '#client/client.ts';
import { manualClock } from '#store/contract.ts';
import { createApi } from './app.ts';
import { openNode } from './fixture.ts';

const A = '02:00:00:00:00:01';
const GATEWAY = '02:00:00:00:01:00';
const OUTSIDE = '02:00:00:00:09:09';
const make = (kind: 'host' | 'bridge' | 'router' | 'port' | 'route', body: object) =>
  ({ op: 'create', kind, body: body as Record<string, unknown> }) as const;
const NETWORK = [
  make('host', { name: 'h0' }),
  make('bridge', { name: 'b0' }),
  make('bridge', { name: 'b1' }),
  make('router', { name: 'r0' }),
  make('port', { name: 'p0', bridge: 'b0', host: 'h0', interface: 'e' }),
  make('port', { name: 'r0-0', router: 'r0', mac: GATEWAY, networks: ['10.0.0.1/24'] }),
  make('port', { name: 'r0-1', router: 'r0', networks: ['192.0.2.1/24'] }),
  make('port', { name: 'b0-r', bridge: 'b0', peer: 'r0-0' }),
  make('port', { name: 'b1-r', bridge: 'b1', peer: 'r0-1' }),
  make('port', {
    name: 'out',
    bridge: 'b1',
    host: 'h0',
    interface: 'f',
    addresses: [{ mac: OUTSIDE, ip: '192.0.2.254' }],
  }),
  make('route', {
    name: 'out',
    router: 'r0',
    destination: '0.0.0.0/0',
    port: 'r0-1',
    gateway: '192.0.2.254',
  }),
];
const frame = (text: string): string => {
  const bytes = parseFrameText(`${A} > ${GATEWAY} ${text}`);
  assert.ok(bytes instanceof Uint8Array);
  return bytes.toHex();
};
const PACKET = frame('udp 10.0.0.2:1 > 203.0.113.5:2');
const fault = async (attempt: Promise<unknown>): Promise<string> => {
  const error = await attempt.then(
    () => assert.fail('it must be refused'),
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof ApiError);
  return (error.problem.errors ?? []).map(({ path, message }) => `${path}: ${message}`).join('; ');
};

test('at a revision: the topology of then, by the names of then', async () => {
  await using node = openNode();
  const { operator } = node;
  const { revision: first } = await operator.transact(NETWORK);
  await operator.remove('route', 'out');
  await operator.update('bridge', 'b0', { name: 'renamed' });
  const { revision: last } = await operator.remove('port', 'out');
  const request = { port: 'p0', frame: PACKET };
  const now = await operator.trace(request);
  assert.deepEqual([now.verdict, now.reason, now.revision], ['drop', 'no-route', last]);
  assert.ok(now.lines.some((line) => line.startsWith('bridge renamed:')));
  const then = await operator.trace({ ...request, at: first });
  assert.deepEqual([then.verdict, then.revision, then.ports.length], ['forward', first, 1]);
  assert.ok(then.lines.some((line) => line.startsWith('bridge b0:')));
  assert.equal((await operator.trace({ ...request, at: last })).reason, 'no-route');
  assert.equal((await operator.trace({ port: 'out', frame: PACKET, at: first })).revision, first);
  assert.equal(
    await fault(operator.trace({ ...request, at: last + 1 })),
    `at: is not reached yet: the newest revision is ${last}`,
  );
  assert.equal(
    await fault(operator.trace({ ...request, at: first, host: 'h0' })),
    'at: must be left out with host: an agent has only the newest topology',
  );
  assert.equal(await fault(operator.trace({ ...request, at: 0 })), 'at: must be a revision');
});

test('a revision that is not kept any more is refused, with the oldest that is', async () => {
  await using store = openSqlite(':memory:');
  const clock = manualClock();
  const historyLimits = { entriesMax: 3, bytesMax: 1_000_000 };
  const api = createApi({ store, clock, version: '1', historyLimits });
  const operator = createClient({
    fetch: async (path, init) => api.operator(new Request(`http://api${path}`, init)),
  });
  await operator.transact(NETWORK);
  const deadline = performance.now() + 5_000;
  let said = '';
  // What was told once is kept for a while: each revision is asked for once.
  for (let i = 0; said === '' && performance.now() < deadline; i++) {
    const { revision } = await operator.update('bridge', 'b1', { adminStateUp: i % 2 === 0 });
    if (i < 12) continue;
    const tried = operator.trace({ port: 'p0', frame: PACKET, at: revision - 10 });
    said = await tried.then(
      () => '',
      () => fault(tried),
    );
  }
  assert.match(said, /^at: is not kept any more: the oldest revision that is, is \d+$/);
  await api.close();
});

test('what a trace tells beside its lines: the way, what each step looked at, the flow', async () => {
  await using node = openNode();
  const { operator } = node;
  await operator.transact(NETWORK);
  const agent = await node.as({ role: 'host', name: 'h0', host: 'h0' });
  for (const [port, name] of [
    ['p0', 'e'],
    ['out', 'f'],
  ] as const)
    await agent.locate(port, { interface: name });
  const told = await operator.trace({ port: 'p0', frame: PACKET });
  assert.deepEqual(
    told.way.map(({ kind, name }) => `${kind} ${name}`),
    ['port p0', 'bridge b0', 'router r0', 'bridge b1', 'port out'],
  );
  assert.deepEqual(
    told.steps.map(({ text }) => text),
    told.lines.slice(0, -1),
  );
  const route = told.steps.find(({ did }) => did === 'route') ?? assert.fail('no route');
  const [routes] = route.looked.filter(({ kind }) => kind === 'routes');
  assert.deepEqual(
    routes?.routes?.map(({ text }) => text),
    ['route 0.0.0.0/0 port via 192.0.2.254 out weight 100: taken'],
  );
  assert.equal(told.flow.none, undefined);
  assert.deepEqual(
    told.flow.match.map(({ field, value }) => `${field}=${value}`),
    [`ethSrc=${A}`, `ethDst=${GATEWAY}`, 'ethType=0x0800', 'vlan=none', 'ipDst=203.0.113.5'],
  );
  assert.deepEqual(
    told.flow.actions.map(({ text }) => text.replace(/[0-9a-f:]{17}$/, 'MAC')),
    [
      'set ethSrc MAC',
      'set ethDst MAC',
      'ttl less 1; hand up when it is not more',
      'to port out on h0 (f)',
    ],
  );
  const late = await operator.trace({
    port: 'p0',
    frame: frame('udp 10.0.0.2:1 > 203.0.113.5:2 ttl 1'),
  });
  assert.equal(late.flow.none, 'the decision depends on what no flow matches');
});
