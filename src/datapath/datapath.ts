/**
 * The datapath: caches flows and carries frames. One interface, several bodies (`memory`, `ebpf`),
 * one contract suite (`contract.ts`).
 *
 * Invariants: every frame that enters is forwarded by a flow, handed up, or dropped and counted
 * with a reason; a frame never leaves by an interface that no flow, key or injection named; a bound
 * interface never talks to the host's own stack. All calls are synchronous and are made from one
 * thread.
 */
import type { ConnectionMemory } from '#flow/connection-layout.ts';
import type { Actions, DpPeer, DpPort, Entry, Flow, FlowRef, TunnelKey } from '#flow/flow.ts';
import type { Note } from '#flow/layout.ts';
import type { Ip } from '#net/ip.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { Peer } from './peers.ts';
import type { Sights } from './sight.ts';

/**
 * A frame that no flow matched, and that its entry paid for (`budget.ts`; else it was dropped as
 * `upcall-budget`). Valid only during the callback: the bytes are reused.
 */
export interface Upcall {
  readonly entry: Entry;
  /** When it entered, on the clock of `now()`: it may have waited while ports changed hands. */
  readonly timeMs: number;
  /**
   * The frame's key as the datapath matched it: KEY_SIZE bytes of `flow/layout.ts`, nothing masked.
   */
  readonly key: Uint8Array;
  /** The whole frame from its Ethernet header on, an 802.1Q tag in place. */
  readonly frame: Uint8Array;
  /** Payload bytes per segment when the frame is a GSO super-packet, else 0. */
  readonly gsoSize: number;
  /**
   * `stale`: a flow matched, but it had been invalidated. `ttl`: a flow would have used up the TTL.
   * `too-big`: the packet, or a segment of it, is larger than the MTU of a flow. `connection`: a
   * segment of TCP that opens a flow's connection anew, or has flags no stack sends. All count as
   * misses only, and not in the flow's statistics.
   */
  readonly reason: 'miss' | 'stale' | 'ttl' | 'too-big' | 'connection';
}

export interface FlowStats {
  readonly packets: number;
  readonly bytes: number;
  /** On the datapath's own monotonic clock (`now()`), in milliseconds; 0: never. */
  readonly lastUsedMs: number;
}

/**
 * Every frame that enters by an added port or by the tunnel counts exactly once: `hits` (a flow
 * forwarded it),
 * `tunnelHits` (a port key did), `misses` (handed up, for any reason) or a drop; a frame that a
 * flow drops is a drop and no hit. A copy that is lost for what its own output rewrites counts as a
 * drop beside that. Frames that `inject` and `execute` send count in `drops` only,
 * when they are dropped. A copy to a peer that was removed counts in `drops` besides, as
 * `not-located`.
 */
export interface DatapathCounters {
  readonly hits: number;
  readonly misses: number;
  readonly tunnelHits: number;
  readonly drops: Readonly<Partial<Record<DropReason, number>>>;
}

/** Drops by reason. */
export type DropCounts = Readonly<Partial<Record<DropReason, number>>>;
/**
 * Drops of one entry: a port, or a peer behind the tunnel. `drops`: by the datapath; `agentDrops`:
 * of what was handed up, as `dropped` was told.
 */
export interface EntryDrops {
  readonly port: DpPort;
  readonly source: DpPeer | undefined;
  readonly drops: DropCounts;
  readonly agentDrops: DropCounts;
}

export interface Installed {
  readonly ref: FlowRef;
  readonly flow: Flow;
}

/**
 * What a receiving host does with a port key. `network`: the flood key of the bridge; senders are
 * allowed per network.
 */
export interface KeyTarget {
  readonly key: TunnelKey;
  readonly port: DpPort;
  readonly network: number;
}

/** Who may send for a network. */
export interface Sender {
  readonly source: DpPeer;
  readonly network: number;
}

export interface Datapath extends Disposable {
  /** The number of the tunnel device, for entries that come from it. */
  readonly tunnelPort: DpPort;
  /** How many flows there can be; slots are 0 … slots − 1. */
  readonly slots: number;
  /** This datapath's monotonic clock in milliseconds. */
  now(): number;

  /**
   * Takes an interface over. When this returns, it is isolated: nothing passes but by flows.
   * Idempotent. It has a budget of first packets (`budget.ts`) until it is let go.
   */
  addPort(port: DpPort): void;
  /**
   * Lets an interface go, and sets it down: unbound, it must not be a cable to the host's stack. A
   * vanished interface is let go without an error. Idempotent.
   */
  removePort(port: DpPort): void;
  /**
   * What is taken over now. An interface that was deleted is not among them, even when there is
   * another one under its number: that one has to be added. Called whenever the host's interfaces
   * are not as they were: what is remembered of them is looked up anew.
   */
  ports(): readonly DpPort[];

