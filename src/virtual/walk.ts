/**
 * What a walk carries along: the packet, what is known, and what the walk has to say so far.
 * Only `simulate` makes one; the devices add to it.
 */
import type { Match } from './match.ts';
import type { Claim, Send, Step, Verdict } from './outcome.ts';
import type { DropReason } from './drop.ts';
import type { Tag } from './tags.ts';
import type { LearnedView, TopologyView } from './view.ts';

export interface Walk {
  readonly topology: TopologyView;
  readonly learned: LearnedView;
  readonly match: Match;
  readonly tags: Tag[];
  readonly claims: Claim[];
  readonly sends: Send[];
  readonly steps: Step[];
}

/** The walk ends here: the frame is dropped, and the last step says where and why. */
export function drop(walk: Walk, at: Step['at'], reason: DropReason): Verdict {
  walk.steps.push({ at, did: 'drop', detail: reason });
  return { kind: 'drop', reason };
}
