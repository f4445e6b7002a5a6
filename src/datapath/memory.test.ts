/** The reference datapath keeps the contract; and what only it promises. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DpPort, TunnelKey } from '#flow/flow.ts';
import type { Ip4 } from '#net/ip.ts';
import type { UpcallBudget } from './budget.ts';
import { contract } from './contract.ts';
import type { Bench, Tunnelled } from './contract.ts';
import { AMPLE_BUDGET } from './contract/bench.ts';
import { openMemory, UPCALLS_WAITING_MAX } from './memory.ts';

const PORT = 1 as DpPort;
const PORTS = [PORT, 2 as DpPort, 3 as DpPort];

function open(upcallBudget: UpcallBudget): Promise<Bench> {
  const datapath = openMemory({ slots: 512, clock: () => performance.now(), upcallBudget });
  const out = new Map<DpPort, Uint8Array[]>();
  let tunnelled: Tunnelled[] = [];
  datapath.onTransmit((port, frame) => {
    const queue = out.get(port) ?? [];
    queue.push(frame.slice());
    out.set(port, queue);
  });
  datapath.onTunnel((remote, key, frame) => tunnelled.push({ remote, key, frame: frame.slice() }));
  return Promise.resolve({
    datapath,
    ports: PORTS,
    frameBytesMin: 0,
    send: (port, frame) => datapath.receive(port, frame),
    sendTunnel: (source, key, frame) => datapath.receiveTunnel(source, key, frame),
    received: (port) => {
      const frames = out.get(port) ?? [];
      out.delete(port);
      return Promise.resolve(frames);
    },
    tunnelled: () => {
      const sent = tunnelled;
      tunnelled = [];
      return Promise.resolve(sent);
    },
    close: () => datapath[Symbol.dispose](),
  } satisfies Bench);
}

contract('memory', open);

test('a port that fills its part of the queue of upcalls is dropped and counted', () => {
  const datapath = openMemory({ slots: 1, clock: () => 0, upcallBudget: AMPLE_BUDGET });
  const port = 5 as DpPort;
  datapath.addPort(port);
  const part = UPCALLS_WAITING_MAX / 3;
  for (let i = 0; i < part + 3; i++) datapath.receive(port, new Uint8Array(60));
  assert.equal(datapath.counters().drops['upcall-share'], 3);
  assert.equal(datapath.counters().misses, part);
  assert.equal(
    datapath.upcalls(() => {}, 10_000),
    part,
  );
});

test('a port that was not added is not there', () => {
  const datapath = openMemory({ slots: 1, clock: () => 0 });
  datapath.receive(1 as DpPort, new Uint8Array(60));
  assert.deepEqual(datapath.counters(), { hits: 0, misses: 0, tunnelHits: 0, drops: {} });
  datapath.allowSender(datapath.addPeer(1 as Ip4), 0x800001);
  datapath.setKey({ key: 5 as TunnelKey, port: 1 as DpPort, network: 0x800001 });
  datapath.receiveTunnel(1 as Ip4, 5 as TunnelKey, new Uint8Array(60));
  assert.deepEqual(datapath.counters().drops, { 'no-port': 1 });
});

test('a slot in use, a slot that is not there and a flow without an effect are refused', () => {
  const datapath = openMemory({ slots: 1, clock: () => 0 });
  const flow = { key: new Uint8Array(72), fields: 0, actions: { outputs: [{ port: PORT }] } };
  datapath.install({ slot: 0, generation: 1 }, flow);
  assert.throws(() => datapath.install({ slot: 0, generation: 2 }, flow), /slot 0 is in use/);
  assert.throws(() => datapath.install({ slot: 1, generation: 1 }, flow), /no slot 1/);
  const nothing = { ...flow, actions: { outputs: [] } };
  datapath.remove([{ slot: 0, generation: 1 }]);
  assert.throws(
    () => datapath.install({ slot: 0, generation: 2 }, nothing),
    /drop or have an output/,
  );
});
