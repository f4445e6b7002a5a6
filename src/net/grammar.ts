/**
 * The protocols that a line of text can name (the grammar is in `text.ts`): each reads its own head
 * and says what may follow and what frame it makes.
 *
 * Invariant: a head complains to `words` and reads on; nothing it returns counts once there is a
 * complaint.
 */
import { TTL_DEFAULT, type Layers, type TransportLayer } from './frame.ts';
import { BROADCAST4, isIp6, isMulticastIp, multicastMac, solicitedNode } from './ip.ts';
import type { Ip, Ip4 } from './ip.ts';
import { BROADCAST, type Mac } from './mac.ts';
import { arpReply, arpRequest } from './neighbours.ts';
import { neighbourAdvertisement, neighbourSolicitation } from './neighbours.ts';
import { ETHER_TYPE } from './packet/ethernet.ts';
import { ICMP_WORDS } from './packet/icmp.ts';
import { ICMP6_WORDS, ND_HOP_LIMIT, NEIGHBOUR_ADVERTISEMENT } from './packet/icmp6.ts';
import { NEIGHBOUR_SOLICITATION } from './packet/icmp6.ts';
import { TCP_FLAG } from './packet/tcp.ts';
import type { Words } from './words.ts';

/** The Ethernet ends of the frame, and its tag. */
export interface Ends {
  readonly src: Mac;
  readonly dst: Mac;
  readonly tci: number | undefined;
}

/** The words behind a protocol's head: named numbers, words that stand alone, and the payload. */
export interface Rest {
  readonly numbers: ReadonlyMap<string, number>;
  readonly words: ReadonlySet<string>;
  readonly payload: Uint8Array | undefined;
  /** The place in the line of each of them. */
  readonly places: ReadonlyMap<string, number>;
}

/** A protocol whose head was read. `src`, `dst`: the MACs that follow from it. */
export interface Draft {
  readonly src?: Mac | undefined;
  readonly dst?: Mac | undefined;
  readonly numbers?: Readonly<Record<string, number>>;
  readonly words?: readonly string[];
  readonly payload?: boolean;
  layers(ends: Ends, rest: Rest): Layers;
}

const IP_NUMBERS = { ttl: 255, tos: 255 } as const;

/** The MAC that an IP destination implies: a group's, or everybody's. */
const groupMac = (dst: Ip): Mac | undefined => {
  if (dst === BROADCAST4) return BROADCAST;
  return isMulticastIp(dst) ? multicastMac(dst) : undefined;
};

interface IpPacket {
  readonly src: Ip;
  readonly dst: Ip;
  readonly transport?: TransportLayer | undefined;
  readonly protocol?: number | undefined;
}

/** Source and destination are of one family: the heads see to it. */
function ipLayers(ends: Ends, rest: Rest, { src, dst, transport, protocol }: IpPacket): Layers {
  const ttl = rest.numbers.get('ttl') ?? TTL_DEFAULT;
  const tos = rest.numbers.get('tos') ?? 0;
  const upper = protocol === undefined ? {} : { protocol };
  const network =
    isIp6(src) && isIp6(dst)
      ? { kind: 'ipv6' as const, src, dst, hopLimit: ttl, trafficClass: tos, ...upper }
      : { kind: 'ipv4' as const, src: src as Ip4, dst: dst as Ip4, ttl, tos, ...upper };
  return { ethernet: ends, network, transport, payload: rest.payload };
}

function arp(words: Words): Draft {
  if (words.take('who-has')) {
    const targetIp = ip4(words, 'who-has');
    words.expect('tell');
    const senderIp = ip4(words, 'tell');
    return {
      dst: BROADCAST,
      layers: ({ src, dst, tci }) => arpRequest({ senderMac: src, senderIp, targetIp, dst, tci }),
    };
  }
  words.expect('reply');
  const senderIp = ip4(words, 'reply');
  words.expect('is-at');
  const senderMac = words.mac('is-at');
  const told = words.take('to');
  const targetIp = told ? ip4(words, 'to') : senderIp;
  return {
    src: senderMac,
    dst: told ? undefined : BROADCAST,
    layers: (ethernet) => ({
      ...arpReply({ senderMac, senderIp, targetMac: ethernet.dst, targetIp }),
      ethernet,
    }),
  };
}

