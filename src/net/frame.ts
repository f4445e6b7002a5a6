/**
 * Whole frames as layers, and back to bytes with every type, length and checksum filled in.
 *
 * Invariants: decoding is total: what cannot be decoded stays in `payload` byte for byte, nothing
 * throws. `encodeFrame(decodeFrame(bytes))` is `bytes` for every frame that has no `frameFault`.
 */
import { EMPTY_BYTES, write16 } from './bytes.ts';
import { checksum, pseudoSum } from './checksum.ts';
import { ARP_SIZE, decodeArp, encodeArp, type Arp } from './packet/arp.ts';
import { decodeEthernet, encodeEthernet, ethernetSize } from './packet/ethernet.ts';
import { ETHER_TYPE, type Ethernet } from './packet/ethernet.ts';
import { decodeIcmp, encodeIcmp, ICMP_SIZE, type Icmp } from './packet/icmp.ts';
import { decodeIcmp6, decodeNeighbour, encodeIcmp6 } from './packet/icmp6.ts';
import { encodeNeighbour, neighbourSize, type Icmp6, type Neighbour } from './packet/icmp6.ts';
import {
  decodeIpv4,
  encodeIpv4,
  IP_PROTOCOL,
  IPV4_SIZE,
  ipv4Size,
  type Ipv4,
} from './packet/ipv4.ts';
import { decodeIpv6, encodeIpv6, IPV6_SIZE, ipv6Size, type Ipv6 } from './packet/ipv6.ts';
import { decodeTcp, encodeTcp, tcpSize, type Tcp } from './packet/tcp.ts';
import { decodeUdp, encodeUdp, UDP_SIZE, type Udp } from './packet/udp.ts';

export type Network = Arp | Ipv4 | Ipv6;
export type Transport = Icmp | Icmp6 | Neighbour | Tcp | Udp;

/**
 * `network`: `undefined` for other EtherTypes and for what does not decode. `transport`:
 * `undefined` likewise, and in every fragment but the first. `payload`: what follows the last layer
 * decoded. `trailer`: bytes behind the end that the network layer declares (Ethernet padding). Both
 * are views of the frame.
 */
export interface Frame {
  readonly ethernet: Ethernet;
  readonly network: Network | undefined;
  readonly transport: Transport | undefined;
  readonly payload: Uint8Array;
  readonly trailer: Uint8Array;
}

/** What the length field of IP can tell. */
export const IP_LENGTH_MAX = 0xffff;
export const TTL_DEFAULT = 64;

const view = (bytes: Uint8Array, at: number, end: number): Uint8Array =>
  at < end ? bytes.subarray(at, end) : EMPTY_BYTES;

/** 0: whole; 1: the first fragment; 3: a later one. An atomic fragment (RFC 6946) is whole. */
export function fragmentKind(ip: Ipv4 | Ipv6): 0 | 1 | 3 {
  const offset = ip.kind === 'ipv4' ? ip.fragmentOffset : (ip.fragment?.offset ?? 0);
  const more = ip.kind === 'ipv4' ? ip.moreFragments : (ip.fragment?.more ?? false);
  if (offset > 0) return 3;
  return more ? 1 : 0;
}

function decodeNetwork(
  bytes: Uint8Array,
  at: number,
  end: number,
  type: number,
): Network | undefined {
  if (type === ETHER_TYPE.IPV4) return decodeIpv4(bytes, at, end);
  if (type === ETHER_TYPE.IPV6) return decodeIpv6(bytes, at, end);
  return type === ETHER_TYPE.ARP ? decodeArp(bytes, at, end) : undefined;
}

function decodeTransport(
  ip: Ipv4 | Ipv6,
  bytes: Uint8Array,
  at: number,
  end: number,
): Transport | undefined {
  if (ip.protocol === IP_PROTOCOL.TCP) return decodeTcp(bytes, at, end);
  if (ip.protocol === IP_PROTOCOL.UDP) return decodeUdp(bytes, at, end);
  if (ip.kind === 'ipv4') {
    return ip.protocol === IP_PROTOCOL.ICMP ? decodeIcmp(bytes, at, end) : undefined;
  }
  if (ip.protocol !== IP_PROTOCOL.ICMPV6) return undefined;
  const whole = end - at === ip.payloadLength - (ip.extensions?.length ?? 0);
  // Fragmented neighbour messages are not to be believed (RFC 6980 §5), cut ones have lost options.
  const neighbour =
    whole && ip.fragment === undefined ? decodeNeighbour(bytes, at, end) : undefined;
  return neighbour ?? decodeIcmp6(bytes, at, end);
}

