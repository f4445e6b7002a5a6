/** Requests to agents, with agents played by hand: who may answer, and what ends early, and why. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Answer } from '#client/asks.ts';
import { ApiError } from '#client/errors.ts';
import type { Client } from '#client/types.ts';
import { agentOf, settle } from './asks.fixture.ts';
import { BASE, type Fixture, openNode } from './fixture.ts';

const ABOUT = { version: '9', kernel: '6.1', revision: 3, upMs: 5 };

const done = (parts: unknown[]): Answer => ({ parts, done: true });

async function refused(promise: Promise<unknown>, status: number, text = /./): Promise<void> {
  await assert.rejects(promise, (error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.problem.status, status);
    assert.match(`${error.problem.title} ${error.problem.detail ?? ''}`, text);
    return true;
  });
}
const about = (node: Fixture, host: string): Promise<unknown> =>
  node.request(`/v1/hosts/${host}/agent`).then(async (response) => {
    const body = (await response.json()) as Record<string, unknown>;
    return response.ok ? body : Promise.reject(new ApiError(body as never));
  });

test('an agent is asked on its stream, and its answer comes to whoever asked', async () => {
  await using node = openNode();
  const agent = await agentOf(node, 'h1');
  await agent.connect();
  const answer = about(node, 'h1');
  await settle();
  const [event] = agent.asked;
  assert.ok(event?.type === 'ask');
  assert.deepEqual(event.ask, { kind: 'about' });
  await agent.client.answerAsk(event.id, { parts: [], done: false });
  await agent.client.answerAsk(event.id, done([ABOUT]));
  assert.deepEqual(await answer, { host: agent.host, ...ABOUT });
});

test('nobody but the host that was asked answers, and nobody twice or too late', async () => {
  await using node = openNode();
  const [one, other] = [await agentOf(node, 'h1'), await agentOf(node, 'h2')];
  for (const agent of [one, other]) await agent.connect();
  const answer = about(node, 'h1');
  await settle();
  const id = one.asked[0]?.id ?? '';
  assert.equal(other.asked.length, 0);
  await refused(other.client.answerAsk(id, done([{ ...ABOUT, version: 'forged' }])), 404);
  await refused(node.operator.answerAsk(id, done([ABOUT])), 403);
  await refused(one.client.answerAsk('no-such-id', done([ABOUT])), 404);
  await one.client.answerAsk(id, done([ABOUT]));
  assert.deepEqual(await answer, { host: one.host, ...ABOUT });
  await refused(one.client.answerAsk(id, done([ABOUT])), 410);
  await refused(other.client.answerAsk(id, done([ABOUT])), 404);
});

test('an agent that is late, away, too old, in trouble or wrong is named with that', async () => {
  await using node = openNode();
  const agent = await agentOf(node, 'h1');
  await refused(about(node, 'h1'), 503, /no agent of it is connected/);
  const stop = await agent.connect();
  const late = refused(about(node, 'h1'), 503, /no answer within 5000 ms/);
  await settle();
  node.clock.advance(5_000);
  await late;
  await settle();
  assert.deepEqual(agent.asked[1], { type: 'ask-over', id: agent.asked[0]?.id });
  await refused(agent.client.answerAsk(agent.asked[0]?.id ?? '', done([ABOUT])), 410);

  const wrong = refused(about(node, 'h1'), 503, /what cannot be: revision/);
  await settle();
  const sent = agent.client.answerAsk(
    agent.asked[2]?.id ?? '',
    done([{ ...ABOUT, revision: 'x' }]),
  );
  await refused(sent, 400, /revision/);
  await wrong;

  const trouble = refused(about(node, 'h1'), 503, /its agent: has no idea/);
  await settle();
  const id = agent.asked.at(-1)?.id ?? '';
  await agent.client.answerAsk(id, { parts: [], done: true, error: 'has no idea' });
  await trouble;

  const cut = refused(about(node, 'h1'), 503, /lost its connection/);
  await settle();
  await agent.connect();
  await cut;
  stop.abort();
  await settle();
  const again = about(node, 'h1');
  await settle();
  await agent.client.answerAsk(agent.asked.at(-1)?.id ?? '', done([ABOUT]));
  assert.deepEqual(await again, { host: agent.host, ...ABOUT });

  const old = await agentOf(node, 'h2', '');
  await old.connect();
  await refused(about(node, 'h2'), 503, /of a version that does not answer "about"/);
});

test('requests of one caller, and to one host, are bounded', async () => {
  await using node = openNode();
  const agent = await agentOf(node, 'h1');
  await agent.connect();
  const caller = await node.secret({ role: 'operator', name: 'one' });
  const ask = (): Promise<Response> =>
    node.api.fetch(
      new Request(`${BASE}/v1/hosts/h1/agent`, { headers: { authorization: `Bearer ${caller}` } }),
    );
  const asks = Array.from({ length: 16 }, ask);
  await settle();
  const seventeenth = await ask();
  assert.equal(seventeenth.status, 503);
  assert.match(await seventeenth.text(), /16 of your requests wait/);
  const others = Array.from({ length: 16 }, () => about(node, 'h1').catch(() => undefined));
  await settle();
  await refused(about(node, 'h1'), 503, /32 requests wait for its agent already/);
  node.clock.advance(5_000);
  await Promise.all([...asks, ...others]);
  const again = ask();
  await settle();
  await agent.client.answerAsk(agent.asked.findLast(({ type }) => type === 'ask')?.id ?? '', {
    parts: [ABOUT],
    done: true,
  });
  assert.equal((await again).status, 200);
});

test('who stops watching the answer ends the ask', async () => {
  await using node = openNode();
  const agent = await agentOf(node, 'h1');
  await agent.connect();
  const stop = new AbortController();
  const request = node.request('/v1/hosts/h1/agent', { signal: stop.signal });
  await settle();
  stop.abort();
  await request.catch(() => undefined);
  await settle();
  assert.deepEqual(
    agent.asked.map(({ type }) => type),
    ['ask', 'ask-over'],
  );
});

test('only operators ask an agent about itself', async () => {
  await using node = openNode();
  const tenant: Client = await node.as({ role: 'tenant', name: 't', tenant: 'blue' });
  await assert.rejects(tenant.get('host', 'h1/agent'.replace('/', '%2F')));
  const secret = await node.secret({ role: 'tenant', name: 't2', tenant: 'blue' });
  const headers = { authorization: `Bearer ${secret}` };
  const response = await node.api.fetch(new Request(`${BASE}/v1/hosts/h1/agent`, { headers }));
  assert.equal(response.status, 403);
});
