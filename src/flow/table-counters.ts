/** What the flow table counts: how full it is, and every refusal with its limit. */

export interface TableCounters {
  /** Flows in use, adopted ones included. */
  readonly live: number;
  /** Of these: adopted ones that were not reconciled yet. */
  readonly adopted: number;
  /** Flows that the datapath has still to remove. */
  readonly stale: number;
  readonly masks: number;
  readonly tags: number;
  readonly refusedFull: number;
  readonly refusedTags: number;
  /** Refused because their entry had its quota, of flows or of tags. */
  readonly refusedQuota: number;
  /** Flows that went to make room for those of another entry. */
  readonly evicted: number;
  /** Flows that went to make room for others of their own entry. */
  readonly evictedOwn: number;
  /** Flows that match every field, because masks were used up: of all, or of their entry. */
  readonly widened: number;
  readonly widenedOwn: number;
  readonly invalidated: number;
  readonly expiredIdle: number;
  readonly expiredAge: number;
}

/** What is counted as it happens; the rest is looked up. */
export const noCounts = () => ({
  live: 0,
  adopted: 0,
  stale: 0,
  refusedFull: 0,
  refusedTags: 0,
  refusedQuota: 0,
  evicted: 0,
  evictedOwn: 0,
  widened: 0,
  widenedOwn: 0,
  invalidated: 0,
  expiredIdle: 0,
  expiredAge: 0,
});