  /** Desired set of port keys; the datapath makes it so. Throws when there is no more room. */
  setKey(target: KeyTarget): void;
  removeKey(key: TunnelKey): void;
  keys(): readonly KeyTarget[];
  /**
   * The number of an underlay address, IPv4 or IPv6: the same until it is removed. Throws when
   * there are LIMITS.PEERS_MAX already.
   */
  addPeer(address: Ip): DpPeer;
  /**
   * The number may be given to another address from now on, so nothing may refer to it any more:
   * no flow, neither as an output nor as an entry, is left. Its senders are denied. Idempotent.
   */
  removePeer(peer: DpPeer): void;
  peers(): readonly Peer[];
  /**
   * Allows `source` to send frames for `network`; everybody else's are dropped as `unknown-sender`.
   * A source has one budget of first packets for all networks. Throws when there is no more room,
   * or no such peer.
   */
  allowSender(source: DpPeer, network: number): void;
  denySender(source: DpPeer, network: number): void;
  senders(): readonly Sender[];

  /**
   * Queues flows for installation; in the kernel after `commit()`. Replaces a flow of equal key and
   * fields.
   */
  install(ref: FlowRef, flow: Flow): void;
  /**
   * From the moment this returns, frames of these flows are handed up again instead of forwarded
   * (one memory write a flow). The entry stays until `remove`.
   */
  invalidate(refs: readonly FlowRef[]): void;
  /** Deletes flows; their slots may be reused for a new generation when this returns. */
  remove(refs: readonly FlowRef[]): void;
  /**
   * Sends queued frames, then installs queued flows: no frame overtakes an earlier one of its flow.
   */
  commit(): void;
  /** `run` is called before queued frames leave, by `commit()` or before; there is one `run`. */
  beforeFrames(run: () => void): void;
  stats(ref: FlowRef): FlowStats;
  /**
   * What a flow does, queued or installed; undefined: there is none of this name. As in a dump,
   * outputs are in any order, and tags are said of all of them or of each.
   */
  actions(ref: FlowRef): Actions | undefined;
  /**
   * What is installed, for adoption by a new agent. Slots found are in use until removed. Flows
   * that were invalidated before are not among them: they are removed by this call.
   */
  dump(): readonly Installed[];

  /**
   * Sends one frame by the actions of a flow (queued or installed) and counts it there. The frame
   * is copied; sent by `commit()` at the latest. Pass an upcall's `gsoSize` on: GSO and partial
   * checksums survive. Dropped as `stale-injection` when the flow was invalidated meanwhile, and as
   * `malformed` when its TTL would be used up. No MTU is looked at: that is the sender's to do.
   */
  inject(ref: FlowRef, frame: Uint8Array, gsoSize: number): void;
  /**
   * Sends one frame by `actions`, without a flow. The frame is copied; sent by `commit()` at the
   * latest. TTL and MTU: as with `inject`.
   */
  execute(frame: Uint8Array, actions: Actions, gsoSize: number): void;

  /** Hands waiting upcalls to `take`, at most `max`; answers how many there were. */
  upcalls(take: (upcall: Upcall) => void, max: number): number;
  /** A file descriptor that polls readable when upcalls wait; undefined for bodies without one. */
  readonly upcallFd: number | undefined;
  /**
   * Records of connections: written by the caller, stamped by flows that name them; they outlive
   * it as flows do. The first slot is never one.
   */
  readonly connections: ConnectionMemory;
  /** Frames are shown to who looks, and go where they would have gone. */
  readonly sights: Sights;
  counters(): DatapathCounters;
  /**
   * Counts frames that were handed up, or came from nowhere, and that the agent dropped: where
   * everything is counted that whoever looks at the datapath finds. Not in `counters()`.
   */
  dropped(reason: DropReason, entry?: Entry, frames?: number): void;
  /** What was dropped of each entry there is; `agentDrops` of no entry under no port. */
  entryDrops(): readonly (
    | EntryDrops
    | (Omit<EntryDrops, 'port'> & { readonly port?: undefined })
  )[];
  /** Leaves what the agent counted of its own limits where `dropped` counts. */
  note(notes: Readonly<Partial<Record<Note, number>>>): void;
}
