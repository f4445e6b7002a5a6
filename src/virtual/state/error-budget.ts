/**
 * How many ICMP errors frames of a port may still bring about: a bucket of ERRORS_BURST, filled by
 * ERRORS_PER_TICK at each tick (RFC 1812 §4.3.2.8, RFC 4443 §2.4 f).
 *
 * Invariant: an answer of `mayTell` changes only where a tag of it is answered; a port whose bucket
 * is full takes no memory.
 */
import type { PortId } from '../ids.ts';
import { errorsTag, type Tag } from '../tags.ts';
import type { ErrorBudgetView } from '../view.ts';

export const ERRORS_BURST = 64;
export const ERRORS_PER_TICK = 32;

export class ErrorBudget implements ErrorBudgetView {
  readonly #left = new Map<PortId, number>();
  #spent = 0;

  mayTell(port: PortId): boolean {
    return (this.#left.get(port) ?? ERRORS_BURST) > 0;
  }
  /** Errors told. */
  get spent(): number {
    return this.#spent;
  }

  /** One error is told. */
  charge(port: PortId): Tag[] {
    const left = (this.#left.get(port) ?? ERRORS_BURST) - 1;
    if (left < 0) return [];
    this.#spent++;
    this.#left.set(port, left);
    return left === 0 ? [errorsTag(port)] : [];
  }

  tick(): Tag[] {
    const tags: Tag[] = [];
    for (const [port, left] of this.#left) {
      if (left === 0) tags.push(errorsTag(port));
      if (left + ERRORS_PER_TICK >= ERRORS_BURST) this.#left.delete(port);
      else this.#left.set(port, left + ERRORS_PER_TICK);
    }
    return tags;
  }
}