function ip4(words: Words, what: string): Ip4 {
  const ip = words.ip(what);
  if (!isIp6(ip)) return ip;
  words.fail(`${what}: must be an IPv4 address`);
  return 0 as Ip4;
}

/** `layers` with what the text may override in neighbour messages. */
const neighbourLayers = (layers: Layers, ethernet: Ends, { numbers }: Rest): Layers =>
  layers.network?.kind !== 'ipv6'
    ? layers
    : {
        ...layers,
        ethernet,
        network: {
          ...layers.network,
          hopLimit: numbers.get('ttl') ?? ND_HOP_LIMIT,
          trafficClass: numbers.get('tos') ?? 0,
        },
      };

function solicitation(words: Words): Draft {
  const senderIp = words.ip6('ns');
  words.expect('for');
  const target = words.ip6('for');
  const ip = words.take('to') ? words.ip6('to') : solicitedNode(target);
  if (isMulticastIp(target)) words.fail('for: must not be a multicast group');
  return {
    dst: groupMac(ip),
    numbers: IP_NUMBERS,
    layers: (ends, rest) => {
      const to = { mac: ends.dst, ip };
      const layers = neighbourSolicitation({ senderMac: ends.src, senderIp, target, to });
      return neighbourLayers(layers, ends, rest);
    },
  };
}

function advertisement(words: Words): Draft {
  const target = words.ip6('na');
  words.expect('is-at');
  const mac = words.mac('is-at');
  words.expect('to');
  const ip = words.ip6('to');
  if (isMulticastIp(target)) words.fail('na: must not be a multicast group');
  return {
    src: mac,
    dst: groupMac(ip),
    numbers: IP_NUMBERS,
    words: ['router'],
    layers: (ends, rest) => {
      const to = { mac: ends.dst, ip };
      const router = rest.words.has('router');
      return neighbourLayers(neighbourAdvertisement({ mac, target, to, router }), ends, rest);
    },
  };
}

/** `IP > IP`, of one family; of `family` when given. */
function pair(words: Words, what: string, family?: 4 | 6): { src: Ip; dst: Ip } {
  const src = words.ip(`${what} source`);
  words.expect('>');
  const dst = words.ip(`${what} destination`);
  if (isIp6(src) !== isIp6(dst)) words.fail(`${what}: both addresses must be of one family`);
  else if (family !== undefined && isIp6(src) !== (family === 6)) {
    words.fail(`${what}: must have IPv${family} addresses`);
  }
  return { src, dst };
}

const ICMP_NUMBERS = {
  ...IP_NUMBERS,
  id: 0xffff,
  seq: 0xffff,
  mtu: 0xffffffff,
  type: 255,
  code: 255,
} as const;

const icmp = (words: Words, kind: 'icmp' | 'icmp6'): Draft => {
  const table = kind === 'icmp' ? ICMP_WORDS : ICMP6_WORDS;
  const { src, dst } = pair(words, kind, kind === 'icmp' ? 4 : 6);
  return {
    dst: groupMac(dst),
    numbers: ICMP_NUMBERS,
    words: Object.keys(table),
    payload: true,
    layers: (ends, rest) => {
      const { numbers, places } = rest;
      const [word = 'echo', second] = rest.words;
      const at = (name: string) => ({ place: places.get(name) });
      if (second !== undefined)
        words.fail(`${kind}: '${word}' and '${second}' exclude each other`, at(second));
      if (rest.words.size > 0 && (numbers.has('type') || numbers.has('code'))) {
        words.fail(`${kind}: '${word}' stands for a type and code already`, at(word));
      }
      if (numbers.has('mtu') && (numbers.has('id') || numbers.has('seq'))) {
        words.fail('mtu: excludes id and seq, it takes their place', at('mtu'));
      }
      const plain = numbers.has('type') || numbers.has('code');
      const [type, code] = plain
        ? [numbers.get('type') ?? 0, numbers.get('code') ?? 0]
        : (table[word] ?? [0, 0]);
      const neighbour = type === NEIGHBOUR_SOLICITATION || type === NEIGHBOUR_ADVERTISEMENT;
      if (kind === 'icmp6' && neighbour)
        words.fail('type: 135 and 136 are written as ns and na', at('type'));
      const mtu = numbers.get('mtu') ?? 0;
      const id = numbers.get('id') ?? mtu >>> 16;
      const sequence = numbers.get('seq') ?? mtu & 0xffff;
      return ipLayers(ends, rest, { src, dst, transport: { kind, type, code, id, sequence } });
    },
  };
};

