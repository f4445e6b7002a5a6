/**
 * From what the simulation decided to what a datapath does: ports become interfaces here or keys on
 * other hosts.
 *
 * Invariants: every binding, location and tunnel address that was asked for is among the tags, also
 * where the answer was "none" (law 2: its arrival must invalidate the flow). The egress half of
 * another host's flood never leaves by the tunnel again, so no frame can circle between hosts.
 */
import type { DropReason } from '#virtual/drop.ts';
import type { BridgeId, HostId, PortId, RouterId } from '#virtual/ids.ts';
import type { Ingress, Outcome, Recipient } from '#virtual/outcome.ts';
import type { ReadyPort } from '#virtual/ready.ts';
import { bindingTag, floodTag, hostTag, locationTag } from '#virtual/tags.ts';
import type { Tag } from '#virtual/tags.ts';
import { MTU_MIN, OUTPUTS_PER_FLOW_MAX } from './flow.ts';
import type { Actions, DpPeer, DpPort, Output, TunnelKey } from './flow.ts';
import { VLAN_TAG_BYTES } from './parse.ts';

/**
 * Another host, seen from here. `remote`: its end of the tunnel; undefined when no zone joins the
 * two, or there is no room for one more.
 */
export interface RemoteHost {
  readonly host: HostId;
  readonly remote: DpPeer | undefined;
}
/** Where a port is up on another host, and the key that reaches it there. */
export interface RemotePort extends RemoteHost {
  readonly key: TunnelKey;
  /** Bytes of the largest packet that its interface there takes; undefined: not known. */
  readonly mtu?: number | undefined;
}
/** A port bound to this host. `dpPort`: undefined while its interface is not there. */
export interface LocalMember {
  readonly port: PortId;
  readonly dpPort: DpPort | undefined;
}
/** Whom a flood of a bridge concerns. */
export interface FloodMembers {
  readonly key: TunnelKey;
  /** The bridge's ports that are administratively up and bound to this host. */
  readonly local: Iterable<LocalMember>;
  /** Every other host on which, by location, a port of the bridge is up; each host once. */
  readonly remotes: Iterable<RemoteHost>;
}

/** Whom the agents of other hosts tell what they heard for a router. */
export interface RouterHosts {
  readonly key: TunnelKey;
  readonly remotes: Iterable<RemoteHost>;
}

/**
 * What this host knows about where ports are. The agent is the body; answers must take constant
 * time.
 */
export interface Bindings {
  /** The tags of a port, made already where it is known. */
  ready(port: PortId): ReadyPort | undefined;
  /**
   * The interface that carries a port here; undefined when none does. Changes with `bindingTag`.
   */
  dpPort(port: PortId): DpPort | undefined;
  /**
   * Where a port is up on another host; undefined when it is up on none. Changes with
   * `locationTag`, its address with `hostTag`.
   */
  remote(port: PortId): RemotePort | undefined;
  /**
   * Bytes of the largest IP packet that leaves by an output in an untagged frame; undefined where
   * none is known. Changes with the tag under which the output was asked for.
   */
  mtu(output: Output): number | undefined;
  /**
   * Undefined for a bridge that is not known. All of it, interfaces and addresses too, changes with
   * `floodTag`: a tag for each member would take more room than the flow.
   */
  floodMembers(bridge: BridgeId): FloodMembers | undefined;
  /** The other hosts near a router; undefined for one that is not known. Never cached. */
  routerHosts(router: RouterId): RouterHosts | undefined;
}

export interface Compiled {
  readonly actions: Actions;
  /** In addition to the outcome's own; one may be there twice. */
  readonly tags: readonly Tag[];
  /**
   * Of each output: bytes of the largest IP packet that leaves by it; undefined: any. The least of
   * them is in the actions already.
   */
  readonly limits: readonly (number | undefined)[];
}

/** A compilation under way: what leaves, and what was asked for. */
interface Work {
  readonly bindings: Bindings;
  readonly outputs: Output[];
  /** Of each output. */
  readonly limits: (number | undefined)[];
  readonly tags: Tag[];
  /** The frame came with a tag. */
  readonly tagged: boolean;
  /** The frame came from another host's flood: it must not go back into the underlay. */
  readonly here: boolean;
}

/** The VLAN operation of an output: the VID to set, 0 to take the tag off, undefined as it came. */
function vidOf(vlan: number | undefined): number | undefined {
  if (vlan === undefined) return undefined;
  const vid = vlan & 0xfff;
  if (vlan !== 0 && vid === 0)
    throw new Error('compile: a walk set VID 0, which no action can set');
  return vid;
}
const withVlan = (output: Output, vid: number | undefined): Output =>
  vid === undefined ? output : { ...output, vlan: vid };

/** The least of two limits. */
const least = (a: number | undefined, b: number | undefined): number | undefined =>
  a === undefined ? b : b === undefined ? a : Math.min(a, b);

/** One copy more. `there`: what the interface on the other host takes. */
function leave(work: Work, output: Output, vid: number | undefined, there?: number): void {
  let limit = work.bindings.mtu(output);
  const tagged = vid === undefined ? work.tagged : vid !== 0;
  // An interface has room for a tag besides its MTU; on the way through the tunnel it is payload.
  if (limit !== undefined && tagged && 'remote' in output)
    limit = Math.max(limit - VLAN_TAG_BYTES, MTU_MIN);
  work.outputs.push(withVlan(output, vid));
  work.limits.push(least(limit, there));
}

