/** The agent's limits, each with what happens when it is reached. */
export const LIMITS = {
  /** Upcalls decided before their flows are installed: a storm must not delay installation. */
  upcallsPerBatchMax: 256,
  /** A flow that carried nothing for so long is removed; its next frame is decided anew. */
  flowIdleMs: 60_000,
  /**
   * Every flow is decided anew after so long: the bound for whatever invalidation could have
   * missed.
   */
  flowAgeMs: 3_600_000,
  /** Slots looked at for expiry in one tick; a full turn over 256 k slots takes 32 ticks. */
  expirySlotsPerTick: 8_192,
  /** Flows of the entry that has the most, made stale at once when another finds no room. */
  evictedAtOnceMax: 256,
  /** How often the worker ticks: expiry, renewal, retries. */
  tickMs: 500,
  /** MACs one port may teach; further ones are flooded to, not learned. */
  learnedPerPortMax: 1_024,
  /** A MAC that sent nothing for so long is forgotten (IEEE 802.1Q §8.8.3: 300 s). */
  learnedAgeMs: 300_000,
  /** Own learned MACs are renewed at the API this often: well within their lease. */
  learnedRenewMs: 100_000,
  /** Learned MACs waiting to be published; further ones wait in the table for the next renewal. */
  learnedQueueMax: 16_384,
  /** Ports told to the API with one report; the others follow with the next. */
  locateTogetherMax: 64,
  /** How often the host's links are listed even when no event told of a change. */
  linksResyncMs: 5_000,
  /** How often what the datapath refused (an interface, a key, a sender) is tried again. */
  bindRetryMs: 5_000,
  /** First and longest pause before a failed request to the API is tried again. */
  retryFirstMs: 100,
  retryLongestMs: 5_000,
} as const;
