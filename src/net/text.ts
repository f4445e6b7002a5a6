/**
 * Frames as one line of text, in and out.
 *
 *   [MAC > MAC] [vlan N] PROTOCOL … [ttl N] [tos N] [length N | data HEX]
 *
 *   arp who-has IP tell IP              arp reply IP is-at MAC [to IP]
 *   ns IP6 for IP6 [to IP6]             na IP6 is-at MAC to IP6 [router]
 *   icmp IP > IP [echo|reply|…|type N code N] [id N] [seq N] [mtu N]; icmp6 the same
 *   udp IP:PORT > IP:PORT               tcp IP:PORT > IP:PORT [syn|ack|fin|…|noflags]
 *   ip IP > IP proto N                  type 0xNNNN
 *
 * Invariant: what this grammar cannot say, `describeFrame` puts in parentheses. Text without
 * parentheses parses back to exactly the frame's bytes.
 */
import { hexOf } from './bytes.ts';
import { mismatch } from './fault.ts';
import { decodeFrame, encodeFrame, fragmentKind, IP_LENGTH_MAX, networkLength } from './frame.ts';
import { TTL_DEFAULT, type Frame, type Transport } from './frame.ts';
import { PROTOCOLS, type Draft, type Rest } from './grammar.ts';
import { isMulticastIp, isUnspecifiedIp } from './ip.ts';
import { formatIp6 } from './ip.ts';
import { formatMac, parseMac, ZERO_MAC, type Mac } from './mac.ts';
import { ARP_REPLY, ARP_REQUEST, describeArp, type Arp } from './packet/arp.ts';
import { describeEthernet, vlanId, type Ethernet } from './packet/ethernet.ts';
import { describeIcmp } from './packet/icmp.ts';
import { describeIcmp6, describeNeighbour, linkAddress, NA_FLAG } from './packet/icmp6.ts';
import { ND_HOP_LIMIT, NEIGHBOUR_SOLICITATION, type Neighbour } from './packet/icmp6.ts';
import { describeIpv4, type Ipv4 } from './packet/ipv4.ts';
import { describeIpv6, type Ipv6 } from './packet/ipv6.ts';
import { describeTcp, TCP_FLAG, type Tcp } from './packet/tcp.ts';
import { describeUdp } from './packet/udp.ts';
import { Words, type LineFault } from './words.ts';

/** Bytes that `data` takes and that `describeFrame` shows. */
export const DATA_MAX = 64;
/** Bytes shown of a payload that is longer. */
const PEEK_SIZE = 16;

/** The MACs to use where the text has none and none follow from it. */
export interface MacDefaults {
  readonly src?: Mac;
  readonly dst?: Mac;
}

/** The words behind the head, in any order, each at most once. */
function readRest(words: Words, protocol: string, draft: Draft): Rest {
  const numbers = new Map<string, number>();
  const alone = new Set<string>();
  const places = new Map<string, number>();
  let payload: Uint8Array | undefined;
  while (words.fault === undefined && words.peek() !== '') {
    const { place } = words;
    const word = words.next('a word');
    places.set(word, place);
    const max = Object.entries(draft.numbers ?? {}).find(([name]) => name === word)?.[1];
    if (numbers.has(word) || alone.has(word)) words.fail(`${word}: must be given once`);
    else if (max !== undefined) numbers.set(word, words.number(word, max));
    else if (draft.words?.includes(word) === true) alone.add(word);
    else if (draft.payload === true && (word === 'length' || word === 'data')) {
      if (payload !== undefined)
        words.fail('length, data: only one of them may be given, once', { place });
      else if (word === 'data') payload = words.bytes('data', DATA_MAX);
      else payload = new Uint8Array(words.number('length', IP_LENGTH_MAX));
    } else words.fail(`${protocol}: does not take '${word}'`, { may: mayFollow(draft, places) });
  }
  return { numbers, words: alone, payload, places };
}

/** The words that a head takes and that are not there yet. */
function mayFollow(draft: Draft, given: ReadonlyMap<string, number>): string {
  const numbers = Object.entries(draft.numbers ?? {}).map(([name, max]) => `${name} 0-${max}`);
  const payload = draft.payload === true ? ['length N', `data HEX`] : [];
  const all = [...(draft.words ?? []), ...numbers, ...payload];
  const left = all.filter((word) => !given.has(word.split(' ')[0] ?? ''));
  return left.length === 0 ? 'nothing more' : left.join(', ');
}

/** A line about a packet, and where that comes from: `udp 10.0.0.1:1 > 10.0.0.2:2 from vm1`. */
export interface PlacedPacket {
  /** The beginning of the line: places in it are places in the line. */
  readonly packet: string;
  /** What stands behind `from`; '' when nothing does; undefined without the word. */
  readonly from: string | undefined;
}

