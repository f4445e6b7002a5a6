/**
 * The reference datapath: flows in maps, frames by function call. The oracle that the kernel
 * program is compared with, and the datapath of tests that run many hosts in one process.
 *
 * Invariant: every frame that enters an added port or the tunnel counts exactly once: as a hit (a
 * flow forwarded it), a tunnel hit (a port key did), a miss (it was handed up) or a drop. A frame
 * that a flow sends to a port which is not there is lost as in the kernel: at that interface, not
 * here.
 */
import { CONNECTION_BYTES, type ConnectionMemory } from '#flow/connection-layout.ts';
import { ConnectionRecords } from '#flow/connection-records.ts';
import type {
  Actions,
  DpPeer,
  DpPort,
  Entry,
  Flow,
  FlowRef,
  Output,
  TunnelKey,
} from '#flow/flow.ts';
import { ENTRY_MASKS_MAX, MASKS_MAX } from '#flow/flow.ts';
import { dropped, interpret } from '#flow/interpret.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { maskBytes, matchedFields } from '#flow/mask.ts';
import { entryOf, ETH_HEADER_BYTES, parseKey, writeEntry } from '#flow/parse.ts';
import type { Ip } from '#net/ip.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { FieldSet } from '#virtual/match.ts';
import { Budgets, classOf, isUrgent, payerOf, Shares, UPCALL_BUDGET } from './budget.ts';
import { checkActions } from './check.ts';
import type {
  Datapath,
  DatapathCounters,
  FlowStats,
  Installed,
  KeyTarget,
  Sender,
  Upcall,
} from './datapath.ts';
import { expires, handedUp, stamp } from './guards.ts';
import { MemoryDrops } from './memory-drops.ts';
import type { MemoryOptions, MemoryProbe } from './memory-options.ts';
import { MemorySights, whereOf } from './memory-sights.ts';
import type { Becoming } from './memory-sights.ts';
import { PeerNumbers, type Peer } from './peers.ts';
import type { Sighting } from './sight.ts';

/**
 * First packets that wait for the agent; shared among entries, what is more is dropped as
 * `upcall-share`.
 */
export const UPCALLS_WAITING_MAX = 12_288;
/** Records of connections of tests, which have few. */
const MEMORY_CONNECTIONS = 1_024;
const TUNNEL_PORT = 0x7fffffff as DpPort;
const NS_PER_MS = 1e6;

interface Slot {
  readonly ref: FlowRef;
  readonly flow: Flow;
  stale: boolean;
  /** Whether it counts among its entry's masks. */
  entered: boolean;
  packets: number;
  bytes: number;
  lastUsedMs: number;
}
/** Flows of one set of fields, by their masked key as text. */
interface Table {
  readonly fields: FieldSet;
  readonly mask: Uint8Array;
  readonly flows: Map<string, Slot>;
}
type Waiting = { -readonly [K in keyof Upcall]: Upcall[K] };
type Send = { readonly frame: Uint8Array } & (
  | { readonly ref: FlowRef; readonly actions?: undefined }
  | { readonly actions: Actions; readonly ref?: undefined }
);

const textOf = (key: Uint8Array): string => String.fromCharCode(...key);
const senderText = (source: DpPeer, network: number): string => `${network}/${source}`;

function textUnder(key: Uint8Array, mask: Uint8Array, scratch: Uint8Array): string {
  for (let i = 0; i < KEY_SIZE; i++) scratch[i] = key[i]! & mask[i]!;
  return textOf(scratch);
}

class Memory implements Datapath, MemoryProbe {
  readonly tunnelPort: DpPort;
  readonly slots: number;
  readonly address: Ip | undefined;
  readonly upcallFd = undefined;
  readonly sights: MemorySights;
  readonly connections: ConnectionMemory;
  readonly #records: ConnectionRecords;
  readonly #clock: () => number;
  readonly #budgets: Budgets;
  readonly #shares = new Shares(UPCALLS_WAITING_MAX);
  readonly #ports = new Set<DpPort>();
  readonly #keys = new Map<TunnelKey, KeyTarget>();
  readonly #peers = new PeerNumbers();
  readonly #senders = new Map<string, Sender>();
  readonly #slots = new Map<number, Slot>();
  readonly #tables: Table[] = [];
  /** Flows by entry and set of fields. */
  readonly #masks = new Map<number, Map<FieldSet, number>>();
  #toInstall: Slot[] = [];
  #toSend: Send[] = [];
  #waiting: Waiting[] = [];
  readonly #key = new Uint8Array(KEY_SIZE);
  readonly #scratch = new Uint8Array(KEY_SIZE);
  #hits = 0;
  #misses = 0;
  #tunnelHits = 0;
  readonly #drops = new MemoryDrops();
  #transmit: (port: DpPort, frame: Uint8Array) => void = () => {};
  #tunnel: (remote: Ip, key: TunnelKey, frame: Uint8Array) => void = () => {};
  #closed = false;
  #beforeFrames = (): void => {};

