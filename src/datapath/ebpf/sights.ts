/**
 * Looks at frames in the kernel: what the programs show whom, and reading it (`sight.h`).
 *
 * Invariants: a look is off while it is written, so the programs may take one that is half written
 * for another only for a frame that is on its way at that moment, and what is read is checked
 * again; none outlives the process that asked for it by more than its deadline, and a new process
 * begins without any.
 */
import type { DpPeer, DpPort, TunnelKey } from '#flow/flow.ts';
import {
  KEY_SIZE,
  LIMITS,
  NO_SLOT,
  offsets,
  SIGHT,
  SIGHT_FATE,
  SIGHT_WHERE,
  SIGHTING,
  sizeOf,
} from '#flow/layout.ts';
import { entryOf } from '#flow/parse.ts';
import { wallAheadMs } from '#os/clock.ts';
import { Ring } from '#os/ring.ts';
import { dropReasonOf } from '#virtual/drop.ts';
import { checkSight, isLookedAt } from '../sight.ts';
import type { Fate, Sight, Sighting, Sights } from '../sight.ts';
import type { Maps } from './maps.ts';
import { SIGHTINGS_BYTES } from './maps.ts';
import { REASONS, withTag } from './upcalls.ts';

const AT = offsets(SIGHT);
const SIZE = sizeOf(SIGHT);
const HEAD_AT = offsets(SIGHTING);
const HEAD = sizeOf(SIGHTING);
const BODY = HEAD + KEY_SIZE;
const TAG_BYTES = 4;
const NS_PER_MS = 1_000_000;
const NS_PER_S = 1e9;
/** How long the wall clock's lead is taken for unchanged. */
const AHEAD_KEPT_MS = 1_000;
/** What one in the upper word of a time in nanoseconds stands for. */
const MS_PER_HIGH = 2 ** 32 / NS_PER_MS;

const WHERE: Readonly<Record<number, Sighting['where']>> = {
  [SIGHT_WHERE.PORT]: 'port',
  [SIGHT_WHERE.TUNNEL]: 'tunnel',
  [SIGHT_WHERE.INJECT]: 'inject',
  [SIGHT_WHERE.OUT]: 'out',
};
const ns = (ms: number): bigint => BigInt(Math.max(0, Math.round(ms * NS_PER_MS)));

interface Look {
  readonly sight: Sight;
  untilMs: number;
  readonly sinceMs: number;
}

export class KernelSights implements Sights {
  readonly fd: number;
  readonly #ring: Ring;
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #setUntil: (ns: bigint) => void;
  readonly #now: () => number;
  /** The wall clock's lead, and when it was read. */
  #aheadMs = 0;
  #aheadAtMs = -Infinity;
  readonly #looks = new Map<number, Look>();
  readonly #tagged = new Uint8Array(LIMITS.SIGHT_LARGE_BYTES + TAG_BYTES);

  constructor(maps: Maps, now: () => number) {
    this.fd = maps.fds.sightings;
    this.#ring = new Ring(maps.fds.sightings, SIGHTINGS_BYTES);
    this.#view = new DataView(maps.memory.sights);
    this.#bytes = new Uint8Array(maps.memory.sights);
    this.#setUntil = (until) => maps.config.setSightUntil(until);
    this.#now = now;
    // Of whoever ran before.
    this.#setUntil(0n);
    for (let id = 0; id < LIMITS.SIGHTS_MAX; id++) this.#until(id, 0n);
    while (this.#ring.drain(() => {}, LIMITS.UPCALL_LARGE_BYTES) > 0);
  }

  #until(id: number, until: bigint): void {
    this.#view.setBigUint64(id * SIZE + AT.until, until, true);
  }
  #settle(): void {
    const ends = [...this.#looks.values()].map((look) => look.untilMs);
    this.#setUntil(ends.length === 0 ? 0n : ns(Math.max(...ends)));
  }

  look(id: number, sight: Sight): void {
    checkSight(id, sight);
    this.end(id);
    const base = id * SIZE;
    this.#bytes.fill(0, base, base + SIZE);
    const token = Math.floor(NS_PER_S / sight.perSecond);
    this.#view.setBigUint64(base + AT.token_ns, BigInt(token), true);
    this.#view.setBigUint64(base + AT.full_ns, BigInt(token * sight.burst), true);
    this.#view.setUint32(base + AT.port, sight.port ?? 0, true);
    this.#view.setUint32(base + AT.snap, sight.snapBytes, true);
    // No mask at all is any frame; the second is the first where there is one.
    const [a, b = a] = sight.matches;
    if (a !== undefined && b !== undefined) {
      this.#bytes.set(a.key, base + AT.key_a);
      this.#bytes.set(a.mask, base + AT.mask_a);
      this.#bytes.set(b.key, base + AT.key_b);
      this.#bytes.set(b.mask, base + AT.mask_b);
    }
    this.#looks.set(id, { sight, untilMs: sight.untilMs, sinceMs: this.#now() });
    this.#until(id, ns(sight.untilMs));
    this.#settle();
  }

