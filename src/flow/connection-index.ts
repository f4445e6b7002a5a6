/**
 * The index of records by either of their keys: a hash table in flat arrays.
 *
 * Invariant: both keys of a record come and go together. The hash has a number nobody outside
 * knows, so packets cannot be made to collide in it.
 */
import { NONE } from './column.ts';
import { KEY_WORDS, type ConnectionRecords, type Side } from './connection-records.ts';

const SIDES = [0, 1] as const;

export class ConnectionIndex {
  readonly #records: ConnectionRecords;
  readonly #seed: number;
  readonly #heads: Int32Array;
  /** By slot and side: the next in its bucket. */
  readonly #next: Int32Array;

  constructor(records: ConnectionRecords, seed: number) {
    const { slots } = records;
    this.#records = records;
    this.#seed = seed | 1;
    this.#heads = new Int32Array(2 ** Math.ceil(Math.log2(slots * 2))).fill(NONE);
    this.#next = new Int32Array(slots * 2).fill(NONE);
  }

  add(slot: number): void {
    for (const side of SIDES) {
      this.#records.load(slot, side);
      const bucket = this.#bucket();
      this.#next[slot * 2 + side] = this.#heads[bucket]!;
      this.#heads[bucket] = slot * 2 + side;
    }
  }
  remove(slot: number): void {
    for (const side of SIDES) {
      this.#records.load(slot, side);
      this.#unlink(this.#bucket(), slot * 2 + side);
    }
  }
  /** The entry (slot and side) of the key that was encoded; NONE: there is none. */
  search(): number {
    for (let at = this.#heads[this.#bucket()]!; at !== NONE; at = this.#next[at]!)
      if (this.#records.has(at >> 1, (at & 1) as Side)) return at;
    return NONE;
  }

  #unlink(bucket: number, entry: number): void {
    let at = this.#heads[bucket]!;
    if (at === entry) {
      this.#heads[bucket] = this.#next[entry]!;
      return;
    }
    while (at !== NONE) {
      const next = this.#next[at]!;
      if (next === entry) {
        this.#next[at] = this.#next[entry]!;
        return;
      }
      at = next;
    }
  }
  #bucket(): number {
    const { key } = this.#records;
    let h = this.#seed;
    for (let i = 0; i < KEY_WORDS; i++) {
      h = Math.imul(h ^ key[i]!, 0x9e3779b1);
      h ^= h >>> 15;
    }
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return ((h ^ (h >>> 16)) >>> 0) & (this.#heads.length - 1);
  }
}
