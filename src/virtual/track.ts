/**
 * What a walk knows of its packet's connection: asked for by the first rule that wants to know, and
 * looked up once, by the packet as it entered and in the zone where it did, so that every rule on
 * the way gets the same answer.
 *
 * Invariants: header fields are read through `Match` alone, all of them whatever the answer (law
 * 1); the key that was asked for is among the tags (law 2); a packet that opens a connection is as
 * `new` with its record as without.
 */
import { isIp6, isMulticastIp, BROADCAST4, type Ip } from '#net/ip.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { isIcmpError, quotedBy, type Quoted } from '#net/quoted.ts';
import {
  isItsOwnAnswer,
  reversed,
  type ConnectionKey,
  type ConnectionState,
  type FoundConnection,
  type Tuple,
  type Zone,
} from './connection.ts';
import type { BridgeId, PortId } from './ids.ts';
import type { Match } from './match.ts';
import type { Ingress, Opening, Recipient, Tracked, Verdict } from './outcome.ts';
import { connectionTag, type Tag } from './tags.ts';
import type { StateView, TopologyView } from './view.ts';

/** What was found: '' where the packet has no connection that rules could ask about. */
export interface Look {
  readonly state: ConnectionState | '';
  readonly key?: ConnectionKey;
  readonly found?: FoundConnection | undefined;
}
/** The part of a walk that this is about. */
export interface Trackable {
  readonly topology: TopologyView;
  readonly state: Pick<StateView, 'connections'>;
  readonly match: Match;
  readonly ingress: Ingress;
  readonly tags: Tag[];
  look: Look | undefined;
}

const UNTRACKED: Look = { state: '' };
const INVALID: Look = { state: 'invalid' };
/** Type and code of echo requests and replies, as `tpSrc` has them (RFC 792, RFC 4443 §4). */
const ECHO = { request: 8, reply: 0 } as const;
const ECHO6 = { request: 128, reply: 129 } as const;
/** `ipFrag` of a later fragment. */
const LATER = 3;

const zoneOfBridge = (topology: TopologyView, id: BridgeId): Zone | undefined =>
  topology.bridge(id)?.floodKey as Zone | undefined;

/** The device of a port, as a zone; undefined: there is no such port, or device. */
export function zoneOfPort(topology: TopologyView, id: PortId): Zone | undefined {
  const port = topology.port(id);
  if (port === undefined) return undefined;
  if (port.type === 'bridge') return zoneOfBridge(topology, port.bridge);
  return topology.router(port.router)?.networkKey as Zone | undefined;
}

function zoneOf(topology: TopologyView, ingress: Ingress): Zone | undefined {
  if ('port' in ingress) return zoneOfPort(topology, ingress.port);
  if ('out' in ingress) return zoneOfPort(topology, ingress.out);
  if ('flood' in ingress) return zoneOfBridge(topology, ingress.flood);
  return topology.router(ingress.heard)?.networkKey as Zone | undefined;
}

/** One direction of an echo: who asks has the identifier as its port. */
function echoTuple(
  ends: Pick<Tuple, 'protocol' | 'src' | 'dst'>,
  id: number,
  asks: boolean,
): Tuple {
  return asks ? { ...ends, srcPort: id, dstPort: 0 } : { ...ends, srcPort: 0, dstPort: id };
}

/** The tuple of the packet that an error quotes. */
function quotedTuple(quoted: Quoted): Tuple | undefined {
  const { protocol, src, dst, ports, icmp } = quoted;
  const ends = { protocol, src, dst };
  if (icmp === undefined) return { ...ends, srcPort: ports[0], dstPort: ports[1] };
  const echo = isIp6(src) ? ECHO6 : ECHO;
  if (icmp.type !== echo.request && icmp.type !== echo.reply) return undefined;
  return echoTuple(ends, icmp.id, icmp.type === echo.request);
}

/** Header fields of the packet, all read. */
interface Read {
  readonly ends: Pick<Tuple, 'protocol' | 'src' | 'dst'>;
  readonly tpSrc: number;
  readonly tpDst: number;
}
function read(match: Match): Read | undefined {
  const type = match.get('ethType');
  if (type !== ETHER_TYPE.IPV4 && type !== ETHER_TYPE.IPV6) return undefined;
  const protocol = match.get('ipProto');
  if (match.get('ipFrag') === LATER) return undefined;
  const ends = { protocol, src: match.get('ipSrc'), dst: match.get('ipDst') };
  return { ends, tpSrc: match.get('tpSrc'), tpDst: match.get('tpDst') };
}

