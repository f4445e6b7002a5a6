/** What a reader is told of frames and drops: of its own places, by hosts that carry them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SeenFrame } from '#client/sight.ts';
import { Topology } from '#virtual/topology.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { readerOf } from './flow-rows.ts';
import { openNode } from './fixture.ts';
import { capturedFrame, dropRows, placeSeen } from './sight-text.ts';

const OTHER = { role: 'tenant', name: 'o', tenant: 'other' } as const;
const ALPHA = { role: 'tenant', name: 'a', tenant: 'alpha' } as const;
const OPERATOR = { role: 'operator', name: 'op' } as const;

/** A port of tenant alpha that is up on h1. */
async function network() {
  await using node = openNode();
  const client = node.operator;
  const made = async (kind: KindName, body: object): Promise<StoredObject> => {
    const { objects } = await client.create(kind, { ...body });
    const [object] = objects;
    assert.ok(object !== undefined);
    return object;
  };
  const h1 = await made('host', { name: 'h1' });
  const h2 = await made('host', { name: 'h2' });
  const bridge = await made('bridge', { name: 'b1', tenant: 'alpha' });
  const port = await made('port', {
    name: 'vm1',
    tenant: 'alpha',
    type: 'bridge',
    bridge: bridge.id,
    host: h1.id,
    interface: 'vm1',
  });
  const host = await node.as({ role: 'host', name: 'h1', host: h1.id });
  await host.locate(port.id, { interface: 'vm1', up: true });
  const topology = new Topology();
  const stop = new AbortController();
  for await (const event of client.watch({ signal: stop.signal })) {
    if (event.type !== 'snapshot') continue;
    topology.reset(event.revision, event.objects);
    break;
  }
  stop.abort();
  return { topology, h1: h1.id, h2: h2.id, bridge: bridge.id, port: port.id };
}

test('drops are told to whose port it is, and to operators', async () => {
  const { topology, h1, h2, port, bridge } = await network();
  const by = { kind: 'bridge', id: bridge, did: 'drop', detail: 'same-port' } as const;
  const part = { port, reason: 'same-port', packets: 9, rules: [{ by, flows: 2, packets: 5 }] };
  const rows = (token: typeof OTHER | typeof ALPHA | typeof OPERATOR, host = h1) =>
    dropRows(host, part, readerOf(token, topology));
  assert.deepEqual(rows(OTHER), []);
  assert.deepEqual(
    rows(OPERATOR).map(({ host, at, by: rule, packets, flows }) => [
      host,
      at,
      rule,
      packets,
      flows,
    ]),
    [
      ['h1', 'port vm1', 'bridge b1: drop same-port', 5, 2],
      ['h1', 'port vm1', undefined, 4, 0],
    ],
  );
  assert.deepEqual(new Set(rows(ALPHA).map(({ host }) => host)), new Set(['a host']));
  assert.deepEqual(rows(OPERATOR, h2), [], 'a host speaks for its own ports only');
  const nowhere = { reason: 'unknown-key', packets: 1, rules: [] };
  assert.deepEqual(dropRows(h1, nowhere, readerOf(ALPHA, topology)), []);
  assert.equal(dropRows(h1, nowhere, readerOf(OPERATOR, topology))[0]?.at, 'no port');
});

test('a frame is of the port that its host carries, and tenants are told of no host', async () => {
  const { topology, h1, h2, port } = await network();
  const seen: SeenFrame = {
    type: 'frame',
    atMs: 1,
    where: 'port',
    at: { port },
    fate: 'sent',
    outputs: 1,
    to: { key: 5, remote: '172.17.0.2' },
    flow: '3.1',
    length: 60,
    frame: '',
  };
  const reader = readerOf(OPERATOR, topology);
  assert.deepEqual(placeSeen(h1, seen, reader), { kind: 'port', id: port });
  assert.equal(placeSeen(h2, seen, reader), undefined);
  assert.equal(capturedFrame(h1, seen, reader).verdict, 'in, flow h1:3.1 → tunnel to 172.17.0.2');
  const told = capturedFrame(h1, seen, readerOf(ALPHA, topology));
  assert.deepEqual(
    [told.host, told.at, told.verdict],
    ['a host', 'port vm1', 'in, flow vm1:3.1 → tunnel to another host'],
  );
  const hidden = capturedFrame(h1, { ...seen, to: { port } }, readerOf(OTHER, topology));
  assert.equal(hidden.verdict, 'in → a port of another tenant');
});
