/**
 * Carries what maps of another layout hold over to maps of this one, by the names of fields.
 *
 * Invariants: the old maps are only read; a record is carried wholly or not at all
 * (`translate.ts`), and a flow only together with its mask, its action and the outputs of its
 * group, in the same slot with the same generation. A flow that is left out is one that is not
 * installed: its frames are handed up. Nothing attached uses the new maps yet, so nobody sees half
 * of them; what the programs count in the old ones after the copy is lost, and nothing else.
 */
import type { Description, StructText } from '#flow/description.ts';
import {
  ACTION,
  ACTION_STRUCT,
  FLOW_VALUE,
  GROUP,
  KEY,
  KEY_SIZE,
  LIMITS,
  MARK_SLOT_BITS,
  offsets,
  SIZE,
  sizeOf,
} from '#flow/layout.ts';
import { fieldsOfMask, maskBytes } from '#flow/mask.ts';
import { reader, translator } from '#flow/translate.ts';
import type { Translate } from '#flow/translate.ts';
import { BpfBatch, BpfMap, MAP_FLAG, MAP_TYPE, mapInfo, openPinned } from '#os/bpf.ts';
import { closeFd, mapShared } from '#os/libc.ts';
import type { Mapping } from '#os/libc.ts';
import { OWN_LAYOUT, ROWS, rows } from './carry.ts';
import type { Row } from './carry.ts';
import { mappedBytes, possibleCpus } from './maps.ts';
import type { MapName, MapSizes } from './maps.ts';

/** Elements read and written by one system call. */
const BATCH = 4096;
const VALUE_AT = offsets(FLOW_VALUE);
const VALUE_SIZE = sizeOf(FLOW_VALUE);
const ACTION_AT = offsets(ACTION_STRUCT);
const GROUP_AT = offsets(GROUP);

/** Of each map: records carried, and left out because this version does not understand them. */
export interface Migration {
  readonly from: number;
  readonly carried: Readonly<Record<string, number>>;
  readonly left: Readonly<Record<string, number>>;
  readonly ms: number;
}

/** The maps of another layout, whole, with its description. */
export interface Source {
  readonly layout: Description;
  /** Where they are pinned. */
  readonly dir: string;
}

/** The records of an array map, which are the kernel's own memory: see `mapShared`. */
class Records implements Disposable {
  readonly view: DataView;
  readonly bytes: Uint8Array;
  /** Bytes from one to the next: the kernel's stride. */
  readonly size: number;
  readonly count: number;
  readonly #mapping: Mapping;

