/**
 * What a chain decides about a packet: its rules in order, through the chains that they jump to.
 *
 * Invariants: every chain that was consulted is tagged, also one that is not there (law 2); what
 * is not decided is accepted; a chain that is not there, and chains that lead on for too long, let
 * nothing pass; a walk without filters does none of this.
 */
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import type { DropReason } from '../drop.ts';
import type { ChainId, RuleId } from '../ids.ts';
import type { Step, Verdict } from '../outcome.ts';
import { chainTag } from '../tags.ts';
import type { Headers } from '../match.ts';
import { translate, translateError } from '../nat/translate.ts';
import { turnedOf, type Turned } from '../nat/turned.ts';
import { isError, stateOf } from '../track.ts';
import type { ChainView, RuleView } from '../view.ts';
import { drop, type Walk } from '../walk.ts';
import { Subject } from './facts.ts';
import { FirstMatch } from './first-match.ts';
import { JUMP_DEPTH_MAX } from './jumps.ts';
import { reject } from './reject.ts';

/** Rules that one packet may match in one filter, jumps most of all; beyond, it is dropped. */
export const FILTER_MATCHES_MAX = 256;

/** Made once for each version of a chain, and kept as long as that is. */
const matches = new WeakMap<ChainView, FirstMatch>();

export function firstMatchOf(chain: ChainView): FirstMatch {
  const known = matches.get(chain);
  if (known !== undefined) return known;
  const made = new FirstMatch(chain);
  matches.set(chain, made);
  return made;
}

export type Refused = Extract<DropReason, 'filter-drop' | 'filter-reject' | 'filter-limit'>;

/** Where a walk is in a chain. */
interface Place {
  readonly chain: ChainView;
  readonly rules: FirstMatch;
  /** The next rule to ask. */
  next: number;
}

function placeIn(walk: Walk, id: ChainId): Place | undefined {
  const chain = walk.topology.chain(id);
  walk.tags.push(chain?.ready.tag ?? chainTag(id));
  return chain && { chain, rules: firstMatchOf(chain), next: 0 };
}

const unknown = (walk: Walk, id: ChainId): Refused => {
  walk.steps.push({ at: { kind: 'chain', id }, did: 'no-rule', detail: 'not known' });
  return 'filter-drop';
};

/** The rule that matches next in the chain where the walk is; undefined: none does. */
function nextRule(walk: Walk, place: Place, subject: Subject): RuleView | undefined {
  const { rules, chain } = place;
  const { tried } = walk;
  const found =
    tried === undefined
      ? rules.find(subject, place.next)
      : rules.plain(subject, place.next, (rule, because) => tried(chain, rule, because));
  if (found < 0) return undefined;
  place.next = found + 1;
  return rules.entries[found]?.rule;
}

/** `ipFrag` of what is no fragment. */
const WHOLE = 0;

/** A chain whose rules translate, and a packet that has no ports of its own to be asked about. */
interface Special {
  /** Of an error: what it is about; of a fragment: nothing. */
  readonly turned: Turned | undefined;
  readonly fragment: boolean;
}
function specialIn(walk: Walk, { rules: { traits } }: Place): Special | undefined {
  if (!traits.nat) return undefined;
  const { match } = walk;
  const type = match.get('ethType');
  if (type !== ETHER_TYPE.IPV4 && type !== ETHER_TYPE.IPV6) return undefined;
  const error = isError(match);
  const fragment = (traits.records || error) && match.get('ipFrag') !== WHOLE;
  if (!fragment && !error) return undefined;
  if (fragment) return { fragment, turned: undefined };
  walk.turned ??= turnedOf(match);
  return { fragment, turned: walk.turned };
}

/**
 * The same where rules translate, and the packet is a fragment or an ICMP error: rule by rule,
 * since these rules are asked about another packet than the others. `collect`: such a rule wants to
 * know what only the whole datagram says.
 */
function nextSpecial(
  walk: Walk,
  place: Place,
  subject: Subject,
  { fragment, turned }: Special,
): RuleView | 'collect' | undefined {
  const { rules, chain } = place;
  const { tried } = walk;
  const look = tried && ((rule: RuleView, why: string | undefined) => tried(chain, rule, why));
  const about = turned && new Subject(walk, turned);
  while (place.next < rules.entries.length) {
    const at = place.next++;
    const { rule } = rules.entries[at]!;
    if (
      rule.nat !== undefined &&
      fragment &&
      (rule.nat.static === undefined || isError(walk.match))
    )
      return 'collect';
    // An error that is about nothing is translated by nobody.
    const asked = rule.nat === undefined || fragment ? subject : about;
    if (asked !== undefined && rules.matches(asked, at, look)) return rule;
  }
  return undefined;
}

/**
 * Takes the packet down, as it was when the rule was asked. Its flow matches what a line says, but
 * for the port that the sender chose: so there is a line for each pair of addresses and each
 * service, not only for the first that a wide flow serves.
 */
function log(walk: Walk, rule: RuleId, headers: Headers): void {
  const { match } = walk;
  (walk.logged ??= []).push({ rule, headers });
  const type = match.get('ethType');
  if (type !== ETHER_TYPE.IPV4 && type !== ETHER_TYPE.IPV6) return;
  match.arrived('ipSrc');
  match.arrived('ipDst');
  const protocol = match.get('ipProto');
  if (protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP) match.arrived('tpDst');
}

/** A walk through the rules of one filter. */
interface Pass {
  readonly walk: Walk;
  /** Whose filter it is. */
  readonly at: Step['at'];
  readonly first: Place;
  readonly stack: Place[];
  subject: Subject;
}

