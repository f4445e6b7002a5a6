/**
 * What a router port takes from ARP (RFC 826) and neighbour discovery (RFC 4861): it answers for
 * its own addresses, and remembers who has which address in its networks.
 *
 * Invariants: only sane senders are believed (the hardware address they tell is the one they send
 * from, the address is in a network of the port); a seeded address is never overridden; what tells
 * nothing new is not read, so that the flow of it can be cached. `Match` shows addresses but no
 * hardware addresses, so whoever is believed to be elsewhere makes the walk read the frame.
 */
import { encodeFrame } from '#net/frame.ts';
import {
  ALL_NODES6,
  formatIp,
  isIp6,
  isLinkLocalIp,
  isMulticastIp,
  isUnspecifiedIp,
  multicastMac,
  solicitedNode,
  type Ip,
  type Ip6,
} from '#net/ip.ts';
import { formatMac, isGroup, type Mac } from '#net/mac.ts';
import { arpReply, neighbourAdvertisement } from '#net/neighbours.ts';
import { ARP_REPLY, ARP_REQUEST, decodeArp } from '#net/packet/arp.ts';
import { decodeEthernet, ETHER_TYPE, ethernetSize } from '#net/packet/ethernet.ts';
import { linkAddress, NA_FLAG, NEIGHBOUR_SOLICITATION } from '#net/packet/icmp6.ts';
import { contains } from '#net/prefix.ts';
import { neighbourType, readNeighbour, replyTag, SOLICITATION } from '../nd.ts';
import type { NeighbourMessage } from '../nd.ts';
import { destinationTag, hearingTag, neighbourTag, seededIpTag } from '../tags.ts';
import type { RouterPortView } from '../view.ts';
import type { Walk } from '../walk.ts';

/** Whether an address is the port's own. */
export const isOwn = ({ networks, linkLocal }: RouterPortView, ip: Ip): boolean =>
  ip === linkLocal || networks.some(({ address }) => address === ip);
/** Whether the router has a VIP with an address of the port's networks: it is asked for, too. */
function ownsVip({ topology, tags }: Walk, port: RouterPortView, ip: Ip): boolean {
  const balancer = topology.balancer(port.router);
  if (balancer === undefined || !isNear(port, ip)) return false;
  tags.push(destinationTag(port.router, ip));
  return balancer.hasAddress(ip);
}
/** Whether a neighbour of the port can have the address. */
export const isNear = (port: RouterPortView, ip: Ip): boolean =>
  (isIp6(ip) && isLinkLocalIp(ip)) || port.networks.some((network) => contains(network, ip));

/**
 * A frame reached a port of a router, alone or with everybody. `answers`: this walk is the one that
 * has to answer. True when there was something in it for the router.
 */
export function hear(walk: Walk, port: RouterPortView, answers: boolean): boolean {
  // A router is in no VLAN: who is in one is no neighbour of its.
  if ((walk.match.get('vlan') & 0xfff) !== 0) return false;
  const type = walk.match.get('ethType');
  if (type === ETHER_TYPE.ARP) return hearArp(walk, port, answers);
  return type === ETHER_TYPE.IPV6 && hearNeighbour(walk, port, answers);
}

/** Whether the port is still to be told that this MAC has the address; `known`: as it believes. */
function isNews(walk: Walk, port: RouterPortView, ip: Ip): { readonly known: unknown } | undefined {
  if (!isNear(port, ip) || isOwn(port, ip)) return undefined;
  const peer = port.peer === undefined ? undefined : walk.topology.port(port.peer);
  if (peer?.bridge !== undefined) {
    walk.tags.push(seededIpTag(peer.bridge, ip));
    if (walk.topology.bridge(peer.bridge)?.seededAddress(ip) !== undefined) return undefined;
  }
  walk.tags.push(neighbourTag(port.id, ip));
  const known = walk.state.neighbours.neighbour(port.id, ip);
  if (known === walk.match.get('ethSrc')) {
    if (walk.match.get('ethDst') === port.mac) walk.confirms.push({ port: port.id, ip });
    return undefined;
  }
  if (known === undefined) {
    walk.tags.push(hearingTag(port.id));
    if (walk.from !== undefined) walk.tags.push(hearingTag(walk.from));
    if (!walk.state.neighbours.mayHear(port.id, walk.from)) return undefined;
  }
  return { known };
}

/** What this host heard itself is told at once, without the store, to whoever may have asked. */
function claim(walk: Walk, port: RouterPortView, ip: Ip, mac: Mac): void {
  const told = walk.tells.some((each) => each.router === port.router && each.mac === port.mac);
  if (walk.from !== undefined && !told) walk.tells.push({ router: port.router, mac: port.mac });
  walk.claims.push({ hear: { port: port.id, ip, mac, at: walk.from } });
  const detail = `${formatIp(ip)} is-at ${formatMac(mac)}`;
  walk.steps.push({ at: { kind: 'port', id: port.id }, did: 'hear', detail });
}

