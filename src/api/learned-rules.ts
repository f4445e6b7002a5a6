/**
 * What a host may teach: MACs at bridge ports that are bound to it and up on it, and neighbours of
 * a router that it heard in the segment which the router's port is in; and what a change makes
 * everybody forget. Pure.
 */
import {
  isNeighbour,
  type Learned,
  type LearnedMac,
  type LearnedNeighbour,
} from '#client/types.ts';
import { isIp6, isLinkLocalIp, parseIp, type Ip } from '#net/ip.ts';
import { contains } from '#net/prefix.ts';
import type { BridgeId, PortId } from '#virtual/ids.ts';
import type { RowChange } from '#virtual/change.ts';
import type { Fault, StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { isOwn } from '#virtual/router/hear.ts';
import type { Topology } from '#virtual/topology.ts';
import type { RouterPortView, TopologyView } from '#virtual/view.ts';
import type { LearnedRows, Owned } from './learned-rows.ts';

/** Bridges of one segment that are looked for; what is heard farther away is refused. */
export const SEGMENT_BRIDGES_MAX = 1_024;

/** The bridges that a frame of a router's port reaches without passing another router. */
export function segmentOf(topology: TopologyView, of: RouterPortView): ReadonlySet<BridgeId> {
  const first = of.peer === undefined ? undefined : topology.port(of.peer);
  return first?.type === 'bridge'
    ? bridgesAround(topology, new Set([first.bridge]))
    : new Set<BridgeId>();
}

/** The bridges that a frame in a bridge reaches without passing a router, itself included. */
function bridgesAround(topology: TopologyView, seen: Set<BridgeId>): ReadonlySet<BridgeId> {
  const add = (end: PortId | undefined): void => {
    const port = end === undefined ? undefined : topology.port(end);
    if (port?.type === 'bridge' && seen.size < SEGMENT_BRIDGES_MAX) seen.add(port.bridge);
  };
  // A set is walked in order of insertion, and what is added meanwhile is walked too.
  for (const bridge of seen)
    for (const link of topology.bridge(bridge)?.bridgeLinks ?? []) add(topology.port(link)?.peer);
  return seen;
}

/** The ports of the segment that a bridge is in. */
export function portsAround(topology: TopologyView, bridge: BridgeId): PortId[] {
  const around = [...bridgesAround(topology, new Set([bridge]))];
  return around.flatMap((id) => [...(topology.bridge(id)?.ports ?? [])]);
}

/** Whether a port of a router can have a neighbour with this address. */
export const mayNeighbour = (of: RouterPortView, ip: Ip): boolean =>
  (isIp6(ip) && isLinkLocalIp(ip)) || of.networks.some((network) => contains(network, ip));

/** Judges the rows of one request of a host; remembers segments that it has looked for. */
export class Teaching {
  readonly #topology: Topology;
  readonly #host: string;
  readonly #segments = new Map<PortId, ReadonlySet<BridgeId>>();

  constructor(topology: Topology, host: string) {
    this.#topology = topology;
    this.#host = host;
  }

  /** Paths are fields of the row. */
  faults(row: Learned): Fault[] {
    const there = this.#topology.get('port', row.port) as ObjectOf<'port'> | undefined;
    if (there === undefined || there.host !== this.#host)
      return [{ path: 'port', message: 'is not bound to this host' }];
    if (this.#topology.location(there.id)?.host !== this.#host)
      return [{ path: 'port', message: 'is not up on this host' }];
    return isNeighbour(row) ? this.#neighbour(row) : this.#mac(row, there);
  }

  #mac({ bridge }: LearnedMac, there: ObjectOf<'port'>): Fault[] {
    if (there.bridge === bridge) return [];
    return [{ path: 'bridge', message: 'is not the bridge of the port' }];
  }

  #neighbour({ of: id, ip: text, port }: LearnedNeighbour): Fault[] {
    const of = this.#topology.port(id as PortId);
    if (of?.type !== 'router') return [{ path: 'of', message: 'is not a port of a router' }];
    if (!this.isHeard(of, port as PortId))
      return [{ path: 'port', message: 'is not in the segment of the port of the router' }];
    const ip = parseIp(text);
    if (ip === undefined || !mayNeighbour(of, ip))
      return [{ path: 'ip', message: 'is in no network of the port of the router' }];
    if (isOwn(of, ip))
      return [{ path: 'ip', message: 'is an address of the port of the router itself' }];
    return [];
  }

  /** Whether what a port hears can come from a neighbour of a router's port. */
  isHeard(of: RouterPortView, by: PortId): boolean {
    if (of.id === by) return true;
    const bridge = this.#topology.port(by)?.bridge;
    return bridge !== undefined && this.#segment(of).has(bridge);
  }
  #segment(of: RouterPortView): ReadonlySet<BridgeId> {
    return this.#segments.getOrInsertComputed(of.id, () => segmentOf(this.#topology, of));
  }
}

type PortRow = ObjectOf<'port'>;
/** What changed, as the replica tells it: `before` is what each row replaced. */
export interface ChangedRows {
  readonly rows: readonly RowChange[];
  readonly before: readonly (StoredObject | undefined)[];
}
/** What is known, by where it was seen and by what it is shown with. */
export type KnownRows = Pick<LearnedRows, 'at' | 'of'>;

/**
 * What a change makes everybody forget; one row may come twice. `topology`: after it. A port's
 * words go when it moves or goes, and only its former host's: another one may have spoken since,
 * before this node heard of it. A router's port forgets its neighbours when it goes, is linked
 * elsewhere or leaves their network.
 */
export function* forgottenBy(
  topology: Topology,
  { rows, before }: ChangedRows,
  known: KnownRows,
): Generator<Owned> {
  for (const [i, { kind, put }] of rows.entries()) {
    const was = before[i] as PortRow | undefined;
    if (kind !== 'port' || was === undefined) continue;
    const is = put as PortRow | undefined;
    if (is?.host !== was.host && was.host !== undefined)
      yield* [...known.at(was.id)].filter(({ host }) => host === was.host);
    if (was.type === 'router') yield* lostNeighbours(topology, was, is, known);
    else if (was.peer !== undefined && is !== undefined && is.peer !== was.peer)
      yield* lostBeyond(topology, was.bridge, known);
  }
}

/** A link of the bridge has ended: what was heard here may be of a router that is beyond it. */
function* lostBeyond(topology: Topology, bridge: BridgeId, known: KnownRows): Generator<Owned> {
  const teaching = new Teaching(topology, '');
  const isBeyond = (row: Owned): boolean => {
    const of = isNeighbour(row) ? topology.port(row.of as PortId) : undefined;
    return of?.type === 'router' && !teaching.isHeard(of, row.port as PortId);
  };
  for (const port of portsAround(topology, bridge)) yield* [...known.at(port)].filter(isBeyond);
}

function lostNeighbours(
  topology: Topology,
  was: PortRow,
  is: PortRow | undefined,
  known: KnownRows,
): Owned[] {
  const now = topology.port(was.id);
  const moved = is === undefined || is.peer !== was.peer || now?.type !== 'router';
  return [...known.of(was.id)].filter((row) => {
    const ip = isNeighbour(row) ? parseIp(row.ip) : undefined;
    return moved || ip === undefined || !mayNeighbour(now, ip);
  });
}
