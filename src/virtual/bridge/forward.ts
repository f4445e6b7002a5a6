/**
 * What a bridge does with a frame (IEEE 802.1Q §8.6, §8.8): learn, filter, answer for its seeded
 * addresses, forward or flood.
 *
 * Invariants: recipients are ports of this bridge, whatever the learned table says (law 8); a seed
 * holds in every VLAN and wins over anything learned; the walk sees its own claim, so that deciding
 * the same frame again after the claim was committed gives the same verdict.
 */
import { BROADCAST, formatMac, isGroup, type Mac } from '#net/mac.ts';
import type { PortId } from '../ids.ts';
import type { Verdict } from '../outcome.ts';
import { floodTag, learningTag, macTag, portTag, seededMacTag } from '../tags.ts';
import type { BridgeView, PortView } from '../view.ts';
import { drop, type Walk } from '../walk.ts';
import { answer } from './answer.ts';

/** Groups that reach no further than the next bridge (IEEE 802.1Q table 8-1). */
const RESERVED_FIRST = 0x0180c2000000;
const RESERVED_LAST = 0x0180c200000f;

/** A priority tag (VID 0) is no VLAN: IEEE 802.1Q §6.9.1. */
const vlanOf = ({ match }: Walk): number => match.get('vlan') & 0xfff;

/** `from` is up and belongs to `bridge`, which is up. */
export function enterBridge(walk: Walk, bridge: BridgeView, from: PortView): Verdict {
  const { match } = walk;
  const src = match.get('ethSrc');
  const at = { kind: 'bridge', id: bridge.id } as const;
  if (src === 0 || isGroup(src)) return drop(walk, at, 'source-not-unicast');
  const vlan = vlanOf(walk);
  learn(walk, bridge, from, { vlan, mac: src });
  const dst = match.get('ethDst');
  if (dst >= RESERVED_FIRST && dst <= RESERVED_LAST) return drop(walk, at, 'reserved-group');
  if (answer(walk, bridge, from)) return { kind: 'answer' };
  if (isGroup(dst)) return flood(walk, bridge, { from, did: groupStep(dst) });
  const target = locate(walk, bridge, { from, vlan, src, dst });
  if (target !== undefined) return unicast(walk, target, { from, dst });
  return flood(walk, bridge, { from, did: 'unknown-unicast', dst });
}

const groupStep = (dst: Mac): 'broadcast' | 'multicast' =>
  dst === BROADCAST ? 'broadcast' : 'multicast';

interface Source {
  readonly vlan: number;
  readonly mac: Mac;
}

function learn(walk: Walk, bridge: BridgeView, from: PortView, { vlan, mac }: Source): void {
  const { tags, learned } = walk;
  tags.push(macTag(bridge.id, vlan, mac), seededMacTag(bridge.id, mac));
  if (bridge.seededPort(mac) !== undefined) return;
  if (learned.port(bridge.id, vlan, mac) === from.id) return;
  tags.push(learningTag(from.id));
  if (!learned.mayLearn(from.id)) return;
  walk.claims.push({ learn: { bridge: bridge.id, vlan, mac, port: from.id } });
  const detail = vlan === 0 ? formatMac(mac) : `${formatMac(mac)} vlan ${vlan}`;
  walk.steps.push({ at: { kind: 'bridge', id: bridge.id }, did: 'learn', detail });
}

interface Sought {
  readonly from: PortView;
  readonly vlan: number;
  readonly src: Mac;
  readonly dst: Mac;
}

/** The port of this bridge that a unicast MAC is behind. */
function locate(walk: Walk, bridge: BridgeView, { from, vlan, src, dst }: Sought) {
  const { tags, topology, learned, claims } = walk;
  if (dst !== src) tags.push(macTag(bridge.id, vlan, dst), seededMacTag(bridge.id, dst));
  const seeded = bridge.seededPort(dst);
  const claimed = dst === src && claims.length > 0 ? from.id : undefined;
  const id: PortId | undefined = seeded ?? claimed ?? learned.port(bridge.id, vlan, dst);
  if (id === undefined) return undefined;
  if (id === from.id) return from;
  tags.push(portTag(id));
  const port = topology.port(id);
  // Learned entries come from other hosts too, and may outlive their port.
  return port?.bridge === bridge.id ? port : undefined;
}

interface Unicast {
  readonly from: PortView;
  readonly dst: Mac;
}

function unicast(walk: Walk, target: PortView, { from, dst }: Unicast): Verdict {
  const at = { kind: 'port', id: target.id } as const;
  if (target.id === from.id && !from.hairpin) return drop(walk, at, 'same-port');
  walk.steps.push({
    at: { kind: 'bridge', id: target.bridge },
    did: 'unicast',
    detail: formatMac(dst),
  });
  if (!target.adminStateUp) return drop(walk, at, 'port-down');
  walk.steps.push({ at, did: 'leave' });
  return { kind: 'forward', to: { port: target.id } };
}

interface Flood {
  readonly from: PortView;
  readonly did: 'broadcast' | 'multicast' | 'unknown-unicast';
  readonly dst?: Mac;
}

function flood(walk: Walk, bridge: BridgeView, { from, did, dst }: Flood): Verdict {
  const at = { kind: 'bridge', id: bridge.id } as const;
  walk.tags.push(floodTag(bridge.id));
  walk.steps.push(dst === undefined ? { at, did } : { at, did, detail: formatMac(dst) });
  // The port it came from is up, so it is one of those counted.
  if (bridge.portsUp <= 1) return drop(walk, at, 'no-recipient');
  return { kind: 'forward', to: { flood: bridge.id, except: from.id } };
}
