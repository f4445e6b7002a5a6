/**
 * The product's datapath: a flow cache in the kernel, run from here. Needs root and kernel 6.1.
 *
 * Invariants: the kernel goes on forwarding what is installed when this process ends, however it
 * ends; the next one on the same run directory finds flows, keys, senders and ports as they were,
 * also when its layout of the maps is another (`pins.ts` has the order in which that happens).
 * One process per run directory, one datapath per network namespace (`lock.ts`). The pins live in a
 * bpffs at RUN_DIR/bpf: see `os/mount.ts` for what a private mount namespace does to them.
 */
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { ConnectionMemory } from '#flow/connection-layout.ts';
import type { Actions, DpPeer, DpPort, Entry, Flow, FlowRef, TunnelKey } from '#flow/flow.ts';
import { LIMITS, NOTES, TUNNEL_TOS_COPY } from '#flow/layout.ts';
import type { Note } from '#flow/layout.ts';
import type { Ip } from '#net/ip.ts';
import { monotonicMs } from '#os/clock.ts';
import { needKernel } from '#os/kernel.ts';
import { isBpffs, mountBpffs, unmount } from '#os/mount.ts';
import type { DropReason } from '#virtual/drop.ts';
import { DROPS } from '#virtual/drop.ts';
import { checkBudget, UPCALL_BUDGET } from '../budget.ts';
import type { UpcallBudget } from '../budget.ts';
import { checkActions } from '../check.ts';
import type {
  Datapath,
  DatapathCounters,
  FlowStats,
  Installed,
  KeyTarget,
  Sender,
  Upcall,
} from '../datapath.ts';
import type { Peer } from '../peers.ts';
import { ActionArray } from './actions.ts';
import { attachDevices, bestAttachment, openPorts } from './attach.ts';
import type { Attachment, PortPrograms } from './attach.ts';
import { removeAllFilters } from './clsact.ts';
import { Counters } from './counters.ts';
import { ensureDevices, removeDevices } from './devices.ts';
import { Entries } from './entries.ts';
import type { Payer } from './entries.ts';
import { FarEnds } from './far-ends.ts';
import { Flows } from './flows.ts';
import { Groups } from './groups.ts';
import { isolateReturned } from './guard.ts';
import { Injector } from './inject.ts';
import { claimDevices, lockDatapath, lockRunDir, ownerOfDevices } from './lock.ts';
import { checkSizes, CONNECTIONS_DEFAULT, openMaps } from './maps.ts';
import type { Maps } from './maps.ts';
import { Masks } from './masks.ts';
import { migrate, sizesOf } from './migrate.ts';
import type { Migration } from './migrate.ts';
import { Peers } from './peers.ts';
import { bpffsDir, describedLayout, otherLayouts, removeAllPins, removeLayout } from './pins.ts';
import { closePrograms, loadPrograms, pinPrograms } from './programs.ts';
import type { Programs, ProgramVariant } from './programs.ts';
import { KernelSights } from './sights.ts';
import { Stacks } from './stacked.ts';
import { Keys, Senders } from './targets.ts';
import { UpcallRing } from './upcalls.ts';

export interface EbpfOptions {
  /** Where the pins and the lock are; made when missing. One per agent. */
  readonly runDir: string;
  /** Flows there can be. An adopted datapath keeps the number it was made with. */
  readonly slots: number;
  /** The queue of first packets, a power of two; kept like `slots`. */
  readonly ringBytes: number;
  /** Records of connections there can be; kept like `slots`. CONNECTIONS_DEFAULT unless told. */
  readonly connections?: number;
  readonly tunnelUdpPort: number;
  /** What each entry may hand up; UPCALL_BUDGET unless told. Each process sets its own. */
  readonly upcallBudget?: UpcallBudget;
  /**
   * The DSCP of outer packets, as a TOS: 0 unless told. `copy`: that of the packet inside (RFC 2983
   * §3). ECN is the kernel's: RFC 3168 §9.1.1 on the way out, RFC 6040 §4.2 on the way in.
   */
  readonly tunnelTos?: number | 'copy';
  /**
   * Frames for a container go straight to its interface, past the queues of the host's end: true
   * unless told. Then counters, captures and traffic control on the host's end do not see them.
   */
  readonly peerRedirect?: boolean;
  /**
   * How programs get onto interfaces; the best this kernel has unless told (tests). The same for
   * every process on the run directory, until destroyEbpf: two kinds at once are not kept apart.
   */
  readonly attachment?: Attachment;
  /** Keys the mask cache; random unless told (tests). */
  readonly secret?: readonly bigint[];
  /** The committed programs unless told (tests). */
  readonly variant?: ProgramVariant;
}

