/**
 * What agents learned, as they say it and as the store keeps it: MACs of bridges, and neighbours of
 * router ports. The table of it finds rows by what they are shown with and by where they were seen.
 */
import { z } from 'zod';
import { isNeighbour, type Learned } from '#client/types.ts';
import type { LeasedEvent } from '#store/store.ts';
import { unicastIp, unicastMac } from '#virtual/fields.ts';
import { MACS_PREFIX, NEIGHBOURS_PREFIX } from './keys.ts';

/** Learned rows in one request of a host; a larger request is refused. */
export const LEARN_BATCH_MAX = 4_096;
/** 0 untagged, else the VID. */
const VLAN_MAX = 4094;

const uuid = z.uuid('must be a UUID').toLowerCase();
const LearnedMacBody = z.strictObject({
  bridge: uuid,
  vlan: z.int().min(0).max(VLAN_MAX).describe('0 untagged, else the VLAN identifier.'),
  mac: unicastMac,
  port: uuid,
});
const LearnedNeighbourBody = z.strictObject({
  of: uuid.describe('The port of the router.'),
  ip: unicastIp,
  mac: unicastMac,
  port: uuid.describe('The port by which the host heard it.'),
});
const rows = z
  .array(z.union([LearnedMacBody, LearnedNeighbourBody]))
  .max(LEARN_BATCH_MAX)
  .default([]);
export const LearnBody = z
  .strictObject({ put: rows, forget: rows })
  .meta({ id: 'Learn', description: 'What an agent has learned, renews, or has seen go.' });
export type Learn = z.output<typeof LearnBody>;

/** `host`: who said it last. */
export type Owned = Learned & { readonly host: string };

export const keyOf = (row: Learned): string =>
  isNeighbour(row)
    ? `${NEIGHBOURS_PREFIX}${row.of}/${row.ip}`
    : `${MACS_PREFIX}${row.bridge}/${row.vlan}/${row.mac}`;
export const valueOf = (row: Learned): string =>
  isNeighbour(row) ? `${row.mac} ${row.port}` : row.port;

export function rowOf({ key, value, owner: host }: LeasedEvent & { type: 'put' }): Owned {
  if (key.startsWith(NEIGHBOURS_PREFIX)) {
    const [of = '', ip = ''] = key.slice(NEIGHBOURS_PREFIX.length).split('/');
    const [mac = '', port = ''] = value.split(' ');
    return { of, ip, mac, port, host };
  }
  const [bridge = '', vlan = '', mac = ''] = key.slice(MACS_PREFIX.length).split('/');
  return { bridge, vlan: Number(vlan), mac, port: value, host };
}

/** Who may see the object of this id may see the row: the bridge, or the port of the router. */
export const placeOf = (row: Learned): string => (isNeighbour(row) ? row.of : row.bridge);
/** The port whose budget the row takes from. */
export const payerOf = (row: Learned): string => (isNeighbour(row) ? row.of : row.port);

type Sets = Map<string, Map<string, Owned>>;
function addTo(sets: Sets, name: string, key: string, row: Owned): void {
  const set = sets.get(name);
  if (set === undefined) sets.set(name, new Map([[key, row]]));
  else set.set(key, row);
}
function removeFrom(sets: Sets, name: string, key: string): void {
  const set = sets.get(name);
  set?.delete(key);
  if (set?.size === 0) sets.delete(name);
}

export class LearnedRows {
  readonly #byKey = new Map<string, Owned>();
  readonly #byPlace: Sets = new Map();
  readonly #byPort: Sets = new Map();
  readonly #paid = new Map<string, number>();
  #neighbours = 0;

  get macs(): number {
    return this.#byKey.size - this.#neighbours;
  }
  get neighbours(): number {
    return this.#neighbours;
  }
  get(key: string): Owned | undefined {
    return this.#byKey.get(key);
  }
  /** Those of a bridge or of a port of a router. */
  of(place: string): Iterable<Owned> {
    return this.#byPlace.get(place)?.values() ?? [];
  }
  /** Those that were seen at a port. */
  at(port: string): Iterable<Owned> {
    return this.#byPort.get(port)?.values() ?? [];
  }
  /** How many rows a port pays for. */
  paidBy(port: string): number {
    return this.#paid.get(port) ?? 0;
  }

  set(key: string, row: Owned): void {
    this.delete(key);
    this.#byKey.set(key, row);
    addTo(this.#byPlace, placeOf(row), key, row);
    addTo(this.#byPort, row.port, key, row);
    this.#count(row, 1);
  }
  /** What was there. */
  delete(key: string): Owned | undefined {
    const row = this.#byKey.get(key);
    if (row === undefined) return undefined;
    this.#byKey.delete(key);
    removeFrom(this.#byPlace, placeOf(row), key);
    removeFrom(this.#byPort, row.port, key);
    this.#count(row, -1);
    return row;
  }
  clear(): void {
    for (const sets of [this.#byKey, this.#byPlace, this.#byPort, this.#paid]) sets.clear();
    this.#neighbours = 0;
  }

  #count(row: Owned, by: 1 | -1): void {
    if (isNeighbour(row)) this.#neighbours += by;
    const payer = payerOf(row);
    const paid = this.paidBy(payer) + by;
    if (paid === 0) this.#paid.delete(payer);
    else this.#paid.set(payer, paid);
  }
}
