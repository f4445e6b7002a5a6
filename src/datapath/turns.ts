/**
 * Who is served next when more first packets come than are decided: entries take turns, one frame
 * each, so what a quiet port waits for is one frame of every noisy one, not all that they have
 * queued before it.
 *
 * While a batch takes all that there is, nothing is kept: frames are decided where the kernel wrote
 * them. When it does not, the datapath's queue is emptied into queues by entry, where each has its
 * part of the room (`Shares`); what is more is dropped and counted. What of an entry's frames is
 * urgent takes turns with what is not, so its storm of new flows does not keep its ARP waiting.
 * Invariant: frames of one entry keep their order, the urgent and the others each.
 */
import { classOf, isUrgent, payerOf, Shares } from './budget.ts';
import type { Datapath, Upcall } from './datapath.ts';

type Take = (upcall: Upcall) => void;

/** First in, first out. What was taken stays in the array until half of it was. */
class Queue {
  #items: Upcall[] = [];
  #first = 0;

  get length(): number {
    return this.#items.length - this.#first;
  }
  put(upcall: Upcall): void {
    this.#items.push(upcall);
  }
  take(): Upcall {
    const upcall = this.#items[this.#first++]!;
    if (this.#first * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#first);
      this.#first = 0;
    }
    return upcall;
  }
}

/** The frames of one entry. */
class Row {
  #next = new Queue();
  #other = new Queue();
  #nextIsUrgent = true;

  get length(): number {
    return this.#next.length + this.#other.length;
  }
  put(upcall: Upcall, urgent: boolean): void {
    (urgent === this.#nextIsUrgent ? this.#next : this.#other).put(upcall);
  }
  take(): Upcall {
    if (this.#next.length === 0) this.#swap();
    const upcall = this.#next.take();
    this.#swap();
    return upcall;
  }
  #swap(): void {
    [this.#next, this.#other] = [this.#other, this.#next];
    this.#nextIsUrgent = !this.#nextIsUrgent;
  }
}

/** Room for frames whose turn has not come. */
export interface TurnLimits {
  /** Read from the datapath at once. */
  readonly readMax: number;
  /** All of them, with FRAME_EXTRA_BYTES for each. */
  readonly bytesMax: number;
}
/** What a frame that waits takes beside its own bytes, about. */
const FRAME_EXTRA_BYTES = 256;

export class Turns {
  readonly #datapath: Datapath;
  readonly #limits: TurnLimits;
  readonly #shares: Shares;
  /** In the order of their turns. */
  readonly #rows = new Map<number, Row>();
  #behind = false;
  #waiting = 0;
  /** Frames that found their entry's part of the room full. */
  dropped = 0;

  constructor(datapath: Datapath, limits: TurnLimits) {
    this.#datapath = datapath;
    this.#limits = limits;
    this.#shares = new Shares(limits.bytesMax);
  }

  /** How many wait here; the datapath has to be asked even when it says that it has none. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Hands at most `max` frames to `take`, and answers how many. */
  serve(take: Take, max: number): number {
    if (!this.#behind) {
      const taken = this.#datapath.upcalls(take, max);
      this.#behind = taken === max;
      return taken;
    }
    this.#datapath.upcalls(this.#keep, this.#limits.readMax);
    let served = 0;
    while (served < max && this.#waiting > 0)
      for (const [payer, row] of this.#rows) {
        if (served === max) break;
        const upcall = row.take();
        // To the end of the line, behind whoever comes new.
        this.#rows.delete(payer);
        if (row.length > 0) this.#rows.set(payer, row);
        this.#waiting--;
        this.#shares.give(payer, roomOf(upcall));
        served++;
        take(upcall);
      }
    if (this.#waiting === 0) this.#behind = false;
    return served;
  }

  readonly #keep = (upcall: Upcall): void => {
    const payer = payerOf(upcall.entry);
    const urgent = isUrgent(classOf(upcall.key, upcall.reason));
    if (!this.#shares.take(payer, roomOf(upcall), urgent)) {
      this.dropped++;
      this.#datapath.dropped('upcall-share', upcall.entry);
      return;
    }
    const kept = { ...upcall, key: upcall.key.slice(), frame: upcall.frame.slice() };
    this.#rows.getOrInsertComputed(payer, () => new Row()).put(kept, urgent);
    this.#waiting++;
  };
}

const roomOf = ({ frame }: Upcall): number => frame.length + FRAME_EXTRA_BYTES;