  constructor(options: MemoryOptions) {
    this.tunnelPort = options.tunnelPort ?? TUNNEL_PORT;
    this.slots = options.slots;
    this.address = options.address;
    this.#clock = options.clock;
    this.sights = new MemorySights(options.clock);
    const slots = options.connections ?? MEMORY_CONNECTIONS;
    this.connections = { slots, bytes: new Uint8Array(slots * CONNECTION_BYTES) };
    this.#records = new ConnectionRecords(this.connections);
    this.#budgets = new Budgets(options.upcallBudget ?? UPCALL_BUDGET);
  }

  now(): number {
    return this.#clock();
  }
  [Symbol.dispose](): void {
    this.#closed = true;
  }

  addPort(port: DpPort): void {
    this.#ports.add(port);
  }
  removePort(port: DpPort): void {
    this.#ports.delete(port);
    this.#budgets.forget({ port });
    this.#drops.forget({ port });
  }
  ports(): readonly DpPort[] {
    return [...this.#ports];
  }
  setKey(target: KeyTarget): void {
    this.#keys.set(target.key, target);
  }
  removeKey(key: TunnelKey): void {
    this.#keys.delete(key);
  }
  keys(): readonly KeyTarget[] {
    return [...this.#keys.values()];
  }
  addPeer(address: Ip): DpPeer {
    return this.#peers.add(address);
  }
  removePeer(peer: DpPeer): void {
    for (const { source, network } of this.senders())
      if (source === peer) this.denySender(source, network);
    this.#peers.remove(peer);
  }
  peers(): readonly Peer[] {
    return this.#peers.list();
  }
  allowSender(source: DpPeer, network: number): void {
    this.#peers.need(source);
    this.#senders.set(senderText(source, network), { source, network });
  }
  denySender(source: DpPeer, network: number): void {
    this.#senders.delete(senderText(source, network));
    if (this.senders().some((each) => each.source === source)) return;
    const entry = { port: this.tunnelPort, tunnel: { key: 0 as TunnelKey, source } };
    this.#budgets.forget(entry);
    this.#drops.forget(entry);
  }
  senders(): readonly Sender[] {
    return [...this.#senders.values()];
  }

  install(ref: FlowRef, flow: Flow): void {
    if (!Number.isInteger(ref.slot) || ref.slot < 0 || ref.slot >= this.slots)
      throw new Error(`datapath: there is no slot ${ref.slot}`);
    if (this.#slots.has(ref.slot)) throw new Error(`datapath: slot ${ref.slot} is in use`);
    checkActions(flow.actions);
    // Sets that compare the same bytes are one mask, as in the kernel.
    const kept = { ...flow, key: flow.key.slice(), fields: matchedFields(flow.fields) };
    const counts = { packets: 0, bytes: 0, lastUsedMs: 0 };
    const slot = { ref, flow: kept, stale: false, entered: false, ...counts };
    this.#slots.set(ref.slot, slot);
    this.#toInstall.push(slot);
  }

  invalidate(refs: readonly FlowRef[]): void {
    for (const ref of refs) {
      const slot = this.#find(ref);
      if (slot !== undefined) slot.stale = true;
    }
  }

  remove(refs: readonly FlowRef[]): void {
    for (const ref of refs) {
      const slot = this.#find(ref);
      if (slot === undefined) continue;
      slot.stale = true;
      this.#slots.delete(ref.slot);
      this.#leaveTable(slot);
      const at = this.#tables.findIndex((table) => table.fields === slot.flow.fields);
      const table = this.#tables[at];
      const text = textOf(slot.flow.key);
      if (table?.flows.get(text) !== slot) continue;
      table.flows.delete(text);
      if (table.flows.size === 0) this.#tables.splice(at, 1);
    }
  }

  commit(): void {
    if (this.#toSend.length > 0) this.#beforeFrames();
    const sends = this.#toSend;
    this.#toSend = [];
    for (const send of sends) this.#send(send);
    const slots = this.#toInstall;
    this.#toInstall = [];
    for (const slot of slots) if (this.#find(slot.ref) === slot) this.#enter(slot);
  }

  /** A flow with one mask more than its entry may have is not entered: see the kernel's `Masks`. */
  #enter(slot: Slot): void {
    const { fields, key } = slot.flow;
    const payer = payerOf(entryOf(key));
    const masks = this.#masks.getOrInsertComputed(payer, () => new Map<FieldSet, number>());
    if (!masks.has(fields) && masks.size === ENTRY_MASKS_MAX) return;
    let table = this.#tables.find((each) => each.fields === fields);
    if (table === undefined) {
      if (this.#tables.length === MASKS_MAX)
        throw new Error(`datapath: more than ${MASKS_MAX} masks`);
      table = { fields, mask: maskBytes(fields), flows: new Map() };
      this.#tables.push(table);
    }
    masks.set(fields, (masks.get(fields) ?? 0) + 1);
    slot.entered = true;
    table.flows.set(textOf(key), slot);
  }

  #leaveTable({ flow: { key, fields }, entered }: Slot): void {
    const masks = entered ? this.#masks.get(payerOf(entryOf(key))) : undefined;
    if (masks === undefined) return;
    const users = masks.get(fields)! - 1;
    if (users > 0) masks.set(fields, users);
    else masks.delete(fields);
  }

  beforeFrames(run: () => void): void {
    this.#beforeFrames = run;
  }

  stats(ref: FlowRef): FlowStats {
    const slot = this.#find(ref);
    if (slot === undefined) return { packets: 0, bytes: 0, lastUsedMs: 0 };
    return { packets: slot.packets, bytes: slot.bytes, lastUsedMs: slot.lastUsedMs };
  }

  actions(ref: FlowRef): Actions | undefined {
    return this.#find(ref)?.flow.actions;
  }

  dump(): readonly Installed[] {
    const found: Installed[] = [];
    const gone: FlowRef[] = [];
    const queued = new Set(this.#toInstall);
    for (const slot of this.#slots.values())
      if (queued.has(slot)) continue;
      else if (slot.stale || this.#lookupExact(slot) !== slot) gone.push(slot.ref);
      else found.push({ ref: slot.ref, flow: slot.flow });
    this.remove(gone);
    return found;
  }

  #lookupExact({ flow }: Slot): Slot | undefined {
    const table = this.#tables.find((each) => each.fields === flow.fields);
    return table?.flows.get(textOf(flow.key));
  }

  inject(ref: FlowRef, frame: Uint8Array, _gsoSize: number): void {
    this.#toSend.push({ ref, frame: frame.slice() });
  }
  execute(frame: Uint8Array, actions: Actions, _gsoSize: number): void {
    checkActions(actions);
    this.#toSend.push({ actions, frame: frame.slice() });
  }

  upcalls(take: (upcall: Upcall) => void, max: number): number {
    const batch = this.#waiting.splice(0, max);
    for (const upcall of batch) {
      this.#shares.give(payerOf(upcall.entry), 1);
      take(upcall);
    }
    return batch.length;
  }

  counters(): DatapathCounters {
    return {
      hits: this.#hits,
      misses: this.#misses,
      tunnelHits: this.#tunnelHits,
      drops: this.#drops.all(),
    };
  }

  dropped(reason: DropReason, entry?: Entry, frames = 1): void {
    this.#drops.told(reason, entry, frames);
  }
  entryDrops(): ReturnType<Datapath['entryDrops']> {
    return this.#drops.list();
  }
  /** Nobody looks at this body from outside. */
  note(): void {}

  onTransmit(take: (port: DpPort, frame: Uint8Array) => void): void {
    this.#transmit = take;
  }
  onTunnel(take: (remote: Ip, key: TunnelKey, frame: Uint8Array) => void): void {
    this.#tunnel = take;
  }

  receive(port: DpPort, frame: Uint8Array): void {
    if (this.#closed || !this.#ports.has(port)) return;
    this.#lookup({ port }, frame);
  }

  receiveTunnel(from: Ip, key: TunnelKey, frame: Uint8Array): void {
    if (this.#closed) return;
    const source = this.#peers.peerOf(from);
    if ((key & FLOOD_KEY_BIT) !== 0) {
      if (source === undefined || !this.#senders.has(senderText(source, key)))
        this.#drop('unknown-sender');
      else this.#lookup({ port: this.tunnelPort, tunnel: { key, source } }, frame);
      return;
    }
    const target = this.#keys.get(key);
    const known =
      target !== undefined &&
      source !== undefined &&
      this.#senders.has(senderText(source, target.network));
    let reason: DropReason | undefined;
    if (target === undefined) reason = 'unknown-key';
    else if (!known) reason = 'unknown-sender';
    else if (frame.length < ETH_HEADER_BYTES) reason = 'malformed';
    else if (!this.#ports.has(target.port)) reason = 'no-port';
    if (this.sights.any && parseKey(frame, this.#key)) {
      const tunnel = { key, source: (known ? source : 0) as DpPeer };
      writeEntry(this.#key, { port: this.tunnelPort, tunnel });
      this.#show('tunnel', frame, reason ?? { port: target!.port });
    }
    const of = { port: this.tunnelPort, tunnel: { key, source: source as DpPeer } };
    if (reason !== undefined) this.#drop(reason, reason === 'no-port' ? of : undefined);
    else {
      this.#tunnelHits++;
      this.#leave({ port: target!.port }, frame);
    }
  }

  #find(ref: FlowRef): Slot | undefined {
    const slot = this.#slots.get(ref.slot);
    return slot?.ref.generation === ref.generation ? slot : undefined;
  }

  #drop(reason: DropReason, entry?: Entry): void {
    this.#drops.count(reason, entry);
  }

  #lookup(entry: Entry, frame: Uint8Array): void {
    const key = this.#key;
    if (!parseKey(frame, key)) {
      this.#drop('malformed', entry);
      writeEntry(key, entry);
      this.#show(whereOf(entry), frame, 'malformed');
      return;
    }
    writeEntry(key, entry);
    for (const table of this.#tables) {
      const slot = table.flows.get(textUnder(key, table.mask, this.#scratch));
      if (slot === undefined) continue;
      if (slot.stale) this.#handUp(entry, frame, 'stale');
      else this.#hit(slot, entry, frame);
      return;
    }
    this.#handUp(entry, frame, 'miss');
  }

  #hit(slot: Slot, entry: Entry, frame: Uint8Array): void {
    const { actions } = slot.flow;
    const up = handedUp(this.#key, frame, actions, this.#records);
    if (up !== undefined) {
      this.#handUp(entry, frame, up);
      return;
    }
    this.#touch(slot, frame);
    const reason = dropped(frame, actions);
    if (reason === undefined) stamp({ key: this.#key, frame }, actions, this.#records, this.now());
    this.#show(whereOf(entry), frame, reason ?? actions, slot.ref);
    if (reason !== undefined) return this.#drop(reason, entry);
    this.#hits++;
    this.#emit(frame, actions);
  }

  #touch(slot: Slot, frame: Uint8Array): void {
    slot.packets++;
    slot.bytes += frame.length;
    slot.lastUsedMs = this.now();
  }

  #emit(frame: Uint8Array, actions: Actions): void {
    for (const { output, frame: copy, lost } of interpret(frame, actions))
      if (lost === undefined) this.#leave(output, copy);
      else this.#drop(lost);
  }

  #leave(output: Output, frame: Uint8Array): void {
    if ('remote' in output) {
      const to = this.#peers.addressOf(output.remote);
      if (to === undefined) this.#drop('not-located');
      else this.#tunnel(to, output.key, frame);
    } else if (this.#ports.has(output.port)) {
      this.sights.showLeaving(frame, output.port);
      this.#transmit(output.port, frame);
    }
  }

  /** Shows a frame of `#key`: what a flow or a key sends, or why it is dropped. */
  #show(where: Sighting['where'], frame: Uint8Array, what: Becoming, ref?: FlowRef): void {
    if (!this.sights.any) return;
    const port = where === 'port' ? entryOf(this.#key).port : undefined;
    this.sights.show(frame, { where, port, key: this.#key, what, ref });
  }

  #handUp(entry: Entry, frame: Uint8Array, reason: Upcall['reason']): void {
    const timeMs = this.now();
    const kind = classOf(this.#key, reason);
    let refused: DropReason | undefined;
    if (!this.#budgets.pays({ entry, kind, bytes: frame.length }, timeMs * NS_PER_MS))
      refused = 'upcall-budget';
    else if (!this.#shares.take(payerOf(entry), 1, isUrgent(kind))) refused = 'upcall-share';
    this.#show(whereOf(entry), frame, refused ?? { kind: 'up', reason });
    if (refused !== undefined) return this.#drop(refused, entry);
    this.#misses++;
    const key = this.#key.slice();
    this.#waiting.push({ entry, timeMs, key, frame: frame.slice(), gsoSize: 0, reason });
  }

  /** Sends a queued frame. One whose TTL is used up has no way on: its flow cannot carry it. */
  #send({ ref, actions, frame }: Send): void {
    const slot = ref === undefined ? undefined : this.#find(ref);
    const what = slot?.flow.actions ?? actions;
    let reason: DropReason | undefined;
    const keyed = parseKey(frame, this.#key);
    if (ref !== undefined && (slot === undefined || slot.stale)) reason = 'stale-injection';
    else if (what === undefined) throw new Error('datapath: a frame was queued without actions');
    else if (!keyed || expires(this.#key, what)) reason = 'malformed';
    else {
      if (slot !== undefined) this.#touch(slot, frame);
      reason = dropped(frame, what);
      if (reason === undefined) stamp({ key: this.#key, frame }, what!, this.#records, this.now());
    }
    if (slot !== undefined) writeEntry(this.#key, entryOf(slot.flow.key));
    if (keyed) this.#show('inject', frame, reason ?? what!, ref);
    if (reason !== undefined) this.#drop(reason);
    else this.#emit(frame, what!);
  }
}

/** A datapath without a kernel. Nothing leaves until `onTransmit` and `onTunnel` say where to. */
export const openMemory = (options: MemoryOptions): Datapath & MemoryProbe => new Memory(options);
