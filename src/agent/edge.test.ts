/**
 * Two edges wired together over the reference datapath: the first packet's whole way, without a
 * thread.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openMemory } from '#datapath/memory.ts';
import type { DpPort } from '#flow/flow.ts';
import type { Ip4 } from '#net/ip.ts';
import { parseIp4 } from '#net/ip.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import type { HostId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { Edge } from './edge.ts';
import type { FromEdge } from './messages.ts';

const uuid = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const [H1, H2, B, P1, P2, P3] = [1, 2, 3, 4, 5, 6].map(uuid) as [
  string,
  string,
  string,
  string,
  string,
  string,
];
const ADDRESS = { [H1]: parseIp4('172.16.0.1') as Ip4, [H2]: parseIp4('172.16.0.2') as Ip4 };
const frame = (text: string): Uint8Array => {
  const bytes = parseFrameText(text, { src: parseMac('02:00:00:00:00:01') as Mac });
  assert.ok(bytes instanceof Uint8Array, JSON.stringify(bytes));
  return bytes;
};

const row = (kind: KindName, object: Record<string, unknown>) => ({
  kind,
  object: { revision: 1, ...object } as unknown as StoredObject,
});
const port = (id: string, host: string, name: string) =>
  row('port', {
    id,
    name,
    type: 'bridge',
    bridge: B,
    adminStateUp: true,
    hairpin: false,
    host,
    interface: name,
    addresses: [],
  });
const location = (id: string, host: string, tunnelKey: number) =>
  row('location', { id, port: id, host, interface: 'x', tunnelKey });
const objects = () => [
  row('host', { id: H1, name: 'h1' }),
  row('host', { id: H2, name: 'h2' }),
  row('tunnel-zone', {
    id: uuid(9),
    name: 'z',
    members: [
      { host: H1, address: '172.16.0.1' },
      { host: H2, address: '172.16.0.2' },
    ],
  }),
  row('bridge', { id: B, name: 'b0', adminStateUp: true, floodKey: 0x800001 }),
  port(P1, H1, 'vm1'),
  port(P2, H2, 'vm2'),
  port(P3, H2, 'vm3'),
  location(P1, H1, 11),
  location(P2, H2, 12),
  location(P3, H2, 13),
];

interface Node {
  edge: Edge;
  datapath: ReturnType<typeof openMemory>;
  posted: FromEdge[];
}

function cluster() {
  let clock = 0;
  const out: string[] = [];
  const nodes = new Map<string, Node>();
  for (const host of [H1, H2]) {
    const datapath = openMemory({ slots: 1024, clock: () => clock, address: ADDRESS[host] as Ip4 });
    const edge = new Edge({ host: host as HostId, datapath, now: () => clock, seed: 1 });
    nodes.set(host, { edge, datapath, posted: [] });
    datapath.onTransmit((p, bytes) =>
      out.push(`${host === H1 ? 'h1' : 'h2'}:${p} ${describeFrame(bytes)}`),
    );
    datapath.onTunnel((remote, key, bytes) => {
      const to = [...nodes].find(([id]) => ADDRESS[id] === remote)?.[1];
      to?.datapath.receiveTunnel(ADDRESS[host] as Ip4, key, bytes);
    });
  }
  const settle = () => {
    for (let busy = true; busy;) {
      busy = false;
      for (const n of nodes.values()) {
        if (n.edge.pump((m) => n.posted.push(m)) > 0) busy = true;
        for (const message of n.posted.splice(0)) {
          if (message.type !== 'learned' || message.put.length === 0) continue;
          busy = true;
          const host = [...nodes].find(([, x]) => x === n)?.[0] ?? '';
          for (const other of nodes.values())
            other.edge.handle(
              {
                type: 'event',
                event: {
                  type: 'learned',
                  all: false,
                  put: message.put.map((m) => ({ ...m, host })),
                  forget: [],
                },
              },
              (m) => other.posted.push(m),
            );
        }
      }
    }
  };
  const tell = (host: string, message: Parameters<Edge['handle']>[0]) => {
    const n = nodes.get(host) as Node;
    n.edge.handle(message, (m) => n.posted.push(m));
  };
  for (const host of [H1, H2]) {
    tell(host, {
      type: 'interfaces',
      interfaces:
        host === H1
          ? [{ name: 'vm1', index: 101 }]
          : [
              { name: 'vm2', index: 102 },
              { name: 'vm3', index: 103 },
            ],
    });
    tell(host, { type: 'event', event: { type: 'snapshot', revision: 1, objects: objects() } });
    tell(host, { type: 'event', event: { type: 'learned', all: true, put: [], forget: [] } });
  }
  return {
    nodes,
    out,
    tell,
    send(host: string, dpPort: number, text: string): string[] {
      out.length = 0;
      (nodes.get(host) as Node).datapath.receive(dpPort as DpPort, frame(text));
      settle();
      return out.toSorted();
    },
    advance: (ms: number) => (clock += ms),
  };
}

test('a flood reaches every other port once; what was learned then goes to its port only', () => {
  const c = cluster();
  const question = 'arp who-has 10.0.0.2 tell 10.0.0.1';
  const asked = c.send(H1, 101, question);
  assert.equal(asked.length, 2, asked.join('\n'));
  assert.match(asked[0] ?? '', /^h2:102 .* who-has/);
  const answer = c.send(
    H2,
    102,
    '02:00:00:00:00:02 > 02:00:00:00:00:01 arp reply 10.0.0.2 is-at 02:00:00:00:00:02 to 10.0.0.1',
  );
  assert.deepEqual(
    answer.map((line) => line.slice(0, 6)),
    ['h1:101'],
  );
  const data = '02:00:00:00:00:01 > 02:00:00:00:00:02 udp 10.0.0.1:1 > 10.0.0.2:2';
  assert.deepEqual(
    c.send(H1, 101, data).map((line) => line.slice(0, 6)),
    ['h2:102'],
  );
  const before = (c.nodes.get(H1) as Node).edge.state().counters.upcalls;
  assert.deepEqual(
    c.send(H1, 101, data).map((line) => line.slice(0, 6)),
    ['h2:102'],
  );
  assert.equal(
    (c.nodes.get(H1) as Node).edge.state().counters.upcalls,
    before,
    'the second frame came up',
  );
});

test('a port that goes down loses its flows in the same turn', () => {
  const c = cluster();
  c.send(H2, 102, '02:00:00:00:00:02 > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.9 tell 10.0.0.2');
  const data = '02:00:00:00:00:01 > 02:00:00:00:00:02 udp 10.0.0.1:1 > 10.0.0.2:2';
  assert.equal(c.send(H1, 101, data).length, 1);
  const down = port(P2, H2, 'vm2').object;
  for (const host of [H1, H2])
    c.tell(host, {
      type: 'event',
      event: {
        type: 'change',
        change: {
          revision: 2,
          rows: [{ kind: 'port', id: P2, put: { ...down, adminStateUp: false } as StoredObject }],
        },
      },
    });
  assert.deepEqual(c.send(H1, 101, data), []);
  assert.equal((c.nodes.get(H1) as Node).edge.state().counters.drops['port-down'], 1);
});

test('an interface that vanishes takes its port down; it is located again when it is back', () => {
  const c = cluster();
  c.tell(H2, { type: 'interfaces', interfaces: [{ name: 'vm3', index: 103 }] });
  const state = (c.nodes.get(H2) as Node).edge.state();
  assert.deepEqual(state.portsUp, [P3]);
  assert.deepEqual(state.portsDown, [{ port: P2, why: 'there is no interface vm2' }]);
  c.tell(H2, {
    type: 'interfaces',
    interfaces: [
      { name: 'vm3', index: 103 },
      { name: 'vm2', index: 202 },
    ],
  });
  const asked = c.send(H1, 101, 'arp who-has 10.0.0.2 tell 10.0.0.1');
  assert.deepEqual(
    asked.map((line) => line.slice(0, 6)),
    ['h2:103', 'h2:202'],
  );
});

test('a new agent keeps flows that are right and retires those that are not', () => {
  const c = cluster();
  c.send(H1, 101, 'arp who-has 10.0.0.2 tell 10.0.0.1');
  const { datapath } = c.nodes.get(H1) as Node;
  const installed = datapath.dump().length;
  assert.ok(installed > 0);
  for (const known of [true, false]) {
    const edge = new Edge({ host: H1 as HostId, datapath, now: () => 0, seed: 2 });
    const post = () => {};
    edge.handle({ type: 'interfaces', interfaces: [{ name: 'vm1', index: 101 }] }, post);
    const put = known ? [{ bridge: B, vlan: 0, mac: '02:00:00:00:00:01', port: P1, host: H1 }] : [];
    assert.equal(edge.state().revision, -1, 'nothing is in force before all is known');
    edge.handle({ type: 'event', event: { type: 'learned', all: true, put, forget: [] } }, post);
    assert.equal(datapath.dump().length, installed);
    edge.handle(
      { type: 'event', event: { type: 'snapshot', revision: 1, objects: objects() } },
      post,
    );
    assert.equal(edge.state().revision, 1);
    assert.equal(datapath.dump().length, known ? installed : 0);
  }
});

test('a frame decided in a batch leaves, also when a later one of the batch moves its MAC', () => {
  const c = cluster();
  const { datapath, edge } = c.nodes.get(H2) as Node;
  const question = '02:00:00:00:00:07 > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.9 tell 10.0.0.7';
  c.out.length = 0;
  datapath.receive(102 as DpPort, frame(question));
  datapath.receive(103 as DpPort, frame(question));
  edge.pump(() => {});
  assert.deepEqual(
    c.out.filter((line) => line.startsWith('h2')).map((line) => line.slice(0, 6)),
    ['h2:103', 'h2:102'],
  );
  assert.equal(edge.state().counters.drops['stale-injection'], undefined);
});
