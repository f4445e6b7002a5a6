/**
 * The first rule of a chain that a packet matches, at a cost that does not grow with the rules.
 *
 * The plain way asks rule after rule, and reads of the packet what the rule at hand needs. The tree
 * asks for the very same facts in the very same order, and with each answer drops all rules that it
 * rules out, wherever they stand: so the next candidate is found at once. Nodes are made when the
 * first packet comes by, for all packets whose values no candidate tells apart.
 *
 * Invariants: both ways answer the same rule and leave the same mask; a chain's tree holds at most
 * TREE_ENTRIES_MAX entries besides those of one path, and is begun anew when it is full.
 */
import type { ChainId } from '../ids.ts';
import type { FieldSet } from '../match.ts';
import type { Step } from '../outcome.ts';
import type { ConditionField } from '../rule/condition.ts';
import type { ChainView, RuleView } from '../view.ts';
import { readsOf, type Fact, type Subject, type Value } from './facts.ts';
import {
  answerOf,
  testsOf,
  type Failed,
  type Known,
  type Span,
  type Tests,
} from './match-condition.ts';

/** Candidates that the tree of a chain lists, all nodes together; beyond, it is begun anew. */
export const TREE_ENTRIES_MAX = 262_144;
/** Places in a chain from which there are trees; from others its rules are asked one by one. */
const ROOTS_MAX = 8;
/** So few rules are asked one by one. */
const PLAIN_MAX = 8;

/** A rule, and its condition made ready. */
export interface Entry {
  readonly rule: RuleView;
  readonly tests: Tests;
}

/** What was tried: `because`: what failed; undefined for the rule that matched. */
export type Tried = (rule: RuleView, because: string | undefined) => void;

/** Facts whose values are told apart one by one: they have few, or mean something by themselves. */
const ONE_BY_ONE: ReadonlySet<string> = new Set(['ethType', 'ipProto', 'ipFrag', 'ipTos', 'vlan']);

/** Fields that ask where a packet came from, and by which port it leaves. */
const ASK_ORIGIN = [
  'inPorts',
  'inPortGroup',
  'portGroup',
  'traversedBridge',
  'traversedRouter',
] as const;
const ASK_OUT = ['outPorts', 'outPortGroup'] as const;

/** Where spans of values begin and end, sorted. */
interface Ranks<V> {
  readonly starts: readonly V[];
  readonly ends: readonly V[];
}
/** How a node tells values apart. The addresses of two families never compare. */
interface Classes {
  /** Of each candidate, values without which it cannot match; so most need not be asked. */
  readonly needs: readonly (Span | undefined)[];
  readonly numbers: Ranks<number>;
  readonly texts: Ranks<string>;
}

interface Node {
  /** The facts on the way here, with the values of the packet that came first. */
  readonly known: Known;
  /** The header fields that were read before, or on the way here. */
  readonly free: FieldSet;
  /** Rules that may still match, in order; all before `otherwise`. */
  readonly candidates: readonly number[];
  /** The rule that matches when no candidate does; -1: none. */
  readonly otherwise: number;
  /** What the first candidate needs; undefined: there is none. */
  readonly next: Fact | undefined;
  /** Undefined: each value is a class of its own. */
  readonly classes: Classes | undefined;
  readonly children: Map<Value, Node>;
}

/** How many of these sorted values are smaller than `value`, or, with `orEqual`, not larger. */
function rank<V extends number | string>(values: readonly V[], value: V, orEqual: boolean): number {
  let [low, high] = [0, values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    const at = values[middle]!;
    if (at < value || (orEqual && at === value)) low = middle + 1;
    else high = middle;
  }
  return low;
}
/** Which spans have begun, and which are over: values that agree in that are in the same spans. */
const placeIn = <V extends number | string>({ starts, ends }: Ranks<V>, value: V): number =>
  rank(starts, value, true) * (ends.length + 1) + rank(ends, value, false);

function classOf({ classes }: Node, value: Value): Value {
  if (classes === undefined || typeof value === 'boolean') return value;
  return typeof value === 'number'
    ? placeIn(classes.numbers, value)
    : -1 - placeIn(classes.texts, value);
}

/** The candidates that may still match with this value. */
function possible({ candidates, classes }: Node, value: Value): readonly number[] {
  if (classes === undefined || typeof value === 'boolean') return candidates;
  const { needs } = classes;
  return candidates.filter((_, i) => {
    const need = needs[i];
    return need === undefined || (need[0] <= value && value <= need[1]);
  });
}

function ranksOf<V extends number | string>(starts: Iterable<V>, ends: Iterable<V>): Ranks<V> {
  const sorted = (values: Iterable<V>): V[] =>
    [...new Set(values)].sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return { starts: sorted(starts), ends: sorted(ends) };
}

/** Where the asking begins, and what is known by then. */
const rootKey = (start: number, free: FieldSet): string => `${start}/${free}`;

export class FirstMatch {
  readonly entries: readonly Entry[];
  readonly traits: {
    readonly origin: boolean;
    readonly out: boolean;
    readonly state: boolean;
    /** Some rule translates; and some does by records. */
    readonly nat: boolean;
    readonly records: boolean;
  };
  /** Chains that rules jump to. */
  readonly jumps: ReadonlySet<ChainId>;
  /** The step of a walk that no rule decides about. */
  readonly undecided: Step;
  readonly #at: Step['at'];
  readonly #steps: (Step | undefined)[] = [];
  readonly #roots = new Map<string, Node>();
  readonly #listedMax: number;
  #listed = 0;