/** By the record of a key. */
function byKey(walk: Trackable, tuple: Tuple): Look {
  const zone = zoneOf(walk.topology, walk.ingress);
  if (zone === undefined) return UNTRACKED;
  const key = { zone, tuple };
  walk.tags.push(connectionTag(key));
  const found = walk.state.connections.find(zone, tuple);
  return { state: found?.direction === 'return' ? 'established' : 'new', key, found };
}

/** An error is related when what it quotes, turned round, is of a record: it comes back to it. */
function byQuoted(walk: Trackable): Look {
  const quoted = quotedBy(walk.match.payload());
  const tuple = quoted && quotedTuple(quoted);
  if (tuple === undefined) return INVALID;
  const { key, found } = byKey(walk, reversed(tuple));
  if (key === undefined) return UNTRACKED;
  return { state: found === undefined ? 'invalid' : 'related', key, found };
}

function byIcmp(walk: Trackable, { ends, tpSrc, tpDst }: Read): Look {
  const six = isIp6(ends.src);
  const type = tpSrc >> 8;
  if (isIcmpError(type, six)) return byQuoted(walk);
  const echo = six ? ECHO6 : ECHO;
  if (type === echo.request) return byKey(walk, echoTuple(ends, tpDst, true));
  if (type !== echo.reply) return UNTRACKED;
  const look = byKey(walk, echoTuple(ends, tpDst, false));
  return look.state === 'new' && look.found === undefined ? { ...look, state: 'invalid' } : look;
}

/** What the network itself sends answers somebody, or tells of an error. */
function ofOwn(header: Read): Look {
  const { ends, tpSrc } = header;
  const six = isIp6(ends.src);
  if (ends.protocol !== (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP))
    return { state: 'established' };
  const type = tpSrc >> 8;
  const echo = six ? ECHO6 : ECHO;
  if (isIcmpError(type, six)) return { state: 'related' };
  return type === echo.request || type === echo.reply ? { state: 'established' } : UNTRACKED;
}

function look(walk: Trackable): Look {
  const { match, ingress } = walk;
  const header = read(match);
  if (header === undefined) return UNTRACKED;
  if ('out' in ingress) return ofOwn(header);
  const { ends, tpSrc, tpDst } = header;
  const six = isIp6(ends.src);
  if (ends.protocol === (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP)) return byIcmp(walk, header);
  if (ends.protocol === IP_PROTOCOL.TCP && !match.soundTcp()) return INVALID;
  return byKey(walk, { ...ends, srcPort: tpSrc, dstPort: tpDst });
}

/** The state of the packet's connection, as rules ask for it. */
export function stateOf(walk: Trackable): ConnectionState | '' {
  walk.look ??= look(walk);
  return walk.look.state;
}

/** Nobody answers from a group, nor to one. */
const isOneHost = (ip: Ip): boolean => !isMulticastIp(ip) && ip !== BROADCAST4;

/** The zone where answers enter that come back from a recipient. */
function returnZone(topology: TopologyView, to: Recipient): Zone | undefined {
  return 'port' in to ? zoneOfPort(topology, to.port) : zoneOfBridge(topology, to.flood);
}

function openingsOf(walk: Trackable, verdict: Verdict, tuple: Tuple): Opening[] {
  const { topology } = walk;
  if (verdict.kind !== 'forward' || !isOneHost(tuple.dst) || !isOneHost(tuple.src)) return [];
  if (isItsOwnAnswer(tuple)) return [];
  const openings: Opening[] = [];
  for (const to of verdict.to) {
    const zone = returnZone(topology, to);
    if (zone === undefined || openings.some(({ returns }) => returns.zone === zone)) continue;
    const port = 'port' in to ? to.port : undefined;
    openings.push({ returns: { zone, tuple: reversed(tuple) }, to: port });
  }
  return openings;
}

/** What is told of the connection when the walk is over; undefined: no rule asked. */
export function trackedOf(walk: Trackable, verdict: Verdict): Tracked | undefined {
  const { look: seen } = walk;
  if (seen === undefined || seen.state === '') return undefined;
  const { state, key, found } = seen;
  const opens = state === 'new' && key !== undefined ? openingsOf(walk, verdict, key.tuple) : [];
  return { state, key, found, opens };
}
