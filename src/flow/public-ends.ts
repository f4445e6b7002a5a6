/**
 * How many connections have which public ports: of each address at a router, by runs of
 * NAT_BLOCK_PORTS ports, which is what hosts own them by.
 *
 * Invariant: a run counts each record whose source was translated to one of its ports, as often as
 * that was done.
 */
import type { Ip } from '#net/ip.ts';
import type { Translation, Zone } from '#virtual/connection.ts';
import type { Range } from '#virtual/rule/values.ts';
import { NAT_BLOCK_PORTS } from '#virtual/nat-block/nat-block.ts';

const RUNS = 65_536 / NAT_BLOCK_PORTS;
const keyOf = (zone: Zone, ip: Ip): string => `${zone}/${ip}`;

interface Address {
  readonly runs: Uint32Array;
  all: number;
}

export class PublicEnds {
  readonly #addresses = new Map<string, Address>();

  /** `by`: 1 for a record that came, -1 for one that ended. */
  count(translations: readonly Translation[], by: 1 | -1): void {
    for (const { changes, zone, to } of translations) {
      if (changes !== 'source') continue;
      const key = keyOf(zone, to.ip);
      const address = this.#addresses.getOrInsertComputed(key, () => ({
        runs: new Uint32Array(RUNS),
        all: 0,
      }));
      address.runs[Math.floor(to.port / NAT_BLOCK_PORTS)]! += by;
      address.all += by;
      if (address.all === 0) this.#addresses.delete(key);
    }
  }

  /** Connections that have a port of a range, counted in whole runs. */
  in(zone: Zone, ip: Ip, { first, last }: Range): number {
    const runs = this.#addresses.get(keyOf(zone, ip))?.runs;
    if (runs === undefined) return 0;
    let sum = 0;
    const to = Math.floor(last / NAT_BLOCK_PORTS);
    for (let run = Math.floor(first / NAT_BLOCK_PORTS); run <= to; run++) sum += runs[run]!;
    return sum;
  }
}
