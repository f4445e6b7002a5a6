/**
 * What every entry has of its own in the kernel: each port that is taken over, and each tunnel
 * source that may send. Tokens for first packets, the masks of its flows, its part of the ring, and
 * counters. The kernel knows no others: who is not here has no flows found and hands nothing up.
 *
 * Invariants: what is found in the map stays as it is, so nobody gets full buckets by a restart; a
 * mask is among an entry's before a flow under it is in the table, and until the last one is out of
 * it; a number that was given back is given to others as late as possible, for records of the ring
 * may still bear it.
 */
import type { DpPeer, DpPort } from '#flow/flow.ts';
import { ENTRY, ENTRY_KEY, ENTRY_REF, KEY, LIMITS, offsets, sizeOf } from '#flow/layout.ts';
import { BpfMap } from '#os/bpf.ts';
import { DROPS } from '#virtual/drop.ts';
import type { Datapath } from '../datapath.ts';
import { DROP_REASONS } from './counters.ts';
import type { Drops } from './counters.ts';
import type { Maps } from './maps.ts';

const KEY_AT = offsets(ENTRY_KEY);
const AT = offsets(ENTRY);
const SIZE = sizeOf(ENTRY);
const { ENTRY_MASKS_MAX, ENTRIES_MAX } = LIMITS;
/** In the place of a source: the entry is a port. */
const NO_SOURCE = 0 as DpPeer;
const NO_NUMBER = -1;
/** Nobody's: what the agent drops that came from nowhere is counted there. */
const NOBODY = 0;

/** An entry; of the tunnel with its source. */
export interface Payer {
  readonly port: DpPort;
  readonly source?: DpPeer;
}

/** Names an entry by one number: the interface and the tunnel source of a key's words. */
export const entryIdAt = (words: Uint32Array, at: number): number =>
  words[at + KEY.in_port / 4]! + words[at + KEY.tun_src / 4]! * 2 ** 32;
const idOf = ({ port, source = NO_SOURCE }: Payer): number => port + source * 2 ** 32;

interface Own {
  /** NO_NUMBER: it has flows, but the kernel does not know it. */
  number: number;
  /** A mask's number plus 1, or 0; and how many of its flows have it. */
  readonly masks: Uint8Array;
  readonly users: Uint32Array;
}

export class Entries {
  readonly #map: BpfMap;
  readonly #bytes: Uint8Array;
  readonly #words: Uint32Array;
  readonly #counts: BigUint64Array;
  readonly #own = new Map<number, Own>();
  readonly #free: number[];

