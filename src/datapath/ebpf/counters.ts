/** The counters that the kernel programs keep for the whole host, each CPU its own. */
import { COUNTER } from '#flow/layout.ts';
import { BpfMap } from '#os/bpf.ts';
import type { DropReason } from '#virtual/drop.ts';
import { DROPS } from '#virtual/drop.ts';
import type { DatapathCounters } from '../datapath.ts';
import { possibleCpus } from './maps.ts';

export type Drops = { [R in DropReason]?: number };
export const DROP_REASONS = Object.keys(DROPS) as DropReason[];

export class Counters {
  readonly #map: BpfMap;

  /** `fd`: of the map `counters`. */
  constructor(fd: number) {
    this.#map = new BpfMap(fd, 4, 8 * possibleCpus());
  }

  read(): DatapathCounters {
    const drops: Drops = {};
    for (const reason of DROP_REASONS) {
      const n = this.#sum(COUNTER.DROP + DROPS[reason].code);
      if (n > 0) drops[reason] = n;
    }
    const [hits, misses] = [this.#sum(COUNTER.HIT), this.#sum(COUNTER.MISS)];
    return { hits, misses, tunnelHits: this.#sum(COUNTER.TUNNEL_HIT), drops };
  }

  #sum(at: number): number {
    const { key, value } = this.#map;
    key.u32(0, at);
    this.#map.lookup();
    let sum = 0;
    for (let i = 0; i < value.size; i += 8) sum += Number(value.view.getBigUint64(i, true));
    return sum;
  }
}
