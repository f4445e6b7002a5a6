/**
 * Which connections there are, by what was really let through: what laws of connections hold hosts
 * against. It knows nothing of records, of who tells whom, and of how packets are decided.
 *
 * Invariant: where it cannot know, it says so (undefined), never what hosts happen to do.
 */
import { CONNECTION_TIMEOUTS as LIVES } from '#flow/connection-timeouts.ts';

export const PROTOCOLS = ['udp', 'tcp', 'icmp', 'udp6', 'tcp6', 'icmp6'] as const;
export type Protocol = (typeof PROTOCOLS)[number];
/** The ports behind which the peer is. */
export type Door = 1 | 2;

/**
 * So much longer than its life a record may be there: it goes with a tick, and each time it is told
 * it looks younger by what the datagram took.
 */
const LONGER_MS = 10_000;

function lifeOf(protocol: Protocol, answered: boolean): number {
  if (protocol.startsWith('icmp')) return LIVES.echo;
  if (protocol.startsWith('udp')) return answered ? LIVES.udpAnswered : LIVES.udpUnanswered;
  return answered ? LIVES.tcpEstablished : LIVES.tcpOpening;
}

type Joined = 'always' | 'never' | 'partly';
interface Connection {
  readonly protocol: Protocol;
  /** Where its packets entered; undefined: at the workload. */
  readonly door: Door | undefined;
  lastMs: number;
  /** The same, with what nobody has to have heard. */
  lastMayMs: number;
  /** `maybe`: it may have begun anew since, or not. */
  answered: 'yes' | 'no' | 'maybe';
  /** Whether the second door's host was to be told all the time since, or never. */
  joined: Joined;
  /** False: nobody has to remember it, or two doors do that do not know of each other. */
  isSure: boolean;
}

/** A packet of who opens a connection, which the host where it entered let through. */
export interface Passed {
  readonly name: string;
  readonly protocol: Protocol;
  readonly door?: Door;
  /** Whether hosts have to remember it: it arrived, and a filter asks answers for their state. */
  readonly isNoted: boolean;
}

export class Oracle {
  nowMs = 0;
  readonly #connections = new Map<string, Connection>();
  #isGrouped = true;
  #isBesideSecond = false;

  get isGrouped(): boolean {
    return this.#isGrouped;
  }
  regroup(): void {
    this.#isGrouped = !this.#isGrouped;
    for (const connection of this.#connections.values()) connection.joined = 'partly';
  }

  /**
   * The workload is another host's; `isBesideSecond`: that of the second door, which then knows of
   * its connections as the first does, for they belong to devices and not to ports.
   */
  moved(isBesideSecond: boolean): void {
    this.#isBesideSecond = isBesideSecond;
    if (!isBesideSecond) return;
    for (const connection of this.#connections.values())
      if (connection.joined === 'never') connection.joined = 'partly';
  }
  get #joined(): Joined {
    if (this.#isGrouped) return 'always';
    return this.#isBesideSecond ? 'partly' : 'never';
  }

  /** A packet of who opens a connection was let through. */
  passed({ name, protocol, door, isNoted }: Passed): void {
    const alive = this.#isAlive(name);
    const before = alive === false ? undefined : this.#connections.get(name);
    const joined = this.#joined;
    if (before === undefined) {
      const [lastMs, lastMayMs] = [this.nowMs, this.nowMs];
      const fresh = { protocol, door, lastMs, lastMayMs, answered: 'no', joined } as const;
      this.#connections.set(name, { ...fresh, isSure: isNoted });
      return;
    }
    before.lastMayMs = this.nowMs;
    if (before.joined !== joined) before.joined = 'partly';
    if (before.door !== door && before.joined !== 'always') before.isSure = false;
    if (!isNoted) return;
    // There is a record by now; whether it is the one that was answered is another question.
    const anew = alive === undefined || !before.isSure;
    if (anew && before.answered === 'yes') before.answered = 'maybe';
    before.lastMs = this.nowMs;
    if (door === undefined) before.isSure = true;
  }

  /** An answer was let through. */
  answered(name: string, door?: Door): void {
    const connection = this.#connections.get(name);
    if (connection === undefined) return;
    // Nobody has to believe a host that has left the group.
    if (!connection.isSure || (door === 2 && connection.joined !== 'always'))
      return this.mayBeAnswered(name);
    connection.lastMayMs = this.nowMs;
    connection.lastMs = this.nowMs;
    connection.answered = 'yes';
  }

  /** What may be an answer was let through, and did not arrive, or not where it should. */
  mayBeAnswered(name: string): void {
    const connection = this.#connections.get(name);
    if (connection === undefined) return;
    connection.lastMayMs = this.nowMs;
    if (connection.answered === 'no') connection.answered = 'maybe';
  }

  #isAlive(name: string): boolean | undefined {
    const connection = this.#connections.get(name);
    if (connection === undefined) return false;
    const { protocol, answered, lastMs, lastMayMs } = connection;
    // What goes on is told at a third of a life.
    if (this.nowMs - lastMs < lifeOf(protocol, answered === 'yes') / 2) return true;
    const longest = LONGER_MS + lifeOf(protocol, answered !== 'no');
    return this.nowMs - lastMayMs > longest ? false : undefined;
  }

  /** Whether an answer that enters at a door, or at the workload, is one. Undefined: it may be. */
  isAnswer(name: string, door?: Door): boolean | undefined {
    const alive = this.#isAlive(name);
    const connection = this.#connections.get(name);
    if (alive === false || connection === undefined) return false;
    if (door === 2 && connection.joined === 'never') return false;
    const isTold = connection.isSure && (door !== 2 || connection.joined === 'always');
    return alive === true && isTold ? true : undefined;
  }
}
