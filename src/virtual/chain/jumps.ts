/**
 * What chains may look like together: how many rules, how deep jumps lead, how much one packet may
 * cost.
 *
 * Invariant: a set of chains that passes has no circle, so a walk through it ends; and no packet
 * tries more than RULES_PER_WALK_MAX rules from one filter, however jumps share chains.
 */
import type { Fault, View } from '../kind.ts';
import { isNatAction } from '../rule/nat.ts';
import type { Rule } from '../rule/rule.ts';

/** Rules of one chain; a further one is refused. */
export const RULES_PER_CHAIN_MAX = 10_000;
/** Chains on the longest way of jumps. */
export const JUMP_DEPTH_MAX = 32;
/** Rules that one filter may have a packet try, jumps included, each as often as it is reached. */
export const RULES_PER_WALK_MAX = 20_000;

interface Rules {
  readonly ids: readonly string[];
  readonly positions: ReadonlyMap<number, readonly string[]>;
  /** Where its rules jump to; a chain that is jumped to twice is there twice. */
  readonly jumps: readonly string[];
  /** Whether one of them translates addresses. */
  readonly translates: boolean;
}
/**
 * By the list of ids that a view answered. A draft answers the same list until it changes, and all
 * rules of a transaction are checked against one state: so each chain is gone through once.
 */
const known = new WeakMap<readonly string[], Rules>();

/** The rules of a chain in the state of a view. */
export function rulesOf(view: View, chain: string): Rules {
  const ids = view.referrers('rule', 'chain', chain);
  const before = known.get(ids);
  if (before !== undefined) return before;
  const positions = new Map<number, string[]>();
  const jumps: string[] = [];
  let translates = false;
  for (const id of ids) {
    const rule = view.get('rule', id) as unknown as Rule | undefined;
    if (rule !== undefined && isNatAction(rule.action)) translates = true;
    if (rule?.position !== undefined)
      positions.getOrInsertComputed(rule.position, () => []).push(id);
    if (rule?.jump !== undefined) jumps.push(rule.jump);
  }
  const rules = { ids, positions, jumps, translates };
  known.set(ids, rules);
  return rules;
}

/** Of a chain and all that it leads to. */
interface Reach {
  /** Chains on the longest way, this one included. */
  readonly depth: number;
  /** Rules on all ways together. */
  readonly rules: number;
}
/** 'circle': a way leads back to where it came from. */
type Measured = Reach | 'circle';
const measured = new WeakMap<readonly string[], Measured>();

/** Goes down all jumps; `path`: the chains that are being measured. */
function measure(view: View, chain: string, path: Set<string>): Measured {
  const { ids, jumps } = rulesOf(view, chain);
  const before = measured.get(ids);
  if (before !== undefined) return before;
  if (path.has(chain)) return 'circle';
  path.add(chain);
  let [depth, rules] = [1, ids.length];
  for (const jump of jumps) {
    const below = measure(view, jump, path);
    if (below === 'circle') return below;
    depth = Math.max(depth, below.depth + 1);
    rules += below.rules;
  }
  path.delete(chain);
  const reach = { depth, rules };
  measured.set(ids, reach);
  return reach;
}

/** Chains from which jumps lead to this one and to which none leads, or that are in a circle. */
function rootsOf(view: View, chain: string): string[] {
  const seen = new Set([chain]);
  const roots: string[] = [];
  // A set is walked in order of insertion, and what is added meanwhile is walked too.
  for (const at of seen) {
    const above = view.referrers('rule', 'jump', at);
    if (above.length === 0) roots.push(at);
    for (const id of above) {
      const from = (view.get('rule', id) as unknown as Rule | undefined)?.chain;
      if (from !== undefined) seen.add(from);
    }
  }
  return roots.length === 0 ? [chain] : roots;
}

/** Whether jumps lead from one chain to another. */
function leads(view: View, from: string, to: string): boolean {
  const seen = new Set([to]);
  for (const at of seen)
    for (const id of view.referrers('rule', 'jump', at)) {
      const above = (view.get('rule', id) as unknown as Rule | undefined)?.chain;
      if (above !== undefined) seen.add(above);
    }
  return seen.has(from);
}

/** What is wrong with the chain of a rule and those that jumps join with it. */
export function jumpFaults(rule: Rule, view: View): Fault[] {
  if (rule.jump !== undefined && leads(view, rule.jump, rule.chain)) {
    const message =
      rule.jump === rule.chain
        ? 'is the chain of the rule itself'
        : 'leads back to the chain of the rule: jumps must not go in a circle';
    return [{ path: 'jump', message }];
  }
  const path = rule.jump === undefined ? 'chain' : 'jump';
  for (const root of rootsOf(view, rule.chain)) {
    const reach = measure(view, root, new Set());
    // A circle elsewhere is told of the rule that closes it.
    if (reach === 'circle') continue;
    if (reach.depth > JUMP_DEPTH_MAX)
      return [{ path, message: `makes jumps deeper than ${JUMP_DEPTH_MAX} chains` }];
    if (reach.rules > RULES_PER_WALK_MAX) {
      const message = `makes a packet try more than ${RULES_PER_WALK_MAX} rules, jumps included`;
      return [{ path, message }];
    }
  }
  return [];
}

/** Whether a chain, or one that it leads to, translates addresses. */
export function translates(view: View, chain: string): boolean {
  const seen = new Set([chain]);
  for (const at of seen) {
    const rules = rulesOf(view, at);
    if (rules.translates) return true;
    for (const jump of rules.jumps) seen.add(jump);
  }
  return false;
}

/** Objects that a chain decides for, by kind and field. */
const USERS = [
  ['bridge', 'inboundFilter'],
  ['bridge', 'outboundFilter'],
  ['port', 'inboundFilter'],
  ['port', 'outboundFilter'],
] as const;
/** Said of a chain that translates, and of a bridge that would use it. */
export const ROUTERS_ONLY =
  'translates addresses, which is done at routers and their ports: not at a bridge';

/** A rule that translates, or leads to one, must be reached from no bridge. */
export function bridgeFaults(rule: Rule, view: View): Fault[] {
  const jumps = rule.jump !== undefined && translates(view, rule.jump);
  if (!isNatAction(rule.action) && !jumps) return [];
  const above = new Set([rule.chain]);
  for (const chain of above) {
    for (const [kind, field] of USERS)
      for (const id of view.referrers(kind, field, chain)) {
        const user = view.get(kind, id) as { readonly type?: string } | undefined;
        if (kind === 'port' && user?.type !== 'bridge') continue;
        return [{ path: jumps ? 'jump' : 'action', message: `${ROUTERS_ONLY}` }];
      }
    for (const id of view.referrers('rule', 'jump', chain)) {
      const from = (view.get('rule', id) as unknown as Rule | undefined)?.chain;
      if (from !== undefined) above.add(from);
    }
  }
  return [];
}
