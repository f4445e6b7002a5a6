/**
 * What one other host is owed, what is on its way there, and what came from it.
 *
 * A record is owed until a datagram that held it was acknowledged. What is sent again is the record
 * as it is by then, so nothing is kept but its name. Invariants: no more than WINDOW datagrams are
 * on their way; who does not answer gets one a second; a datagram is taken once (RFC 4303 §3.4.3
 * does alike), also after this process was started anew, since that has another number.
 */
import type { ConnectionKey, ConnectionRef } from '#virtual/connection.ts';
import { ASKS_MAX } from './wire.ts';

/** Datagrams on their way to one host: as many as one acknowledgement can tell of. */
export const WINDOW = 32;
/** The first pause before a datagram is sent again, and the longest; each is twice the last. */
const RETRY_FIRST_MS = 20;
export const RETRY_LONGEST_MS = 1_000;
/** Without an answer for so long a host is taken for gone, for now. */
const SILENT_MS = 2_000;
/** Sequences behind the newest that are told apart. */
const SEEN_BITS = 32;

/** Numbers of earlier processes that are remembered. */
const PAST_MAX = 64;

/** Questions that wait to be sent; there is no room for more. */
const ASKS_WAITING_MAX = 256;

/** Datagrams that ask for everything, one a tick, beside all others that carry the question. */
const ASKS = 4;

/** Of numbers that count as 16 bits do. */
const isAtLeast = (a: number, b: number): boolean => ((a - b) & 0xffff) < 0x8000;

interface Sent {
  readonly refs: readonly ConnectionRef[];
  readonly sentMs: number;
}

/** A record that is owed; `urgent`: it was asked about. */
export interface Owed extends ConnectionRef {
  readonly urgent: boolean;
}

export class Peer {
  /** Of the other process; 0: not known. */
  boot = 0;
  /** Told with every datagram: another number asks to be told everything anew. */
  wants = 0;
  /** What it wanted last. */
  wanted = 0;
  /** It told of devices that are not seen here: once they are, it is asked for everything. */
  toldUnseen = false;
  /** Ticks in which it is asked again: any of these datagrams may get lost. */
  asking = 0;
  /** Its newest question that was looked at, and whether it is to be told so. */
  #answered = 0;
  owesAnswer = false;
  /** The newest question of ours that it has looked at. */
  #heard = 0;
  /** Datagrams sent again. */
  retransmitted = 0;
  #sequence = 0;
  /** The newest sequence of the other process, and which before it were seen. */
  #newest = 0;
  #seen = 0;
  #owesAck = false;
  #retryMs = RETRY_FIRST_MS;
  #heardMs: number;
  #triedMs = 0;
  /** By slot: its generation. In the order in which they came to be owed. */
  #asked = 0;
  #asks: ConnectionKey[] = [];
  readonly #owed = new Map<number, number>();
  /** Of these, what it has asked about: told before all else, so that the answer is behind it. */
  readonly #urgent = new Set<number>();
  /** The answer that goes with what is sent. */
  #told = 0;
  readonly #sent = new Map<number, Sent>();
  /** Numbers of earlier processes, the last one first. */
  readonly #past: number[] = [];

  constructor(nowMs: number) {
    this.#heardMs = nowMs;
  }

  get owed(): number {
    return this.#owed.size;
  }
  get onTheWay(): number {
    return this.#sent.size;
  }
  owe({ slot, generation }: ConnectionRef): void {
    this.#owed.set(slot, generation);
  }

  /** What it has asked about comes before the rest, however much that is. */
  oweFirst(ref: ConnectionRef): void {
    this.owe(ref);
    this.#urgent.add(ref.slot);
  }

