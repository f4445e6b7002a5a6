/**
 * The networks that are compared, each a lab of its own on wires that the same code made: made
 * when a row asks for it, taken down when the next row does not need it.
 *
 * Invariant: whatever was started is found again by the lab's journal, so a bench that was killed
 * leaves nothing that the next one does not remove first.
 */
import { cleanLab } from '#lab/clean.ts';
import { labNames } from '#lab/journal.ts';
import { announce, type Lab } from '#lab/lab.ts';
import type { Journal } from '#lab/journal.ts';
import type { Recipe } from '#lab/recipe.ts';
import { makeBalanced, makeHaproxy, makeRandomDnat } from './sides/balance.ts';
import { makeEdge } from './sides/edge.ts';
import { makeFirewall, makeTracked } from './sides/firewall.ts';
import { makeMasqueraded, makeTranslated } from './sides/nat.ts';
import { makeBridge, makeKernel } from './sides/kernel.ts';
import { makeOurs, makePlain } from './sides/ours.ts';
import { makeOvn } from './sides/ovn.ts';
import { makeOvs, makeOvsKernel, makeOvsSetUps } from './sides/ovs.ts';
import {
  FIREWALL,
  NETWORK,
  ONE_HOST,
  ONE_HOST_PEER,
  PEER_NETWORK,
  ROUTED,
  ROUTED_PEER,
  SET_UPS,
  SET_UPS_PEER,
} from './sides/recipes.ts';

/** The lock, and the beginning of the name of every lab here. */
export const BENCH = 'bench';

interface Maker {
  readonly recipe: Recipe;
  make(journal: Journal): Promise<Lab>;
}

const SIDES = {
  ours: { recipe: NETWORK, make: makeOurs },
  firewall: { recipe: FIREWALL, make: makeFirewall },
  tracked: { recipe: ONE_HOST_PEER, make: makeTracked },
  setups: { recipe: SET_UPS, make: makePlain },
  translated: { recipe: ROUTED, make: makeTranslated },
  masqueraded: { recipe: ROUTED_PEER, make: makeMasqueraded },
  balanced: { recipe: ROUTED, make: makeBalanced },
  randomdnat: { recipe: ROUTED_PEER, make: makeRandomDnat },
  haproxy: { recipe: ROUTED_PEER, make: makeHaproxy },
  kernel: { recipe: PEER_NETWORK, make: makeKernel },
  ovs: { recipe: PEER_NETWORK, make: (journal) => makeOvs(journal, false) },
  ovsxdp: { recipe: PEER_NETWORK, make: (journal) => makeOvs(journal, true) },
  ovssetups: { recipe: SET_UPS_PEER, make: makeOvsSetUps },
  one: { recipe: ONE_HOST, make: makeEdge },
  onekernel: { recipe: ONE_HOST_PEER, make: makeBridge },
  oneovs: { recipe: ONE_HOST_PEER, make: makeOvsKernel },
  ovn: { recipe: PEER_NETWORK, make: (journal) => makeOvn(journal, false) },
  ovnxdp: { recipe: PEER_NETWORK, make: (journal) => makeOvn(journal, true) },
} as const satisfies Readonly<Record<string, Maker>>;
export type SideName = keyof typeof SIDES;

const labName = (side: SideName): string => `${BENCH}-${side}`;

/** Removes what killed runs left. Only with the lock of BENCH. */
export async function sweepStage(): Promise<void> {
  for (const name of labNames()) if (name.startsWith(`${BENCH}-`)) await cleanLab(name);
}

export class Stage implements AsyncDisposable {
  readonly #open = new Map<SideName, Lab>();
  readonly #tell: (what: string) => void;

  constructor(tell: (what: string) => void) {
    this.#tell = tell;
  }

  /** The side's lab, made when it is not there. */
  async side(name: SideName): Promise<Lab> {
    const there = this.#open.get(name);
    if (there !== undefined) return there;
    this.#tell(`making ${name}`);
    const { recipe, make } = SIDES[name];
    const lab = await make(announce(labName(name), recipe));
    this.#open.set(name, lab);
    return lab;
  }

  /** Takes down all that is not named. */
  async keep(names: readonly SideName[]): Promise<void> {
    for (const name of [...this.#open.keys()]) {
      if (names.includes(name)) continue;
      await cleanLab(labName(name));
      this.#open.delete(name);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await sweepStage();
    this.#open.clear();
  }
}
