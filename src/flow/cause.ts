/**
 * Why flows are what they are: for each, the steps of its walk and the verdict, shared between
 * flows.
 *
 * Every step is kept once. A list of steps is a tree of halves, and equal trees are one: what a
 * flow has in common with others (where it entered, where it leaves) costs it nothing, so a further
 * flow is one node. Invariant: a node or a step exists while a flow or a bigger tree needs it, and
 * no longer.
 */
import type { Rewrites } from '#virtual/match.ts';
import type { Recipient, Step, Verdict } from '#virtual/outcome.ts';
import { grown, moreRows, NONE } from './column.ts';
import { rewriteText } from './rewrite.ts';

export interface Cause {
  readonly steps: readonly Step[];
  readonly verdict: Verdict;
  /**
   * What the walk wrote, where no action says it: the host drops what the network would forward.
   */
  readonly rewrites?: Rewrites;
}
type Item =
  | { readonly step: Step }
  | { readonly verdict: Verdict }
  | { readonly rewrites: Rewrites };

function wordOf(item: Item): Step | Verdict | Rewrites {
  if ('step' in item) return item.step;
  return 'verdict' in item ? item.verdict : item.rewrites;
}
const ROWS_MAX = 2 ** 30;
/** Another rule may stand where one stood. */
const stepText = ({ at, did, detail, rule, balanced: by }: Step): string =>
  `${did} ${at.kind} ${at.id} ${rule ?? by?.member ?? ''} ${by?.vip ?? ''} ${detail ?? ''}`;

function recipientText(to: Recipient): string {
  const vlan = to.vlan === undefined ? '' : ` vlan ${to.vlan}`;
  if ('port' in to) return `port ${to.port}${vlan}`;
  const not = to.not === undefined ? '' : ` not ${to.not.join(' ')}`;
  const here = to.here === undefined ? '' : 'here';
  return `flood ${to.flood} except ${to.except ?? '-'} ${here}${not}${vlan}`;
}

function verdictText(verdict: Verdict): string {
  if (verdict.kind === 'drop') return `= drop ${verdict.reason}`;
  if (verdict.kind === 'answer' || verdict.kind === 'collect') return `= ${verdict.kind}`;
  if (verdict.kind === 'wait') return `= wait ${verdict.port} ${verdict.ip}`;
  if (verdict.kind === 'want-ports') return `= want-ports ${verdict.router} ${verdict.address}`;
  return `= ${verdict.to.map(recipientText).join(', ')} ${verdict.cut ?? ''}`;
}

const rewritesText = (all: Rewrites): string => `: ${rewriteText(all)}`;

/** A tree is the number of a node, or, for a single item, a number below NONE. */
const leafOf = (item: number): number => NONE - 1 - item;
const itemOf = leafOf;

export class CauseTable {
  /** The steps and verdicts that are kept, by what they are: most are the very ones met before. */
  readonly #known = new Map<Step | Verdict | Rewrites, number>();
  readonly #ids = new Map<string, number>();
  readonly #items: (Item | undefined)[] = [];
  readonly #texts: (string | undefined)[] = [];
  readonly #freeItems: number[] = [];
  #itemUses = new Int32Array(0);
  /**
   * By node. `#next`: in the bucket, or the next free one. `#uses`: flows it is the cause of, and
   * bigger trees.
   */
  #left = new Int32Array(0);
  #right = new Int32Array(0);
  #uses = new Int32Array(0);
  #next = new Int32Array(0);
  #free = NONE;
  #nodes = 0;
  #buckets = new Int32Array(0);

  /** How many distinct nodes there are. */
  get nodes(): number {
    return this.#nodes;
  }
  /** How many distinct steps and verdicts there are. */
  get items(): number {
    return this.#ids.size;
  }