  constructor(maps: Maps) {
    this.#map = new BpfMap(maps.fds.entry_refs, sizeOf(ENTRY_KEY), sizeOf(ENTRY_REF));
    this.#bytes = new Uint8Array(maps.memory.entries);
    this.#words = new Uint32Array(maps.memory.entries);
    this.#counts = new BigUint64Array(maps.memory.entries);
    const taken = new Set<number>();
    for (const payer of this.#listed()) {
      this.#at(payer);
      this.#map.lookup();
      const number = this.#map.value.view.getUint32(0, true);
      taken.add(number);
      const masks = this.#record(number, AT.masks, ENTRY_MASKS_MAX).slice();
      this.#own.set(idOf(payer), { number, masks, users: new Uint32Array(ENTRY_MASKS_MAX) });
    }
    this.#free = Array.from({ length: ENTRIES_MAX }, (_, i) => i).filter(
      (i) => i !== NOBODY && !taken.has(i),
    );
  }

  #at({ port, source = NO_SOURCE }: Payer): void {
    this.#map.key.u32(KEY_AT.in_port, port).u32(KEY_AT.source, source);
  }
  #record(number: number, at: number, size: number): Uint8Array {
    return this.#bytes.subarray(number * SIZE + at, number * SIZE + at + size);
  }
  #ownOf(id: number): Own {
    return this.#own.getOrInsertComputed(id, () => ({
      number: NO_NUMBER,
      masks: new Uint8Array(ENTRY_MASKS_MAX),
      users: new Uint32Array(ENTRY_MASKS_MAX),
    }));
  }

  /** Full buckets, unless it has some. Throws when there are LIMITS.ENTRIES_MAX already. */
  add(payer: Payer): void {
    const known = this.#own.get(idOf(payer));
    if (known !== undefined && known.number !== NO_NUMBER) return;
    const number = this.#free[0];
    if (number === undefined)
      throw new Error(`datapath: more than ${ENTRIES_MAX} ports and hosts that send here`);
    const own = this.#ownOf(idOf(payer));
    this.#record(number, 0, SIZE).fill(0);
    this.#record(number, AT.masks, ENTRY_MASKS_MAX).set(own.masks);
    this.#at(payer);
    this.#map.value.u32(0, number);
    this.#map.update();
    this.#free.shift();
    own.number = number;
  }

  remove(payer: Payer): void {
    const own = this.#own.get(idOf(payer));
    if (own === undefined || own.number === NO_NUMBER) return;
    this.#at(payer);
    this.#map.delete();
    this.#free.push(own.number);
    own.number = NO_NUMBER;
    this.#forget(idOf(payer), own);
  }
  #forget(id: number, { number, masks }: Own): void {
    if (number === NO_NUMBER && masks.every((mask) => mask === 0)) this.#own.delete(id);
  }

  /** Exactly these are known afterwards: whoever left while nobody looked is not. */
  keep(payers: readonly Payer[]): void {
    const wanted = new Set(payers.map(idOf));
    for (const payer of this.#listed()) if (!wanted.has(idOf(payer))) this.remove(payer);
    for (const payer of payers) this.add(payer);
  }

  #listed(): Payer[] {
    const found: Payer[] = [];
    const { key } = this.#map;
    for (let more = this.#map.next(true); more; more = this.#map.next(false)) {
      const port = key.view.getUint32(KEY_AT.in_port, true) as DpPort;
      const source = key.view.getUint32(KEY_AT.source, true) as DpPeer;
      found.push({ port, source });
    }
    return found;
  }

  /** One flow more of this entry has this mask; false when it has ENTRY_MASKS_MAX others. */
  acquireMask(id: number, mask: number): boolean {
    const own = this.#ownOf(id);
    let at = own.masks.indexOf(mask + 1);
    if (at < 0) at = own.masks.indexOf(0);
    if (at < 0) return false;
    this.#setMask(own, at, mask + 1);
    own.users[at]!++;
    return true;
  }
  /** One flow less; the flow is out of the kernel's table. */
  releaseMask(id: number, mask: number): void {
    const own = this.#ownOf(id);
    const at = own.masks.indexOf(mask + 1);
    if (at < 0 || own.users[at] === 0) throw new Error('datapath: an entry lacks a mask it had');
    if (--own.users[at]! === 0) this.#setMask(own, at, 0);
    this.#forget(id, own);
  }
  #setMask(own: Own, at: number, value: number): void {
    own.masks[at] = value;
    if (own.number !== NO_NUMBER) this.#bytes[own.number * SIZE + AT.masks + at] = value;
  }
  /** Forgets masks that no adopted flow turned out to have. */
  sweepMasks(): void {
    for (const [id, own] of this.#own) {
      for (const [at, users] of own.users.entries()) if (users === 0) this.#setMask(own, at, 0);
      this.#forget(id, own);
    }
  }

  /** Counts frames that the agent dropped, of an entry or of nobody. */
  dropped(code: number, entry: Payer | undefined, frames: number): void {
    const own = entry === undefined ? undefined : this.#own.get(idOf(entry));
    const number = own === undefined || own.number === NO_NUMBER ? NOBODY : own.number;
    const at = (number * SIZE + AT.agent_drops + 8 * code) / 8;
    this.#counts[at] = this.#counts[at]! + BigInt(frames);
  }

  /** What was dropped of each entry that the kernel knows, and by the agent of nobody's. */
  listDrops(): ReturnType<Datapath['entryDrops']> {
    const listed = [...this.#own].flatMap(([id, { number }]) => {
      if (number === NO_NUMBER) return [];
      const source = Math.floor(id / 2 ** 32);
      return [
        {
          port: (id % 2 ** 32) as DpPort,
          source: source === NO_SOURCE ? undefined : (source as DpPeer),
          ...this.#dropsOf(number),
        },
      ];
    });
    return [...listed, { port: undefined, source: undefined, ...this.#dropsOf(NOBODY), drops: {} }];
  }
  #dropsOf(number: number): { drops: Drops; agentDrops: Drops } {
    const read = (at: number): Drops => {
      const drops: Drops = {};
      for (const reason of DROP_REASONS) {
        const n = Number(this.#counts[(number * SIZE + at) / 8 + DROPS[reason].code]);
        if (n > 0) drops[reason] = n;
      }
      return drops;
    };
    return { drops: read(AT.drops), agentDrops: read(AT.agent_drops) };
  }

  /** So many bytes of the ring that this entry's frames had are free again. */
  drained(number: number, bytes: number): void {
    if (number >= ENTRIES_MAX) return;
    const at = (number * SIZE + AT.drained) / 4;
    this.#words[at] = this.#words[at]! + bytes;
  }
}