/** Parts a line at its first `from`: no packet has such a word, and a name may have blanks. */
export function splitOrigin(line: string): PlacedPacket {
  const found = /(?:^|\s)from(?=\s|$)/.exec(line);
  if (found === null) return { packet: line, from: undefined };
  return {
    packet: line.slice(0, found.index),
    from: line.slice(found.index + found[0].length).trim(),
  };
}

/**
 * The bytes of the frame that a line describes, with lengths and checksums filled in; or what is
 * wrong with it, and where. A line without MACs has those that follow from it (everybody for
 * `who-has`, a group's own MAC, the MAC of `is-at`), then those of `defaults`.
 */
export function parseFrameText(text: string, defaults: MacDefaults = {}): Uint8Array | LineFault {
  const words = new Words(text);
  let given: MacDefaults | undefined;
  if (parseMac(words.peek()) !== undefined) {
    const src = words.mac('source MAC');
    words.expect('>');
    given = { src, dst: words.mac('destination MAC') };
  }
  const tci = words.take('vlan') ? words.number('vlan', 0xfff) : undefined;
  const protocol = words.next('protocol');
  const head = PROTOCOLS.get(protocol);
  if (head === undefined) {
    words.fail(`'${protocol}': must be one of ${[...PROTOCOLS.keys()].join(', ')}`);
    return faultOf(words);
  }
  const draft = head(words);
  const rest = readRest(words, protocol, draft);
  const src = given?.src ?? draft.src ?? defaults.src;
  const dst = given?.dst ?? draft.dst ?? defaults.dst;
  const first = { place: 0, may: 'MAC > MAC, in front of the protocol' };
  if (src === undefined) words.fail('source MAC: does not follow; begin with MAC > MAC', first);
  if (dst === undefined)
    words.fail('destination MAC: does not follow; begin with MAC > MAC', first);
  if (words.fault !== undefined) return words.fault;
  const layers = draft.layers({ src: src ?? ZERO_MAC, dst: dst ?? ZERO_MAC, tci }, rest);
  if (networkLength(layers) > IP_LENGTH_MAX) {
    const place = rest.places.get('length');
    words.fail(`length: must leave the packet at most ${IP_LENGTH_MAX} bytes`, { place });
  }
  return words.fault ?? encodeFrame(layers);
}

function faultOf({ fault }: Words): LineFault {
  if (fault === undefined) throw new Error('text: there is no complaint');
  return fault;
}

function describePayload(payload: Uint8Array, notes: string[]): string {
  if (payload.length === 0) return '';
  if (payload.every((byte) => byte === 0)) return ` length ${payload.length}`;
  if (payload.length <= DATA_MAX) return ` data ${hexOf(payload)}`;
  notes.push(`begins ${hexOf(payload.subarray(0, PEEK_SIZE))}`);
  return ` length ${payload.length}`;
}

function noteArp(arp: Arp, ethernet: Ethernet, notes: string[]): void {
  if (arp.operation === ARP_REQUEST) {
    if (arp.senderMac !== ethernet.src) notes.push(`sender ${formatMac(arp.senderMac)}`);
    if (arp.targetMac !== 0) notes.push(`target ${formatMac(arp.targetMac)}`);
  } else if (arp.operation === ARP_REPLY && arp.targetMac !== ethernet.dst) {
    notes.push(`target ${formatMac(arp.targetMac)}`);
  }
}

function noteIp(ip: Ipv4 | Ipv6, notes: string[]): void {
  if (ip.kind === 'ipv4') {
    if (ip.id !== 0) notes.push(`ip id ${ip.id}`);
    if (ip.dontFragment) notes.push('df');
    if (ip.reserved) notes.push('reserved bit');
    if (ip.options !== undefined) notes.push(`ip options ${hexOf(ip.options)}`);
  } else {
    if (ip.flowLabel !== 0) notes.push(`flow label ${ip.flowLabel}`);
    if (ip.fragment !== undefined) notes.push(`fragment id ${ip.fragment.id}`);
    if (ip.extensions !== undefined) notes.push(`extension headers ${ip.extensions.length} bytes`);
  }
  if (fragmentKind(ip) === 0) return;
  const offset = ip.kind === 'ipv4' ? ip.fragmentOffset : ip.fragment?.offset;
  const more = ip.kind === 'ipv4' ? ip.moreFragments : ip.fragment?.more;
  notes.push(`fragment at ${offset}${more === true ? ', more follow' : ''}`);
}

