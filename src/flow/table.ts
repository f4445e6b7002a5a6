/**
 * The agent's side of the flows: which slot is whose, what each depends on, and why it is what it
 * is.
 *
 * One row a slot, in columns of numbers. A slot is free, then live (or adopted: found in a
 * datapath, not yet walked again), then stale (out of every index; the datapath still has it), then
 * free again with a new generation. Invariants: among live and adopted flows no two have equal
 * fields and key; there are at most MASKS_MAX sets of fields in use, ENTRY_MASKS_MAX by one entry,
 * stale flows included, and the exact one always has a place; no entry has more flows than its
 * quota, and none loses a flow to another while it has no more than its share.
 */
import type { FieldSet } from '#virtual/match.ts';
import type { Tag } from '#virtual/tags.ts';
import { CauseTable } from './cause.ts';
import type { Cause } from './cause.ts';
import { NONE } from './column.ts';
import { EntryFlows } from './entry-flows.ts';
import { ENTRY_MASKS_MAX, MASKS_MAX } from './flow.ts';
import type { FlowRef } from './flow.ts';
import { KEY, KEY_SIZE } from './layout.ts';
import { EXACT, maskKey, matchedFields } from './mask.ts';
import { noCounts } from './table-counters.ts';
import type { TableCounters } from './table-counters.ts';
import { LINKS_PER_SLOT, TagIndex } from './tag-index.ts';

export interface TableOptions {
  /** The datapath's. */
  readonly slots: number;
  /**
   * Flows that one entry may have, and a matching part of the room for tags; all of them unless
   * told.
   */
  readonly quota?: number;
  /** A flow that no frame used for so long expires. */
  readonly idleMs: number;
  /** Every flow is walked again after so long: a bound for whatever invalidation has missed. */
  readonly ageMaxMs: number;
  /** Any number nobody outside knows: frames cannot be made to collide in the index. */
  readonly seed: number;
}

export interface NewFlow {
  /** The frame's key with its entry, nothing masked. */
  readonly key: Uint8Array;
  /** Fields the walk has seen. */
  readonly fields: FieldSet;
  /** Of the outcome and of its compilation. Duplicates do no harm. */
  readonly tags: Iterable<Tag>;
  readonly cause: Cause;
  readonly now: number;
}

export interface Added {
  readonly ref: FlowRef;
  /** Masked; the caller's to keep. With `fields` it makes the flow to install. */
  readonly key: Uint8Array;
  /** As it is matched: with what addresses need, or every field where masks are used up. */
  readonly fields: FieldSet;
  /** False: there is such a flow already, and `ref` is it. Nothing is to be installed. */
  readonly fresh: boolean;
}

const FREE = 0;
const LIVE = 1;
const ADOPTED = 2;
const STALE = 3;
const KEY_WORDS = KEY_SIZE / 4;
const SLOTS_MAX = 2 ** 24;
const NO_FIELDS: FieldSet = 0;
/** The interface and tunnel source of a key's words, as one number. */
const entryAt = (words: Uint32Array, at: number): number =>
  words[at + KEY.in_port / 4]! + words[at + KEY.tun_src / 4]! * 2 ** 32;

/** How `evictFor` goes about it. */
export interface Eviction {
  /** Flows made stale at once, at most. */
  readonly most: number;
  /** A flow that was used since then is passed over, while there are others. */
  readonly sinceMs: number;
  /** The datapath's statistics; see `expire`. */
  readonly lastUsedMs: (ref: FlowRef) => number;
}

export class FlowTable {
  readonly slots: number;
  readonly #options: TableOptions;
  readonly #index: TagIndex;
  readonly #causes = new CauseTable();
  /** By slot. Free slots form a queue through `#next` and `#chain` (previous), oldest first. */
  readonly #keys: Uint32Array;
  readonly #generation: Uint32Array;
  readonly #state: Uint8Array;
  readonly #fields: Uint16Array;
  readonly #created: Float64Array;
  readonly #cause: Int32Array;
  readonly #chain: Int32Array;
  readonly #next: Int32Array;
  readonly #buckets: Int32Array;
  readonly #masks = new Map<FieldSet, number>();
  readonly #entries: EntryFlows;
  readonly #quota: number;
  readonly #masked = new Uint8Array(KEY_SIZE);
  readonly #words = new Uint32Array(this.#masked.buffer);
  #freeFirst = 0;
  #freeLast: number;
  #cursor = 0;
  readonly #count = noCounts();

