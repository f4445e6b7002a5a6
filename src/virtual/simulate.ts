/**
 * The walk of one packet through the virtual topology: what the network does with it, why, and on
 * what that depends.
 *
 * Invariants: pure, total and synchronous (the same request gives the same outcome; nothing throws
 * on any frame); fields read are in `seen` (law 1), things consulted are in `tags`, also where the
 * answer was "there is none" (law 2); a frame never leaves its bridge (law 8).
 */
import { enterBridge } from './bridge/forward.ts';
import type { BridgeId, PortId } from './ids.ts';
import { Match, type Headers } from './match.ts';
import type { Ingress, Outcome, Verdict } from './outcome.ts';
import { bridgeTag, floodTag, portTag } from './tags.ts';
import type { LearnedView, TopologyView } from './view.ts';
import { drop, type Walk } from './walk.ts';

export interface SimulateRequest {
  readonly topology: TopologyView;
  readonly learned: LearnedView;
  readonly headers: Headers;
  /** The frame from its Ethernet header on, tag in place; may be cut short behind the headers. */
  readonly bytes: Uint8Array;
  readonly ingress: Ingress;
}

function enterPort(walk: Walk, id: PortId): Verdict {
  const { topology, tags, steps } = walk;
  tags.push(portTag(id));
  const port = topology.port(id);
  if (port === undefined) return drop(walk, { kind: 'port', id }, 'no-port');
  steps.push({ at: { kind: 'port', id }, did: 'enter' });
  if (!port.adminStateUp) return drop(walk, { kind: 'port', id }, 'port-down');
  tags.push(bridgeTag(port.bridge));
  const bridge = topology.bridge(port.bridge);
  const at = { kind: 'bridge', id: port.bridge } as const;
  if (bridge === undefined) return drop(walk, at, 'no-port');
  if (!bridge.adminStateUp) return drop(walk, at, 'bridge-down');
  return enterBridge(walk, bridge, port);
}

/**
 * The egress half of a flood that another host began: that host learned, filtered and chose
 * already.
 */
function enterFlood(walk: Walk, id: BridgeId): Verdict {
  const at = { kind: 'bridge', id } as const;
  walk.tags.push(bridgeTag(id), floodTag(id));
  const bridge = walk.topology.bridge(id);
  if (bridge === undefined) return drop(walk, at, 'no-port');
  if (!bridge.adminStateUp) return drop(walk, at, 'bridge-down');
  walk.steps.push({ at, did: 'flood-here' });
  return { kind: 'forward', to: { flood: id, here: true } };
}

/** Decides one packet. */
export function simulate(request: SimulateRequest): Outcome {
  const { topology, learned, headers, bytes, ingress } = request;
  const match = new Match(headers, bytes);
  const walk: Walk = { topology, learned, match, tags: [], claims: [], sends: [], steps: [] };
  const verdict =
    'port' in ingress ? enterPort(walk, ingress.port) : enterFlood(walk, ingress.flood);
  return {
    verdict,
    rewrites: match.rewrites(),
    seen: match.seen,
    cacheable: match.cacheable,
    tags: walk.tags,
    claims: walk.claims,
    sends: walk.sends,
    steps: walk.steps,
  };
}
