/**
 * Which of several equal routes a connection takes: the one with the highest score for it
 * (rendezvous hashing), so that every agent chooses alike, both directions of a connection choose
 * alike, and a route that goes moves only its own connections.
 */
import { isIp6, type Ip } from '#net/ip.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import type { RouteView } from '../view.ts';
import type { Match } from '../match.ts';

/** The finalizer of MurmurHash3, 32 bits: every bit of the input alters half of the output's. */
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h);
}

const hashEnd = (ip: Ip, port: number): number =>
  mix((isIp6(ip) ? hashText(ip) : mix(ip)) ^ Math.imul(port + 1, 0x9e3779b1));

/** Equal for both directions of a connection; fragments, which have no ports, go together. */
export function connectionHash(match: Match): number {
  const proto = match.get('ipProto');
  const whole = match.get('ipFrag') === 0;
  const ports = whole && (proto === IP_PROTOCOL.TCP || proto === IP_PROTOCOL.UDP);
  const a = hashEnd(match.get('ipSrc'), ports ? match.get('tpSrc') : 0);
  const b = hashEnd(match.get('ipDst'), ports ? match.get('tpDst') : 0);
  return mix(Math.min(a, b) ^ mix(Math.max(a, b) ^ proto));
}

/**
 * What a route is chosen by: where it leads, not the id that it happened to get. So a route that is
 * made anew takes the connections it had, and one that is only proposed can be asked.
 */
const hashWay = ({ port, gateway, kind }: RouteView): number =>
  mix(hashText(port ?? kind) ^ (gateway === undefined ? 0 : hashEnd(gateway, 0)));

/** `routes`: at least one. Those that lead the same way are told apart by their ids. */
export function shareOf(match: Match, routes: readonly RouteView[]): RouteView {
  let best = routes[0]!;
  if (routes.length === 1) return best;
  const connection = connectionHash(match);
  let high = -1;
  for (const route of routes) {
    const score = mix(connection ^ hashWay(route));
    if (score < high || (score === high && route.id > best.id)) continue;
    high = score;
    best = route;
  }
  return best;
}
