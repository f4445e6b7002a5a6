/** Connections that a VIP has, where it has a limit of them: closed ones are none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TCP_FLAG } from '#flow/connection-layout.ts';
import type { ConnectionRecord } from '#flow/connection-records.ts';
import type { Connections } from '#flow/connections.ts';
import type { ConnectionRef } from '#virtual/connection.ts';
import type { VipView } from '#virtual/load-balancer/view.ts';
import { Topology } from '#virtual/topology.ts';
import { Balancing } from './balancing.ts';
import { LIMITS } from './limits.ts';

const end = { ip: 0x0a000050, port: 80 };
const record = (closed: boolean): ConnectionRecord => {
  const half = { seenMs: 1, tcp: closed ? TCP_FLAG.FIN : 0 };
  return {
    forward: { zone: 7, tuple: { protocol: 6 } },
    halves: [half, half],
    translations: [{ zone: 7, changes: 'destination', from: end, to: { ip: 1, port: 80 } }],
  } as unknown as ConnectionRecord;
};

test('at the limit, what both ends have closed is no session', () => {
  let nowMs = 1_000;
  const records = [record(true), record(true), record(false)];
  const connections = {
    balanced: { of: () => records.length },
    refs: () => records.map((_, slot): ConnectionRef => ({ slot, generation: 1 })).values(),
    record: ({ slot }: ConnectionRef) => records[slot],
  } as unknown as Connections;
  const balancing = new Balancing({ topology: new Topology(), connections, now: () => nowMs });
  const vip = { id: 'v', protocol: 6, sessionLimit: 3, ...end } as unknown as VipView;
  assert.equal(balancing.sessions(vip, 7), 1);
  records.push(record(false));
  assert.equal(balancing.sessions(vip, 7), 2, 'a further one counts at once');
  nowMs += LIMITS.sessionsCountedMs;
  records[2] = record(true);
  assert.equal(balancing.sessions(vip, 7), 1);
  assert.equal(balancing.sessions({ ...vip, sessionLimit: 9 }, 7), 4, 'far from it nobody looks');
});