/** The two ends of UDP and TCP. */
function flow(words: Words, what: string): { src: Ip; dst: Ip; srcPort: number; dstPort: number } {
  const from = words.endpoint(`${what} source`);
  words.expect('>');
  const to = words.endpoint(`${what} destination`);
  if (isIp6(from.ip) !== isIp6(to.ip)) words.fail(`${what}: both ends must be of one family`);
  return { src: from.ip, dst: to.ip, srcPort: from.port, dstPort: to.port };
}

function udp(words: Words): Draft {
  const { src, dst, srcPort, dstPort } = flow(words, 'udp');
  return {
    dst: groupMac(dst),
    numbers: IP_NUMBERS,
    payload: true,
    layers: (ends, rest) =>
      ipLayers(ends, rest, { src, dst, transport: { kind: 'udp', srcPort, dstPort } }),
  };
}

/** Without a word about flags it is the first segment of a connection. */
function tcpFlags(given: ReadonlySet<string>): number {
  if (given.size === 0) return TCP_FLAG.syn;
  let flags = 0;
  for (const [word, bit] of Object.entries(TCP_FLAG)) if (given.has(word)) flags |= bit;
  return flags;
}

function tcp(words: Words): Draft {
  const { src, dst, srcPort, dstPort } = flow(words, 'tcp');
  return {
    dst: groupMac(dst),
    numbers: IP_NUMBERS,
    words: [...Object.keys(TCP_FLAG), 'noflags'],
    payload: true,
    layers: (ends, rest) => {
      if (rest.words.has('noflags') && rest.words.size > 1) {
        words.fail('noflags: excludes every flag', { place: rest.places.get('noflags') });
      }
      const flags = tcpFlags(rest.words);
      const transport = { kind: 'tcp', srcPort, dstPort, flags } as const;
      return ipLayers(ends, rest, { src, dst, transport });
    },
  };
}

function otherIp(words: Words): Draft {
  const { src, dst } = pair(words, 'ip');
  words.expect('proto');
  const protocol = words.number('proto', 255);
  return {
    dst: groupMac(dst),
    numbers: IP_NUMBERS,
    payload: true,
    layers: (ends, rest) => ipLayers(ends, rest, { src, dst, protocol }),
  };
}

function otherType(words: Words): Draft {
  const { place } = words;
  const type = words.hex16('type');
  return {
    payload: true,
    layers: (ends, rest) => {
      const tag = type === ETHER_TYPE.VLAN && ends.tci === undefined;
      const text = 'type: 0x8100 is written as vlan N before the protocol';
      if (tag) words.fail(text, { place });
      return { ethernet: { ...ends, type }, payload: rest.payload };
    },
  };
}

/** By the first word. */
export const PROTOCOLS: ReadonlyMap<string, (words: Words) => Draft> = new Map([
  ['arp', arp],
  ['ns', solicitation],
  ['na', advertisement],
  ['icmp', (words: Words) => icmp(words, 'icmp')],
  ['icmp6', (words: Words) => icmp(words, 'icmp6')],
  ['udp', udp],
  ['tcp', tcp],
  ['ip', otherIp],
  ['type', otherType],
]);
