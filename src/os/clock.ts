/**
 * The two clocks. Durations and deadlines use the first; only what people or other hosts read uses
 * the second.
 */
import { Memory, must, SYS, syscallHolding } from './libc.ts';

/** Milliseconds since an arbitrary start, never backwards; the kernel's CLOCK_MONOTONIC. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

/** Milliseconds since 1970 UTC; may jump. */
export const wallMs = (): number => Date.now();

const CLOCK_REALTIME = 0;
const CLOCK_MONOTONIC = 1;
const NS_PER_S = 1_000_000_000n;
const NS_PER_MS = 1e6;
/** The one between whose two readings least time passed is the best. */
const SAMPLES = 3;

/**
 * How far the wall clock is ahead of the monotonic one, in milliseconds with their fraction: the
 * same for every process of a machine, so that their times compare. Jumps when the clock is set.
 */
export function wallAheadMs(): number {
  const time = new Memory(16);
  const read = (clock: number): bigint => {
    const result = syscallHolding([time], SYS.clockGettime, clock, time.address);
    must(result, 'read a clock');
    return time.view.getBigInt64(0, true) * NS_PER_S + time.view.getBigInt64(8, true);
  };
  let [best, least] = [0n, 2n ** 63n];
  for (let i = 0; i < SAMPLES; i++) {
    const before = read(CLOCK_MONOTONIC);
    const wall = read(CLOCK_REALTIME);
    const gap = read(CLOCK_MONOTONIC) - before;
    if (gap < least) [best, least] = [wall - before - gap / 2n, gap];
  }
  return Number(best) / NS_PER_MS;
}