  /** Whether it has not answered for a while though there is something to answer. */
  isSilent(nowMs: number): boolean {
    return this.#sent.size > 0 && nowMs - this.#heardMs > SILENT_MS;
  }
  /** Whether one more datagram may go. */
  maySend(nowMs: number): boolean {
    if (this.#owed.size === 0) return false;
    if (this.isSilent(nowMs)) return nowMs - this.#triedMs >= RETRY_LONGEST_MS;
    return this.#sent.size < WINDOW || this.#urgent.size > 0;
  }
  /** What was taken and found no room is owed as before. */
  return(refs: readonly Owed[]): void {
    for (const ref of refs)
      if (ref.urgent) this.oweFirst(ref);
      else this.owe(ref);
  }
  /** Takes up to `max` of what is owed. */
  take(max: number): Owed[] {
    const refs: Owed[] = [];
    for (const slots of [this.#urgent, this.#owed.keys()])
      for (const slot of slots) {
        if (refs.length === max) break;
        const generation = this.#owed.get(slot);
        const urgent = this.#urgent.has(slot);
        if (generation !== undefined) refs.push({ slot, generation, urgent });
        this.#owed.delete(slot);
        this.#urgent.delete(slot);
      }
    return refs;
  }
  /** The sequence under which these go. */
  sending(refs: readonly ConnectionRef[], nowMs: number): number {
    if (this.#sent.size === 0) this.#heardMs = Math.max(this.#heardMs, nowMs - RETRY_LONGEST_MS);
    if (this.#sent.size >= WINDOW) this.#reclaim(this.#sent.keys().next().value);
    this.#sequence += 1;
    this.#triedMs = nowMs;
    this.#sent.set(this.#sequence, { refs, sentMs: nowMs });
    return this.#sequence;
  }
  #reclaim(sequence: number | undefined): void {
    const sent = sequence === undefined ? undefined : this.#sent.get(sequence);
    if (sequence === undefined || sent === undefined) return;
    this.#sent.delete(sequence);
    this.retransmitted += 1;
    for (const ref of sent.refs) if (!this.#owed.has(ref.slot)) this.owe(ref);
  }

  /** What was not acknowledged in time is owed again. */
  retry(nowMs: number): void {
    let late = false;
    for (const [sequence, { sentMs }] of this.#sent)
      if (nowMs - sentMs >= this.#retryMs) {
        this.#reclaim(sequence);
        late = true;
      }
    if (late) this.#retryMs = Math.min(this.#retryMs * 2, RETRY_LONGEST_MS);
  }

  /** What acknowledges what came, for the header of whatever is sent. */
  acknowledging(): { readonly ack: number; readonly ackBits: number } {
    this.#owesAck = false;
    return { ack: this.#newest, ackBits: this.#seen >>> 0 };
  }
  get owesAck(): boolean {
    return this.#owesAck;
  }
  acknowledged(ack: number, ackBits: number, nowMs: number): void {
    this.#heardMs = nowMs;
    let got = false;
    for (let i = -1; i < SEEN_BITS; i++)
      if (i < 0 || ((ackBits >>> i) & 1) === 1) got = this.#sent.delete(ack - 1 - i) || got;
    if (got) this.#retryMs = RETRY_FIRST_MS;
  }

  /** Whether a datagram of this sequence is a new one; 0 always is, for it has no records. */
  isNew(sequence: number): boolean {
    if (sequence === 0) return true;
    if (sequence > this.#newest) return true;
    const behind = this.#newest - 1 - sequence;
    return behind >= 0 && behind < SEEN_BITS && ((this.#seen >>> behind) & 1) === 0;
  }
  /** Its records were taken in: from now on it is acknowledged, and not taken again. */
  taken(sequence: number): void {
    this.#owesAck = true;
    if (sequence <= this.#newest) {
      this.#seen |= 1 << (this.#newest - 1 - sequence);
      return;
    }
    const by = sequence - this.#newest;
    const before = this.#newest === 0 ? 0 : 1;
    const shifted = by >= SEEN_BITS ? 0 : this.#seen << by;
    this.#seen = by > SEEN_BITS ? 0 : shifted | (before << (by - 1));
    this.#newest = sequence;
  }
  /** A datagram that was taken before came again: its acknowledgement was lost. */
  again(): void {
    this.#owesAck = true;
  }
  /** Asks to be told everything anew. */
  ask(): void {
    this.toldUnseen = false;
    this.wants = (this.wants + 1) & 0xffff;
    this.asking = ASKS;
  }

  /**
   * Asks about the record that has this key; answers the number of the question, undefined when
   * there is no room for one more.
   */
  question(key: ConnectionKey): number | undefined {
    if (this.#asks.length >= ASKS_WAITING_MAX) return undefined;
    this.#asks.push(key);
    const datagrams = Math.ceil(this.#asks.length / ASKS_MAX);
    return (this.#asked + datagrams) & 0xffff;
  }
  /** The newest question that was sent, for the header of whatever is. */
  get asked(): number {
    return this.#asked;
  }
  /** The questions of one datagram, which is to be sent; none: there are no more. */
  takeAsks(): readonly ConnectionKey[] {
    const asks = this.#asks.splice(0, ASKS_MAX);
    if (asks.length > 0) this.#asked = (this.#asked + 1) & 0xffff;
    return asks;
  }
  /** Whether it has looked at a question; whoever is another process by now never will. */
  hasHeard(question: number): boolean {
    return isAtLeast(this.#heard, question);
  }
  /** It says so; datagrams may come in another order than they were sent. */
  hear(answered: number): void {
    if (isAtLeast(answered, this.#heard)) this.#heard = answered;
  }
  /** Its questions up to this one were looked at. */
  answers(question: number): void {
    if (isAtLeast(question, this.#answered)) this.#answered = question;
    this.owesAnswer = true;
  }
  /** Not before all that it has asked about is on its way: who is answered waits no longer. */
  get answered(): number {
    if (this.#urgent.size === 0) this.#told = this.#answered;
    return this.#told;
  }

  /** Whether a number is of a process that came before: then somebody repeats its words. */
  isPast(boot: number): boolean {
    return this.#past.includes(boot);
  }
  /** The other process is another one: what it had seen, and told, was of an earlier one. */
  restarted(boot: number): void {
    if (this.boot !== 0) this.#past.unshift(this.boot);
    this.#past.length = Math.min(this.#past.length, PAST_MAX);
    this.boot = boot;
    this.#answered = 0;
    this.#told = 0;
    // It has heard nothing of what its predecessor was asked, and never will.
    this.#heard = this.#asked;
    this.wanted = 0;
    this.#newest = 0;
    this.#seen = 0;
    this.#retryMs = RETRY_FIRST_MS;
    for (const sequence of this.#sent.keys()) this.#reclaim(sequence);
  }
}