function noteTcp(tcp: Tcp, notes: string[]): void {
  const listed = Object.values(TCP_FLAG).reduce((all, bit) => all | bit, 0);
  if (tcp.sequence !== 0) notes.push(`seq ${tcp.sequence}`);
  if (tcp.acknowledgement !== 0) notes.push(`ack ${tcp.acknowledgement}`);
  if (tcp.window !== 0xffff) notes.push(`win ${tcp.window}`);
  if (tcp.urgent !== 0) notes.push(`urg ${tcp.urgent}`);
  if ((tcp.flags & ~listed) !== 0) notes.push(`reserved flags ${tcp.flags >>> 8}`);
  if (tcp.options !== undefined) notes.push(`tcp options ${hexOf(tcp.options)}`);
}

/**
 * Notes what `ns` and `na` do not say, which is what differs from the frames of `neighbours.ts`.
 */
function noteNeighbour(message: Neighbour, ip: Ipv6, src: Mac, notes: string[]): void {
  const mac = linkAddress(message);
  if (message.type === NEIGHBOUR_SOLICITATION) {
    const expected = isUnspecifiedIp(ip.src) ? undefined : src;
    if (message.flags !== 0) notes.push(`flags 0x${message.flags.toString(16)}`);
    if (mac !== expected) notes.push(mac === undefined ? 'no source MAC' : formatMac(mac));
  } else {
    const solicited = isMulticastIp(ip.dst) ? 0 : NA_FLAG.SOLICITED;
    const flags = message.flags >= NA_FLAG.ROUTER ? message.flags - NA_FLAG.ROUTER : message.flags;
    if (flags !== NA_FLAG.OVERRIDE + solicited) notes.push(`flags 0x${message.flags.toString(16)}`);
    if (ip.src !== message.target) notes.push(`from ${formatIp6(ip.src)}`);
    if (mac === undefined) notes.push('no target MAC');
  }
  const others = message.options.length - (mac === undefined ? 0 : 1);
  if (others > 0) notes.push(`${others} other options`);
}

function describeTransport(
  ip: Ipv4 | Ipv6,
  transport: Transport | undefined,
  ethernet: Ethernet,
  notes: string[],
): string {
  if (transport?.kind === 'tcp') {
    noteTcp(transport, notes);
    return describeTcp(ip.src, ip.dst, transport);
  }
  if (transport?.kind === 'udp') {
    if (ip.kind === 'ipv4' && transport.checksum === 0) notes.push('no udp checksum');
    return describeUdp(ip.src, ip.dst, transport);
  }
  if (ip.kind === 'ipv4') {
    return transport?.kind === 'icmp' ? describeIcmp(ip.src, ip.dst, transport) : describeIpv4(ip);
  }
  if (transport?.kind === 'icmp6') return describeIcmp6(ip.src, ip.dst, transport);
  if (transport?.kind !== 'neighbour') return describeIpv6(ip);
  noteNeighbour(transport, ip, ethernet.src, notes);
  return describeNeighbour(ip.src, ip.dst, transport);
}

function describeNetwork(bytes: Uint8Array, frame: Frame, notes: string[]): string {
  const { ethernet, network, transport } = frame;
  if (network === undefined) return `type 0x${ethernet.type.toString(16).padStart(4, '0')}`;
  if (network.kind === 'arp') {
    noteArp(network, ethernet, notes);
    return describeArp(network);
  }
  let text = describeTransport(network, transport, ethernet, notes);
  const [ttl, tos] =
    network.kind === 'ipv4' ? [network.ttl, network.tos] : [network.hopLimit, network.trafficClass];
  if (ttl !== (transport?.kind === 'neighbour' ? ND_HOP_LIMIT : TTL_DEFAULT)) text += ` ttl ${ttl}`;
  if (tos !== 0) text += ` tos ${tos}`;
  noteIp(network, notes);
  const wrong = mismatch(bytes, frame);
  if (wrong !== undefined) notes.push(wrong);
  return text;
}

/**
 * One line about any bytes: `02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell
 * 10.0.0.1`. Never throws. What `parseFrameText` cannot read back stands in parentheses.
 */
export function describeFrame(bytes: Uint8Array): string {
  const frame = decodeFrame(bytes);
  if (frame === undefined) return `(${bytes.length} bytes, no Ethernet frame)`;
  const { ethernet } = frame;
  const notes: string[] = [];
  if (ethernet.tci !== undefined && ethernet.tci !== vlanId(ethernet.tci)) {
    notes.push(`priority bits ${ethernet.tci >>> 12}`);
  }
  let text = `${describeEthernet(ethernet)} ${describeNetwork(bytes, frame, notes)}`;
  text += describePayload(frame.payload, notes);
  if (frame.trailer.length > 0) notes.push(`trailer ${frame.trailer.length} bytes`);
  return notes.length === 0 ? text : `${text} (${notes.join(', ')})`;
}
