/**
 * What a rule that translates does to a packet: other ends, or those it had before.
 *
 * Invariants: the ends of a connection are the same for all of its packets, as long as a rule
 * permits what was chosen first; only packets of who opened it are given other ends, only answers
 * are given them back; an ICMP error is changed as the connection that it is about, outside and
 * inside; what no rule translates passes as it is, for a filter to judge. A port chosen for nothing
 * (the packet is dropped later) is no loss: it is taken when a record is made.
 */
import { contains } from '#net/prefix.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import {
  formatEndpoint,
  NO_TRANSLATIONS,
  sameEndpoint,
  TRANSLATIONS_MAX,
  type Endpoint,
  type Translation,
  type Tuple,
  type Zone,
} from '../connection.ts';
import type { RouterId } from '../ids.ts';
import { neighbourType } from '../nd.ts';
import type { Step, Verdict } from '../outcome.ts';
import { isIn, mapped, SNAT_PORTS, type NatView } from '../rule/nat.ts';
import { routerTag } from '../tags.ts';
import { stateOf, tupleNow } from '../track.ts';
import type { RuleView } from '../view.ts';
import { drop, type Walk } from '../walk.ts';
import { chooseDestination, chooseSource } from './choose.ts';
import type { Turned } from './turned.ts';

/** `passed`: the rule is not about this packet after all. */
export type Translated = 'done' | 'passed' | Verdict;

type End = 'source' | 'destination';
const ALL_PORTS = { first: 0, last: 65_535 } as const;
const ICMP_PROTOCOLS: readonly number[] = [IP_PROTOCOL.ICMP, IP_PROTOCOL.ICMPV6];
const hasPorts = (protocol: number): boolean =>
  protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP;

/** A rule that translates, at the router whose filter it is in. */
export interface At {
  readonly walk: Walk;
  readonly step: Step['at'];
  readonly router: RouterId;
  readonly zone: Zone;
}

/** Undefined: a filter of something that is no router. */
function placeOf(walk: Walk, at: Step['at']): { router: RouterId; zone: Zone } | undefined {
  const id = at.kind === 'port' ? walk.topology.port(at.id as never)?.router : at.id;
  if (id === undefined || (at.kind !== 'port' && at.kind !== 'router')) return undefined;
  const router = id as RouterId;
  walk.tags.push(routerTag(router));
  const key = walk.topology.router(router)?.networkKey;
  return key === undefined ? undefined : { router, zone: key as Zone };
}

export const endOf = ({ src, dst, srcPort, dstPort }: Tuple, end: End): Endpoint =>
  end === 'source' ? { ip: src, port: srcPort } : { ip: dst, port: dstPort };

/** One end of a packet that becomes another. `quoted`: of the packet that an error is about. */
interface Change {
  readonly end: End;
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly quoted?: boolean;
}
function tell({ walk, step }: At, { end, from, to, quoted = false }: Change): void {
  const what = quoted ? `quoted ${end}` : end;
  const detail = `${what} ${formatEndpoint(from)} > ${formatEndpoint(to)}`;
  walk.steps.push({ at: step, did: 'translate', detail });
}

/** Gives the packet another end. `translation`: what is remembered of it. */
export function put(
  at: At,
  tuple: Tuple,
  change: Omit<Change, 'from'>,
  translation?: Translation,
): 'done' {
  const { match, changes } = at.walk;
  const { end, to } = change;
  const from = endOf(tuple, end);
  if (to.ip !== from.ip) match.set(end === 'source' ? 'ipSrc' : 'ipDst', to.ip);
  if (to.port !== from.port) {
    const icmp = ICMP_PROTOCOLS.includes(tuple.protocol);
    match.set(end === 'source' && !icmp ? 'tpSrc' : 'tpDst', to.port);
  }
  const port = to.port === from.port ? undefined : to.port;
  changes.push({ end, ip: to.ip, port, translation });
  tell(at, { end, from, to });
  return 'done';
}

function statically(at: At, { action, static: way }: NatView): Translated {
  if (way === undefined) return 'passed';
  const { match, changes } = at.walk;
  const end = action === 'snat' ? 'source' : 'destination';
  const field = end === 'source' ? 'ipSrc' : 'ipDst';
  const from = match.get(field);
  if (!contains(way.from, from)) return 'passed';
  const ip = mapped(from, way.to);
  match.set(field, ip);
  changes.push({ end, ip, port: undefined, translation: undefined });
  tell(at, { end, from: { ip: from, port: 0 }, to: { ip, port: 0 } });
  return 'done';
}

/** Whether such packets are translated by rules that remember: by ports, or by address alone. */
const isMeant = ({ protocol }: Tuple, { portless }: NatView): boolean =>
  hasPorts(protocol) || ICMP_PROTOCOLS.includes(protocol) || protocol === portless;

/** Whether a rule would still choose what was chosen for a connection. */
function permits({ action, targets }: NatView, { from, to }: Translation, { protocol }: Tuple) {
  const numbered = hasPorts(protocol) || (action === 'snat' && ICMP_PROTOCOLS.includes(protocol));
  return targets.some((target) => {
    if (!numbered) return isIn({ ...target, ports: undefined }, to.ip, to.port, ALL_PORTS);
    if (action === 'dnat' && target.ports === undefined && to.port !== from.port) return false;
    return isIn(target, to.ip, to.port, action === 'snat' ? SNAT_PORTS : ALL_PORTS);
  });
}

export const known = (at: At): readonly Translation[] =>
  at.walk.look?.translations ?? NO_TRANSLATIONS;

