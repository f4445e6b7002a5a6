/**
 * What a router does with packets for its own addresses: it answers echo requests (RFC 1812
 * §4.3.3.6, RFC 4443 §4.2) and neighbours, and refuses the rest as a host on which nothing listens.
 *
 * Invariant: of what comes in fragments only echo requests are put together; neighbours are not
 * heard in parts (RFC 6980 §5).
 */
import { IPV4_MTU_MIN, IPV6_MTU_MIN } from '#net/fragment.ts';
import { formatIp, isIp6 } from '#net/ip.ts';
import { ETHERNET_SIZE } from '#net/packet/ethernet.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { echoReply, tcpReset } from '#net/reply.ts';
import { aboutOf, received } from '../nat/received.ts';
import { errorsTag } from '../tags.ts';
import type { RouterPortView, RouterView } from '../view.ts';
import { drop, type Next, type Walk } from '../walk.ts';
import { hear } from './hear.ts';
import { refuse } from './refuse.ts';
import { untagged } from './untagged.ts';

/** `tpSrc` of echo requests: type and code. */
const ECHO = 8 << 8;
const ECHO6 = 128 << 8;
/** `ipFrag` of a first fragment; that of later ones is larger. */
const FIRST = 1;

export function deliverLocal(walk: Walk, router: RouterView, from: RouterPortView): Next {
  const { match } = walk;
  const at = { kind: 'router', id: router.id } as const;
  const six = isIp6(match.get('ipDst'));
  const proto = match.get('ipProto');
  const icmp = proto === (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP);
  const part = match.get('ipFrag');
  // Only the first fragment says what it is a part of.
  const echoes = icmp && (part > FIRST || match.get('tpSrc') === (six ? ECHO6 : ECHO));
  if (part !== 0) {
    if (!echoes) return drop(walk, at, 'local-refused');
    match.payload();
    return { kind: 'collect' };
  }
  if (echoes) return echo(walk, router, from);
  if (icmp && six && hear(walk, from, true)) return { kind: 'answer' };
  if (proto === IP_PROTOCOL.ICMP || proto === IP_PROTOCOL.ICMPV6)
    return drop(walk, at, 'local-refused');
  if (proto === IP_PROTOCOL.TCP) return reset(walk, router, from);
  const cause = proto === IP_PROTOCOL.UDP ? 'port-unreachable' : 'protocol-unreachable';
  return refuse(walk, router, from, { cause, reason: 'local-refused' });
}

function echo(walk: Walk, { id }: RouterView, from: RouterPortView): Next {
  const { match } = walk;
  const at = { kind: 'router', id } as const;
  const macs = { src: from.mac, dst: match.get('ethSrc') };
  const frame = echoReply(untagged(received(walk)), macs);
  if (frame === undefined) return drop(walk, at, 'local-refused');
  const most = Math.max(match.size, isIp6(match.get('ipDst')) ? IPV6_MTU_MIN : IPV4_MTU_MIN);
  const larger = frame.length - ETHERNET_SIZE > most;
  walk.sends.push({ port: from.id, frame, ...(larger && { cut: most }), ...aboutOf(walk) });
  walk.steps.push({ at, did: 'answer', detail: `echo from ${formatIp(match.get('ipDst'))}` });
  return { kind: 'answer' };
}

function reset(walk: Walk, { id }: RouterView, from: RouterPortView): Next {
  const at = { kind: 'router', id } as const;
  const verdict = drop(walk, at, 'local-refused');
  if (walk.from === undefined) return verdict;
  walk.tags.push(errorsTag(walk.from));
  if (!walk.state.errors.mayTell(walk.from)) return verdict;
  walk.charge = walk.from;
  const { match } = walk;
  const frame = tcpReset(untagged(received(walk)), { src: from.mac, dst: match.get('ethSrc') });
  if (frame === undefined) return verdict;
  walk.sends.push({ port: from.id, frame, ...aboutOf(walk) });
  walk.steps.push({ at, did: 'error', detail: `reset from ${formatIp(match.get('ipDst'))}` });
  return verdict;
}
