/**
 * Tells other hosts of connections, and takes in what they tell: a host where answers may enter
 * knows a record before the packet that opens it arrives there.
 *
 * Level-triggered: a host is owed every record that concerns it until it has acknowledged it, and
 * all of them again when it, or its place in the network, is another one. Invariants: datagrams of
 * hosts that are no peers, not made with the key of the pair, or not for this process are counted
 * and nothing else; a host may only speak of ports that it carries, shares a stateful group with,
 * or carried a moment ago.
 */
import type { RecordKeysTold } from '#client/record-keys.ts';
import type { Connections } from '#flow/connections.ts';
import type { Ip } from '#net/ip.ts';
import type { RowChange } from '#virtual/change.ts';
import type { ConnectionKey, ConnectionRef, Zone } from '#virtual/connection.ts';
import type { HostId } from '#virtual/ids.ts';
import { connectionTag, type Tag } from '#virtual/tags.ts';
import type { Telling } from '../tracking.ts';
import { Peer } from './peer.ts';
import type { Recipients } from './recipients.ts';
import {
  decode,
  encode,
  epochOf,
  recordOf,
  RECORDS_MAX,
  ROOM,
  sizeOfRecord,
  tellingOf,
  type TellingRecord,
} from './wire.ts';

/** Their numbers begin anew after so many; a process that is asked has its own. */
const QUESTIONS = 0x10000;
/** Datagrams taken in between two batches of first packets. */
const RECEIVED_MAX = 256;
/** Hosts that have not said who they are are greeted this often. */
const GREET_MS = 1_000;
/** Records looked at in one tick for hosts that are to be told everything anew. */
const RESYNC_PER_TICK = 2_048;

/** Datagrams between agents; each arrives once, twice or never. */
export interface RecordTransport {
  /** Polls readable when there are some; undefined: whoever waits need not know. */
  readonly fd: number | undefined;
  send(to: Ip, bytes: Uint8Array): void;
  /** The bytes are valid during the call. Answers how many there were. */
  receive(take: (from: Ip, bytes: Uint8Array) => void, max: number): number;
}
/** Of one epoch, by host: the key of the pair with this one. */
export interface RecordKeys {
  readonly epoch: number;
  readonly keys: ReadonlyMap<HostId, Uint8Array>;
}

/** As they were told by the API. */
export const keysOf = ({ epochs }: RecordKeysTold): RecordKeys[] =>
  epochs.map(({ epoch, keys }) => ({
    epoch,
    keys: new Map(keys.map(({ host, key }) => [host as HostId, Uint8Array.fromHex(key)])),
  }));

/** A number for this process, of a random one. */
export const bootOf = (seed: number): number => Math.imul(seed, 0x9e3779b1) >>> 0 || 1;

export interface ReplicasOptions {
  readonly connections: Connections;
  readonly recipients: Pick<
    Recipients,
    'of' | 'owns' | 'mayAsk' | 'maySpeak' | 'hosts' | 'addressOf' | 'hostAt' | 'before' | 'follow'
  >;
  readonly transport: RecordTransport;
  /** Whether there is such a device here. */
  readonly isZone: (zone: Zone) => boolean;
  /** Milliseconds, of the clock that stamps records. */
  readonly now: () => number;
  /** Random, not 0: tells this process from others. */
  readonly boot: number;
  /** Another host has told of a record that was not known here. */
  readonly told?: (ref: ConnectionRef) => void;
}

export interface ReplicaCounters {
  readonly sent: number;
  readonly received: number;
  readonly retransmitted: number;
  /** Questions about records that might be known elsewhere. */
  readonly asked: number;
  readonly owed: number;
  /** Datagrams: of no peer, of no known key, broken or forged, repeated or for another process. */
  readonly unknown: number;
  readonly unkeyed: number;
  readonly broken: number;
  readonly repeated: number;
  /** Records of which the sender may not speak, of devices not seen here, without room. */
  readonly refused: number;
  readonly unseen: number;
  readonly unplaced: number;
}

