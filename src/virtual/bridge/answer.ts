/**
 * A bridge answers for its seeded addresses: ARP requests (RFC 826) and neighbour solicitations
 * (RFC 4861 §7.2) get their reply at the edge, instead of being flooded to every host. Those for a
 * linked router go to the router alone, which answers itself.
 *
 * Invariants: only what is beyond doubt is answered, everything else is forwarded as if there were
 * no seeds; header fields are read first and the payload last, so that a walk that need not look
 * stays cacheable and its mask small.
 */
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
} from '#net/ip.ts';
import { formatMac, isGroup } from '#net/mac.ts';
import { arpReply, neighbourAdvertisement } from '#net/neighbours.ts';
import { ARP_REQUEST, decodeArp } from '#net/packet/arp.ts';
import { decodeEthernet, ETHER_TYPE, ethernetSize } from '#net/packet/ethernet.ts';
import { NEIGHBOUR_SOLICITATION } from '#net/packet/icmp6.ts';
import { neighbourType, readNeighbour, replyTag, SOLICITATION } from '../nd.ts';
import type { NeighbourMessage } from '../nd.ts';
import { portTag } from '../tags.ts';
import type { BridgeView, PortView } from '../view.ts';
import type { Next, Walk } from '../walk.ts';
import type { Owner } from './seeds.ts';

/**
 * What comes of a question that the bridge need not flood; undefined: it is none. `from` is up, and
 * the tag of seeds is in the walk already.
 */
export function answer(walk: Walk, bridge: BridgeView, from: PortView): Next | undefined {
  const arp = bridge.hasSeeds(4);
  const solicitations = bridge.hasSeeds(6);
  if (!arp && !solicitations) return undefined;
  const type = walk.match.get('ethType');
  if (type === ETHER_TYPE.ARP) return arp ? answerArp(walk, bridge, from) : undefined;
  if (type !== ETHER_TYPE.IPV6 || !solicitations) return undefined;
  return answerSolicitation(walk, bridge, from);
}

/** Who is seeded with the address, if that is another port which is up. */
function ownerElsewhere(
  { tags, topology }: Walk,
  bridge: BridgeView,
  from: PortView,
  ip: Ip,
): Owner | undefined {
  tags.push(bridge.ready.seededIp(ip));
  const owner = bridge.seededAddress(ip);
  if (owner === undefined || owner.port === from.id) return undefined;
  tags.push(portTag(owner.port));
  return topology.port(owner.port)?.adminStateUp === true ? owner : undefined;
}

/** The router that owns the address, if one does, is asked itself. */
const askRouter = ({ routerLinks }: BridgeView, { port }: Owner): Next | undefined =>
  routerLinks.has(port) ? { kind: 'leave', by: port } : undefined;

function reply(walk: Walk, at: { bridge: BridgeView; from: PortView }, sent: Reply): Next {
  walk.sends.push({ port: at.from.id, frame: sent.frame });
  const detail = `${formatIp(sent.ip)} is-at ${formatMac(sent.owner.mac)}`;
  walk.steps.push({ at: { kind: 'bridge', id: at.bridge.id }, did: 'answer', detail });
  return { kind: 'answer' };
}
interface Reply {
  readonly owner: Owner;
  readonly ip: Ip;
  readonly frame: Uint8Array;
}

function answerArp(walk: Walk, bridge: BridgeView, from: PortView): Next | undefined {
  const { match } = walk;
  if (match.get('ipProto') !== ARP_REQUEST) return undefined;
  const ip = match.get('ipDst');
  if (isIp6(ip)) return undefined;
  const owner = ownerElsewhere(walk, bridge, from, ip);
  if (owner === undefined) return undefined;
  // Gratuitous: an announcement for all to hear, not a question.
  if (match.get('ipSrc') === ip) return undefined;
  const router = askRouter(bridge, owner);
  if (router !== undefined) return router;
  const asker = match.get('ethSrc');
  const bytes = match.payload();
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  if (ethernet === undefined) return undefined;
  const asked = decodeArp(bytes, ethernetSize(ethernet), bytes.length);
  // The field holds the low byte of the operation only.
  if (asked?.operation !== ARP_REQUEST || asked.targetIp !== ip) return undefined;
  if (asked.senderMac !== asker || isGroup(asked.senderMac)) return undefined;
  const frame = encodeFrame(
    arpReply({
      senderMac: owner.mac,
      senderIp: ip,
      targetMac: asker,
      targetIp: asked.senderIp,
      tci: replyTag(match, (ethernet.tci ?? 0) & 0xf000),
    }),
  );
  return reply(walk, { bridge, from }, { owner, ip, frame });
}

function answerSolicitation(walk: Walk, bridge: BridgeView, from: PortView): Next | undefined {
  const { match, tags } = walk;
  if (neighbourType(match) !== SOLICITATION) return undefined;
  const dst = match.get('ipDst');
  if (!isIp6(dst)) return undefined;
  const toGroup = isMulticastIp(dst);
  let owner: Owner | undefined;
  if (toGroup) {
    tags.push(bridge.ready.seededIp(dst));
    if (!bridge.hasSolicited(dst)) return undefined;
  } else {
    owner = ownerElsewhere(walk, bridge, from, dst);
    if (owner === undefined) return undefined;
    const router = askRouter(bridge, owner);
    if (router !== undefined) return router;
  }
  const asker = match.get('ipSrc');
  if (!isIp6(asker) || isMulticastIp(asker)) return undefined;
  const asked = readNeighbour(match.payload(), match.get('ethSrc'));
  if (asked === undefined || asked.src !== asker || asked.dst !== dst) return undefined;
  if (asked.message.type !== NEIGHBOUR_SOLICITATION) return undefined;
  const { target } = asked.message;
  if (toGroup) {
    if (solicitedNode(target) !== dst) return undefined;
    owner = ownerElsewhere(walk, bridge, from, target);
  } else if (target !== dst) return undefined;
  if (owner === undefined) return undefined;
  const router = askRouter(bridge, owner);
  if (router !== undefined) return router;
  const frame = advertisement(walk, asked, owner);
  return reply(walk, { bridge, from }, { owner, ip: target, frame });
}

/** RFC 4861 §7.2.4: to the asker, or to all nodes when that has no address yet. */
function advertisement(
  { match }: Walk,
  { src, message, priority }: NeighbourMessage,
  owner: Owner,
): Uint8Array {
  const to = isUnspecifiedIp(src)
    ? { mac: multicastMac(ALL_NODES6), ip: ALL_NODES6 }
    : { mac: match.get('ethSrc'), ip: src };
  const tci = replyTag(match, priority);
  return encodeFrame(neighbourAdvertisement({ mac: owner.mac, target: message.target, to, tci }));
}
