/**
 * The action array: one slot per flow, written by the agent, read by the kernel without a lock.
 *
 * Invariant: while a slot changes hands its flags say STALE and its generation is already the new
 * one, so a program that copies it meanwhile notices by either. After that only STALE is ever set.
 * Stores are made in this order and seen in it on x86; the words that decide are stored atomically.
 */
import type { Actions, DpPort, FlowRef, Output, TunnelKey } from '#flow/flow.ts';
import { ACTION, ACTION_STRUCT, FLOW_STATS, LIMITS, offsets, sizeOf } from '#flow/layout.ts';
import type { Ip4 } from '#net/ip.ts';
import { readMac, writeMac } from '#net/mac.ts';
import { dropReasonOf, DROPS } from '#virtual/drop.ts';
import type { Groups } from './groups.ts';
import { needsGroup } from './groups.ts';
import type { Maps } from './maps.ts';
import { vlanOf, vlanWord } from './vlan.ts';

const AT = offsets(ACTION_STRUCT);
const SIZE = sizeOf(ACTION_STRUCT);
const WORDS = SIZE / 4;
const STATS_WORDS = sizeOf(FLOW_STATS) / 4;
const STAT = offsets(FLOW_STATS);

/** Where the frames of a flow enter: the interface, and 0 or the flood key they come under. */
export interface ActionEntry {
  readonly port: number;
  readonly key: number;
}
const NO_ENTRY: ActionEntry = { port: 0, key: 0 };

/** Tags tried for the port that a flood leaves out. */
const SHARED_TRIES_MAX = 3;

/** The tags of the outputs, the most frequent first. */
function vlansOf(outputs: readonly Output[]): (number | undefined)[] {
  const counts = new Map<number | undefined, number>();
  for (const { vlan } of outputs) counts.set(vlan, (counts.get(vlan) ?? 0) + 1);
  return [...counts].toSorted(([, a], [, b]) => b - a).map(([vlan]) => vlan);
}

/**
 * The outputs and the port that the frames come from, where that is none of them: so many ports of
 * a bridge need one group and not one each. With which tag frames leave by that port is not known
 * here, only that its neighbours' floods say it; so there are several answers, the likeliest first,
 * and none where the outputs must be as they are.
 */
function sharedOutputs(outputs: readonly Output[], { port, key }: ActionEntry): Output[][] {
  if (port === 0 || key !== 0 || outputs.length >= LIMITS.GROUP_MEMBERS_MAX) return [];
  if (outputs.some((output) => 'port' in output && output.port === port)) return [];
  const back = { port: port as DpPort };
  return vlansOf(outputs)
    .slice(0, SHARED_TRIES_MAX)
    .map((vlan) => [...outputs, vlan === undefined ? back : { ...back, vlan }]);
}

export class ActionArray {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #words: Int32Array;
  readonly #stats: Uint32Array;
  readonly #statsView: DataView;
  readonly #groups: Groups;

  constructor(maps: Maps, groups: Groups) {
    this.#bytes = new Uint8Array(maps.memory.actions);
    this.#view = new DataView(maps.memory.actions);
    this.#words = new Int32Array(maps.memory.actions);
    this.#stats = new Uint32Array(maps.memory.stats);
    this.#statsView = new DataView(maps.memory.stats);
    this.#groups = groups;
  }

