/**
 * What a router does with packets for its VIPs, and with answers of their members.
 *
 * A packet for a VIP has met the filters of what enters; it goes on as one for the member that was
 * chosen, so that routes and the filters of what is forwarded see that. Answers are changed back
 * after these, so each filter sees one side of a connection only. Where answers would not come back
 * to the router by themselves (the client is in the member's network, or is the member; a host that
 * checks it), the member sees the router as the client.
 *
 * Invariants: a connection stays with its member for as long as that may serve it, whatever is
 * chosen for new ones; who is chosen depends on the topology and the packet alone, but for clients
 * that are remembered; what is no packet for a VIP, or of a member, is asked for its addresses
 * only.
 */
import { isIp6, type Ip } from '#net/ip.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { reject } from '../chain/reject.ts';
import {
  formatEndpoint,
  sameEndpoint,
  type Endpoint,
  type Tuple,
  type Zone,
} from '../connection.ts';
import type { DropReason } from '../drop.ts';
import { turnedOf } from '../nat/turned.ts';
import {
  backwards,
  endOf,
  forwards,
  known,
  put,
  translateErrorAt,
  type At,
} from '../nat/translate.ts';
import type { Balanced, Verdict } from '../outcome.ts';
import { isNear } from '../router/hear.ts';
import type { NatAction, NatView } from '../rule/nat.ts';
import { memberTag, poolTag, vipTag } from '../tags.ts';
import { isError, stateOf, tupleNow } from '../track.ts';
import type { RouterPortView, RouterView } from '../view.ts';
import { drop, type Walk } from '../walk.ts';
import { chooseOf } from './maglev.ts';
import type { BalancerView, MemberView, PoolView, VipView } from './view.ts';

/** `to-member`: the packet is for a member by now. `own`: it is for an address of a VIP. */
export type Balancing = 'to-member' | 'own' | 'none';

const WHOLE = 0;
const hasPorts = (protocol: number): boolean =>
  protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP;
const natOf = (action: NatAction, to?: Ip): NatView => ({
  action,
  after: 'continue',
  targets: to === undefined ? [] : [{ first: to, count: 1, ports: undefined }],
  static: undefined,
  portless: undefined,
});
const NAT = {
  dnat: natOf('dnat'),
  snat: natOf('snat'),
  'reverse-dnat': natOf('reverse-dnat'),
  'reverse-snat': natOf('reverse-snat'),
} as const;

const atOf = (walk: Walk, router: RouterView): At => ({
  walk,
  step: router.ready.at,
  router: router.id,
  zone: router.networkKey as Zone,
});

/** Only the whole datagram says what it is. */
function collect(walk: Walk): Verdict {
  walk.match.payload();
  return { kind: 'collect' };
}

/** An ICMP error is changed as what it quotes. */
function error(walk: Walk, router: RouterView, actions: readonly (keyof typeof NAT)[]): void {
  walk.turned ??= turnedOf(walk.match);
  if (walk.turned === undefined) return;
  for (const action of actions) translateErrorAt(atOf(walk, router), NAT[action], walk.turned);
}

/**
 * Before the route is looked up: the packet of a client gets its member, the answer that came to
 * the router in place of a client finds the way to it.
 */
export function balanceIn(walk: Walk, router: RouterView): Balancing | Verdict {
  const balancer = walk.topology.balancer(router.id);
  if (balancer === undefined) return 'none';
  const { match } = walk;
  const dst = match.get('ipDst');
  walk.tags.push(router.ready.destination(dst));
  const protocol = match.get('ipProto');
  if (isError(match)) {
    error(walk, router, ['reverse-snat', 'dnat']);
    return balancer.hasAddress(match.get('ipDst')) ? 'own' : 'none';
  }
  if (!balancer.hasAddress(dst)) return answerToSelf(walk, router, dst);
  if (!hasPorts(protocol)) return 'own';
  if (match.get('ipFrag') !== WHOLE) return collect(walk);
  const vip = balancer.vip(protocol, dst, match.get('tpDst'));
  if (vip !== undefined) return toMember(walk, router, balancer, vip);
  return back(walk, router);
}

/** To an address of the router itself: whoever is hidden behind it may be meant. */
function answerToSelf(walk: Walk, router: RouterView, dst: Ip): Balancing | Verdict {
  const { match } = walk;
  const [route] = router.routes(dst, () => match.get('ipSrc'));
  if (route?.kind !== 'local') return 'none';
  const protocol = match.get('ipProto');
  const reply = isEchoReply(walk, protocol, dst);
  if (!hasPorts(protocol) && !reply) return 'none';
  if (match.get('ipFrag') !== WHOLE) return collect(walk);
  back(walk, router);
  return 'none';
}
function isEchoReply({ match }: Walk, protocol: number, dst: Ip): boolean {
  const six = isIp6(dst);
  if (protocol !== (six ? IP_PROTOCOL.ICMPV6 : IP_PROTOCOL.ICMP)) return false;
  return match.get('ipFrag') === WHOLE && match.get('tpSrc') === (six ? 129 : 0) << 8;
}
/** Gives an answer to the router the client that it is for. */
function back(walk: Walk, router: RouterView): Balancing {
  if (stateOf(walk) === '') return 'own';
  const tuple = tupleNow(walk.match);
  if (tuple === undefined) return 'own';
  return backwards(atOf(walk, router), NAT['reverse-snat'], tuple) === 'done' ? 'none' : 'own';
}