  /**
   * A number for a cause, equal for equal ones; to be given back by `release`, once for each
   * `intern`.
   */
  intern({ steps, verdict, rewrites }: Cause): number {
    const leaves: number[] = [];
    for (const step of steps) {
      const item = this.#known.get(step) ?? this.#item(stepText(step), step, { step });
      leaves.push(leafOf(item));
    }
    const item = this.#known.get(verdict) ?? this.#item(verdictText(verdict), verdict, { verdict });
    leaves.push(leafOf(item));
    if (rewrites !== undefined)
      leaves.push(leafOf(this.#item(rewritesText(rewrites), rewrites, { rewrites })));
    const tree = this.#build(leaves, 0, leaves.length);
    this.#use(tree);
    return tree;
  }

  /** Recursion is as deep as a walk's steps can be halved. */
  release(tree: number): void {
    if (tree < NONE) {
      this.#releaseItem(itemOf(tree));
      return;
    }
    this.#uses[tree]!--;
    if (this.#uses[tree]! > 0) return;
    const left = this.#left[tree]!;
    const right = this.#right[tree]!;
    this.#unlink(tree);
    this.#next[tree] = this.#free;
    this.#free = tree;
    this.#nodes--;
    this.release(left);
    this.release(right);
  }

  read(cause: number): Cause {
    const steps: Step[] = [];
    let verdict: Verdict | undefined;
    let rewrites: Rewrites | undefined;
    const visit = (tree: number): void => {
      if (tree >= 0) {
        visit(this.#left[tree]!);
        visit(this.#right[tree]!);
        return;
      }
      const item = this.#items[itemOf(tree)];
      if (item === undefined) return;
      if ('step' in item) steps.push(item.step);
      else if ('verdict' in item) verdict = item.verdict;
      else rewrites = item.rewrites;
    };
    visit(cause);
    if (verdict === undefined) throw new Error(`cause: ${cause} is not one`);
    return { steps, verdict, ...(rewrites !== undefined && { rewrites }) };
  }

  #use(tree: number): void {
    if (tree < NONE) this.#itemUses[itemOf(tree)]!++;
    else this.#uses[tree]!++;
  }

  /** By its text; equal ones are kept as the one met last, which is likely to be met again. */
  #item(text: string, met: Step | Verdict | Rewrites, value: Item): number {
    const known = this.#ids.get(text);
    if (known !== undefined) {
      this.#known.delete(wordOf(this.#items[known]!));
      this.#known.set(met, known);
      this.#items[known] = value;
      return known;
    }
    const item = this.#freeItems.pop() ?? this.#items.length;
    if (item >= this.#itemUses.length)
      this.#itemUses = grown(this.#itemUses, moreRows(item, ROWS_MAX));
    this.#ids.set(text, item);
    this.#known.set(met, item);
    this.#items[item] = value;
    this.#texts[item] = text;
    this.#itemUses[item] = 0;
    return item;
  }

  #releaseItem(item: number): void {
    this.#itemUses[item]!--;
    if (this.#itemUses[item]! > 0) return;
    const text = this.#texts[item];
    if (text !== undefined) this.#ids.delete(text);
    const value = this.#items[item];
    if (value !== undefined) this.#known.delete(wordOf(value));
    this.#items[item] = undefined;
    this.#texts[item] = undefined;
    this.#freeItems.push(item);
  }

  #build(leaves: readonly number[], from: number, to: number): number {
    if (to - from === 1) return leaves[from]!;
    const middle = (from + to) >> 1;
    return this.#node(this.#build(leaves, from, middle), this.#build(leaves, middle, to));
  }

  #node(left: number, right: number): number {
    if (this.#buckets.length > 0)
      for (let at = this.#buckets[this.#bucketOf(left, right)]!; at !== NONE; at = this.#next[at]!)
        if (this.#left[at] === left && this.#right[at] === right) return at;
    if (this.#free === NONE) this.#grow();
    const node = this.#free;
    this.#free = this.#next[node]!;
    this.#nodes++;
    this.#left[node] = left;
    this.#right[node] = right;
    this.#uses[node] = 0;
    this.#use(left);
    this.#use(right);
    this.#link(node);
    return node;
  }

  #bucketOf(left: number, right: number): number {
    const mixed = Math.imul(left ^ Math.imul(right, 0x9e3779b1), 0x85ebca6b);
    return (mixed ^ (mixed >>> 15)) & (this.#buckets.length - 1);
  }

  #link(node: number): void {
    const bucket = this.#bucketOf(this.#left[node]!, this.#right[node]!);
    this.#next[node] = this.#buckets[bucket]!;
    this.#buckets[bucket] = node;
  }

  #unlink(node: number): void {
    const bucket = this.#bucketOf(this.#left[node]!, this.#right[node]!);
    const next = this.#next[node]!;
    let at = this.#buckets[bucket]!;
    if (at === node) this.#buckets[bucket] = next;
    else {
      while (this.#next[at] !== node) at = this.#next[at]!;
      this.#next[at] = next;
    }
  }

  /** Called when no node is free: all of them are in buckets, of which there may be more now. */
  #grow(): void {
    const rows = this.#left.length;
    const more = moreRows(rows, ROWS_MAX);
    this.#left = grown(this.#left, more);
    this.#right = grown(this.#right, more);
    this.#uses = grown(this.#uses, more);
    this.#next = grown(this.#next, more);
    const buckets = 2 ** Math.floor(Math.log2(more));
    if (buckets > this.#buckets.length) {
      this.#buckets = new Int32Array(buckets).fill(NONE);
      for (let node = 0; node < rows; node++) this.#link(node);
    }
    for (let node = rows; node < more - 1; node++) this.#next[node] = node + 1;
    this.#next[more - 1] = NONE;
    this.#free = rows;
  }
}
