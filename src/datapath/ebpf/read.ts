/**
 * What the kernel counts, read by whoever may open the pinned maps: no agent has to run, and one
 * that runs is not disturbed. Nothing is written and no lock is taken; counters move while they are
 * read, so sums of what is read one by one may differ by what came in between.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { DpPort } from '#flow/flow.ts';
import {
  ENTRY,
  ENTRY_KEY,
  ENTRY_REF,
  FLOW_VALUE,
  KEY,
  KEY_SIZE,
  LAYOUT_VERSION,
  LIMITS,
  NOTES,
  offsets,
  PEER,
  sizeOf,
} from '#flow/layout.ts';
import type { Note } from '#flow/layout.ts';
import { formatIp } from '#net/ip.ts';
import type { Ip } from '#net/ip.ts';
import { BpfBatch, BpfMap, mapInfo, openPinned } from '#os/bpf.ts';
import { closeFd, mapShared, PAGE_SIZE } from '#os/libc.ts';
import { DROPS } from '#virtual/drop.ts';
import { CLASSES } from '../budget.ts';
import type { UpcallClass } from '../budget.ts';
import type { DatapathCounters } from '../datapath.ts';
import { Counters, DROP_REASONS } from './counters.ts';
import type { Drops } from './counters.ts';
import { bpffsDir, versionDir } from './pins.ts';
import { readAddress } from './peers.ts';

/** What one port, or one host behind the tunnel, has and had. */
export interface EntryStats {
  readonly port: DpPort;
  /** The interface's name when it was taken over; undefined for the tunnel. */
  readonly interface: string | undefined;
  /** Of the tunnel: the sending host. */
  readonly source: Ip | undefined;
  readonly flows: number;
  readonly masks: number;
  /** Bytes of the queue that its first packets take. */
  readonly queuedBytes: number;
  /** Frames handed up, by what they were paid from. */
  readonly up: Readonly<Record<UpcallClass, number>>;
  /** By the kernel, and by the agent of what was handed up. */
  readonly drops: Readonly<Drops>;
  readonly agentDrops: Readonly<Drops>;
}
export interface DatapathStats {
  /** Of the host; its drops hold those of the entries, and what came from none. */
  readonly counters: DatapathCounters;
  /** Drops by the agent of frames that came from no entry. */
  readonly agentDrops: Readonly<Drops>;
  readonly flows: number;
  readonly slots: number;
  readonly masks: number;
  readonly entries: readonly EntryStats[];
  /** What the agent counted of its limits, since it was started. */
  readonly notes: Readonly<Record<Note, number>>;
}

const AT = offsets(ENTRY);
const SIZE = sizeOf(ENTRY);
const BATCH = 1024;
const FLOW_BYTES = sizeOf(FLOW_VALUE);

/** Opens pinned maps, and closes them in the end. */
class Reader implements Disposable {
  readonly #dir: string;
  readonly #undo = new DisposableStack();

