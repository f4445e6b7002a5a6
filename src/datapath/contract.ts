/**
 * The contract suite: what every body of `Datapath` must do, run against each (`memory.test.ts`,
 * and in network namespaces against the kernel).
 */
import { test } from 'node:test';
import type { UpcallBudget } from './budget.ts';
import { AMPLE_BUDGET } from './contract/bench.ts';
import type { Bench } from './contract/bench.ts';
import { BUDGET, SHARES, STORM_BUDGET } from './contract/budget.ts';
import { FORWARDING } from './contract/forwarding.ts';
import { LIFECYCLE } from './contract/lifecycle.ts';
import { PEERS } from './contract/peers.ts';
import { Rig, type Case } from './contract/rig.ts';
import { REWRITING } from './contract/rewriting.ts';
import { ROUTING } from './contract/routing.ts';
import { SIGHT } from './contract/sight.ts';
import { TAGS } from './contract/tags.ts';

export type { Bench, Tunnelled } from './contract/bench.ts';

type Cases = Readonly<Record<string, Case>>;
const ALL: Cases = {
  ...FORWARDING,
  ...ROUTING,
  ...REWRITING,
  ...TAGS,
  ...PEERS,
  ...LIFECYCLE,
  ...SIGHT,
  ...SHARES,
  ...BUDGET,
};
/** The part that is about wires more than about flows. */
export const FORWARDING_ONLY: Cases = FORWARDING;

/** Runs the suite, or a part of it; `open` gives a fresh bench for every test. */
export function contract(
  name: string,
  open: (upcallBudget: UpcallBudget) => Promise<Bench>,
  cases = ALL,
): void {
  for (const [what, run] of Object.entries(cases))
    test(`${name}: ${what}`, async () => {
      const bench = await open(what in BUDGET ? STORM_BUDGET : AMPLE_BUDGET);
      try {
        await run(new Rig(bench));
      } finally {
        await bench.close();
      }
    });
}
