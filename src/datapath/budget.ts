/**
 * How much may be handed up: every entry (a port; of the tunnel, a sending host) pays for each
 * frame from a token bucket of its own, so that no port takes the first packets of another.
 *
 * The kernel program keeps the same rule (`pays` in ebpf/punt.h). A bucket is one number, the
 * time at which it is full again: taking a token moves it on by `tokenNs`, and it is empty when it
 * is `fullNs` away.
 */
import type { DpPort, Entry } from '#flow/flow.ts';
import { LIMITS } from '#flow/layout.ts';
import type { Ip4 } from '#net/ip.ts';

/** A token bucket. One token hands up one frame, UPCALL_LARGE_COST of them a super-packet. */
export interface Bucket {
  /** Tokens that come in a second: a whole number from 1 to 1,000,000. */
  readonly perSecond: number;
  /** Tokens of a full one: a whole number from UPCALL_LARGE_COST to 1,000,000. */
  readonly burst: number;
}

/** Of each port; a tunnel source has BUDGET_SOURCE_FACTOR times as much. */
export interface UpcallBudget {
  /** Frames to one station. */
  readonly frames: Bucket;
  /** Broadcast and multicast frames: these pay here, and only here. */
  readonly groups: Bucket;
}

/**
 * What one port may take of an agent that decides about 50,000 first packets a second (a tenth: ten
 * ports have to be noisy at once before others wait), and of a ring of 8 MiB. A token stands for at
 * most 1,752 bytes there (the ring's own head, ours, the key, 1,640 bytes of frame; a large one of
 * 65,752 bytes costs 38). So the bursts of a port, 1,256 tokens, fill 26 % of the ring, those of a
 * tunnel source 52 %; and when the agent does not get to read for half a second, a port fills no
 * more than 84 % ((1,256 + 5,500 / 2) × 1,752 bytes), 13 % with frames of up to 152 bytes.
 *
 * A tunnel source has twice that: were it no more than a port has, one noisy port over there,
 * itself held to a port's rate, would take each token as it comes, and no flood of another port
 * would be heard here.
 */
export const UPCALL_BUDGET: UpcallBudget = {
  frames: { perSecond: 5_000, burst: 1_000 },
  groups: { perSecond: 500, burst: 256 },
};

const NS_PER_S = 1e9;
const PER_SECOND_MAX = 1e6;
const BURST_MAX = 1e6;

/** Nanoseconds until there is a token more. */
export const tokenNs = ({ perSecond }: Bucket): number => Math.floor(NS_PER_S / perSecond);
/** Nanoseconds until an empty bucket is full. */
export const fullNs = (bucket: Bucket): number => tokenNs(bucket) * bucket.burst;

/** Throws with the field's name when a number is not possible. */
export function checkBudget(budget: UpcallBudget): void {
  const check = (name: string, value: number, min: number, max: number): void => {
    if (!Number.isInteger(value) || value < min || value > max)
      throw new RangeError(`upcallBudget.${name} must be a whole number from ${min} to ${max}`);
  };
  for (const which of ['frames', 'groups'] as const) {
    check(`${which}.perSecond`, budget[which].perSecond, 1, PER_SECOND_MAX);
    check(`${which}.burst`, budget[which].burst, LIMITS.UPCALL_LARGE_COST, BURST_MAX);
  }
}

/** When each bucket of an entry is full again. */
type Buckets = { frames: number; groups: number };

/** What an entry pays for. */
export interface Payment {
  readonly entry: Entry;
  /** Whether the frame is for a group address. */
  readonly group: boolean;
  /** Bytes of the frame, its tag included. */
  readonly bytes: number;
}

/** The buckets of a datapath without a kernel. */
export class Budgets {
  readonly #budget: UpcallBudget;
  readonly #ports = new Map<DpPort, Buckets>();
  readonly #sources = new Map<Ip4, Buckets>();

  constructor(budget: UpcallBudget) {
    checkBudget(budget);
    this.#budget = budget;
  }

  /** Takes the tokens for handing a frame up; false when there are not so many. */
  pays({ entry, group, bytes }: Payment, nowNs: number): boolean {
    const which = group ? 'groups' : 'frames';
    const bucket = this.#budget[which];
    const buckets = this.#bucketsOf(entry);
    let cost = tokenNs(bucket);
    if (entry.tunnel !== undefined) cost = Math.floor(cost / LIMITS.BUDGET_SOURCE_FACTOR);
    if (bytes > LIMITS.UPCALL_MIDDLE_BYTES) cost *= LIMITS.UPCALL_LARGE_COST;
    const after = Math.max(buckets[which], nowNs) + cost;
    if (after > nowNs + fullNs(bucket)) return false;
    buckets[which] = after;
    return true;
  }

  #bucketsOf({ port, tunnel }: Entry): Buckets {
    const found = tunnel === undefined ? this.#ports.get(port) : this.#sources.get(tunnel.source);
    if (found !== undefined) return found;
    const full = { frames: 0, groups: 0 };
    if (tunnel === undefined) this.#ports.set(port, full);
    else this.#sources.set(tunnel.source, full);
    return full;
  }

  forgetPort(port: DpPort): void {
    this.#ports.delete(port);
  }
  forgetSource(source: Ip4): void {
    this.#sources.delete(source);
  }
}