  constructor(runDir: string) {
    this.#dir = join(versionDir(runDir), 'maps');
    if (existsSync(join(this.#dir, 'config'))) return;
    const bpffs = bpffsDir(runDir);
    const found = existsSync(bpffs) ? readdirSync(bpffs).filter((name) => /^v\d/.test(name)) : [];
    throw new Error(
      found.length === 0
        ? `there is no datapath in ${runDir}: is that the agent's --run-dir?`
        : `the datapath in ${runDir} has layout ${found.join(' ')}, not v${LAYOUT_VERSION}: read it with the version of mn that made it`,
    );
  }
  open(name: string): number {
    const fd = openPinned(join(this.#dir, name));
    if (fd === undefined) throw new Error(`there is no map ${name} in ${this.#dir}`);
    return this.#undo.adopt(fd, closeFd);
  }
  map(name: string): DataView {
    const fd = this.open(name);
    const { valueSize, entries } = mapInfo(fd);
    const bytes = Math.ceil((valueSize * entries) / PAGE_SIZE) * PAGE_SIZE;
    const mapping = mapShared(fd, bytes, { writable: false });
    this.#undo.defer(() => mapping.unmap());
    return new DataView(mapping.buffer);
  }
  [Symbol.dispose](): void {
    this.#undo[Symbol.dispose]();
  }
}

const unescape = (name: string): string =>
  name.replaceAll(/%([0-9a-f]{2})/g, (_, code: string) => String.fromCharCode(parseInt(code, 16)));

/** Names of interfaces by number, as they are pinned. */
function pinnedNames(runDir: string): ReadonlyMap<number, string> {
  const dir = join(versionDir(runDir), 'ports');
  const names = existsSync(dir) ? readdirSync(dir) : [];
  return new Map(
    names.flatMap((name) => {
      const [, index, escaped] = /^in-(\d+)-(.*)$/.exec(name) ?? [];
      return index === undefined || escaped === undefined
        ? []
        : [[Number(index), unescape(escaped)] as const];
    }),
  );
}

/** Flows in the kernel's table by entry: `port source`. */
function flowsByEntry(fd: number): Map<string, number> {
  const batch = new BpfBatch(fd, KEY_SIZE, FLOW_BYTES, BATCH);
  const flows = new Map<string, number>();
  const { view } = batch.keys;
  for (let n = batch.read(true); n > 0; n = batch.read(false))
    for (let at = 0; at < n * KEY_SIZE; at += KEY_SIZE) {
      const port = view.getUint32(at + KEY.in_port, true);
      const entry = `${port} ${view.getUint32(at + KEY.tun_src, true)}`;
      flows.set(entry, (flows.get(entry) ?? 0) + 1);
    }
  return flows;
}

const textOf = (source: Ip | undefined): string => (source === undefined ? '' : formatIp(source));
const PEER_AT = offsets(PEER);
const PEER_BYTES = sizeOf(PEER);
const u64 = (view: DataView, at: number): number => Number(view.getBigUint64(at, true));

function dropsAt(entries: DataView, at: number): Drops {
  const drops: Drops = {};
  for (const reason of DROP_REASONS) {
    const n = u64(entries, at + 8 * DROPS[reason].code);
    if (n > 0) drops[reason] = n;
  }
  return drops;
}

/**
 * Reads everything. Throws when there is no datapath of this layout, or it may not be read (root).
 */
export function readStats(runDir: string): DatapathStats {
  using reader = new Reader(runDir);
  const [entries, notes] = [reader.map('entries'), reader.map('notes')];
  const [names, flows] = [pinnedNames(runDir), flowsByEntry(reader.open('flows'))];
  const masks = reader.map('masks');
  const peers = new Uint8Array(reader.map('peers').buffer);
  const isMask = (i: number): boolean => masks.getUint32(i * KEY_SIZE + KEY.mask_id, true) !== 0;
  const refs = new BpfMap(reader.open('entry_refs'), sizeOf(ENTRY_KEY), sizeOf(ENTRY_REF));
  const found: EntryStats[] = [];
  const keyAt = offsets(ENTRY_KEY);
  for (let more = refs.next(true); more; more = refs.next(false)) {
    if (!refs.lookup()) continue;
    const base = refs.value.view.getUint32(0, true) * SIZE;
    const port = refs.key.view.getUint32(keyAt.in_port, true) as DpPort;
    const source = refs.key.view.getUint32(keyAt.source, true);
    const queued = entries.getUint32(base + AT.queued, true);
    found.push({
      port,
      interface: source === 0 ? names.get(port) : undefined,
      source: source === 0 ? undefined : readAddress(peers, source * PEER_BYTES + PEER_AT.address),
      flows: flows.get(`${port} ${source}`) ?? 0,
      masks: Array.from({ length: LIMITS.ENTRY_MASKS_MAX }, (_, i) =>
        entries.getUint8(base + AT.masks + i),
      ).filter((mask) => mask !== 0).length,
      queuedBytes: Math.max(0, (queued - entries.getUint32(base + AT.drained, true)) | 0),
      up: Object.fromEntries(
        CLASSES.map((name, i) => [name, u64(entries, base + AT.up + 8 * i)]),
      ) as Record<UpcallClass, number>,
      drops: dropsAt(entries, base + AT.drops),
      agentDrops: dropsAt(entries, base + AT.agent_drops),
    });
  }
  return {
    counters: new Counters(reader.open('counters')).read(),
    agentDrops: dropsAt(entries, AT.agent_drops),
    flows: [...flows.values()].reduce((sum, n) => sum + n, 0),
    slots: mapInfo(reader.open('flows')).entries,
    masks: Array.from({ length: LIMITS.MASKS_MAX }, (_, i) => i).filter(isMask).length,
    entries: found.toSorted(
      (a, b) => a.port - b.port || (textOf(a.source) < textOf(b.source) ? -1 : 1),
    ),
    notes: Object.fromEntries(NOTES.map((name, i) => [name, u64(notes, 8 * i)])) as Record<
      Note,
      number
    >,
  };
}
