/**
 * Who looks at frames of this host: numbers of the datapath's looks, given out and renewed, and
 * what each has been shown.
 *
 * Invariants: a look lasts LIMITS.lookLeaseMs in the kernel unless it is renewed, so nothing goes
 * on being looked at when this process ends; of what was shown no more than LIMITS.looksWaitingMax
 * wait for a reader, and further ones count as lost.
 */
import type { Datapath } from '#datapath/datapath.ts';
import type { Sight, Sighting } from '#datapath/sight.ts';
import { LIMITS as DATAPATH } from '#flow/layout.ts';
import { LIMITS } from './limits.ts';

/** Read from the datapath in one go. */
const READ_MAX = 64;

export class Look<Part> {
  readonly #looks: Looks;
  readonly id: number;
  readonly snapBytes: number;
  /** What is made of a frame at once, for its bytes are not kept. */
  readonly make: (sighting: Sighting) => Part;
  waiting: Part[] = [];
  taken = 0;
  renewedMs: number;

  constructor(looks: Looks, id: number, nowMs: number, how: How<Part>) {
    this.#looks = looks;
    this.id = id;
    this.snapBytes = how.snapBytes;
    this.make = how.make;
    this.renewedMs = nowMs;
  }

  /** What was shown and not taken yet, at most so much. */
  take(most: number): Part[] {
    const parts = this.waiting.splice(0, most);
    this.taken += parts.length;
    return parts;
  }
  /** Frames that were to be shown, and those of them that are not and will not be. */
  counts(): { readonly matched: number; readonly lost: number } {
    const matched = this.#looks.matched(this.id);
    return { matched, lost: Math.max(0, matched - this.taken - this.waiting.length) };
  }
  end(): void {
    this.#looks.end(this.id);
  }
}
interface How<Part> extends Pick<Sight, 'port' | 'matches' | 'snapBytes'> {
  readonly make: (sighting: Sighting) => Part;
}

export class Looks {
  readonly #datapath: Datapath;
  readonly #looks = new Map<number, Look<unknown>>();

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
  }

  /** Throws when there are as many as there may be. */
  begin<Part>({ port, matches, snapBytes, make }: How<Part>): Look<Part> {
    let id = 0;
    while (this.#looks.has(id)) id++;
    if (id === DATAPATH.SIGHTS_MAX)
      throw new Error(`${id} captures run on this host already, and there may be no more`);
    const now = this.#datapath.now();
    const untilMs = now + LIMITS.lookLeaseMs;
    const { lookFramesPerSecond: perSecond, lookFramesBurst: burst } = LIMITS;
    this.#datapath.sights.look(id, { port, matches, snapBytes, perSecond, burst, untilMs });
    const look = new Look(this, id, now, { port, matches, snapBytes, make });
    this.#looks.set(id, look as Look<unknown>);
    return look;
  }

  end(id: number): void {
    this.#datapath.sights.end(id);
    this.#looks.delete(id);
  }
  matched(id: number): number {
    return this.#datapath.sights.matched(id);
  }

  /** Hands out some of what was shown, and renews what is due; whether there may be more. */
  poll(): boolean {
    const now = this.#datapath.now();
    for (const look of this.#looks.values())
      if (now - look.renewedMs >= LIMITS.lookLeaseMs / 3) {
        look.renewedMs = now;
        this.#datapath.sights.prolong(look.id, now + LIMITS.lookLeaseMs);
      }
    return this.#datapath.sights.drain(this.#show, READ_MAX) === READ_MAX;
  }

  readonly #show = (sighting: Sighting): void => {
    for (const look of this.#looks.values()) {
      if ((sighting.sights & (1 << look.id)) === 0) continue;
      if (look.waiting.length < LIMITS.looksWaitingMax) look.waiting.push(look.make(sighting));
    }
  };
}
