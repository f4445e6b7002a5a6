/**
 * `GET /v1/watch`: every subscriber hears of all that it may see, in order, each change encoded
 * once.
 *
 * Invariants: what a subscriber has accumulated equals what it may see at the revision of its last
 * event, what was learned of its bridges and routers included (a host's own words too: the store's
 * order is the last word, also on what it said itself); a batch ends with the newest revision, so
 * `progress` is told when nothing of it concerned the subscriber; a subscriber whose revision is no
 * longer in reach gets `reset` and all there is anew.
 */
import type { AskEvent } from '#client/asks.ts';
import { isNeighbour, type Token, type WatchEvent } from '#client/types.ts';
import { type Clock, after } from '#store/clock.ts';
import type { RowChange } from '#virtual/change.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import type { Topology } from '#virtual/topology.ts';
import { HostView } from './host-view.ts';
import { tokenKey } from './keys.ts';
import type { Learned, LearnedNews } from './learned.ts';
import type { Owned } from './learned-rows.ts';
import { sightOf, tenantOf } from './lists.ts';
import { Refusal } from './problems.ts';
import type { Applied, Replica } from './replica.ts';
import { encodeEvent, EventStream, RESET } from './stream.ts';
import type { Caller } from './tokens.ts';

/** Open streams of one node, agents included; a further one is refused with 503. */
export const SUBSCRIBERS_MAX = 10_000;
/** Streams of one token: one more ends its oldest, which is most likely dead. */
export const STREAMS_PER_TOKEN_MAX = 32;
export const KEEP_ALIVE_MS = 2_000;

/** The stream of a host, as far as it can be asked something on it. */
export interface HostLink {
  /** Kinds that its agent answers. */
  readonly asks: ReadonlySet<string>;
  push(event: AskEvent): void;
}

interface Subscriber {
  readonly caller: Caller;
  readonly stream: EventStream;
  /** Set for hosts. */
  view: HostView | undefined;
  /** The revision that the subscriber has been told. */
  told: number;
}

export class Watch {
  readonly stats = { slow: 0, resumed: 0, resets: 0 };
  readonly #replica: Replica;
  readonly #learned: Learned;
  readonly #subscribers = new Set<Subscriber>();
  /** By host: its newest stream. Others are of connections that are dead, or about to be. */
  readonly #links = new Map<string, HostLink>();
  readonly #linkListeners = new Set<(host: string) => void>();
  #cancelTimer: () => void;

