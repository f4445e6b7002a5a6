/**
 * The contract suite: what every body of `Datapath` must do, run against each (`memory.test.ts`,
 * and in network namespaces against the kernel).
 */
import { test } from 'node:test';
import type { Bench } from './contract/bench.ts';
import { FORWARDING } from './contract/forwarding.ts';
import { LIFECYCLE } from './contract/lifecycle.ts';
import { Rig } from './contract/rig.ts';

export type { Bench, Tunnelled } from './contract/bench.ts';

/** Runs the suite; `open` gives a fresh bench for every test. */
export function contract(name: string, open: () => Promise<Bench>): void {
  for (const [what, run] of Object.entries({ ...FORWARDING, ...LIFECYCLE }))
    test(`${name}: ${what}`, async () => {
      const bench = await open();
      try {
        await run(new Rig(bench));
      } finally {
        await bench.close();
      }
    });
}
