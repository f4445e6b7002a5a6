/**
 * The maps that the kernel programs and the agent share, pinned in a bpffs of the agent's own.
 *
 * Invariants: a whole set that is pinned is opened, never replaced, so a new agent finds every flow
 * of the old one. A set is whole when its last map, `config`, is pinned; one that is not was never
 * in use, and is made anew. The directory's name carries LAYOUT_VERSION, and a description of the
 * layout is pinned beside the maps, so maps of another layout are never mistaken for these. Sizes
 * chosen by the operator are taken when the maps are first made and then stay until `destroyEbpf`,
 * also from one layout to the next.
 */
import { randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync } from 'node:fs';
import { CONNECTION_BYTES } from '#flow/connection-layout.ts';
import {
  ACTION_STRUCT,
  CONFIG,
  COUNTERS_MAX,
  ENTRY,
  ENTRY_KEY,
  ENTRY_REF,
  FLOW_STATS,
  FLOW_VALUE,
  GROUP,
  HASH_SECRET_WORDS,
  KEY_SIZE,
  KEY_TARGET,
  LAYOUT_VERSION,
  LIMITS,
  MARK_SLOT_BITS,
  MEMBER,
  NOTES_MAX,
  offsets,
  PEER,
  SENDER,
  SIGHT,
  sizeOf,
} from '#flow/layout.ts';
import { BpfMap, createMap, MAP_FLAG, MAP_TYPE, mapInfo, openPinned, pin } from '#os/bpf.ts';
import type { MapSpec } from '#os/bpf.ts';
import { closeFd, mapShared, PAGE_SIZE } from '#os/libc.ts';
import type { Mapping } from '#os/libc.ts';
import { CLASSES, fullNs, tokenNs } from '../budget.ts';
import type { UpcallBudget } from '../budget.ts';
import { OWN_LAYOUT } from './carry.ts';
import {
  isWhole,
  mapPath,
  readDescription,
  removeMaps,
  versionDir,
  WHOLE_MARK,
  writeDescription,
} from './pins.ts';
import type { LayoutDir } from './pins.ts';

/** struct mask_hint of lookup.h, which only the kernel reads. */
const MASK_HINT_BYTES = 8;
/** struct work of rewrite.h: key, action and four words. */
const WORK_BYTES = KEY_SIZE + sizeOf(ACTION_STRUCT) + 16;
const CONFIG_AT = offsets(CONFIG);

/** Flow slots must leave room for the others in what a mark can name. */
export const SLOTS_MAX = 2 ** MARK_SLOT_BITS - 1 - LIMITS.SCRATCH_SLOTS - LIMITS.REWRITE_SLOTS;
/** The queue of frames that are shown. */
export const SIGHTINGS_BYTES = 2 ** 20;
export const RING_BYTES_MIN = 2 ** 18;
/** The largest queue of first packets that can be made; an agent makes one of 8 MiB. */
export const RING_BYTES_MAX = 2 ** 30;

/** Records of connections that there are room for unless told: 24 MiB. */
export const CONNECTIONS_DEFAULT = 131_072;
/** 768 MiB. */
export const CONNECTIONS_MAX = 4_194_304;

export interface MapSizes {
  readonly slots: number;
  readonly ringBytes: number;
  /** Connection records; the first slot is never one. */
  readonly connections: number;
}