type ToPort = Extract<Recipient, { port: PortId }>;

function toPort(work: Work, { port, vlan }: ToPort): DropReason | undefined {
  const { bindings, tags, here } = work;
  tags.push(bindings.ready(port)?.binding ?? bindingTag(port));
  const local = bindings.dpPort(port);
  const vid = vidOf(vlan);
  if (local !== undefined) {
    leave(work, { port: local }, vid);
    return undefined;
  }
  if (here) return 'not-located';
  tags.push(bindings.ready(port)?.location ?? locationTag(port));
  const there = bindings.remote(port);
  if (there === undefined) return 'not-located';
  tags.push(hostTag(there.host));
  if (there.remote === undefined) return 'not-located';
  leave(work, { key: there.key, remote: there.remote }, vid, there.mtu);
  return undefined;
}

type ToFlood = Extract<Recipient, { flood: BridgeId }>;

/** A flood that reaches nobody is no fault of its own: another recipient may have some. */
function toFlood(work: Work, { flood, except, here, not, vlan }: ToFlood): DropReason | undefined {
  const { bindings, tags } = work;
  tags.push(floodTag(flood));
  const members = bindings.floodMembers(flood);
  if (members === undefined) return undefined;
  const vid = vidOf(vlan);
  for (const { port, dpPort } of members.local) {
    if (port === except || not?.includes(port) === true) continue;
    if (dpPort !== undefined) leave(work, { port: dpPort }, vid);
  }
  if (here === undefined && !work.here)
    for (const { remote } of members.remotes)
      if (remote !== undefined) leave(work, { key: members.key, remote }, vid);
  return work.outputs.length > OUTPUTS_PER_FLOW_MAX ? 'flood-limit' : undefined;
}

/** One VLAN operation for all outputs, where they agree. */
function joined(outputs: readonly Output[]): Pick<Actions, 'outputs' | 'vlan'> {
  const vlan = outputs[0]?.vlan;
  if (vlan === undefined || outputs.some((output) => output.vlan !== vlan)) return { outputs };
  return { vlan, outputs: outputs.map(({ vlan: _, ...output }) => output as Output) };
}

/** Whether filters keep a flood from some that it would have reached. */
const isKept = (to: readonly Recipient[]): boolean =>
  to.some((each) => 'flood' in each && each.not !== undefined);

function forward(outcome: Outcome, work: Work): Actions {
  const { verdict, rewrites } = outcome;
  if (verdict.kind !== 'forward') throw new Error(`compile: ${verdict.kind} forwards nothing`);
  for (const to of verdict.to) {
    const reason = 'port' in to ? toPort(work, to) : toFlood(work, to);
    // A copy of a flood that reaches nobody is no fault of the others.
    if (reason === 'not-located' && verdict.to.length > 1) continue;
    if (reason !== undefined) return drop(reason);
  }
  if (work.outputs.length === 0) return drop(isKept(verdict.to) ? 'filter-drop' : 'no-recipient');
  return { ...rewrites, ...joined(work.outputs) };
}

/** Frames that do not keep to these are handed up, whether the others are forwarded or dropped. */
function guardsOf(
  { guards: { decTtl, mtu: routers, soundTcp } }: Outcome,
  limits: Compiled['limits'],
): Pick<Actions, 'decTtl' | 'mtu' | 'soundTcp'> {
  const mtu = limits.reduce(least, routers);
  return {
    ...(decTtl > 0 && { decTtl }),
    ...(mtu !== undefined && { mtu }),
    ...(soundTcp === true && { soundTcp }),
  };
}

/** Frames that are forwarded stamp the half of their direction in the record they were found by. */
function stampsOf({ connection }: Outcome, { drop }: Actions): Pick<Actions, 'connection'> {
  const { found, state } = connection ?? {};
  if (found === undefined || drop !== undefined || state === 'related') return {};
  return { connection: { slot: found.ref.slot, direction: found.direction } };
}

const drop = (reason: DropReason): Actions => ({ drop: reason, outputs: [] });

/**
 * What a datapath does with the frames of an outcome that forwards or drops, and the tags on which
 * that depends beyond the outcome's own. Other outcomes have no flow: asking for it is a bug.
 * `tagged`: the frame came with a tag, which all that decides about ports reads (law 1).
 */
export function compile(
  outcome: Outcome,
  ingress: Ingress,
  bindings: Bindings,
  tagged = false,
): Compiled {
  const { verdict } = outcome;
  const here = 'flood' in ingress;
  const work: Work = { bindings, outputs: [], limits: [], tags: [], tagged, here };
  // The flow matches the interface, but what it does is right only while that carries this port.
  if ('port' in ingress)
    work.tags.push(bindings.ready(ingress.port)?.binding ?? bindingTag(ingress.port));
  const actions = verdict.kind === 'drop' ? drop(verdict.reason) : forward(outcome, work);
  const limits = actions.drop === undefined ? work.limits : [];
  const own = { ...guardsOf(outcome, limits), ...stampsOf(outcome, actions) };
  return { actions: { ...actions, ...own }, tags: work.tags, limits };
}

/** Where a frame goes that the agents of the other hosts near a router are to hear; none: []. */
export function compileTell(router: RouterId, bindings: Bindings): readonly Output[] {
  const hosts = bindings.routerHosts(router);
  if (hosts === undefined) return [];
  const outputs: Output[] = [];
  for (const { remote } of hosts.remotes)
    if (remote !== undefined) outputs.push({ key: hosts.key, remote });
  return outputs;
}
