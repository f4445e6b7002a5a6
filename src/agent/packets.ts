/**
 * The packet path: first packets in, decisions out, flows installed.
 *
 * Invariants: a frame that comes up is injected, answered, made to wait, kept as a part of what is
 * to be answered, or dropped and counted; a flow decided a moment ago takes later frames along
 * before it is in the kernel, so order is kept; what a walk claims is committed, and its flows
 * stale, before the walk is done again and anything is installed; fragments that came by different
 * ports or interfaces are never put together. What one frame brings about (answers, questions,
 * errors, and what these bring about) is done before the next is looked at, and bounded.
 */
import type { AgentCounters } from '#client/types.ts';
import type { Datapath, Upcall } from '#datapath/datapath.ts';
import { Turns } from '#datapath/turns.ts';
import { compileTell } from '#flow/compile.ts';
import type { Connections } from '#flow/connections.ts';
import type { Entry, FlowRef } from '#flow/flow.ts';
import { MTU_MAX } from '#flow/flow.ts';
import { KEY, KEY_SIZE, type Note } from '#flow/layout.ts';
import { entryOf, parseKey, writeEntry } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import type { FlowTable } from '#flow/table.ts';
import { read16 } from '#net/bytes.ts';
import { readMac } from '#net/mac.ts';
import { readdressQuoted } from '#net/readdress.ts';
import { Reassembly } from '#net/reassembly.ts';
import type { DropReason } from '#virtual/drop.ts';
import { hasField } from '#virtual/match.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { Outcome } from '#virtual/outcome.ts';
import { Buckets } from '#telemetry/buckets.ts';
import { FIRST_PACKET_SECONDS } from '#telemetry/metrics.ts';
import type { ErrorBudget } from '#virtual/state/error-budget.ts';
import type { MacTable } from '#virtual/state/macs.ts';
import { connectionTag, type Tag } from '#virtual/tags.ts';
import type { Topology } from '#virtual/topology.ts';
import { type Asking, missingKey, needsWord, type Word } from './asking.ts';
import type { Balancing } from './balancing.ts';
import type { Bindings } from './bindings.ts';
import { causeOf, Decider, type Decision, type Packet } from './decider.ts';
import { FlowCache } from './flow-cache.ts';
import type { Learning } from './learning.ts';
import { LIMITS } from './limits.ts';
import type { Neighbours } from './neighbours.ts';
import type { PublicPorts } from './public-ports.ts';
import { Openings } from './openings.ts';
import { LargePackets, pieces } from './too-big.ts';
import type { PacketCounts } from './packet-counts.ts';
import type { RuleLog } from './rule-log.ts';
import type { Tracking } from './tracking.ts';
import { parkedOf, type Parked } from './waiting.ts';

export interface PacketPathOptions {
  readonly host: HostId;
  readonly datapath: Datapath;
  readonly topology: Topology;
  readonly state: {
    readonly macs: MacTable;
    readonly neighbours: Neighbours;
    readonly errors: ErrorBudget;
    readonly connections: Connections;
  };
  readonly tracking: Tracking;
  readonly asking: Asking;
  readonly publicPorts: PublicPorts;
  readonly balancing: Balancing;
  readonly rules: { readonly counts: PacketCounts; readonly log: RuleLog };
  /** What others count, to be noted with what is counted here. */
  readonly notes?: () => Partial<Record<Note, number>>;
  readonly table: FlowTable;
  readonly bindings: Bindings;
  readonly learning: Learning;
}

/** What the network itself is to send out of a port: a frame, or all fragments of one. */
interface Outgoing {
  readonly port: PortId;
  readonly frames: readonly Uint8Array[];
  readonly about?: Packet['about'];
}

/** How a packet comes to be decided. */
interface How {
  /** Nobody else is to be asked about it. */
  readonly word?: Word;
  readonly whole?: Packet['whole'];
}

/** The kernel has looked at more than whether the flow matches. */
const isGuarded = ({ reason }: Upcall): boolean =>
  reason === 'ttl' || reason === 'too-big' || reason === 'connection';

