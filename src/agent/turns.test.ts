/**
 * What must hold between two turns of one host: interfaces that change hands while first packets
 * wait, restarts under a big topology, limits of the datapath, decisions of one batch that
 * contradict each other.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  bridge,
  frame,
  HOST,
  host,
  location,
  OneHost,
  OTHER,
  port,
  uuid,
  zone,
} from './edge.fixture.ts';
import type { Ip } from '#net/ip.ts';
import { LIMITS } from './limits.ts';

const [RED, BLUE] = [1, 2];
const REQUEST = 'arp who-has 10.0.0.9 tell 10.0.0.1';
const SOURCE = '02:00:00:00:00:01';

test('a first packet that waited while its interface changed hands reaches neither network', () => {
  const rows = [
    bridge(RED),
    bridge(BLUE),
    port(1, RED, 'a'),
    port(2, BLUE, 'b'),
    port(3, RED, 'c'),
    port(4, BLUE, 'd'),
  ];
  const one = new OneHost().begin(rows, { a: 1, b: 2, c: 3, d: 4 });
  one.arrive(1, frame(REQUEST));
  one.timeMs += 1;
  one.change(port(1, RED, 'b'), port(2, BLUE, 'a'));
  assert.deepEqual(one.pump(), []);
  assert.equal(one.edge.state().counters.drops['no-port'], 1);
  one.arrive(1, frame(REQUEST));
  assert.deepEqual(one.pump(), [4], 'what comes afterwards is of the new network');
});

test('the first snapshot of a new agent leaves adopted flows alone, however big it is', () => {
  const many = Array.from({ length: 11_000 }, (_, i) => port(100 + i, RED, `x${i}`, OTHER));
  const rows = [bridge(RED), port(1, RED, 'a'), port(2, RED, 'b'), ...many];
  const one = new OneHost().begin(rows, { a: 1, b: 2 });
  one.arrive(1, frame(REQUEST));
  assert.deepEqual(one.pump(), [2]);
  const macs = one.published().put;
  one.restart();
  one.snapshot(rows);
  one.arrive(1, frame(REQUEST));
  assert.deepEqual(one.pump(), [2], 'the kernel goes on');
  one.learned([{ bridge: uuid(1, RED), vlan: 0, mac: SOURCE, port: uuid(2, 1) }, ...macs]);
  one.interfaces({ a: 1, b: 2 });
  one.arrive(1, frame(REQUEST));
  assert.deepEqual(one.pump(), [2]);
  assert.equal(one.edge.state().counters.upcalls, 0);
});

test('a new agent closes no key that stays, and closes those that do not', () => {
  const removed: unknown[] = [];
  const one = new OneHost(
    (datapath) =>
      new Proxy(datapath, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (typeof value !== 'function') return value;
          return (...args: unknown[]): unknown => {
            if (name === 'removeKey') removed.push(...args);
            return Reflect.apply(value, target, args);
          };
        },
      }),
  );
  const rows = [bridge(RED), port(1, RED, 'a'), location(1, 7), port(2, RED, 'b'), location(2, 8)];
  one.begin(rows, { a: 1, b: 2 });
  assert.equal(one.datapath.keys().length, 2);
  one.restart();
  one.begin(rows.slice(0, 3), { a: 1, b: 2 });
  assert.deepEqual(removed, [8]);
  assert.deepEqual(one.datapath.keys(), [{ key: 7, port: 1, network: 0x800000 + RED }]);
});

test('a datapath that has no more room for keys or senders does not end the agent', () => {
  let full = true;
  const refuse = (): void => {
    if (full) throw new Error('no space left');
  };
  const one = new OneHost(
    (datapath) =>
      new Proxy(datapath, {
        get(target, name) {
          const value: unknown = Reflect.get(target, name);
          if (typeof value !== 'function') return value;
          return (...args: unknown[]): unknown => {
            if (name === 'setKey' || name === 'allowSender') refuse();
            return Reflect.apply(value, target, args);
          };
        },
      }),
  );
  one.begin(
    [
      host(HOST),
      host(OTHER),
      bridge(RED),
      port(1, RED, 'a'),
      location(1, 7),
      port(2, RED, 'z', OTHER),
      location(2, 8, OTHER),
      zone({ [HOST]: '172.16.0.1', [OTHER]: '172.16.0.2' }),
    ],
    { a: 1 },
  );
  assert.deepEqual(one.datapath.keys(), []);
  const why = one.edge.state().portsDown.map((down) => `${down.port} ${down.why}`);
  assert.deepEqual(why, [`${uuid(2, 1)} not reachable from other hosts: no space left`]);
  full = false;
  one.advance(LIMITS.bindRetryMs);
  assert.equal(one.datapath.keys().length, 1);
  assert.equal(one.datapath.senders().length, 1);
  assert.deepEqual(one.edge.state().portsDown, []);
});

test('a MAC whose frames are rare but come is not forgotten', () => {
  const rows = [bridge(RED), port(1, RED, 'a'), location(1, 7), port(2, RED, 'b')];
  const one = new OneHost().begin(rows, { a: 1, b: 2 });
  for (let i = 0; i < 8; i++) {
    one.arrive(1, frame(REQUEST));
    assert.deepEqual(one.pump(), [2]);
    one.advance(70_000);
  }
  assert.deepEqual(one.published().forget, []);
  one.advance(300_000);
  assert.equal(one.published().forget.length, 1, 'but after 300 s of silence it is');
});

test('words about MACs that wait for a location are kept once each', () => {
  const rows = [bridge(RED), port(1, RED, 'a'), port(2, RED, 'b')];
  const one = new OneHost().begin(rows, { a: 1, b: 2 });
  for (let i = 0; i < 50; i++) {
    one.arrive(1 + (i % 2), frame(REQUEST));
    one.pump();
  }
  assert.deepEqual(one.published().put, [], 'nobody would believe them yet');
  one.change(location(1, 7), location(2, 8));
  assert.deepEqual(
    one.published().put.map((mac) => mac.port),
    [uuid(2, 2)],
  );
});

test('a port that fills the flow table does not keep the others from having flows', () => {
  const rows = [bridge(RED), port(1, RED, 'a'), port(2, RED, 'b'), port(3, RED, 'c')];
  const one = new OneHost(undefined, 256).begin(rows, { a: 1, b: 2, c: 3 });
  const noise = (at: number, from: number, to: number): void => {
    for (let i = from; i < to; i++) {
      const src = `02:00:01:0${at}:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
      one.arrive(at, frame(REQUEST, src));
      one.pump();
    }
  };
  const flows = () => one.edge.state().counters.flowsNow;
  noise(1, 0, 600);
  assert.equal(flows(), 128, 'its quota: it gains nothing by more');
  noise(3, 0, 600);
  assert.ok(flows() <= 256 && flows() >= 250, `${flows()}: the table is full`);
  for (let i = 0; i < 4; i++) {
    one.arrive(2, frame(REQUEST, '02:00:00:00:00:02'));
    assert.deepEqual(one.pump(), [1, 3], 'with or without a flow');
  }
  assert.ok(one.datapath.counters().hits >= 2, 'the first makes room, the second gets it');
  noise(1, 600, 900);
  noise(3, 600, 900);
  const { hits } = one.datapath.counters();
  one.arrive(2, frame(REQUEST, '02:00:00:00:00:02'));
  one.pump();
  assert.equal(one.datapath.counters().hits, hits + 1, 'and keeps it');
});

test('when more wait than a batch takes, a quiet port waits for one frame of each noisy one', () => {
  const rows = [bridge(RED), ...[1, 2, 3].map((n) => port(n, RED, `p${n}`))];
  const one = new OneHost().begin(rows, { p1: 1, p2: 2, p3: 3 });
  const source = (at: number, i: number) =>
    `02:00:0${at}:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
  const backlog = 4 * LIMITS.upcallsPerBatchMax;
  for (let i = 0; i < backlog; i++)
    for (const at of [1, 2]) one.arrive(at, frame(REQUEST, source(at, i)));
  for (let i = 0; i < 3; i++) one.arrive(3, frame(REQUEST, source(3, i)));
  const order: number[] = [];
  const sequence = new Map<number, number[]>([1, 2, 3].map((at) => [at, []]));
  let pumps = 0;
  one.datapath.onTransmit((_, bytes) => {
    order.push(bytes[8]!);
    sequence.get(bytes[8]!)?.push(bytes[10]! * 256 + bytes[11]!);
  });
  for (let handled = 1; handled > 0; pumps++) handled = one.edge.pump(() => {});
  // Each frame floods to two ports; the first batch is decided as it came.
  const firstQuiet = order.indexOf(3) / 2;
  const last = order.lastIndexOf(3) / 2;
  assert.ok(firstQuiet <= LIMITS.upcallsPerBatchMax + 3, `${firstQuiet}`);
  assert.ok(last <= LIMITS.upcallsPerBatchMax + 9.5, `${last}`);
  assert.ok(order.length / 2 >= 2 * backlog + 3, 'all are decided');
  assert.ok(!one.edge.busy && pumps > 8);
  for (const [at, own] of sequence)
    assert.deepEqual(
      own,
      own.toSorted((a, b) => a - b),
      `the frames of port ${at} keep their order`,
    );
});

test('floods of a host with many ports take no more room than other flows', () => {
  const numbers = Array.from({ length: 60 }, (_, i) => i + 1);
  const rows = [bridge(RED), ...numbers.map((n) => port(n, RED, `p${n}`))];
  const interfaces = Object.fromEntries(numbers.map((n) => [`p${n}`, n]));
  const one = new OneHost(undefined, 64).begin(rows, interfaces);
  for (const n of numbers) {
    one.arrive(n, frame(REQUEST, `02:00:00:00:00:${n.toString(16).padStart(2, '0')}`));
    assert.equal(one.pump().length, 59);
  }
  assert.equal(one.edge.state().counters.flowsNow, 60);
});

test('floods follow a host to another tunnel address', () => {
  const at = (address: string) => zone({ [HOST]: '172.16.0.1', [OTHER]: address });
  const one = new OneHost().begin(
    [
      host(HOST),
      host(OTHER),
      at('172.16.0.2'),
      bridge(RED),
      port(1, RED, 'a'),
      port(2, RED, 'z', OTHER),
      location(2, 8, OTHER),
    ],
    { a: 1 },
  );
  const remotes: Ip[] = [];
  one.datapath.onTunnel((remote) => remotes.push(remote));
  for (const address of ['172.16.0.3', '172.16.0.4']) {
    one.arrive(1, frame(REQUEST));
    one.pump();
    one.change(at(address));
    assert.deepEqual(one.edge.wrongFlows(), []);
  }
  one.arrive(1, frame(REQUEST));
  one.pump();
  assert.deepEqual(remotes, [0xac100002, 0xac100003, 0xac100004]);
});

test('a port whose new flows wait does not wait with what is urgent', () => {
  const rows = [bridge(RED), ...[1, 2].map((n) => port(n, RED, `p${n}`))];
  const one = new OneHost().begin(rows, { p1: 1, p2: 2 });
  const backlog = 3 * LIMITS.upcallsPerBatchMax;
  for (let i = 0; i < backlog; i++)
    one.arrive(1, frame(`${SOURCE} > ff:ff:ff:ff:ff:ff type 0x88b5 data 0${i % 10}`, SOURCE));
  one.arrive(1, frame(REQUEST, SOURCE));
  const types: number[] = [];
  one.datapath.onTransmit((_, bytes) => types.push(bytes[12]! * 256 + bytes[13]!));
  while (one.edge.pump(() => {}) > 0);
  const arp = types.indexOf(0x0806);
  assert.ok(arp >= 0 && arp <= LIMITS.upcallsPerBatchMax + 1, `${arp} of ${types.length}`);
  assert.equal(types.length, backlog + 1);
});

test('stale flows are deleted a part at a time, and first packets are decided between', () => {
  const one = new OneHost(undefined, 16_384).begin(
    [bridge(RED), ...[1, 2, 3].map((n) => port(n, RED, `p${n}`))],
    { p1: 1, p2: 2, p3: 3 },
  );
  const count = LIMITS.removedAtOnceMax + 1_000;
  for (let i = 0; i < count; i++) {
    const src = `02:00:01:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
    one.arrive(1, frame(REQUEST, src));
    if (i % 200 === 0) one.pump();
  }
  one.pump();
  const flows = () => one.edge.state().counters.flowsNow;
  assert.equal(flows(), count);
  one.arrive(2, frame(REQUEST, '02:00:00:00:00:02'));
  one.change(port(4, RED, 'p4', OTHER), location(4, 9, OTHER));
  assert.equal(flows(), 0, 'stale at once');
  assert.ok(one.edge.busy, 'some are left to delete');
  assert.deepEqual(one.pump(), [1, 3], 'a first packet meanwhile');
  assert.ok(!one.edge.busy);
  assert.equal(one.datapath.dump().length, flows());
});
