/**
 * What a decision may read of a packet, and the record of what it did read.
 *
 * Invariant (law 1): a field is in the flow's mask exactly when the walk read it before writing it,
 * so one cached flow serves every packet that agrees on the mask. Nothing reads headers but
 * `Match`.
 */
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { isSoundTcp, opensTcp, tcpFlagsOf } from '#net/packet/tcp-flags.ts';

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

/** The fields a walk may write for all copies of a frame. */
export type Rewrites = { readonly [F in (typeof WRITTEN_FIELDS)[number]]?: Headers[F] };
const WRITTEN_FIELDS = ['ethSrc', 'ethDst', 'ipSrc', 'ipDst', 'tpSrc', 'tpDst'] as const;

/**
 * What a frame must keep to for an outcome to hold, beside the fields seen. A datapath hands every
 * other frame up, so that a flow need not match each TTL or length there is.
 */
export interface Guards {
  /** Routers passed: the TTL or hop limit is larger than this, and is counted down by it. */
  readonly decTtl: number;
  /** The IP packet has at most so many bytes; undefined: any. */
  readonly mtu: number | undefined;
  /** A TCP segment has flags that some stack sends (`net/packet/tcp-flags.ts`). */
  readonly soundTcp?: true;
}

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
  #decTtl = 0;
  #mtu: number | undefined;
  #soundTcp = false;
  readonly #now: { -readonly [F in Field]: Headers[F] };
  readonly #bytes: Uint8Array;
  readonly #size: number;
  readonly #came: Headers;

  /**
   * `bytes`: the frame from its Ethernet header on; may be cut short behind the headers. `size`:
   * bytes of its IP packet, of a segment when it will be segmented, of the largest fragment when it
   * was put together from such.
   */
  constructor(headers: Headers, bytes: Uint8Array, size: number) {
    this.#now = { ...headers };
    this.#bytes = bytes;
    this.#size = size;
    this.#came = headers;
  }

  /** A field as the packet came, whatever was written to it since. */
  arrived<F extends Field>(field: F): Headers[F] {
    this.#seen |= BIT[field];
    return this.#came[field];
  }
  get<F extends Field>(field: F): Headers[F] {
    const bit = BIT[field];
    if ((this.#written & bit) === 0) this.#seen |= bit;
    return this.#now[field];
  }

  /** Written down even where this packet already had the value: it holds for the whole flow. */
  set<F extends keyof Rewrites | 'vlan'>(field: F, value: Headers[F]): void {
    this.#written |= BIT[field];
    this.#now[field] = value;
  }

  /**
   * Counts the TTL down at a router; false when it would not leave it (RFC 1812 §5.3.1). What
   * remains true for every larger TTL is a guard, not a field seen.
   */
  decrementTtl(): boolean {
    if (this.#now.ipTtl <= 1) {
      this.#seen |= BIT.ipTtl;
      this.#beyondKey = true;
      return false;
    }
    this.#now.ipTtl -= 1;
    this.#decTtl += 1;
    return true;
  }

  /** Whether the packet fits a way of this MTU; where it does, that is a guard. */
  fits(mtu: number): boolean {
    if (this.#size > mtu) {
      this.#beyondKey = true;
      return false;
    }
    this.#mtu = Math.min(mtu, this.#mtu ?? mtu);
    return true;
  }

  /**
   * Whether a TCP segment has flags that some stack sends; where it has, that is a guard. A walk
   * without bytes is about those that have.
   */
  soundTcp(): boolean {
    const flags = this.#bytes.length === 0 ? undefined : tcpFlagsOf(this.#bytes);
    const sound = this.#bytes.length === 0 || (flags !== undefined && isSoundTcp(flags));
    if (sound) this.#soundTcp = true;
    else this.#beyondKey = true;
    return sound;
  }

  /**
   * Whether a TCP segment opens a connection. The walk cannot be cached: others of the same ends do
   * not. One without bytes is about those.
   */
  opensTcp(): boolean {
    this.#beyondKey = true;
    return opensTcp(tcpFlagsOf(this.#bytes) ?? 0);
  }

  /** Bytes of its IP packet, of the largest part it came in. The walk cannot be cached. */
  get size(): number {
    this.#beyondKey = true;
    return this.#size;
  }

  /** The TTL as it is here: for what is told about the packet, never for a decision. */
  get ttlNow(): number {
    return this.#now.ipTtl;
  }
  /** The VLAN field that the frame leaves with, when that was written. */
  get vlanOut(): number | undefined {
    return (this.#written & BIT.vlan) === 0 ? undefined : this.#now.vlan;
  }

  /** Takes back what was written to `vlan` since `vlanOut` answered `before`. */
  resetVlan(before: number | undefined): void {
    if (before === undefined) this.#written &= ~BIT.vlan;
    this.#now.vlan = before ?? this.#came.vlan;
  }

  /** All headers as they are now: to tell of the packet, never to decide about it. */
  headers(): Headers {
    return { ...this.#now };
  }

  /** The frame's bytes, for what no field carries. From here on the walk cannot be cached. */
  payload(): Uint8Array {
    this.#beyondKey = true;
    return this.#bytes;
  }

  get seen(): FieldSet {
    return this.#seen;
  }
  /** What may be read and leaves the mask as it is. */
  get known(): FieldSet {
    return this.#seen | this.#written;
  }
  get guards(): Guards {
    const guards = { decTtl: this.#decTtl, mtu: this.#mtu };
    return this.#soundTcp ? { ...guards, soundTcp: true } : guards;
  }
  /** False when the outcome depends on bytes that the datapath cannot match. */
  get cacheable(): boolean {
    return !this.#beyondKey;
  }

  rewrites(): Rewrites {
    const written = this.#written & REWRITTEN;
    if (written === 0) return NO_REWRITES;
    const { ethSrc, ethDst } = this.#now;
    if (written === BOTH_MACS) return { ethSrc, ethDst };
    const all: { -readonly [F in keyof Rewrites]: unknown } = {};
    for (const field of WRITTEN_FIELDS)
      if ((written & BIT[field]) !== 0) all[field] = this.#now[field];
    return all as Rewrites;
  }
}

const REWRITTEN = fieldSet(WRITTEN_FIELDS);
const BOTH_MACS = fieldSet(['ethSrc', 'ethDst']);