/** What is in a datagram besides its header. */
interface Contents {
  readonly records: readonly TellingRecord[];
  readonly asks: readonly ConnectionKey[];
  /** Of records. */
  readonly sequence: number;
}

export class Replicas implements Telling {
  readonly #options: ReplicasOptions;
  readonly #peers = new Map<HostId, Peer>();
  /** By epoch. */
  readonly #keys = new Map<number, RecordKeys>();
  #current: RecordKeys | undefined;
  /** Who has records to be sent. */
  readonly #owing = new Set<HostId>();
  /** Who has questions to be sent. */
  readonly #asking = new Set<HostId>();
  #greetedMs = -Infinity;
  /** Where the telling of everything anew has got to, and to whom. */
  readonly #resync = new Map<HostId, number>();
  readonly #count = {
    sent: 0,
    received: 0,
    unknown: 0,
    unkeyed: 0,
    broken: 0,
    repeated: 0,
    asked: 0,
    refused: 0,
    unseen: 0,
    unplaced: 0,
  };

  constructor(options: ReplicasOptions) {
    this.#options = options;
  }

  /** The descriptor to wait for. */
  get fd(): number | undefined {
    return this.#options.transport.fd;
  }

  /**
   * The keys of some epochs, the one to send with first. Those of earlier ones stay valid until
   * others take their place: a host that has not heard of the new ones is understood.
   */
  setKeys(all: readonly RecordKeys[]): void {
    this.#keys.clear();
    for (const keys of all) this.#keys.set(keys.epoch, keys);
    this.#current = all[0];
    this.#greetedMs = -Infinity;
    this.#greet();
  }

  opened(ref: ConnectionRef): void {
    this.#owe(ref);
  }
  wentOn(ref: ConnectionRef): void {
    this.#owe(ref);
  }
  #owe(ref: ConnectionRef): void {
    const { connections, recipients } = this.#options;
    const record = connections.record(ref);
    if (record === undefined) return;
    for (const host of recipients.of(record)) {
      this.#peer(host).owe(ref);
      this.#owing.add(host);
    }
  }
  #peer(host: HostId): Peer {
    return this.#peers.getOrInsertComputed(host, () => new Peer(this.#options.now()));
  }

  /** Sends what is owed: called before frames leave. */
  flush(): void {
    for (const host of this.#owing) this.#send(host);
    for (const host of this.#asking) this.#sendAsks(host);
    this.#asking.clear();
  }
  #sendAsks(host: HostId): void {
    const peer = this.#peer(host);
    for (let asks = peer.takeAsks(); asks.length > 0; asks = peer.takeAsks()) {
      this.#count.asked += asks.length;
      this.#datagram(host, peer, { asks });
    }
  }

  /**
   * Asks a host whether it knows of a connection whose answers have this key; answers the number of
   * the question, undefined where that host cannot be asked. It leaves with the next `flush`.
   */
  ask(host: HostId, key: ConnectionKey): number | undefined {
    const peer = this.#peers.get(host);
    if (peer === undefined || peer.boot === 0) return undefined;
    const question = peer.question(key);
    if (question === undefined) return undefined;
    this.#asking.add(host);
    return peer.boot * QUESTIONS + question;
  }
  /**
   * Whether the host has looked at the question: what it knows of that has come before. `never`:
   * the process that was asked is not any more.
   */
  answerTo(host: HostId, question: number): 'answered' | 'not yet' | 'never' {
    const peer = this.#peers.get(host);
    if (peer?.boot !== Math.floor(question / QUESTIONS)) return 'never';
    return peer.hasHeard(question % QUESTIONS) ? 'answered' : 'not yet';
  }
  /** A host that a record concerns has not heard of it, or not yet. */
  #answer(host: HostId, peer: Peer, number: number, asks: readonly ConnectionKey[]): void {
    const { connections, recipients } = this.#options;
    for (const { zone, tuple } of asks) {
      const ref = connections.find(zone, tuple)?.ref;
      const record = ref && connections.record(ref);
      if (ref === undefined || record === undefined || !recipients.mayAsk(host, record)) continue;
      peer.oweFirst(ref);
      this.#owing.add(host);
    }
    peer.answers(number);
  }
  #send(host: HostId): void {
    const peer = this.#peer(host);
    const nowMs = this.#options.now();
    // Until it is known to whom, records would be refused as somebody else's.
    if (peer.boot === 0) return;
    while (peer.maySend(nowMs)) {
      const refs = peer.take(RECORDS_MAX);
      const [told, records] = this.#tellings(refs, nowMs);
      peer.return(refs.slice(told.length));
      const alive = told.filter((ref) => this.#options.connections.isAlive(ref));
      if (records.length > 0)
        this.#datagram(host, peer, { records, sequence: peer.sending(alive, nowMs) });
      if (peer.isSilent(nowMs)) break;
    }
    if (peer.owed === 0) this.#owing.delete(host);
  }
  /** As many of these as a datagram has room for, from the first on; what ended is passed over. */
  #tellings(
    refs: readonly ConnectionRef[],
    nowMs: number,
  ): [told: ConnectionRef[], records: TellingRecord[]] {
    const told: ConnectionRef[] = [];
    const records: TellingRecord[] = [];
    let room = ROOM;
    for (const ref of refs) {
      const record = this.#options.connections.record(ref);
      const telling = record && tellingOf(record, nowMs);
      if (telling !== undefined) {
        room -= sizeOfRecord(telling);
        if (room < 0) break;
        records.push(telling);
      }
      told.push(ref);
    }
    return [told, records];
  }
  #datagram(
    host: HostId,
    peer: Peer,
    { records = [], asks = [], sequence = 0 }: Partial<Contents> = {},
  ): void {
    const to = this.#options.recipients.addressOf(host);
    const key = this.#current?.keys.get(host);
    if (to === undefined || key === undefined || this.#current === undefined) return;
    const { boot, transport } = this.#options;
    const { epoch } = this.#current;
    const { asked, answered, wants } = peer;
    const header = { epoch, boot, sequence, peerBoot: peer.boot, wants, asked, answered };
    transport.send(
      to,
      encode({ header: { ...header, ...peer.acknowledging() }, records, asks }, key),
    );
    this.#count.sent += records.length;
  }

  /** Takes in what has come; the tags of what is to be decided anew. */
  receive(): readonly Tag[] {
    const tags: Tag[] = [];
    this.#options.transport.receive((from, bytes) => this.#take(from, bytes, tags), RECEIVED_MAX);
    for (const [host, peer] of this.#peers) {
      // What is known comes first: then the answer is that there is no more.
      if (peer.owesAnswer && this.#owing.has(host)) this.#send(host);
      if (peer.owesAck || peer.owesAnswer) this.#datagram(host, peer);
      peer.owesAnswer = false;
    }
    return tags;
  }
  #take(from: Ip, bytes: Uint8Array, tags: Tag[]): void {
    const { recipients, boot, now } = this.#options;
    const host = recipients.hostAt(from);
    const epoch = epochOf(bytes);
    if (host === undefined || epoch === undefined) {
      this.#count.unknown += 1;
      return;
    }
    const key = this.#keys.get(epoch)?.keys.get(host);
    if (key === undefined) {
      this.#count.unkeyed += 1;
      return;
    }
    const decoded = decode(bytes, key);
    if (decoded === undefined || decoded.header.boot === boot) {
      this.#count.broken += 1;
      return;
    }
    const { header, records, asks } = decoded;
    const peer = this.#peer(host);
    if (peer.isPast(header.boot)) {
      this.#count.repeated += 1;
      return;
    }
    if (peer.boot !== header.boot) this.#met(host, peer, header.boot);
    if (header.peerBoot !== boot) {
      // It is about an earlier process of this host, or greets: it is told who this is.
      if (records.length > 0) this.#count.repeated += 1;
      peer.again();
      return;
    }
    peer.acknowledged(header.ack, header.ackBits, now());
    if (header.wants !== peer.wanted) this.#resync.set(host, 0);
    peer.wanted = header.wants;
    peer.hear(header.answered);
    if (asks.length > 0) this.#answer(host, peer, header.asked, asks);
    if (header.sequence === 0) return;
    if (!peer.isNew(header.sequence)) {
      this.#count.repeated += 1;
      return peer.again();
    }
    for (const record of records) this.#apply(host, record, tags);
    peer.taken(header.sequence);
  }
  /** A process of that host that was not known: it is told everything that concerns it. */
  #met(host: HostId, peer: Peer, boot: number): void {
    peer.restarted(boot);
    this.#resync.set(host, 0);
    if (peer.owed > 0) this.#owing.add(host);
    peer.again();
  }
  #apply(host: HostId, told: TellingRecord, tags: Tag[]): void {
    const { connections, recipients, isZone, now } = this.#options;
    if (!recipients.maySpeak(host, told)) {
      this.#count.refused += 1;
      return;
    }
    // Not seen here yet, perhaps: once the topology is another one, it is asked for.
    if (!isZone(told.forward.zone) || !isZone(told.returns.zone)) {
      this.#count.unseen += 1;
      this.#peer(host).toldUnseen = true;
      return;
    }
    this.#count.received += 1;
    const committed = connections.receive(recordOf(told, now()), recipients.owns(host, told));
    if (committed === undefined) this.#count.unplaced += 1;
    else {
      if (committed.fresh) this.#options.told?.(committed.ref);
      for (const key of committed.changed) tags.push(connectionTag(key));
    }
  }

  /** Sends again what was not acknowledged, and goes on telling hosts everything anew. */
  tick(): void {
    const nowMs = this.#options.now();
    for (const [host, peer] of this.#peers) {
      peer.retry(nowMs);
      if (peer.asking > 0) this.#datagram(host, peer);
      peer.asking = Math.max(0, peer.asking - 1);
      if (peer.owed > 0) this.#owing.add(host);
    }
    this.#resyncSome();
    this.#greet();
    this.flush();
  }
  #greet(): void {
    const nowMs = this.#options.now();
    if (nowMs - this.#greetedMs < GREET_MS || this.#current === undefined) return;
    for (const host of this.#options.recipients.hosts()) {
      const peer = this.#peer(host);
      if (peer.boot !== 0) continue;
      this.#datagram(host, peer);
      // Where nobody was greeted, whoever joins next need not wait.
      this.#greetedMs = nowMs;
    }
  }
  #resyncSome(): void {
    const { connections, recipients } = this.#options;
    if (this.#resync.size === 0) return;
    for (const [host, from] of this.#resync) {
      const to = Math.min(from + RESYNC_PER_TICK, connections.slots);
      for (let slot = from; slot < to; slot++) {
        const ref = connections.at(slot);
        const record = ref && connections.record(ref);
        if (ref === undefined || record === undefined || !recipients.of(record).has(host)) continue;
        this.#peer(host).owe(ref);
        this.#owing.add(host);
      }
      if (to === connections.slots) this.#resync.delete(host);
      else this.#resync.set(host, to);
    }
  }

  /** Before a change is applied to the topology. */
  before(rows: readonly RowChange[]): void {
    this.#options.recipients.before(rows);
  }
  /** After it was. */
  follow(rows: readonly RowChange[] | 'all'): void {
    const { connections, recipients } = this.#options;
    const moved = recipients.follow(rows);
    for (const host of this.#peers.keys())
      if (recipients.addressOf(host) === undefined) this.#forget(host);
    this.#greet();
    for (const [host, peer] of this.#peers) {
      if (!peer.toldUnseen) continue;
      peer.ask();
      this.#datagram(host, peer);
    }
    if (moved === 'all') for (const host of this.#peers.keys()) this.#resync.set(host, 0);
    else for (const port of moved) for (const ref of connections.byPort(port)) this.#owe(ref);
    this.flush();
  }
  #forget(host: HostId): void {
    this.#peers.delete(host);
    this.#owing.delete(host);
    this.#resync.delete(host);
  }

  counters(): ReplicaCounters {
    let [retransmitted, owed] = [0, 0];
    for (const peer of this.#peers.values()) {
      retransmitted += peer.retransmitted;
      owed += peer.owed;
    }
    return { ...this.#count, retransmitted, owed };
  }
}
