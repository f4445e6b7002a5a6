/**
 * Whose the records are: by the port where a connection entered; of each port the half-open ones
 * and the others, each in the order in which they became that.
 *
 * Invariant: a record is of exactly one share, and every count is the number of its records.
 */
import { NONE } from './column.ts';

/** Slots in a row. */
interface Row {
  first: number;
  last: number;
}
interface Share {
  readonly name: string;
  live: number;
  halfOpen: number;
  /** Of those that were answered, and of those that were not. */
  readonly rows: readonly [answered: Row, halfOpen: Row];
}
const NOBODY = { live: 0, halfOpen: 0 } as const;

export class ConnectionShares {
  live = 0;
  halfOpen = 0;
  readonly #shares = new Map<string, Share>();
  readonly #byNumber: (Share | undefined)[] = [];
  /** By slot. */
  readonly #of: Int32Array;
  readonly #next: Int32Array;
  readonly #before: Int32Array;
  readonly #isHalfOpen: Uint8Array;
  readonly #numbers = new Map<string, number>();
  readonly #free: number[] = [];

  constructor(slots: number) {
    this.#of = new Int32Array(slots).fill(NONE);
    this.#next = new Int32Array(slots).fill(NONE);
    this.#before = new Int32Array(slots).fill(NONE);
    this.#isHalfOpen = new Uint8Array(slots);
  }

  of(name: string): { readonly live: number; readonly halfOpen: number } {
    return this.#shares.get(name) ?? NOBODY;
  }

  add(slot: number, name: string, halfOpen: boolean): void {
    const share = this.#shares.get(name) ?? this.#make(name);
    this.#of[slot] = this.#numbers.get(name)!;
    share.live += 1;
    this.live += 1;
    this.#isHalfOpen[slot] = 0;
    this.#append(share.rows[0], slot);
    this.setHalfOpen(slot, halfOpen);
  }
  #append(row: Row, slot: number): void {
    this.#before[slot] = row.last;
    this.#next[slot] = NONE;
    if (row.last === NONE) row.first = slot;
    else this.#next[row.last] = slot;
    row.last = slot;
  }
  #take(row: Row, slot: number): void {
    const [before, next] = [this.#before[slot]!, this.#next[slot]!];
    if (before === NONE) row.first = next;
    else this.#next[before] = next;
    if (next === NONE) row.last = before;
    else this.#before[next] = before;
  }
  #make(name: string): Share {
    const row = (): Row => ({ first: NONE, last: NONE });
    const share: Share = { name, live: 0, halfOpen: 0, rows: [row(), row()] };
    const number = this.#free.pop() ?? this.#byNumber.length;
    this.#byNumber[number] = share;
    this.#numbers.set(name, number);
    this.#shares.set(name, share);
    return share;
  }

  remove(slot: number): void {
    const number = this.#of[slot]!;
    const share = this.#byNumber[number];
    if (share === undefined) return;
    this.setHalfOpen(slot, false);
    this.#take(share.rows[0], slot);
    this.#of[slot] = NONE;
    share.live -= 1;
    this.live -= 1;
    if (share.live > 0) return;
    this.#shares.delete(share.name);
    this.#numbers.delete(share.name);
    this.#byNumber[number] = undefined;
    this.#free.push(number);
  }

  isHalfOpen(slot: number): boolean {
    return this.#isHalfOpen[slot] === 1;
  }
  setHalfOpen(slot: number, halfOpen: boolean): void {
    const share = this.#byNumber[this.#of[slot]!];
    if (share === undefined || this.isHalfOpen(slot) === halfOpen) return;
    this.#take(share.rows[halfOpen ? 0 : 1], slot);
    this.#append(share.rows[halfOpen ? 1 : 0], slot);
    this.#isHalfOpen[slot] = halfOpen ? 1 : 0;
    share.halfOpen += halfOpen ? 1 : -1;
    this.halfOpen += halfOpen ? 1 : -1;
  }

  /** Slots of a share, the oldest first; at most so many. */
  oldest(name: string, halfOpen: boolean, most: number): number[] {
    const slots: number[] = [];
    const row = this.#shares.get(name)?.rows[halfOpen ? 1 : 0];
    for (let at = row?.first ?? NONE; at !== NONE && slots.length < most; at = this.#next[at]!)
      slots.push(at);
    return slots;
  }

  /**
   * Who has to make room for one more record of a share: whoever has the most, where that is more
   * than an equal share for everybody, this one included; else the share itself.
   */
  crowd(name: string): string | undefined {
    let most: Share | undefined;
    for (const share of this.#shares.values())
      if (most === undefined || share.live > most.live) most = share;
    if (most === undefined) return undefined;
    const own = this.#shares.get(name);
    const equal = Math.floor(this.live / (this.#shares.size + (own === undefined ? 1 : 0)));
    if (own !== undefined && own.live >= equal && most.live <= Math.max(equal, own.live))
      return name;
    return most.live > equal ? most.name : own && name;
  }
  largest(): { readonly live: number; readonly halfOpen: number } {
    let [live, halfOpen] = [0, 0];
    for (const share of this.#shares.values()) {
      live = Math.max(live, share.live);
      halfOpen = Math.max(halfOpen, share.halfOpen);
    }
    return { live, halfOpen };
  }
}