function hearArp(walk: Walk, port: RouterPortView, answers: boolean): boolean {
  const { match } = walk;
  const operation = match.get('ipProto');
  const sender = match.get('ipSrc');
  const target = match.get('ipDst');
  if (isIp6(sender) || isIp6(target)) return false;
  const asked = operation === ARP_REQUEST && (isOwn(port, target) || ownsVip(walk, port, target));
  const news = sender === 0 ? undefined : isNews(walk, port, sender);
  const gratuitous = sender === target;
  const told = operation === ARP_REPLY && match.get('ethDst') === port.mac;
  const believed = asked || gratuitous || told || (news?.known ?? undefined) !== undefined;
  const answering = asked && answers && (sender === 0 || isNear(port, sender));
  if (!answering && (news === undefined || !believed)) return asked || isNear(port, sender);
  const bytes = match.payload();
  const ethernet = decodeEthernet(bytes, 0, bytes.length);
  const arp = ethernet && decodeArp(bytes, ethernetSize(ethernet), bytes.length);
  const mac = match.get('ethSrc');
  // The field holds the low byte of the operation only.
  if (arp?.operation !== operation || arp.senderMac !== mac || isGroup(mac)) return false;
  if (news !== undefined && believed) claim(walk, port, sender, mac);
  if (!answering || isOwn(port, sender)) return true;
  const frame = encodeFrame(
    arpReply({
      senderMac: port.mac,
      senderIp: target,
      targetMac: mac,
      targetIp: sender,
      tci: replyTag(match, (ethernet?.tci ?? 0) & 0xf000),
    }),
  );
  send(walk, port, frame, target);
  return true;
}

function send(walk: Walk, port: RouterPortView, frame: Uint8Array, ip: Ip): void {
  walk.sends.push({ port: port.id, frame });
  const detail = `${formatIp(ip)} is-at ${formatMac(port.mac)}`;
  walk.steps.push({ at: { kind: 'port', id: port.id }, did: 'answer', detail });
}

function hearNeighbour(walk: Walk, port: RouterPortView, answers: boolean): boolean {
  const { match } = walk;
  const type = neighbourType(match);
  if (type === undefined) return false;
  const src = match.get('ipSrc');
  const dst = match.get('ipDst');
  if (!isIp6(src) || !isIp6(dst)) return false;
  if (type === SOLICITATION && !mayConcern(walk, port, dst)) return false;
  const heard = readNeighbour(match.payload(), match.get('ethSrc'));
  if (heard === undefined || heard.src !== src || heard.dst !== dst) return false;
  const { target } = heard.message;
  if (heard.message.type === NEIGHBOUR_SOLICITATION) {
    if (!isOwn(port, target) && !ownsVip(walk, port, target)) return false;
    if (!isUnspecifiedIp(src) && isNews(walk, port, src) !== undefined)
      claim(walk, port, src, match.get('ethSrc'));
    if (answers) advertise(walk, port, heard);
    return true;
  }
  // RFC 4861 §7.2.5; without a link address the sender's own is meant.
  const mac = linkAddress(heard.message) ?? match.get('ethSrc');
  const news = isGroup(mac) ? undefined : isNews(walk, port, target);
  const overrides = (heard.message.flags & NA_FLAG.OVERRIDE) !== 0;
  if (news === undefined || (!overrides && typeof news.known === 'number'))
    return isNear(port, target);
  claim(walk, port, target, mac);
  return true;
}

/** Whether a solicitation sent there may be for an address of the port. */
function mayConcern(walk: Walk, port: RouterPortView, dst: Ip6): boolean {
  const { networks, linkLocal } = port;
  const balancer = walk.topology.balancer(port.router);
  if (balancer !== undefined) {
    // A VIP that comes or goes is told by its address, which is not known from here.
    walk.match.payload();
    if (balancer.hasSolicited(dst) || balancer.hasAddress(dst)) return true;
  }
  for (const own of [linkLocal, ...networks.map(({ address }) => address)])
    if (isIp6(own) && (own === dst || solicitedNode(own) === dst)) return true;
  return false;
}

/** RFC 4861 §7.2.4: to the asker, or to all nodes when that has no address yet. */
function advertise(walk: Walk, port: RouterPortView, asked: NeighbourMessage): void {
  const { src, message, priority } = asked;
  const to =
    isUnspecifiedIp(src) || isMulticastIp(src)
      ? { mac: multicastMac(ALL_NODES6), ip: ALL_NODES6 }
      : { mac: walk.match.get('ethSrc'), ip: src };
  const tci = replyTag(walk.match, priority);
  const { target } = message;
  const frame = encodeFrame(
    neighbourAdvertisement({ mac: port.mac, target, to, router: true, tci }),
  );
  send(walk, port, frame, target);
}
