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
  NO_TRANSLATIONS,
  reversed,
  type ConnectionKey,
  type ConnectionState,
  type FoundConnection,
  type Translation,
  type Tuple,
  type Zone,
} from './connection.ts';
import type { BridgeId, PortId } from './ids.ts';
import type { Match } from './match.ts';
import type { Ingress, Opening, Recipient, Tracked, Verdict } from './outcome.ts';
import { connectionTag, type Tag } from './tags.ts';
import type { StateView, TopologyView } from './view.ts';
import type { EndChange } from './walk.ts';

/** What was found: '' where the packet has no connection that rules could ask about. */
export interface Look {
  readonly state: ConnectionState | '';
  readonly key?: ConnectionKey;
  readonly found?: FoundConnection | undefined;
  /** What routers make of its ends. */
  readonly translations?: readonly Translation[];
}
/** The part of a walk that this is about. */
export interface Trackable {
  readonly topology: TopologyView;
  readonly state: Pick<StateView, 'connections'>;
  readonly match: Match;
  readonly ingress: Ingress;
  readonly tags: Tag[];
  readonly changes: readonly EndChange[];
  readonly about: readonly Translation[];
  readonly chosenBy: readonly Tag[];
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
export function quotedTuple(quoted: Quoted): Tuple | undefined {
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
function read(match: Match, as: 'arrived' | 'get'): Read | undefined {
  const type = match.get('ethType');
  if (type !== ETHER_TYPE.IPV4 && type !== ETHER_TYPE.IPV6) return undefined;
  const protocol = match.get('ipProto');
  if (match.get('ipFrag') === LATER) return undefined;
  const ends = { protocol, src: match[as]('ipSrc'), dst: match[as]('ipDst') };
  return { ends, tpSrc: match[as]('tpSrc'), tpDst: match[as]('tpDst') };
}

/** The tuple of what is no error. */
function tupleOf({ ends, tpSrc, tpDst }: Read): Tuple {
  const six = isIp6(ends.src);
  if (ends.protocol !== (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP)) {
    return hasPorts(ends.protocol)
      ? { ...ends, srcPort: tpSrc, dstPort: tpDst }
      : { ...ends, srcPort: 0, dstPort: 0 };
  }
  return echoTuple(ends, tpDst, tpSrc >> 8 === (six ? ECHO6 : ECHO).request);
}
const hasPorts = (protocol: number): boolean =>
  protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP;

/** The tuple of a packet as it is by now; undefined: it has no transport header. */
export function tupleNow(match: Match): Tuple | undefined {
  const header = read(match, 'get');
  return header && tupleOf(header);
}

/** Of an ICMP or ICMPv6 message: whether it is about another packet. */
export function isError(match: Match): boolean {
  const type = match.get('ethType');
  if (type !== ETHER_TYPE.IPV4 && type !== ETHER_TYPE.IPV6) return false;
  const six = type === ETHER_TYPE.IPV6;
  if (match.get('ipProto') !== (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP)) return false;
  return match.get('ipFrag') !== LATER && isIcmpError(match.get('tpSrc') >> 8, six);
}

/** By the record of a key. */
function byKey(walk: Trackable, tuple: Tuple): Look {
  const zone = zoneOf(walk.topology, walk.ingress);
  if (zone === undefined) return UNTRACKED;
  const key = { zone, tuple };
  walk.tags.push(connectionTag(key));
  const found = walk.state.connections.find(zone, tuple);
  const state = found?.direction === 'return' ? 'established' : 'new';
  return { state, key, found, ...(found && { translations: found.translations }) };
}

/** An error is related when what it quotes, turned round, is of a record: it comes back to it. */
function byQuoted(walk: Trackable): Look {
  const quoted = quotedBy(walk.match.payload());
  const tuple = quoted && quotedTuple(quoted);
  if (tuple === undefined) return INVALID;
  const { key, found, translations } = byKey(walk, reversed(tuple));
  if (key === undefined) return UNTRACKED;
  const state = found === undefined ? 'invalid' : 'related';
  return { state, key, found, ...(translations && { translations }) };
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
function ofOwn(header: Read, translations: readonly Translation[]): Look {
  const look = stateOfOwn(header);
  return translations.length === 0 ? look : { ...look, translations };
}
function stateOfOwn({ ends, tpSrc }: Read): Look {
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
  const header = read(match, 'arrived');
  if (header === undefined) return UNTRACKED;
  if ('out' in ingress) return ofOwn(header, walk.about);
  const { ends } = header;
  const six = isIp6(ends.src);
  if (ends.protocol === (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP)) return byIcmp(walk, header);
  if (ends.protocol === IP_PROTOCOL.TCP && !match.soundTcp()) return INVALID;
  return byKey(walk, tupleOf(header));
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
  const left = walk.changes.length === 0 ? tuple : (tupleNow(walk.match) ?? tuple);
  const openings: Opening[] = [];
  for (const to of verdict.to) {
    const zone = returnZone(topology, to);
    if (zone === undefined || openings.some(({ returns }) => returns.zone === zone)) continue;
    const port = 'port' in to ? to.port : undefined;
    openings.push({ returns: { zone, tuple: reversed(left) }, to: port });
  }
  return openings;
}

/** What is told of the connection when the walk is over; undefined: no rule asked. */
export function trackedOf(walk: Trackable, verdict: Verdict): Tracked | undefined {
  const { look: seen } = walk;
  if (seen === undefined || seen.state === '') return undefined;
  const { state, key, found } = seen;
  const opens = state === 'new' && key !== undefined ? openingsOf(walk, verdict, key.tuple) : [];
  const { chosenBy } = walk;
  return { state, key, found, opens, translations: translationsOf(walk), chosenBy };
}

/** What of the changes is remembered. */
export function translationsOf({ changes }: Pick<Trackable, 'changes'>): readonly Translation[] {
  if (changes.length === 0) return NO_TRANSLATIONS;
  return changes.map(({ translation }) => translation).filter((each) => each !== undefined);
}
