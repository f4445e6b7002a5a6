/**
 * Connections, as rules and walks know them.
 *
 * A connection is what goes on between two ends of one protocol: packets of one tuple in the
 * direction of whoever opened it, and of the reversed tuple back. It is known by one record for
 * both directions, in the zone where its packets enter: the virtual device, never a port or an
 * interface. Invariant: what a packet's state is does not change while its record is the same, so a
 * flow that was decided by it stays right until the record comes, or goes.
 */
import { formatIp, isIp6, type Ip } from '#net/ip.ts';

/**
 * The device where packets enter the virtual network, by its number as a network: the flood key of
 * a bridge, the network key of a router.
 */
export type Zone = number & { readonly brand: 'Zone' };

/**
 * One direction of a connection. `protocol`: of IP. Ports: of TCP and UDP; of an echo the
 * identifier is the port of who asks, and the port of who is asked is 0; of every other protocol
 * both are 0.
 */
export interface Tuple {
  readonly protocol: number;
  readonly src: Ip;
  readonly dst: Ip;
  readonly srcPort: number;
  readonly dstPort: number;
}
export const reversed = ({ protocol, src, dst, srcPort, dstPort }: Tuple): Tuple => ({
  protocol,
  src: dst,
  dst: src,
  srcPort: dstPort,
  dstPort: srcPort,
});

const ended = (ip: Ip, port: number): string => {
  const text = formatIp(ip);
  if (port === 0) return text;
  return isIp6(ip) ? `[${text}]:${port}` : `${text}:${port}`;
};
/** `tcp 10.0.0.1:1024 > 10.0.0.2:80`. */
export const formatTuple = ({ protocol, src, dst, srcPort, dstPort }: Tuple): string =>
  `${protocolName(protocol)} ${ended(src, srcPort)} > ${ended(dst, dstPort)}`;

const NAMES: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 58: 'icmp6' };
export const protocolName = (protocol: number): string => NAMES[protocol] ?? `protocol ${protocol}`;

/** Whether its answers look as it does itself: then nobody could tell them apart. */
export const isItsOwnAnswer = ({ src, dst, srcPort, dstPort }: Tuple): boolean =>
  src === dst && srcPort === dstPort;

/** An address, and a port of it as `Tuple` has ports. */
export interface Endpoint {
  readonly ip: Ip;
  readonly port: number;
}
export const sameEndpoint = (a: Endpoint, b: Endpoint): boolean =>
  a.ip === b.ip && a.port === b.port;
export const formatEndpoint = ({ ip, port }: Endpoint): string => ended(ip, port);

/**
 * What one router has made of one end of a connection, in the direction of who opened it: the
 * source, or the destination, was `from` and is `to` behind it. Answers are changed back.
 */
export interface Translation {
  readonly zone: Zone;
  readonly changes: 'source' | 'destination';
  readonly from: Endpoint;
  readonly to: Endpoint;
}
export const NO_TRANSLATIONS: readonly Translation[] = [];
/** Translations of one connection that are remembered; a packet that needs more is dropped. */
export const TRANSLATIONS_MAX = 4;

export const sameTranslation = (a: Translation, b: Translation): boolean =>
  a.zone === b.zone &&
  a.changes === b.changes &&
  sameEndpoint(a.from, b.from) &&
  sameEndpoint(a.to, b.to);
/** Whether two lists are equal, in their order. */
export const sameTranslations = (a: readonly Translation[], b: readonly Translation[]): boolean =>
  a.length === b.length && a.every((each, i) => sameTranslation(each, b[i]!));

/** By what a record is found. */
export interface ConnectionKey {
  readonly zone: Zone;
  readonly tuple: Tuple;
}

/**
 * 53 bits of a key as text, short. No secret is in it: whoever finds keys that collide has flows of
 * his own decided anew more often, nothing else.
 */
export const hashOfConnection = (key: ConnectionKey): string => hashOfKey(key).toString(36);

/** The same as a number; other numbers for each `seed`. */
export function hashOfKey({ zone, tuple }: ConnectionKey, seed = 0): number {
  const { protocol, src, dst, srcPort, dstPort } = tuple;
  let [a, b] = [zone ^ 0x9e3779b9 ^ seed, protocol ^ 0x85ebca6b ^ Math.imul(seed, 0x27d4eb2f)];
  const mix = (word: number): void => {
    a = Math.imul(a ^ word, 0x9e3779b1);
    a ^= a >>> 15;
    b = Math.imul(b ^ a ^ (word >>> 16), 0x85ebca77);
    b ^= b >>> 13;
  };
  for (const ip of [src, dst])
    if (typeof ip === 'number') mix(ip | 0);
    else for (let at = 0; at < 32; at += 8) mix(Number.parseInt(ip.slice(at, at + 8), 16) | 0);
  mix((srcPort << 16) | dstPort);
  mix(protocol);
  return (a >>> 0) * 2 ** 21 + ((b >>> 0) & 0x1fffff);
}

/**
 * `new`: in the direction of who opens it, its first packet and all later ones: they are held
 * against the rules of today. `established`: an answer to packets that were let through. `related`:
 * an ICMP error about a packet of a known connection. `invalid`: no stack sends such a packet.
 */
export const CONNECTION_STATES = ['new', 'established', 'related', 'invalid'] as const;
export type ConnectionState = (typeof CONNECTION_STATES)[number];

export const CONNECTION_PHASES = [
  'opening',
  'established',
  'closing',
  'closed',
  'unanswered',
  'answered',
] as const;
/**
 * How far a connection is. `opening`, `unanswered`: nothing came back yet; half-open.
 * `established`: of TCP, both directions were seen. `closing`: one said that it sends no more.
 * `closed`: both did, or one broke off. `answered`: of other protocols, both directions were seen.
 */
export type ConnectionPhase = (typeof CONNECTION_PHASES)[number];

/** `forward`: of who opened it. `return`: back. */
export type Direction = 'forward' | 'return';

/** Names one record: the slot is reused, the generation tells its tenants apart. */
export interface ConnectionRef {
  readonly slot: number;
  readonly generation: number;
}
export interface FoundConnection {
  readonly ref: ConnectionRef;
  readonly direction: Direction;
  readonly translations: readonly Translation[];
  /** The packet begins it anew after it had ended (RFC 9293 §3.6.1): nothing chosen holds. */
  readonly anew?: boolean;
}

/** What the simulation may ask of records; `flow/connections.ts` is the body. */
export interface ConnectionsView {
  /** The record that has this key, of either direction. Changes with `connectionTag`. */
  find(zone: Zone, tuple: Tuple): FoundConnection | undefined;
}

/** Where nobody keeps records: whatever is asked about is new. */
export const NO_CONNECTIONS: ConnectionsView = { find: () => undefined };

/** The records of one packet alone: all that is known of it is its state. */
export const assumed = (state: ConnectionState | undefined): ConnectionsView =>
  state === 'established' || state === 'related' ? EVERY_ANSWER : NO_CONNECTIONS;
const EVERY_ANSWER: ConnectionsView = {
  find: () => ({
    ref: { slot: 0, generation: 0 },
    direction: 'return',
    translations: NO_TRANSLATIONS,
  }),
};
