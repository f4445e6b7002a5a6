/** Rewrites of single outputs outlive the process that installed them, and go with their flow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DpPort } from '#flow/flow.ts';
import { LIMITS } from '#flow/layout.ts';
import { EXACT } from '#flow/mask.ts';
import type { Ip4 } from '#net/ip.ts';
import { flowOf, hex, put, udp } from '../contract/frames.ts';
import { until } from '../contract/rig.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const ref = { slot: 3, generation: 9 };

/** The suite's frame with this destination port, for which UDP over IPv4 needs no checksum. */
const withPort = (id: number, port: number): Uint8Array => {
  const frame = udp({ id });
  put(frame, 36, port, 2);
  return frame;
};

test('rewrites of an output are found again, and forward meanwhile', options, async () => {
  sweep();
  const testbed = new Testbed();
  const [a, b, c] = [1, 2, 3].map((i) => testbed.port(`v${i}`)) as [DpPort, DpPort, DpPort];
  const outputs = [{ port: b, rewrite: { tpDst: 7 } }, { port: c }];
  const flow = flowOf({ port: a }, udp(), { dscp: 0, outputs }, EXACT);
  const [from, toB] = [testbed.socket('g1'), testbed.socket('g2')];
  let id = 0;
  /** A frame that was not sent before leaves rewritten. */
  const arrives = async (): Promise<void> => {
    const [sent, want] = [udp({ id: ++id }), hex(withPort(id, 7))];
    await until('the frame leaves', () => {
      from.send(sent);
      for (let frame = toB.receive(); frame !== undefined; frame = toB.receive())
        if (hex(frame) === want) return true;
      return undefined;
    });
  };
  try {
    const first = testbed.open();
    for (const port of [a, b, c]) first.addPort(port);
    first.install(ref, flow);
    first.commit();
    await arrives();
    first[Symbol.dispose]();
    await arrives();

    const second = testbed.open();
    const [found] = second.dump();
    assert.deepEqual(found?.flow.actions.outputs.length, 2);
    assert.deepEqual(found.flow.actions.outputs.find((each) => 'rewrite' in each)?.rewrite, {
      tpDst: 7,
    });
    await arrives();
    // Another one beside it has a slot of its own.
    const other = { outputs: [{ port: b, rewrite: { tpDst: 8, ipSrc: 1 as Ip4 } }] };
    second.install({ slot: 4, generation: 1 }, flowOf({ port: c }, udp(), other, EXACT));
    second.commit();
    await arrives();
    second.remove(second.dump().map((each) => each.ref));
    assert.equal(second.refusals().rewrites, 0);
    second[Symbol.dispose]();
  } finally {
    for (const socket of [from, toB]) socket[Symbol.dispose]();
    testbed.close();
  }
});

test('outputs beyond the slots for rewrites are drops, and counted', options, () => {
  const testbed = new Testbed();
  try {
    using datapath = testbed.open();
    const [a, b] = [testbed.port('v1'), testbed.port('v2')];
    datapath.addPort(a);
    const flood = (at: number) =>
      Array.from({ length: 512 }, (_, i) => ({ port: b, rewrite: { tpSrc: at, tpDst: i } }));
    const flows = LIMITS.REWRITE_SLOTS / 512 + 1;
    for (let slot = 0; slot < flows; slot++)
      datapath.install(
        { slot, generation: 1 },
        flowOf({ port: a }, udp({ sport: slot }), { outputs: flood(slot) }, EXACT),
      );
    datapath.commit();
    assert.deepEqual([datapath.refusals().groups, datapath.refusals().rewrites], [1, 1]);
    const drops = datapath.dump().map((each) => each.flow.actions.drop);
    assert.equal(drops.filter((drop) => drop === 'flood-limit').length, 1);
  } finally {
    testbed.close();
  }
});
