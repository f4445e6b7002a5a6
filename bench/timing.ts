/** What a call takes here: CPU time of one thread, once the compiler has done its work. */
import { setTimeout as sleep } from 'node:timers/promises';

const SAMPLE_MS = 100;
/** The compiler has done what it will when a sample is not that much quicker than the last. */
const STILL_WARMING = 0.9;
const WARM_SAMPLES_MAX = 20;
/** For the compiler's own thread, which has to get a CPU too. */
const BREATH_MS = 50;
const WARM_SAMPLES_MIN = 8;
/** Calls between two looks at the clock. */
const BATCH = 200;

/** Keeps a result from being optimised away. */
let sink: unknown;

/** Microseconds of one call, over so many milliseconds. */
function timeOf(call: () => unknown, ms: number): number {
  const start = performance.now();
  for (let n = 0; ;) {
    for (let i = 0; i < BATCH; i++) sink = call();
    n += BATCH;
    const tookMs = performance.now() - start;
    if (tookMs >= ms) return (tookMs * 1000) / n;
  }
}

async function warm(call: () => unknown): Promise<void> {
  let last = Infinity;
  for (let i = 0; i < WARM_SAMPLES_MAX; i++) {
    const now = timeOf(call, SAMPLE_MS);
    if (now > last * STILL_WARMING && i >= WARM_SAMPLES_MIN) return;
    last = now;
    await sleep(BREATH_MS);
  }
}

/** Microseconds of one call, so many times, once it is as quick as it gets. */
export async function sampled(call: () => unknown, runs: number): Promise<number[]> {
  await warm(call);
  const samples = Array.from({ length: runs }, () => timeOf(call, SAMPLE_MS));
  // That it is read is what keeps results.
  void sink;
  return samples;
}
