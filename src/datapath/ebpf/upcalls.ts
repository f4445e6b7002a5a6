/**
 * Reads the frames that the kernel handed up, where it wrote them: key and frame of an upcall are
 * views of the ring, valid during the callback, and must not be written to. Only a frame with a tag
 * is copied, because the kernel keeps the tag beside it.
 */
import { KEY_SIZE, offsets, sizeOf, UPCALL, UPCALL_REASON } from '#flow/layout.ts';
import { entryOf } from '#flow/parse.ts';
import { Ring } from '#os/ring.ts';
import type { Upcall } from '../datapath.ts';
import type { Entries } from './entries.ts';
import { FRAME_BYTES_MAX } from './inject.ts';

const AT = offsets(UPCALL);
const HEAD = sizeOf(UPCALL);
const BODY = HEAD + KEY_SIZE;
const TAG_BYTES = 4;
const ADDRESSES_BYTES = 12;
/** What one in the upper word of a time in nanoseconds stands for. */
const MS_PER_HIGH = 2 ** 32 / 1e6;

/** Why a frame is handed up, by its code. */
export const REASONS: Readonly<Record<number, Upcall['reason']>> = {
  [UPCALL_REASON.MISS]: 'miss',
  [UPCALL_REASON.STALE]: 'stale',
  [UPCALL_REASON.TTL]: 'ttl',
  [UPCALL_REASON.TOO_BIG]: 'too-big',
  [UPCALL_REASON.CONNECTION]: 'connection',
};

/** The frame with its tag in place, written to `out`, of which a view is answered. */
export function withTag(out: Uint8Array, body: Uint8Array, tpid: number, tci: number): Uint8Array {
  out.set(body.subarray(0, ADDRESSES_BYTES));
  out.set([tpid >> 8, tpid & 255, tci >> 8, tci & 255], ADDRESSES_BYTES);
  out.set(body.subarray(ADDRESSES_BYTES), ADDRESSES_BYTES + TAG_BYTES);
  return out.subarray(0, body.length + TAG_BYTES);
}

export class UpcallRing {
  readonly #ring: Ring;
  readonly #entries: Entries;
  readonly #tagged = new Uint8Array(FRAME_BYTES_MAX + TAG_BYTES);

  constructor(fd: number, bytes: number, entries: Entries) {
    this.#ring = new Ring(fd, bytes);
    this.#entries = entries;
  }

  drain(take: (upcall: Upcall) => void, max: number): number {
    return this.#ring.drain((at, length) => {
      this.#entries.drained(this.#ring.view.getUint32(at + AT.entry, true), length);
      take(this.#read(at));
    }, max);
  }

  #read(at: number): Upcall {
    const { view, bytes } = this.#ring;
    const key = bytes.subarray(at + HEAD, at + BODY);
    const reason = REASONS[view.getUint32(at + AT.reason, true)];
    if (reason === undefined) throw new Error('datapath: an upcall without a reason');
    const length = view.getUint32(at + AT.caplen, true);
    const tpid = view.getUint16(at + AT.vlan_present, true);
    const body = bytes.subarray(at + BODY, at + BODY + length);
    const frame =
      tpid === 0 ? body : withTag(this.#tagged, body, tpid, view.getUint16(at + AT.vlan_tci, true));
    return {
      entry: entryOf(key),
      timeMs:
        view.getUint32(at + AT.time, true) / 1e6 +
        view.getUint32(at + AT.time + 4, true) * MS_PER_HIGH,
      key,
      frame,
      gsoSize: view.getUint32(at + AT.gso_size, true),
      reason,
    };
  }

  close(): void {
    this.#ring.close();
  }
}
