/**
 * The table of connections: one record for both directions of each, found by either key.
 *
 * The records are in memory that outlives this process and that the kernel stamps; the index is
 * made of them. Invariants: no two records have a key in common; both keys of a record come and go
 * together; whoever has no more than an equal share of a full table loses none to another; a change
 * names the keys whose flows are to be decided anew.
 */
import { isItsOwnAnswer, sameTranslations } from '#virtual/connection.ts';
import type {
  ConnectionKey,
  ConnectionRef,
  ConnectionsView,
  FoundConnection,
  Translation,
  Tuple,
  Zone,
} from '#virtual/connection.ts';
import type { PortId } from '#virtual/ids.ts';
import { NONE } from './column.ts';
import { BalancedEnds } from './balanced-ends.ts';
import { ConnectionIndex } from './connection-index.ts';
import type { Committed, ConnectionCounters, Swept } from './connection-answers.ts';
import { TCP_FLAG, type ConnectionMemory } from './connection-layout.ts';
import {
  ConnectionRecords,
  idWords,
  type ConnectionRecord,
  type NewRecord,
  type Side,
} from './connection-records.ts';
import { PublicEnds } from './public-ends.ts';
import { ConnectionShares } from './connection-shares.ts';
import {
  CONNECTION_TIMEOUTS,
  isHalfOpen,
  phaseOf,
  timeoutOf,
  type ConnectionTimeouts,
  type Half,
} from './connection-timeouts.ts';

/** What part of all records one port may have, and of these half-open ones. */
export const CONNECTION_SHARE = 1 / 2;
export const HALF_OPEN_SHARE = 1 / 8;
/** Records looked at for the one that has been idle longest, when room is to be made. */
const EVICTION_LOOKS = 64;
/** A half that another host stamped, or was told of, is told again after this part of its life. */
const TELL_PART = 1 / 3;

export interface ConnectionsOptions {
  /** A number nobody outside knows: packets cannot be made to collide in the index. */
  readonly seed: number;
  readonly timeouts?: ConnectionTimeouts;
}

const SIDES = [0, 1] as const;
const ENDS = TCP_FLAG.FIN | TCP_FLAG.RST;

