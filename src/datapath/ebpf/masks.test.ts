/**
 * Lookup by masks and their cache: every frame finds its own flow, with cold and with warm hints,
 * also when masks come and go under warm hints; and an entry has masks of
 * its own only.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { test } from 'node:test';
import type { DpPort, FlowRef } from '#flow/flow.ts';
import { ENTRY_MASKS_MAX, MASKS_MAX } from '#flow/flow.ts';
import { hashKey } from '#flow/hash.ts';
import { HASH_SECRET_WORDS, KEY_SIZE, LIMITS } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { BpfMap, openPinned, testRun } from '#os/bpf.ts';
import { closeFd } from '#os/libc.ts';
import { linkByName } from '#os/netlink/links.ts';
import { fieldSet, FIELDS } from '#virtual/match.ts';
import type { FieldSet } from '#virtual/match.ts';
import { possibleCpus } from './maps.ts';
import type { EbpfDatapath } from './open.ts';
import { versionDir } from './pins.ts';
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

/** Flows of mask `n` are those of port `n / ENTRY_MASKS_MAX`: as many as one may have. */
const portOf = (ports: readonly DpPort[], mask: number): DpPort =>
  ports[Math.floor(mask / ENTRY_MASKS_MAX)]!;

function keyOf(port: DpPort, mask: number): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  parseKey(frame(mask, 0), key);
  writeEntry(key, { port });
  return key;
}
function install(dp: EbpfDatapath, port: DpPort, slot: number, generation: number): FlowRef {
  const key = keyOf(port, slot);
  const fields = fieldSets[slot] ?? 0;
  maskKey(key, fields, key);
  const ref = { slot, generation };
  dp.install(ref, { key, fields, actions: { outputs: [{ port }] } });
  return ref;
}
const verdict = (dp: EbpfDatapath, port: DpPort, mask: number): number =>
  testRun(dp.programs.port_in, frame(mask, 0), { ifindex: port }).verdict;

/** Interfaces that carry nothing: test runs need no wire but a device. */
function makePorts(dp: EbpfDatapath, count: number): DpPort[] {
  const names = Array.from({ length: count }, (_, i) => `d${i}`);
  for (const name of names) execFileSync('ip', ['link', 'add', name, 'type', 'veth']);
  const ports = names.map((name) => linkByName(name)!.index as DpPort);
  for (const port of ports) dp.addPort(port);
  return ports;
}

/**
 * Frames of each flow, in an order that evicts and warms hints; checked by the flows' own counters.
 */
function check(dp: EbpfDatapath, ports: readonly DpPort[], refs: readonly FlowRef[]): void {
  const before = refs.map((ref) => dp.stats(ref).packets);
  for (let round = 0; round < 3; round++)
    for (const { slot } of refs)
      assert.equal(verdict(dp, portOf(ports, slot), slot), REDIRECT, `mask ${slot}`);
  for (const [i, ref] of refs.entries())
    assert.equal(dp.stats(ref).packets, (before[i] ?? 0) + 3, `mask ${ref.slot}`);
}

test('as many masks as there can be, retired and replaced under warm hints', options, (t) => {
  sweep();
  const testbed = new Testbed();
  try {
    using dp = testbed.open({ secret: Array<bigint>(HASH_SECRET_WORDS).fill(0n) });
    const ports = makePorts(dp, MASKS_MAX / ENTRY_MASKS_MAX + 1);
    const count = Math.min(MASKS_MAX, fieldSets.length);
    assert.ok(count === MASKS_MAX, `${fieldSets.length} different masks`);
    const put = (slot: number, generation: number): FlowRef =>
      install(dp, portOf(ports, slot), slot, generation);
    let refs = Array.from({ length: count }, (_, slot) => put(slot, 1));
    dp.commit();
    check(dp, ports, refs);
    // One more mask has no room: its frames are handed up, and that is counted.
    const extra = put(count, 1);
    dp.commit();
    assert.equal(dp.refusals().masks, 1);
    assert.equal(verdict(dp, portOf(ports, count), count), SHOT);
    assert.equal(dp.counters().misses, 1);
    dp.remove([extra]);
    // Half of the masks retire; others take their places while hints still name those.
    const [gone, kept] = [refs.slice(0, count / 2), refs.slice(count / 2)];
    dp.remove(gone);
    for (const { slot } of gone)
      assert.equal(verdict(dp, portOf(ports, slot), slot), SHOT, `gone ${slot}`);
    refs = [...kept, ...gone.toReversed().map(({ slot }) => put(slot, 2))];
    dp.commit();
    check(dp, ports, refs);
    const run = testRun(dp.programs.port_in, frame(count - 1, 0), {
      ifindex: portOf(ports, count - 1),
      repeat: 100_000,
    });
    t.diagnostic(`last of ${count} masks, cached: ${run.nsPerRun} ns a frame`);
  } finally {
    testbed.close();
  }
});

