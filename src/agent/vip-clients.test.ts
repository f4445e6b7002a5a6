/** Clients of VIPs: bounded, and one VIP does not push out those of another. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Ip } from '#net/ip.ts';
import type { PoolMemberId, VipId } from '#virtual/ids.ts';
import { VipClients } from './vip-clients.ts';

const [SMALL, LARGE, NEW] = ['small', 'large', 'new'] as VipId[] as [VipId, VipId, VipId];
const member = 'm' as PoolMemberId;
const fill = (clients: VipClients, vip: VipId, from: number, count: number): void => {
  for (let n = from; n < from + count; n++) clients.remember(vip, n as Ip, { member, seenMs: n });
};

test('a crowd at one VIP makes room by its own, oldest first', () => {
  const clients = new VipClients(100);
  fill(clients, SMALL, 0, 10);
  fill(clients, LARGE, 0, 1_000);
  assert.equal(clients.size, 100);
  for (let n = 0; n < 10; n++) assert.notEqual(clients.of(SMALL, n as Ip), undefined);
  assert.equal(clients.of(LARGE, 909 as Ip), undefined);
  assert.equal(clients.of(LARGE, 910 as Ip)?.seenMs, 910);
});

test('who is below its share gets room from the largest', () => {
  const clients = new VipClients(100);
  fill(clients, LARGE, 0, 100);
  fill(clients, NEW, 0, 30);
  assert.equal(clients.size, 100);
  for (let n = 0; n < 30; n++) assert.notEqual(clients.of(NEW, n as Ip), undefined);
});

test('who is seen again is the last to go; VIPs that are gone take their clients along', () => {
  const clients = new VipClients(3);
  fill(clients, LARGE, 0, 3);
  clients.remember(LARGE, 0 as Ip, { member, seenMs: 9 });
  assert.equal(clients.size, 3);
  fill(clients, LARGE, 3, 1);
  assert.equal(clients.of(LARGE, 0 as Ip)?.seenMs, 9);
  assert.equal(clients.of(LARGE, 1 as Ip), undefined);
  clients.keepVips((vip) => vip !== LARGE);
  assert.equal(clients.size, 0);
});
