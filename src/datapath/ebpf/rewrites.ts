/**
 * What single outputs rewrite in their own copy: a slot of the action array each, behind the
 * scratch slots. A member of a group names its slot by the mark with which the program sends the
 * copy through the private veth.
 *
 * Invariants: a slot is taken from when its group is made until that is given back, which is a
 * grace time after its last flow went; each tenant has a generation of its own, so a copy that
 * comes later still finds the slot stale. Behaviour when full: the group is refused, and counted.
 */
import type { Output, Rewrites } from '#flow/flow.ts';
import { LIMITS, MARK_SLOT_BITS } from '#flow/layout.ts';
import { ActionSlots } from './action-slots.ts';
import type { Maps } from './maps.ts';

const NOTHING = {
  inPort: 0,
  inKey: 0,
  decTtl: 0,
  mtu: 0,
  connection: 0,
  vlan: 0,
  dropCode: 0,
  group: 0,
};
const slotOf = (mark: number): number => (mark & (2 ** MARK_SLOT_BITS - 1)) - 1;

/** The mark of a frame that is sent as a slot says (`inject` in datapath.bpf.c). */
export const markOf = (slot: number, generation: number): number =>
  ((generation << MARK_SLOT_BITS) | (slot + 1)) >>> 0;

export class RewriteSlots {
  /** Outputs for which there was no slot. */
  refused = 0;
  readonly #slots: ActionSlots;
  readonly #free: number[] = [];

  constructor(maps: Pick<Maps, 'memory' | 'slots'>) {
    this.#slots = new ActionSlots(maps);
    const first = maps.slots + LIMITS.SCRATCH_SLOTS;
    for (let i = LIMITS.REWRITE_SLOTS - 1; i >= 0; i--) this.#free.push(first + i);
  }

  /** The mark for an output with `rewrite`; undefined when there is no slot. */
  acquire(output: Output, what: Rewrites): number | undefined {
    const slot = this.#free.pop();
    if (slot === undefined) {
      this.refused++;
      return undefined;
    }
    const generation = (this.#slots.generation(slot) + 1) >>> 0;
    this.#slots.claim(slot, generation);
    this.#slots.putHead(slot, NOTHING);
    const flags = this.#slots.putOutput(slot, output) | this.#slots.putRewrites(slot, what);
    this.#slots.publish(slot, flags);
    return markOf(slot, generation);
  }

  release(mark: number): void {
    const slot = slotOf(mark);
    this.#slots.invalidate(slot);
    this.#free.push(slot);
  }

  /** Takes note of one found in the kernel. */
  adopt(mark: number): void {
    const at = this.#free.lastIndexOf(slotOf(mark));
    if (at < 0) throw new Error(`datapath: two outputs have slot ${slotOf(mark)} for their own`);
    this.#free.splice(at, 1);
  }

  read(mark: number): Rewrites {
    return this.#slots.rewrites(slotOf(mark));
  }
}
