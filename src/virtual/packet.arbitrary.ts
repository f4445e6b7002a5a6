/**
 * Random packets over a small alphabet of addresses, as bytes with the headers that they have; most
 * are about ARP and neighbour discovery, and many of those are broken in one way.
 */
import fc from 'fast-check';
import { decodeFrame, encodeFrame, fragmentKind } from '#net/frame.ts';
import type { Ipv4Layer, Layers } from '#net/frame.ts';
import {
  ALL_NODES6,
  parseIp,
  solicitedNode,
  UNSPECIFIED6,
  type Ip,
  type Ip4,
  type Ip6,
} from '#net/ip.ts';
import { BROADCAST, type Mac } from '#net/mac.ts';
import { linkAddressOption, SOURCE_LINK_ADDRESS } from '#net/packet/icmp6.ts';
import type { Headers } from './match.ts';

export interface Packet {
  readonly headers: Headers;
  readonly bytes: Uint8Array;
  /** Of its IP packet. */
  readonly size: number;
}

const one = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);

export const MACS = [
  0x020000000001, 0x020000000002, 0x020000000003, 0x020000000004,
] as unknown as readonly Mac[];
/** Of ports of routers. */
export const ROUTER_MACS = [0x020000000004, 0x020000000005] as unknown as readonly Mac[];
const ip = (text: string): Ip => {
  const address = parseIp(text);
  if (address === undefined) throw new Error(text);
  return address;
};
export const IP4S = ['10.0.0.1', '10.0.0.2', '10.0.0.3', '10.0.0.9', '10.0.1.2'].map(
  ip,
) as readonly Ip4[];
/** The first two are asked for at one solicited-node group. */
export const IP6S = ['fd00::1:2', 'fd00::2:1:2', 'fd00::3', 'fd00::9', 'fd00:1::2'].map(
  ip,
) as readonly Ip6[];
export const IPS: readonly Ip[] = [...IP4S, ...IP6S];

const GROUPS = [
  BROADCAST,
  0x01005e000001,
  0x333300000001,
  0x0180c200000e,
] as unknown as readonly Mac[];

const unicast = one(...MACS);
const anybody = one(...MACS, ...ROUTER_MACS);
const src = fc.oneof(
  { weight: 12, arbitrary: unicast },
  { weight: 1, arbitrary: one(0 as Mac, ...GROUPS) },
);
const dst = fc.oneof({ weight: 4, arbitrary: anybody }, { weight: 2, arbitrary: one(...GROUPS) });
/** None, VID 5 with and without a priority, and a priority tag, which is no VLAN. */
const tci = one(undefined, undefined, undefined, 5, 0x6005, 0x6000);
const ethernet = fc.record({ src, dst, tci });
/** Mostly as workloads send to routers. */
const packetEthernet = fc.oneof(
  { weight: 1, arbitrary: ethernet },
  {
    weight: 3,
    arbitrary: fc.record({
      src: unicast,
      dst: one(...ROUTER_MACS),
      tci: one(undefined, undefined, 0x6000),
    }),
  },
);
const ip4 = one(...IP4S);
const ip6 = one(...IP6S);

const arpLayers: fc.Arbitrary<Layers> = fc
  .record({
    ethernet,
    operation: one(1, 1, 1, 1, 2, 257),
    senderMac: fc.option(fc.oneof(unicast, one(BROADCAST)), { freq: 4, nil: undefined }),
    senderIp: fc.oneof({ weight: 4, arbitrary: ip4 }, { weight: 1, arbitrary: one(0 as Ip4) }),
    targetIp: ip4,
    honest: fc.integer({ min: 0, max: 4 }),
  })
  .map(({ ethernet: header, operation, senderMac, senderIp, targetIp, honest }) => ({
    ethernet: header,
    network: {
      kind: 'arp',
      operation,
      senderMac: honest > 0 ? header.src : (senderMac ?? header.src),
      senderIp,
      targetMac: 0 as Mac,
      targetIp,
    },
  }));

const solicitationLayers: fc.Arbitrary<Layers> = fc
  .record({
    ethernet,
    asker: fc.oneof(ip6, one(UNSPECIFIED6, UNSPECIFIED6, ALL_NODES6)),
    target: ip6,
    to: one('group', 'group', 'target', 'other'),
    other: ip6,
    hopLimit: one(255, 255, 255, 255, 64),
    link: one('honest', 'honest', 'none', 'other'),
    type: one(135, 135, 135, 135, 136),
  } as const)
  .map(({ ethernet: header, asker, target, to, other, hopLimit, link, type }): Layers => {
    const mac = link === 'other' ? (MACS[0] ?? header.src) : header.src;
    const told = link !== 'none' && (asker !== UNSPECIFIED6 || link === 'other');
    const group = solicitedNode(target);
    const dstIp = to === 'group' ? group : to === 'target' ? target : other;
    return {
      ethernet: header,
      network: { kind: 'ipv6', src: asker, dst: dstIp, hopLimit },
      transport: {
        kind: 'neighbour',
        type: type === 136 ? 136 : 135,
        flags: 0,
        target,
        options: told ? [linkAddressOption(SOURCE_LINK_ADDRESS, mac)] : [],
      },
    };
  });