function specs({ slots, ringBytes, connections }: MapSizes) {
  const array = (name: string, valueSize: number, entries: number) => ({
    name,
    type: MAP_TYPE.array,
    keySize: 4,
    valueSize,
    entries,
    flags: MAP_FLAG.mmapable,
  });
  const hash = (name: string, keySize: number, valueSize: number, entries: number) => ({
    name,
    type: MAP_TYPE.hash,
    keySize,
    valueSize,
    entries,
  });
  const perCpu = (name: string, valueSize: number, entries: number) => ({
    name,
    type: MAP_TYPE.perCpuArray,
    keySize: 4,
    valueSize,
    entries,
  });
  const all = slots + LIMITS.SCRATCH_SLOTS + LIMITS.REWRITE_SLOTS;
  return {
    config: array('config', sizeOf(CONFIG), 1),
    flows: hash('flows', KEY_SIZE, sizeOf(FLOW_VALUE), slots),
    actions: array('actions', sizeOf(ACTION_STRUCT), all),
    stats: array('stats', sizeOf(FLOW_STATS), all),
    masks: array('masks', KEY_SIZE, LIMITS.MASKS_MAX),
    hints: perCpu('hints', MASK_HINT_BYTES, 2 ** LIMITS.MASK_CACHE_BITS),
    groups: array('groups', sizeOf(GROUP), LIMITS.GROUPS_MAX),
    members: array('members', sizeOf(MEMBER), LIMITS.MEMBERS_MAX),
    // Numbers count from 1.
    peers: array('peers', sizeOf(PEER), LIMITS.PEERS_MAX + 1),
    keys: {
      ...hash('keys', 4, sizeOf(KEY_TARGET), LIMITS.KEYS_MAX),
      flags: MAP_FLAG.noPrealloc,
    },
    senders: {
      ...hash('senders', sizeOf(SENDER), 4, LIMITS.SENDERS_MAX),
      flags: MAP_FLAG.noPrealloc,
    },
    entry_refs: {
      ...hash('entry_refs', sizeOf(ENTRY_KEY), sizeOf(ENTRY_REF), LIMITS.ENTRIES_MAX),
      flags: MAP_FLAG.noPrealloc,
    },
    entries: array('entries', sizeOf(ENTRY), LIMITS.ENTRIES_MAX),
    notes: array('notes', 8, NOTES_MAX),
    upcalls: {
      name: 'upcalls',
      type: MAP_TYPE.ringbuf,
      keySize: 0,
      valueSize: 0,
      entries: ringBytes,
    },
    counters: perCpu('counters', 8, COUNTERS_MAX),
    tails: { name: 'tails', type: MAP_TYPE.progArray, keySize: 4, valueSize: 4, entries: 4 },
    work: perCpu('work', WORK_BYTES, 1),
    sights: array('sights', sizeOf(SIGHT), LIMITS.SIGHTS_MAX),
    sightings: {
      name: 'sightings',
      type: MAP_TYPE.ringbuf,
      keySize: 0,
      valueSize: 0,
      entries: SIGHTINGS_BYTES,
    },
    connections: array('connections', CONNECTION_BYTES, connections),
  } as const satisfies Readonly<Record<string, MapSpec>>;
}
export type MapName = keyof ReturnType<typeof specs>;
type Mapped =
  | 'config'
  | 'actions'
  | 'stats'
  | 'masks'
  | 'groups'
  | 'members'
  | 'entries'
  | 'notes'
  | 'peers'
  | 'sights'
  | 'connections';

export interface Maps extends Disposable {
  readonly fds: Readonly<Record<MapName, number>>;
  /** As the maps have it, which is what was asked for only when they are new. */
  readonly slots: number;
  readonly ringBytes: number;
  readonly connections: number;
  /** Whether they, or those of another layout that they were filled from, were there before. */
  readonly adopted: boolean;
  /** The bytes of the arrays, shared with the kernel. */
  readonly memory: Readonly<Record<Mapped, ArrayBuffer>>;
  readonly config: {
    setTunnel(ifindex: number): void;
    setInject(ifindex: number): void;
    setTunnelTos(tos: number): void;
    setBudget(budget: UpcallBudget): void;
    /** Nanoseconds of CLOCK_MONOTONIC; 0: nobody looks. */
    setSightUntil(ns: bigint): void;
  };
}

const OWN_TEXT = JSON.stringify(OWN_LAYOUT);

/** Throws with the field's name when a size is not possible. */
export function checkSizes({ slots, ringBytes, connections }: MapSizes): void {
  if (!Number.isInteger(slots) || slots < 1 || slots > SLOTS_MAX) {
    throw new RangeError(`slots must be a whole number from 1 to ${SLOTS_MAX}`);
  }
  if (!Number.isInteger(connections) || connections < 2 || connections > CONNECTIONS_MAX)
    throw new RangeError(`connections must be a whole number from 2 to ${CONNECTIONS_MAX}`);
  const power = Number.isInteger(Math.log2(ringBytes));
  if (!power || ringBytes < RING_BYTES_MIN || ringBytes > RING_BYTES_MAX) {
    throw new RangeError(
      `ringBytes must be a power of two from ${RING_BYTES_MIN} to ${RING_BYTES_MAX}`,
    );
  }
}

/** How much of an array map there is to map, in whole pages. */
export const mappedBytes = (fd: number): number => {
  const { valueSize, entries } = mapInfo(fd);
  return Math.ceil((Math.ceil(valueSize / 8) * 8 * entries) / PAGE_SIZE) * PAGE_SIZE;
};

export interface NewMaps {
  /** Keys the mask cache; random unless told. */
  readonly secret?: readonly bigint[] | undefined;
  /** Puts into new maps what there is to put, before anybody else finds them. */
  readonly fill?: (fds: Readonly<Record<MapName, number>>) => void;
}

/**
 * Opens the pinned maps, or makes, fills and pins them. The bpffs must be mounted. Throws when
 * there are maps of this version of another description: two builds have one LAYOUT_VERSION.
 */
export function openMaps(runDir: string, sizes: MapSizes, options: NewMaps = {}): Maps {
  checkSizes(sizes);
  const layout = { dir: versionDir(runDir) };
  const adopted = isWhole(layout);
  if (adopted && readDescription(layout) !== OWN_TEXT)
    throw new Error(
      `${layout.dir} is not of this build, though of the same layout version ${LAYOUT_VERSION}: ` +
        'start the build that made it, or destroy this datapath and start again',
    );
  return adopted ? adoptMaps(layout, sizes) : makeMaps(layout, sizes, options);
}