  constructor(options: TableOptions) {
    const { slots } = options;
    if (!Number.isInteger(slots) || slots < 1 || slots > SLOTS_MAX)
      throw new Error(`flow table: slots must be 1 to ${SLOTS_MAX}, not ${slots}`);
    this.slots = slots;
    this.#options = options;
    this.#index = new TagIndex(slots);
    this.#entries = new EntryFlows(slots);
    this.#quota = options.quota ?? slots;
    this.#keys = new Uint32Array(slots * KEY_WORDS);
    this.#generation = new Uint32Array(slots);
    this.#state = new Uint8Array(slots);
    this.#fields = new Uint16Array(slots);
    this.#created = new Float64Array(slots);
    this.#cause = new Int32Array(slots).fill(NONE);
    this.#chain = new Int32Array(slots);
    this.#next = new Int32Array(slots);
    for (let slot = 0; slot < slots; slot++) {
      this.#chain[slot] = slot - 1;
      this.#next[slot] = slot + 1 < slots ? slot + 1 : NONE;
    }
    this.#freeLast = slots - 1;
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(slots))).fill(NONE);
  }

  /** The flow in use with these fields whose masked key is that of `key`. */
  find(fields: FieldSet, key: Uint8Array): FlowRef | undefined {
    const matched = matchedFields(fields);
    maskKey(key, matched, this.#masked);
    const slot = this.#search(matched, this.#hash(matched));
    return slot === NONE ? undefined : this.#ref(slot);
  }

  /**
   * The flow in use that serves frames of this key, whatever its fields. At most ENTRY_MASKS_MAX
   * probes.
   */
  lookup(key: Uint8Array): FlowRef | undefined {
    maskKey(key, NO_FIELDS, this.#masked);
    for (const fields of this.#entries.masks(entryAt(this.#words, 0)).keys()) {
      const ref = this.find(fields, key);
      if (ref !== undefined) return ref;
    }
    return undefined;
  }

  /**
   * Gives a flow a slot. Undefined, and counted, when the table is full (of flows or of tags) or
   * its entry has its quota: the caller then makes room with `evictFor`, or forwards the frame
   * without caching. Where MASKS_MAX sets of fields are in use, or ENTRY_MASKS_MAX by this entry, a
   * flow with another one becomes exact.
   */
  add({ key, fields: seen, tags, cause, now }: NewFlow): Added | undefined {
    maskKey(key, NO_FIELDS, this.#masked);
    const entry = entryAt(this.#words, 0);
    const matched = matchedFields(seen);
    const fields = this.#admit(matched, entry);
    maskKey(key, fields, this.#masked);
    const hash = this.#hash(fields);
    const found = this.#search(fields, hash);
    if (found !== NONE)
      return { ref: this.#ref(found), key: this.#masked.slice(), fields, fresh: false };
    const slot = this.#freeFirst;
    if (slot === NONE) return this.#refuse('refusedFull');
    if (this.#entries.of(entry).flows >= this.#quota) return this.#refuse('refusedQuota');
    const before = this.#index.links;
    const chain = this.#index.add(slot, tags);
    if (chain === undefined) return this.#refuse('refusedTags');
    const links = this.#index.links - before;
    if (this.#entries.of(entry).links + links > this.#quota * LINKS_PER_SLOT) {
      this.#index.remove(chain);
      return this.#refuse('refusedQuota');
    }
    if (fields !== matched) this.#count[this.#wide(entry) ? 'widenedOwn' : 'widened']++;
    const generation = (this.#generation[slot]! + 1) >>> 0;
    this.#occupy({ slot, generation: generation === 0 ? 1 : generation }, fields, hash);
    this.#entries.hold(slot, links);
    this.#state[slot] = LIVE;
    this.#created[slot] = now;
    this.#chain[slot] = chain;
    this.#cause[slot] = this.#causes.intern(cause);
    return { ref: this.#ref(slot), key: this.#masked.slice(), fields, fresh: true };
  }
  #refuse(why: 'refusedQuota' | 'refusedFull' | 'refusedTags'): undefined {
    this.#count[why]++;
    return undefined;
  }

  /**
   * Takes in a flow found in a datapath, under its own slot and generation. It serves lookups and
   * expires, but no tag finds it until `reconcile`. False: there is no place for it (its slot is
   * taken or not there, it is a duplicate, its mask is one too many, its entry has its quota), and
   * the caller removes it from the datapath.
   */
  adopt(ref: FlowRef, flow: { key: Uint8Array; fields: FieldSet }, now: number): boolean {
    const { slot } = ref;
    if (!Number.isInteger(slot) || slot < 0 || slot >= this.slots) return false;
    const fields = matchedFields(flow.fields);
    maskKey(flow.key, fields, this.#masked);
    const entry = entryAt(this.#words, 0);
    if (this.#state[slot] !== FREE || this.#admit(fields, entry) !== fields) return false;
    if (this.#entries.of(entry).flows >= this.#quota) return false;
    const hash = this.#hash(fields);
    if (this.#search(fields, hash) !== NONE) return false;
    this.#occupy(ref, fields, hash);
    this.#state[slot] = ADOPTED;
    this.#created[slot] = now;
    this.#chain[slot] = NONE;
    this.#cause[slot] = NONE;
    this.#count.adopted++;
    return true;
  }

  /**
   * Says what an adopted flow depends on, after a walk came to the same actions. False when it is
   * not an adopted flow any more, or there is no room for its tags: then it is to be retired.
   */
  reconcile(ref: FlowRef, because: { tags: Iterable<Tag>; cause: Cause }): boolean {
    if (!this.#is(ref) || this.#state[ref.slot] !== ADOPTED) return false;
    const before = this.#index.links;
    const chain = this.#index.add(ref.slot, because.tags);
    if (chain === undefined) {
      this.#count.refusedTags++;
      return false;
    }
    this.#entries.hold(ref.slot, this.#index.links - before);
    this.#chain[ref.slot] = chain;
    this.#cause[ref.slot] = this.#causes.intern(because.cause);
    this.#state[ref.slot] = LIVE;
    this.#count.adopted--;
    return true;
  }

  /**
   * Makes every flow stale that holds a tag which one of these `covers` (`'all'`: every flow,
   * adopted ones too) and answers those that were not before. The caller invalidates them in the
   * datapath in the same turn, removes them there when it suits, then calls `remove`.
   *
   * A tag costs its flows; a routes tag also a look at each destination of its router that flows
   * hold: at most ROUTES_TAGS_MAX of one router are to be given at once.
   */
  invalidate(tags: Iterable<Tag> | 'all'): FlowRef[] {
    const refs: FlowRef[] = [];
    if (tags === 'all') {
      for (let slot = 0; slot < this.slots; slot++)
        if (this.#inUse(slot)) refs.push(this.#retire(slot));
    } else
      for (const tag of tags) {
        this.#retireUnder(tag, refs);
        for (const inside of this.#index.inside(tag)) this.#retireUnder(inside, refs);
      }
    this.#count.invalidated += refs.length;
    return refs;
  }

  /** Makes flows stale by name; answers those that were not before. */
  retire(refs: Iterable<FlowRef>): FlowRef[] {
    const retired: FlowRef[] = [];
    for (const ref of refs)
      if (this.#is(ref) && this.#inUse(ref.slot)) retired.push(this.#retire(ref.slot));
    this.#count.invalidated += retired.length;
    return retired;
  }

  /** Frees slots, after the datapath has removed the flows. Unknown refs are ignored. */
  remove(refs: Iterable<FlowRef>): void {
    for (const ref of refs) {
      const { slot } = ref;
      if (!this.#is(ref) || this.#state[slot] === FREE) continue;
      if (this.#inUse(slot)) this.#retire(slot);
      const fields = this.#fields[slot]!;
      const users = this.#masks.get(fields)! - 1;
      if (users === 0) this.#masks.delete(fields);
      else this.#masks.set(fields, users);
      this.#entries.remove(slot, fields);
      this.#count.stale--;
      if (this.#cause[slot] !== NONE) this.#causes.release(this.#cause[slot]!);
      this.#cause[slot] = NONE;
      this.#state[slot] = FREE;
      this.#next[slot] = NONE;
      this.#chain[slot] = this.#freeLast;
      if (this.#freeLast === NONE) this.#freeFirst = slot;
      else this.#next[this.#freeLast] = slot;
      this.#freeLast = slot;
    }
  }

  /**
   * Looks at the next `slots` slots in turn and makes stale what was idle or lived too long;
   * answers it as
   * `invalidate` does. `lastUsedMs`: the datapath's statistics, 0 for never. All times are of one
   * clock.
   */
  expire(now: number, lastUsedMs: (ref: FlowRef) => number, slots: number = this.slots): FlowRef[] {
    const { idleMs, ageMaxMs } = this.#options;
    const refs: FlowRef[] = [];
    for (let n = Math.min(slots, this.slots); n > 0; n--) {
      const slot = this.#cursor;
      this.#cursor = slot + 1 < this.slots ? slot + 1 : 0;
      if (!this.#inUse(slot)) continue;
      const created = this.#created[slot]!;
      const old = now - created >= ageMaxMs;
      if (!old && now - created < idleMs) continue;
      if (!old && now - lastUsedMs(this.#ref(slot)) < idleMs) continue;
      if (old) this.#count.expiredAge++;
      else this.#count.expiredIdle++;
      refs.push(this.#retire(slot));
    }
    return refs;
  }

  /**
   * After `add` refused a flow of this key: makes flows stale that shall go for it, and answers
   * them as `invalidate` does. An entry that has its quota, or its share of a full table (as many
   * for every entry), pays itself; else the entry that has the most does, as far as that is more
   * than its share. None when slots become free anyway.
   */
  evictFor(key: Uint8Array, how: Eviction): FlowRef[] {
    maskKey(key, NO_FIELDS, this.#masked);
    const entry = entryAt(this.#words, 0);
    const own = this.#entries.of(entry);
    if (own.flows >= this.#quota || own.links > (this.#quota * LINKS_PER_SLOT) / 2)
      if (this.#freeFirst !== NONE) return this.#evict(entry, how.most, how);
    if (this.#count.stale > 0) return [];
    const entries = this.#entries.size + (own.flows === 0 ? 1 : 0);
    const share = Math.max(1, Math.floor(this.slots / entries));
    if (own.flows >= share) return this.#evict(entry, how.most, how);
    const crowd = this.#entries.largest();
    if (crowd === undefined) return [];
    const surplus = this.#entries.of(crowd).flows - share;
    return this.#evict(crowd, Math.min(how.most, surplus), how, 'evicted');
  }
  #evict(
    entry: number,
    wanted: number,
    { sinceMs, lastUsedMs }: Eviction,
    counter: 'evicted' | 'evictedOwn' = 'evictedOwn',
  ): FlowRef[] {
    const busy = (slot: number): boolean => lastUsedMs(this.#ref(slot)) > sinceMs;
    const slots = this.#entries.idlest(entry, wanted, busy);
    this.#count[counter] += slots.length;
    return slots.map((slot) => this.#retire(slot));
  }

  /**
   * Why a flow is what it is, or was, until it is removed; undefined when it was adopted and not
   * reconciled yet.
   */
  cause(ref: FlowRef): Cause | undefined {
    if (!this.#is(ref) || this.#cause[ref.slot] === NONE) return undefined;
    return this.#causes.read(this.#cause[ref.slot]!);
  }
  tags(ref: FlowRef): Tag[] {
    if (!this.#is(ref) || this.#state[ref.slot] !== LIVE) return [];
    return this.#index.names(this.#chain[ref.slot]!);
  }
  /** Flows that hold this very tag. */
  flowsUnder(tag: Tag): FlowRef[] {
    return this.#index.slots(tag).map((slot) => this.#ref(slot));
  }
  /** Masked key and fields of a flow in use. */
  match(ref: FlowRef): { readonly key: Uint8Array; readonly fields: FieldSet } | undefined {
    const { slot } = ref;
    if (!this.#is(ref) || !this.#inUse(slot)) return undefined;
    const words = this.#keys.slice(slot * KEY_WORDS, (slot + 1) * KEY_WORDS);
    return { key: new Uint8Array(words.buffer), fields: this.#fields[slot]! };
  }
  /** When a flow in use was added or adopted, on the clock of `now`. */
  createdMs(ref: FlowRef): number | undefined {
    return this.#is(ref) && this.#inUse(ref.slot) ? this.#created[ref.slot] : undefined;
  }
  /** Flows in use in `count` slots from `from` on: all of them, a part at a time. */
  refsIn(from: number, count: number): FlowRef[] {
    const found: FlowRef[] = [];
    for (let slot = from; slot < Math.min(from + count, this.slots); slot++)
      if (this.#inUse(slot)) found.push(this.#ref(slot));
    return found;
  }
  /** Flows in use. `'adopted'`: only those that wait for `reconcile`. */
  refs(which: 'all' | 'adopted' = 'all'): FlowRef[] {
    const found: FlowRef[] = [];
    for (let slot = 0; slot < this.slots; slot++)
      if (this.#state[slot] === ADOPTED || (which === 'all' && this.#state[slot] === LIVE))
        found.push(this.#ref(slot));
    return found;
  }
  /** Whether every slot is taken, by stale flows too. */
  get full(): boolean {
    return this.#freeFirst === NONE;
  }
  counters(): TableCounters {
    return { ...this.#count, masks: this.#masks.size, tags: this.#index.tags };
  }

  #ref(slot: number): FlowRef {
    return { slot, generation: this.#generation[slot]! };
  }
  #is(ref: FlowRef): boolean {
    return this.#generation[ref.slot] === ref.generation;
  }
  #inUse(slot: number): boolean {
    return this.#state[slot] === LIVE || this.#state[slot] === ADOPTED;
  }

  #admit(fields: FieldSet, entry: number): FieldSet {
    if (fields === EXACT || this.#entries.masks(entry).has(fields)) return fields;
    if (this.#wide(entry)) return EXACT;
    if (this.#masks.has(fields)) return fields;
    const others = this.#masks.size - (this.#masks.has(EXACT) ? 1 : 0);
    return others < MASKS_MAX - 1 ? fields : EXACT;
  }
  /** Whether an entry has all the masks that it may have, but for the exact one. */
  #wide(entry: number): boolean {
    const masks = this.#entries.masks(entry);
    return masks.size - (masks.has(EXACT) ? 1 : 0) >= ENTRY_MASKS_MAX - 1;
  }

  /** Of the key in `#masked`. */
  #hash(fields: FieldSet): number {
    let hash = this.#options.seed ^ fields;
    for (let i = 0; i < KEY_WORDS; i++) {
      hash = Math.imul(hash ^ this.#words[i]!, 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash & (this.#buckets.length - 1);
  }

  #search(fields: FieldSet, hash: number): number {
    for (let slot = this.#buckets[hash]!; slot !== NONE; slot = this.#next[slot]!) {
      if (this.#fields[slot] !== fields) continue;
      let i = 0;
      const at = slot * KEY_WORDS;
      while (i < KEY_WORDS && this.#keys[at + i] === this.#words[i]) i++;
      if (i === KEY_WORDS) return slot;
    }
    return NONE;
  }

  /** Takes a free slot for the key in `#masked`. */
  #occupy({ slot, generation }: FlowRef, fields: FieldSet, hash: number): void {
    const next = this.#next[slot]!;
    const previous = this.#chain[slot]!;
    if (previous === NONE) this.#freeFirst = next;
    else this.#next[previous] = next;
    if (next === NONE) this.#freeLast = previous;
    else this.#chain[next] = previous;
    this.#generation[slot] = generation;
    this.#fields[slot] = fields;
    this.#keys.set(this.#words, slot * KEY_WORDS);
    this.#next[slot] = this.#buckets[hash]!;
    this.#buckets[hash] = slot;
    this.#masks.set(fields, (this.#masks.get(fields) ?? 0) + 1);
    this.#entries.enter(slot, entryAt(this.#words, 0), fields);
    this.#count.live++;
  }

  #retireUnder(tag: Tag, refs: FlowRef[]): void {
    for (let slot = this.#index.first(tag); slot !== undefined; slot = this.#index.first(tag))
      refs.push(this.#retire(slot));
  }

  /** From in use to stale: out of every index. */
  #retire(slot: number): FlowRef {
    if (!this.#inUse(slot)) throw new Error(`flow table: slot ${slot} is indexed but not in use`);
    const at = slot * KEY_WORDS;
    for (let i = 0; i < KEY_WORDS; i++) this.#words[i] = this.#keys[at + i]!;
    const hash = this.#hash(this.#fields[slot]!);
    if (this.#buckets[hash] === slot) this.#buckets[hash] = this.#next[slot]!;
    else {
      let before = this.#buckets[hash]!;
      while (this.#next[before] !== slot) before = this.#next[before]!;
      this.#next[before] = this.#next[slot]!;
    }
    if (this.#state[slot] === ADOPTED) this.#count.adopted--;
    this.#index.remove(this.#chain[slot]!);
    this.#state[slot] = STALE;
    this.#entries.leave(slot);
    this.#count.live--;
    this.#count.stale++;
    return this.#ref(slot);
  }
}
