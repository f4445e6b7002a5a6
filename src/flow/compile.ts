/**
 * From what the simulation decided to what a datapath does: ports become interfaces here or keys on
 * other hosts.
 *
 * Invariants: every binding, location and tunnel address that was asked for is among the tags, also
 * where the answer was "none" (law 2: its arrival must invalidate the flow). The egress half of
 * another host's flood never leaves by the tunnel again, so no frame can circle between hosts.
 */
import type { Ip4 } from '#net/ip.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { BridgeId, HostId, PortId } from '#virtual/ids.ts';
import type { Rewrites } from '#virtual/match.ts';
import type { Ingress, Outcome, Recipient } from '#virtual/outcome.ts';
import { bindingTag, floodTag, hostTag, locationTag } from '#virtual/tags.ts';
import type { Tag } from '#virtual/tags.ts';
import { OUTPUTS_PER_FLOW_MAX } from './flow.ts';
import type { Actions, DpPort, Output, TunnelKey } from './flow.ts';

/**
 * Another host, seen from here. `remote`: its tunnel address; undefined when no zone joins the two.
 */
export interface RemoteHost {
  readonly host: HostId;
  readonly remote: Ip4 | undefined;
}
/** Where a port is up on another host, and the key that reaches it there. */
export interface RemotePort extends RemoteHost {
  readonly key: TunnelKey;
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

/**
 * What this host knows about where ports are. The agent is the body; answers must take constant
 * time.
 */
export interface Bindings {
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
   * Undefined for a bridge that is not known. All of it, interfaces and addresses too, changes with
   * `floodTag`: a tag for each member would take more room than the flow.
   */
  floodMembers(bridge: BridgeId): FloodMembers | undefined;
}

export interface Compiled {
  readonly actions: Actions;
  /** In addition to the outcome's own; without duplicates. */
  readonly tags: readonly Tag[];
}

/** A compilation under way: what leaves, and what was asked for. */
interface Work {
  readonly bindings: Bindings;
  readonly outputs: Output[];
  readonly tags: Set<Tag>;
  /** The frame came from another host's flood: it must not go back into the underlay. */
  readonly here: boolean;
}

function toPort({ bindings, outputs, tags, here }: Work, port: PortId): DropReason | undefined {
  tags.add(bindingTag(port));
  const local = bindings.dpPort(port);
  if (local !== undefined) {
    outputs.push({ port: local });
    return undefined;
  }
  if (here) return 'not-located';
  tags.add(locationTag(port));
  const there = bindings.remote(port);
  if (there === undefined) return 'not-located';
  tags.add(hostTag(there.host));
  if (there.remote === undefined) return 'not-located';
  outputs.push({ key: there.key, remote: there.remote });
  return undefined;
}

type Flood = Extract<Recipient, { flood: BridgeId }>;

function toFlood(work: Work, { flood, except, here }: Flood): DropReason | undefined {
  const { bindings, outputs, tags } = work;
  tags.add(floodTag(flood));
  const members = bindings.floodMembers(flood);
  if (members === undefined) return 'no-recipient';
  for (const { port, dpPort } of members.local) {
    if (port === except) continue;
    if (dpPort !== undefined) outputs.push({ port: dpPort });
  }
  if (here === undefined && !work.here)
    for (const { remote } of members.remotes)
      if (remote !== undefined) outputs.push({ key: members.key, remote });
  if (outputs.length === 0) return 'no-recipient';
  return outputs.length > OUTPUTS_PER_FLOW_MAX ? 'flood-limit' : undefined;
}

type Edits = { -readonly [K in keyof Actions]?: Actions[K] };

/** `ipTtl`: a walk only ever counts it down by one a flow; its value is in the mask. */
function rewritesOf({ ethSrc, ethDst, ipTtl, vlan }: Rewrites): Edits {
  const edits: Edits = {};
  if (ethSrc !== undefined) edits.ethSrc = ethSrc;
  if (ethDst !== undefined) edits.ethDst = ethDst;
  if (ipTtl !== undefined) edits.decTtl = true;
  if (vlan === undefined) return edits;
  const vid = vlan & 0xfff;
  if (vlan !== 0 && vid === 0)
    throw new Error('compile: a walk set VID 0, which no action can set');
  edits.vlan = vid;
  return edits;
}

const drop = (reason: DropReason): Actions => ({ drop: reason, outputs: [] });

/**
 * What a datapath does with the frames of an outcome that forwards or drops, and the tags on which
 * that depends beyond the outcome's own. An outcome that answers has no flow: asking for it is a
 * bug.
 */
export function compile(outcome: Outcome, ingress: Ingress, bindings: Bindings): Compiled {
  const { verdict } = outcome;
  const here = 'flood' in ingress;
  const work: Work = { bindings, outputs: [], tags: new Set(), here };
  // The flow matches the interface, but what it does is right only while that carries this port.
  if (!here) work.tags.add(bindingTag(ingress.port));
  let reason: DropReason | undefined;
  if (verdict.kind === 'answer') throw new Error('compile: an answer has no flow');
  if (verdict.kind === 'drop') reason = verdict.reason;
  else reason = 'port' in verdict.to ? toPort(work, verdict.to.port) : toFlood(work, verdict.to);
  const actions =
    reason === undefined
      ? { ...rewritesOf(outcome.rewrites), outputs: work.outputs }
      : drop(reason);
  return { actions, tags: [...work.tags] };
}
