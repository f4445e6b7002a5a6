/**
 * How many connections have had their destination changed, by what it was: those of a VIP.
 *
 * Invariant: counts each record once for every such change, as long as the record is there.
 */
import type { Endpoint, Translation, Zone } from '#virtual/connection.ts';

const keyOf = (protocol: number, zone: Zone, { ip, port }: Endpoint): string =>
  `${protocol}/${zone}/${ip}/${port}`;

export class BalancedEnds {
  readonly #counts = new Map<string, number>();

  /** `by`: 1 for a record that came, -1 for one that ended. */
  count(protocol: number, translations: readonly Translation[], by: 1 | -1): void {
    for (const { changes, zone, from } of translations) {
      if (changes !== 'destination') continue;
      const key = keyOf(protocol, zone, from);
      const count = (this.#counts.get(key) ?? 0) + by;
      if (count === 0) this.#counts.delete(key);
      else this.#counts.set(key, count);
    }
  }
  of(protocol: number, zone: Zone, end: Endpoint): number {
    return this.#counts.get(keyOf(protocol, zone, end)) ?? 0;
  }
}