  prolong(id: number, untilMs: number): void {
    const look = this.#looks.get(id);
    if (look === undefined) return;
    look.untilMs = untilMs;
    this.#until(id, ns(untilMs));
    this.#settle();
  }

  end(id: number): void {
    if (!this.#looks.delete(id)) return;
    this.#until(id, 0n);
    this.#settle();
  }

  matched(id: number): number {
    return Number(this.#view.getBigUint64(id * SIZE + AT.matched, true));
  }

  wallMs(atMs: number): number {
    const now = this.#now();
    if (now - this.#aheadAtMs >= AHEAD_KEPT_MS)
      [this.#aheadMs, this.#aheadAtMs] = [wallAheadMs(), now];
    return atMs + this.#aheadMs;
  }

  drain(take: (sighting: Sighting) => void, max: number): number {
    return this.#ring.drain((at) => {
      const sighting = this.#read(at);
      if (sighting !== undefined) take(sighting);
    }, max);
  }

  /** Undefined: nobody looks at it any more. */
  #read(at: number): Sighting | undefined {
    const { view, bytes } = this.#ring;
    const u32 = (field: keyof typeof HEAD_AT): number => view.getUint32(at + HEAD_AT[field], true);
    const timeMs =
      u32('time') / NS_PER_MS + view.getUint32(at + HEAD_AT.time + 4, true) * MS_PER_HIGH;
    const where = WHERE[u32('where')];
    if (where === undefined) throw new Error('datapath: a frame was seen nowhere');
    const key = bytes.subarray(at + HEAD, at + BODY);
    const port = where === 'port' ? entryOf(key).port : (u32('ifindex') as DpPort);
    const seen = where === 'port' || where === 'out' ? port : undefined;
    const { sights, snapBytes } = this.#seers(u32('sights'), { timeMs, key, port: seen });
    if (sights === 0) return undefined;
    const body = bytes.subarray(at + BODY, at + BODY + u32('caplen'));
    const tpid = view.getUint16(at + HEAD_AT.vlan_present, true);
    const tci = view.getUint16(at + HEAD_AT.vlan_tci, true);
    const frame = tpid === 0 ? body : withTag(this.#tagged, body, tpid, tci);
    const slot = u32('slot');
    return {
      sights,
      timeMs,
      where,
      port: seen,
      key,
      fate: this.#fate(u32),
      ref: slot === NO_SLOT ? undefined : { slot, generation: u32('generation') },
      length: u32('len') + (tpid === 0 ? 0 : TAG_BYTES),
      gsoSize: u32('gso_size'),
      frame: frame.length > snapBytes ? frame.subarray(0, snapBytes) : frame,
    };
  }

  /** Of those it was shown to: who looks at such frames, and did so when it was seen. */
  #seers(shownTo: number, seen: { timeMs: number; key: Uint8Array; port: DpPort | undefined }) {
    let [sights, snapBytes] = [0, 0];
    for (const [id, { sight, sinceMs }] of this.#looks) {
      if ((shownTo & (1 << id)) === 0 || seen.timeMs < sinceMs) continue;
      if (!isLookedAt(sight, seen.key, seen.port)) continue;
      sights |= 1 << id;
      snapBytes = Math.max(snapBytes, sight.snapBytes);
    }
    return { sights, snapBytes };
  }

  #fate(
    u32: (field: 'fate' | 'code' | 'outputs' | 'ifindex' | 'peer' | 'tun_key') => number,
  ): Fate {
    const [fate, code] = [u32('fate'), u32('code')];
    if (fate === SIGHT_FATE.DROPPED) {
      const reason = dropReasonOf(code);
      if (reason === undefined) throw new Error(`datapath: there is no drop reason ${code}`);
      return { kind: 'dropped', reason };
    }
    if (fate === SIGHT_FATE.UP) {
      const reason = REASONS[code];
      if (reason === undefined) throw new Error('datapath: handed up without a reason');
      return { kind: 'up', reason };
    }
    const outputs = u32('outputs');
    const ifindex = u32('ifindex');
    const peer = u32('peer');
    if (ifindex !== 0) return { kind: 'sent', outputs, to: { port: ifindex as DpPort } };
    if (peer === 0) return { kind: 'sent', outputs };
    const to = { peer: peer as DpPeer, key: u32('tun_key') as TunnelKey };
    return { kind: 'sent', outputs, to };
  }

  close(): void {
    for (const id of this.#looks.keys()) this.#until(id, 0n);
    this.#setUntil(0n);
    this.#ring.close();
  }
}
