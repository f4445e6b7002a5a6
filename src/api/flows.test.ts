/** Flows for their readers: who is told of which, and what an agent that lies can make them see. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { FlowPart } from '#client/flows.ts';
import { ApiError } from '#client/errors.ts';
import { type Client, HOST_LEASE_MS } from '#client/types.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { agentOf, settle } from './asks.fixture.ts';
import { type Fixture, openNode, openTimedNode, reportAt } from './fixture.ts';

const idOf = (objects: readonly ({ id: string } | undefined)[]): string => objects[0]?.id ?? '';

/** A blue and a red port on host h1, and a red one on h2; a bridge of each tenant. */
async function network(node: Fixture) {
  const h1 = await agentOf(node, 'h1', 'flows,why');
  const h2 = await agentOf(node, 'h2', 'flows,why');
  const { operator } = node;
  const port = async (name: string, tenant: string, agent: typeof h1): Promise<string> => {
    const bridge = `${tenant}-net`;
    const known = (await operator.list('bridge', { where: { name: bridge } })).items;
    if (known.length === 0) await operator.create('bridge', { name: bridge, tenant });
    const made = await operator.create('port', {
      ...{ name, type: 'bridge', bridge, tenant, host: agent.host, interface: name },
    });
    const id = idOf(made.objects);
    await agent.client.locate(id, { interface: name });
    return id;
  };
  const [blue, red, far] = [
    await port('blue1', 'blue', h1),
    await port('red1', 'red', h1),
    await port('red2', 'red', h2),
  ];
  for (const agent of [h1, h2]) await agent.connect();
  return { h1, h2, blue, red, far };
}

const flowOf = (
  slot: number,
  port: string,
  to: string,
  more: Partial<FlowPart> = {},
): FlowPart => ({
  slot,
  generation: 1,
  port,
  key: '00'.repeat(KEY_SIZE),
  fields: ['ethType'],
  cause: {
    steps: [
      { kind: 'port', id: port, did: 'enter' },
      { kind: 'port', id: to, did: 'leave' },
    ],
    verdict: { kind: 'forward', to: [{ port: to }] },
    decTtl: 0,
    ethSrc: '02:00:00:00:00:07',
    ethDst: '02:00:00:00:00:08',
    sends: [],
  },
  actions: { ethDst: '02:00:00:00:00:08', outputs: [{ port: to }] },
  packets: 1,
  bytes: 60,
  ageMs: 5,
  idleMs: 1,
  ...more,
});

/** Answers every ask of an agent with these flows. */
async function answering(agent: Awaited<ReturnType<typeof agentOf>>, flows: readonly FlowPart[]) {
  await settle();
  for (const event of agent.asked.splice(0)) {
    if (event.type !== 'ask') continue;
    const { ports, slot } = event.ask as { ports?: string[]; slot?: number };
    const wanted = ({ port, slot: at }: FlowPart): boolean =>
      (ports?.includes(port ?? '') ?? true) && (slot ?? at) === at;
    await agent.client.answerAsk(event.id, { parts: flows.filter(wanted), done: true });
  }
}
const tenant = (node: Fixture, name: string): Promise<Client> =>
  node.as({ role: 'tenant', name, tenant: name });

async function refused(promise: Promise<unknown>, status: number, text: RegExp): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.problem.status, status);
    assert.match(`${error.problem.detail} ${JSON.stringify(error.problem.errors)}`, text);
    return true;
  });
}

test('a tenant is told of flows that enter at its ports; of others neither flows, names nor hosts', async () => {
  await using node = openNode();
  const { h1, h2, blue, red, far } = await network(node);
  const flows = [flowOf(1, blue, red), flowOf(2, red, far), flowOf(3, red, blue)];
  const asked = (await tenant(node, 'blue')).flows();
  await answering(h1, flows);
  const page = await asked;
  assert.equal(h2.asked.length, 0, 'a host without ports of the tenant is not asked');
  assert.deepEqual(
    page.items.map(({ id, portName }) => [id, portName]),
    [['blue1:1.1', 'blue1']],
  );
  const text = JSON.stringify(page);
  for (const secret of ['h1', 'h2', 'red', red, h1.host, '02:00:00:00:00:08'])
    assert.ok(!text.includes(secret), `${secret} in ${text}`);
  assert.deepEqual(page.items[0]?.lines, [
    'port blue1: enter',
    'port of another tenant: leave',
    'forward: to port of another tenant',
  ]);
});

