/**
 * Flows in the kernel: which slot is what, what waits for `commit`, and what is found at the start.
 *
 * Invariants: a key in the kernel's table belongs to the slot that KeyIndex says, so removing a
 * replaced flow never removes its successor; a slot is written only while free; everything found at
 * the start is either in force and known here, or deleted.
 */
import type { Actions, Flow, FlowRef } from '#flow/flow.ts';
import { FLOW_VALUE, KEY, KEY_SIZE, offsets, sizeOf } from '#flow/layout.ts';
import { entryOf } from '#flow/parse.ts';
import { readMac } from '#net/mac.ts';
import type { Mac } from '#net/mac.ts';
import { BpfBatch } from '#os/bpf.ts';
import { ERRNO } from '#os/libc.ts';
import { hasField } from '#virtual/match.ts';
import type { FieldSet } from '#virtual/match.ts';
import { checkActions } from '../check.ts';
import type { FlowStats, Installed } from '../datapath.ts';
import type { ActionArray } from './actions.ts';
import { entryIdAt } from './entries.ts';
import { KeyIndex } from './key-index.ts';
import type { Maps } from './maps.ts';
import type { Masks } from './masks.ts';

/** Flows installed or removed by one system call. */
export const BATCH_MAX = 1024;
const VALUE = offsets(FLOW_VALUE);
const VALUE_SIZE = sizeOf(FLOW_VALUE);
const KEY_WORDS = KEY_SIZE / 4;
const MASK_ID_WORD = KEY.mask_id / 4;
const NO_STATS: FlowStats = { packets: 0, bytes: 0, lastUsedMs: 0 };

/** `outside`: live, but without a place in the kernel's table (replaced, or it was refused). */
const STATE = { free: 0, queued: 1, inside: 2, outside: 3 } as const;
const NO_MASK = 0xff;

/** Which MAC all frames of a flow are for; undefined when it does not match that. */
const ethDstOf = (key: Uint8Array, fields: FieldSet): Mac | undefined =>
  hasField(fields, 'ethDst') ? readMac(key, KEY.eth_dst) : undefined;

export class Flows {
  /** Flows that the kernel's table did not take; their frames go on being handed up. */
  refused = 0;
  readonly #slots: number;
  readonly #actions: ActionArray;
  readonly #masks: Masks;
  readonly #index: KeyIndex;
  readonly #state: Uint8Array;
  readonly #mask: Uint8Array;
  readonly #batch: BpfBatch;
  readonly #batchKeys: Uint32Array;
  readonly #queue: number[] = [];
  readonly #queueGenerations: number[] = [];
  readonly #chunk: number[] = [];

  constructor(maps: Maps, actions: ActionArray, masks: Masks) {
    this.#slots = maps.slots;
    this.#actions = actions;
    this.#masks = masks;
    this.#index = new KeyIndex(maps.slots);
    this.#state = new Uint8Array(maps.slots);
    this.#mask = new Uint8Array(maps.slots).fill(NO_MASK);
    this.#batch = new BpfBatch(maps.fds.flows, KEY_SIZE, VALUE_SIZE, BATCH_MAX);
    this.#batchKeys = new Uint32Array(this.#batch.keys.buffer);
    if (maps.adopted) this.#adopt();
    this.#masks.sweep();
  }

  #adopt(): void {
    const batch = this.#batch;
    const broken: Uint32Array[] = [];
    for (let n = batch.read(true); n > 0; n = batch.read(false)) {
      for (let i = 0; i < n; i++) {
        const key = this.#batchKeys.subarray(i * KEY_WORDS, (i + 1) * KEY_WORDS);
        const slot = batch.values.view.getUint32(i * VALUE_SIZE + VALUE.slot, true);
        const generation = batch.values.view.getUint32(i * VALUE_SIZE + VALUE.generation, true);
        if (!this.#adoptFlow(key, slot, generation)) broken.push(key.slice());
      }
    }
    for (const key of broken) this.#queueDelete(key);
    this.#flushDeletes();
  }

