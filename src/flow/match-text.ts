/**
 * What a flow matches, in the words of the grammar of frames (`net/text.ts`): `MAC > MAC tcp
 * 10.0.0.5:3333 > 10.0.1.7:80`.
 *
 * Invariant: only fields that are matched are told. One that is not stands as `*` where the other
 * of its pair is told, and is left out elsewhere; a field whose value the grammar takes for granted
 * (no tag, no fragment) is left out too, so the list of fields says more than the text.
 */
import { formatIp, type Ip } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { ICMP_WORDS } from '#net/packet/icmp.ts';
import { ICMP6_WORDS } from '#net/packet/icmp6.ts';
import { hasField, type Field, type FieldSet, type Headers } from '#virtual/match.ts';
import { FRAG_LATER, headersOf } from './parse.ts';

const PROTO = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;
const ARP_OPERATION = { request: 1, reply: 2 } as const;

/** The headers of a flow, as far as it matches them. */
type Told = { readonly [F in Field]: Headers[F] | undefined };

function toldOf(key: Uint8Array, fields: FieldSet): Told {
  const headers = headersOf(key);
  const told = { ...headers } as { [F in Field]: Headers[F] | undefined };
  for (const field of Object.keys(told) as Field[])
    if (!hasField(fields, field)) told[field] = undefined;
  return told;
}

const any = <T>(value: T | undefined, text: (value: T) => string): string =>
  value === undefined ? '*' : text(value);

/** `A > B`, with `*` for one that is not told; nothing when none is. */
function pair<T>(a: T | undefined, b: T | undefined, text: (value: T) => string): string[] {
  return a === undefined && b === undefined ? [] : [any(a, text), '>', any(b, text)];
}

/** RFC 5952 §6: an IPv6 address with a port stands in brackets. */
function endpoint(ip: Ip | undefined, port: number | undefined): string | undefined {
  if (ip === undefined && port === undefined) return undefined;
  const address = any(ip, formatIp);
  if (port === undefined) return address;
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

function arpWords({ ipProto, ipSrc, ipDst }: Told): string[] {
  if (ipSrc === undefined && ipDst === undefined) {
    if (ipProto === ARP_OPERATION.request) return ['arp', 'who-has'];
    return ipProto === ARP_OPERATION.reply ? ['arp', 'reply'] : ['arp'];
  }
  if (ipProto === ARP_OPERATION.request)
    return ['arp', 'who-has', any(ipDst, formatIp), 'tell', any(ipSrc, formatIp)];
  if (ipProto === ARP_OPERATION.reply)
    return ['arp', 'reply', any(ipSrc, formatIp), 'to', any(ipDst, formatIp)];
  return ['arp', ...pair(ipSrc, ipDst, formatIp)];
}

function icmpWords(word: 'icmp' | 'icmp6', { ipSrc, ipDst, tpSrc, tpDst }: Told): string[] {
  const words = [word, ...pair(ipSrc, ipDst, formatIp)];
  if (tpSrc !== undefined) {
    const [type, code] = [tpSrc >> 8, tpSrc & 0xff];
    const table = Object.entries(word === 'icmp' ? ICMP_WORDS : ICMP6_WORDS);
    const known = table.find(([, [t, c]]) => t === type && c === code)?.[0];
    words.push(known ?? `type ${type} code ${code}`);
  }
  if (tpDst !== undefined && tpDst !== 0) words.push(`id ${tpDst}`);
  return words;
}

function ipWords(told: Told): string[] {
  const { ethType, ipSrc, ipDst, ipProto, tpSrc, tpDst } = told;
  if (ipProto === PROTO.icmp && ethType === ETHER_TYPE.IPV4) return icmpWords('icmp', told);
  if (ipProto === PROTO.icmp6 && ethType === ETHER_TYPE.IPV6) return icmpWords('icmp6', told);
  if (ipProto === PROTO.tcp || ipProto === PROTO.udp) {
    const ends = pair(endpoint(ipSrc, tpSrc), endpoint(ipDst, tpDst), (text) => text);
    return [ipProto === PROTO.tcp ? 'tcp' : 'udp', ...ends];
  }
  const version = ethType === ETHER_TYPE.IPV6 ? 'ip6' : 'ip';
  const ends = pair(ipSrc, ipDst, formatIp);
  // The family shows in the addresses.
  const words = [ends.length > 0 ? 'ip' : version, ...ends];
  return ipProto === undefined ? words : [...words, `proto ${ipProto}`];
}

function protocolWords(told: Told): string[] {
  const { ethType } = told;
  if (ethType === undefined) return [];
  if (ethType === ETHER_TYPE.ARP) return arpWords(told);
  if (ethType === ETHER_TYPE.IPV4 || ethType === ETHER_TYPE.IPV6) return ipWords(told);
  return [`type 0x${ethType.toString(16).padStart(4, '0')}`];
}

/** `key`: KEY_SIZE bytes, masked or not. A flow that matches nothing of a frame is `any`. */
export const matchText = (key: Uint8Array, fields: FieldSet): string => textOf(toldOf(key, fields));

/** A packet, but for what changes from hop to hop and says little. */
export const packetText = (headers: Headers): string =>
  textOf({ ...headers, ipTtl: undefined, ipTos: undefined });

function textOf(told: Told): string {
  const { ethSrc, ethDst, vlan, ipTtl, ipTos, ipFrag } = told;
  const words = [
    ...pair(ethSrc, ethDst, formatMac),
    ...(vlan === undefined || vlan === 0 ? [] : [`vlan ${vlan & 0xfff}`]),
    ...protocolWords(told),
    ...(ipTtl === undefined ? [] : [`ttl ${ipTtl}`]),
    ...(ipTos === undefined ? [] : [`tos ${ipTos}`]),
    ...(ipFrag === undefined || ipFrag === 0
      ? []
      : [ipFrag === FRAG_LATER ? 'later fragment' : 'first fragment']),
  ];
  return words.length === 0 ? 'any' : words.join(' ');
}
