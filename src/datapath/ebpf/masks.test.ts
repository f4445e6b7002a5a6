/**
 * Lookup by masks and their cache: every frame finds its own flow, with cold and with warm hints,
 * also when masks come and go under warm hints.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DpPort, FlowRef } from '#flow/flow.ts';
import { MASKS_MAX } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { testRun } from '#os/bpf.ts';
import { fieldSet, FIELDS } from '#virtual/match.ts';
import type { FieldSet } from '#virtual/match.ts';
import type { EbpfDatapath } from './open.ts';
import { isRoot, sweep, Testbed } from './testbed.ts';

const options = { skip: !isRoot() && 'needs root: network namespaces and bpf(2)' };
const REDIRECT = 7;
const SHOT = 2;

/** A frame whose addresses say which mask it is for: flows of different masks stay disjoint. */
function frame(mask: number, variant: number): Uint8Array {
  const out = new Uint8Array(60);
  out.set([2, 0, 0, 0, 0, mask, 2, 0, 0, 0, variant >> 8, variant & 255, 8, 0, 0x45, 0, 0, 46]);
  out.set([64, 17], 22);
  out.set([10, 0, 0, 1, 10, 0, 0, 2, 1, mask, 2, variant & 255], 26);
  return out;
}

/** All contain ethDst, which tells them apart. */
const fieldSets: readonly FieldSet[] = Array.from({ length: MASKS_MAX + 8 }, (_, i) =>
  fieldSet([
    'ethDst',
    ...FIELDS.filter((field, bit) => field !== 'ethDst' && ((i + 1) & (1 << (bit % 6))) !== 0),
  ]),
).filter((set, i, all) => all.indexOf(set) === i);

function install(dp: EbpfDatapath, port: DpPort, slot: number, generation: number): FlowRef {
  const key = new Uint8Array(KEY_SIZE);
  const fields = fieldSets[slot] ?? 0;
  parseKey(frame(slot, 0), key);
  writeEntry(key, { port });
  maskKey(key, fields, key);
  const ref = { slot, generation };
  dp.install(ref, { key, fields, actions: { outputs: [{ port }] } });
  return ref;
}

/**
 * Frames of each flow, in an order that evicts and warms hints; checked by the flows' own counters.
 */
function check(dp: EbpfDatapath, port: DpPort, refs: readonly FlowRef[]): void {
  const before = refs.map((ref) => dp.stats(ref).packets);
  const program = dp.programs.port_in;
  for (let round = 0; round < 3; round++)
    for (const { slot } of refs) {
      const run = testRun(program, frame(slot, 0), { ifindex: port });
      assert.equal(run.verdict, REDIRECT, `mask ${slot}`);
    }
  for (const [i, ref] of refs.entries())
    assert.equal(dp.stats(ref).packets, (before[i] ?? 0) + 3, `mask ${ref.slot}`);
}

test('as many masks as there can be, retired and replaced under warm hints', options, (t) => {
  sweep();
  const testbed = new Testbed();
  try {
    using dp = testbed.open({ secret: 0n });
    const port = testbed.port('v1');
    dp.addPort(port);
    const count = Math.min(MASKS_MAX, fieldSets.length);
    assert.ok(count === MASKS_MAX, `${fieldSets.length} different masks`);
    let refs = Array.from({ length: count }, (_, slot) => install(dp, port, slot, 1));
    dp.commit();
    check(dp, port, refs);
    // One more mask has no room: its frames are handed up, and that is counted.
    const extra = install(dp, port, count, 1);
    dp.commit();
    assert.equal(dp.refusals().masks, 1);
    assert.equal(testRun(dp.programs.port_in, frame(count, 0), { ifindex: port }).verdict, SHOT);
    assert.equal(dp.counters().misses, 1);
    dp.remove([extra]);
    // Half of the masks retire; others take their places while hints still name those.
    const [gone, kept] = [refs.slice(0, count / 2), refs.slice(count / 2)];
    dp.remove(gone);
    for (const { slot } of gone) {
      assert.equal(
        testRun(dp.programs.port_in, frame(slot, 0), { ifindex: port }).verdict,
        SHOT,
        `gone ${slot}`,
      );
    }
    refs = [...kept, ...gone.toReversed().map(({ slot }) => install(dp, port, slot, 2))];
    dp.commit();
    check(dp, port, refs);
    const run = testRun(dp.programs.port_in, frame(count - 1, 0), {
      ifindex: port,
      repeat: 100_000,
    });
    t.diagnostic(`last of ${count} masks, cached: ${run.nsPerRun} ns a frame`);
  } finally {
    testbed.close();
  }
});
