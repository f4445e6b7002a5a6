/**
 * The walk of one packet through the virtual topology: what the network does with it, why, and on
 * what that depends.
 *
 * Devices never call each other: each answers what comes next as data, and the loop here goes on
 * from there, through at most DEVICES_MAX devices. Invariants: pure, total and synchronous (the
 * same request gives the same outcome; nothing throws on any frame); fields read are in `seen` (law
 * 1), things consulted are in `tags`, also where the answer was "there is none" (law 2); a frame
 * goes from device to device over links only (law 8).
 */
import { enterBridge, enterFlood } from './bridge/forward.ts';
import { filter, trackFor } from './chain/filter.ts';
import type { PortId } from './ids.ts';
import { NO_TRANSLATIONS, type Translation } from './connection.ts';
import { Match, type Headers } from './match.ts';
import type { Ingress, Outcome, Step, Verdict } from './outcome.ts';
import { leaveLeg } from './port/leg.ts';
import { deviceOf } from './port/view.ts';
import { enterHeard, enterRouter } from './router/forward.ts';
import { bridgeTag, portTag, routerTag } from './tags.ts';
import { trackedOf } from './track.ts';
import type { StateView, TopologyView } from './view.ts';
import { drop, recipient, type Next, type Tried, type Walk } from './walk.ts';

/** Devices one frame may cross. */
export const DEVICES_MAX = 12;

export interface SimulateRequest {
  readonly topology: TopologyView;
  readonly state: StateView;
  readonly headers: Headers;
  /** The frame from its Ethernet header on, tag in place; may be cut short behind the headers. */
  readonly bytes: Uint8Array;
  /**
   * Bytes of its IP packet, of each segment when it will be segmented, of the largest fragment when
   * it was put together from such; 0 when it has none.
   */
  readonly size: number;
  readonly ingress: Ingress;
  /** Of a frame of the network itself: see `Send`. */
  readonly about?: readonly Translation[] | undefined;
  /** What a tracer looks on with (`observe.ts`): made anew for the walk, of the same packet. */
  readonly observed?: { readonly match: Match; readonly steps: Step[]; readonly tried: Tried };
}

function enterPort(walk: Walk, id: PortId): Next {
  const { topology, tags, steps } = walk;
  const port = topology.port(id);
  tags.push(port?.ready.tag ?? portTag(id));
  if (port === undefined) return drop(walk, { kind: 'port', id }, 'no-port');
  steps.push(port.ready.enter);
  if (!port.adminStateUp) return drop(walk, port.ready.at, 'port-down');
  walk.inPort = id;
  walk.outPort = undefined;
  walk.entered = undefined;
  walk.changedBefore = walk.changes.length;
  walk.crossed.push(deviceOf(port));
  if (port.type === 'router') {
    const refused = filter(walk, port.ready.at, port.inboundFilter);
    if (refused !== undefined) return refused;
    trackFor(walk, port.outboundFilter);
    const router = topology.router(port.router);
    tags.push(router?.ready.tag ?? routerTag(port.router));
    if (router === undefined) return drop(walk, { kind: 'router', id: port.router }, 'no-port');
    return enterRouter(walk, router, port);
  }
  const bridge = topology.bridge(port.bridge);
  tags.push(bridge?.ready.tag ?? bridgeTag(port.bridge));
  if (bridge === undefined) return drop(walk, { kind: 'bridge', id: port.bridge }, 'no-port');
  if (!bridge.adminStateUp) return drop(walk, bridge.ready.at, 'bridge-down');
  return enterBridge(walk, bridge, port);
}

/**
 * The frame leaves a device: into another one, or out of the virtual network. Whoever chose the
 * port has tagged it.
 */
function leavePort(walk: Walk, id: PortId): Next {
  const port = walk.topology.port(id);
  if (port === undefined) return drop(walk, { kind: 'port', id }, 'no-port');
  const { at, leave, delivered } = port.ready;
  if (!port.adminStateUp) return drop(walk, at, 'port-down');
  if (port.type === 'bridge' && !leaveLeg(walk, port)) return drop(walk, at, 'vlan-mismatch');
  walk.outPort = id;
  const refused = filter(walk, at, port.outboundFilter);
  if (refused !== undefined) return refused;
  trackFor(walk, port.inboundFilter);
  walk.steps.push(leave);
  if (port.peer !== undefined) return enterPort(walk, port.peer);
  if (walk.match.vlanOut === undefined) return delivered;
  return { kind: 'forward', to: [recipient(walk, { port: id })] };
}

function begin(walk: Walk, ingress: Ingress): Next {
  if ('port' in ingress) return enterPort(walk, ingress.port);
  if ('flood' in ingress) return enterFlood(walk, ingress.flood);
  if ('heard' in ingress) return enterHeard(walk, ingress.heard);
  walk.tags.push(portTag(ingress.out));
  return { kind: 'leave', by: ingress.out };
}

function run(walk: Walk, ingress: Ingress): Verdict {
  let next = begin(walk, ingress);
  for (let passed = 1; next.kind === 'leave'; passed++)
    next =
      passed >= DEVICES_MAX
        ? drop(walk, { kind: 'port', id: next.by }, 'too-many-hops')
        : leavePort(walk, next.by);
  if (next.kind !== 'forward' || walk.cut === undefined) return next;
  return { ...next, cut: walk.cut };
}

/** Decides one packet. */
export function simulate(request: SimulateRequest): Outcome {
  const { topology, state, headers, bytes, size, ingress, about, observed } = request;
  const match = observed?.match ?? new Match(headers, bytes, size);
  const walk: Walk = {
    topology,
    state,
    match,
    from: 'port' in ingress ? ingress.port : undefined,
    ingress,
    look: undefined,
    inPort: undefined,
    outPort: undefined,
    crossed: [],
    entered: undefined,
    changes: [],
    changedBefore: 0,
    chosenBy: [],
    turned: undefined,
    about: about ?? NO_TRANSLATIONS,
    unreversed: undefined,
    unserved: false,
    tried: observed?.tried,
    logged: undefined,
    cut: undefined,
    charge: undefined,
    tags: [],
    claims: [],
    sends: [],
    tells: [],
    confirms: [],
    steps: observed?.steps ?? [],
  };
  const verdict = run(walk, ingress);
  return {
    verdict,
    rewrites: match.rewrites(),
    guards: match.guards,
    seen: match.seen,
    cacheable: match.cacheable,
    tags: walk.tags,
    claims: walk.claims,
    sends: walk.sends,
    charge: walk.charge,
    tells: walk.tells,
    connection: trackedOf(walk, verdict),
    confirms: walk.confirms,
    steps: walk.steps,
    ...(walk.logged !== undefined && { logged: walk.logged }),
    ...(walk.turned?.isChanged === true && { quoted: walk.turned.ends }),
    ...(walk.unreversed !== undefined && { unreversed: walk.unreversed }),
    ...(walk.unserved && { unserved: true }),
  };
}
