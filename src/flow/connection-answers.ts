/** What the table of connections answers to whoever changes it. */
import type { ConnectionKey, ConnectionRef } from '#virtual/connection.ts';

/** The record of a packet, as it is by now. */
export interface Committed {
  readonly ref: ConnectionRef;
  /** The record was made, or has other keys now: whoever may see answers is to be told. */
  readonly fresh: boolean;
  /** Keys of which something changed that a flow may hold; those of evicted records too. */
  readonly changed: readonly ConnectionKey[];
}
/** What looking at records has found. */
export interface Swept {
  /** Keys of records that ended. */
  readonly ended: readonly ConnectionKey[];
  readonly refs: readonly ConnectionRef[];
  /** Records of which this host knows more than it has told: a half that went on, or ended. */
  readonly told: readonly ConnectionRef[];
}

export interface ConnectionCounters {
  readonly live: number;
  readonly halfOpen: number;
  readonly opened: number;
  readonly expired: number;
  /** To make room: of a full table, of a port at its limit, of its half-open ones. */
  readonly evictedFull: number;
  readonly evictedShare: number;
  readonly evictedHalfOpen: number;
  /** Another record was to have one of its keys. */
  readonly replaced: number;
}