/** What was refused for a limit, and what got lost on the way in. */
export interface EbpfRefusals {
  /**
   * Flows beyond MASKS_MAX masks, or ENTRY_MASKS_MAX of their entry: not installed, their frames
   * are handed up one by one.
   */
  readonly masks: number;
  /** Flows whose outputs found no group: installed as drops, `flood-limit`. */
  readonly groups: number;
  /** Outputs with rewrites of their own for which there was no slot: their flows are such drops. */
  readonly rewrites: number;
  /** Flows that the kernel's table did not take. */
  readonly flows: number;
  /** Frames of the agent that the socket did not take. */
  readonly injections: number;
}

export interface EbpfDatapath extends Datapath {
  /** Whether it was there before this process, be it of another layout. */
  readonly adopted: boolean;
  readonly attachment: Attachment;
  /** What was carried over from another layout by this process. */
  readonly migration: Migration | undefined;
  refusals(): EbpfRefusals;
  /** Descriptors of the loaded programs, for test runs. */
  readonly programs: Programs;
}

class Ebpf implements EbpfDatapath {
  readonly tunnelPort: DpPort;
  readonly slots: number;
  readonly upcallFd: number;
  readonly connections: ConnectionMemory;
  readonly sights: KernelSights;
  readonly adopted: boolean;
  readonly attachment: Attachment;
  readonly programs: Programs;
  readonly migration: Migration | undefined;
  readonly #lock: Disposable;
  readonly #maps: Maps;
  readonly #ports: PortPrograms;
  readonly #stacks: Stacks;
  readonly #farEnds: FarEnds;
  readonly #keys: Keys;
  readonly #peers: Peers;
  readonly #senders: Senders;
  readonly #entries: Entries;
  readonly #groups: Groups;
  readonly #actions: ActionArray;
  readonly #masks: Masks;
  readonly #flows: Flows;
  readonly #injector: Injector;
  readonly #upcalls: UpcallRing;
  readonly #counters: Counters;
  readonly #notes: BigUint64Array;
  /** Scratch slots with an action since the last flush: their frames are not sent yet. */
  #scratch = 0;
  #scratchGeneration = 0;

  constructor(options: EbpfOptions, lock: Disposable, undo: DisposableStack) {
    const { runDir, tunnelUdpPort, tunnelTos = 0, upcallBudget = UPCALL_BUDGET } = options;
    const { peerRedirect = true } = options;
    this.#lock = lock;
    const devices = ensureDevices(tunnelUdpPort);
    claimDevices(runDir, devices.inject);
    const { maps, migration } = mapsOf(options);
    undo.use(maps);
    this.#maps = maps;
    this.migration = migration;
    this.slots = maps.slots;
    const { connections: slots } = maps;
    this.connections = { slots, bytes: new Uint8Array(maps.memory.connections) };
    this.adopted = maps.adopted;
    this.tunnelPort = devices.tunnel as DpPort;
    this.upcallFd = maps.fds.upcalls;
    maps.config.setTunnel(devices.tunnel);
    maps.config.setInject(devices.inject);
    maps.config.setTunnelTos(tunnelTos === 'copy' ? TUNNEL_TOS_COPY : tunnelTos);
    maps.config.setBudget(upcallBudget);
    this.sights = new KernelSights(maps, monotonicMs);
    this.#entries = new Entries(maps);
    this.#masks = new Masks(maps, this.#entries);
    this.#groups = new Groups(maps, monotonicMs);
    this.#farEnds = new FarEnds(peerRedirect);
    const farMac = (port: DpPort) => this.#farEnds.macOf(port);
    this.#actions = new ActionArray(maps, this.#groups, farMac);
    this.#flows = new Flows(maps, this.#actions, this.#masks);
    this.#peers = new Peers(maps);
    this.#senders = new Senders(maps, this.#peers);
    this.programs = undo.adopt(loadPrograms(maps, options.variant), closePrograms);
    this.attachment = options.attachment ?? bestAttachment(this.programs.sink);
    this.#ports = undo.use(openPorts(this.attachment, runDir, this.programs));
    this.#stacks = new Stacks(this.#ports.list());
    this.#farEnds.look(this.#ports.list());
    this.#flows.cross();
    this.#keys = new Keys(maps, (port) => this.#ports.has(port), farMac);
    const ports = this.#ports.list().map((port) => ({ port }));
    const sources = this.#senders.sources().map((source) => this.#sender(source));
    this.#entries.keep([...ports, ...sources]);
    attachDevices(this.attachment, runDir, { devices, programs: this.programs });
    pinPrograms(runDir, this.programs);
    for (const other of otherLayouts(runDir)) removeLayout(other);
    this.#injector = undo.use(new Injector(devices.inject));
    this.#upcalls = new UpcallRing(maps.fds.upcalls, maps.ringBytes, this.#entries);
    this.#counters = new Counters(maps.fds.counters);
    this.#notes = new BigUint64Array(maps.memory.notes);
  }