function adoptMaps(layout: LayoutDir, sizes: MapSizes): Maps {
  const fds: Partial<Record<MapName, number>> = {};
  try {
    for (const [name, spec] of Object.entries(specs(sizes)) as [MapName, MapSpec][])
      fds[name] = openMap(mapPath(layout, name), spec);
    return new OpenMaps(fds as Record<MapName, number>, true);
  } catch (error) {
    for (const fd of Object.values(fds)) closeFd(fd);
    throw error;
  }
}

/** A set of maps appears all at once: whoever ends before `config` is pinned leaves none. */
function makeMaps(layout: LayoutDir, sizes: MapSizes, { secret, fill }: NewMaps): Maps {
  removeMaps(layout);
  const fds: Partial<Record<MapName, number>> = {};
  try {
    for (const [name, spec] of Object.entries(specs(sizes)) as [MapName, MapSpec][])
      fds[name] = createMap(spec);
    const all = fds as Record<MapName, number>;
    const config = new BpfMap(all.config, 4, sizeOf(CONFIG));
    for (const [i, word] of (secret ?? randomSecret()).entries())
      config.value.view.setBigUint64(CONFIG_AT.secret + 8 * i, word, true);
    config.update();
    fill?.(all);
    mkdirSync(mapPath(layout, ''), { recursive: true });
    writeDescription(layout, OWN_TEXT);
    for (const name of Object.keys(all) as MapName[])
      if (name !== WHOLE_MARK) pin(all[name], mapPath(layout, name));
    pin(all[WHOLE_MARK], mapPath(layout, WHOLE_MARK));
    return new OpenMaps(all, fill !== undefined);
  } catch (error) {
    for (const fd of Object.values(fds)) closeFd(fd);
    throw error;
  }
}

function openMap(path: string, spec: MapSpec): number {
  const found = openPinned(path);
  const info = found === undefined ? undefined : mapInfo(found);
  if (
    found !== undefined &&
    info?.type === spec.type &&
    info.keySize === spec.keySize &&
    info.valueSize === spec.valueSize
  )
    return found;
  if (found !== undefined) closeFd(found);
  throw new Error(`${path} is not the map it should be: destroy this datapath and start again`);
}

const randomSecret = (): bigint[] =>
  Array.from({ length: HASH_SECRET_WORDS }, () => randomBytes(8).readBigUInt64LE());

class OpenMaps implements Maps {
  readonly fds: Readonly<Record<MapName, number>>;
  readonly slots: number;
  readonly ringBytes: number;
  readonly connections: number;
  readonly adopted: boolean;
  readonly memory: Readonly<Record<Mapped, ArrayBuffer>>;
  readonly #mappings: Mapping[] = [];
  readonly #config: DataView;

  constructor(fds: Readonly<Record<MapName, number>>, adopted: boolean) {
    this.fds = fds;
    this.adopted = adopted;
    this.slots = mapInfo(fds.flows).entries;
    this.ringBytes = mapInfo(fds.upcalls).entries;
    this.connections = mapInfo(fds.connections).entries;
    const map = (name: Mapped): ArrayBuffer => {
      const mapping = mapShared(fds[name], mappedBytes(fds[name]), { writable: true });
      this.#mappings.push(mapping);
      return mapping.buffer;
    };
    this.memory = {
      config: map('config'),
      actions: map('actions'),
      stats: map('stats'),
      masks: map('masks'),
      groups: map('groups'),
      members: map('members'),
      entries: map('entries'),
      notes: map('notes'),
      peers: map('peers'),
      sights: map('sights'),
      connections: map('connections'),
    };
    this.#config = new DataView(this.memory.config);
    this.#config.setUint32(CONFIG_AT.ring_bytes, this.ringBytes, true);
  }

  readonly config = {
    setTunnel: (ifindex: number): void =>
      this.#config.setUint32(CONFIG_AT.tunnel_ifindex, ifindex, true),
    setTunnelTos: (tos: number): void => this.#config.setUint32(CONFIG_AT.tunnel_tos, tos, true),
    setInject: (ifindex: number): void =>
      this.#config.setUint32(CONFIG_AT.inject_ifindex, ifindex, true),
    setSightUntil: (ns: bigint): void => this.#config.setBigUint64(CONFIG_AT.sight_until, ns, true),
    setBudget: (budget: UpcallBudget): void => {
      const put = (at: number, ns: number): void => this.#config.setBigUint64(at, BigInt(ns), true);
      for (const [i, name] of CLASSES.entries()) {
        put(CONFIG_AT.token_ns + 8 * i, tokenNs(budget[name]));
        put(CONFIG_AT.full_ns + 8 * i, fullNs(budget[name]));
      }
    },
  };

  [Symbol.dispose](): void {
    for (const mapping of this.#mappings) mapping.unmap();
    for (const fd of Object.values(this.fds)) closeFd(fd);
  }
}

/** How many CPUs a per-CPU value has room for. */
export function possibleCpus(): number {
  const last = readFileSync('/sys/devices/system/cpu/possible', 'utf8').trim().split(/[-,]/).at(-1);
  return Number(last) + 1;
}