  constructor(replica: Replica, learned: Learned, clock: Clock) {
    this.#replica = replica;
    this.#learned = learned;
    replica.listen({
      changed: (applied) => this.#changed(applied),
      replaced: () => this.#replaced(),
    });
    learned.listen((news) => this.#news(news));
    const keepAlive = (): void => {
      for (const { stream } of this.#subscribers) stream.keepAlive();
      this.#cancelTimer = after(clock, KEEP_ALIVE_MS, keepAlive);
    };
    this.#cancelTimer = after(clock, KEEP_ALIVE_MS, keepAlive);
  }

  get size(): number {
    return this.#subscribers.size;
  }

  /** The stream of this host to this node; one that goes to another node is not seen here. */
  link(host: string): HostLink | undefined {
    return this.#links.get(host);
  }
  /** Told of each host whose stream is another one now, or none. */
  onLink(listener: (host: string) => void): void {
    this.#linkListeners.add(listener);
  }

  /**
   * A stream for this caller. `since`: the revision it has; hosts always start with a snapshot.
   * `asks`: what a host says that it answers.
   */
  subscribe(
    caller: Caller,
    since: number | undefined,
    asks: readonly string[] = [],
  ): ReadableStream<Uint8Array> {
    this.#makeRoom(caller);
    if (this.#subscribers.size >= SUBSCRIBERS_MAX)
      throw new Refusal(503, { detail: `${SUBSCRIBERS_MAX} streams are open already` });
    const link: HostLink = {
      asks: new Set(asks),
      push: (event) => stream.push(encodeEvent(event)),
    };
    const stream = new EventStream({
      last: () => this.#progress(subscriber),
      ended: (why) => {
        this.#subscribers.delete(subscriber);
        this.#unlink(caller.token, link);
        if (why === 'slow') this.stats.slow += 1;
      },
    });
    const subscriber: Subscriber = {
      caller,
      stream,
      view: undefined,
      told: this.#replica.revision,
    };
    this.#subscribers.add(subscriber);
    stream.start(this.#first(subscriber, since));
    if (caller.token.role === 'host') {
      this.#links.set(caller.token.host, link);
      this.#linked(caller.token.host);
    }
    return stream.body;
  }
  #unlink(token: Token, link: HostLink): void {
    if (token.role !== 'host' || this.#links.get(token.host) !== link) return;
    this.#links.delete(token.host);
    this.#linked(token.host);
  }
  #linked(host: string): void {
    for (const listener of this.#linkListeners) listener(host);
  }

  #makeRoom({ id }: Caller): void {
    if (id === undefined) return;
    const own = [...this.#subscribers].filter(({ caller }) => caller.id === id);
    if (own.length >= STREAMS_PER_TOKEN_MAX) own[0]?.stream.close();
  }

  close(): void {
    this.#cancelTimer();
    for (const { stream } of this.#subscribers) stream.close();
  }

  #first(subscriber: Subscriber, since: number | undefined): Uint8Array[] {
    const { token } = subscriber.caller;
    if (since === undefined || token.role === 'host') return this.#snapshot(subscriber);
    const missed = this.#replica.changesSince(since);
    if (missed === undefined) {
      this.stats.resets += 1;
      return [RESET, ...this.#snapshot(subscriber)];
    }
    this.stats.resumed += 1;
    subscriber.told = since;
    const chunks: Uint8Array[] = [];
    for (const applied of missed) {
      const chunk = encodeFor(applied, rowsFor(token, applied, this.#replica.topology));
      if (chunk === undefined) continue;
      chunks.push(chunk);
      subscriber.told = applied.revision;
    }
    return chunks;
  }

  #snapshot(subscriber: Subscriber): Uint8Array[] {
    const { topology, revision } = this.#replica;
    const { token } = subscriber.caller;
    subscriber.told = revision;
    if (token.role !== 'host') {
      const sees = sightOf(token, topology);
      const objects = [...topology.objects()].filter(({ kind, object }) => sees(kind, object));
      return [encodeEvent({ type: 'snapshot', revision, objects }, revision)];
    }
    const view = new HostView(topology, token.host);
    subscriber.view = view;
    const objects = view.objects();
    const snapshot: WatchEvent = { type: 'snapshot', revision, objects };
    return [encodeEvent(snapshot, revision), this.#allLearned(view)];
  }

  #allLearned(view: HostView): Uint8Array {
    const put = this.#learnedOf(view.places());
    return encodeEvent({ type: 'learned', all: true, put, forget: [] });
  }
  #learnedOf(places: readonly string[]): Owned[] {
    return places.flatMap((id) => [...this.#learned.of(id)]);
  }

  #progress(subscriber: Subscriber): Uint8Array | undefined {
    const { revision } = this.#replica;
    if (subscriber.told >= revision) return undefined;
    subscriber.told = revision;
    return encodeEvent({ type: 'progress', revision }, revision);
  }

  #changed(applied: Applied): void {
    for (const subscriber of this.#subscribers) {
      const { caller, stream, view } = subscriber;
      if (this.#isRevoked(caller)) {
        stream.close();
        continue;
      }
      const step = view?.step(applied);
      const rows = step?.rows ?? rowsFor(caller.token, applied, this.#replica.topology);
      const chunk = encodeFor(applied, rows);
      if (chunk !== undefined) {
        stream.push(chunk);
        subscriber.told = applied.revision;
      }
      if (step !== undefined) {
        const put = this.#learnedOf(step.came);
        const forget = this.#learnedOf(step.left);
        this.#tell(subscriber, { put, forget });
      }
      stream.nudge();
    }
  }

  #isRevoked({ id }: Caller): boolean {
    return id !== undefined && !this.#replica.tokens.has(tokenKey(id));
  }

  #replaced(): void {
    for (const subscriber of this.#subscribers) {
      this.stats.resets += 1;
      if (this.#isRevoked(subscriber.caller)) subscriber.stream.close();
      else subscriber.stream.start([RESET, ...this.#snapshot(subscriber)]);
    }
  }

  #news(news: LearnedNews | 'all'): void {
    for (const subscriber of this.#subscribers) {
      const { stream, view } = subscriber;
      if (view === undefined) continue;
      if (news === 'all') {
        stream.push(this.#allLearned(view));
        continue;
      }
      const concerns = (row: Owned): boolean =>
        isNeighbour(row) ? view.sees('port', row.of) : view.sees('bridge', row.bridge);
      this.#tell(subscriber, {
        put: news.put.filter(concerns),
        forget: news.forget.filter(concerns),
      });
    }
  }

  #tell({ stream }: Subscriber, { put, forget: gone }: LearnedNews): void {
    if (put.length + gone.length === 0) return;
    const forget = gone.map(({ host: _, ...row }) => row);
    stream.push(encodeEvent({ type: 'learned', all: false, put, forget }));
  }
}

/** The rows that an operator or a tenant may see. */
function rowsFor(
  token: Token,
  { rows, before }: Applied,
  topology: Topology,
): readonly RowChange[] {
  if (token.role === 'operator') return rows;
  if (token.role === 'host') throw new Error('a host sees by its view');
  // A member may have gone with what was found of it.
  const get = (kind: KindName, id: string): StoredObject | undefined => {
    const i = rows.findIndex((row) => row.kind === kind && row.id === id);
    return rows[i]?.put ?? before[i] ?? topology.get(kind, id);
  };
  return rows.filter(({ kind, put }, i) => {
    const object = put ?? before[i];
    return object !== undefined && tenantOf({ get }, kind, object) === token.tenant;
  });
}

/** The change as an event with these rows of it only; equal rows are encoded once for everybody. */
function encodeFor(applied: Applied, rows: readonly RowChange[]): Uint8Array | undefined {
  if (rows.length === 0) return undefined;
  const { revision, request } = applied;
  const places = rows.map((row) => applied.rows.indexOf(row));
  const shared = !places.includes(-1);
  const name = places.join(',');
  const known = shared ? applied.encoded.get(name) : undefined;
  if (known !== undefined) return known;
  const change = { revision, rows, ...(request !== undefined && { request }) };
  const chunk = encodeEvent({ type: 'change', change }, revision);
  if (shared && applied.encoded.size < ENCODED_MAX) applied.encoded.set(name, chunk);
  return chunk;
}
/** Encodings kept of one change: one for each different set of its rows that somebody sees. */
const ENCODED_MAX = 64;
