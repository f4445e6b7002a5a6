/**
 * What the agents of all hosts have learned, MACs and neighbours: leased, in the store's order,
 * mirrored here for streams and traces.
 *
 * Invariants: a host may teach only what it sees at ports that are bound to it and up on it; what a
 * port taught is forgotten when it moves or goes, and what a router's port knows when that goes, is
 * linked elsewhere or leaves the network; the last teacher of a row owns it.
 */
import { isNeighbour, LEARNED_LEASE_MS, type Learned as LearnedRow } from '#client/types.ts';
import { formatIp, type Ip } from '#net/ip.ts';
import { formatMac, parseMac, type Mac } from '#net/mac.ts';
import type { LeasedEvent, Store } from '#store/store.ts';
import type { BridgeId, PortId } from '#virtual/ids.ts';
import type { Fault } from '#virtual/kind.ts';
import type { Topology } from '#virtual/topology.ts';
import type { LearnedView, NeighbourView } from '#virtual/view.ts';
import { LEARNED_PREFIX } from './keys.ts';
import {
  keyOf,
  LearnedRows,
  payerOf,
  rowOf,
  valueOf,
  type Learn,
  type Owned,
} from './learned-rows.ts';
import { forgottenBy, Teaching } from './learned-rules.ts';
import { mirror } from './mirror.ts';
import { Refusal } from './problems.ts';
import type { Applied, Replica } from './replica.ts';

/**
 * MACs that one port may hold here, so that no host fills the store: twice what an agent lets a
 * port teach, because new words may come before old ones are withdrawn. More are refused.
 */
export const LEARNED_PER_PORT_MAX = 2_048;
/** Neighbours of one port of a router, whoever heard them. More are refused. */
export const NEIGHBOURS_PER_PORT_MAX = 32_768;

export interface LearnedNews {
  readonly put: readonly Owned[];
  readonly forget: readonly Owned[];
}

export class Learned implements LearnedView, NeighbourView {
  readonly #store: Store;
  readonly #topology: Topology;
  readonly #rows = new LearnedRows();
  readonly #listeners = new Set<(news: LearnedNews | 'all') => void>();
  readonly #run: Promise<void>;

  constructor(store: Store, replica: Replica, signal: AbortSignal) {
    this.#store = store;
    this.#topology = replica.topology;
    const take = (events: readonly LeasedEvent[], all: boolean): void => this.#take(events, all);
    this.#run = mirror(store.leased, { prefix: LEARNED_PREFIX, signal, take });
    replica.listen({ changed: (applied) => this.#changed(applied), replaced: () => {} });
  }

  get macs(): number {
    return this.#rows.macs;
  }
  get neighbours(): number {
    return this.#rows.neighbours;
  }
  /** `'all'`: everything was read anew. */
  listen(listener: (news: LearnedNews | 'all') => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  /** What is known of a bridge, or of a port of a router. */
  of(place: string): Iterable<Owned> {
    return this.#rows.of(place);
  }

  port(bridge: BridgeId, vlan: number, mac: Mac): PortId | undefined {
    const key = keyOf({ bridge, vlan, mac: formatMac(mac), port: '' });
    return this.#rows.get(key)?.port as PortId | undefined;
  }
  /** A trace shows that a MAC would be learned; budgets are the agent's. */
  mayLearn(): boolean {
    return true;
  }
  neighbour(port: PortId, ip: Ip): Mac | undefined {
    const known = this.#rows.get(keyOf({ of: port, ip: formatIp(ip), mac: '', port: '' }));
    return known === undefined ? undefined : parseMac(known.mac);
  }
  mayHear(): boolean {
    return true;
  }

  /** Keys of what would be forgotten if these ports changed so; `topology`: as it would be then. */
  forgottenBy(topology: Topology, changed: Pick<Applied, 'rows' | 'before'>): ReadonlySet<string> {
    return new Set(Array.from(forgottenBy(topology, changed, this.#rows), keyOf));
  }

  /** Throws a Refusal (403) that names what is not the host's to teach; then nothing is changed. */
  async learn(host: string, { put, forget }: Learn): Promise<void> {
    const teaching = new Teaching(this.#topology, host);
    const fresh = new Map<string, number>();
    const errors = put.flatMap((row, i) =>
      [...teaching.faults(row), ...this.#surplus(row, fresh)].map(({ path, message }) => ({
        path: `put.${i}.${path}`,
        message,
      })),
    );
    if (errors.length > 0) throw new Refusal(403, { errors });
    const entries = put.map((row) => ({ key: keyOf(row), value: valueOf(row), owner: host }));
    await this.#store.leased.put(entries, LEARNED_LEASE_MS);
    // The mirror may not have seen yet what was put just now.
    const kept = new Set(entries.map(({ key }) => key));
    const gone = forget.filter((row) => {
      const known = this.#rows.get(keyOf(row));
      return known !== undefined && valueOf(known) === valueOf(row) && !kept.has(keyOf(row));
    });
    await this.#store.leased.delete(host, gone.map(keyOf));
  }

  async close(): Promise<void> {
    await this.#run;
  }

  /** `fresh`: how many rows new to each budget came before in this batch; counted on. */
  #surplus(row: LearnedRow, fresh: Map<string, number>): Fault[] {
    const payer = payerOf(row);
    const known = this.#rows.get(keyOf(row));
    if (known !== undefined && payerOf(known) === payer) return [];
    const more = (fresh.get(payer) ?? 0) + 1;
    fresh.set(payer, more);
    const max = isNeighbour(row) ? NEIGHBOURS_PER_PORT_MAX : LEARNED_PER_PORT_MAX;
    if (this.#rows.paidBy(payer) + more <= max) return [];
    return isNeighbour(row)
      ? [{ path: 'ip', message: `is one too many: a router port has at most ${max} neighbours` }]
      : [{ path: 'mac', message: `is one too many: a port may teach at most ${max}` }];
  }

  #changed(applied: Applied): void {
    const gone = new Map<string, Owned>();
    for (const row of forgottenBy(this.#topology, applied, this.#rows)) gone.set(keyOf(row), row);
    if (gone.size > 0) this.#forget([...gone.values()]);
  }

  #forget(rows: readonly Owned[]): void {
    for (const [host, own] of Map.groupBy(rows, (row) => row.host))
      void this.#store.leased.delete(host, own.map(keyOf));
  }

  #take(events: readonly LeasedEvent[], all: boolean): void {
    if (all) this.#rows.clear();
    const put: Owned[] = [];
    const forget: Owned[] = [];
    for (const event of events)
      if (event.type === 'put') {
        const row = rowOf(event);
        this.#rows.set(event.key, row);
        put.push(row);
      } else {
        const gone = this.#rows.delete(event.key);
        if (gone !== undefined) forget.push(gone);
      }
    for (const listener of this.#listeners) listener(all ? 'all' : { put, forget });
  }
}
