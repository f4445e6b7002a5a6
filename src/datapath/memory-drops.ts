/** What the reference datapath dropped: of the whole host, and of each entry. */
import type { DpPeer, DpPort, Entry } from '#flow/flow.ts';
import type { DropReason } from '#virtual/drop.ts';
import { payerOf } from './budget.ts';
import type { Datapath, DropCounts } from './datapath.ts';

type Counts = { [R in DropReason]?: number };
interface Own {
  readonly port: DpPort | undefined;
  readonly source: DpPeer | undefined;
  readonly drops: Counts;
  readonly agentDrops: Counts;
}
const NOBODY = -1;

function add(counts: Counts, reason: DropReason, frames: number): void {
  counts[reason] = (counts[reason] ?? 0) + frames;
}

export class MemoryDrops {
  readonly #all: Counts = {};
  readonly #entries = new Map<number, Own>();

  #of(entry: Entry | undefined): Own {
    const payer = entry === undefined ? NOBODY : payerOf(entry);
    return this.#entries.getOrInsertComputed(payer, () => ({
      port: entry?.port,
      source: entry?.tunnel?.source,
      drops: {},
      agentDrops: {},
    }));
  }

  /** By the datapath itself. */
  count(reason: DropReason, entry?: Entry): void {
    add(this.#all, reason, 1);
    if (entry !== undefined) add(this.#of(entry).drops, reason, 1);
  }
  /** By the agent, which counts what it tells of the host itself. */
  told(reason: DropReason, entry: Entry | undefined, frames: number): void {
    add(this.#of(entry).agentDrops, reason, frames);
  }
  /** The entry is not there any more. */
  forget(entry: Entry): void {
    this.#entries.delete(payerOf(entry));
  }

  all(): DropCounts {
    return { ...this.#all };
  }
  list(): ReturnType<Datapath['entryDrops']> {
    return [...this.#entries.values()].map((own) => ({
      ...own,
      drops: { ...own.drops },
      agentDrops: { ...own.agentDrops },
    })) as ReturnType<Datapath['entryDrops']>;
  }
}
