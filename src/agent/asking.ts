/**
 * Packets that a filter would drop, though they may be answers to what another host let out: that
 * host is asked before they are dropped, for what it told of the connection may be lost or late.
 *
 * Invariants: a packet is asked about once, and waits no longer than until the answer or the next
 * tick but one; a source has a budget of questions, so that whoever scans asks nobody for long;
 * what is dropped after the question is dropped as without it; and what a member answers to a new
 * connection leaves only once somebody has said what it is, where anybody may be asked.
 */
import { acceptsTcp, tcpFlagsOf } from '#net/packet/tcp-flags.ts';
import { hashOfConnection, type ConnectionKey } from '#virtual/connection.ts';
import type { HostId } from '#virtual/ids.ts';
import type { Outcome } from '#virtual/outcome.ts';
import type { Tag } from '#virtual/tags.ts';
import { LIMITS } from './limits.ts';
import { type Parked, sourceOf, type SourceOf, Waiting } from './waiting.ts';

/** Who may know of connections, by what they were told or saw. */
export interface Oracle {
  /** The number of the question; undefined: the host cannot be asked. */
  ask(host: HostId, key: ConnectionKey): number | undefined;
  /** `never`: whoever was asked is gone. */
  answerTo(host: HostId, question: number): 'answered' | 'not yet' | 'never';
}
export interface AskingOptions {
  readonly oracle: Oracle;
  readonly now: () => number;
}

/**
 * What the host that may know of a connection has said: nothing yet; all that it knows, which has
 * come before; nothing, for it cannot be asked or does not answer. Or nobody need say anything.
 */
export type Word = 'waits' | 'had' | 'in vain' | 'no need';

/** A packet that need wait no longer. */
export interface Released {
  readonly parked: Parked;
  readonly word: Word;
}

/** What is to be asked of a host. */
export interface Wanted {
  readonly host: HostId;
  readonly key: ConnectionKey;
  readonly asker: Asker;
}
interface Question {
  readonly host: HostId;
  readonly number: number;
  readonly untilMs: number;
}
/** Of whom a question is: of whoever sends, or of a member that answers. */
export type Asker = 'sender' | 'member';
const BUDGETS = { sender: LIMITS.questionBudget, member: LIMITS.answerBudget } as const;

interface Budget {
  left: number;
  atMs: number;
}

/**
 * The key of a packet that is dropped because nobody here knows its connection, or that an answer
 * would leave as another one; undefined: what it becomes does not depend on that.
 */
export function missingKey({ verdict, connection, ...may }: Outcome): ConnectionKey | undefined {
  if (may.unreversed !== undefined || may.unserved === true) return connection?.key;
  if (verdict.kind !== 'drop' || connection === undefined) return undefined;
  if (verdict.reason !== 'filter-drop' && verdict.reason !== 'filter-reject') return undefined;
  const { state, key, found } = connection;
  return found === undefined && (state === 'new' || state === 'invalid') ? key : undefined;
}

/**
 * Whether a packet is not to leave before somebody has said whose answer it is: a member accepts a
 * connection, and as it is the packet would tell the client of a VIP to break that off. The member
 * sends it again.
 */
export const needsWord = ({ unserved }: Outcome, frame: Uint8Array): boolean =>
  unserved === true && acceptsTcp(tcpFlagsOf(frame) ?? 0);

export class Asking {
  readonly #options: AskingOptions;
  readonly #waiting = new Waiting();
  /** By the hash of the key. */
  readonly #questions = new Map<string, Question>();
  readonly #budgets = {
    sender: new Map<SourceOf, Budget>(),
    member: new Map<SourceOf, Budget>(),
  };
  readonly #inVain = new Set<Tag>();
  /** Packets about which nobody was asked: for want of budget or room, or of anybody to ask. */
  refused = 0;

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /** `waits`: for the answer of `host`; the bytes are kept. */
  ask(question: Wanted, packet: Parked): 'waits' | 'in vain' {
    const { host, key, asker } = question;
    const name = hashOfConnection(key);
    if (this.#questions.has(name)) return this.#waiting.park(name, packet) ? 'waits' : 'in vain';
    // Nothing is paid where nobody can be asked, as it is just after a start.
    const number = this.#mayAskNow(sourceOf(packet), asker)
      ? this.#options.oracle.ask(host, key)
      : undefined;
    if (number === undefined || !this.#waiting.park(name, packet)) {
      this.refused += 1;
      return 'in vain';
    }
    this.#refilled(sourceOf(packet), asker).left -= 1;
    const untilMs = this.#options.now() + LIMITS.questionMs;
    this.#questions.set(name, { host, number, untilMs });
    return 'waits';
  }
  /** Whether a source may ask at all: whom to ask costs a walk to find out. Refusals count. */
  mayAsk(source: SourceOf, asker: Asker): boolean {
    const may = this.#refilled(source, asker).left >= 1;
    if (!may) this.refused += 1;
    return may;
  }
  #mayAskNow(source: SourceOf, asker: Asker): boolean {
    return this.#questions.size < LIMITS.questionsMax && this.#refilled(source, asker).left >= 1;
  }
  #refilled(source: SourceOf, asker: Asker): Budget {
    const { burst, perSecond } = BUDGETS[asker];
    const nowMs = this.#options.now();
    const budget = this.#budgets[asker].getOrInsertComputed(source, () => ({
      left: burst,
      atMs: nowMs,
    }));
    budget.left = Math.min(burst, budget.left + ((nowMs - budget.atMs) / 1_000) * perSecond);
    budget.atMs = nowMs;
    return budget;
  }
  /** How many questions are not answered yet. */
  get open(): number {
    return this.#questions.size;
  }

  /** What need wait no longer: to be decided for good. */
  released(): readonly Released[] {
    if (this.#questions.size === 0) return [];
    const { oracle, now } = this.#options;
    const nowMs = now();
    const released: Released[] = [];
    for (const [name, { host, number, untilMs }] of this.#questions) {
      // What the host knows has come before its answer.
      const answer = oracle.answerTo(host, number);
      if (answer === 'not yet' && nowMs < untilMs) continue;
      this.#questions.delete(name);
      this.#waiting.release(name);
      const word = answer === 'answered' ? 'had' : 'in vain';
      for (const parked of this.#waiting.released()) released.push({ parked, word });
    }
    return released;
  }
  /**
   * A packet to a public end that nobody knows is dropped by a flow: for so long as a tick, since
   * who opens such a connection later tells only those by whose ports answers are to be expected.
   * False: there is no room; no flow is to be made.
   */
  inVain(tag: Tag): boolean {
    if (this.#inVain.size >= LIMITS.inVainMax) return false;
    this.#inVain.add(tag);
    return true;
  }
  /** Of flows that drop such: to be decided anew. */
  takeInVain(): readonly Tag[] {
    const tags = [...this.#inVain];
    this.#inVain.clear();
    return tags;
  }

  /** Forgets sources whose budgets are full again. */
  tick(): void {
    const nowMs = this.#options.now();
    for (const asker of ['sender', 'member'] as const) {
      const { burst, perSecond } = BUDGETS[asker];
      const fullMs = (burst / perSecond) * 1_000;
      for (const [source, { atMs }] of this.#budgets[asker])
        if (nowMs - atMs >= fullMs) this.#budgets[asker].delete(source);
    }
  }
}
