/**
 * What a router does with a frame (RFC 1812 §5, RFC 8200): hear neighbours, answer for its own
 * addresses, look up the route, count the TTL down, find the MAC of the next hop, send on.
 *
 * Invariants: nothing is forwarded that no router forwards; a packet leaves by the port of the
 * route chosen, or not at all; the source address is read only where a route depends on it, so that
 * one flow serves all senders. Sources that name no host are let through: hosts ignore them, and no
 * error is ever sent to one.
 */
import type { ErrorCause } from '#net/icmp-error.ts';
import {
  BROADCAST4,
  formatIp,
  isIp6,
  isLinkLocalIp,
  isLoopbackIp,
  isMulticastIp,
  isUnspecifiedIp,
  type Ip,
} from '#net/ip.ts';
import { isGroup, type Mac } from '#net/mac.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { decodeFrame } from '#net/frame.ts';
import type { RouterId } from '../ids.ts';
import { filter } from '../chain/filter.ts';
import { balanceIn, balanceOut, type Balancing } from '../load-balancer/balance.ts';
import { neighbourType } from '../nd.ts';
import type { Verdict } from '../outcome.ts';
import { bridgeTag, portTag, routerPortsTag, routerTag } from '../tags.ts';
import type { BridgeView, RouterPortView, RouterView, RouteView } from '../view.ts';
import { drop, type Next, type Walk } from '../walk.ts';
import { crossings, SEGMENT_BRIDGES_MAX } from '../bridge/links.ts';
import { addressTowards } from './ask.ts';
import { hear, isOwn } from './hear.ts';
import { deliverLocal } from './local.ts';
import { refuse } from './refuse.ts';
import { shareOf } from './share.ts';

/** `from` is up and belongs to `router`. */
export function enterRouter(walk: Walk, router: RouterView, from: RouterPortView): Next {
  const { match } = walk;
  const { at } = router.ready;
  const vlan = match.get('vlan');
  if ((vlan & 0xfff) !== 0) return drop(walk, at, 'not-for-router');
  const type = match.get('ethType');
  const ip = type === ETHER_TYPE.IPV4 || type === ETHER_TYPE.IPV6;
  if (!ip && type !== ETHER_TYPE.ARP) return drop(walk, at, 'not-for-router');
  const dst = match.get('ethDst');
  const mine = dst === from.mac;
  if (!mine && !isGroup(dst)) return drop(walk, at, 'not-for-router');
  if (!router.adminStateUp) {
    if (!ip || !mine) return drop(walk, at, 'router-down');
    return refuse(walk, router, from, { cause: 'admin-prohibited', reason: 'router-down' });
  }
  if (!ip || !mine) return listen(walk, router, from);
  // A priority tag ends where its bridge does: IEEE 802.1Q §6.9.1.
  if (vlan !== 0) match.set('vlan', 0);
  return filterIn(walk, router, from) ?? forwardIp(walk, router, from);
}

/**
 * The filters of what a router takes. Who asks for one of its addresses, or tells his own, is heard
 * without: that is as little theirs in IPv6 as it is in ARP.
 */
function filterIn(walk: Walk, router: RouterView, from: RouterPortView): Verdict | undefined {
  const { localFilter, inboundFilter, ready } = router;
  if (localFilter === undefined && inboundFilter === undefined) return undefined;
  const { match } = walk;
  if (match.get('ethType') === ETHER_TYPE.IPV6)
    if (isOwn(from, match.get('ipDst')) && neighbourType(match) !== undefined) return undefined;
  return filter(walk, ready.at, localFilter) ?? filter(walk, ready.at, inboundFilter);
}

/** Not a packet to forward: at most a question or news about a neighbour. */
const listen = (walk: Walk, { id }: RouterView, from: RouterPortView): Verdict =>
  hear(walk, from, true)
    ? { kind: 'answer' }
    : drop(walk, { kind: 'router', id }, 'not-for-router');

/** What the agent of another host heard at that port of this router which has the frame's MAC. */
export function enterHeard(walk: Walk, id: RouterId): Verdict {
  const at = { kind: 'router', id } as const;
  walk.tags.push(routerTag(id), routerPortsTag(id));
  const router = walk.topology.router(id);
  if (router?.adminStateUp !== true) return drop(walk, at, 'router-down');
  const dst = walk.match.get('ethDst');
  for (const each of [...router.ports].sort()) {
    walk.tags.push(portTag(each));
    const port = walk.topology.port(each);
    if (port?.type === 'router' && port.adminStateUp && port.mac === dst) hear(walk, port, false);
  }
  return { kind: 'answer' };
}

/** Addresses that no table is asked for (RFC 1812 §4.2.2.11, §5.3.7; RFC 4291 §2.4). */
const isNowhere = (ip: Ip): boolean =>
  isUnspecifiedIp(ip) || isMulticastIp(ip) || isLoopbackIp(ip) || ip === BROADCAST4;

