/**
 * The action array: one slot per flow, written by the agent, read by the kernel without a lock.
 *
 * Invariants: a slot changes hands as `action-slots.ts` says; one that names a group counts among
 * the users of that until it is released.
 */
import type { Actions, DpPort, FlowRef, Output } from '#flow/flow.ts';
import { ACTION, FLOW_STATS, LIMITS, offsets, sizeOf } from '#flow/layout.ts';
import type { Mac } from '#net/mac.ts';
import { dropReasonOf, DROPS } from '#virtual/drop.ts';
import { ActionSlots } from './action-slots.ts';
import type { Groups } from './groups.ts';
import { needsGroup } from './groups.ts';
import type { Maps } from './maps.ts';
import { vlanOf, vlanWord } from './vlan.ts';

const STATS_WORDS = sizeOf(FLOW_STATS) / 4;
const STAT = offsets(FLOW_STATS);

/**
 * Where the frames of a flow enter: the interface, and 0 or the flood key they come under; and
 * which MAC all of them are for, if that is known.
 */
export interface ActionEntry {
  readonly port: number;
  readonly key: number;
  readonly ethDst?: Mac | undefined;
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
  readonly #slots: ActionSlots;
  readonly #stats: Uint32Array;
  readonly #statsView: DataView;
  readonly #groups: Groups;
  readonly #farMac: (port: DpPort) => Mac | undefined;

  /** `farMac`: of the other end of an interface, where frames may go straight to it. */
  constructor(
    maps: Maps,
    groups: Groups,
    farMac: (port: DpPort) => Mac | undefined = () => undefined,
  ) {
    this.#farMac = farMac;
    this.#slots = new ActionSlots(maps);
    this.#stats = new Uint32Array(maps.memory.stats);
    this.#statsView = new DataView(maps.memory.stats);
    this.#groups = groups;
  }

  generation(slot: number): number {
    return this.#slots.generation(slot);
  }
  stale(slot: number): boolean {
    return (this.#slots.flags(slot) & ACTION.STALE) !== 0;
  }
  /** From now on frames of the slot are handed up; injections are dropped. */
  invalidate(slot: number): void {
    this.#slots.invalidate(slot);
  }

  /**
   * Gives the slot of `ref` its action and zero statistics. A flood without room becomes a drop
   * (`flood-limit`). `entry`: of its flow; a scratch slot has none.
   */
  write({ slot, generation }: FlowRef, actions: Actions, entry: ActionEntry = NO_ENTRY): void {
    const slots = this.#slots;
    slots.claim(slot, generation);
    this.#stats.fill(0, slot * STATS_WORDS, (slot + 1) * STATS_WORDS);
    const sent = this.#way(actions, entry);
    const dropCode = actions.drop === undefined ? (sent.dropCode ?? 0) : DROPS[actions.drop].code;
    const only = dropCode === 0 && sent.group === undefined ? actions.outputs[0] : undefined;
    slots.putHead(slot, {
      inPort: entry.port,
      inKey: entry.key,
      decTtl: actions.decTtl ?? 0,
      mtu: actions.mtu ?? 0,
      vlan: vlanWord(only?.vlan ?? actions.vlan),
      dropCode,
      group: sent.group ?? 0,
      connection: actions.connection?.slot ?? 0,
    });
    let flags = slots.putRewrites(slot, actions) | slots.putOutput(slot, only) | sent.flags;
    if (dropCode !== 0) flags |= ACTION.DROP;
    if (actions.soundTcp === true) flags |= ACTION.SOUND_TCP;
    if (actions.connection?.direction === 'return') flags |= ACTION.CONNECTION_RETURN;
    if (only !== undefined && 'port' in only)
      flags |= this.#crossing(only.port, actions.ethDst ?? entry.ethDst);
    slots.publish(slot, flags);
  }

  /** By a group, where that is needed: its number and flags, or why there is none. */
  #way(actions: Actions, entry: ActionEntry): { group?: number; dropCode?: number; flags: number } {
    if (actions.drop !== undefined || !needsGroup(actions)) return { flags: 0 };
    const shared = sharedOutputs(actions.outputs, entry);
    const group = this.#groups.acquireOneOf(shared.length > 0 ? shared : [actions.outputs]);
    if (group === undefined) return { dropCode: DROPS['flood-limit'].code, flags: 0 };
    return { group, flags: ACTION.GROUP | (shared.length > 0 ? ACTION.NOT_BACK : 0) };
  }

  /** The flag of a slot whose only output is that interface, for frames to that MAC. */
  #crossing(port: DpPort, ethDst: Mac | undefined): number {
    return ethDst !== undefined && ethDst === this.#farMac(port) ? ACTION.REDIRECT_PEER : 0;
  }

  /** Decides anew whether frames go straight to the other end. `ethDst`: of the entry. */
  cross(slot: number, ethDst: Mac | undefined): void {
    const slots = this.#slots;
    const flags = slots.flags(slot);
    let crossing = 0;
    if ((flags & (ACTION.GROUP | ACTION.DROP | ACTION.TUNNEL)) === 0) {
      const port = slots.u32(slot, 'ifindex') as DpPort;
      crossing = this.#crossing(port, slots.rewrites(slot).ethDst ?? ethDst);
    }
    if (crossing !== (flags & ACTION.REDIRECT_PEER))
      slots.turn(slot, ACTION.REDIRECT_PEER, crossing);
  }

  /**
   * What the slot does, for whoever adopts it. The tag of an only output is said of all outputs.
   */
  read(slot: number): Actions {
    const slots = this.#slots;
    const drops = (slots.flags(slot) & ACTION.DROP) !== 0;
    const drop = drops ? dropReasonOf(slots.u16(slot, 'drop_code')) : undefined;
    const [decTtl, mtu] = [slots.u16(slot, 'dec_ttl'), slots.u16(slot, 'mtu')];
    return {
      ...(drop === undefined ? {} : { drop }),
      ...slots.rewrites(slot),
      ...(decTtl === 0 ? {} : { decTtl }),
      ...(mtu === 0 ? {} : { mtu }),
      ...this.#connection(slot),
      ...vlanOf(slots.u16(slot, 'vlan')),
      outputs: drops ? [] : this.#outputs(slot),
    };
  }

  #connection(slot: number): Pick<Actions, 'connection' | 'soundTcp'> {
    const flags = this.#slots.flags(slot);
    const record = this.#slots.u32(slot, 'connection');
    const direction = (flags & ACTION.CONNECTION_RETURN) === 0 ? 'forward' : 'return';
    return {
      ...(record !== 0 && { connection: { slot: record, direction } }),
      ...((flags & ACTION.SOUND_TCP) !== 0 && { soundTcp: true }),
    };
  }

  #outputs(slot: number): Output[] {
    const flags = this.#slots.flags(slot);
    if ((flags & ACTION.GROUP) === 0) return [this.#slots.output(slot)];
    const all = this.#groups.outputsOf(this.#slots.u32(slot, 'group'));
    const except = (flags & ACTION.NOT_BACK) === 0 ? 0 : this.#slots.u32(slot, 'in_port');
    return all.filter((output) => !('port' in output) || output.port !== except);
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
    const grouped = (this.#slots.flags(slot) & ACTION.GROUP) !== 0;
    return grouped ? this.#slots.u32(slot, 'group') : undefined;
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
