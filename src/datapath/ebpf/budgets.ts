/**
 * Who has a budget of first packets in the kernel: every port that is taken over and every tunnel
 * source that may send. The kernel only takes tokens; who is not in the map has none.
 *
 * Invariant: a bucket found in the map stays as it is: nobody gets a full one by a restart.
 */
import type { DpPort } from '#flow/flow.ts';
import { BUDGET, BUDGET_KEY, offsets, sizeOf } from '#flow/layout.ts';
import type { Ip4 } from '#net/ip.ts';
import { BpfMap } from '#os/bpf.ts';
import type { Maps } from './maps.ts';

const AT = offsets(BUDGET_KEY);
/** In the place of a source: the entry is a port. */
const NO_SOURCE = 0 as Ip4;

/** An entry; of the tunnel with its source. */
export interface Payer {
  readonly port: DpPort;
  readonly source?: Ip4;
}

export class BudgetMap {
  readonly #map: BpfMap;

  constructor(maps: Maps) {
    this.#map = new BpfMap(maps.fds.budgets, sizeOf(BUDGET_KEY), sizeOf(BUDGET));
  }

  #at({ port, source = NO_SOURCE }: Payer): void {
    this.#map.key.u32(AT.in_port, port).u32(AT.source, source);
  }

  /** Full buckets, unless it has some. Throws when there are LIMITS.BUDGETS_MAX already. */
  add(payer: Payer): void {
    this.#at(payer);
    if (this.#map.lookup()) return;
    this.#map.value.bytes.fill(0);
    this.#map.update();
  }

  remove(payer: Payer): void {
    this.#at(payer);
    this.#map.delete();
  }

  /** Exactly these have buckets afterwards: whoever left while nobody looked has none. */
  keep(payers: readonly Payer[]): void {
    const wanted = new Set(payers.map(({ port, source = NO_SOURCE }) => `${port}/${source}`));
    const gone: Payer[] = [];
    const { key } = this.#map;
    for (let more = this.#map.next(true); more; more = this.#map.next(false)) {
      const port = key.view.getUint32(AT.in_port, true) as DpPort;
      const source = key.view.getUint32(AT.source, true) as Ip4;
      if (!wanted.has(`${port}/${source}`)) gone.push({ port, source });
    }
    for (const payer of gone) this.remove(payer);
    for (const payer of payers) this.add(payer);
  }
}