/** What a rule that matched says: `on` with the next one. */
type Said = 'accept' | 'return' | 'on' | Refused | Verdict;

/** Carries a rule out that translates; 'passed': it was not about this packet. */
function translated(pass: Pass, place: Place, rule: RuleView): Said | 'passed' {
  const { walk, at } = pass;
  const headers = rule.log ? walk.match.headers() : undefined;
  // In its place among the steps it comes before what it does.
  const step = walk.steps.push(place.rules.step(place.next - 1)) - 1;
  const done =
    walk.turned === undefined
      ? translate(walk, at, rule)
      : translateError(walk, at, rule, walk.turned);
  if (done === 'passed') {
    const { detail = '' } = walk.steps.splice(step, 1)[0] ?? {};
    walk.steps.push({ at: place.chain.ready.at, did: 'not-translated', detail });
    return 'passed';
  }
  if (headers !== undefined) log(walk, rule.id, headers);
  if (typeof done === 'object') return done;
  pass.subject = new Subject(walk);
  const after = rule.nat?.after ?? 'accept';
  return after === 'continue' ? 'on' : after;
}

function said(pass: Pass, place: Place, rule: RuleView): Said {
  const { walk } = pass;
  if (rule.nat !== undefined) {
    const done = translated(pass, place, rule);
    return done === 'passed' ? 'on' : done;
  }
  walk.steps.push(place.rules.step(place.next - 1));
  if (rule.log) log(walk, rule.id, walk.match.headers());
  switch (rule.action) {
    case 'continue':
      return 'on';
    case 'accept':
      return 'accept';
    case 'drop':
      return 'filter-drop';
    case 'reject':
      return 'filter-reject';
    case 'jump':
      return rule.jump === undefined ? 'return' : jump(pass, rule.jump);
    case 'return':
    case 'snat':
    case 'dnat':
    case 'reverse-snat':
    case 'reverse-dnat':
    default:
      return 'return';
  }
}

function jump({ walk, stack }: Pass, to: ChainId): Said {
  const place = placeIn(walk, to);
  if (place === undefined) return unknown(walk, to);
  return stack.push(place) > JUMP_DEPTH_MAX ? 'filter-limit' : 'on';
}

/** Of a chain that no rule has decided in: where the walk goes on, or that it is accepted. */
function leave({ walk, stack, first }: Pass, undecided: boolean): 'accept' | 'on' {
  stack.pop();
  if (stack.length > 0) return 'on';
  if (undecided) walk.steps.push(first.rules.undecided);
  return 'accept';
}

function next(pass: Pass, place: Place): RuleView | 'collect' | undefined {
  const special = specialIn(pass.walk, place);
  return special === undefined
    ? nextRule(pass.walk, place, pass.subject)
    : nextSpecial(pass.walk, place, pass.subject, special);
}

/** Undefined: the packet is accepted. `at`: whose filter it is. */
export function refusalBy(walk: Walk, at: Step['at'], id: ChainId): Refused | Verdict | undefined {
  const first = placeIn(walk, id);
  if (first === undefined) return unknown(walk, id);
  const pass: Pass = { walk, at, first, stack: [first], subject: new Subject(walk) };
  for (let matched = 0; matched < FILTER_MATCHES_MAX; matched++) {
    const place = pass.stack.at(-1);
    if (place === undefined) break;
    const rule = next(pass, place);
    if (rule === 'collect') {
      // Only the whole datagram can be asked.
      walk.match.payload();
      return { kind: 'collect' };
    }
    const done = rule === undefined ? 'return' : said(pass, place, rule);
    if (done === 'on') continue;
    if (done !== 'return') return done === 'accept' ? undefined : done;
    if (leave(pass, rule === undefined) === 'accept') return undefined;
  }
  return 'filter-limit';
}

/** Whether a chain lets the packet pass; a port or device without a filter lets pass everything. */
export const passes = (walk: Walk, at: Step['at'], id: ChainId | undefined): boolean =>
  id === undefined || refusalBy(walk, at, id) === undefined;

/** What becomes of a packet that a filter of the object at `at` keeps; undefined: it goes on. */
export function filter(walk: Walk, at: Step['at'], id: ChainId | undefined): Verdict | undefined {
  const refused = id === undefined ? undefined : refusalBy(walk, at, id);
  if (refused === undefined || typeof refused === 'object') return refused;
  return refused === 'filter-reject' ? reject(walk, at) : drop(walk, at, refused);
}

/** On what the answers of a chain depend besides the packet itself. */
export interface Traits {
  /** Where the packet came from: nobody knows that at the far end of a flood. */
  readonly origin: boolean;
  /** By which port it leaves. */
  readonly out: boolean;
  /** Of which state its connection is. */
  readonly state: boolean;
}

/** Of a chain and those that it leads to. */
export function traitsOf(walk: Walk, id: ChainId): Traits {
  let [origin, out, state] = [false, false, false];
  const seen = new Set([id]);
  for (const each of seen) {
    const chain = walk.topology.chain(each);
    walk.tags.push(chain?.ready.tag ?? chainTag(each));
    if (chain === undefined) continue;
    const { traits, jumps } = firstMatchOf(chain);
    origin ||= traits.origin;
    out ||= traits.out;
    state ||= traits.state;
    for (const jump of jumps) seen.add(jump);
  }
  return { origin, out, state };
}

/**
 * The filter that answers to this packet will meet at a port it passes: where that asks for states,
 * the packet's connection is to be known, though nobody asks for it on this way.
 */
export function trackFor(walk: Walk, answers: ChainId | undefined): void {
  if (answers !== undefined && walk.look === undefined && traitsOf(walk, answers).state)
    stateOf(walk);
}
