/**
 * Fragments put together again, as a receiver does it (RFC 791 §3.2, RFC 8200 §4.5).
 *
 * What is kept is charged to a source: whoever is to be told apart from others. Invariants:
 * fragments of two sources are never put together; a fragment that is not part of an answer is
 * counted as dropped, once; no byte is ever taken from two fragments, and a datagram whose
 * fragments contradict each other comes to nothing, late fragments included (RFC 5722 §4); a source
 * whose share is not larger than another's loses nothing to that. Nothing throws.
 */
import { joined, readFragment, type Fragment, type Part } from './part.ts';

export interface ReassemblyLimits {
  /** Datagrams under way, of one source and of all. */
  readonly perSourceMax: number;
  readonly datagramsMax: number;
  /** Bytes kept of all, FRAGMENT_COST_BYTES for each fragment included. */
  readonly bytesMax: number;
  /** A datagram in more parts than these is given up. */
  readonly fragmentsMax: number;
  /** A datagram that is not whole so long after its first fragment came is given up. */
  readonly ageMs: number;
}

/** What it takes to keep a fragment beside its bytes: tiny ones must not be free. */
export const FRAGMENT_COST_BYTES = 256;

/** `largest`: bytes of the largest IP packet it came in. `id`: of its fragments. */
export interface Whole {
  readonly frame: Uint8Array;
  readonly largest: number;
  readonly id: number;
}

interface Source {
  readonly label: string;
  /** The oldest first. */
  readonly datagrams: Map<string, Datagram>;
  bytes: number;
}
interface Datagram {
  readonly key: string;
  readonly source: Source;
  readonly sinceMs: number;
  /** In the order of their bytes; none touches those of another. */
  parts: Part[];
  received: number;
  cost: number;
  largest: number;
  /** The frame of the part at 0, for its headers. */
  first: Uint8Array | undefined;
  /** Known from the last part. */
  length: number | undefined;
  /** It contradicted itself: what still comes of it is dropped. */
  spoilt: boolean;
}

const isSame = (a: Part, b: Part): boolean =>
  a.at === b.at &&
  a.end === b.end &&
  a.more === b.more &&
  a.data.every((byte, i) => byte === b.data[i]);

/**
 * Where a part belongs; `duplicate`: it is there already, byte for byte (RFC 8200 §4.5);
 * `contradiction`: it overlaps another, or they differ on where the end is.
 */
function findPlace(
  { parts, length }: Datagram,
  part: Part,
): number | 'duplicate' | 'contradiction' {
  let place = parts.length;
  while (place > 0 && (parts[place - 1]?.at ?? 0) >= part.at) place--;
  const before = parts[place - 1];
  const after = parts[place];
  if (after !== undefined && isSame(after, part)) return 'duplicate';
  const overlaps =
    (before !== undefined && before.end > part.at) || (after !== undefined && after.at < part.end);
  if (overlaps) return 'contradiction';
  const beyond = length !== undefined && part.end > length;
  const secondEnd = !part.more && (length !== undefined || after !== undefined);
  return beyond || secondEnd ? 'contradiction' : place;
}

const oldest = ({ datagrams }: Source): Datagram | undefined => {
  for (const datagram of datagrams.values()) return datagram;
  return undefined;
};

export class Reassembly {
  readonly #limits: ReassemblyLimits;
  readonly #sources = new Map<string, Source>();
  /** The oldest first. */
  readonly #all = new Set<Datagram>();
  #bytes = 0;
  #dropped = 0;

  constructor(limits: ReassemblyLimits) {
    this.#limits = limits;
  }

