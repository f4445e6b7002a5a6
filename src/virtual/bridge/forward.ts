/**
 * What a bridge does with a frame (IEEE 802.1Q §8.6, §8.8): learn, filter, answer for its seeded
 * addresses, forward or flood.
 *
 * Invariants: what port security refuses is neither learned, heard nor answered; recipients are
 * ports of this bridge, or of those linked to it, whatever the learned table says (law 8); a
 * seed holds in every VLAN and wins over anything learned; the walk sees its own claim, so that
 * deciding the same frame again after the claim was committed gives the same verdict. A MAC is
 * learned where it enters only: what is behind a link is found in the bridge there.
 */
import { BROADCAST, formatMac, isGroup, isReservedGroup, type Mac } from '#net/mac.ts';
import type { BridgeId, PortId } from '../ids.ts';
import type { Recipient, Verdict } from '../outcome.ts';
import { filter, passes, trackFor } from '../chain/filter.ts';
import { enterLeg, leaveLeg, vlanBeyond, vlanOf } from '../port/leg.ts';
import { isSecuredElsewhere, refused } from '../port/security.ts';
import { bridgeTag, floodTag, learningTag, portTag } from '../tags.ts';
import type { BridgePortView, BridgeView, PortView } from '../view.ts';
import { drop, recipient, type Next, type Walk } from '../walk.ts';
import { answer } from './answer.ts';
import { hearFlooded, membersOf, passesAt } from './members.ts';
import { crossings, routersOf, SEGMENT_BRIDGES_MAX, type Crossing } from './links.ts';

/** `from` is up and belongs to `bridge`, which is up. */
export function enterBridge(walk: Walk, bridge: BridgeView, from: BridgePortView): Next {
  const { match } = walk;
  const src = match.get('ethSrc');
  const { at } = bridge.ready;
  if (src === 0 || isGroup(src)) return drop(walk, at, 'source-not-unicast');
  walk.tags.push(bridge.ready.seeds);
  const reason = refused(walk, bridge, from);
  if (reason !== undefined) return drop(walk, from.ready.at, reason);
  const keptOut = filter(walk, from.ready.at, from.inboundFilter);
  if (keptOut !== undefined) return keptOut;
  trackFor(walk, from.outboundFilter);
  if (!enterLeg(walk, from)) return drop(walk, from.ready.at, 'vlan-mismatch');
  const kept = filter(walk, at, bridge.inboundFilter);
  if (kept !== undefined) return kept;
  const next = decide(walk, bridge, from, src);
  // What is flooded has met the outbound filter already.
  if (next.kind !== 'leave' || bridge.outboundFilter === undefined) return next;
  walk.outPort = next.by;
  return filter(walk, at, bridge.outboundFilter) ?? next;
}

function decide(walk: Walk, bridge: BridgeView, from: BridgePortView, src: Mac): Next {
  const { match } = walk;
  const { at } = bridge.ready;
  const vlan = vlanOf(walk);
  // What is behind a link was learned, or seeded, in the device there.
  if (from.peer === undefined) learn(walk, bridge, from, { vlan, mac: src });
  const dst = match.get('ethDst');
  if (isReservedGroup(dst)) return drop(walk, at, 'reserved-group');
  const answered = answer(walk, bridge, from);
  if (answered !== undefined) return answered;
  if (isGroup(dst)) return flood(walk, bridge, { from, did: groupStep(dst) });
  const target = locate(walk, bridge, { from, vlan, dst });
  if (target !== undefined) return unicast(walk, target, { bridge, from, dst });
  return flood(walk, bridge, { from, did: 'unknown-unicast', dst });
}

const groupStep = (dst: Mac): 'broadcast' | 'multicast' =>
  dst === BROADCAST ? 'broadcast' : 'multicast';

interface Source {
  readonly vlan: number;
  readonly mac: Mac;
}

