/**
 * The packet path: first packets in, decisions out, flows installed.
 *
 * Invariants: a frame that comes up is injected, answered, or dropped and counted; a flow decided a
 * moment ago takes later frames along before it is in the kernel, so order is kept; what a walk
 * claims is committed, and its flows stale, before the walk is done again and anything is
 * installed.
 */
import type { AgentCounters } from '#client/types.ts';
import type { Datapath, Upcall } from '#datapath/datapath.ts';
import { compile } from '#flow/compile.ts';
import type { Actions, Entry, FlowRef } from '#flow/flow.ts';
import { KEY } from '#flow/layout.ts';
import { entryOf, headersOf } from '#flow/parse.ts';
import type { FlowTable } from '#flow/table.ts';
import { read16 } from '#net/bytes.ts';
import { readMac } from '#net/mac.ts';
import type { DropReason } from '#virtual/drop.ts';
import { hasField, type FieldSet } from '#virtual/match.ts';
import type { PortId } from '#virtual/ids.ts';
import type { Ingress, Outcome } from '#virtual/outcome.ts';
import { simulate } from '#virtual/simulate.ts';
import type { MacTable } from '#virtual/state/macs.ts';
import type { Tag } from '#virtual/tags.ts';
import type { Topology } from '#virtual/topology.ts';
import type { Bindings } from './bindings.ts';
import type { Learning } from './learning.ts';
import { LIMITS } from './limits.ts';

/** What a flow would be, decided now. */
export interface Decision {
  readonly outcome: Outcome;
  readonly actions: Actions;
  readonly fields: FieldSet;
  readonly tags: readonly Tag[];
}

export interface PacketPathOptions {
  readonly datapath: Datapath;
  readonly topology: Topology;
  readonly macs: MacTable;
  readonly table: FlowTable;
  readonly bindings: Bindings;
  readonly learning: Learning;
}

const NO_BYTES = new Uint8Array(0);

export class PacketPath {
  readonly #datapath: Datapath;
  readonly #topology: Topology;
  readonly #macs: MacTable;
  readonly #table: FlowTable;
  readonly #bindings: Bindings;
  readonly #learning: Learning;
  readonly #drops: Partial<Record<DropReason, number>> = {};
  #upcalls = 0;
  #flowsInstalled = 0;
  #injected = 0;
  #opened = false;
  #removals: FlowRef[] = [];

  constructor(options: PacketPathOptions) {
    this.#datapath = options.datapath;
    this.#topology = options.topology;
    this.#macs = options.macs;
    this.#table = options.table;
    this.#bindings = options.bindings;
    this.#learning = options.learning;
  }

  /** Upcalls are decided from now on; before, they are refused and counted. */
  open(): void {
    this.#opened = true;
  }

  /** Decides waiting upcalls, at most one batch; how many there were. */
  pump(): number {
    this.flushRemovals();
    const handled = this.#datapath.upcalls(this.#take, LIMITS.upcallsPerBatchMax);
    if (handled > 0) this.#datapath.commit();
    return handled;
  }

  /**
   * Flows with these tags are handed up again from the moment this returns. Before anything was
   * decided there are only adopted flows, and nobody knows yet on what they depend.
   */
  invalidate(tags: readonly Tag[] | 'all'): void {
    if (!this.#opened) return;
    if (tags === 'all' || tags.length > 0) this.#forget(this.#table.invalidate(tags));
  }
  /** The same for flows by name. */
  retire(refs: readonly FlowRef[]): void {
    this.#forget(this.#table.retire(refs));
  }
  /**
   * Flows that the table has just made stale. Frames that were decided by them before, and still
   * wait in the batch, leave first: else the datapath would drop them as stale.
   */
  #forget(refs: readonly FlowRef[]): void {
    if (refs.length === 0) return;
    this.#datapath.commit();
    this.#datapath.invalidate(refs);
    for (const ref of refs) this.#removals.push(ref);
  }

