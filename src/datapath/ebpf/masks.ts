/**
 * The masks that the kernel tries, at most MASKS_MAX, and of one entry's flows ENTRY_MASKS_MAX;
 * counted by the flows that use them.
 *
 * Invariants: an entry changes only while no flow uses it, so a stale hint can only miss; the
 * least recently retired entry is taken first, so a program that still reads an old mask has long
 * ended. When all are in use, or all that an entry may have, a flow with one more is not
 * installed: its frames go on being handed up, and `refused` counts.
 */
import { KEY, KEY_SIZE, LIMITS } from '#flow/layout.ts';
import { fieldsOfMask, maskBytes, matchedFields } from '#flow/mask.ts';
import type { FieldSet } from '#virtual/match.ts';
import type { Entries } from './entries.ts';
import type { Maps } from './maps.ts';

export class Masks {
  refused = 0;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #entries: Entries;
  readonly #users = new Int32Array(LIMITS.MASKS_MAX);
  readonly #byFields = new Map<FieldSet, number>();
  readonly #fields: FieldSet[] = [];
  readonly #free: number[] = [];

  constructor(maps: Maps, entries: Entries) {
    this.#entries = entries;
    this.#bytes = new Uint8Array(maps.memory.masks);
    this.#view = new DataView(maps.memory.masks);
    for (let i = 0; i < LIMITS.MASKS_MAX; i++) {
      const active = this.#view.getUint32(i * KEY_SIZE + KEY.mask_id, true) !== 0;
      if (!active) {
        this.#free.push(i);
        continue;
      }
      const fields = fieldsOfMask(this.#bytes.subarray(i * KEY_SIZE, (i + 1) * KEY_SIZE));
      this.#fields[i] = fields;
      this.#byFields.set(fields, i);
    }
  }

  /** Where this mask is, one user of this entry more; -1 when there is no room. */
  acquire(asked: FieldSet, entry: number): number {
    // Sets that compare the same bytes are one mask.
    const fields = matchedFields(asked);
    const known = this.#byFields.get(fields);
    const at = known ?? this.#free[0];
    if (at === undefined || !this.#entries.acquireMask(entry, at)) {
      this.refused++;
      return -1;
    }
    if (known === undefined) {
      this.#free.shift();
      this.#bytes.set(maskBytes(fields), at * KEY_SIZE);
      this.#view.setUint32(at * KEY_SIZE + KEY.mask_id, at + 1, true);
      this.#byFields.set(fields, at);
      this.#fields[at] = fields;
    }
    this.#users[at]!++;
    return at;
  }

  /** One user less, whose flow is out of the kernel's table. */
  release(at: number, entry: number): void {
    this.#entries.releaseMask(entry, at);
    if (--this.#users[at]! > 0) return;
    this.#retire(at);
  }

  /** Retires what adopted flows turned out not to use. */
  sweep(): void {
    this.#entries.sweepMasks();
    for (const at of this.#byFields.values()) if (this.#users[at] === 0) this.#retire(at);
  }

  #retire(at: number): void {
    this.#view.setUint32(at * KEY_SIZE + KEY.mask_id, 0, true);
    this.#byFields.delete(this.#fields[at]!);
    this.#free.push(at);
  }

  /** Undefined where there never was a mask. */
  fieldsAt(at: number): FieldSet | undefined {
    return this.#fields[at];
  }
}