  now(): number {
    return monotonicMs();
  }

  addPort(port: DpPort): void {
    this.#stacks.add(port);
    this.#entries.add({ port });
    try {
      this.#ports.add(port);
    } catch (error) {
      this.#entries.remove({ port });
      this.#stacks.remove(port);
      throw error;
    }
    if (this.#farEnds.look([port])) this.#flows.cross();
    this.#keys.portChanged(port, true);
  }
  removePort(port: DpPort): void {
    if (this.#farEnds.forget(port)) this.#flows.cross();
    this.#keys.portChanged(port, false);
    this.#ports.release(port);
    this.#stacks.remove(port);
    this.#entries.remove({ port });
  }
  ports(): readonly DpPort[] {
    for (const port of this.#ports.vanished()) this.removePort(port);
    const ports = this.#ports.list();
    if (this.#farEnds.look(ports)) {
      this.#flows.cross();
      this.#keys.cross();
    }
    return ports;
  }

  setKey(target: KeyTarget): void {
    this.#keys.set(target);
  }
  removeKey(key: TunnelKey): void {
    this.#keys.remove(key);
  }
  keys(): readonly KeyTarget[] {
    return this.#keys.list();
  }
  addPeer(address: Ip): DpPeer {
    return this.#peers.add(address);
  }
  removePeer(peer: DpPeer): void {
    for (const { source, network } of this.#senders.list())
      if (source === peer) this.denySender(source, network);
    this.#peers.remove(peer);
  }
  peers(): readonly Peer[] {
    return this.#peers.list();
  }
  allowSender(source: DpPeer, network: number): void {
    this.#entries.add(this.#sender(source));
    try {
      this.#senders.allow(source, network);
    } finally {
      this.#forgetStranger(source);
    }
  }
  denySender(source: DpPeer, network: number): void {
    this.#senders.deny(source, network);
    this.#forgetStranger(source);
  }
  #forgetStranger(source: DpPeer): void {
    if (!this.#senders.has(source)) this.#entries.remove(this.#sender(source));
  }
  #sender(source: DpPeer): Payer {
    return { port: this.tunnelPort, source };
  }
  senders(): readonly Sender[] {
    return this.#senders.list();
  }

  install(ref: FlowRef, flow: Flow): void {
    this.#flows.install(ref, flow);
  }
  invalidate(refs: readonly FlowRef[]): void {
    this.#flows.invalidate(refs);
  }
  remove(refs: readonly FlowRef[]): void {
    this.#flows.remove(refs);
  }
  beforeFrames(run: () => void): void {
    this.#injector.before = run;
  }
  commit(): void {
    this.#flush();
    this.#flows.commit();
  }
  stats(ref: FlowRef): FlowStats {
    return this.#flows.stats(ref);
  }
  actions(ref: FlowRef): Actions | undefined {
    return this.#flows.actions(ref);
  }
  dump(): readonly Installed[] {
    return this.#flows.dump();
  }

  inject({ slot, generation }: FlowRef, frame: Uint8Array, gsoSize: number): void {
    this.#injector.push(slot, generation, frame, gsoSize);
  }

  execute(frame: Uint8Array, actions: Actions, gsoSize: number): void {
    checkActions(actions);
    if (this.#scratch === LIMITS.SCRATCH_SLOTS) this.#flush();
    const slot = this.slots + this.#scratch++;
    const generation = (this.#scratchGeneration = (this.#scratchGeneration + 1) >>> 0);
    this.#actions.write({ slot, generation }, actions);
    this.#injector.push(slot, generation, frame, gsoSize);
  }

  /**
   * The programs run inside the sending call, so afterwards no frame needs a scratch slot any more.
   */
  #flush(): void {
    this.#injector.flush();
    for (let i = 0; i < this.#scratch; i++) {
      this.#actions.invalidate(this.slots + i);
      this.#actions.release(this.slots + i);
    }
    this.#scratch = 0;
  }

  upcalls(take: (upcall: Upcall) => void, max: number): number {
    return this.#upcalls.drain(take, max);
  }

  counters(): DatapathCounters {
    const counters = this.#counters.read();
    const { lost } = this.#injector;
    if (lost === 0) return counters;
    return { ...counters, drops: { ...counters.drops, 'injection-lost': lost } };
  }
  dropped(reason: DropReason, entry?: Entry, frames = 1): void {
    const payer = entry && { port: entry.port, ...entry.tunnel };
    this.#entries.dropped(DROPS[reason].code, payer, frames);
  }
  entryDrops(): ReturnType<Datapath['entryDrops']> {
    return this.#entries.listDrops();
  }
  note(notes: Readonly<Partial<Record<Note, number>>>): void {
    const { masks, groups, flows } = this.refusals();
    const own = { refusedMasks: masks, refusedGroups: groups, refusedByKernel: flows };
    const all: Readonly<Partial<Record<Note, number>>> = { ...notes, ...own };
    for (const [i, name] of NOTES.entries()) this.#notes[i] = BigInt(all[name] ?? 0);
  }

  refusals(): EbpfRefusals {
    return {
      masks: this.#masks.refused,
      groups: this.#groups.refused,
      rewrites: this.#groups.rewrites.refused,
      flows: this.#flows.refused,
      injections: this.#injector.lost,
    };
  }

  /**
   * Ends this process's part; the kernel goes on. Nothing may be called afterwards: the memory is
   * gone.
   */
  [Symbol.dispose](): void {
    this.#injector[Symbol.dispose]();
    this.#upcalls.close();
    this.sights.close();
    this.#ports[Symbol.dispose]();
    closePrograms(this.programs);
    this.#maps[Symbol.dispose]();
    this.#lock[Symbol.dispose]();
  }
}

/**
 * Our maps as they are pinned, or new ones, filled from those of another layout if there are any.
 */
function mapsOf({
  runDir,
  slots,
  ringBytes,
  secret,
  connections = CONNECTIONS_DEFAULT,
}: EbpfOptions) {
  let migration: Migration | undefined;
  const source = describedLayout(runDir);
  const fill = (fds: Maps['fds']): void => {
    if (source !== undefined) migration = migrate(source, fds);
  };
  const sizes = (source && sizesOf(source, { connections })) ?? { slots, ringBytes, connections };
  const maps = openMaps(runDir, sizes, source === undefined ? { secret } : { secret, fill });
  return { maps, migration };
}

/**
 * Opens the datapath of this network namespace. Throws when a size is not possible, when another
 * process has the run directory or the network namespace, or when the kernel refuses.
 */
export function openEbpf(options: EbpfOptions): EbpfDatapath {
  checkSizes({ connections: CONNECTIONS_DEFAULT, ...options });
  checkBudget(options.upcallBudget ?? UPCALL_BUDGET);
  const { tunnelTos = 0 } = options;
  if (tunnelTos !== 'copy' && !(Number.isInteger(tunnelTos) && tunnelTos >= 0 && tunnelTos < 256))
    throw new RangeError('tunnelTos must be a whole number from 0 to 255, or copy');
  needKernel('the eBPF datapath', 6, 1);
  mkdirSync(options.runDir, { recursive: true, mode: 0o700 });
  using undo = new DisposableStack();
  const lock = undo.use(lockDatapath(options.runDir));
  mountBpffs(bpffsDir(options.runDir));
  isolateReturned(options.runDir);
  const datapath = new Ebpf(options, lock, undo);
  undo.move();
  return datapath;
}

/**
 * Takes everything down: attached programs, pinned maps, the datapath's own interfaces in this
 * network namespace, the mount. Interfaces of workloads stay, no longer isolated. Idempotent;
 * refused while a process runs the datapath.
 */
export function destroyEbpf(runDir: string): void {
  if (!existsSync(runDir)) return;
  using _ = lockRunDir(runDir);
  const bpffs = bpffsDir(runDir);
  const owner = ownerOfDevices();
  if (isBpffs(bpffs)) {
    removeAllPins(runDir);
    unmount(bpffs);
  }
  if (owner === undefined || owner === resolve(runDir)) {
    removeAllFilters();
    removeDevices();
  }
  rmSync(bpffs, { recursive: true, force: true });
  rmSync(join(runDir, 'datapath.lock'), { force: true });
}