  constructor(fd: number, writable: boolean) {
    const { valueSize, entries } = mapInfo(fd);
    this.size = Math.ceil(valueSize / 8) * 8;
    this.count = entries;
    this.#mapping = mapShared(fd, mappedBytes(fd), { writable });
    this.bytes = new Uint8Array(this.#mapping.buffer);
    this.view = new DataView(this.#mapping.buffer);
  }
  isZero(i: number): boolean {
    for (let at = i * this.size; at < (i + 1) * this.size; at += 4)
      if (this.view.getUint32(at, true) !== 0) return false;
    return true;
  }
  clear(i: number): void {
    this.bytes.fill(0, i * this.size, (i + 1) * this.size);
  }
  [Symbol.dispose](): void {
    this.#mapping.unmap();
  }
}

/** The sizes that an operator chose, which stay; undefined when they are not to be found. */
export function sizesOf(
  { dir }: Source,
  { connections: wanted }: Pick<MapSizes, 'connections'>,
): MapSizes | undefined {
  const [flows, upcalls, connections = wanted] = ['flows', 'upcalls', 'connections'].map((name) => {
    const fd = openPinned(`${dir}/${name}`);
    if (fd === undefined) return undefined;
    const { entries } = mapInfo(fd);
    closeFd(fd);
    return entries;
  });
  if (flows === undefined || upcalls === undefined) return undefined;
  return { slots: flows, ringBytes: upcalls, connections };
}

/** Where a field of a row's value is. Throws when the row names none: it is wrong then. */
function placeOf({ value }: Row, field: string): number {
  const at = OWN_LAYOUT.structs[value ?? '']?.fields[field]?.[0];
  if (at === undefined) throw new Error(`${value} has no field ${field}`);
  return at;
}
function forget(row: Row, view: DataView, base: number): void {
  for (const field of row.forgets ?? []) {
    const [, type, count] = OWN_LAYOUT.structs[row.value ?? '']?.fields[field] ?? [0, 'u8', 0];
    const at = base + placeOf(row, field);
    for (let i = 0; i < SIZE[type] * count; i++) view.setUint8(at + i, 0);
  }
}

const allZero = (bytes: Uint8Array): boolean => bytes.every((byte) => byte === 0);

/** A mask of theirs as one of ours; undefined when ours could not be it. */
function maskHere(theirs: StructText, bytes: Uint8Array): Uint8Array | undefined {
  const spans = describedSpans(OWN_LAYOUT.structs['flow_key']);
  const asked = new Uint8Array(KEY_SIZE);
  for (const [name, [at, end]] of describedSpans(theirs)) {
    if (name === 'mask_id') continue;
    const part = bytes.subarray(at, end);
    if (allZero(part)) continue;
    const own = spans.get(name);
    if (own === undefined || !part.every((byte) => byte === 0xff)) return undefined;
    asked.fill(0xff, ...own);
  }
  const mask = maskBytes(fieldsOfMask(asked));
  const known = describedSpans(theirs);
  const differs = [...describedSpans(OWN_LAYOUT.structs['flow_key'])].some(
    ([name, [at, end]]) =>
      name !== 'mask_id' &&
      known.has(name) &&
      mask.subarray(at, end).some((byte, i) => byte !== asked[at + i]),
  );
  return differs ? undefined : mask;
}

const describedSpans = (struct: StructText | undefined): Map<string, [number, number]> =>
  new Map(
    Object.entries(struct?.fields ?? {}).map(([name, [at, type, count]]) => [
      name,
      [at, at + SIZE[type] * count],
    ]),
  );

/** Carries what the table says; the new maps are empty, and not in use. */
export function migrate(
  source: Source,
  fds: Readonly<Record<MapName, number>>,
  table: readonly (readonly [MapName, Row])[] = rows(),
): Migration {
  using work = new Work(source, fds);
  return work.run(table);
}

class Work implements Disposable {
  readonly #source: Source;
  readonly #fds: Readonly<Record<MapName, number>>;
  readonly #undo = new DisposableStack();
  readonly #opened = new Map<string, number>();
  /** Places of arrays whose records were carried. */
  readonly #places = new Map<MapName, Uint8Array>();
  readonly #carried: Record<string, number> = {};
  readonly #left: Record<string, number> = {};

  constructor(source: Source, fds: Readonly<Record<MapName, number>>) {
    this.#source = source;
    this.#fds = fds;
  }

  [Symbol.dispose](): void {
    this.#undo[Symbol.dispose]();
  }

  run(table: readonly (readonly [MapName, Row])[]): Migration {
    const started = performance.now();
    const { layout } = this.#source;
    for (const [name, row] of table) {
      if (row.carry === 'fields') this.#fields(name, row);
      else if (row.carry === 'records') this.#records(name, row);
      else if (row.carry === 'counters') this.#counters();
      else if (row.carry === 'groups') this.#groups();
      else if (row.carry === 'masks') this.#masks();
      else if (row.carry === 'flows') this.#flows();
    }
    const [carried, left, ms] = [this.#carried, this.#left, performance.now() - started];
    return { from: layout.version, carried, left, ms };
  }

  #old(name: string): number | undefined {
    const known = this.#opened.get(name);
    if (known !== undefined) return known;
    const fd = openPinned(`${this.#source.dir}/${name}`);
    if (fd === undefined) return undefined;
    this.#undo.adopt(fd, closeFd);
    this.#opened.set(name, fd);
    return fd;
  }
  /** Undefined: there is none, or none that can be read as ours is. */
  #oldRecords(name: string): Records | undefined {
    const fd = this.#old(name);
    if (fd === undefined || ((mapInfo(fd).flags ?? 0) & MAP_FLAG.mmapable) === 0) return undefined;
    return this.#undo.use(new Records(fd, false));
  }
  #newRecords(name: MapName): Records {
    return this.#undo.use(new Records(this.#fds[name], true));
  }
  #count(name: string, understood: boolean): void {
    const counts = understood ? this.#carried : this.#left;
    counts[name] = (counts[name] ?? 0) + 1;
  }

  #holds(name: MapName, struct: string, part: 'key' | 'value' = 'value'): boolean {
    return this.#source.layout.maps[name]?.[part] === struct;
  }

  /** How a struct becomes ours, if the old map of that name holds it. */
  #translator(name: MapName, part: 'key' | 'value', row: Row): Translate | undefined {
    const struct = row[part];
    if (struct === undefined || !this.#holds(name, struct, part)) return undefined;
    if (struct !== 'u32') return translator(this.#source.layout, OWN_LAYOUT, struct);
    return (from, fromAt, to, toAt) => {
      to.setUint32(toAt, from.getUint32(fromAt, true), true);
      return true;
    };
  }

  /** Whether what a record refers to was carried. */
  #refers(row: Row, part: 'key' | 'value', view: DataView, base: number): boolean {
    const fields = OWN_LAYOUT.structs[row[part] ?? '']?.fields ?? {};
    for (const [field, map] of Object.entries(row.refers ?? {})) {
      const at = fields[field]?.[0];
      const place = at === undefined ? 0 : view.getUint32(base + at, true);
      if (place !== 0 && this.#places.get(map)?.[place] !== 1) return false;
    }
    return true;
  }

  /** Carries the actions that a record names by marks, which are no flow's. */
  #marks(row: Row, view: DataView, base: number): boolean {
    return (row.marks ?? []).every((field) => {
      const mark = view.getUint32(base + placeOf(row, field), true);
      if (mark === 0) return true;
      const { tables } = this.#source.layout;
      const same = (table: string, name: string): boolean =>
        tables[table]?.[name] === OWN_LAYOUT.tables[table]?.[name];
      // Where such slots begin follows from these.
      if (!same('MARK', 'SLOT_BITS') || !same('LIMITS', 'SCRATCH_SLOTS')) return false;
      if (!same('LIMITS', 'REWRITE_SLOTS')) return false;
      const slot = (mark & (2 ** MARK_SLOT_BITS - 1)) - 1;
      const { from, to, translate } = (this.#actions ??= {
        from: this.#oldRecords('actions'),
        to: this.#newRecords('actions'),
        translate: this.#translator('actions', 'value', ROWS.actions),
      });
      if (from === undefined || translate === undefined) return false;
      if (slot < 0 || slot >= from.count || slot >= to.count) return false;
      return translate(from.view, slot * from.size, to.view, slot * to.size);
    });
  }
  #actions:
    | { from: Records | undefined; to: Records; translate: Translate | undefined }
    | undefined;

  /** Settings: each process writes its own anyway, so what one of them means here is enough. */
  #fields(name: MapName, row: Row): void {
    const from = this.#oldRecords(name);
    if (from === undefined) return;
    this.#translator(name, 'value', row)?.(from.view, 0, this.#newRecords(name).view, 0);
  }

  #records(name: MapName, row: Row): void {
    const old = this.#old(name);
    const translate = this.#translator(name, 'value', row);
    if (old === undefined || translate === undefined) return;
    if (mapInfo(old).type === MAP_TYPE.array) this.#array(name, row, translate);
    else this.#hash(name, row, translate);
  }

  #array(name: MapName, row: Row, translate: Translate): void {
    const from = this.#oldRecords(name);
    if (from === undefined) return;
    const to = this.#newRecords(name);
    const places = new Uint8Array(to.count);
    this.#places.set(name, places);
    for (let i = 0; i < from.count; i++) {
      if (from.isZero(i)) {
        if (row.blanks === true && i < to.count) places[i] = 1;
        continue;
      }
      const at = i * to.size;
      const good =
        i < to.count &&
        translate(from.view, i * from.size, to.view, at) &&
        this.#refers(row, 'value', to.view, at) &&
        this.#marks(row, to.view, at);
      if (good) forget(row, to.view, at);
      this.#count(name, good);
      if (good) places[i] = 1;
      else if (i < to.count) to.clear(i);
    }
  }

  #hash(name: MapName, row: Row, translate: Translate): void {
    const old = this.#old(name)!;
    const key = this.#translator(name, 'key', row);
    if (key === undefined) return;
    const [there, here] = [mapInfo(old), mapInfo(this.#fds[name])];
    const cpus = there.type === MAP_TYPE.perCpuHash ? possibleCpus() : 1;
    const strideOf = (size: number): number => (cpus === 1 ? size : Math.ceil(size / 8) * 8);
    const [from, to] = [strideOf(there.valueSize), strideOf(here.valueSize)];
    const reads = new BpfBatch(old, there.keySize, from * cpus, BATCH);
    const element = new BpfMap(this.#fds[name], here.keySize, to * cpus);
    for (let n = reads.read(true); n > 0; n = reads.read(false))
      for (let i = 0; i < n; i++) {
        element.key.bytes.fill(0);
        element.value.bytes.fill(0);
        let good =
          key(reads.keys.view, i * there.keySize, element.key.view, 0) &&
          this.#refers(row, 'key', element.key.view, 0);
        for (let cpu = 0; cpu < cpus && good; cpu++)
          good =
            translate(reads.values.view, (i * cpus + cpu) * from, element.value.view, cpu * to) &&
            this.#refers(row, 'value', element.value.view, cpu * to);
        for (let cpu = 0; cpu < cpus && good; cpu++) forget(row, element.value.view, cpu * to);
        if (good) element.update();
        this.#count(name, good);
      }
  }

  /** Of all CPUs together, by the names of counters and of reasons. */
  #counters(): void {
    const old = this.#old('counters');
    if (old === undefined) return;
    const { tables } = this.#source.layout;
    const slots = ({ COUNTER = {}, DROP = {} }: Description['tables']): [string, number][] => {
      const { DROP: first = 0, ...plain } = COUNTER;
      const drops = Object.entries(DROP).map(([reason, code]) => [`drop ${reason}`, first + code]);
      return [...Object.entries(plain), ...(drops as [string, number][])];
    };
    const ours = new Map(slots(OWN_LAYOUT.tables));
    const bytes = 8 * possibleCpus();
    const [from, to] = [new BpfMap(old, 4, bytes), new BpfMap(this.#fds.counters, 4, bytes)];
    for (const [name, slot] of slots(tables)) {
      const own = ours.get(name);
      from.key.u32(0, slot);
      if (!from.lookup()) continue;
      let sum = 0n;
      for (let i = 0; i < bytes; i += 8) sum += from.value.view.getBigUint64(i, true);
      if (sum === 0n) continue;
      this.#count('counters', own !== undefined);
      if (own === undefined) continue;
      to.key.u32(0, own);
      to.value.bytes.fill(0);
      to.value.view.setBigUint64(0, sum, true);
      to.update();
    }
  }

  /** A group stands for its run of members: all of them, or none. */
  #groups(): void {
    const from = this.#oldRecords('groups');
    const translate = this.#translator('groups', 'value', { value: 'group', carry: 'groups' });
    if (from === undefined || translate === undefined) return;
    const to = this.#newRecords('groups');
    const members = this.#places.get('members') ?? new Uint8Array();
    const places = new Uint8Array(to.count);
    this.#places.set('groups', places);
    for (let id = 0; id < from.count; id++) {
      const at = id * to.size;
      if (from.isZero(id)) continue;
      let good = id < to.count && translate(from.view, id * from.size, to.view, at);
      if (good) {
        const first = to.view.getUint32(at + GROUP_AT.first, true);
        const count = to.view.getUint32(at + GROUP_AT.count, true);
        const run = members.subarray(first, first + count);
        good = count <= LIMITS.GROUP_MEMBERS_MAX && run.length === count && !run.includes(0);
      }
      this.#count('groups', good);
      if (good) places[id] = 1;
      else if (id < to.count) to.clear(id);
    }
  }

  /** A mask is carried as the set of fields it stands for, whatever bytes these have here. */
  #masks(): void {
    const from = this.#oldRecords('masks');
    const theirs = this.#source.layout.structs['flow_key'];
    if (from === undefined || theirs === undefined || !this.#holds('masks', 'flow_key')) return;
    const maskId = reader(theirs, 'mask_id');
    const to = this.#newRecords('masks');
    const places = new Uint8Array(to.count + 1);
    this.#places.set('masks', places);
    for (let i = 0; i < from.count; i++) {
      const base = i * from.size;
      if (maskId?.(from.view, base) !== i + 1) continue;
      const mask = maskHere(theirs, from.bytes.subarray(base, base + from.size));
      const good = mask !== undefined && i < to.count;
      this.#count('masks', good);
      if (!good) continue;
      to.bytes.set(mask, i * to.size);
      to.view.setUint32(i * to.size + KEY.mask_id, i + 1, true);
      places[i + 1] = 1;
    }
  }

  #flows(): void {
    const { structs } = this.#source.layout;
    const old = this.#old('flows');
    const from = { actions: this.#oldRecords('actions'), stats: this.#oldRecords('stats') };
    const key = this.#translator('flows', 'key', { key: 'flow_key', carry: 'flows' });
    const value = this.#translator('flows', 'value', { value: 'flow_value', carry: 'flows' });
    const action = this.#translator('actions', 'value', ROWS.actions);
    const stat = this.#translator('stats', 'value', ROWS.stats);
    const theirs = structs['action'];
    if (old === undefined || from.actions === undefined || theirs === undefined) return;
    if (key === undefined || value === undefined || action === undefined) return;
    const to = { actions: this.#newRecords('actions'), stats: this.#newRecords('stats') };
    const generationOf = reader(theirs, 'generation');
    const [masks, groups] = [this.#places.get('masks'), this.#places.get('groups')];
    const { keySize, valueSize } = mapInfo(old);
    const slots = mapInfo(this.#fds.flows).entries;
    const reads = new BpfBatch(old, keySize, valueSize, BATCH);
    const writes = new BpfBatch(this.#fds.flows, KEY_SIZE, VALUE_SIZE, BATCH);
    for (let n = reads.read(true); n > 0; n = reads.read(false)) {
      let taken = 0;
      for (let i = 0; i < n; i++) {
        const [keyAt, valueAt] = [taken * KEY_SIZE, taken * VALUE_SIZE];
        writes.keys.bytes.fill(0, keyAt, keyAt + KEY_SIZE);
        writes.values.bytes.fill(0, valueAt, valueAt + VALUE_SIZE);
        const known =
          value(reads.values.view, i * valueSize, writes.values.view, valueAt) &&
          key(reads.keys.view, i * keySize, writes.keys.view, keyAt) &&
          this.#refers(ROWS.flows, 'key', writes.keys.view, keyAt);
        const slot = writes.values.view.getUint32(valueAt + VALUE_AT.slot, true);
        const mask = writes.keys.view.getUint32(keyAt + KEY.mask_id, true);
        if (!known || slot >= slots || masks?.[mask] !== 1) {
          this.#count('flows', false);
          continue;
        }
        const there = slot * from.actions.size;
        const generation = writes.values.view.getUint32(valueAt + VALUE_AT.generation, true);
        // Not in force over there either: the slot is another flow's by now.
        if (generationOf?.(from.actions.view, there) !== generation) continue;
        const at = slot * to.actions.size;
        let good = action(from.actions.view, there, to.actions.view, at);
        const flags = to.actions.view.getUint32(at + ACTION_AT.flags, true);
        if (good && (flags & ACTION.STALE) !== 0) {
          to.actions.clear(slot);
          continue;
        }
        const group = to.actions.view.getUint32(at + ACTION_AT.group, true);
        good &&= (flags & ACTION.GROUP) === 0 || groups?.[group] === 1;
        good &&= this.#refers(ROWS.actions, 'value', to.actions.view, at);
        if (!good) to.actions.clear(slot);
        else if (from.stats !== undefined)
          stat?.(from.stats.view, slot * from.stats.size, to.stats.view, slot * to.stats.size);
        this.#count('flows', good);
        if (good) taken++;
      }
      const { errno } = taken === 0 ? { errno: 0 } : writes.update(taken);
      if (errno !== 0) throw new Error(`datapath: flows were not copied: errno ${errno}`);
    }
  }
}