interface Asked {
  readonly at: At;
  readonly balancer: BalancerView;
  readonly vip: VipView;
  readonly tuple: Tuple;
}

function toMember(
  walk: Walk,
  router: RouterView,
  balancer: BalancerView,
  vip: VipView,
): Balancing | Verdict {
  walk.tags.push(vipTag(vip.id));
  const state = stateOf(walk);
  const tuple = tupleNow(walk.match);
  // No stack sends such a packet: as where nobody listens.
  if (tuple === undefined || state !== 'new') return 'own';
  const asked: Asked = { at: atOf(walk, router), balancer, vip, tuple };
  const kept = keptBy(asked);
  // Nobody else knows the connection, and not everybody who does not says so (RFC 9293 §3.10.7.8).
  if (kept === 'lost' && tuple.protocol === IP_PROTOCOL.TCP && !walk.match.opensTcp())
    return refused(asked, 'member-lost', true);
  if (kept !== undefined && kept !== 'lost') return give(asked, kept, 'as before');
  return choose(asked);
}

function* poolsOf({ balancer, vip }: Asked): Generator<PoolView> {
  const first = balancer.pool(vip.pool);
  if (first === undefined) return;
  yield first;
  const backup = first.backupPool && balancer.pool(first.backupPool);
  if (backup) yield backup;
}

/**
 * The member that a connection has; `lost`: it may not serve it any more. One that begins anew has
 * none.
 */
function keptBy(asked: Asked): MemberView | 'lost' | undefined {
  const { at, tuple } = asked;
  if (at.walk.look?.found?.anew === true) return undefined;
  const before = known(at).find(
    ({ zone, changes, from }) =>
      zone === at.zone &&
      changes === 'destination' &&
      sameEndpoint(from, endOf(tuple, 'destination')),
  );
  if (before === undefined) return undefined;
  for (const pool of poolsOf(asked)) {
    const member = pool.members.find((each) => sameEndpoint(each, before.to));
    if (member === undefined) {
      // Somebody may serve there again.
      consult(at.walk, poolTag(pool.id));
      continue;
    }
    at.walk.tags.push(memberTag(member.id));
    if (!member.isDown || pool.keeps) return member;
  }
  return 'lost';
}

/** The packet becomes one for a member. */
function give({ at, vip, tuple }: Asked, member: MemberView, why: string): 'to-member' {
  const { walk, zone } = at;
  const balanced: Balanced = { vip: vip.id, member: member.id, way: 'in' };
  const detail = `${vip.name} to ${member.name}, ${why}`;
  walk.steps.push({ at: at.step, did: 'balance', detail, balanced });
  const to: Endpoint = { ip: member.ip, port: member.port };
  const from = endOf(tuple, 'destination');
  put(at, tuple, { end: 'destination', to }, { zone, changes: 'destination', from, to });
  return 'to-member';
}

function refused({ at: { walk, step } }: Asked, reason: DropReason, told: boolean): Verdict {
  return told ? reject(walk, step, reason) : drop(walk, step, reason);
}

/** What a client's connection is told apart by. */
function keyOf({ at: { zone }, vip, tuple }: Asked) {
  return vip.persistent ? { zone, tuple: { ...tuple, srcPort: 0 } } : { zone, tuple };
}

function choose(asked: Asked): Balancing | Verdict {
  const { at, vip } = asked;
  const { walk } = at;
  const { balancing } = walk.state;
  if (!vip.isUp) return refused(asked, 'vip-down', true);
  if (vip.sessionLimit !== undefined && balancing !== undefined) {
    if (balancing.sessions(vip, at.zone) >= vip.sessionLimit) {
      // No flow: the next one may be let in.
      walk.match.payload();
      return refused(asked, 'session-limit', false);
    }
  }
  let first: PoolView | undefined;
  for (const pool of poolsOf(asked)) {
    first ??= pool;
    consult(walk, poolTag(pool.id));
    if (!pool.adminStateUp) continue;
    const remembered = rememberedIn(asked, pool);
    if (remembered !== undefined) return give(asked, remembered, 'as the client had');
    const found = chooseOf(pool.table, keyOf(asked), pool.available);
    const member = pool.members[found?.index ?? NaN];
    if (found === undefined || member === undefined) continue;
    walk.tags.push(memberTag(member.id));
    const tries = found.tries === 1 ? '' : `, try ${found.tries}`;
    return give(asked, member, `place ${found.place} of ${pool.table.length}${tries}`);
  }
  if (first === undefined) consult(walk, poolTag(vip.pool));
  return refused(asked, 'no-member', first?.whenDown !== 'drop');
}
/** What a record makes good for. */
function consult(walk: Walk, tag: ReturnType<typeof poolTag>): void {
  walk.tags.push(tag);
  walk.chosenBy.push(tag);
}