export class Connections implements ConnectionsView {
  /** The first is never a record: no flow names it. */
  readonly slots: number;
  readonly #records: ConnectionRecords;
  readonly #index: ConnectionIndex;
  readonly #timeouts: ConnectionTimeouts;
  readonly #shares: ConnectionShares;
  /** How many connections have which public ports. */
  readonly ends = new PublicEnds();
  /** How many connections VIPs have. */
  readonly balanced = new BalancedEnds();
  /** By slot: whether its public port was chosen here; after a restart: whether it has one. */
  readonly #chosen: Uint8Array;
  /** By slot and side: the stamp that others know of, in milliseconds. */
  readonly #told: Float64Array;
  /** By slot and side: the flags that end it, as others know of them. */
  readonly #toldEnds: Uint8Array;
  /** One count for all slots: a name is never given twice while anybody may hold it. */
  #lastGeneration = 0;
  readonly #free: Int32Array;
  #freeCount = 0;
  #cursor = 0;
  /** Slots from here on were never used. */
  #used = 0;
  /** The slot of the record that began anew last, until a packet has made it its own. */
  #anew = NONE;
  readonly #count = {
    opened: 0,
    expired: 0,
    evictedFull: 0,
    evictedShare: 0,
    evictedHalfOpen: 0,
    replaced: 0,
  };

  constructor(
    memory: ConnectionMemory,
    { seed, timeouts = CONNECTION_TIMEOUTS }: ConnectionsOptions,
  ) {
    const { slots } = memory;
    this.slots = slots;
    this.#records = new ConnectionRecords(memory);
    this.#index = new ConnectionIndex(this.#records, seed);
    this.#timeouts = timeouts;
    this.#shares = new ConnectionShares(slots);
    this.#chosen = new Uint8Array(slots);
    this.#told = new Float64Array(slots * 2);
    this.#toldEnds = new Uint8Array(slots * 2);
    this.#free = new Int32Array(slots - 1);
    this.#restore();
  }

  /** The index of what an earlier process has left. Records whose keys are taken are dropped. */
  #restore(): void {
    const records = this.#records;
    records.setGeneration(0, 0);
    for (let slot = this.slots - 1; slot > 0; slot--) {
      const given = Math.max(records.generation(slot), records.incarnation(slot));
      this.#lastGeneration = Math.max(this.#lastGeneration, given);
      if (records.generation(slot) !== 0 && this.#isSound(slot)) {
        this.#used = Math.max(this.#used, slot + 1);
        this.#link(slot);
        if (records.translations(slot).length > 0) this.#chosen[slot] = 1;
        continue;
      }
      records.setGeneration(slot, 0);
      this.#free[this.#freeCount++] = slot;
    }
  }
  /** Whether both keys are as they are written, and nobody has them yet. */
  #isSound(slot: number): boolean {
    const records = this.#records;
    for (const side of SIDES) {
      const { zone, tuple } = records.keyOf(slot, side);
      records.encode(zone, tuple);
      if (!records.has(slot, side) || this.#search() !== NONE) return false;
    }
    return !records.has(slot, 0);
  }

  find(zone: Zone, tuple: Tuple): FoundConnection | undefined {
    this.#records.encode(zone, tuple);
    const at = this.#search();
    if (at === NONE) return undefined;
    const slot = at >> 1;
    const direction = (at & 1) === 0 ? 'forward' : 'return';
    const anew = slot === this.#anew;
    return {
      ...{ ref: this.#ref(slot), direction },
      ...{ translations: this.#records.translations(slot), anew },
    };
  }

  /**
   * The record of a packet in the opening direction: made where there is none, given other keys
   * where answers have others by now. Undefined: there is no room, and none can be made; or both
   * its keys are one.
   */
  commit(wanted: NewRecord): Committed | undefined {
    const records = this.#records;
    const { forward, returns, translations } = wanted;
    this.#anew = NONE;
    if (isItsOwnAnswer(forward.tuple) && forward.zone === returns.zone) return undefined;
    records.encode(forward.zone, forward.tuple);
    const at = this.#search();
    const changed: ConnectionKey[] = [];
    if (at !== NONE && (at & 1) === 0) {
      const slot = at >> 1;
      records.encode(returns.zone, returns.tuple);
      if (records.has(slot, 1) && sameTranslations(records.translations(slot), translations)) {
        records.stamp(slot, 0, { seenMs: wanted.createdMs, tcp: 0 });
        return { ref: this.#ref(slot), fresh: false, changed };
      }
    }
    this.#clash(forward, changed);
    this.#clash(returns, changed);
    const slot = this.#slotFor(wanted.inPort, changed);
    if (slot === undefined) return undefined;
    records.put(slot, wanted);
    records.stamp(slot, 0, { seenMs: wanted.createdMs, tcp: 0 });
    const ref = this.#publish(slot);
    this.#chosen[slot] = translations.length > 0 ? 1 : 0;
    // Whoever is told of the record is told of that.
    this.#told[slot * 2] = wanted.createdMs;
    return { ref, fresh: true, changed: [...changed, returns] };
  }
  /**
   * Whether answers to a connection would be taken for those of another one: the ends that were
   * chosen for it are in use with the same peer.
   */
  isTaken({ forward, returns, createdMs }: NewRecord): boolean {
    const other = this.find(returns.zone, returns.tuple);
    if (other === undefined || this.isLeft(other.ref, createdMs)) return false;
    return this.find(forward.zone, forward.tuple)?.ref.slot !== other.ref.slot;
  }

  /**
   * A record of another host, with the halves as they are known there. `owner`: that host sees the
   * packets of who opened it, so it knows best whether the connection began anew; what others know
   * of another incarnation is of no use.
   */
  receive(
    { halves, incarnation, ...wanted }: ConnectionRecord,
    owner: boolean,
  ): Committed | undefined {
    const { forward } = wanted;
    const known = this.find(forward.zone, forward.tuple);
    const other =
      known?.direction === 'forward' && this.#records.incarnation(known.ref.slot) !== incarnation;
    if (other && !owner) return { ref: known.ref, fresh: false, changed: [] };
    const heir = this.#heirOf(wanted, halves);
    if (heir !== undefined) return { ref: heir, fresh: false, changed: [] };
    const committed = this.commit(wanted);
    if (committed === undefined) return undefined;
    if (other && !committed.fresh) this.#begin(committed.ref.slot);
    this.#records.setIncarnation(committed.ref.slot, incarnation);
    if (committed.fresh) this.#chosen[committed.ref.slot] = 0;
    for (const side of SIDES) this.touch(committed.ref, side, halves[side]);
    // Who takes a record in may hold flows of both keys that were decided without.
    const changed = committed.fresh ? [...committed.changed, wanted.forward] : committed.changed;
    return { ...committed, changed };
  }

  /** Who was given the public port of a closed connection since: words of that one are too late. */
  #heirOf(wanted: NewRecord, [forward, back]: ConnectionRecord['halves']) {
    const { returns } = wanted;
    if (phaseOf(returns.tuple.protocol, forward, back) !== 'closed') return undefined;
    const { ref } = this.find(returns.zone, returns.tuple) ?? {};
    if (ref === undefined || !this.isTaken({ ...wanted, createdMs: 0 })) return undefined;
    return this.#phase(ref.slot) === 'closed' ? undefined : ref;
  }
  /** Whether a segment that opens it begins it anew: it has ended, or nobody has answered it. */
  isOver(found: FoundConnection, nowMs: number): boolean {
    const { slot } = found.ref;
    if (!this.#is(found.ref)) return false;
    if (this.#hasEnded(slot, found.direction === 'forward' ? 0 : 1)) return true;
    return this.#phase(slot) === 'opening' && this.#idleMs(slot, nowMs) >= this.#timeouts.tcpFailed;
  }
  /** Whether both ends have closed it so long ago that its public port may be another one's. */
  isLeft({ slot }: ConnectionRef, nowMs: number): boolean {
    return this.#phase(slot) === 'closed' && this.#idleMs(slot, nowMs) >= this.#timeouts.leftPort;
  }

  /** What another host saw of one direction. It need not be told of that. */
  touch(ref: ConnectionRef, side: Side, half: Half): void {
    if (!this.#is(ref)) return;
    const { slot } = ref;
    this.#records.stamp(slot, side, half);
    const at = slot * 2 + side;
    this.#told[at] = Math.max(this.#told[at]!, half.seenMs);
    this.#toldEnds[at]! |= half.tcp & ENDS;
    this.#notice(slot);
  }

  /** The same ends begin anew (RFC 9293 §3.6.1): nothing was seen of it yet. */
  reopen(ref: ConnectionRef, nowMs: number): void {
    if (!this.#is(ref)) return;
    this.#begin(ref.slot);
    this.#anew = ref.slot;
    this.#records.setIncarnation(ref.slot, this.#nextGeneration());
    this.#records.stamp(ref.slot, 0, { seenMs: nowMs, tcp: 0 });
  }
  #begin(slot: number): void {
    this.#records.clear(slot);
    this.#told.fill(0, slot * 2, slot * 2 + 2);
    this.#toldEnds.fill(0, slot * 2, slot * 2 + 2);
    this.#shares.setHalfOpen(slot, true);
  }

  /** Looks at the next `slots` records in turn, until `most` have ended: which, and which go on. */
  sweep(nowMs: number, slots: number, most = Infinity): Swept {
    const ended: ConnectionKey[] = [];
    const refs: ConnectionRef[] = [];
    const told: ConnectionRef[] = [];
    for (let n = Math.min(slots, this.#used); n > 0 && refs.length < most; n--) {
      const slot = this.#cursor;
      this.#cursor = slot + 1 < this.#used ? slot + 1 : 0;
      if (this.#records.generation(slot) === 0) continue;
      if (this.#isOver(slot, nowMs)) {
        refs.push(this.#ref(slot));
        this.#count.expired += 1;
        ended.push(...this.#drop(slot));
      } else if (this.#hasNews(slot)) told.push(this.#ref(slot));
    }
    return { ended, refs, told };
  }
  #isOver(slot: number, nowMs: number): boolean {
    const more = this.#chosen[slot] === 1 ? this.#timeouts.chosenPort : 0;
    return this.#idleMs(slot, nowMs) >= this.#timeout(slot) + more;
  }
  #idleMs(slot: number, nowMs: number): number {
    return nowMs - Math.max(this.#records.seenMs(slot, 0), this.#records.seenMs(slot, 1));
  }
  #timeout(slot: number): number {
    this.#notice(slot);
    const protocol = this.#records.protocol(slot);
    return timeoutOf(protocol, this.#phase(slot), this.#timeouts);
  }
  /** Whether a half that this host stamps has gone so far that others would let it end. */
  #hasNews(slot: number): boolean {
    const life = this.#timeout(slot) * TELL_PART;
    for (const side of SIDES) {
      const at = slot * 2 + side;
      const [seenMs, toldMs] = [this.#records.seenMs(slot, side), this.#told[at]!];
      // The first packet of a direction is news whatever the clock says: it changes the phase.
      if (seenMs - toldMs >= (toldMs === 0 ? Number.MIN_VALUE : life)) return true;
      if ((this.#records.tcp(slot, side) & ENDS & ~this.#toldEnds[at]!) !== 0) return true;
    }
    return false;
  }
  /** Others know of the halves as they are. */
  told({ slot }: ConnectionRef): void {
    for (const side of SIDES) {
      this.#told[slot * 2 + side] = this.#records.seenMs(slot, side);
      this.#toldEnds[slot * 2 + side] = this.#records.tcp(slot, side) & ENDS;
    }
  }

  /**
   * Records of which a direction ended since others were told: to be told at once. Costs a look at
   * two words of each record there is.
   */
  endings(): ConnectionRef[] {
    const found: ConnectionRef[] = [];
    const records = this.#records;
    for (let at = 0; at < this.#used * 2; at++) {
      const slot = at >> 1;
      const ends = records.tcp(slot, (at & 1) as Side) & ENDS & ~this.#toldEnds[at]!;
      if (ends !== 0 && records.generation(slot) !== 0 && found.at(-1)?.slot !== slot)
        found.push(this.#ref(slot));
    }
    return found;
  }

  record(ref: ConnectionRef): ConnectionRecord | undefined {
    return this.#is(ref) ? this.#records.read(ref.slot) : undefined;
  }
  *refs(): Generator<ConnectionRef> {
    for (let slot = 0; slot < this.#used; slot++)
      if (this.#records.generation(slot) !== 0) yield this.#ref(slot);
  }
  /** Those that entered or left by a port. Costs a look at each record. */
  byPort(port: PortId): ConnectionRef[] {
    const id = idWords(port);
    const found: ConnectionRef[] = [];
    for (let slot = 0; slot < this.#used; slot++)
      if (this.#records.generation(slot) !== 0 && this.#records.concerns(slot, id))
        found.push(this.#ref(slot));
    return found;
  }
  isAlive(ref: ConnectionRef): boolean {
    return this.#is(ref);
  }
  /** What there is in a slot; undefined: nothing. */
  at(slot: number): ConnectionRef | undefined {
    if (slot < 1 || slot >= this.slots || this.#records.generation(slot) === 0) return undefined;
    return this.#ref(slot);
  }

  /** Ends records; answers their keys. */
  remove(refs: Iterable<ConnectionRef>): ConnectionKey[] {
    const changed: ConnectionKey[] = [];
    for (const ref of refs) if (this.#is(ref)) changed.push(...this.#drop(ref.slot));
    return changed;
  }
  /** Ends what entered or answered in zones that are not any more. Costs a look at each record. */
  keepZones(isZone: (zone: Zone) => boolean): ConnectionKey[] {
    const isHere = (slot: number) => (side: Side) => isZone(this.#records.zone(slot, side));
    return this.#keep((slot) => SIDES.every(isHere(slot)));
  }
  /** Ends what has ends that are no more to be had. Costs a look at each record. */
  keepTranslations(isKept: (translation: Translation) => boolean): ConnectionKey[] {
    return this.#keep((slot) => this.#records.translations(slot).every(isKept));
  }
  #keep(isKept: (slot: number) => boolean): ConnectionKey[] {
    return this.remove([...this.refs()].filter(({ slot }) => !isKept(slot)));
  }

  counters(): ConnectionCounters {
    const { live, halfOpen } = this.#shares;
    return { live, halfOpen, ...this.#count };
  }
  /** Of the port that has the most. */
  largest(): { readonly live: number; readonly halfOpen: number } {
    return this.#shares.largest();
  }

  /** Whether something came back is seen in the stamps only. */
  #notice(slot: number): void {
    if (this.#shares.isHalfOpen(slot) && !isHalfOpen(this.#phase(slot)))
      this.#shares.setHalfOpen(slot, false);
  }
  #hasEnded(slot: number, side: Side): boolean {
    return (this.#records.tcp(slot, side) & ENDS) !== 0 || this.#phase(slot) === 'closed';
  }
  #phase(slot: number) {
    const records = this.#records;
    return phaseOf(records.protocol(slot), records.half(slot, 0), records.half(slot, 1));
  }

  /** A key that another record has is taken from it, and its other one with it. */
  #clash({ zone, tuple }: ConnectionKey, changed: ConnectionKey[]): void {
    this.#records.encode(zone, tuple);
    const at = this.#search();
    if (at === NONE) return;
    this.#count.replaced += 1;
    changed.push(...this.#drop(at >> 1));
  }

  #slotFor(inPort: PortId | undefined, changed: ConnectionKey[]): number | undefined {
    const share = inPort ?? '';
    const crowd = this.#crowdedFor(share);
    // Half-open ones go first.
    const gone = crowd && (this.#idlest(crowd.share, true) ?? this.#idlest(crowd.share, false));
    if (crowd !== undefined && gone !== undefined) {
      this.#count[crowd.why] += 1;
      changed.push(...this.#drop(gone));
    }
    if (this.#freeCount === 0) return undefined;
    return this.#free[--this.#freeCount]!;
  }
  /** Which share has to give a record up for one more of this one; undefined: there is room. */
  #crowdedFor(share: string) {
    const shares = this.#shares;
    const most = Math.max(1, this.slots * HALF_OPEN_SHARE);
    if (shares.of(share).halfOpen >= most) {
      // Some may have been answered since: that is found out by looking, and they count no more.
      this.#idlest(share, true);
      if (shares.of(share).halfOpen >= most) return { share, why: 'evictedHalfOpen' } as const;
    }
    if (shares.of(share).live >= Math.max(1, this.slots * CONNECTION_SHARE))
      return { share, why: 'evictedShare' } as const;
    const crowd = this.#freeCount === 0 ? shares.crowd(share) : undefined;
    return crowd === undefined ? undefined : ({ share: crowd, why: 'evictedFull' } as const);
  }
  /** Of a share's oldest half-open records, or other ones, the one that was idle longest. */
  #idlest(share: string, halfOpen: boolean): number | undefined {
    const records = this.#records;
    let [idlest, seenLast]: [number | undefined, number] = [undefined, Infinity];
    for (const slot of this.#shares.oldest(share, halfOpen, EVICTION_LOOKS)) {
      this.#notice(slot);
      if (this.#shares.isHalfOpen(slot) !== halfOpen) continue;
      const seen = Math.max(records.seenMs(slot, 0), records.seenMs(slot, 1));
      if (seen < seenLast) [idlest, seenLast] = [slot, seen];
    }
    return idlest;
  }

  #nextGeneration(): number {
    return (this.#lastGeneration = (this.#lastGeneration + 1) >>> 0 || 1);
  }
  #publish(slot: number): ConnectionRef {
    const generation = this.#nextGeneration();
    this.#records.setIncarnation(slot, generation);
    this.#records.setGeneration(slot, generation);
    this.#used = Math.max(this.#used, slot + 1);
    this.#told.fill(0, slot * 2, slot * 2 + 2);
    this.#toldEnds.fill(0, slot * 2, slot * 2 + 2);
    this.#link(slot);
    this.#count.opened += 1;
    return { slot, generation };
  }
  #link(slot: number): void {
    this.#index.add(slot);
    this.#shares.add(slot, this.#records.inPort(slot) ?? '', isHalfOpen(this.#phase(slot)));
    this.#countEnds(slot, 1);
  }
  #countEnds(slot: number, by: 1 | -1): void {
    const translations = this.#records.translations(slot);
    if (translations.length === 0) return;
    this.ends.count(translations, by);
    this.balanced.count(this.#records.protocol(slot), translations, by);
  }
  /** Ends a record: its memory first. Answers its keys. */
  #drop(slot: number): [ConnectionKey, ConnectionKey] {
    const records = this.#records;
    const keys = [records.keyOf(slot, 0), records.keyOf(slot, 1)] as [ConnectionKey, ConnectionKey];
    records.setGeneration(slot, 0);
    this.#index.remove(slot);
    this.#shares.remove(slot);
    this.#countEnds(slot, -1);
    this.#free[this.#freeCount++] = slot;
    return keys;
  }
  /** The entry (slot and side) of the key that was encoded; NONE: there is none. */
  #search(): number {
    return this.#index.search();
  }
  #ref(slot: number): ConnectionRef {
    return { slot, generation: this.#records.generation(slot) };
  }
  #is({ slot, generation }: ConnectionRef): boolean {
    return (
      slot > 0 &&
      slot < this.slots &&
      this.#records.generation(slot) === generation &&
      generation !== 0
    );
  }
}
