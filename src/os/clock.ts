/**
 * The two clocks. Durations and deadlines use the first; only what people or other hosts read uses
 * the second.
 */

/** Milliseconds since an arbitrary start, never backwards; the kernel's CLOCK_MONOTONIC. */
export const monotonicMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

/** Milliseconds since 1970 UTC; may jump. */
export const wallMs = (): number => Date.now();
