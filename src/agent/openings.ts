/**
 * Connections that first packets open: the record that there must be before such a packet leaves.
 *
 * Invariants: no record, no packet; what a record changed is stale before its flow is installed;
 * where another connection has the ends that a rule chose, others are chosen, a bounded number of
 * times, and nothing of the first choice is kept.
 */
import { opensTcp, tcpFlagsOf } from '#net/packet/tcp-flags.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { Outcome, WantedPorts } from '#virtual/outcome.ts';
import type { Tag } from '#virtual/tags.ts';
import { needsWord } from './asking.ts';
import type { Balancing } from './balancing.ts';
import type { Decider, Decision, Packet } from './decider.ts';
import { LIMITS } from './limits.ts';
import type { PublicPorts } from './public-ports.ts';
import type { Tracking } from './tracking.ts';

export interface OpeningsOptions {
  readonly decider: Decider;
  readonly tracking: Tracking;
  readonly publicPorts: PublicPorts;
  readonly balancing: Balancing;
  readonly invalidate: (tags: readonly Tag[]) => void;
}

/** The packet goes nowhere for now, and nothing of that is kept. */
const refusedFor = (decision: Decision, reason: DropReason): Decision => ({
  ...decision,
  outcome: { ...decision.outcome, cacheable: false },
  actions: { drop: reason, outputs: [] },
});

/** What was chosen is in the record: another choice for new connections is none for this one. */
function settled({ outcome, tags }: Decision): readonly Tag[] {
  const chosenBy = outcome.connection?.chosenBy ?? [];
  return chosenBy.length === 0 ? tags : tags.filter((tag) => !chosenBy.includes(tag));
}

export class Openings {
  readonly #options: OpeningsOptions;

  constructor(options: OpeningsOptions) {
    this.#options = options;
  }

  /**
   * With the record that there must be before the packet leaves, or the drop for want of one; or
   * the ports that are missing for one.
   */
  open(decision: Decision, packet: Packet): Decision | WantedPorts {
    const { outcome, actions } = decision;
    const [opening] = outcome.connection?.opens ?? [];
    if (opening === undefined || actions.drop !== undefined) return decision;
    // Who takes a connection opens none: its record would take the place of the true one.
    if (needsWord(outcome, packet.frame))
      return { ...decision, outcome: { ...outcome, cacheable: false } };
    const opened = this.#options.tracking.open(outcome, packet.ingress, opening);
    if (opened === undefined) return refusedFor(decision, 'connection-limit');
    if (opened === 'taken') return this.#withOtherEnds(decision, packet);
    this.#options.invalidate(opened.tags);
    if (opened.begins) this.#options.balancing.opened(outcome);
    return {
      ...decision,
      tags: settled(decision),
      actions: { ...actions, connection: opened.connection },
    };
  }

  /** A connection has the ends that were chosen: others are, a few times. */
  #withOtherEnds(decision: Decision, packet: Packet): Decision | WantedPorts {
    const { decider, publicPorts } = this.#options;
    if (publicPorts.attempt >= LIMITS.endsChosenMax) return refusedFor(decision, 'nat-exhausted');
    publicPorts.attempt += 1;
    try {
      const outcome = decider.walk(packet);
      if (outcome.verdict.kind === 'want-ports') return outcome.verdict;
      return outcome.verdict.kind === 'forward'
        ? this.open(decider.decision(outcome, packet.ingress, packet.key), packet)
        : refusedFor(decision, 'nat-exhausted');
    } finally {
      publicPorts.attempt -= 1;
    }
  }

  /** Whether the packet begins anew what has ended: then it is to be decided by that. */
  begins({ connection }: Outcome, { frame }: Packet): boolean {
    const found = connection?.found;
    if (found === undefined || !opensTcp(tcpFlagsOf(frame) ?? 0)) return false;
    return this.#options.tracking.reopen(found);
  }
}
