/** Public ports for walks that nothing comes of: traces, and what would be. */
import type { PublicPortsView } from '../view.ts';

const ALL = [{ first: 0, last: 65_535 }] as const;

/** As if whoever walks owned them all. */
export const ANY_PORTS: PublicPortsView = {
  owned: () => ALL,
  isTaken: () => false,
  isSpent: () => false,
  seed: 0,
  attempt: 0,
};
