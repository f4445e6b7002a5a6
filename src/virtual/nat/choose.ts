/**
 * Which end a new connection gets from a rule that translates.
 *
 * Invariants: a source gets a port that this host owns, and none that a connection to the same peer
 * is known to have; one source keeps one public address while that has room (RFC 4787 REQ-2); where
 * the search begins, nobody outside can guess (RFC 6056). Whether an end is free for good is known
 * only where the packet leaves: whoever commits the record finds out, and has the walk done again
 * with the next `attempt`.
 */
import type { Ip } from '#net/ip.ts';
import {
  hashOfKey,
  reversed,
  type ConnectionKey,
  type Endpoint,
  type Tuple,
  type Zone,
} from '../connection.ts';
import type { RouterId } from '../ids.ts';
import type { WantedPorts } from '../outcome.ts';
import { addressAfter, SNAT_PORTS, type NatView, type Target } from '../rule/nat.ts';
import type { Range } from '../rule/values.ts';
import { publicPortsTag } from '../tags.ts';
import { zoneOfPort } from '../track.ts';
import type { Walk } from '../walk.ts';

/** Ports that one walk looks at. */
export const LOOKS_MAX = 16;
/** Public addresses that one walk tries. */
const ADDRESSES_MAX = 4;

/** A packet at a rule. */
export interface Place {
  readonly router: RouterId;
  readonly zone: Zone;
  readonly tuple: Tuple;
}

const countOf = (targets: readonly Target[]): number =>
  targets.reduce((sum, { count }) => sum + count, 0);

/** The address of this number, through all targets, and the target that it is of. */
function addressAt(targets: readonly Target[], index: number): { ip: Ip; target: Target } {
  let left = index;
  for (const target of targets) {
    if (left < target.count) return { ip: addressAfter(target.first, left), target };
    left -= target.count;
  }
  throw new Error('nat: there is no such target');
}

/** What is in both. */
export function within(all: readonly Range[], { first, last }: Range): Range[] {
  const found: Range[] = [];
  for (const range of all) {
    const both = { first: Math.max(first, range.first), last: Math.min(last, range.last) };
    if (both.first <= both.last) found.push(both);
  }
  return found;
}
const sizeOf = (ranges: readonly Range[]): number =>
  ranges.reduce((sum, { first, last }) => sum + last - first + 1, 0);
function portAt(ranges: readonly Range[], index: number): number {
  let left = index;
  for (const { first, last } of ranges) {
    const size = last - first + 1;
    if (left < size) return first + left;
    left -= size;
  }
  throw new Error('nat: there is no such port');
}

/** Where answers would enter, as far as that can be told from here. */
function zonesOf(walk: Walk, zone: Zone): Zone[] {
  const out = walk.outPort === undefined ? undefined : walk.topology.port(walk.outPort);
  const beyond = out?.peer === undefined ? undefined : zoneOfPort(walk.topology, out.peer);
  return beyond === undefined ? [zone] : [zone, beyond];
}

/** The first port from a place of its own on that is free; undefined: none of those looked at. */
function freePort(walk: Walk, place: Place, ip: Ip, ranges: readonly Range[]): number | undefined {
  const { zone, tuple } = place;
  const { publicPorts } = walk.state;
  const size = sizeOf(ranges);
  if (size === 0) return undefined;
  const zones = zonesOf(walk, zone);
  const from = hashOfKey({ zone, tuple }, publicPorts.seed) + publicPorts.attempt * LOOKS_MAX;
  // What nobody has goes before what closed connections leave behind (RFC 6191).
  for (const closed of [false, true])
    for (let n = 0; n < Math.min(LOOKS_MAX, size); n++) {
      const port = portAt(ranges, (from + n) % size);
      const back = reversed({ ...tuple, src: ip, srcPort: port });
      if (!zones.some((each) => publicPorts.isTaken(each, back, closed))) return port;
    }
  return undefined;
}

/** 0: the address is this host's, and nobody uses it so. */
function addressPort(walk: Walk, { zone, tuple }: Place, ip: Ip, owned: readonly Range[]) {
  const back = reversed({ ...tuple, src: ip });
  const { publicPorts } = walk.state;
  const taken = zonesOf(walk, zone).some((each) => publicPorts.isTaken(each, back, false));
  return owned.length === 0 || taken ? undefined : 0;
}

/** `end` undefined: there is none now; `wanted` is to be asked for. */
export interface Chosen {
  readonly end: Endpoint | undefined;
  readonly wanted: WantedPorts;
}
/** The address itself. */
const NO_PORTS: Range = { first: 0, last: 0 };

/** A public end for the source of a connection. */
export function chooseSource(walk: Walk, place: Place, { targets, portless }: NatView): Chosen {
  const { publicPorts } = walk.state;
  const { router, zone, tuple } = place;
  const total = countOf(targets);
  const paired: ConnectionKey = {
    zone,
    tuple: { protocol: 0, src: tuple.src, dst: tuple.src, srcPort: 0, dstPort: 0 },
  };
  const home = hashOfKey(paired) % total;
  const byAddress = portless === tuple.protocol && tuple.srcPort + tuple.dstPort === 0;
  let wanted: WantedPorts | undefined;
  for (let n = 0; n < Math.min(total, ADDRESSES_MAX); n++) {
    const { ip, target } = addressAt(targets, (home + n) % total);
    const range = byAddress ? NO_PORTS : (target.ports ?? SNAT_PORTS);
    const owned = within(publicPorts.owned(router, ip), range);
    const of = { router, address: ip, ...range };
    const port = byAddress ? addressPort(walk, place, ip, owned) : freePort(walk, place, ip, owned);
    if (port !== undefined) return { end: { ip, port }, wanted: of };
    // What is chosen is remembered by a record; that there was nothing is for as long as it is so.
    walk.tags.push(publicPortsTag(router, ip));
    if (wanted !== undefined || publicPorts.isSpent(router, ip, range)) continue;
    // Nothing is left behind before this host has asked.
    if (owned.length === 0) return { end: undefined, wanted: of };
    wanted = of;
  }
  if (wanted !== undefined) return { end: undefined, wanted };
  const { ip, target } = addressAt(targets, home);
  const range = byAddress ? NO_PORTS : (target.ports ?? SNAT_PORTS);
  return { end: undefined, wanted: { router, address: ip, ...range } };
}

/** Where a connection is led to. */
export function chooseDestination(walk: Walk, place: Place, { targets }: NatView): Endpoint {
  const { zone, tuple } = place;
  const hash = hashOfKey({ zone, tuple });
  const total = countOf(targets);
  const { attempt } = walk.state.publicPorts;
  const { ip, target } = addressAt(targets, (hash + attempt) % total);
  if (target.ports === undefined) return { ip, port: tuple.dstPort };
  const { first, last } = target.ports;
  const turn = Math.floor(hash / total) + Math.floor(attempt / total);
  return { ip, port: first + (turn % (last - first + 1)) };
}
