/**
 * Frames that wait until a neighbour is known: copied, in their order, bounded in number and bytes.
 * No interface has more than its share, so that one which sends to nobody leaves room to others.
 */
import type { Upcall } from '#datapath/datapath.ts';
import type { DpPort, Entry } from '#flow/flow.ts';
import type { Translation } from '#virtual/connection.ts';
import type { PortId } from '#virtual/ids.ts';
import { LIMITS } from './limits.ts';

/** `entry`: a first packet; `out`: a frame that the network itself sends. The bytes are kept. */
export type Parked = { readonly frame: Uint8Array } & (
  | {
      readonly entry: Entry;
      readonly key: Uint8Array;
      readonly timeMs: number;
      readonly gsoSize: number;
    }
  | { readonly out: PortId; readonly about?: readonly Translation[] | undefined }
);

/** A first packet to be decided later; its bytes are copied. */
export const parkedOf = (
  { key, frame, gsoSize }: Pick<Upcall, 'key' | 'frame' | 'gsoSize'>,
  entry: Entry,
  timeMs: number,
): Parked => ({ frame: frame.slice(), key: key.slice(), entry, timeMs, gsoSize });

/** By what a frame came: an interface, or the router port that the network itself sends from. */
export type SourceOf = DpPort | PortId;
export const sourceOf = (parked: Parked): SourceOf =>
  'out' in parked ? parked.out : parked.entry.port;

interface Share {
  count: number;
  bytes: number;
}

export class Waiting {
  readonly #frames = new Map<string, Parked[]>();
  readonly #shares = new Map<SourceOf, Share>();
  #released: Parked[] = [];
  #count = 0;
  #bytes = 0;

  get count(): number {
    return this.#count;
  }

  /** False: there is no room for one more. */
  park(key: string, frame: Parked): boolean {
    const queue = this.#frames.get(key) ?? [];
    const bytes = this.#bytes + frame.frame.length;
    if (queue.length >= LIMITS.parkedPerNeighbourMax || this.#count >= LIMITS.parkedMax)
      return false;
    if (bytes > LIMITS.parkedBytesMax) return false;
    const source = sourceOf(frame);
    const share = this.#shares.get(source) ?? { count: 0, bytes: 0 };
    if (share.count >= LIMITS.parkedPerSourceMax) return false;
    if (share.bytes + frame.frame.length > LIMITS.parkedBytesPerSourceMax) return false;
    share.count += 1;
    share.bytes += frame.frame.length;
    this.#shares.set(source, share);
    queue.push(frame);
    this.#frames.set(key, queue);
    this.#count += 1;
    this.#bytes = bytes;
    return true;
  }

  /** Those that wait for this need wait no longer. */
  release(key: string): void {
    for (const frame of this.#frames.get(key) ?? []) {
      this.#released.push(frame);
      this.#count -= 1;
      this.#bytes -= frame.frame.length;
      this.#returnShare(frame);
    }
    this.#frames.delete(key);
  }

  #returnShare(frame: Parked): void {
    const source = sourceOf(frame);
    const share = this.#shares.get(source);
    if (share === undefined) return;
    share.count -= 1;
    share.bytes -= frame.frame.length;
    if (share.count === 0) this.#shares.delete(source);
  }

  /** How many were released since the last time. */
  get ready(): number {
    return this.#released.length;
  }
  /** What was released since the last time. */
  released(): readonly Parked[] {
    const released = this.#released;
    if (released.length > 0) this.#released = [];
    return released;
  }
}
