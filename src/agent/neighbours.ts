/**
 * The neighbours of router ports as this host knows them, the questions it asks, and the frames
 * that wait for the answers.
 *
 * Who hears a neighbour first-hand keeps it: it publishes the entry, asks the neighbour again
 * before it is stale, and withdraws it when there is no answer; all others only read. So however
 * many agents use an entry, one asks, on the wire where the neighbour is. Invariants: the store's
 * order is the last word; a frame that waits is walked again or dropped, in the end and in its
 * order; every number here is bounded (`LIMITS`).
 */
import type { Learned, LearnedNeighbour, WatchEvent } from '#client/types.ts';
import { isNeighbour } from '#client/types.ts';
import { formatIp, parseIp, type Ip } from '#net/ip.ts';
import { formatMac, parseMac, type Mac } from '#net/mac.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Claim } from '#virtual/outcome.ts';
import { question } from '#virtual/router/ask.ts';
import { isNear } from '#virtual/router/hear.ts';
import { NeighbourTable, type Neighbour } from '#virtual/state/neighbours.ts';
import { neighbourTag, type Tag } from '#virtual/tags.ts';
import type { Topology } from '#virtual/topology.ts';
import type { NeighbourView } from '#virtual/view.ts';
import { LIMITS } from './limits.ts';
import { sourceOf, Waiting, type Parked, type SourceOf } from './waiting.ts';

type LearnedEvent = Extract<WatchEvent, { type: 'learned' }>;
type Heard = Extract<Claim, { hear: unknown }>['hear'];

export interface NeighboursOptions {
  readonly host: HostId;
  readonly topology: Topology;
  readonly now: () => number;
}

/** A question to be sent out of a router port. */
export interface Question {
  readonly port: PortId;
  readonly frame: Uint8Array;
}

interface Ask {
  readonly port: PortId;
  readonly ip: Ip;
  /** By what the frame came that made this host ask; undefined of probes. */
  readonly because: SourceOf | undefined;
  asked: number;
  /** When to ask again; of an unreachable neighbour, when it may be asked again. */
  dueMs: number;
  unreachable: boolean;
}

/** One more, or one less; what has none is not kept. */
function count<Key>(counts: Map<Key, number>, key: Key, by: 1 | -1): void {
  const now = (counts.get(key) ?? 0) + by;
  if (now === 0) counts.delete(key);
  else counts.set(key, now);
}

const keyOf = (port: PortId, ip: Ip): string => `${port}/${ip}`;

/** 0.75 to 1.25, by what is asked for and how often: no two agents and neighbours in step. */
function jitter(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return 0.75 + ((h >>> 8) % 1024) / 2048;
}

const textOf = ({ port, ip, mac, at }: Neighbour): LearnedNeighbour => ({
  of: port,
  ip: formatIp(ip),
  mac: formatMac(mac),
  port: at ?? port,
});