const udpLayers: fc.Arbitrary<Layers> = fc
  .record({
    ethernet: packetEthernet,
    v6: fc.boolean(),
    from4: ip4,
    to4: ip4,
    from6: ip6,
    to6: ip6,
    ttl: one(1, 2, 3, 64),
    echo: fc.boolean(),
    dontFragment: fc.boolean(),
    length: one(0, 0, 100, 1300),
    part: one('whole', 'whole', 'whole', 'whole', 'first', 'later'),
  } as const)
  .map(({ ethernet: header, v6, from4, to4, from6, to6, ttl, ...rest }): Layers => {
    const { echo, dontFragment, length, part } = rest;
    const asked = { code: 0, id: 7, sequence: 1 };
    const layers = {
      ethernet: header,
      network: v6
        ? { kind: 'ipv6' as const, src: from6, dst: to6, hopLimit: ttl }
        : { kind: 'ipv4' as const, src: from4, dst: to4, ttl, dontFragment },
      transport: !echo
        ? ({ kind: 'udp', srcPort: 5353, dstPort: 4789 } as const)
        : v6
          ? ({ kind: 'icmp6', type: 128, ...asked } as const)
          : ({ kind: 'icmp', type: 8, ...asked } as const),
      payload: new Uint8Array(length),
    };
    const protocol = !echo ? 17 : v6 ? 58 : 1;
    return part === 'whole' ? layers : partOf(layers, protocol, part === 'later');
  });

/** A fragment; a later one has no transport layer. */
function partOf({ network, transport, ...rest }: Layers, protocol: number, later: boolean): Layers {
  const offset = later ? 1480 : 0;
  const upper = later ? undefined : transport;
  if (network?.kind !== 'ipv6') {
    const part = { fragmentOffset: offset, moreFragments: !later };
    return { ...rest, network: { ...(network as Ipv4Layer), ...part, protocol }, transport: upper };
  }
  const word = later ? offset : 1;
  const extensions = Uint8Array.of(protocol, 0, word >> 8, word & 0xff, 0, 0, 0, 7);
  const part = { nextHeader: 44, extensions, fragment: { id: 7, offset, more: !later } };
  return { ...rest, network: { ...network, ...part, protocol }, transport: upper };
}

const otherLayers: fc.Arbitrary<Layers> = fc
  .record({ ethernet, type: one(0x0800, 0x0806, 0x86dd, 0x88cc, 0x9000) })
  .map(({ ethernet: header, type }) => ({
    ethernet: { ...header, type },
    payload: new Uint8Array(46),
  }));

/** The frame, sometimes with a byte broken or its end cut off. */
const spoil = (layers: fc.Arbitrary<Layers>): fc.Arbitrary<Packet> =>
  fc
    .record({ layers, how: one('', '', '', '', '', 'cut', 'flip'), at: fc.nat({ max: 90 }) })
    .map(({ layers: whole, how, at }) => {
      const bytes = encodeFrame(whole);
      const place = 18 + (at % Math.max(1, bytes.length - 18));
      if (how === 'flip') bytes[place] = (bytes[place] ?? 0) ^ 1;
      const kept = how === 'cut' ? bytes.slice(0, place) : bytes;
      return { bytes: kept, headers: headersOf(kept), size: sizeOf(kept) };
    });

export const packets: fc.Arbitrary<Packet> = fc.oneof(
  { weight: 4, arbitrary: spoil(arpLayers) },
  { weight: 4, arbitrary: spoil(solicitationLayers) },
  { weight: 8, arbitrary: spoil(udpLayers) },
  { weight: 1, arbitrary: spoil(otherLayers) },
);

/** Bytes behind the Ethernet header and its tag. */
export function sizeOf(bytes: Uint8Array): number {
  const tagged = bytes[12] === 0x81 && bytes[13] === 0;
  return bytes.length - (tagged ? 18 : 14);
}

/** The headers of a frame that has at least an Ethernet header. */
export function headersOf(bytes: Uint8Array): Headers {
  const frame = decodeFrame(bytes);
  if (frame === undefined) throw new Error('too short');
  const { ethernet: header, network, transport } = frame;
  const out: { -readonly [F in keyof Headers]: Headers[F] } = {
    ethSrc: header.src,
    ethDst: header.dst,
    ethType: header.type,
    vlan: header.tci === undefined ? 0 : 0x1000 | (header.tci & 0xfff),
    ipSrc: header.type === 0x86dd ? UNSPECIFIED6 : (0 as Ip4),
    ipDst: header.type === 0x86dd ? UNSPECIFIED6 : (0 as Ip4),
    ipProto: 0,
    ipTos: 0,
    ipTtl: 0,
    ipFrag: 0,
    tpSrc: 0,
    tpDst: 0,
  };
  if (network?.kind === 'arp') {
    out.ipSrc = network.senderIp;
    out.ipDst = network.targetIp;
    out.ipProto = network.operation & 0xff;
  } else if (network !== undefined) {
    out.ipSrc = network.src;
    out.ipDst = network.dst;
    out.ipProto = network.protocol;
    out.ipTtl = network.kind === 'ipv4' ? network.ttl : network.hopLimit;
    out.ipTos = network.kind === 'ipv4' ? network.tos : network.trafficClass;
    out.ipFrag = fragmentKind(network);
  }
  if (transport?.kind === 'udp' || transport?.kind === 'tcp') {
    out.tpSrc = transport.srcPort;
    out.tpDst = transport.dstPort;
  } else if (transport?.kind === 'neighbour') out.tpSrc = transport.type << 8;
  else if (transport !== undefined) {
    out.tpSrc = (transport.type << 8) | transport.code;
    const echo = transport.kind === 'icmp' ? [0, 8] : [128, 129];
    if (echo.includes(transport.type)) out.tpDst = transport.id;
  }
  return out;
}

/** Headers that agree with `headers` on the fields of `keep`, and else with `others`. */
export const scramble = (
  headers: Headers,
  others: Headers,
  keep: readonly (keyof Headers)[],
): Headers =>
  ({ ...others, ...Object.fromEntries(keep.map((field) => [field, headers[field]])) }) as Headers;
