/**
 * How much may be handed up: every entry (a port; of the tunnel, a sending host) pays for each
 * frame from token buckets of its own, one for each class of frames, so that no port takes the
 * first packets of another; and what waits for the agent is shared among entries.
 *
 * The kernel program keeps the same rules (`pays` and `has_room` in ebpf/punt.h). A bucket is one
 * number, the time at which it is full again: taking a token moves it on by `tokenNs`, and it is
 * empty when it is `fullNs` away.
 */
import type { Entry } from '#flow/flow.ts';
import { KEY, LIMITS } from '#flow/layout.ts';
import { read16 } from '#net/bytes.ts';
import type { Upcall } from './datapath.ts';

/** A token bucket. One token hands up one frame, UPCALL_LARGE_COST of them a super-packet. */
export interface Bucket {
  /** Tokens that come in a second: a whole number from 1 to 1,000,000. */
  readonly perSecond: number;
  /** Tokens of a full one: a whole number from UPCALL_LARGE_COST to 1,000,000. */
  readonly burst: number;
}

/**
 * What a frame that is handed up is paid from, in the order of UPCALL_CLASS: of each sort so much
 * comes at most, and none is at the expense of another.
 *
 * - `frames`: a frame to one station that no flow matches, or that opens a connection anew: who has
 *   used all of its ports opens as many connections as before.
 * - `groups`: the same to a group address: a flood costs the agents of all hosts.
 * - `control`: ARP and neighbour discovery, which the network answers: a port that sends nothing
 *   but new flows can still resolve its neighbours.
 * - `guards`: a flow matches, but for the TTL or the MTU: answered with an error, or cut.
 * - `stale`: the flow was invalidated. That is no doing of the port's: after an edit of the network
 *   its flows come back whatever else it sends; and when all do at once, its new ones do not wait.
 */
export const CLASSES = ['frames', 'groups', 'control', 'guards', 'stale'] as const;
export type UpcallClass = (typeof CLASSES)[number];

/** Of each port; a tunnel source has BUDGET_SOURCE_FACTOR times as much. */
export type UpcallBudget = Readonly<Record<UpcallClass, Bucket>>;

/**
 * What one port may take of an agent that decides about 50,000 first packets a second: a tenth, so
 * ten ports have to be noisy at once before others wait, and then they take turns
 * (`turns.ts`). Flows that an edit made stale come back at the same rate. A large burst does
 * not fill the ring: of that, nobody has more than a part (`Shares`).
 *
 * A tunnel source has twice that: were it no more than a port has, one noisy port over there,
 * itself held to a port's rate, would take each token as it comes, and no flood of another port
 * would be heard here.
 */
export const UPCALL_BUDGET: UpcallBudget = {
  frames: { perSecond: 5_000, burst: 1_000 },
  groups: { perSecond: 500, burst: 256 },
  control: { perSecond: 500, burst: 256 },
  guards: { perSecond: 1_000, burst: 128 },
  stale: { perSecond: 5_000, burst: 1_000 },
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
  for (const which of CLASSES) {
    check(`${which}.perSecond`, budget[which].perSecond, 1, PER_SECOND_MAX);
    check(`${which}.burst`, budget[which].burst, LIMITS.UPCALL_LARGE_COST, BURST_MAX);
  }
}

const ETH_TYPE = { arp: 0x0806, ip6: 0x86dd } as const;
const ICMP6 = 58;
/** Router and neighbour solicitations and advertisements, redirects (RFC 4861 §4). */
const ND = { first: 133, last: 137 } as const;

/** The class of a frame by its key, and why it is handed up. */
export function classOf(key: Uint8Array, reason: Upcall['reason']): UpcallClass {
  if (reason === 'stale') return 'stale';
  // A SYN that opens a connection anew is one of a new connection, whatever flow it matches.
  if (reason !== 'miss' && reason !== 'connection') return 'guards';
  const ethType = read16(key, KEY.eth_type);
  if (ethType === ETH_TYPE.arp) return 'control';
  const type = key[KEY.tp_src]!;
  if (ethType === ETH_TYPE.ip6 && key[KEY.ip_proto] === ICMP6)
    if (type >= ND.first && type <= ND.last) return 'control';
  return (key[KEY.eth_dst]! & 1) === 0 ? 'frames' : 'groups';
}

/** When each bucket of an entry is full again. */
type Buckets = Record<UpcallClass, number>;

/** What an entry pays for. */
export interface Payment {
  readonly entry: Entry;
  readonly kind: UpcallClass;
  /** Bytes of the frame, its tag included. */
  readonly bytes: number;
}

/** The buckets of a datapath without a kernel. */
export class Budgets {
  readonly #budget: UpcallBudget;
  readonly #entries = new Map<number, Buckets>();

  constructor(budget: UpcallBudget) {
    checkBudget(budget);
    this.#budget = budget;
  }

  /** Takes the tokens for handing a frame up; false when there are not so many. */
  pays({ entry, kind, bytes }: Payment, nowNs: number): boolean {
    const bucket = this.#budget[kind];
    const buckets = this.#entries.getOrInsertComputed(payerOf(entry), full);
    let cost = tokenNs(bucket);
    if (entry.tunnel !== undefined) cost = Math.floor(cost / LIMITS.BUDGET_SOURCE_FACTOR);
    if (bytes > LIMITS.UPCALL_MIDDLE_BYTES) cost *= LIMITS.UPCALL_LARGE_COST;
    const after = Math.max(buckets[kind], nowNs) + cost;
    if (after > nowNs + fullNs(bucket)) return false;
    buckets[kind] = after;
    return true;
  }

  forget(entry: Entry): void {
    this.#entries.delete(payerOf(entry));
  }
}

const full = (): Buckets => ({ frames: 0, groups: 0, control: 0, guards: 0, stale: 0 });

/** Who pays for what comes by an entry, as a number: a port, or a source whatever its key. */
export const payerOf = ({ port, tunnel }: Entry): number => port + (tunnel?.source ?? 0) * 2 ** 32;

/**
 * What need not wait for its port's new flows, nor be lost with them: answers of the network, and
 * what its working flows need.
 */
export const isUrgent = (kind: UpcallClass): boolean => kind !== 'frames' && kind !== 'groups';

/**
 * A store of frames of which no payer has more than RING_QUARTERS of what is free. So one alone
 * gets no more than a third, and when N of them fill it together one part in 1 + N / 2 stays free
 * for others (the threshold of Choudhury and Hahne's switches). Urgent frames may have more, and
 * so have room beside those that are not.
 */
export class Shares {
  readonly #size: number;
  readonly #held = new Map<number, number>();
  #used = 0;

  constructor(size: number) {
    this.#size = size;
  }

  /** Takes so much; false when that were more than the payer's part. */
  take(payer: number, amount: number, urgent = false): boolean {
    const held = (this.#held.get(payer) ?? 0) + amount;
    const quarters = urgent ? LIMITS.RING_QUARTERS_URGENT : LIMITS.RING_QUARTERS;
    if (held > ((this.#size - this.#used) / 4) * quarters) return false;
    this.#held.set(payer, held);
    this.#used += amount;
    return true;
  }

  give(payer: number, amount: number): void {
    const left = (this.#held.get(payer) ?? 0) - amount;
    if (left > 0) this.#held.set(payer, left);
    else this.#held.delete(payer);
    this.#used -= amount;
  }
}