function learn(walk: Walk, bridge: BridgeView, from: PortView, { vlan, mac }: Source): void {
  const { tags, state } = walk;
  const ready = bridge.ready.mac(mac);
  tags.push(ready.seeded);
  if (bridge.seededPort(mac) !== undefined) return;
  tags.push(ready.learned(vlan));
  if (state.macs.port(bridge.id, vlan, mac) === from.id) return;
  tags.push(learningTag(from.id));
  if (!state.macs.mayLearn(from.id)) return;
  walk.claims.push({ learn: { bridge: bridge.id, vlan, mac, port: from.id } });
  const detail = vlan === 0 ? formatMac(mac) : `${formatMac(mac)} vlan ${vlan}`;
  walk.steps.push({ at: bridge.ready.at, did: 'learn', detail });
}

interface Sought {
  readonly from: BridgePortView;
  readonly vlan: number;
  readonly dst: Mac;
}

/** The port of this bridge that a unicast MAC is behind. */
function locate(walk: Walk, bridge: BridgeView, { from, vlan, dst }: Sought) {
  const { topology } = walk;
  const id = placeOf(walk, bridge, vlan, dst);
  if (id === from.id) return from;
  if (id === undefined)
    return beyond(walk, bridge, { vlan, dst, except: from.id, seen: new Set() });
  const port = topology.port(id);
  walk.tags.push(port?.ready.tag ?? portTag(id));
  // Learned entries come from other hosts too, and may outlive their port.
  return port?.bridge === bridge.id ? port : undefined;
}

/** Where this walk itself has learned a MAC. */
function claimed({ claims }: Walk, { id }: BridgeView, vlan: number, mac: Mac): PortId | undefined {
  for (const claim of claims)
    if ('learn' in claim && claim.learn.mac === mac)
      if (claim.learn.bridge === id && claim.learn.vlan === vlan) return claim.learn.port;
  return undefined;
}

/** Where a MAC is; what was learned matters only where none is seeded. */
function placeOf(walk: Walk, bridge: BridgeView, vlan: number, mac: Mac): PortId | undefined {
  const ready = bridge.ready.mac(mac);
  walk.tags.push(ready.seeded);
  const seeded = bridge.seededPort(mac);
  if (seeded !== undefined) return seeded;
  walk.tags.push(ready.learned(vlan));
  const place = claimed(walk, bridge, vlan, mac) ?? walk.state.macs.port(bridge.id, vlan, mac);
  // It may have been learned before the MAC was secured.
  return place !== undefined && isSecuredElsewhere(bridge, mac, place) ? undefined : place;
}

interface Beyond {
  readonly vlan: number;
  readonly dst: Mac;
  readonly except: PortId | undefined;
  /** Bridges looked into already: links may form a ring. */
  readonly seen: Set<BridgeId>;
}

/** The link of this bridge behind which another bridge knows the MAC. */
function beyond(walk: Walk, bridge: BridgeView, sought: Beyond): BridgePortView | undefined {
  sought.seen.add(bridge.id);
  for (const crossing of crossings(walk, bridge, sought.except)) {
    const { near, far, other } = crossing;
    const vlan = vlanBeyond(sought.vlan, near, far);
    if (vlan === undefined || sought.seen.has(other.id)) continue;
    if (sought.seen.size >= SEGMENT_BRIDGES_MAX) return undefined;
    const known = placeOf(walk, other, vlan, sought.dst);
    if (known !== undefined) {
      walk.tags.push(portTag(known));
      if (walk.topology.port(known)?.bridge === other.id) return near;
    } else if (beyond(walk, other, { ...sought, vlan, except: far.id }) !== undefined) return near;
  }
  return undefined;
}

interface Unicast {
  readonly bridge: BridgeView;
  readonly from: BridgePortView;
  readonly dst: Mac;
}

