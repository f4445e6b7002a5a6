/**
 * Consumer of a BPF ring buffer (linux/bpf.h, kernel/bpf/ringbuf.c): records are read where the
 * kernel wrote them. Invariants: records are handed out in order, once; the consumer's position
 * moves past a record before its callback runs, so a callback that throws cannot be served the same
 * record for ever.
 *
 * Layout: one page with the consumer's position (ours to write); then one page with the producer's
 * and the data, mapped twice in a row so that no record is cut, all read-only. A write there ends
 * the process.
 */
import { mapShared, PAGE_SIZE } from './libc.ts';
import type { Mapping } from './libc.ts';

const BUSY = 0x8000_0000;
const DISCARDED = 0x4000_0000;
const LENGTH = 0x3fff_ffff;
const HEADER = 8;
const TWO_32 = 0x1_0000_0000;

export class Ring {
  /** The data; record offsets point into it. Read only. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly #size: number;
  readonly #words: Int32Array;
  readonly #consumer: BigUint64Array;
  readonly #producer: Int32Array;
  readonly #mappings: readonly Mapping[];
  #position: number;

  constructor(fd: number, size: number) {
    this.#size = size;
    const consumer = mapShared(fd, PAGE_SIZE, { writable: true });
    const data = mapShared(fd, PAGE_SIZE + 2 * size, { offset: PAGE_SIZE, writable: false });
    this.#mappings = [consumer, data];
    this.#consumer = new BigUint64Array(consumer.buffer, 0, 1);
    this.#producer = new Int32Array(data.buffer, 0, 2);
    this.bytes = new Uint8Array(data.buffer, PAGE_SIZE);
    this.view = new DataView(data.buffer, PAGE_SIZE);
    this.#words = new Int32Array(data.buffer, PAGE_SIZE);
    this.#position = Number(Atomics.load(this.#consumer, 0));
  }

  /**
   * Hands out at most `max` waiting records as (offset, length) into `bytes`; how many there were.
   */
  drain(take: (at: number, length: number) => void, max: number): number {
    let taken = 0;
    let position = this.#position;
    try {
      while (taken < max) {
        // The low word suffices: there are never 2^32 bytes between the two positions.
        if (Atomics.load(this.#producer, 0) >>> 0 === position % TWO_32) break;
        const at = position % this.#size;
        const head = Atomics.load(this.#words, at >> 2) >>> 0;
        if (head >= BUSY) break;
        const length = head & LENGTH;
        position += (length + HEADER + 7) & ~7;
        if ((head & DISCARDED) !== 0) continue;
        taken++;
        take(at + HEADER, length);
      }
    } finally {
      if (position !== this.#position) {
        this.#position = position;
        Atomics.store(this.#consumer, 0, BigInt(position));
      }
    }
    return taken;
  }

  close(): void {
    for (const mapping of this.#mappings) mapping.unmap();
  }
}
