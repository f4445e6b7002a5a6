/**
 * What a decision may read of a packet, and the record of what it did read.
 *
 * Invariant (law 1): a field is in the flow's mask exactly when the walk read it before writing it,
 * so one cached flow serves every packet that agrees on the mask. Nothing reads headers but
 * `Match`.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';

/**
 * The header fields a datapath can match, in host byte order.
 *
 * - `vlan`: 0 when untagged, else 0x1000 | VID (IEEE 802.1Q §9.6; the priority bits are not
 *   matched).
 * - `ethType`: the type after at most one 802.1Q tag.
 * - `ipSrc`, `ipDst`: the IPv4 or IPv6 addresses; for ARP the sender and target protocol address;
 *   0 (the IPv4 number) when the frame has none.
 * - `ipProto`: IPv4 protocol, the IPv6 upper-layer protocol, or the low byte of the ARP operation.
 * - `ipTos`: the whole TOS or traffic class byte. `ipTtl`: TTL or hop limit.
 * - `ipFrag`: 0 not a fragment, 1 the first fragment, 3 a later one (no L4 fields then).
 * - `tpSrc`, `tpDst`: TCP and UDP ports; for ICMP and ICMPv6 `tpSrc` = type << 8 | code and
 *   `tpDst` = the identifier of an echo request or reply, else 0.
 */
export interface Headers {
  readonly ethSrc: Mac;
  readonly ethDst: Mac;
  readonly ethType: number;
  readonly vlan: number;
  readonly ipSrc: Ip;
  readonly ipDst: Ip;
  readonly ipProto: number;
  readonly ipTos: number;
  readonly ipTtl: number;
  readonly ipFrag: number;
  readonly tpSrc: number;
  readonly tpDst: number;
}
export type Field = keyof Headers;

export const FIELDS = [
  'ethSrc',
  'ethDst',
  'ethType',
  'vlan',
  'ipSrc',
  'ipDst',
  'ipProto',
  'ipTos',
  'ipTtl',
  'ipFrag',
  'tpSrc',
  'tpDst',
] as const satisfies readonly Field[];

/** A set of fields: bit i stands for FIELDS[i]. */
export type FieldSet = number;

const BIT = Object.fromEntries(FIELDS.map((field, i) => [field, 1 << i])) as Record<Field, number>;

export const fieldSet = (fields: Iterable<Field>): FieldSet => {
  let set = 0;
  for (const field of fields) set |= BIT[field];
  return set;
};
export const fieldsOf = (set: FieldSet): Field[] => FIELDS.filter((field) => set & BIT[field]);
export const hasField = (set: FieldSet, field: Field): boolean => (set & BIT[field]) !== 0;

/** The fields a walk may write. */
export type Rewrites = { readonly [F in 'ethSrc' | 'ethDst' | 'vlan' | 'ipTtl']?: Headers[F] };

const NO_REWRITES: Rewrites = Object.freeze({});

/**
 * One packet under simulation. `payload` names what the kernel's key does not carry (the ARP
 * hardware addresses, the target of a neighbour solicitation): a walk that read it cannot be
 * cached.
 */
export class Match {
  #seen: FieldSet = 0;
  #written: FieldSet = 0;
  #beyondKey = false;
  readonly #now: { -readonly [F in Field]: Headers[F] };
  readonly #bytes: Uint8Array;

  /** `bytes`: the frame from its Ethernet header on; may be cut short behind the headers. */
  constructor(headers: Headers, bytes: Uint8Array) {
    this.#now = { ...headers };
    this.#bytes = bytes;
  }

  get<F extends Field>(field: F): Headers[F] {
    const bit = BIT[field];
    if ((this.#written & bit) === 0) this.#seen |= bit;
    return this.#now[field];
  }

  /** Written down even where this packet already had the value: it holds for the whole flow. */
  set<F extends keyof Rewrites>(field: F, value: Headers[F]): void {
    this.#written |= BIT[field];
    this.#now[field] = value;
  }

  /** The frame's bytes, for what no field carries. From here on the walk cannot be cached. */
  payload(): Uint8Array {
    this.#beyondKey = true;
    return this.#bytes;
  }

  get seen(): FieldSet {
    return this.#seen;
  }
  /** False when the outcome depends on bytes that the datapath cannot match. */
  get cacheable(): boolean {
    return !this.#beyondKey;
  }

  rewrites(): Rewrites {
    if (this.#written === 0) return NO_REWRITES;
    const out: { [field: string]: unknown } = {};
    for (const field of fieldsOf(this.#written)) out[field] = this.#now[field];
    return out as Rewrites;
  }
}