function forwardIp(walk: Walk, router: RouterView, from: RouterPortView): Next {
  const { match, tags, steps } = walk;
  const { at } = router.ready;
  if (isNowhere(match.get('ipDst'))) return drop(walk, at, 'not-forwardable');
  const balancing = balanceIn(walk, router);
  if (typeof balancing === 'object') return balancing;
  if (balancing === 'own') return deliverLocal(walk, router, from);
  const dst = match.get('ipDst');
  tags.push(router.ready.destination(dst));
  const routes = router.routes(dst, () => match.get('ipSrc'));
  if (routes.length === 0)
    return refuse(walk, router, from, { cause: 'net-unreachable', reason: 'no-route' });
  const route = shareOf(match, routes);
  steps.push(router.ready.route(route, routes.length));
  if (route.kind === 'local') {
    // A link-local address is the port's, on that link only (RFC 4291 §2.5.6).
    if (isIp6(dst) && isLinkLocalIp(dst) && dst !== from.linkLocal)
      return drop(walk, at, 'not-forwardable');
    return deliverLocal(walk, router, from);
  }
  if (route.kind === 'blackhole') return drop(walk, at, 'route-blackhole');
  if (route.kind === 'reject')
    return refuse(walk, router, from, { cause: 'admin-prohibited', reason: 'route-reject' });
  if (isConfined(dst, route)) return drop(walk, at, 'not-forwardable');
  if (!match.decrementTtl())
    return refuse(walk, router, from, { cause: 'ttl-exceeded', reason: 'ttl-exceeded' });
  return sendOn(walk, { router, from, route, balancing });
}

/** Link-local addresses, and a network's own and broadcast address (RFC 3927 §7, RFC 2644). */
function isConfined(dst: Ip, { kind, destination }: RouteView): boolean {
  if (isLinkLocalIp(dst)) return isIp6(dst) || !isLinkLocalIp(destination.address);
  if (kind !== 'connected' || isIp6(dst) || isIp6(destination.address)) return false;
  if (destination.length >= 31) return false;
  return (
    dst === destination.address || dst === destination.address + 2 ** (32 - destination.length) - 1
  );
}

interface Way {
  readonly router: RouterView;
  readonly from: RouterPortView;
  readonly route: RouteView;
  readonly balancing: Balancing;
}

function sendOn(walk: Walk, { router, from, route, balancing }: Way): Next {
  const { match, tags, topology } = walk;
  const id = route.port;
  const out = id === undefined ? undefined : topology.port(id);
  if (id !== undefined) tags.push(out?.ready.tag ?? portTag(id));
  if (out?.type !== 'router') return drop(walk, router.ready.at, 'no-port');
  const { at } = router.ready;
  walk.outPort = out.id;
  const kept =
    filter(walk, at, router.forwardFilter) ??
    balanceOut(walk, { router, from, out, balancing }) ??
    filter(walk, at, router.outboundFilter);
  if (kept !== undefined) return kept;
  if (!fits(walk, out)) {
    const cause = { tooBig: out.mtu ?? 0 };
    return refuse(walk, router, from, { cause, reason: 'too-big' });
  }
  const next = route.gateway ?? match.get('ipDst');
  const mac = nextHop(walk, out, route, next);
  if (mac === undefined) {
    walk.steps.push({ at: out.ready.at, did: 'ask', detail: formatIp(next) });
    return { kind: 'wait', port: out.id, ip: next };
  }
  if (mac === 'unreachable') {
    const cause: ErrorCause = route.gateway === undefined ? 'host-unreachable' : 'net-unreachable';
    return refuse(walk, router, from, { cause, reason: 'neighbour-unreachable' });
  }
  if (out.outboundFilter !== undefined) walk.entered = match.rewrites();
  match.set('ethSrc', out.mac);
  match.set('ethDst', mac);
  walk.steps.push(out.ready.neighbour(next).send(mac));
  return { kind: 'leave', by: out.id };
}

/**
 * Whether the packet may leave by the port: it fits, or is to be cut (RFC 791 §2.3, RFC 8200 §5).
 */
function fits(walk: Walk, out: RouterPortView): boolean {
  const { match } = walk;
  if (out.mtu === undefined || match.fits(out.mtu)) return true;
  const ip = decodeFrame(match.payload())?.network;
  if (ip?.kind !== 'ipv4' || ip.dontFragment) return false;
  walk.cut = Math.min(out.mtu, walk.cut ?? out.mtu);
  walk.steps.push({ at: out.ready.at, did: 'cut', detail: String(out.mtu) });
  return true;
}

/** Undefined: nobody knows yet, ask. */
function nextHop(
  walk: Walk,
  out: RouterPortView,
  route: RouteView,
  next: Ip,
): Mac | 'unreachable' | undefined {
  const { topology, tags, state } = walk;
  const peer = out.peer === undefined ? undefined : topology.port(out.peer);
  if (out.peer !== undefined) tags.push(peer?.ready.tag ?? portTag(out.peer));
  if (peer?.type === 'router')
    // On a link of two there is nobody else to send to; but an address that it lacks is nobody's.
    return route.kind === 'connected' && !isOwn(peer, next) ? 'unreachable' : peer.mac;
  if (peer !== undefined) {
    const bridge = topology.bridge(peer.bridge);
    tags.push(bridge?.ready.tag ?? bridgeTag(peer.bridge));
    const seeded = bridge && seededIn(walk, bridge, next);
    if (seeded !== undefined) return seeded;
  }
  tags.push(out.ready.neighbour(next).tag);
  const known = state.neighbours.neighbour(out.id, next);
  if (known !== undefined) return known;
  return addressTowards(out, next) === undefined ? 'unreachable' : undefined;
}

/** The MAC seeded for an address, in a bridge or in those linked to it. */
function seededIn(walk: Walk, bridge: BridgeView, ip: Ip, before?: Set<string>): Mac | undefined {
  walk.tags.push(bridge.ready.seededIp(ip));
  const owner = bridge.seededAddress(ip);
  if (owner !== undefined) return owner.mac;
  const seen = before ?? new Set();
  seen.add(bridge.id);
  for (const { other } of crossings(walk, bridge, undefined)) {
    if (seen.has(other.id)) continue;
    if (seen.size >= SEGMENT_BRIDGES_MAX) return undefined;
    const found = seededIn(walk, other, ip, seen);
    if (found !== undefined) return found;
  }
  return undefined;
}
