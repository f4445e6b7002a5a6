/**
 * A bridge answers for its seeded addresses: ARP requests (RFC 826) and neighbour solicitations
 * (RFC 4861 §7.2) get their reply at the edge, instead of being flooded to every host.
 *
 * Invariants: only what is beyond doubt is answered, everything else is forwarded as if there were
 * no seeds; header fields are read first and the payload last, so that a walk that need not look
 * stays cacheable and its mask small.
 */
import { checksum, pseudoSum } from '#net/checksum.ts';
import { encodeFrame } from '#net/frame.ts';
import {
  ALL_NODES6,
  formatIp,
  isIp6,
  isMulticastIp,
  isUnspecifiedIp,
  multicastMac,
  solicitedNode,
  type Ip,
  type Ip6,
} from '#net/ip.ts';
import { formatMac, isGroup } from '#net/mac.ts';
import { ARP_REPLY, ARP_REQUEST, decodeArp } from '#net/packet/arp.ts';
import { decodeEthernet, ETHER_TYPE, ethernetSize, type Ethernet } from '#net/packet/ethernet.ts';
import {
  decodeNeighbour,
  linkAddress,
  linkAddressOption,
  NA_FLAG,
  ND_HOP_LIMIT,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
  neighbourFault,
  TARGET_LINK_ADDRESS,
} from '#net/packet/icmp6.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { decodeIpv6, IPV6_SIZE, ipv6Size } from '#net/packet/ipv6.ts';
import { portTag, seededIpTag, seedsTag } from '../tags.ts';
import type { BridgeView, PortView } from '../view.ts';
import type { Walk } from '../walk.ts';
import type { Owner } from './seeds.ts';

/** `tpSrc` of a neighbour solicitation: type and code. */
const SOLICITATION = NEIGHBOUR_SOLICITATION << 8;

/** True when the bridge has answered: the frame is consumed. `from` is up. */
export function answer(walk: Walk, bridge: BridgeView, from: PortView): boolean {
  walk.tags.push(seedsTag(bridge.id));
  const arp = bridge.hasSeeds(4);
  const solicitations = bridge.hasSeeds(6);
  if (!arp && !solicitations) return false;
  const type = walk.match.get('ethType');
  if (type === ETHER_TYPE.ARP) return arp && answerArp(walk, bridge, from);
  if (type === ETHER_TYPE.IPV6) return solicitations && answerSolicitation(walk, bridge, from);
  return false;
}

/** Who is seeded with the address, if that is another port which is up. */
function ownerElsewhere(
  { tags, topology }: Walk,
  bridge: BridgeView,
  from: PortView,
  ip: Ip,
): Owner | undefined {
  tags.push(seededIpTag(bridge.id, ip));
  const owner = bridge.seededAddress(ip);
  if (owner === undefined || owner.port === from.id) return undefined;
  tags.push(portTag(owner.port));
  return topology.port(owner.port)?.adminStateUp === true ? owner : undefined;
}

function reply(walk: Walk, at: { bridge: BridgeView; from: PortView }, sent: Reply): true {
  walk.sends.push({ port: at.from.id, frame: sent.frame });
  const detail = `${formatIp(sent.ip)} is-at ${formatMac(sent.owner.mac)}`;
  walk.steps.push({ at: { kind: 'bridge', id: at.bridge.id }, did: 'answer', detail });
  return true;
}
interface Reply {
  readonly owner: Owner;
  readonly ip: Ip;
  readonly frame: Uint8Array;
}

function answerArp(walk: Walk, bridge: BridgeView, from: PortView): boolean {
  const { match } = walk;
  if (match.get('ipProto') !== ARP_REQUEST) return false;
  const ip = match.get('ipDst');
  if (isIp6(ip)) return false;
  const owner = ownerElsewhere(walk, bridge, from, ip);
  if (owner === undefined) return false;
  // Gratuitous: an announcement for all to hear, not a question.
  if (match.get('ipSrc') === ip) return false;
  const asker = match.get('ethSrc');
  const bytes = match.payload();
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  if (ethernet === undefined) return false;
  const asked = decodeArp(bytes, ethernetSize(ethernet), bytes.length);
  // The field holds the low byte of the operation only.
  if (asked?.operation !== ARP_REQUEST || asked.targetIp !== ip) return false;
  if (asked.senderMac !== asker || isGroup(asked.senderMac)) return false;
  const frame = encodeFrame({
    ethernet: headerTo(ethernet, { src: owner.mac, dst: asker }),
    network: {
      kind: 'arp',
      operation: ARP_REPLY,
      senderMac: owner.mac,
      senderIp: ip,
      targetMac: asker,
      targetIp: asked.senderIp,
    },
  });
  return reply(walk, { bridge, from }, { owner, ip, frame });
}