  /** Deletes what was invalidated. */
  flushRemovals(): void {
    if (this.#removals.length === 0) return;
    this.#datapath.remove(this.#removals);
    this.#table.remove(this.#removals);
    this.#removals = [];
  }

  /** Removes idle flows, and notes which senders are still there. */
  expire(): void {
    const now = this.#datapath.now();
    this.#forget(this.#table.expire(now, this.#lastUsedMs, LIMITS.expirySlotsPerTick));
  }

  /**
   * Decides a key anew, with nothing committed. Undefined: nobody here owns its entry, or the
   * virtual network answers such frames itself.
   */
  decide(key: Uint8Array): Decision | undefined {
    const ingress = this.#ingressOf(entryOf(key));
    if (ingress === undefined) return undefined;
    const outcome = this.#walk(key, NO_BYTES, ingress);
    return outcome.verdict.kind === 'answer' ? undefined : this.#decision(outcome, ingress);
  }

  counters(): AgentCounters {
    const { hits, misses, tunnelHits, drops } = this.#datapath.counters();
    const all: Record<string, number> = { ...drops };
    for (const [reason, n] of Object.entries(this.#drops)) all[reason] = (all[reason] ?? 0) + n;
    return {
      upcalls: this.#upcalls,
      flowsInstalled: this.#flowsInstalled,
      flowsNow: this.#table.counters().live,
      injected: this.#injected,
      hits,
      misses,
      tunnelHits,
      drops: all,
    };
  }

  #count(reason: DropReason): void {
    this.#drops[reason] = (this.#drops[reason] ?? 0) + 1;
  }

  #ingressOf(entry: Entry): Ingress | undefined {
    if (entry.tunnel === undefined) {
      const port = this.#bindings.portAt(entry.port);
      return port === undefined ? undefined : { port };
    }
    const flood = this.#topology.bridgeOfFloodKey(entry.tunnel.key);
    return flood === undefined ? undefined : { flood };
  }

  #walk(key: Uint8Array, bytes: Uint8Array, ingress: Ingress): Outcome {
    const headers = headersOf(key);
    return simulate({ topology: this.#topology, learned: this.#macs, headers, bytes, ingress });
  }

  #decision(outcome: Outcome, ingress: Ingress): Decision {
    const { actions, tags } = compile(outcome, ingress, this.#bindings);
    return { outcome, actions, fields: outcome.seen, tags: [...outcome.tags, ...tags] };
  }

  /** A claim changes what is known, so the walk is done again on that. */
  #settled(upcall: Upcall, ingress: Ingress): Outcome {
    const outcome = this.#walk(upcall.key, upcall.frame, ingress);
    if (outcome.claims.length === 0) return outcome;
    for (const { learn } of outcome.claims) this.invalidate(this.#learning.claim(learn));
    return this.#walk(upcall.key, upcall.frame, ingress);
  }

  readonly #take = (upcall: Upcall): void => {
    this.#upcalls += 1;
    if (!this.#opened) return this.#count('upcall-refused');
    // The workload sent it into the network that the interface belonged to then.
    if (this.#bindings.changedHandsSince(upcall.entry.port, upcall.timeMs))
      return this.#count('no-port');
    const known = upcall.reason === 'ttl' ? undefined : this.#table.lookup(upcall.key);
    if (known !== undefined) {
      this.#injected += 1;
      return this.#datapath.inject(known, upcall.frame, upcall.gsoSize);
    }
    const ingress = this.#ingressOf(upcall.entry);
    if (ingress === undefined) return this.#count('no-port');
    const outcome = this.#settled(upcall, ingress);
    if ('port' in ingress) this.#noteSeen(upcall.key, ingress.port);
    for (const { port, frame } of outcome.sends) {
      const dpPort = this.#bindings.dpPort(port);
      if (dpPort !== undefined) this.#datapath.execute(frame, { outputs: [{ port: dpPort }] }, 0);
    }
    if (outcome.verdict.kind !== 'answer') this.#install(upcall, this.#decision(outcome, ingress));
  };

  #install(upcall: Upcall, { outcome, actions, fields, tags }: Decision): void {
    const { key, frame, gsoSize } = upcall;
    if (actions.drop !== undefined) this.#count(actions.drop);
    const cause = { steps: outcome.steps, verdict: outcome.verdict };
    const now = this.#datapath.now();
    const added = outcome.cacheable
      ? this.#table.add({ key, fields, tags, cause, now })
      : undefined;
    if (outcome.cacheable && added === undefined) this.#makeRoom(key);
    if (added?.fresh === true) {
      this.#datapath.install(added.ref, { key: added.key, fields: added.fields, actions });
      this.#flowsInstalled += 1;
    }
    if (actions.drop !== undefined) return;
    this.#injected += 1;
    if (added === undefined) this.#datapath.execute(frame, actions, gsoSize);
    else this.#datapath.inject(added.ref, frame, gsoSize);
  }

  /** The table is full: this frame goes without a flow, but its entry shall have its share. */
  #makeRoom(key: Uint8Array): void {
    this.#forget(this.#table.evictFor(key, LIMITS.evictedAtOnceMax));
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
