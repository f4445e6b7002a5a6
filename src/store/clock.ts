/**
 * Time as an argument, and the time in which this process really served.
 *
 * Invariant: time in which the process stood still (stopped, swapped out, its loop blocked) never
 * counts against a lease, because the ones who should have renewed it could not be heard.
 */

/** Milliseconds from any origin that never run backwards, and timers on the same time. */
export interface Clock {
  now(): number;
  /**
   * Runs `run` once after `delayMs`; answers a cancel. Absent: a timer of the operating system's
   * clock.
   */
  after?(delayMs: number, run: () => void): () => void;
  /** The time of day, for people only: milliseconds since 1970. Absent: `now()`. */
  wall?(): number;
}

export const TICK_MS = 500;
/** A pause between two looks at the clock counts for so much at most. */
export const GAP_COUNTED_MAX_MS = 1_000;

export const systemClock: Clock = { now: () => performance.now(), wall: Date.now };

/** A timer on `clock` that does not keep the process alive. Answers a cancel. */
export function after(clock: Clock, delayMs: number, run: () => void): () => void {
  if (clock.after !== undefined) return clock.after(delayMs, run);
  const timer = setTimeout(run, delayMs);
  timer.unref();
  return () => clearTimeout(timer);
}

/** Milliseconds served since it was made. Calls `onTick` about every TICK_MS until stopped. */
export class ServingTime {
  #servedMs = 0;
  #lastMs: number;
  #cancel: () => void = () => {};
  readonly #clock: Clock;

  constructor(clock: Clock, onTick: () => void = () => {}) {
    this.#clock = clock;
    this.#lastMs = clock.now();
    const tick = (): void => {
      this.now();
      onTick();
      this.#cancel = after(clock, TICK_MS, tick);
    };
    this.#cancel = after(clock, TICK_MS, tick);
  }

  now(): number {
    const nowMs = this.#clock.now();
    this.#servedMs += Math.min(Math.max(nowMs - this.#lastMs, 0), GAP_COUNTED_MAX_MS);
    this.#lastMs = nowMs;
    return this.#servedMs;
  }

  stop(): void {
    this.#cancel();
  }
}