  #adoptFlow(key: Uint32Array, slot: number, generation: number): boolean {
    const actions = this.#actions;
    if (slot >= this.#slots || this.#state[slot] !== STATE.free) return false;
    if (actions.generation(slot) !== generation || actions.stale(slot)) return false;
    const fields = this.#masks.fieldsAt(key[MASK_ID_WORD]! - 1);
    const mask = fields === undefined ? -1 : this.#masks.acquire(fields, entryIdAt(key, 0));
    if (mask < 0) return false;
    this.#index.words.set(key, slot * KEY_WORDS);
    this.#index.set(slot);
    this.#mask[slot] = mask;
    this.#state[slot] = STATE.inside;
    actions.adopt(slot);
    return true;
  }

  #live({ slot, generation }: FlowRef): boolean {
    const state = this.#state[slot];
    return (
      state !== undefined && state !== STATE.free && this.#actions.generation(slot) === generation
    );
  }

  install(ref: FlowRef, { key, fields, actions }: Flow): void {
    const { slot, generation } = ref;
    const state = this.#state[slot];
    if (state === undefined) throw new Error(`datapath: there is no slot ${slot}`);
    if (state !== STATE.free) throw new Error(`datapath: slot ${slot} is in use`);
    checkActions(actions);
    const { port, tunnel } = entryOf(key);
    const ethDst = ethDstOf(key, fields);
    const mask = this.#masks.acquire(fields, port + (tunnel?.source ?? 0) * 2 ** 32);
    this.#actions.write(ref, actions, { port, key: tunnel?.key ?? 0, ethDst });
    if (mask < 0) {
      this.#mask[slot] = NO_MASK;
      this.#state[slot] = STATE.outside;
      return;
    }
    this.#mask[slot] = mask;
    this.#state[slot] = STATE.queued;
    const { words } = this.#index;
    const base = slot * KEY_WORDS;
    for (let i = 0, at = 0; i < KEY_WORDS; i++, at += 4) {
      words[base + i] =
        key[at]! | (key[at + 1]! << 8) | (key[at + 2]! << 16) | (key[at + 3]! << 24);
    }
    words[base + MASK_ID_WORD] = mask + 1;
    this.#queue.push(slot);
    this.#queueGenerations.push(generation);
  }

  invalidate(refs: readonly FlowRef[]): void {
    for (const ref of refs) if (this.#live(ref)) this.#actions.invalidate(ref.slot);
  }

  remove(refs: readonly FlowRef[]): void {
    for (const ref of refs) if (this.#live(ref)) this.#removeSlot(ref.slot);
    this.#flushDeletes();
  }

  #removeSlot(slot: number): void {
    this.#actions.invalidate(slot);
    if (this.#state[slot] === STATE.inside) {
      this.#index.delete(slot);
      this.#queueDelete(this.#index.words.subarray(slot * KEY_WORDS, (slot + 1) * KEY_WORDS));
    }
    this.#state[slot] = STATE.free;
    this.#actions.release(slot);
    // The mask stays until its flows are out of the table: a new one in its place must not find
    // them.
    if (this.#mask[slot] === NO_MASK) return;
    const entry = entryIdAt(this.#index.words, slot * KEY_WORDS);
    this.#released.push({ mask: this.#mask[slot]!, entry });
  }
  readonly #released: { readonly mask: number; readonly entry: number }[] = [];
  #deletes = 0;

  #queueDelete(key: Uint32Array): void {
    this.#batchKeys.set(key, this.#deletes * KEY_WORDS);
    if (++this.#deletes === BATCH_MAX) this.#flushDeletes();
  }

  #flushDeletes(): void {
    const { bytes } = this.#batch.keys;
    for (let left = this.#deletes; left > 0;) {
      const { done, errno } = this.#batch.delete(left);
      if (errno !== 0 && errno !== ERRNO.ENOENT)
        throw new Error(`datapath: flows not deleted: errno ${errno}`);
      const skip = errno === 0 ? done : done + 1;
      bytes.copyWithin(0, skip * KEY_SIZE, left * KEY_SIZE);
      left -= skip;
    }
    this.#deletes = 0;
    for (const { mask, entry } of this.#released) this.#masks.release(mask, entry);
    this.#released.length = 0;
  }

  /** Puts what was installed since the last time into the kernel's table. */
  commit(): void {
    const queue = this.#queue;
    for (let i = 0; i < queue.length; i++) {
      const slot = queue[i]!;
      // Removed meanwhile, and perhaps taken again: then it is in the queue once more.
      if (this.#state[slot] !== STATE.queued) continue;
      if (this.#actions.generation(slot) !== this.#queueGenerations[i]!) continue;
      this.#chunk.push(slot);
      if (this.#chunk.length === BATCH_MAX) this.#commitChunk();
    }
    queue.length = 0;
    this.#queueGenerations.length = 0;
    if (this.#chunk.length > 0) this.#commitChunk();
  }

  #commitChunk(): void {
    const chunk = this.#chunk;
    const { words } = this.#index;
    const values = this.#batch.values.view;
    for (let i = 0; i < chunk.length; i++) {
      const slot = chunk[i]!;
      const base = slot * KEY_WORDS;
      for (let w = 0; w < KEY_WORDS; w++) this.#batchKeys[i * KEY_WORDS + w] = words[base + w]!;
      values.setUint32(i * VALUE_SIZE + VALUE.slot, slot, true);
      values.setUint32(i * VALUE_SIZE + VALUE.generation, this.#actions.generation(slot), true);
    }
    for (let from = 0; from < chunk.length;) {
      const { done, errno } = this.#batch.update(chunk.length - from);
      for (let i = from; i < from + done; i++) this.#entered(chunk[i]!);
      from += done;
      if (errno === 0) break;
      // The one that failed stays outside; the rest moves up and is tried again.
      this.refused++;
      this.#state[chunk[from]!] = STATE.outside;
      from++;
      this.#batch.keys.bytes.copyWithin(0, (done + 1) * KEY_SIZE);
      this.#batch.values.bytes.copyWithin(0, (done + 1) * VALUE_SIZE);
    }
    chunk.length = 0;
  }

  #entered(slot: number): void {
    const replaced = this.#index.set(slot);
    this.#state[slot] = STATE.inside;
    if (replaced >= 0 && replaced !== slot) this.#state[replaced] = STATE.outside;
  }

  /** What is behind interfaces is not as it was: of every flow, whether it goes straight there. */
  cross(): void {
    const keys = new Uint8Array(this.#index.words.buffer);
    for (let slot = 0; slot < this.#slots; slot++) {
      const mask = this.#mask[slot]!;
      if (this.#state[slot] === STATE.free || mask === NO_MASK) continue;
      const key = keys.subarray(slot * KEY_SIZE, (slot + 1) * KEY_SIZE);
      this.#actions.cross(slot, ethDstOf(key, this.#masks.fieldsAt(mask)!));
    }
  }

  stats(ref: FlowRef): FlowStats {
    if (!this.#live(ref)) return NO_STATS;
    const { slot } = ref;
    const actions = this.#actions;
    const lastUsedMs = actions.lastUsedMs(slot);
    return { packets: actions.packets(slot), bytes: actions.bytes(slot), lastUsedMs };
  }

  actions(ref: FlowRef): Actions | undefined {
    return this.#live(ref) ? this.#actions.read(ref.slot) : undefined;
  }

  /** Everything in force; what is stale or has no place in the table is removed. */
  dump(): Installed[] {
    const found: Installed[] = [];
    for (let slot = 0; slot < this.#slots; slot++) {
      if (this.#state[slot] === STATE.free) continue;
      if (this.#state[slot] === STATE.inside && !this.#actions.stale(slot))
        found.push(this.#installed(slot));
      else this.#removeSlot(slot);
    }
    this.#flushDeletes();
    return found;
  }

  #installed(slot: number): Installed {
    const words = this.#index.words.slice(slot * KEY_WORDS, (slot + 1) * KEY_WORDS);
    words[MASK_ID_WORD] = 0;
    const flow = {
      key: new Uint8Array(words.buffer),
      fields: this.#masks.fieldsAt(this.#mask[slot]!)!,
      actions: this.#actions.read(slot),
    };
    return { ref: { slot, generation: this.#actions.generation(slot) }, flow };
  }
}
