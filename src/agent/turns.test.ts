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
  const noise = (from: number, to: number): void => {
    for (let i = from; i < to; i++) {
      const src = `02:00:01:00:${(i >> 8).toString(16).padStart(2, '0')}:${(i & 255).toString(16).padStart(2, '0')}`;
      one.arrive(1, frame(REQUEST, src));
      one.pump();
    }
  };
  noise(0, 600);
  const full = one.edge.state().counters;
  assert.equal(full.flowsNow, 256, 'its own flows stay: it gains nothing by more');
  for (let i = 0; i < 4; i++) {
    one.arrive(2, frame(REQUEST, '02:00:00:00:00:02'));
    assert.deepEqual(one.pump(), [1, 3], 'with or without a flow');
  }
  assert.ok(one.datapath.counters().hits >= 2, 'the first makes room, the second gets it');
  noise(600, 900);
  const { hits } = one.datapath.counters();
  one.arrive(2, frame(REQUEST, '02:00:00:00:00:02'));
  one.pump();
  assert.equal(one.datapath.counters().hits, hits + 1, 'and keeps it');
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
  const remotes: number[] = [];
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
