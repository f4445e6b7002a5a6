/** A load balancer on one screen. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BalancerStatus, MemberRow } from '#client/balance.ts';
import { runCli } from '../cli.ts';
import { fakeApi } from '../testing.ts';
import { memberWord, statusText } from './balancer-status.ts';

const NOW = 100_000;
const counted = (n: number) => ({
  ...{ current: n, opened: 10 * n, bytesIn: 1_000 * n, bytesOut: 2_000_000 * n },
  ...{ packetsIn: n, packetsOut: n },
});
const member = (more: Partial<MemberRow>): MemberRow => ({
  ...{ id: 'm', address: '10.0.0.2', port: 80, weight: 1, adminStateUp: true },
  ...{ status: 'up', draining: false, ...counted(1), ...more },
});

test('the words of a member', () => {
  const word = (more: Partial<MemberRow>): string => memberWord(member(more), NOW);
  const down = { status: 'down', since: NOW - 12_000, reason: 'connection refused' } as const;
  assert.equal(word({}), 'up');
  assert.equal(word(down), 'down since 12 s: connection refused');
  assert.equal(word({ ...down, draining: true }), 'draining, down since 12 s: connection refused');
  assert.equal(word({ status: 'none', draining: true }), 'draining, not checked');
  assert.equal(word({ status: 'unknown', since: NOW + 5 }), 'not known yet since 0.0 ms');
});

test('VIPs and members are tables; what nothing has is no column', () => {
  const vip = { id: 'v', name: 'www', address: '198.51.100.80', port: 80, protocol: 'tcp' };
  const pool = { adminStateUp: true, members: [] };
  const status: BalancerStatus = {
    loadBalancer: { id: 'lb', name: 'lb', adminStateUp: true },
    ...{ operating: 'degraded', timeMs: NOW, missing: [] },
    vips: [{ ...vip, adminStateUp: true, pool: 'web', served: true, ...counted(3) }],
    pools: [
      {
        ...{ id: 'p', name: 'web', ...pool, ...counted(3) },
        members: [
          member({ weight: 3 }),
          member({ address: 'fd00::3', status: 'down', since: NOW - 5_000, reason: 'timeout' }),
        ],
      },
      { id: 'q', name: 'spare', ...pool, ...counted(0) },
    ],
  };
  const io = { client: fakeApi().client, out: () => {}, err: () => {} };
  assert.equal(
    statusText(io, status, false),
    `Load balancer  lb
Operating      degraded

VIP  ADDRESS               POOL  STATUS  NOW  OPENED      IN     OUT
www  tcp 198.51.100.80:80  web   up        3      30  3.0 kB  6.0 MB

POOL  ADDRESS       WEIGHT  NOW  OPENED      IN     OUT  STATUS
web   10.0.0.2:80        3    1      10  1.0 kB  2.0 MB  up
web   [fd00::3]:80       1    1      10  1.0 kB  2.0 MB  down since 5.0 s: timeout

without members: spare
`,
  );
});

test('the name of a load balancer is completed', async () => {
  const { client } = fakeApi();
  await client.create('router', { name: 'r' });
  for (const name of ['web', 'mail']) await client.create('load-balancer', { name, router: 'r' });
  let out = '';
  const io = { client, out: (text: string) => void (out += text), err: assert.fail };
  await runCli(['complete', '--line', 'mn load-balancer status w'], io);
  assert.match(out, /^web/);
});