  generation(slot: number): number {
    return this.#view.getUint32(slot * SIZE + AT.generation, true);
  }
  stale(slot: number): boolean {
    return (this.#view.getUint32(slot * SIZE + AT.flags, true) & ACTION.STALE) !== 0;
  }
  /** From now on frames of the slot are handed up; injections are dropped. */
  invalidate(slot: number): void {
    Atomics.or(this.#words, slot * WORDS + AT.flags / 4, ACTION.STALE);
  }

  /**
   * Gives the slot of `ref` its action and zero statistics. A flood without room becomes a drop
   * (`flood-limit`). `entry`: of its flow; a scratch slot has none.
   */
  write({ slot, generation }: FlowRef, actions: Actions, entry: ActionEntry = NO_ENTRY): void {
    const base = slot * SIZE;
    const view = this.#view;
    Atomics.store(this.#words, slot * WORDS + AT.flags / 4, ACTION.STALE);
    Atomics.store(this.#words, slot * WORDS + AT.generation / 4, generation | 0);
    this.#stats.fill(0, slot * STATS_WORDS, (slot + 1) * STATS_WORDS);
    let flags = 0;
    let group = 0;
    let dropCode = actions.drop === undefined ? 0 : DROPS[actions.drop].code;
    if (actions.drop === undefined && needsGroup(actions)) {
      const shared = sharedOutputs(actions.outputs, entry);
      if (shared.length > 0) flags |= ACTION.NOT_BACK;
      const id = this.#groups.acquireOneOf(shared.length > 0 ? shared : [actions.outputs]);
      if (id === undefined) dropCode = DROPS['flood-limit'].code;
      else {
        group = id;
        flags |= ACTION.GROUP;
      }
    }
    if (dropCode !== 0) flags |= ACTION.DROP;
    if (actions.ethDst !== undefined) {
      flags |= ACTION.SET_ETH_DST;
      writeMac(this.#bytes, base + AT.eth_dst, actions.ethDst);
    }
    if (actions.ethSrc !== undefined) {
      flags |= ACTION.SET_ETH_SRC;
      writeMac(this.#bytes, base + AT.eth_src, actions.ethSrc);
    }
    const only = (flags & (ACTION.GROUP | ACTION.DROP)) === 0 ? actions.outputs[0] : undefined;
    if (only !== undefined && 'remote' in only) flags |= ACTION.TUNNEL;
    view.setUint32(base + AT.in_port, entry.port, true);
    view.setUint32(base + AT.in_key, entry.key, true);
    view.setUint16(base + AT.dec_ttl, actions.decTtl ?? 0, true);
    view.setUint16(base + AT.mtu, actions.mtu ?? 0, true);
    view.setUint16(base + AT.vlan, vlanWord(only?.vlan ?? actions.vlan), true);
    view.setUint16(base + AT.drop_code, dropCode, true);
    view.setUint32(base + AT.group, group, true);
    view.setUint32(
      base + AT.ifindex,
      only !== undefined && !('remote' in only) ? only.port : 0,
      true,
    );
    view.setUint32(base + AT.tun_key, only !== undefined && 'remote' in only ? only.key : 0, true);
    view.setUint32(
      base + AT.remote,
      only !== undefined && 'remote' in only ? only.remote : 0,
      true,
    );
    Atomics.store(this.#words, slot * WORDS + AT.flags / 4, flags);
  }

  /**
   * What the slot does, for whoever adopts it. The tag of an only output is said of all outputs.
   */
  read(slot: number): Actions {
    const base = slot * SIZE;
    const view = this.#view;
    const flags = view.getUint32(base + AT.flags, true);
    const set = (flag: number): boolean => (flags & flag) !== 0;
    const drop = set(ACTION.DROP)
      ? dropReasonOf(view.getUint16(base + AT.drop_code, true))
      : undefined;
    const decTtl = view.getUint16(base + AT.dec_ttl, true);
    const mtu = view.getUint16(base + AT.mtu, true);
    return {
      ...(drop === undefined ? {} : { drop }),
      ...(set(ACTION.SET_ETH_SRC) ? { ethSrc: readMac(this.#bytes, base + AT.eth_src) } : {}),
      ...(set(ACTION.SET_ETH_DST) ? { ethDst: readMac(this.#bytes, base + AT.eth_dst) } : {}),
      ...(decTtl === 0 ? {} : { decTtl }),
      ...(mtu === 0 ? {} : { mtu }),
      ...vlanOf(view.getUint16(base + AT.vlan, true)),
      outputs: set(ACTION.DROP) ? [] : this.#outputs(base, flags),
    };
  }

  #outputs(base: number, flags: number): Output[] {
    const view = this.#view;
    if ((flags & ACTION.GROUP) !== 0) {
      const all = this.#groups.outputsOf(view.getUint32(base + AT.group, true));
      const except = (flags & ACTION.NOT_BACK) === 0 ? 0 : view.getUint32(base + AT.in_port, true);
      return all.filter((output) => !('port' in output) || output.port !== except);
    }
    if ((flags & ACTION.TUNNEL) === 0)
      return [{ port: view.getUint32(base + AT.ifindex, true) as DpPort }];
    const key = view.getUint32(base + AT.tun_key, true) as TunnelKey;
    return [{ key, remote: view.getUint32(base + AT.remote, true) as Ip4 }];
  }

  /** Takes note of the group of a slot found in use. */
  adopt(slot: number): void {
    const group = this.#group(slot);
    if (group !== undefined) this.#groups.adopt(group);
  }
  /** The slot's group, if it has one, has one user less. */
  release(slot: number): void {
    const group = this.#group(slot);
    if (group !== undefined) this.#groups.release(group);
  }
  #group(slot: number): number | undefined {
    const flags = this.#view.getUint32(slot * SIZE + AT.flags, true);
    return (flags & ACTION.GROUP) === 0
      ? undefined
      : this.#view.getUint32(slot * SIZE + AT.group, true);
  }

  packets(slot: number): number {
    return this.#u53(slot, STAT.packets);
  }
  bytes(slot: number): number {
    return this.#u53(slot, STAT.bytes);
  }
  /** Milliseconds of the kernel's coarse monotonic clock; 0: never. */
  lastUsedMs(slot: number): number {
    return this.#u53(slot, STAT.last_used) / 1e6;
  }
  #u53(slot: number, at: number): number {
    const base = slot * STATS_WORDS * 4 + at;
    return (
      this.#statsView.getUint32(base, true) + this.#statsView.getUint32(base + 4, true) * 2 ** 32
    );
  }
}
