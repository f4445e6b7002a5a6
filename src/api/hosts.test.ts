/** Liveness and waiting: by reports, never by polling; standing still is nobody's fault. */
import { test } from 'node:test';
import assert from 'node:assert/strict';
import { HOST_LEASE_MS } from '#client/types.ts';
import { manualClock } from '#store/contract.ts';
import { openTimedNode, reportAt } from './fixture.ts';

async function twoHosts(node: ReturnType<typeof openTimedNode>) {
  for (const name of ['h1', 'h2']) await node.operator.create('host', { name });
  const one = await node.as({ role: 'host', name: 'h1', host: 'h1' });
  const two = await node.as({ role: 'host', name: 'h2', host: 'h2' });
  const states = async () => {
    // A lapse reaches the node's mirror within the time of one request.
    await node.operator.status();
    return Object.fromEntries(
      (await node.operator.status()).hosts.map(({ name, state }) => [name, state]),
    );
  };
  return { one, two, states };
}

test('a host is unknown, then alive while it reports, then dead', async () => {
  await using node = openTimedNode();
  const { one, states } = await twoHosts(node);
  assert.deepEqual(await states(), { h1: 'unknown', h2: 'unknown' });
  await one.report(reportAt(3));
  assert.deepEqual(await states(), { h1: 'alive', h2: 'unknown' });
  node.clock.advance(HOST_LEASE_MS - 1_000);
  await one.report(reportAt(3));
  node.clock.advance(HOST_LEASE_MS - 1_000);
  assert.deepEqual(await states(), { h1: 'alive', h2: 'unknown' });
  node.clock.advance(2_000);
  assert.deepEqual(await states(), { h1: 'dead', h2: 'unknown' });
  const { hosts } = await one.status();
  assert.deepEqual(
    hosts.map(({ name, report }) => [name, report?.revision]),
    [['h1', 3]],
  );
});

test('a wait ends with the last report it needs, and names who is behind or away', async () => {
  await using node = openTimedNode();
  const { one, two } = await twoHosts(node);
  const { revision } = await node.operator.create('bridge', { name: 'b' });
  const starting = await node.operator.wait(revision, 0);
  assert.deepEqual(starting.behind, ['h1', 'h2'], 'agents had no time to come yet');
  await one.report(reportAt(revision - 1));
  await two.report(reportAt(revision));
  const all = node.operator.wait(revision, 60_000);
  await one.report(reportAt(revision));
  assert.deepEqual(await all, { revision, enforced: ['h1', 'h2'], behind: [], away: [] });
  const next = await node.operator.create('bridge', { name: 'b2' });
  await two.report(reportAt(next.revision));
  const late = node.operator.wait(next.revision, 2_000);
  await node.operator.status();
  node.clock.advance(2_000);
  assert.deepEqual(await late, {
    revision: next.revision,
    enforced: ['h2'],
    behind: ['h1'],
    away: [],
  });
  const untilDead = node.operator.wait(next.revision, 60_000);
  for (let i = 0; i < 4; i++) {
    node.clock.advance(2_000);
    await two.report(reportAt(next.revision));
  }
  const dead = { revision: next.revision, enforced: ['h2'], behind: [], away: ['h1'] };
  assert.deepEqual(await untilDead, dead);
});

test('a wait for what nobody wrote yet ends when it is written and enforced', async () => {
  await using node = openTimedNode();
  const { one, two } = await twoHosts(node);
  const { revision } = await node.operator.status();
  await one.report(reportAt(revision + 1));
  await two.report(reportAt(revision + 1));
  const wait = node.operator.wait(revision + 1, 60_000);
  await node.operator.create('bridge', { name: 'b' });
  assert.deepEqual((await wait).enforced, ['h1', 'h2']);
});

test('a host may report for itself only, and a report with a strange field is refused', async () => {
  await using node = openTimedNode();
  await twoHosts(node);
  const authorization = `Bearer ${await node.secret({ role: 'host', name: 'h1', host: 'h1' })}`;
  const put = (path: string, body: unknown): Promise<Response> =>
    node.api.fetch(
      new Request(`http://api${path}`, {
        method: 'PUT',
        headers: { authorization, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      }),
    );
  assert.equal((await put('/v1/hosts/h2/report', reportAt(1))).status, 403);
  assert.equal((await put('/v1/hosts/h1/report', reportAt(1))).status, 204);
  const strange = await put('/v1/hosts/self/report', { ...reportAt(1), mood: 'good' });
  assert.match(await strange.text(), /"path":"mood","message":"is not a known field"/);
});

test('the clock by hand runs timers in the order of their time', () => {
  const clock = manualClock();
  const seen: number[] = [];
  clock.after?.(20, () => seen.push(clock.now()));
  clock.after?.(10, () => clock.after?.(5, () => seen.push(clock.now())));
  const cancel = clock.after?.(12, () => seen.push(-1));
  cancel?.();
  clock.advance(30);
  assert.deepEqual(seen, [15, 20]);
});

test('a report about a revision that is yet to come enforces nothing', async () => {
  await using node = openTimedNode();
  const { one, two } = await twoHosts(node);
  const { revision } = await node.operator.create('bridge', { name: 'b' });
  // As after a store was put back: the agent has not heard yet that revisions count anew.
  await one.report(reportAt(revision + 100));
  await two.report(reportAt(revision));
  const { enforced, behind } = await node.operator.wait(revision, 0);
  assert.deepEqual([enforced, behind], [['h2'], ['h1']]);
});
