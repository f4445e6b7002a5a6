/**
 * Which slot owns a key in the kernel's flow table: a copy of its index, because asking costs a
 * system call. Open addressing with linear probing; deletion moves later entries back, so there are
 * no tombstones.
 */
import { randomInt } from 'node:crypto';
import { KEY_SIZE } from '#flow/layout.ts';

const WORDS = KEY_SIZE / 4;

export class KeyIndex {
  /** The keys by slot, as words; whoever installs writes them before `set`. */
  readonly words: Uint32Array;
  readonly #table: Int32Array;
  readonly #mask: number;
  /** Tenants choose keys: without it they could choose some that collide. */
  readonly #seed = randomInt(2 ** 32);

  constructor(slots: number) {
    this.words = new Uint32Array(slots * WORDS);
    const size = 2 ** Math.ceil(Math.log2(slots * 2 + 1));
    this.#table = new Int32Array(size).fill(-1);
    this.#mask = size - 1;
  }

  #hash(slot: number): number {
    const { words } = this;
    let hash = this.#seed;
    for (let i = slot * WORDS, end = i + WORDS; i < end; i++) {
      hash = Math.imul(hash ^ words[i]!, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash & this.#mask;
  }

  #equal(a: number, b: number): boolean {
    const { words } = this;
    for (let i = 0; i < WORDS; i++) if (words[a * WORDS + i] !== words[b * WORDS + i]) return false;
    return true;
  }

  /** Makes `slot` the owner of its key; answers who was before, or -1. */
  set(slot: number): number {
    const table = this.#table;
    for (let at = this.#hash(slot); ; at = (at + 1) & this.#mask) {
      const other = table[at]!;
      if (other >= 0 && !this.#equal(other, slot)) continue;
      table[at] = slot;
      return other;
    }
  }

  /** True when `slot` was the owner of its key; then nobody is. */
  delete(slot: number): boolean {
    const table = this.#table;
    let at = this.#hash(slot);
    while (table[at] !== slot) {
      if (table[at]! < 0) return false;
      at = (at + 1) & this.#mask;
    }
    for (let next = (at + 1) & this.#mask; table[next]! >= 0; next = (next + 1) & this.#mask) {
      const home = this.#hash(table[next]!);
      // Moves back only what its home allows: the gap must lie between home and here.
      if (((next - home) & this.#mask) < ((next - at) & this.#mask)) continue;
      table[at] = table[next]!;
      at = next;
    }
    table[at] = -1;
    return true;
  }
}