  /** Fragments that came to nothing, so far. */
  get dropped(): number {
    return this.#dropped;
  }
  /** What is kept now. */
  get kept(): { readonly datagrams: number; readonly bytes: number; readonly sources: number } {
    return { datagrams: this.#all.size, bytes: this.#bytes, sources: this.#sources.size };
  }

  /**
   * Takes a frame with a fragment of `source`; the bytes are copied. Answers the datagram when that
   * makes it whole: with the Ethernet header, tag and IP header of its first fragment. Everything
   * else is kept or dropped. `nowMs` never goes back.
   */
  add(bytes: Uint8Array, source: string, nowMs: number): Whole | undefined {
    this.expire(nowMs);
    const fragment = readFragment(bytes);
    if (fragment === undefined) return this.#drop();
    const known = this.#sources.get(source)?.datagrams.get(fragment.key);
    const datagram = known ?? this.#open(fragment.key, source, nowMs);
    if (datagram === undefined || datagram.spoilt) return this.#drop();
    const place = findPlace(datagram, fragment);
    if (place === 'duplicate') return this.#drop();
    if (place === 'contradiction' || datagram.parts.length >= this.#limits.fragmentsMax) {
      this.#empty(datagram);
      datagram.spoilt = true;
      return this.#drop();
    }
    const cost = bytes.length + FRAGMENT_COST_BYTES;
    if (!this.#makeRoom(datagram, cost)) return this.#drop();
    this.#charge(datagram, cost);
    // Not `slice`, which is a view of a Buffer.
    keep(datagram, fragment, new Uint8Array(bytes), place);
    return this.#completed(datagram, fragment.id);
  }

  /** Gives up what is too old. */
  expire(nowMs: number): void {
    for (const datagram of this.#all) {
      if (nowMs - datagram.sinceMs < this.#limits.ageMs) return;
      this.#forget(datagram);
    }
  }

  #drop(): undefined {
    this.#dropped += 1;
  }

  #completed(datagram: Datagram, id: number): Whole | undefined {
    const { parts, first, length, received, largest } = datagram;
    if (first === undefined || received !== length) return undefined;
    const data = new Uint8Array(length);
    for (const part of parts) data.set(part.data, part.at);
    const frame = joined(first, data);
    if (frame !== undefined) datagram.parts = [];
    this.#forget(datagram);
    return frame && { frame, largest, id };
  }

  /** A new datagram; undefined: there is no room for one, and nobody has more than this source. */
  #open(key: string, label: string, nowMs: number): Datagram | undefined {
    const source = this.#sources.get(label) ?? { label, datagrams: new Map(), bytes: 0 };
    const { size } = source.datagrams;
    const full = this.#all.size >= this.#limits.datagramsMax;
    if (full || size >= this.#limits.perSourceMax) {
      const payer =
        size >= this.#limits.perSourceMax
          ? source
          : this.#payer(source, (each) => each.datagrams.size, size + 1);
      const victim = oldest(payer);
      if (victim === undefined) return undefined;
      this.#forget(victim);
    }
    const datagram: Datagram = {
      key,
      source,
      sinceMs: nowMs,
      parts: [],
      received: 0,
      cost: 0,
      largest: 0,
      first: undefined,
      length: undefined,
      spoilt: false,
    };
    this.#sources.set(label, source);
    source.datagrams.set(key, datagram);
    this.#all.add(datagram);
    return datagram;
  }

  /** Makes room for more bytes of a datagram; false: it had to go itself. */
  #makeRoom(datagram: Datagram, cost: number): boolean {
    const { source } = datagram;
    while (this.#bytes + cost > this.#limits.bytesMax) {
      const payer = this.#payer(source, (each) => each.bytes, source.bytes + cost);
      const victim = oldest(payer) ?? datagram;
      this.#forget(victim);
      if (victim === datagram) return false;
    }
    return true;
  }

  /** Who has to give way: the source that has the most, if that is more than `mine`. */
  #payer(source: Source, weigh: (source: Source) => number, mine: number): Source {
    let payer = source;
    let most = mine;
    for (const each of this.#sources.values()) {
      const weight = weigh(each);
      if (weight <= most) continue;
      payer = each;
      most = weight;
    }
    return payer;
  }

  #charge(datagram: Datagram, cost: number): void {
    datagram.cost += cost;
    datagram.source.bytes += cost;
    this.#bytes += cost;
  }

  /** Drops its fragments. */
  #empty(datagram: Datagram): void {
    this.#dropped += datagram.parts.length;
    this.#charge(datagram, -datagram.cost);
    datagram.parts = [];
    datagram.first = undefined;
  }

  /** Drops what is left of it. */
  #forget(datagram: Datagram): void {
    const { source, key } = datagram;
    this.#empty(datagram);
    this.#all.delete(datagram);
    source.datagrams.delete(key);
    if (source.datagrams.size === 0) this.#sources.delete(source.label);
  }
}

/** `copy`: the frame of the fragment, to be kept. */
function keep(datagram: Datagram, fragment: Fragment, copy: Uint8Array, place: number): void {
  const { at, end, more, start, size } = fragment;
  const data = copy.subarray(start, start + end - at);
  datagram.parts.splice(place, 0, { at, end, more, data });
  datagram.received += end - at;
  datagram.largest = Math.max(datagram.largest, size);
  if (at === 0) datagram.first = copy;
  if (!more) datagram.length = end;
}
