/**
 * What rules that are logged decided: the last lines of each.
 *
 * Invariants: a rule has a budget of lines, so that a flood costs little and pushes out no other
 * rule's; what it does not write down it counts, and the next line says how many those were. At
 * most RULES_MAX rules have lines: of a further one the rule that was quiet longest is forgotten.
 */
import { packetText } from '#flow/match-text.ts';
import type { PortId, RuleId } from '#virtual/ids.ts';
import type { Logged } from '#virtual/outcome.ts';

/** Lines kept for each rule: the last ones. */
export const LINES_MAX = 128;
/** Rules that have lines; one more, and those of the rule that was quiet longest go. */
export const RULES_MAX = 512;
/** Lines that a rule may write at once, and a second. */
export const BURST = 50;
export const PER_SECOND = 10;

const SEQ_ROOM = 2 ** 20;

export interface LogLine {
  /** Counts the lines of this agent, so that a reader knows where it was. */
  readonly seq: number;
  readonly atMs: number;
  readonly rule: RuleId;
  /** As it was at the rule, in the words of a trace. */
  readonly packet: string;
  /** Where it entered; undefined: by the tunnel, or the network itself sent it. */
  readonly port: PortId | undefined;
  /** Lines that the rule did not write since its last one. */
  readonly left: number;
}

interface Lines {
  readonly lines: LogLine[];
  tokens: number;
  filledMs: number;
  left: number;
}

export class RuleLog {
  readonly #rules = new Map<RuleId, Lines>();
  readonly #now: () => number;
  #seq: number;

  /**
   * `now`: monotonic milliseconds. `seed`: a number of 32 bits that no other agent has, so that
   * lines of several are told apart.
   */
  constructor(now: () => number, seed: number) {
    this.#now = now;
    this.#seq = (seed >>> 0) * SEQ_ROOM;
  }

  write({ rule, headers, port }: Logged & { readonly port: PortId | undefined }): void {
    const atMs = this.#now();
    const of = this.#of(rule, atMs);
    of.tokens = Math.min(BURST, of.tokens + ((atMs - of.filledMs) / 1_000) * PER_SECOND);
    of.filledMs = atMs;
    if (of.tokens < 1) {
      of.left += 1;
      return;
    }
    of.tokens -= 1;
    this.#seq += 1;
    const { left } = of;
    of.lines.push({ seq: this.#seq, atMs, rule, packet: packetText(headers), port, left });
    of.left = 0;
    if (of.lines.length > LINES_MAX) of.lines.shift();
  }

  /** In the order in which they were written. `isWanted`: of which rules. */
  lines(isWanted: (rule: RuleId) => boolean): LogLine[] {
    return [...this.#rules]
      .flatMap(([rule, { lines }]) => (isWanted(rule) ? lines : []))
      .toSorted((a, b) => a.seq - b.seq);
  }
  forget(isRule: (rule: RuleId) => boolean): void {
    for (const rule of this.#rules.keys()) if (!isRule(rule)) this.#rules.delete(rule);
  }

  #of(rule: RuleId, atMs: number): Lines {
    const known = this.#rules.get(rule);
    // The rules stay in the order in which they were last heard of.
    if (known !== undefined) this.#rules.delete(rule);
    const made = known ?? { lines: [], tokens: BURST, filledMs: atMs, left: 0 };
    this.#rules.set(rule, made);
    if (this.#rules.size > RULES_MAX) {
      const [quiet] = this.#rules.keys();
      if (quiet !== undefined) this.#rules.delete(quiet);
    }
    return made;
  }
}
