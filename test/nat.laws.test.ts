/**
 * Laws of address translation over several hosts, whose agents tell each other over a network that
 * loses, doubles, delays and re-orders, restart, are cut off, are removed for good, and live
 * through jumps of time.
 *
 * 11 *one to one*: while a connection is alive, nobody else has its public end with its peer, and
 * it keeps that; whichever hosts choose. 12 *back to its origin*: what is sent to a public end
 * reaches the workload whose connection has it, or nobody. `nat.play.ts` says what is promised, and
 * when.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { fateAt, wires } from './connections.play.ts';
import { nothing, Play, scripts } from './nat.play.ts';
import type { Fate } from './world-records.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 400);

for (const isSound of [true, false]) {
  const how = isSound ? 'where no word is lost' : 'over a wire that loses';
  test(`laws 11 and 12: public ends are one to one, and lead back: ${how}`, () => {
    const tally = nothing();
    fc.assert(
      fc.property(wires, scripts, (wire, script) => {
        let sent = 0;
        const fate = (): Fate => (isSound ? 'now' : fateAt(wire, sent++));
        const play = new Play({ fate, isSound, tally });
        for (const op of script) play.perform(op);
      }),
      { seed, numRuns },
    );
    const told = JSON.stringify(tally);
    assert.ok(tally.opened > numRuns * 2 && tally.kept > numRuns / 4, told);
    assert.ok(tally.answered > numRuns && tally.refused > numRuns / 10, told);
  });
}