test('a tenant reaches no flow of others by its id, by port or by host', async () => {
  await using node = openNode();
  const { h1, blue, red } = await network(node);
  const client = await tenant(node, 'blue');
  await refused(client.flows({ port: 'red1' }), 404, /no port is named/);
  await refused(client.flows({ host: 'h1' }), 400, /for operators/);
  await refused(client.whyPair('blue1', 'red1'), 404, /no port is named/);
  await refused(client.whyPacket('red1', '00'.repeat(60)), 404, /no port is named/);
  await refused(client.flow('h1:2.1'), 404, /no port is named/);
  await refused(client.flow(`${h1.host}:2.1`), 404, /no port/);
  // The host of its own port has it, but it is the other's.
  const guessed = refused(client.flow('blue1:2.1'), 404, /is not there any more/);
  await answering(h1, [flowOf(1, blue, red), flowOf(2, red, blue)]);
  await guessed;
});

test('an agent speaks for ports of its own host only', async () => {
  await using node = openNode();
  const { h1, h2, red, far } = await network(node);
  const asked = (await tenant(node, 'red')).flows();
  // h2 tells of a flow that enters at a port of h1.
  await Promise.all([
    answering(h1, [flowOf(1, red, far)]),
    settle().then(async () => {
      for (const event of h2.asked.splice(0))
        await h2.client.answerAsk(event.id, { parts: [flowOf(9, red, far)], done: true });
    }),
  ]);
  assert.deepEqual(
    (await asked).items.map(({ id }) => id),
    ['red1:1.1'],
  );
});

test('operators are told of all hosts, and which of them did not answer', async () => {
  await using node = openNode();
  const { h1, h2, blue, red, far } = await network(node);
  await node.operator.create('host', { name: 'h3' });
  await h1.client.report(reportAt(1));
  const asked = node.operator.flows();
  await answering(h1, [flowOf(1, blue, red), flowOf(2, red, far)]);
  node.clock.advance(5_000);
  const { items, missing } = await asked;
  assert.deepEqual(items.map(({ id }) => id).toSorted(), ['h1:1.1', 'h1:2.1']);
  assert.equal(items[0]?.actions, 'set destination MAC 02:00:00:00:00:08, out of red1');
  assert.deepEqual(
    new Map(missing.map(({ host, why }) => [host, why])),
    new Map([
      ['h2', 'no answer within 5000 ms'],
      ['h3', 'no agent of it is connected'],
    ]),
  );
  assert.equal(h2.asked.filter(({ type }) => type === 'ask').length, 1);
});

test('a host that is dead is named, and not waited for', async () => {
  await using node = openTimedNode();
  const { h1, h2 } = await network(node);
  await h2.client.report(reportAt(1));
  node.clock.advance(2 * HOST_LEASE_MS);
  await settle();
  const asked = node.operator.flows();
  await answering(h1, []);
  const { missing } = await asked;
  assert.deepEqual(missing, [{ host: 'h2', why: 'it is dead: nothing is heard of it' }]);
  assert.equal(h2.asked.length, 0);
});

test('a flow that is another one by now, or none, is not told as the one that was meant', async () => {
  await using node = openNode();
  const { h1, blue, red } = await network(node);
  const other = refused(node.operator.flow('h1:1.7'), 404, /is not there any more/);
  await answering(h1, [flowOf(1, blue, red)]);
  await other;
  const gone = refused(node.operator.flow('h1:5.1'), 404, /is not there any more/);
  await answering(h1, [flowOf(1, blue, red)]);
  await gone;
  for (const id of ['h1', 'h1:x.1', ':1.1', 'h1:1'])
    await refused(node.operator.flow(id), 400, /PLACE:SLOT.GENERATION/);
});

test('what cannot be asked is refused by field', async () => {
  await using node = openNode();
  await network(node);
  const { operator } = node;
  await refused(operator.flows({ limit: 0 }), 400, /limit.*from 1 to 1000/);
  await refused(operator.flows({ after: 'x' }), 400, /after.*next/);
  await refused(operator.whyPacket('blue1', '00'), 400, /frame.*too short/);
  await refused(operator.whyPacket('blue1', 'xyz'), 400, /frame.*hex/);
  await operator.update('port', 'blue1', { host: null, interface: null });
  const unbound = idOf(
    (await operator.create('port', { name: 'p', type: 'bridge', bridge: 'red-net' })).objects,
  );
  await refused(operator.whyPacket(unbound, '00'.repeat(60)), 409, /not up on any host/);
});
