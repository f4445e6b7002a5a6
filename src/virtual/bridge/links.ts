/** Ways from a bridge into what is linked to it. Everything that decides about them is tagged. */
import type { BridgeId, PortId } from '../ids.ts';
import { bridgeTag, portTag } from '../tags.ts';
import type { BridgePortView, BridgeView, RouterPortView, TopologyView } from '../view.ts';
import type { Walk } from '../walk.ts';

/** A link to another bridge, up at both ends: `near` in this bridge, `far` in the other. */
export interface Crossing {
  readonly near: BridgePortView;
  readonly far: BridgePortView;
  readonly other: BridgeView;
}

/** The other ends of links that are up, in one order for every agent. */
function* ends(walk: Walk, links: ReadonlySet<PortId>, except: PortId | undefined) {
  for (const id of [...links].sort()) {
    if (id === except) continue;
    walk.tags.push(portTag(id));
    const near = walk.topology.port(id);
    if (near?.type !== 'bridge' || near.peer === undefined || !near.adminStateUp) continue;
    walk.tags.push(portTag(near.peer));
    const far = walk.topology.port(near.peer);
    if (far?.adminStateUp === true) yield { near, far };
  }
}

/**
 * Bridges that one frame may be looked for in, or flooded to. A tenant may link as many as it
 * likes, in a row too, and a walk is done for each first packet: a flood into more is dropped, and
 * what is farther away is not found.
 */
export const SEGMENT_BRIDGES_MAX = 256;

/** The bridges that links between bridges join with this one, up or not; itself first. */
export function segmentOf(topology: TopologyView, bridge: BridgeId): ReadonlySet<BridgeId> {
  const segment = new Set([bridge]);
  // A set is walked in order of insertion, and what is added meanwhile is walked too.
  for (const each of segment)
    for (const link of topology.bridge(each)?.bridgeLinks ?? []) {
      const peer = topology.port(link)?.peer;
      const other = peer && topology.port(peer)?.bridge;
      if (other) segment.add(other);
    }
  return segment;
}

export function* crossings(
  walk: Walk,
  bridge: BridgeView,
  except: PortId | undefined,
): Generator<Crossing> {
  walk.tags.push(bridge.ready.links);
  for (const { near, far } of ends(walk, bridge.bridgeLinks, except)) {
    if (far.type !== 'bridge') continue;
    walk.tags.push(bridgeTag(far.bridge));
    const other = walk.topology.bridge(far.bridge);
    if (other?.adminStateUp === true) yield { near, far, other };
  }
}

/** A link to a router, up at both ends: `near` in the bridge, `far` in the router. */
export interface RouterLink {
  readonly near: BridgePortView;
  readonly far: RouterPortView;
}

/** The links of a bridge to routers, where both ends are up. */
export function* routersOf(
  walk: Walk,
  bridge: BridgeView,
  except: PortId | undefined,
): Generator<RouterLink> {
  for (const { near, far } of ends(walk, bridge.routerLinks, except))
    if (far.type === 'router') yield { near, far };
}