function unicast(walk: Walk, target: BridgePortView, { bridge, from, dst }: Unicast): Next {
  if (target.id === from.id && !from.hairpin) return drop(walk, target.ready.at, 'same-port');
  walk.steps.push(bridge.ready.mac(dst).unicast);
  return { kind: 'leave', by: target.id };
}

interface Flood {
  readonly from: BridgePortView;
  readonly did: 'broadcast' | 'multicast' | 'unknown-unicast';
  readonly dst?: Mac;
}

function flood(walk: Walk, bridge: BridgeView, { from, did, dst }: Flood): Verdict {
  const { at } = bridge.ready;
  walk.steps.push(dst === undefined ? { at, did } : bridge.ready.mac(dst).unknownUnicast);
  const kept = filter(walk, at, bridge.outboundFilter);
  if (kept !== undefined) return kept;
  const to: Recipient[] = [];
  const whole = spread(walk, bridge, { from, to, seen: new Set() });
  if (!whole) return drop(walk, at, 'flood-limit');
  if (to.length > 0) return { kind: 'forward', to };
  return walk.sends.length > 0 ? { kind: 'answer' } : drop(walk, at, 'no-recipient');
}

interface Spread {
  readonly from: BridgePortView;
  readonly to: Recipient[];
  readonly seen: Set<BridgeId>;
}

/**
 * To all ports but the one it came by, to the routers that must hear it, and over links. False:
 * there are more bridges than a flood may reach.
 */
function spread(walk: Walk, bridge: BridgeView, { from, to, seen }: Spread): boolean {
  seen.add(bridge.id);
  walk.tags.push(bridge.ready.flood);
  const linked = from.peer !== undefined;
  // A port that is not linked, and that the frame came by, is up: it is one of those counted.
  if (bridge.portsUp > (linked ? 0 : 1)) {
    const except = linked ? undefined : from.id;
    to.push(...membersOf(walk, bridge, { except }).map((each) => recipient(walk, each)));
  }
  for (const link of routersOf(walk, bridge, from.id)) hearFlooded(walk, link, true);
  for (const crossing of crossings(walk, bridge, from.id)) {
    const { far, other } = crossing;
    if (seen.has(other.id)) continue;
    if (seen.size >= SEGMENT_BRIDGES_MAX) return false;
    walk.tags.push(other.ready.seeds);
    const before = walk.match.vlanOut;
    const crossed = walk.crossed.length;
    const whole = !cross(walk, crossing) || spread(walk, other, { from: far, to, seen });
    walk.match.resetVlan(before);
    walk.inPort = from.id;
    walk.crossed.length = crossed;
    if (!whole) return false;
  }
  return true;
}

/** A flood goes over a link between bridges. False: it does not pass. */
function cross(walk: Walk, { near, far, other }: Crossing): boolean {
  if (!leaveLeg(walk, near) || !passesAt(walk, near, near.outboundFilter)) return false;
  if (refused(walk, other, far) !== undefined) return false;
  walk.inPort = far.id;
  walk.outPort = undefined;
  walk.crossed.push(other.id);
  if (!passesAt(walk, far, far.inboundFilter) || !enterLeg(walk, far)) return false;
  return (
    passes(walk, other.ready.at, other.inboundFilter) &&
    passes(walk, other.ready.at, other.outboundFilter)
  );
}

/**
 * The egress half of a flood that another host began: that host learned, filtered, answered and
 * chose already.
 */
export function enterFlood(walk: Walk, id: BridgeId): Verdict {
  const at = { kind: 'bridge', id } as const;
  walk.tags.push(bridgeTag(id), floodTag(id));
  const bridge = walk.topology.bridge(id);
  if (bridge === undefined) return drop(walk, at, 'no-port');
  if (!bridge.adminStateUp) return drop(walk, at, 'bridge-down');
  for (const link of routersOf(walk, bridge, undefined)) hearFlooded(walk, link, false);
  walk.steps.push({ at, did: 'flood-here' });
  return { kind: 'forward', to: membersOf(walk, bridge, { here: true }) };
}
