/** Waiting between tries, bounded and jittered; time and chance come from outside. */

export interface RetryOptions {
  /** 0 ≤ random() < 1. */
  readonly random?: () => number;
  /** Runs once after `delayMs`; answers a cancel. */
  readonly after?: (delayMs: number, run: () => void) => () => void;
  readonly delayMsMin?: number;
  readonly delayMsMax?: number;
  /** A stream on which nothing arrives for so long is taken for dead. */
  readonly idleMsMax?: number;
  /** A request that is not answered in this time has failed. */
  readonly requestMsMax?: number;
}
export type Retry = Required<RetryOptions>;

export const RETRY_DEFAULTS: Retry = {
  random: Math.random,
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs);
    return () => clearTimeout(timer);
  },
  delayMsMin: 100,
  delayMsMax: 5_000,
  idleMsMax: 10_000,
  requestMsMax: 30_000,
};

/**
 * Before try number `tries` (from 0): doubling, half of it by chance, so that many do not come at
 * once.
 */
export const delayMs = (retry: Retry, tries: number): number =>
  Math.min(retry.delayMsMin * 2 ** Math.min(tries, 30), retry.delayMsMax) *
  (0.5 + retry.random() / 2);

/** Resolves after the time or when the signal aborts. */
export async function pause(retry: Retry, ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      cancel();
      signal.removeEventListener('abort', done);
      resolve();
    };
    const cancel = retry.after(ms, done);
    signal.addEventListener('abort', done);
  });
}