test('an entry has its own masks and no more, and others do not pay for them', options, (t) => {
  sweep();
  const testbed = new Testbed();
  try {
    using dp = testbed.open();
    const [greedy, quiet] = makePorts(dp, 2) as [DpPort, DpPort];
    const miss = (port: DpPort): number =>
      Math.min(
        ...[1, 2, 3].map(() => {
          // More than the bucket holds: what a miss costs before it is paid for.
          const context = { ifindex: port, repeat: 20_000 };
          return testRun(dp.programs.port_in, frame(200, 0), context).nsPerRun;
        }),
      );
    const before = [miss(quiet), miss(greedy)];
    const refs = Array.from({ length: ENTRY_MASKS_MAX }, (_, i) => install(dp, greedy, i, 1));
    const surplus = install(dp, greedy, ENTRY_MASKS_MAX, 1);
    const other = install(dp, quiet, ENTRY_MASKS_MAX + 1, 1);
    dp.commit();
    assert.equal(dp.refusals().masks, 1);
    for (const { slot } of refs) assert.equal(verdict(dp, greedy, slot), REDIRECT);
    assert.equal(verdict(dp, greedy, surplus.slot), SHOT);
    assert.equal(verdict(dp, quiet, other.slot), REDIRECT);
    t.diagnostic(
      `a miss, in ns: without flows ${before.join(' and ')}; then ${miss(quiet)} where a port has ` +
        `one mask, ${miss(greedy)} where one has ${ENTRY_MASKS_MAX}`,
    );
    // A mask that retires gives its place to another one of the entry.
    dp.remove([refs[3]!, surplus]);
    const next = install(dp, greedy, ENTRY_MASKS_MAX + 2, 1);
    dp.commit();
    assert.equal(dp.refusals().masks, 1);
    assert.equal(verdict(dp, greedy, next.slot), REDIRECT);
    assert.equal(verdict(dp, greedy, 3), SHOT);
    // A port that is let go and taken over again still finds its flows.
    dp.removePort(greedy);
    dp.addPort(greedy);
    for (const { slot } of [refs[0]!, next]) assert.equal(verdict(dp, greedy, slot), REDIRECT);
  } finally {
    testbed.close();
  }
});

test('what an entry has is adopted, and what no flow of it has is forgotten', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    const opened = testbed.open();
    const [port] = makePorts(opened, 1) as [DpPort];
    const refs = Array.from({ length: ENTRY_MASKS_MAX }, (_, i) => install(opened, port, i, 1));
    opened.commit();
    // As good as gone: the next one finds it stale.
    opened.invalidate([refs[0]!]);
    opened[Symbol.dispose]();
    using dp = testbed.open();
    for (const { slot } of refs.slice(1)) assert.equal(verdict(dp, port, slot), REDIRECT);
    assert.equal(dp.dump().length, ENTRY_MASKS_MAX - 1);
    install(dp, port, ENTRY_MASKS_MAX, 1);
    dp.commit();
    assert.equal(dp.refusals().masks, 0);
    assert.equal(verdict(dp, port, ENTRY_MASKS_MAX), REDIRECT);
  } finally {
    testbed.close();
  }
});

test('a hint is where the hash says, so nobody finds keys that share one', options, () => {
  sweep();
  const testbed = new Testbed();
  try {
    const secret = Array.from({ length: HASH_SECRET_WORDS }, () =>
      randomBytes(8).readBigUInt64LE(),
    );
    using dp = testbed.open({ secret });
    const [port] = makePorts(dp, 1) as [DpPort];
    const fd = openPinned(join(versionDir(testbed.runDir), 'maps', 'hints'));
    assert.ok(fd !== undefined);
    const hints = new BpfMap(fd, 4, 8 * possibleCpus());
    for (let mask = 0; mask < ENTRY_MASKS_MAX; mask++) {
      install(dp, port, mask, 1);
      dp.commit();
      assert.equal(verdict(dp, port, mask), REDIRECT);
      const hash = hashKey(keyOf(port, mask), secret);
      hints.key.u32(0, hash >>> (32 - LIMITS.MASK_CACHE_BITS));
      assert.ok(hints.lookup());
      const cpus = Array.from({ length: possibleCpus() }, (_, i) =>
        hints.value.view.getUint32(8 * i, true),
      );
      assert.ok(cpus.includes(hash), `the hint of mask ${mask}`);
    }
    closeFd(fd);
  } finally {
    testbed.close();
  }
});