  constructor({ rules, ready: { at } }: ChainView, listedMax = TREE_ENTRIES_MAX) {
    this.#listedMax = listedMax;
    this.entries = rules.map((rule) => ({ rule, tests: testsOf(rule.condition) }));
    const asks = (fields: readonly ConditionField[]): boolean =>
      rules.some(({ condition }) => fields.some((field) => condition[field] !== undefined));
    this.traits = {
      origin: asks(ASK_ORIGIN),
      out: asks(ASK_OUT),
      state: asks(['connection']),
      nat: rules.some(({ nat }) => nat !== undefined),
      records: rules.some(({ nat }) => nat !== undefined && nat.static === undefined),
    };
    this.jumps = new Set(rules.map(({ jump }) => jump).filter((jump) => jump !== undefined));
    this.#at = at;
    this.undecided = { at, did: 'no-rule' };
  }

  /** The step of a walk in which this rule decides, or leads on. */
  step(i: number): Step {
    const known = this.#steps[i];
    if (known !== undefined) return known;
    const { id, position, action, name } = this.entries[i]!.rule;
    const detail = `${position} ${action}${name === undefined ? '' : ` ${name}`}`;
    return (this.#steps[i] = { at: this.#at, did: 'rule', detail, rule: id });
  }

  /** The number of the first rule from `start` on that matches; -1: none does. */
  find(subject: Subject, start: number): number {
    if (this.entries.length - start <= PLAIN_MAX) return this.plain(subject, start);
    const may = this.#roots.size < ROOTS_MAX || this.#roots.has(rootKey(start, subject.free));
    return may ? this.tree(subject, start) : this.plain(subject, start);
  }

  plain(subject: Subject, start: number, tried?: Tried): number {
    const known = new Map<string, Value>();
    let because: string | undefined;
    const failed: Failed | undefined = tried && (({ name }) => (because = name));
    for (let i = start; i < this.entries.length; i++) {
      const { rule, tests } = this.entries[i]!;
      because = undefined;
      let answer = answerOf(tests, known, subject.free, failed);
      while (typeof answer !== 'boolean') {
        known.set(answer.key, subject.get(answer));
        answer = answerOf(tests, known, subject.free, failed);
      }
      tried?.(rule, answer ? undefined : (because ?? 'invert'));
      if (answer) return i;
    }
    return -1;
  }

  /** Whether one rule matches. */
  matches(subject: Subject, i: number, tried?: Tried): boolean {
    const known = new Map<string, Value>();
    const { rule, tests } = this.entries[i]!;
    let because: string | undefined;
    const failed: Failed | undefined = tried && (({ name }) => (because = name));
    let answer = answerOf(tests, known, subject.free, failed);
    while (typeof answer !== 'boolean') {
      known.set(answer.key, subject.get(answer));
      answer = answerOf(tests, known, subject.free, failed);
    }
    tried?.(rule, answer ? undefined : (because ?? 'invert'));
    return answer;
  }

  tree(subject: Subject, start: number): number {
    let node = this.#root(start, subject.free);
    while (node.next !== undefined) {
      const value = subject.get(node.next);
      const at = classOf(node, value);
      let child = node.children.get(at);
      if (child === undefined) {
        child = this.#below(node, node.next, value);
        node.children.set(at, child);
      }
      node = child;
    }
    return node.otherwise;
  }

  /** How many candidates are listed. */
  get listed(): number {
    return this.#listed;
  }

  #root(start: number, free: FieldSet): Node {
    const key = rootKey(start, free);
    const root = this.#roots.get(key);
    if (root !== undefined && this.#listed <= this.#listedMax) return root;
    if (this.#listed > this.#listedMax) {
      this.#roots.clear();
      this.#listed = 0;
    }
    const all = Array.from({ length: this.entries.length - start }, (_, i) => start + i);
    const made = this.#node({ known: new Map(), free }, all, -1);
    this.#roots.set(key, made);
    return made;
  }

  /** What is left when one more fact is known. */
  #below(node: Node, fact: Fact, value: Value): Node {
    const { known, free, otherwise } = node;
    const more = free | readsOf(fact);
    const all = new Map(known).set(fact.key, value);
    return this.#node({ known: all, free: more }, possible(node, value), otherwise);
  }

  #node(
    { known, free }: Pick<Node, 'known' | 'free'>,
    among: readonly number[],
    before: number,
  ): Node {
    const candidates: number[] = [];
    let otherwise = before;
    let next: Fact | undefined;
    for (const i of among) {
      const answer = answerOf(this.entries[i]!.tests, known, free);
      if (answer === false) continue;
      if (answer === true) {
        otherwise = i;
        break;
      }
      next ??= answer;
      candidates.push(i);
    }
    this.#listed += candidates.length + 1;
    const classes = next && this.#classes(next, candidates);
    return { known, free, candidates, otherwise, next, classes, children: new Map() };
  }

  #classes(fact: Fact, candidates: readonly number[]): Classes | undefined {
    if (fact.field === undefined || ONE_BY_ONE.has(fact.key)) return undefined;
    const all: Span[] = [];
    const needs: (Span | undefined)[] = [];
    for (const i of candidates) {
      const { tests } = this.entries[i]!;
      let need: Span | undefined;
      for (const { span, inverted } of tests.all) {
        const is = span?.(fact);
        if (is === 'exact') return undefined;
        if (is === undefined) continue;
        all.push(is);
        if (!inverted && !tests.invert) need = is;
      }
      needs.push(need);
    }
    const at = (end: 0 | 1) => all.map((span) => span[end]);
    const numbers = (values: Span[number][]) => values.filter((v) => typeof v === 'number');
    const texts = (values: Span[number][]) => values.filter((v) => typeof v === 'string');
    return {
      needs,
      numbers: ranksOf(numbers(at(0)), numbers(at(1))),
      texts: ranksOf(texts(at(0)), texts(at(1))),
    };
  }
}