/** Bytes that the network layer declares from its first byte on. */
const declaredLength = (network: Network): number => {
  if (network.kind === 'arp') return ARP_SIZE;
  return network.kind === 'ipv4' ? network.totalLength : network.payloadLength + IPV6_SIZE;
};
const networkSize = (network: Network): number => {
  if (network.kind === 'arp') return ARP_SIZE;
  return network.kind === 'ipv4' ? ipv4Size(network) : ipv6Size(network);
};
const transportSize = (transport: TransportLayer): number => {
  if (transport.kind === 'tcp') return tcpSize({ options: transport.options });
  if (transport.kind === 'neighbour') return neighbourSize(transport);
  return transport.kind === 'udp' ? UDP_SIZE : ICMP_SIZE;
};

/** The layers of a frame; `undefined` only when there is no whole Ethernet header. */
export function decodeFrame(bytes: Uint8Array): Frame | undefined {
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  if (ethernet === undefined) return undefined;
  const start = ethernetSize(ethernet);
  const network = decodeNetwork(bytes, start, bytes.length, ethernet.type);
  if (network === undefined) {
    const payload = view(bytes, start, bytes.length);
    return { ethernet, network, transport: undefined, payload, trailer: EMPTY_BYTES };
  }
  const end = Math.min(bytes.length, start + declaredLength(network));
  let at = start + networkSize(network);
  let transport: Transport | undefined;
  if (network.kind !== 'arp' && fragmentKind(network) !== 3) {
    transport = decodeTransport(network, bytes, at, end);
    if (transport !== undefined) at += transportSize(transport);
  }
  const payload = view(bytes, at, end);
  return { ethernet, network, transport, payload, trailer: view(bytes, end, bytes.length) };
}

type Layer<T extends { kind: string }, Needed extends keyof T> = Pick<T, Needed | 'kind'> &
  Partial<T>;
export type EthernetLayer = Pick<Ethernet, 'src' | 'dst'> & Partial<Ethernet>;
export type Ipv4Layer = Layer<Ipv4, 'src' | 'dst'>;
export type Ipv6Layer = Layer<Ipv6, 'src' | 'dst'>;
export type TransportLayer =
  | Layer<Icmp, 'type' | 'code'>
  | Layer<Icmp6, 'type' | 'code'>
  | Layer<Neighbour, 'type' | 'flags' | 'target' | 'options'>
  | Layer<Tcp, 'srcPort' | 'dstPort' | 'flags'>
  | Layer<Udp, 'srcPort' | 'dstPort'>;

/**
 * What a frame is made of; a decoded `Frame` is one. `ethernet.type` and the protocol follow from
 * the layers above and are needed only where there is none. Lengths and checksums are computed,
 * also when given, except: a fragment's transport layer keeps what it has (it speaks of the whole
 * datagram), and so does UDP over IPv4 with checksum 0 (none is sent). IPv6 `extensions` are taken
 * as they are, with `nextHeader` and `fragment`.
 */
export interface Layers {
  readonly ethernet: EthernetLayer;
  readonly network?: Arp | Ipv4Layer | Ipv6Layer | undefined;
  readonly transport?: TransportLayer | undefined;
  readonly payload?: Uint8Array | undefined;
  readonly trailer?: Uint8Array | undefined;
}

const PROTOCOL_OF = {
  icmp: IP_PROTOCOL.ICMP,
  icmp6: IP_PROTOCOL.ICMPV6,
  neighbour: IP_PROTOCOL.ICMPV6,
  tcp: IP_PROTOCOL.TCP,
  udp: IP_PROTOCOL.UDP,
} as const;
const TYPE_OF = {
  arp: ETHER_TYPE.ARP,
  ipv4: ETHER_TYPE.IPV4,
  ipv6: ETHER_TYPE.IPV6,
} as const;

const wholeIpv4 = (layer: Ipv4Layer, protocol: number): Ipv4 => ({
  tos: 0,
  totalLength: 0,
  id: 0,
  reserved: false,
  dontFragment: false,
  moreFragments: false,
  fragmentOffset: 0,
  ttl: TTL_DEFAULT,
  checksum: 0,
  options: undefined,
  ...layer,
  protocol,
});
const wholeIpv6 = (layer: Ipv6Layer, protocol: number): Ipv6 => ({
  trafficClass: 0,
  flowLabel: 0,
  payloadLength: 0,
  hopLimit: TTL_DEFAULT,
  extensions: undefined,
  fragment: undefined,
  ...layer,
  protocol,
  nextHeader: layer.extensions === undefined ? protocol : (layer.nextHeader ?? protocol),
});

function wholeNetwork(layers: Layers): Network | undefined {
  const { network, transport } = layers;
  if (network === undefined || network.kind === 'arp') return network;
  const protocol = transport === undefined ? network.protocol : PROTOCOL_OF[transport.kind];
  if (protocol === undefined) throw new TypeError('encodeFrame: no transport and no protocol');
  return network.kind === 'ipv4' ? wholeIpv4(network, protocol) : wholeIpv6(network, protocol);
}

