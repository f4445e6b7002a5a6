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
import { stateOf } from '../track.ts';
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

/**
 * Takes the packet down. Its flow matches what a line says, but for the port that the sender chose:
 * so there is a line for each pair of addresses and each service, not only for the first that a
 * wide flow serves.
 */
function log(walk: Walk, rule: RuleId): void {
  const { match } = walk;
  (walk.logged ??= []).push({ rule, headers: match.headers() });
  const type = match.get('ethType');
  if (type !== ETHER_TYPE.IPV4 && type !== ETHER_TYPE.IPV6) return;
  match.get('ipSrc');
  match.get('ipDst');
  const protocol = match.get('ipProto');
  if (protocol === IP_PROTOCOL.TCP || protocol === IP_PROTOCOL.UDP) match.get('tpDst');
}

/** Undefined: the packet is accepted. */
export function refusalBy(walk: Walk, id: ChainId): Refused | undefined {
  const first = placeIn(walk, id);
  if (first === undefined) return unknown(walk, id);
  const subject = new Subject(walk);
  const stack = [first];
  for (let matched = 0; matched < FILTER_MATCHES_MAX; matched++) {
    const place = stack.at(-1);
    if (place === undefined) break;
    const rule = nextRule(walk, place, subject);
    if (rule !== undefined) walk.steps.push(place.rules.step(place.next - 1));
    if (rule?.log === true) log(walk, rule.id);
    if (rule?.action === 'continue') continue;
    if (rule?.action === 'accept') return undefined;
    if (rule?.action === 'drop') return 'filter-drop';
    if (rule?.action === 'reject') return 'filter-reject';
    if (rule?.action === 'jump' && rule.jump !== undefined) {
      const next = placeIn(walk, rule.jump);
      if (next === undefined) return unknown(walk, rule.jump);
      if (stack.push(next) > JUMP_DEPTH_MAX) return 'filter-limit';
    } else {
      stack.pop();
      if (stack.length > 0) continue;
      if (rule === undefined) walk.steps.push(first.rules.undecided);
      return undefined;
    }
  }
  return 'filter-limit';
}

/** Whether a chain lets the packet pass; a port or device without a filter lets pass everything. */
export const passes = (walk: Walk, id: ChainId | undefined): boolean =>
  id === undefined || refusalBy(walk, id) === undefined;

/** What becomes of a packet that a filter of the object at `at` keeps; undefined: it goes on. */
export function filter(walk: Walk, at: Step['at'], id: ChainId | undefined): Verdict | undefined {
  const refused = id === undefined ? undefined : refusalBy(walk, id);
  if (refused === undefined) return undefined;
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
