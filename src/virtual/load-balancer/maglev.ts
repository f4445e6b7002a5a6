/**
 * Which member of a pool a connection gets: a table of places that members have by weight, and the
 * place of a connection in it (Eisenbud et al., Maglev, NSDI 2016, §3.4).
 *
 * Invariants: the table depends on who the members are and what they weigh, never on the order in
 * which they came or on who asks, so every host chooses alike; two members of one weight have the
 * same number of places, or one more. A member that is not available keeps its places: whoever
 * comes to one of them tries further ones, so nobody but its own clients is moved by its loss.
 */
import type { ConnectionKey } from '../connection.ts';
import { hashOfKey } from '../connection.ts';

/** What has places in a table. `key`: what it is, not what it is called. */
export interface Claimant {
  readonly key: string;
  readonly weight: number;
}

/** Places tried until one is found whose member is available; then whoever is gets a share. */
export const TRIES_MAX = 32;

/** 32 bits: FNV-1a, finished as MurmurHash3 does. */
export function hashText(text: string, seed: number): number {
  let h = 0x811c9dc5 ^ seed;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h);
}
function mix(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Where a claimant's list of places begins, and by what it goes on. */
interface Claims {
  readonly index: number;
  readonly weight: number;
  readonly skip: number;
  place: number;
}

/**
 * The table: for each of `size` places, a prime, which of `all` has it. Nothing has places where
 * nobody weighs anything. Costs about `size` times its logarithm.
 */
export function placesOf(all: readonly Claimant[], size: number): Uint16Array {
  const NOBODY = 0xffff;
  const table = new Uint16Array(size).fill(NOBODY);
  const claims: Claims[] = all
    .map(({ key, weight }, index) => ({ key, weight, index }))
    .filter(({ weight }) => weight > 0)
    .sort((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ key, weight, index }) => ({
      index,
      weight,
      skip: (hashText(key, 0x5bd1e995) % (size - 1)) + 1,
      place: hashText(key, 0) % size,
    }));
  const heaviest = claims.reduce((most, { weight }) => Math.max(most, weight), 0);
  if (heaviest === 0) return table;
  // In each round the heaviest claims one place; others claim one whenever theirs adds up.
  const owed = claims.map(() => 0);
  for (let taken = 0; ;) {
    for (const [i, claim] of claims.entries()) {
      owed[i]! += claim.weight;
      if (owed[i]! < heaviest) continue;
      owed[i]! -= heaviest;
      while (table[claim.place] !== NOBODY) claim.place = (claim.place + claim.skip) % size;
      table[claim.place] = claim.index;
      if (++taken === size) return table;
    }
  }
}

/** What was chosen: a member, and the place it was found at; `tries`: how many were looked at. */
export interface Chosen {
  readonly index: number;
  readonly place: number;
  readonly tries: number;
}

/** Whom a connection gets of those that are available; undefined: nobody is. */
export function chooseOf(
  table: Uint16Array,
  key: ConnectionKey,
  isAvailable: readonly boolean[],
): Chosen | undefined {
  const hash = hashOfKey(key);
  for (let n = 0; n < TRIES_MAX; n++) {
    const place = (n === 0 ? hash : mix((hash ^ Math.imul(n, 0x9e3779b1)) >>> 0)) % table.length;
    const index = table[place]!;
    if (isAvailable[index] === true) return { index, place, tries: n + 1 };
  }
  // Hardly anybody is left: each has a score for the connection, the highest one takes it.
  let best: { index: number; score: number } | undefined;
  for (const [index, available] of isAvailable.entries()) {
    if (!available || !table.includes(index)) continue;
    const score = mix((hash ^ Math.imul(index + 1, 0x9e3779b1)) >>> 0);
    if (best === undefined || score > best.score) best = { index, score };
  }
  if (best === undefined) return undefined;
  return { index: best.index, place: table.indexOf(best.index), tries: TRIES_MAX };
}