/** Writes the layer; its checksum is 0 unless it belongs to a fragment. `length`: with payload. */
function encodeTransport(
  bytes: Uint8Array,
  at: number,
  layer: TransportLayer,
  { length, fragment }: { readonly length: number; readonly fragment: boolean },
): void {
  const sum = fragment ? (layer.checksum ?? 0) : 0;
  if (layer.kind === 'icmp') {
    encodeIcmp(bytes, at, { id: 0, sequence: 0, ...layer, checksum: sum });
  } else if (layer.kind === 'icmp6') {
    encodeIcmp6(bytes, at, { id: 0, sequence: 0, ...layer, checksum: sum });
  } else if (layer.kind === 'neighbour') {
    encodeNeighbour(bytes, at, { ...layer, checksum: sum });
  } else if (layer.kind === 'udp') {
    const told = fragment ? (layer.length ?? length) : length;
    encodeUdp(bytes, at, { ...layer, length: told, checksum: sum });
  } else {
    const rest = { sequence: 0, acknowledgement: 0, window: 0xffff, urgent: 0, options: undefined };
    encodeTcp(bytes, at, { ...rest, ...layer, checksum: sum });
  }
}

/** Offset of the checksum in the transport layer. */
export const CHECKSUM_AT = { icmp: 2, icmp6: 2, neighbour: 2, tcp: 16, udp: 6 } as const;

/**
 * What a transport checksum covers before the layer itself; `length` is the layer's with its
 * payload.
 */
export const transportSum = (ip: Ipv4 | Ipv6, kind: Transport['kind'], length: number): number =>
  kind === 'icmp'
    ? 0
    : pseudoSum({ src: ip.src, dst: ip.dst, protocol: PROTOCOL_OF[kind], length });

/** Puts the checksum of the layer at `at` into its place, which holds 0. */
function sealTransport(
  bytes: Uint8Array,
  at: number,
  end: number,
  { ip, kind }: { readonly ip: Ipv4 | Ipv6; readonly kind: Transport['kind'] },
): void {
  const value = checksum(bytes, at, end, transportSum(ip, kind, end - at));
  // RFC 768: a computed 0 is sent as all ones, for 0 means that there is none.
  const sent = value === 0 && kind === 'udp' ? 0xffff : value;
  write16(bytes, at + CHECKSUM_AT[kind], sent);
}

/**
 * Bytes of the frame from its network layer to the end of its payload. IP takes at most
 * IP_LENGTH_MAX, IPv6 behind its fixed header (RFC 8200 §3).
 */
export function networkLength(layers: Layers): number {
  const { network, transport, payload } = layers;
  let size = payload?.length ?? 0;
  if (transport !== undefined) size += transportSize(transport);
  if (network?.kind === 'arp') return size + ARP_SIZE;
  if (network?.kind === 'ipv4') return size + IPV4_SIZE + (network.options?.length ?? 0);
  if (network?.kind === 'ipv6') return size + IPV6_SIZE + (network.extensions?.length ?? 0);
  return size;
}

function encodeIp(bytes: Uint8Array, at: number, ip: Ipv4 | Ipv6, length: number): number {
  if (ip.kind === 'ipv6') {
    return encodeIpv6(bytes, at, { ...ip, payloadLength: length - IPV6_SIZE });
  }
  const end = encodeIpv4(bytes, at, { ...ip, totalLength: length, checksum: 0 });
  const value = checksum(bytes, at, end);
  write16(bytes, at + 10, value);
  return end;
}

/**
 * The bytes of a frame. Throws when a layer lacks what it needs or the IP layer outgrows its length
 * field.
 */
export function encodeFrame(layers: Layers): Uint8Array {
  const { transport, payload = EMPTY_BYTES, trailer = EMPTY_BYTES } = layers;
  const network = wholeNetwork(layers);
  const type = network === undefined ? layers.ethernet.type : TYPE_OF[network.kind];
  if (type === undefined) throw new TypeError('encodeFrame: no network layer and no EtherType');
  const ethernet = { tci: undefined, ...layers.ethernet, type };
  const length = networkLength(layers);
  const told = network?.kind === 'ipv6' ? length - IPV6_SIZE : length;
  if (network !== undefined && told > IP_LENGTH_MAX) {
    throw new RangeError(`encodeFrame: ${length} bytes do not fit into an IP packet`);
  }
  const start = ethernetSize(ethernet);
  const end = start + length;
  const bytes = new Uint8Array(end + trailer.length);
  let at = encodeEthernet(bytes, 0, ethernet);
  bytes.set(payload, end - payload.length);
  bytes.set(trailer, end);
  if (network === undefined) return bytes;
  if (network.kind === 'arp') {
    encodeArp(bytes, at, network);
    return bytes;
  }
  at = encodeIp(bytes, at, network, length);
  if (transport === undefined) return bytes;
  const fragment = fragmentKind(network) !== 0;
  const kept =
    fragment || (transport.kind === 'udp' && network.kind === 'ipv4' && transport.checksum === 0);
  encodeTransport(bytes, at, transport, { length: end - at, fragment });
  if (!kept) sealTransport(bytes, at, end, { ip: network, kind: transport.kind });
  return bytes;
}
