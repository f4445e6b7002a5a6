/**
 * What this host knows of where MACs are: what it saw itself, and what the store says others saw.
 *
 * Invariants: the store's order is the last word (its echo of our own entry included), so all hosts
 * end with the same table; what this host saw is published, renewed while frames of it come, and
 * withdrawn when it ages.
 */
import { isNeighbour, type Learned, type LearnedMac, type WatchEvent } from '#client/types.ts';
import { formatMac, parseMac } from '#net/mac.ts';
import type { BridgeId, HostId, PortId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { LearnedEntry, LearnedPlace, MacTable } from '#virtual/state/macs.ts';
import type { Tag } from '#virtual/tags.ts';
import type { Topology } from '#virtual/topology.ts';
import { LIMITS } from './limits.ts';

type LearnedEvent = Extract<WatchEvent, { type: 'learned' }>;

export interface LearningOptions {
  readonly host: HostId;
  readonly topology: Topology;
  readonly macs: MacTable;
  readonly now: () => number;
}

const textOf = ({ bridge, vlan, mac, port }: LearnedPlace): LearnedMac => ({
  bridge,
  vlan,
  mac: formatMac(mac),
  port,
});

function placeOf(entry: Learned): LearnedPlace | undefined {
  if (isNeighbour(entry)) return undefined;
  const mac = parseMac(entry.mac);
  if (mac === undefined) return undefined;
  return { bridge: entry.bridge as BridgeId, vlan: entry.vlan, mac, port: entry.port as PortId };
}

const keyOf = (place: Omit<LearnedPlace, 'port'>) => `${place.bridge}/${place.vlan}/${place.mac}`;

export class Learning {
  readonly #host: HostId;
  readonly #topology: Topology;
  readonly #macs: MacTable;
  readonly #now: () => number;
  /** To be published, by MAC: the last word only, so that waiting takes no more than the table. */
  readonly #put = new Map<string, LearnedMac>();
  #forget: LearnedMac[] = [];
  #renewedAtMs: number;

  constructor({ host, topology, macs, now }: LearningOptions) {
    this.#host = host;
    this.#topology = topology;
    this.#macs = macs;
    this.#now = now;
    this.#renewedAtMs = now();
  }

  /** Commits what a walk claimed; the tags of what changed. */
  claim(place: LearnedPlace): readonly Tag[] {
    this.#say(place);
    return this.#macs.learn(place, this.#now());
  }

  /** A flow of this sender carried frames lately. */
  seen(place: LearnedPlace): void {
    if (this.#macs.port(place.bridge, place.vlan, place.mac) === place.port)
      this.#macs.learn(place, this.#now());
  }

  /** What the store says, our own words included, in its order. */
  fromStore(event: LearnedEvent): readonly Tag[] {
    const tags: Tag[] = event.all ? this.#replaceAll(event) : [];
    for (const entry of event.put) {
      const place = placeOf(entry);
      const origin = entry.host === this.#host ? 'here' : 'elsewhere';
      if (place !== undefined) tags.push(...this.#macs.learn(place, this.#now(), origin));
    }
    for (const entry of event.forget) {
      const place = placeOf(entry);
      const known = place && this.#macs.get(place.bridge, place.vlan, place.mac);
      if (place === undefined || known?.port !== place.port) continue;
      // The store lost our word: it restarted, or the lease lapsed while we were cut off.
      if (this.#isFresh(known)) this.#say(known);
      else tags.push(...this.#macs.forget(place));
    }
    return tags;
  }

  /** Ages and renews; the tags of what was forgotten. */
  tick(): readonly Tag[] {
    const tags: Tag[] = [];
    const renew = this.#now() - this.#renewedAtMs >= LIMITS.learnedRenewMs;
    if (renew) this.#renewedAtMs = this.#now();
    for (const entry of this.#macs.entries()) {
      // Those of this host come first; of the others the store says when they are over.
      if (entry.origin !== 'here') break;
      if (this.#isFresh(entry)) {
        if (renew) this.#say(entry);
        continue;
      }
      this.#put.delete(keyOf(entry));
      this.#forget.push(textOf(entry));
      tags.push(...this.#macs.forget(entry));
    }
    return tags;
  }

  /**
   * What to publish since the last time. Words about a port wait until the store knows that it is
   * up here: before, nobody would believe them.
   */
  take(): { put: LearnedMac[]; forget: LearnedMac[] } {
    const put: LearnedMac[] = [];
    for (const [key, entry] of this.#put) {
      const port = entry.port as PortId;
      const bound = this.#isBoundHere(port);
      if (bound && this.#topology.location(port)?.host !== this.#host) continue;
      if (bound) put.push(entry);
      this.#put.delete(key);
    }
    const forget = this.#forget;
    this.#forget = [];
    return { put, forget };
  }

  #say(place: LearnedPlace): void {
    this.#put.set(keyOf(place), textOf(place));
  }

  #isBoundHere(port: PortId): boolean {
    return (this.#topology.get('port', port) as ObjectOf<'port'> | undefined)?.host === this.#host;
  }
  /** Seen here, lately, at a port that is still ours. */
  #isFresh(entry: LearnedEntry): boolean {
    const { origin, port, seenAtMs } = entry;
    if (origin !== 'here' || !this.#isBoundHere(port)) return false;
    return this.#now() - seenAtMs < LIMITS.learnedAgeMs;
  }
  #replaceAll(event: LearnedEvent): Tag[] {
    const places = event.put.map(placeOf).filter((place) => place !== undefined);
    const listed = new Set(places.map(keyOf));
    const tags: Tag[] = [];
    for (const entry of [...this.#macs.entries()]) {
      if (listed.has(keyOf(entry))) continue;
      if (this.#isFresh(entry)) this.#say(entry);
      else tags.push(...this.#macs.forget(entry));
    }
    return tags;
  }
}