export class Neighbours implements NeighbourView {
  readonly #host: HostId;
  readonly #topology: Topology;
  readonly #now: () => number;
  readonly #table = new NeighbourTable({
    perPortMax: LIMITS.neighboursPerPortMax,
    perPlaceMax: LIMITS.neighboursPerPlaceMax,
  });
  /** Unknown neighbours that are asked for, or that did not answer. */
  readonly #asks = new Map<string, Ask>();
  readonly #asksOf = new Map<PortId, number>();
  readonly #asksBecause = new Map<SourceOf | undefined, number>();
  /** Known neighbours that are asked whether they are still there. */
  readonly #probes = new Map<string, Ask>();
  /** What each port with neighbours was linked to when the first of them was heard. */
  readonly #links = new Map<PortId, PortId | undefined>();
  readonly #waiting = new Waiting();
  readonly #put = new Map<string, LearnedNeighbour>();
  #forgotten: LearnedNeighbour[] = [];
  #renewedAtMs: number;
  #questions: Question[] = [];

  constructor({ host, topology, now }: NeighboursOptions) {
    this.#host = host;
    this.#topology = topology;
    this.#now = now;
    this.#renewedAtMs = now();
  }

  /** How much of its limits is used: frames that wait, neighbours of the port with the most. */
  usage(): { readonly parked: number; readonly mostOfOnePort: number } {
    return { parked: this.#waiting.count, mostOfOnePort: this.#table.mostOfOnePort };
  }

  neighbour(port: PortId, ip: Ip): Mac | 'unreachable' | undefined {
    const mac = this.#table.mac(port, ip);
    if (mac !== undefined) return mac;
    return this.#asks.get(keyOf(port, ip))?.unreachable === true ? 'unreachable' : undefined;
  }
  mayHear(port: PortId, by: PortId | undefined): boolean {
    return this.#table.mayHear(port, by);
  }

  /** Questions to send since the last time. */
  questions(): readonly Question[] {
    const questions = this.#questions;
    if (questions.length > 0) this.#questions = [];
    return questions;
  }
  /** Frames that need wait no longer, in the order in which they came. */
  released(): readonly Parked[] {
    return this.#waiting.released();
  }

  /** Lets a frame wait for a neighbour, and asks for it. False: there is no room. */
  park(port: PortId, ip: Ip, frame: Parked): boolean {
    const key = keyOf(port, ip);
    const ask = this.#asks.get(key);
    if (ask === undefined) {
      const because = sourceOf(frame);
      if (this.#asks.size >= LIMITS.asksMax) return false;
      if ((this.#asksOf.get(port) ?? 0) >= LIMITS.asksPerPortMax) return false;
      if ((this.#asksBecause.get(because) ?? 0) >= LIMITS.asksPerSourceMax) return false;
      if (!this.#waiting.park(key, frame)) return false;
      count(this.#asksOf, port, 1);
      count(this.#asksBecause, because, 1);
      const fresh: Ask = { port, ip, because, asked: 0, dueMs: 0, unreachable: false };
      this.#asks.set(key, fresh);
      this.#askAgain(key, fresh);
      return true;
    }
    return this.#waiting.park(key, frame);
  }

  /** Commits what a walk heard; the tags of what changed. */
  claim({ port, ip, mac, at }: Heard): readonly Tag[] {
    const source = at === undefined ? 'passed' : 'here';
    const tags = this.#hear({ port, ip, mac, at, source });
    if (at !== undefined) this.#say(port, ip);
    return tags;
  }

  /** A neighbour answered as it was known; `at`: by this port of this host. */
  confirm(port: PortId, ip: Ip, at: PortId | undefined): void {
    const known = this.#table.get(port, ip);
    if (known === undefined || at === undefined) return;
    if (known.source !== 'here' || known.at !== at) this.claim({ port, ip, mac: known.mac, at });
    else this.#hear(known);
  }

  #hear(heard: Omit<Neighbour, 'heardAtMs'>): Tag[] {
    const { port, ip } = heard;
    const key = keyOf(port, ip);
    const unreachable = this.#asks.get(key)?.unreachable === true;
    const tags = this.#table.hear(heard, this.#now());
    const view = this.#topology.port(port);
    if (view !== undefined && !this.#links.has(port)) this.#links.set(port, view.peer);
    this.#probes.delete(key);
    if (this.#table.mac(port, ip) !== undefined) this.#endAsk(key);
    return unreachable ? [...tags, neighbourTag(port, ip)] : tags;
  }

  #endAsk(key: string): void {
    const ask = this.#asks.get(key);
    if (ask === undefined) return;
    this.#asks.delete(key);
    count(this.#asksOf, ask.port, -1);
    count(this.#asksBecause, ask.because, -1);
    this.#waiting.release(key);
  }

  /** What the store says, our own words included, in its order. */
  fromStore(event: LearnedEvent): readonly Tag[] {
    const tags: Tag[] = event.all ? this.#replaceAll(event) : [];
    for (const entry of event.put) {
      const place = isNeighbour(entry) ? this.#placeOf(entry) : undefined;
      if (place === undefined) continue;
      const own = entry.host === this.#host;
      const known = this.#table.get(place.port, place.ip);
      // Its echo of our own word tells nothing about whether the neighbour is still there.
      if (own && known?.source === 'here' && known.mac === place.mac) continue;
      const at = own ? (entry.port as PortId) : undefined;
      tags.push(...this.#hear({ ...place, at, source: own ? 'here' : 'elsewhere' }));
    }
    for (const entry of event.forget) {
      const place = isNeighbour(entry) ? this.#placeOf(entry) : undefined;
      const known = place && this.#table.get(place.port, place.ip);
      if (place === undefined || known?.mac !== place.mac) continue;
      if (this.#isOurs(known)) this.#say(place.port, place.ip);
      else tags.push(...this.#table.forget(place.port, place.ip));
    }
    return tags;
  }

  #placeOf(entry: Learned): { port: PortId; ip: Ip; mac: Mac } | undefined {
    if (!isNeighbour(entry)) return undefined;
    const ip = parseIp(entry.ip);
    const mac = parseMac(entry.mac);
    if (ip === undefined || mac === undefined) return undefined;
    return { port: entry.of as PortId, ip, mac };
  }

  #replaceAll(event: LearnedEvent): Tag[] {
    const listed = new Set<string>();
    for (const entry of event.put) {
      const place = this.#placeOf(entry);
      if (place !== undefined) listed.add(keyOf(place.port, place.ip));
    }
    const tags: Tag[] = [];
    for (const entry of [...this.#table.entries()]) {
      if (listed.has(keyOf(entry.port, entry.ip))) continue;
      if (this.#isOurs(entry)) this.#say(entry.port, entry.ip);
      else if (entry.source !== 'passed') tags.push(...this.#table.forget(entry.port, entry.ip));
    }
    return tags;
  }

  /**
   * The topology is another: who was heard through a link is no neighbour behind another one. What
   * other hosts heard is the store's to forget. The tags of what changed.
   */
  follow(): readonly Tag[] {
    const moved = new Set<PortId>();
    for (const [port, peer] of this.#links) {
      const view = this.#topology.port(port);
      if (view === undefined) this.#links.delete(port);
      else if (view.peer !== peer) this.#links.set(port, view.peer);
      else continue;
      moved.add(port);
    }
    const tags: Tag[] = [];
    if (moved.size === 0) return tags;
    for (const entry of [...this.#table.own()])
      if (moved.has(entry.port)) tags.push(...this.#withdraw(entry));
    return tags;
  }

  /** Asks again, gives up, withdraws and renews; the tags of what changed. */
  tick(): readonly Tag[] {
    const tags: Tag[] = [];
    const now = this.#now();
    for (const [key, ask] of this.#asks) {
      if (now < ask.dueMs) continue;
      if (ask.unreachable) {
        tags.push(neighbourTag(ask.port, ask.ip));
        this.#endAsk(key);
      } else if (ask.asked < LIMITS.neighbourAsksMax) this.#askAgain(key, ask);
      else {
        ask.unreachable = true;
        ask.dueMs = now + LIMITS.neighbourUnreachableMs * jitter(key);
        tags.push(neighbourTag(ask.port, ask.ip));
        this.#waiting.release(key);
      }
    }
    const renew = now - this.#renewedAtMs >= LIMITS.learnedRenewMs;
    if (renew) this.#renewedAtMs = now;
    for (const entry of [...this.#table.own()]) tags.push(...this.#keep(entry, renew));
    return tags;
  }

  /** One neighbour that is ours to keep, or was passed on and not confirmed. */
  #keep(entry: Neighbour, renew: boolean): readonly Tag[] {
    const { port, ip, source, heardAtMs } = entry;
    const age = this.#now() - heardAtMs;
    if (source === 'passed')
      return age < LIMITS.neighbourPassedMs ? [] : this.#table.forget(port, ip);
    if (!this.#isOurs(entry)) return this.#withdraw(entry);
    if (renew) this.#say(port, ip);
    const key = keyOf(port, ip);
    if (age < LIMITS.neighbourStaleMs * jitter(key)) return [];
    const none = { because: undefined, asked: 0, dueMs: 0, unreachable: false };
    const probe: Ask = this.#probes.get(key) ?? { port, ip, ...none };
    if (this.#now() < probe.dueMs) return [];
    if (probe.asked >= LIMITS.neighbourAsksMax) return this.#withdraw(entry);
    this.#probes.set(key, probe);
    this.#askAgain(key, probe, entry.mac);
    return [];
  }

  #withdraw(entry: Neighbour): readonly Tag[] {
    const key = keyOf(entry.port, entry.ip);
    this.#probes.delete(key);
    this.#put.delete(key);
    if (entry.source === 'here') this.#forgotten.push(textOf(entry));
    return this.#table.forget(entry.port, entry.ip);
  }

  #askAgain(key: string, ask: Ask, last?: Mac): void {
    ask.asked += 1;
    ask.dueMs = this.#now() + LIMITS.neighbourAskMs * jitter(`${key}/${ask.asked}/${this.#host}`);
    const port = this.#topology.port(ask.port);
    const frame = port?.type === 'router' ? question(port, ask.ip, last) : undefined;
    if (frame !== undefined) this.#questions.push({ port: ask.port, frame });
  }

  /** What to publish since the last time; see `Learning.take`. */
  take(): { put: LearnedNeighbour[]; forget: LearnedNeighbour[] } {
    const put: LearnedNeighbour[] = [];
    for (const [key, entry] of this.#put) {
      const at = entry.port as PortId;
      const bound = this.#isBoundHere(at);
      if (bound && this.#topology.location(at)?.host !== this.#host) continue;
      if (bound) put.push(entry);
      this.#put.delete(key);
    }
    const forget = this.#forgotten;
    this.#forgotten = [];
    return { put, forget };
  }

  #say(port: PortId, ip: Ip): void {
    const known = this.#table.get(port, ip);
    if (known?.source === 'here') this.#put.set(keyOf(port, ip), textOf(known));
  }
  #isBoundHere(port: PortId): boolean {
    return (this.#topology.get('port', port) as ObjectOf<'port'> | undefined)?.host === this.#host;
  }
  /** Heard here, by a port that is still ours, and in a network of the router's port still. */
  #isOurs({ port, ip, source, at }: Neighbour): boolean {
    if (source !== 'here' || at === undefined || !this.#isBoundHere(at)) return false;
    const of = this.#topology.port(port);
    return of?.type === 'router' && isNear(of, ip);
  }
}