export class PacketPath {
  /** From the arrival of first packets in the kernel until what was decided is carried out. */
  readonly firstPackets = new Buckets(FIRST_PACKET_SECONDS);
  /** When those of the batch arrived. */
  readonly #arrivedMs: number[] = [];
  /** The flows that what is decided becomes. */
  readonly flows: FlowCache;
  readonly #datapath: Datapath;
  readonly #topology: Topology;
  readonly #state: PacketPathOptions['state'];
  readonly decider: Decider;
  readonly #table: FlowTable;
  readonly #bindings: Bindings;
  readonly #learning: Learning;
  readonly #openings: Openings;
  readonly #asking: Asking;
  readonly #publicPorts: PublicPorts;
  readonly rules: PacketPathOptions['rules'];
  readonly #notes: () => Partial<Record<Note, number>>;
  readonly #turns: Turns;
  readonly #drops: Partial<Record<DropReason, number>> = {};
  #upcalls = 0;
  #injected = 0;
  readonly #large: LargePackets;
  #opened = false;
  /** Whose frame is looked at, or brought about what is. */
  #onBehalfOf: Entry | undefined;
  /** Of the reassembly, as the datapath was told. */
  #toldDropped = 0;
  /** In their order. */
  #outbox: Outgoing[] = [];
  readonly #reassembly = new Reassembly({
    perSourceMax: LIMITS.datagramsPerPortMax,
    datagramsMax: LIMITS.datagramsMax,
    bytesMax: LIMITS.datagramBytesMax,
    fragmentsMax: LIMITS.fragmentsPerDatagramMax,
    ageMs: LIMITS.datagramAgeMs,
  });

  constructor(options: PacketPathOptions) {
    this.#datapath = options.datapath;
    this.#turns = new Turns(options.datapath, LIMITS.turns);
    this.flows = new FlowCache(options.datapath, options.table, (refs) =>
      options.rules.counts.removed(refs),
    );
    this.#topology = options.topology;
    this.#state = options.state;
    const { topology, bindings, state, publicPorts, balancing } = options;
    const isHere = (port: PortId): boolean => bindings.isHere(port);
    const view = { ...state, isHere, publicPorts, balancing };
    this.decider = new Decider(options.host, topology, view, bindings);
    this.#publicPorts = publicPorts;
    this.#table = options.table;
    this.#bindings = options.bindings;
    this.#learning = options.learning;
    const { decider, flows } = this;
    const invalidate = flows.invalidate.bind(flows);
    this.#openings = new Openings({ ...options, decider, invalidate });
    this.#asking = options.asking;
    this.rules = options.rules;
    this.#notes = options.notes ?? (() => ({}));
    this.#large = new LargePackets(options);
  }

  /** Upcalls are decided from now on; before, they are refused and counted. */
  open(): void {
    this.#opened = true;
  }

  /** Decides waiting upcalls, at most one batch; how many there were. */
  pump(): number {
    this.flows.deleteSome();
    const answered = this.#answered();
    const handled = this.#turns.serve(this.#take, LIMITS.upcallsPerBatchMax);
    if (handled + answered > 0) this.#datapath.commit();
    const nowMs = this.#datapath.now();
    for (const timeMs of this.#arrivedMs)
      this.firstPackets.observe(Math.max(0, nowMs - timeMs) / 1_000);
    this.#arrivedMs.length = 0;
    return handled + answered;
  }

  /** First packets that wait for their turn, and stale flows to delete: `pump` is to go on. */
  get waiting(): number {
    return this.#turns.waiting + this.flows.stale;
  }

  /**
   * Asks what is to be asked, and decides anew what waited for something known by now; each by
   * itself, so that none is short of what others bring about.
   */
  settle(): void {
    const { neighbours } = this.#state;
    this.#onBehalfOf = undefined;
    const questions = neighbours.questions();
    for (const parked of neighbours.released()) {
      this.#resume(parked);
      this.#work();
    }
    for (const { port, frame } of questions) {
      this.#outbox.push({ port, frames: [frame] });
      this.#work();
    }
    this.#datapath.commit();
  }

  /**
   * Flows with these tags are handed up again from the moment this returns. Before anything was
   * decided there are only adopted flows, and nobody knows yet on what they depend.
   */
  invalidate(tags: readonly Tag[] | 'all'): void {
    if (!this.#opened) return;
    this.flows.invalidate(tags);
  }
  /** Removes idle flows, notes which senders are still there, and gives up datagrams. */
  expire(): void {
    const now = this.#datapath.now();
    this.#large.tick();
    this.#reassembly.expire(now);
    this.#asking.tick();
    this.invalidate(this.#asking.takeInVain());
    const { dropped } = this.#reassembly;
    if (dropped > this.#toldDropped)
      this.#datapath.dropped('reassembly-limit', undefined, dropped - this.#toldDropped);
    this.#toldDropped = dropped;
    this.#datapath.note({
      ...this.#table.counters(),
      ...this.#notes(),
      upcalls: this.#upcalls,
      flowsInstalled: this.flows.installed,
    });
    this.flows.expire(now, this.#lastUsedMs);
  }

  counters(): AgentCounters {
    const { hits, misses, tunnelHits, drops } = this.#datapath.counters();
    const all: Record<string, number> = { ...drops };
    const own = { ...this.#drops };
    if (this.#reassembly.dropped > 0) own['reassembly-limit'] = this.#reassembly.dropped;
    if (this.#turns.dropped > 0) own['upcall-share'] = this.#turns.dropped;
    for (const [reason, n] of Object.entries(own)) all[reason] = (all[reason] ?? 0) + n;
    return {
      upcalls: this.#upcalls,
      flowsInstalled: this.flows.installed,
      flowsNow: this.#table.counters().live,
      injected: this.#injected,
      hits,
      misses,
      tunnelHits,
      cut: this.#large.cut,
      drops: all,
    };
  }

  #count(reason: DropReason): void {
    this.#drops[reason] = (this.#drops[reason] ?? 0) + 1;
    this.#datapath.dropped(reason, this.#onBehalfOf);
  }

  /** A claim changes what is known, so the walk is done again on that. */
  #settled(packet: Packet): Outcome {
    const first = this.decider.walk(packet);
    if (first.claims.length === 0) return first;
    for (const claim of first.claims)
      this.invalidate(
        'learn' in claim
          ? this.#learning.claim(claim.learn)
          : this.#state.neighbours.claim(claim.hear),
      );
    // What was told by the claims is theirs: the second walk has none left.
    return { ...this.decider.walk(packet), tells: first.tells };
  }

  /** As it is when the packet begins anew what has ended, if it does. */
  #begun(packet: Packet): Outcome {
    const first = this.#settled(packet);
    if (!this.#openings.begins(first, packet)) return first;
    const { tells, ...outcome } = this.#settled(packet);
    return { ...outcome, tells: [...first.tells, ...tells] };
  }

  readonly #take = (upcall: Upcall): void => {
    this.#upcalls += 1;
    this.#arrivedMs.push(upcall.timeMs);
    this.#onBehalfOf = upcall.entry;
    if (!this.#opened) return this.#count('upcall-refused');
    // The workload sent it into the network that the interface belonged to then.
    if (this.#bindings.changedHandsSince(upcall.entry.port, upcall.timeMs))
      return this.#count('no-port');
    const known = isGuarded(upcall) ? undefined : this.flows.carrying(upcall);
    if (known !== undefined) {
      this.#injected += 1;
      return this.#datapath.inject(known, upcall.frame, upcall.gsoSize);
    }
    this.#decide(upcall, upcall.entry, upcall.timeMs);
    this.#work();
  };

  /** Decides a first packet, fresh or one that waited, and carries out what that asks for. */
  #decide(
    { key, frame, gsoSize }: Pick<Packet, 'key' | 'frame' | 'gsoSize'>,
    entry: Entry,
    timeMs: number,
    { word: had, whole }: How = {},
  ): void {
    const ingress = this.decider.ingressOf(entry);
    if (ingress === undefined) return this.#count('no-port');
    const packet: Packet = { key, frame, gsoSize, ingress, whole };
    const outcome = this.#begun(packet);
    const word = had ?? this.#ask(outcome, packet, entry, timeMs);
    if (word === 'waits') return;
    if (word === 'in vain' && needsWord(outcome, frame)) return this.#count('unknown-answer');
    if ('port' in ingress) this.#noteSeen(key, ingress.port);
    this.#effects(outcome, packet);
    const { verdict } = outcome;
    if (verdict.kind === 'answer') return this.#matched(outcome, packet);
    if (verdict.kind === 'collect') return this.#collect(packet, entry, timeMs);
    if (verdict.kind === 'wait') {
      if (!this.#state.neighbours.park(verdict.port, verdict.ip, parkedOf(packet, entry, timeMs)))
        this.#count('neighbour-limit');
      return;
    }
    const opened =
      verdict.kind === 'want-ports'
        ? verdict
        : this.#openings.open(this.decider.decision(outcome, ingress, key), packet);
    if ('actions' in opened) return this.#install(packet, opened);
    if (!this.#publicPorts.wait(opened, parkedOf(packet, entry, timeMs)))
      this.#count('nat-exhausted');
  }
  /** Whether the packet waits for what another host knows of its connection. */
  #ask(outcome: Outcome, packet: Packet, entry: Entry, timeMs: number): Word {
    const key = missingKey(outcome);
    const asker = outcome.unserved === true ? 'member' : 'sender';
    const may = key !== undefined && this.#asking.mayAsk(entry.port, asker);
    const host = may ? this.decider.ownerOf(packet, outcome.unreversed) : undefined;
    if (key === undefined || host === undefined) return 'no need';
    return this.#asking.ask({ host, key, asker }, parkedOf(packet, entry, timeMs));
  }
  /** Decides for good what was asked about; how many packets those were. */
  #answered(): number {
    const [asked, ports] = [this.#asking.released(), this.#publicPorts.released()];
    for (const { parked, word } of asked) this.#retry(parked, { word });
    for (const parked of ports) this.#retry(parked, {});
    return asked.length + ports.length;
  }
  #retry(parked: Parked, how: How): void {
    if ('out' in parked) return;
    this.#onBehalfOf = parked.entry;
    this.#goOn(parked, how);
    this.#work();
  }

  /** Tells of the rules that a packet matched; `counted`: its flow counts it. */
  #matched({ steps, logged }: Outcome, { frame, ingress }: Packet, counted = false): void {
    const port = 'port' in ingress ? ingress.port : undefined;
    for (const each of logged ?? []) this.rules.log.write({ ...each, port });
    if (!counted) this.rules.counts.one(steps, frame.length);
  }

  /** Keeps a fragment for a router, and decides about its datagram when that is whole. */
  #collect({ frame, ingress }: Packet, entry: Entry, timeMs: number): void {
    if (!('port' in ingress)) return this.#count('local-refused');
    // By interface too: another one that carried the port before has no part in this.
    const source = `${ingress.port} ${entry.port}`;
    const whole = this.#reassembly.add(frame, source, this.#datapath.now());
    if (whole === undefined) return;
    const key = new Uint8Array(KEY_SIZE);
    if (!parseKey(whole.frame, key)) return this.#count('malformed');
    writeEntry(key, entry);
    this.#decide({ key, frame: whole.frame, gsoSize: 0 }, entry, timeMs, { whole });
  }

  /** All of an outcome but its verdict. */
  #effects({ sends, charge, tells, confirms }: Outcome, { frame, ingress, whole }: Packet): void {
    const at = 'port' in ingress ? ingress.port : undefined;
    for (const { port, ip } of confirms) this.#state.neighbours.confirm(port, ip, at);
    if (charge !== undefined) this.invalidate(this.#state.errors.charge(charge));
    for (const { port, frame: sent, cut, about } of sends) {
      const frames = cut === undefined ? [sent] : pieces(sent, cut, whole?.id ?? 0);
      if (frames === undefined) this.#count('too-big');
      else this.#outbox.push({ port, frames, about });
    }
    for (const { router, mac } of tells) {
      const outputs = compileTell(router, this.#bindings);
      // As the port heard it: to itself, and without the tag of a VLAN that ended on the way.
      if (outputs.length > 0) this.#datapath.execute(frame, { ethDst: mac, vlan: 0, outputs }, 0);
    }
  }

  /** What frames have brought about, and what that brings about, until there is nothing left. */
  #work(): void {
    const { neighbours } = this.#state;
    for (let sent = 0; ;) {
      for (const { port, frame } of neighbours.questions())
        this.#outbox.push({ port, frames: [frame] });
      const released = neighbours.released();
      const sends = this.#outbox;
      if (released.length + sends.length === 0) return;
      this.#outbox = [];
      for (const parked of released) this.#resume(parked);
      for (const { port, frames, about } of sends) {
        sent += 1;
        for (const frame of frames)
          if (sent <= LIMITS.sendsPerUpcallMax) this.#send(port, frame, about);
          else this.#count('too-many-hops');
      }
    }
  }

  #resume(parked: Parked): void {
    const before = this.#onBehalfOf;
    this.#onBehalfOf = 'out' in parked ? undefined : parked.entry;
    this.#goOn(parked);
    this.#onBehalfOf = before;
  }
  #goOn(parked: Parked, how: How = {}): void {
    if ('out' in parked) return this.#send(parked.out, parked.frame, parked.about);
    if (this.#bindings.changedHandsSince(parked.entry.port, parked.timeMs))
      return this.#count('no-port');
    // Decided anew, though there may be a flow by now: whether that may carry it (its TTL, its
    // length) the kernel has looked at only for frames that were not handed up.
    this.#decide(parked, parked.entry, parked.timeMs, how);
  }

  /** Sends a frame of the network itself out of a port: through whatever is linked there. */
  #send(port: PortId, frame: Uint8Array, about?: Packet['about']): void {
    const key = new Uint8Array(KEY_SIZE);
    if (!parseKey(frame, key)) return this.#count('malformed');
    const packet: Packet = { key, frame, gsoSize: 0, ingress: { out: port }, about };
    const outcome = this.#settled(packet);
    this.#effects(outcome, packet);
    const { verdict } = outcome;
    if (verdict.kind !== 'wait') this.#matched(outcome, packet);
    if (verdict.kind === 'answer') return;
    if (verdict.kind === 'collect') return this.#count('local-refused');
    if (verdict.kind === 'wait') {
      if (!this.#state.neighbours.park(verdict.port, verdict.ip, { frame, out: port, about }))
        this.#count('neighbour-limit');
      return;
    }
    if (verdict.kind === 'want-ports') return this.#count('nat-exhausted');
    const decision = this.decider.decision(outcome, packet.ingress, key);
    if (decision.actions.drop !== undefined) this.#count(decision.actions.drop);
    else this.#execute(packet, decision);
  }

  /** Sends a frame by actions that no flow has, where it fits; see `too-big.ts`. */
  #execute(packet: Packet, { outcome, actions, limits }: Decision): void {
    const { gsoSize, ingress, whole } = packet;
    const { verdict, quoted } = outcome;
    const frame = quoted === undefined ? packet.frame : readdressQuoted(packet.frame, quoted);
    if (frame === undefined) return this.#count('malformed');
    const all = verdict.kind === 'forward' ? verdict.cut : undefined;
    const size = packetSize(frame, gsoSize);
    if (all === undefined && size <= (actions.mtu ?? size))
      return this.#datapath.execute(frame, actions, gsoSize);
    const from = 'port' in ingress ? ingress.port : undefined;
    const large = { frame, gsoSize, size, from, id: whole?.id };
    if (!this.#large.send(large, actions, limits, all)) this.#count('too-big');
    this.invalidate(this.#large.takeTags());
  }

  #install(packet: Packet, decision: Decision): void {
    const { outcome, actions, fields, tags } = decision;
    const { key, frame, gsoSize } = packet;
    if (actions.drop !== undefined) this.#count(actions.drop);
    // A flow would be for those that fit; the first of them makes it.
    else if (packetSize(frame, gsoSize) > (actions.mtu ?? MTU_MAX)) {
      this.#matched(outcome, packet);
      this.#injected += 1;
      return this.#execute(packet, decision);
    }
    const cause = causeOf(decision);
    const now = this.#datapath.now();
    const flow = { key, fields, tags, cause, now };
    const ref = this.#isKept(outcome) ? this.flows.add(flow, actions) : undefined;
    this.#matched(outcome, packet, ref !== undefined && actions.drop === undefined);
    if (actions.drop !== undefined) return;
    this.#injected += 1;
    if (ref === undefined) this.#execute(packet, decision);
    else this.#datapath.inject(ref, frame, gsoSize);
  }

  /** Whether a flow is to do what was decided. */
  #isKept({ cacheable, unreversed, connection }: Outcome): boolean {
    const key = unreversed && connection?.key;
    return cacheable && (key === undefined || this.#asking.inVain(connectionTag(key)));
  }

  /** Asked of flows that are old enough to expire: what still sends keeps its MAC from ageing. */
  readonly #lastUsedMs = (ref: FlowRef): number => {
    const { lastUsedMs: at } = this.#datapath.stats(ref);
    if (this.#datapath.now() - at < LIMITS.flowIdleMs) this.#noteSender(ref);
    return at;
  };
  #noteSender(ref: FlowRef): void {
    const flow = this.#table.match(ref);
    if (flow === undefined || !hasField(flow.fields, 'ethSrc')) return;
    const port = this.#bindings.portAt(entryOf(flow.key).port);
    if (port !== undefined) this.#noteSeen(flow.key, port);
  }
  #noteSeen(key: Uint8Array, port: PortId): void {
    const bridge = this.#topology.port(port)?.bridge;
    if (bridge === undefined) return;
    const vlan = read16(key, KEY.vlan) & 0xfff;
    this.#learning.seen({ bridge, vlan, mac: readMac(key, KEY.eth_src), port });
  }
}
