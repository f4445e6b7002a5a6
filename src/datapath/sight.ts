/**
 * Looking at frames where the datapath sees them: which, how much of them, and for how long; and
 * what was seen. The rule of which frames are shown, and of what that may take, is here for the
 * reference body; `ebpf/sight.h` keeps the same.
 *
 * Invariants: who looks changes nothing of what becomes of a frame; a look ends by itself at its
 * deadline, on the datapath's clock; and frames that were to be shown and were not are counted, as
 * `matched` less what was handed out.
 */
import type { DpPeer, DpPort, FlowRef, TunnelKey } from '#flow/flow.ts';
import { KEY_SIZE, LIMITS } from '#flow/layout.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { Upcall } from './datapath.ts';

/** Frames whose key, under the mask, is this one; KEY_SIZE bytes of `flow/layout.ts` each. */
export interface SightMatch {
  readonly key: Uint8Array;
  readonly mask: Uint8Array;
}

/** Which frames are shown to one who looks. */
export interface Sight {
  /** Only those that enter or leave by it. */
  readonly port?: DpPort | undefined;
  /** One or two: any of them. None: every frame. */
  readonly matches: readonly SightMatch[];
  /** Bytes of a frame at most: SNAP_BYTES_MIN to LIMITS.SIGHT_LARGE_BYTES. */
  readonly snapBytes: number;
  /** Frames in a second at most, and at once: 1 to RATE_MAX. */
  readonly perSecond: number;
  readonly burst: number;
  /** On the clock of `now()`; nothing is shown from then on, whether anybody ends it or not. */
  readonly untilMs: number;
}

/** Patterns that one look may have: a direction, and its answer. */
export const SIGHT_MATCHES_MAX = 2;
/** Frames a second that one look may ask for; more is refused. */
export const RATE_MAX = 100_000;
/** An Ethernet header. */
export const SNAP_BYTES_MIN = 14;

/** What became of a frame where it was seen. */
export type Fate =
  /** `to`: when there is one output, that. */
  | {
      readonly kind: 'sent';
      readonly outputs: number;
      readonly to?: { readonly port: DpPort } | { readonly peer: DpPeer; readonly key: TunnelKey };
    }
  | { readonly kind: 'dropped'; readonly reason: DropReason }
  | { readonly kind: 'up'; readonly reason: Upcall['reason'] };

/** A frame that was seen. Bytes are valid during the callback only. */
export interface Sighting {
  /** A bit for each look that it is shown to. */
  readonly sights: number;
  /** On the clock of `now()`. */
  readonly timeMs: number;
  /**
   * `port`, `tunnel`: it enters there. `inject`: the agent sends it on. `out`: it leaves by a port.
   */
  readonly where: 'port' | 'tunnel' | 'inject' | 'out';
  /** The port by which it enters or leaves. */
  readonly port: DpPort | undefined;
  /** With where it entered, but for `out`; all zero where the frame has no key. */
  readonly key: Uint8Array;
  readonly fate: Fate;
  /** The flow that serves it. */
  readonly ref: FlowRef | undefined;
  /** Bytes of the whole frame, its tag included. */
  readonly length: number;
  readonly gsoSize: number;
  /** The first bytes of it, a tag in place. */
  readonly frame: Uint8Array;
}

/** The looks at one datapath: LIMITS.SIGHTS_MAX of them, by number. */
export interface Sights {
  /** Begins one in the place of what had the number. Throws when a value is not possible. */
  look(id: number, sight: Sight): void;
  /** Sets another deadline. */
  prolong(id: number, untilMs: number): void;
  end(id: number): void;
  /** Frames that were to be shown since `look`. */
  matched(id: number): number;
  /** Hands out what was seen, in order, at most `max`; how many there were. */
  drain(take: (sighting: Sighting) => void, max: number): number;
  /** Milliseconds since 1970 UTC of a time on the clock of `now()`, as this host has it. */
  wallMs(atMs: number): number;
  /** A descriptor that polls readable when there is something; undefined for bodies without one. */
  readonly fd: number | undefined;
}

/** Throws with the field's name when a value is not possible. */
export function checkSight(id: number, sight: Sight): void {
  const check = (name: string, value: number, min: number, max: number): void => {
    if (!Number.isInteger(value) || value < min || value > max)
      throw new RangeError(`sight.${name} must be a whole number from ${min} to ${max}`);
  };
  check('id', id, 0, LIMITS.SIGHTS_MAX - 1);
  check('matches', sight.matches.length, 0, SIGHT_MATCHES_MAX);
  check('snapBytes', sight.snapBytes, SNAP_BYTES_MIN, LIMITS.SIGHT_LARGE_BYTES);
  check('perSecond', sight.perSecond, 1, RATE_MAX);
  check('burst', sight.burst, 1, RATE_MAX);
  for (const { key, mask } of sight.matches)
    if (key.length !== KEY_SIZE || mask.length !== KEY_SIZE)
      throw new RangeError(`sight.matches must have ${KEY_SIZE} bytes of key and mask`);
}

const agrees = ({ key: want, mask }: SightMatch, key: Uint8Array): boolean => {
  for (let i = 0; i < KEY_SIZE; i++) if ((key[i]! & mask[i]!) !== want[i]!) return false;
  return true;
};

/**
 * Whether a look is at a frame of this key, its deadline aside. `port`: by which it enters or
 * leaves.
 */
export const isLookedAt = (sight: Sight, key: Uint8Array, port: DpPort | undefined): boolean =>
  (sight.port === undefined || sight.port === port) &&
  (sight.matches.length === 0 || sight.matches.some((match) => agrees(match, key)));