/** The member that a client had not long ago. */
function rememberedIn({ at: { walk }, vip, tuple }: Asked, pool: PoolView) {
  if (!vip.persistent) return undefined;
  // No tag: what is chosen is kept by a record.
  const id = walk.state.balancing?.memberOf(vip.id, tuple.src);
  const member = id && pool.members.find((each) => each.id === id);
  if (!member || !member.isAvailable) return undefined;
  walk.tags.push(memberTag(member.id));
  return member;
}

/** Where a packet is going. */
interface Way {
  readonly router: RouterView;
  readonly from: RouterPortView;
  readonly out: RouterPortView;
  readonly balancing: Balancing;
}

/**
 * When the way is known, between the filter of what is forwarded and that of what leaves: the
 * answer of a member becomes one of the VIP, and a client that the member would answer past the
 * router, or could not tell from itself, becomes the router.
 */
export function balanceOut(walk: Walk, way: Way): Verdict | undefined {
  const { router, from, out, balancing } = way;
  const balancer = walk.topology.balancer(router.id);
  if (balancer === undefined) return from.service ? hide(walk, way) : undefined;
  const { match } = walk;
  if (balancing === 'to-member' || from.service) {
    const src = match.get('ipSrc');
    const past = from.service || from.id === out.id || isNear(out, src);
    // The member may have a connection from this end already: by another VIP of the client's.
    const again = walk.state.publicPorts.attempt > 0;
    return past || again ? hide(walk, way) : undefined;
  }
  if (isError(match)) {
    error(walk, router, ['reverse-dnat', 'snat']);
    return undefined;
  }
  const src = match.get('ipSrc');
  walk.tags.push(router.ready.destination(src));
  return balancer.serves(src) ? fromMember(walk, router, balancer) : undefined;
}

/** The member is to see the router as the client. */
function hide(walk: Walk, { router, out }: Way): Verdict | undefined {
  const { match } = walk;
  const type = match.get('ethType');
  const six = type === ETHER_TYPE.IPV6;
  const dst = match.get('ipDst');
  const own = out.networks.filter(({ address }) => isIp6(address) === six);
  const near = own.find((network) => isNear({ ...out, networks: [network] }, dst)) ?? own[0];
  if (near === undefined || stateOf(walk) === '') return undefined;
  const tuple = tupleNow(match);
  if (tuple === undefined) return undefined;
  const done = forwards(atOf(walk, router), natOf('snat', near.address), tuple);
  return typeof done === 'object' ? done : undefined;
}

/** What comes from a member is an answer of the VIP, if its client has asked that. */
function fromMember(walk: Walk, router: RouterView, balancer: BalancerView): Verdict | undefined {
  const { match } = walk;
  const protocol = match.get('ipProto');
  if (!hasPorts(protocol)) return undefined;
  if (match.get('ipFrag') !== WHOLE) return collect(walk);
  if (!balancer.serves(match.get('ipSrc'), match.get('tpSrc'))) return undefined;
  if (stateOf(walk) !== 'established') {
    walk.unserved = walk.look?.found === undefined;
    return undefined;
  }
  const tuple = tupleNow(match);
  if (tuple === undefined) return undefined;
  const at = atOf(walk, router);
  const served = endOf(tuple, 'source');
  const before = walk.steps.length;
  if (backwards(at, NAT['reverse-dnat'], tuple) !== 'done') return undefined;
  const is = endOf(tupleNow(match) ?? tuple, 'source');
  const vip = balancer.vip(protocol, is.ip, is.port);
  const member = vip && memberAt(balancer, vip, served);
  if (vip === undefined || member === undefined) return undefined;
  const balanced: Balanced = { vip: vip.id, member: member.id, way: 'out' };
  const detail = `${formatEndpoint(served)} answers for ${vip.name}`;
  walk.steps.splice(before, 0, { at: at.step, did: 'balance', detail, balanced });
  return undefined;
}
function memberAt(balancer: BalancerView, vip: VipView, end: Endpoint): MemberView | undefined {
  const first = balancer.pool(vip.pool);
  const backup = first?.backupPool && balancer.pool(first.backupPool);
  for (const pool of [first, backup]) {
    const found = pool && pool.members.find((each) => sameEndpoint(each, end));
    if (found) return found;
  }
  return undefined;
}