/** The header of a reply: in the VLAN, and with the priority, of what was asked. */
const headerTo = (
  { tci }: Ethernet,
  { src, dst }: Pick<Ethernet, 'src' | 'dst'>,
): Pick<Ethernet, 'src' | 'dst' | 'tci'> => ({ src, dst, tci });

/** RFC 4861 §7.1.1: what of a valid solicitation the fields show. */
function looksLikeSolicitation({ match }: Walk): boolean {
  return (
    match.get('ipProto') === IP_PROTOCOL.ICMPV6 &&
    match.get('tpSrc') === SOLICITATION &&
    match.get('ipFrag') === 0 &&
    match.get('ipTtl') === ND_HOP_LIMIT
  );
}

function answerSolicitation(walk: Walk, bridge: BridgeView, from: PortView): boolean {
  const { match, tags } = walk;
  if (!looksLikeSolicitation(walk)) return false;
  const dst = match.get('ipDst');
  if (!isIp6(dst)) return false;
  const toGroup = isMulticastIp(dst);
  let owner: Owner | undefined;
  if (toGroup) {
    tags.push(seededIpTag(bridge.id, dst));
    if (!bridge.hasSolicited(dst)) return false;
  } else {
    owner = ownerElsewhere(walk, bridge, from, dst);
    if (owner === undefined) return false;
  }
  const asker = match.get('ipSrc');
  if (!isIp6(asker) || isMulticastIp(asker)) return false;
  const asked = readSolicitation(match.payload(), match.get('ethSrc'));
  if (asked === undefined || asked.src !== asker || asked.dst !== dst) return false;
  const { target } = asked;
  if (toGroup) {
    if (solicitedNode(target) !== dst) return false;
    owner = ownerElsewhere(walk, bridge, from, target);
  } else if (target !== dst) return false;
  if (owner === undefined) return false;
  const frame = advertisement(asked, owner, match.get('ethSrc'));
  return reply(walk, { bridge, from }, { owner, ip: target, frame });
}

interface Solicitation {
  readonly ethernet: Ethernet;
  readonly src: Ip6;
  readonly dst: Ip6;
  readonly target: Ip6;
}

/** A solicitation that passes RFC 4861 §7.1.1 and does not name another sender; else undefined. */
function readSolicitation(bytes: Uint8Array, sender: Ethernet['src']): Solicitation | undefined {
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  if (ethernet === undefined) return undefined;
  const at = ethernetSize(ethernet);
  const ip = decodeIpv6(bytes, at, bytes.length);
  // Fragmented neighbour messages, atomic ones too, are not to be believed (RFC 6980 §5).
  if (ip === undefined || ip.fragment !== undefined) return undefined;
  const start = at + ipv6Size(ip);
  const end = at + IPV6_SIZE + ip.payloadLength;
  const message = decodeNeighbour(bytes, start, end);
  if (message?.type !== NEIGHBOUR_SOLICITATION) return undefined;
  if (neighbourFault(ip, message) !== undefined) return undefined;
  const { src, dst } = ip;
  const sum = pseudoSum({ src, dst, protocol: IP_PROTOCOL.ICMPV6, length: end - start });
  if (checksum(bytes, start, end, sum) !== 0) return undefined;
  if ((linkAddress(message) ?? sender) !== sender) return undefined;
  return { ethernet, src, dst, target: message.target };
}

/** RFC 4861 §7.2.4: to the asker, or to all nodes when that has no address yet. */
function advertisement(asked: Solicitation, owner: Owner, asker: Ethernet['src']): Uint8Array {
  const toAll = isUnspecifiedIp(asked.src);
  const dst = toAll ? multicastMac(ALL_NODES6) : asker;
  return encodeFrame({
    ethernet: headerTo(asked.ethernet, { src: owner.mac, dst }),
    network: {
      kind: 'ipv6',
      src: asked.target,
      dst: toAll ? ALL_NODES6 : asked.src,
      hopLimit: ND_HOP_LIMIT,
    },
    transport: {
      kind: 'neighbour',
      type: NEIGHBOUR_ADVERTISEMENT,
      flags: toAll ? NA_FLAG.OVERRIDE : NA_FLAG.SOLICITED + NA_FLAG.OVERRIDE,
      target: asked.target,
      options: [linkAddressOption(TARGET_LINK_ADDRESS, owner.mac)],
    },
  });
}
