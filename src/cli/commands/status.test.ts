/** `mn status` of a node that tells all, of limits near full, and of a hundred hosts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { AgentReport, HostStatus, Limit, NodeStatus } from '#client/types.ts';
import { type FakeApi, fakeApi, mn, uuidOf } from '../testing.ts';

const NODE: NodeStatus = {
  uptimeMs: 11_400_000,
  timeMs: 0,
  store: { bytes: 1_440_000, diskFreeBytes: 25e9, historyFrom: 5, commitMs: 0.42 },
  limits: [{ name: 'tokens', used: 90_000, max: 100_000 }],
  enforcement: { count: 9, p50Ms: 12.3, p99Ms: 3_200 },
};

function report(more: Partial<AgentReport> = {}): AgentReport {
  const counters = {
    ...{ upcalls: 0, flowsInstalled: 0, flowsNow: 2, hits: 0, misses: 0, tunnelHits: 0 },
    ...{ cut: 0, injected: 0, drops: {} },
  };
  return { revision: 9, version: '0.1.0', portsUp: [], portsDown: [], counters, ...more };
}
const host = (name: string, more: Partial<HostStatus> = {}): HostStatus => ({
  host: uuidOf(`host/${name}`),
  name,
  state: 'alive',
  report: report(),
  ...more,
});
function world(hosts: readonly HostStatus[]): FakeApi {
  const api = fakeApi();
  api.answers.status = { version: '0.1.0', revision: 9, hosts, node: NODE };
  return api;
}
const limit = (name: string, used: number, max: number): Limit => ({ name, used, max });

test('the API, its store, and how long changes take', async () => {
  const { client } = world([
    host('h1', {
      behindMs: 3_200,
      dropsPerSecond: 7.4,
      report: report({ limits: [limit('flows', 60_000, 65_536), limit('masks', 3, 32)] }),
    }),
  ]);
  const { out } = await mn(client, 'status');
  assert.match(out, /^API {7}0\.1\.0.*, up 3 h 10 min$/m);
  assert.match(out, /^In force {2}on every live host: half within 12 ms, 99 % within 3\.2 s$/m);
  assert.match(out, /^Store {5}1\.4 MB, 25 GB free, history of 4 revisions, last commit 0\.4 ms$/m);
  assert.match(out, /^h1 +alive +0 +3\.2 s +0 +0 +60000 \(91 %\) .* 7 +0\.1\.0$/m);
  assert.match(out, /^flows +h1 +60000 +65536 +91 % +start the agent with a larger --flows/m);
  assert.match(out, /^tokens +API +90000 +100000 +90 % +revoke tokens/m);
  assert.doesNotMatch(out, /^masks/m, 'what has room is not told');
});

test('a limit that only a newer agent knows is shown all the same', async () => {
  const { client } = world([
    host('h1', { report: report({ limits: [limit('quantum-flows', 9, 10)] }) }),
  ]);
  assert.match((await mn(client, 'status')).out, /^quantum-flows +h1 +9 +10 +90 %/m);
});

test('of a hundred hosts those that are not well are shown', async () => {
  const hosts = Array.from({ length: 100 }, (_, i) => host(`h${i}`));
  hosts[57] = host('h57', { state: 'dead' });
  hosts[83] = host('h83', { report: report({ revision: 4 }) });
  const { client } = world(hosts);
  const { out } = await mn(client, 'status');
  const lines = out.split('\n');
  assert.ok(lines.length < 40, `${lines.length} lines`);
  const at = lines.findIndex((line) => line.startsWith('HOST'));
  assert.match(lines[at + 1] ?? '', /^h57 +dead/);
  assert.match(lines[at + 2] ?? '', /^h83 +alive +5/);
  assert.match(out, /^80 more, all well: mn status -o wide$/m);
  assert.match(out, /^Hosts +100: 99 alive, 1 dead$/m);
  const wide = (await mn(client, 'status -o wide')).out;
  for (const { name } of hosts) assert.match(wide, new RegExp(`^${name} `, 'm'));
});

test('when more are unwell than fit, it is said how many', async () => {
  const hosts = Array.from({ length: 30 }, (_, i) => host(`h${i}`, { state: 'dead' }));
  const { out } = await mn(world(hosts).client, 'status');
  assert.match(out, /^10 more, 10 of them not well: mn status -o wide$/m);
});