/** Another end for who opens a connection. */
export function forwards(at: At, nat: NatView, tuple: Tuple): Translated {
  const { walk, router, zone } = at;
  if (walk.look?.state !== 'new' || !isMeant(tuple, nat)) return 'passed';
  const changes = nat.action === 'snat' ? 'source' : 'destination';
  const from = endOf(tuple, changes);
  const before = known(at).find(
    (each) => each.zone === zone && each.changes === changes && sameEndpoint(each.from, from),
  );
  if (before !== undefined && permits(nat, before, tuple))
    return put(at, tuple, { end: changes, to: before.to }, before);
  const remembered = walk.changes.filter(({ translation }) => translation !== undefined);
  if (remembered.length >= TRANSLATIONS_MAX) return drop(walk, at.step, 'translations-limit');
  const place = { router, zone, tuple };
  if (changes === 'destination') {
    // An echo is asked of a host, not of a port of it.
    if (nat.targets.some(({ ports }) => ports !== undefined) && !hasPorts(tuple.protocol))
      return 'passed';
    const to = chooseDestination(walk, place, nat);
    return put(at, tuple, { end: changes, to }, { zone, changes, from, to });
  }
  const { end: to, wanted } = chooseSource(walk, place, nat);
  if (to !== undefined) return put(at, tuple, { end: changes, to }, { zone, changes, from, to });
  return { kind: 'want-ports', ...wanted };
}

/** An answer gets back the end that its opening had. */
export function backwards(at: At, { action }: Pick<NatView, 'action'>, tuple: Tuple): Translated {
  const { walk, router, zone } = at;
  const { look } = walk;
  if (look?.found?.direction === 'forward') return 'passed';
  const [changes, end] =
    action === 'reverse-snat'
      ? (['source', 'destination'] as const)
      : (['destination', 'source'] as const);
  const now = endOf(tuple, end);
  const found = known(at).find(
    (each) => each.zone === zone && each.changes === changes && sameEndpoint(each.to, now),
  );
  if (found !== undefined) return put(at, tuple, { end, to: found.from });
  if (end === 'destination' && look?.key !== undefined && look.found === undefined)
    walk.unreversed ??= { router, address: now.ip, port: now.port };
  return 'passed';
}

/** IP packets but those by which neighbours find each other, which mean this very link. */
function isTranslatable(walk: Walk): boolean {
  const { match } = walk;
  const type = match.get('ethType');
  if (type !== ETHER_TYPE.IPV4 && type !== ETHER_TYPE.IPV6) return false;
  return type === ETHER_TYPE.IPV4 || neighbourType(match) === undefined;
}

/** What becomes of a packet that meets a rule's condition. `at`: whose filter the rule is in. */
export function translate(walk: Walk, at: Step['at'], { nat }: RuleView): Translated {
  const place = placeOf(walk, at);
  if (place === undefined || nat === undefined || !isTranslatable(walk)) return 'passed';
  const here = { walk, step: at, ...place };
  if (nat.static !== undefined) return statically(here, nat);
  // Where it has a transport header at all; every field of the key is read from here on.
  if (stateOf(walk) === '') return 'passed';
  const tuple = tupleNow(walk.match);
  if (tuple === undefined) return 'passed';
  return nat.action === 'snat' || nat.action === 'dnat'
    ? forwards(here, nat, tuple)
    : backwards(here, nat, tuple);
}

/** The end that an error's connection has behind a rule; undefined: the rule does not change it. */
function endBehind(at: At, nat: NatView, turned: Turned): Endpoint | undefined {
  const { zone } = at;
  const snat = nat.action === 'snat' || nat.action === 'reverse-dnat';
  const now = snat ? turned.source : turned.destination;
  if (nat.static !== undefined)
    return contains(nat.static.from, now.ip)
      ? { ip: mapped(now.ip, nat.static.to), port: now.port }
      : undefined;
  const reverse = nat.action === 'reverse-snat' || nat.action === 'reverse-dnat';
  const changes = nat.action.endsWith('snat') ? 'source' : 'destination';
  const found = known(at).find(
    (each) =>
      each.zone === zone &&
      each.changes === changes &&
      sameEndpoint(reverse ? each.to : each.from, now),
  );
  return reverse ? found?.from : found?.to;
}

/**
 * The same for an ICMP error: `turned` stands for what it is about. Its own source may be a router
 * on the way, which is behind the same address as who the quoted packet was for.
 */
export function translateError(walk: Walk, at: Step['at'], { nat }: RuleView, turned: Turned) {
  const place = placeOf(walk, at);
  if (place === undefined || nat === undefined) return 'passed';
  return translateErrorAt({ walk, step: at, ...place }, nat, turned);
}
export function translateErrorAt(here: At, nat: NatView, turned: Turned): 'done' | 'passed' {
  const { walk } = here;
  stateOf(walk);
  const to = endBehind(here, nat, turned);
  if (to === undefined) return 'passed';
  const end = nat.action === 'snat' || nat.action === 'reverse-dnat' ? 'source' : 'destination';
  const from = end === 'source' ? turned.source : turned.destination;
  const field = end === 'source' ? 'ipSrc' : 'ipDst';
  const outer = walk.match.get(field);
  const way = nat.static;
  const ip = way !== undefined && contains(way.from, outer) ? mapped(outer, way.to) : to.ip;
  walk.match.set(field, ip);
  turned.set(end, to);
  walk.changes.push({ end, ip, port: undefined, translation: undefined });
  tell(here, { end, from, to, quoted: true });
  return 'done';
}
