/** What becomes of packets that are too big, piece by piece. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DpPeer, DpPort, TunnelKey } from '#flow/flow.ts';
import { encodeFrame, type Layers } from '#net/frame.ts';
import { ZERO_MAC, type Mac } from '#net/mac.ts';
import { parseIp4, type Ip4 } from '#net/ip.ts';
import type { PortId } from '#virtual/ids.ts';
import { ErrorBudget } from '#virtual/state/error-budget.ts';
import { AMPLE_BUDGET } from '#datapath/contract/bench.ts';
import { openMemory } from '#datapath/memory.ts';
import { divide, LargePackets, tooBigError, type Large } from './too-big.ts';
import { LIMITS } from './limits.ts';

const A = parseIp4('10.0.0.1') as Ip4;
const B = parseIp4('10.0.0.2') as Ip4;
const HERE = { port: 3 as DpPort };
const THERE = { key: 9 as TunnelKey, remote: 1 as DpPeer };

interface Options {
  readonly df?: boolean;
  readonly to?: Ip4;
  readonly gsoSize?: number;
  readonly tcp?: boolean;
}
/** A packet of so many bytes, or a super-packet of segments of so many. */
function large(
  size: number,
  { df = false, to = B, gsoSize = 0, tcp = false }: Options = {},
): Large {
  const header = tcp ? 40 : 28;
  const payload = new Uint8Array(gsoSize === 0 ? size - header : 10 * gsoSize);
  const network = { kind: 'ipv4', src: A, dst: to, dontFragment: df } as const;
  const ports = { srcPort: 7, dstPort: 8 };
  const ethernet = { src: 2 as Mac, dst: 4 as Mac };
  const layers: Layers = tcp
    ? { ethernet, network, transport: { kind: 'tcp', ...ports, flags: 0x10 }, payload }
    : { ethernet, network, transport: { kind: 'udp', ...ports }, payload };
  return { frame: encodeFrame(layers), gsoSize, size };
}
const outputs = [HERE, THERE];
const sizes = (of: Large, limits: readonly (number | undefined)[], all?: number) => {
  const { parts, cut, refused } = divide(of, { outputs }, limits, all);
  const each = parts.map(({ frames, gsoSize, actions }) => ({
    to: actions.outputs.length === 2 ? 'all' : actions.outputs[0] === HERE ? 'here' : 'there',
    sizes: frames.map((bytes) => bytes.length - 14),
    gsoSize,
  }));
  return { each, cut, refused };
};

test('every output gets what it can take', () => {
  const gsoSize = 0;
  assert.deepEqual(sizes(large(1450), [1500, 1450]), {
    each: [{ to: 'all', sizes: [1450], gsoSize }],
    cut: false,
    refused: undefined,
  });
  assert.deepEqual(sizes(large(1500), [1500, 1450]), {
    each: [
      { to: 'here', sizes: [1500], gsoSize },
      { to: 'there', sizes: [1444, 76], gsoSize },
    ],
    cut: true,
    refused: undefined,
  });
  assert.deepEqual(sizes(large(1500, { df: true }), [undefined, 1450]), {
    each: [{ to: 'here', sizes: [1500], gsoSize }],
    cut: false,
    refused: 1450,
  });
  assert.deepEqual(sizes(large(1500, { df: true }), [1400, 1450]), {
    each: [],
    cut: false,
    refused: 1400,
  });
});

test('a router on the way may have less than all of them', () => {
  assert.deepEqual(sizes(large(1500), [undefined, 1450], 1000).each, [
    { to: 'all', sizes: [996, 524], gsoSize: 0 },
  ]);
});

test('segments of a stream that may be cut become shorter, datagrams do not', () => {
  const tcp = { gsoSize: 1460, tcp: true } as const;
  const super4 = large(1500, tcp);
  assert.deepEqual(sizes(super4, [undefined, 1450]), {
    each: [
      { to: 'here', sizes: [super4.frame.length - 14], gsoSize: 1460 },
      { to: 'there', sizes: [super4.frame.length - 14], gsoSize: 1410 },
    ],
    cut: true,
    refused: undefined,
  });
  assert.equal(sizes(large(1500, { ...tcp, df: true }), [1450, 1450]).refused, 1450);
  assert.equal(sizes(large(1500, { gsoSize: 1472 }), [1450, 1450]).refused, 1450);
  assert.equal(sizes(large(1500, tcp), [45, 45]).refused, 45, 'nothing is left of a segment');
});

test('whom nothing is told', () => {
  assert.ok(tooBigError(large(1500, { df: true }).frame, 1450) !== undefined);
  assert.equal(tooBigError(large(1500).frame, 1450), undefined, 'who may be cut');
  const everybody = 0xffffffff as Ip4;
  assert.equal(tooBigError(large(1500, { df: true, to: everybody }).frame, 1450), undefined);
  const group = parseIp4('239.0.0.1') as Ip4;
  assert.equal(tooBigError(large(1500, { df: true, to: group }).frame, 1450), undefined);
  assert.equal(tooBigError(new Uint8Array(1500), 1450), undefined);
  const arp = encodeFrame({
    ethernet: { src: ZERO_MAC, dst: ZERO_MAC, type: 0x0806 },
    payload: new Uint8Array(1500),
  });
  assert.equal(tooBigError(arp, 1450), undefined);
});

/** On a datapath whose only port here is both ends. */
function sender() {
  const datapath = openMemory({ slots: 8, clock: () => 0, upcallBudget: AMPLE_BUDGET });
  datapath.addPort(HERE.port);
  const left: number[] = [];
  datapath.onTransmit((_, frame) => left.push(frame.length - 14));
  const bindings = { dpPort: () => HERE.port };
  const packets = new LargePackets({ datapath, state: { errors: new ErrorBudget() }, bindings });
  const send = (of: Large, limits: readonly number[]): boolean => {
    const from = 'p1' as PortId;
    const done = packets.send({ ...of, from }, { outputs: [HERE, HERE] }, limits, undefined);
    datapath.commit();
    return done;
  };
  return { packets, left, send };
}

test('no more are cut in a tick than the agent allows itself', () => {
  const { packets, left, send } = sender();
  for (let n = 0; n < LIMITS.cutPerTickMax; n++) assert.ok(send(large(1500), [1500, 1450]));
  left.length = 0;
  assert.equal(send(large(1500), [1500, 1450]), false);
  assert.deepEqual(left, [1500], 'whom it fits get it all the same');
  assert.equal(packets.cut, LIMITS.cutPerTickMax);
  packets.tick();
  assert.ok(send(large(1500), [1500, 1450]));
});

test('an error goes back only where nobody got the packet: of those whom it fits, one may be meant', () => {
  const { left, send } = sender();
  assert.equal(send(large(1500, { df: true }), [1500, 1450]), false);
  assert.deepEqual(left, [1500]);
  left.length = 0;
  assert.equal(send(large(1500, { df: true }), [1480, 1450]), false);
  assert.deepEqual(left, [576]);
});
