/**
 * Learned MACs of all hosts: leased, in the store's order, mirrored here for streams and traces.
 *
 * Invariants: a host may teach only what it sees at ports that are bound to it and up on it; what a
 * port taught is forgotten when the port moves or goes; the last teacher of a MAC owns it.
 */
import { z } from 'zod';
import { LEARNED_LEASE_MS, type LearnedMac } from '#client/types.ts';
import { formatMac, type Mac } from '#net/mac.ts';
import type { LeasedEvent, Store } from '#store/store.ts';
import { unicastMac } from '#virtual/fields.ts';
import type { BridgeId, PortId } from '#virtual/ids.ts';
import type { Fault } from '#virtual/kind.ts';
import type { Location } from '#virtual/location/location.ts';
import type { Port } from '#virtual/port/port.ts';
import type { Topology } from '#virtual/topology.ts';
import type { LearnedView } from '#virtual/view.ts';
import { LEARNED_PREFIX } from './keys.ts';
import { mirror } from './mirror.ts';
import { Refusal } from './problems.ts';
import type { Replica } from './replica.ts';

export const LEARN_BATCH_MAX = 4_096;
/**
 * MACs that one port may hold here, so that no host fills the store: twice what an agent lets a
 * port teach, because new words may come before old ones are withdrawn. More are refused.
 */
export const LEARNED_PER_PORT_MAX = 2_048;
/** 0 untagged, else the VID. */
const VLAN_MAX = 4094;

const uuid = z.uuid('must be a UUID').toLowerCase();
const LearnedMacBody = z.strictObject({
  bridge: uuid,
  vlan: z.int().min(0).max(VLAN_MAX).describe('0 untagged, else the VLAN identifier.'),
  mac: unicastMac,
  port: uuid,
});
export const LearnBody = z
  .strictObject({
    put: z.array(LearnedMacBody).max(LEARN_BATCH_MAX).default([]),
    forget: z.array(LearnedMacBody).max(LEARN_BATCH_MAX).default([]),
  })
  .meta({ id: 'Learn', description: 'What an agent has learned, renews, or has seen go.' });
export type Learn = z.output<typeof LearnBody>;

export type OwnedMac = LearnedMac & { readonly host: string };
export interface LearnedNews {
  readonly put: readonly OwnedMac[];
  readonly forget: readonly OwnedMac[];
}

const keyOf = ({ bridge, vlan, mac }: LearnedMac): string =>
  `${LEARNED_PREFIX}${bridge}/${vlan}/${mac}`;
function macOf(event: LeasedEvent & { type: 'put' }): OwnedMac {
  const [bridge = '', vlan = '', mac = ''] = event.key.slice(LEARNED_PREFIX.length).split('/');
  return { bridge, vlan: Number(vlan), mac, port: event.value, host: event.owner };
}

export class Learned implements LearnedView {
  readonly #store: Store;
  readonly #topology: Topology;
  readonly #byKey = new Map<string, OwnedMac>();
  readonly #byBridge = new Map<string, Map<string, OwnedMac>>();
  /** How many MACs are at each port. */
  readonly #atPort = new Map<string, number>();
  readonly #listeners = new Set<(news: LearnedNews | 'all') => void>();
  readonly #run: Promise<void>;

  constructor(store: Store, replica: Replica, signal: AbortSignal) {
    this.#store = store;
    this.#topology = replica.topology;
    const take = (events: readonly LeasedEvent[], all: boolean): void => this.#take(events, all);
    this.#run = mirror(store.leased, { prefix: LEARNED_PREFIX, signal, take });
    replica.listen({
      changed: ({ rows, before }) => {
        for (const [i, { kind, put }] of rows.entries()) {
          const was = before[i] as unknown as Port | undefined;
          if (kind !== 'port' || was === undefined) continue;
          if ((put as unknown as Port | undefined)?.host !== was.host) this.#forgetPort(was);
        }
      },
      replaced: () => {},
    });
  }

  get size(): number {
    return this.#byKey.size;
  }
  /** `'all'`: everything was read anew. */
  listen(listener: (news: LearnedNews | 'all') => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }
  of(bridge: string): Iterable<OwnedMac> {
    return this.#byBridge.get(bridge)?.values() ?? [];
  }

  port(bridge: BridgeId, vlan: number, mac: Mac): PortId | undefined {
    const key = keyOf({ bridge, vlan, mac: formatMac(mac), port: '' });
    return this.#byKey.get(key)?.port as PortId | undefined;
  }
  /** A trace shows that a MAC would be learned; budgets are the agent's. */
  mayLearn(): boolean {
    return true;
  }

  /** Throws a Refusal (403) that names what is not the host's to teach; then nothing is changed. */
  async learn(host: string, { put, forget }: Learn): Promise<void> {
    const fresh = new Map<string, number>();
    const errors = put.flatMap((row, i) => [
      ...this.#faults(host, row, `put.${i}`),
      ...this.#surplus(row, fresh, `put.${i}`),
    ]);
    if (errors.length > 0) throw new Refusal(403, { errors });
    const entries = put.map((row) => ({ key: keyOf(row), value: row.port, owner: host }));
    await this.#store.leased.put(entries, LEARNED_LEASE_MS);
    const gone = forget.filter((row) => this.#byKey.get(keyOf(row))?.port === row.port);
    await this.#store.leased.delete(host, gone.map(keyOf));
  }

  async close(): Promise<void> {
    await this.#run;
  }

  #faults(host: string, { port, bridge }: LearnedMac, path: string): Fault[] {
    const there = this.#topology.get('port', port) as unknown as Port | undefined;
    const location = this.#topology.get('location', port) as unknown as Location | undefined;
    if (there === undefined || there.host !== host)
      return [{ path: `${path}.port`, message: 'is not bound to this host' }];
    if (location?.host !== host)
      return [{ path: `${path}.port`, message: 'is not up on this host' }];
    if (there.bridge !== bridge)
      return [{ path: `${path}.bridge`, message: 'is not the bridge of the port' }];
    return [];
  }

  /** `fresh`: how many MACs new to each port came before in this batch; counted on. */
  #surplus(row: LearnedMac, fresh: Map<string, number>, path: string): Fault[] {
    const { port } = row;
    if (this.#byKey.get(keyOf(row))?.port === port) return [];
    const more = (fresh.get(port) ?? 0) + 1;
    fresh.set(port, more);
    if ((this.#atPort.get(port) ?? 0) + more <= LEARNED_PER_PORT_MAX) return [];
    const message = `is one too many: a port may teach at most ${LEARNED_PER_PORT_MAX}`;
    return [{ path: `${path}.mac`, message }];
  }

  #forgetPort({ id, bridge, host }: Port): void {
    if (host === undefined) return;
    const keys = [...this.of(bridge)].filter(({ port }) => port === id).map(keyOf);
    if (keys.length > 0) void this.#store.leased.delete(host, keys);
  }

  #take(events: readonly LeasedEvent[], all: boolean): void {
    if (all) {
      this.#byKey.clear();
      this.#byBridge.clear();
      this.#atPort.clear();
    }
    const put: OwnedMac[] = [];
    const forget: OwnedMac[] = [];
    for (const event of events) {
      const known = this.#byKey.get(event.key);
      if (event.type === 'put') put.push(this.#set(event.key, macOf(event)));
      else if (known !== undefined) forget.push(this.#unset(event.key, known));
    }
    for (const listener of this.#listeners) listener(all ? 'all' : { put, forget });
  }

  #set(key: string, mac: OwnedMac): OwnedMac {
    const known = this.#byKey.get(key);
    if (known !== undefined) this.#count(known.port, -1);
    this.#count(mac.port, 1);
    this.#byKey.set(key, mac);
    let macs = this.#byBridge.get(mac.bridge);
    if (macs === undefined) this.#byBridge.set(mac.bridge, (macs = new Map()));
    macs.set(key, mac);
    return mac;
  }
  #unset(key: string, mac: OwnedMac): OwnedMac {
    this.#byKey.delete(key);
    this.#count(mac.port, -1);
    const macs = this.#byBridge.get(mac.bridge);
    macs?.delete(key);
    if (macs?.size === 0) this.#byBridge.delete(mac.bridge);
    return mac;
  }
  #count(port: string, by: 1 | -1): void {
    const count = (this.#atPort.get(port) ?? 0) + by;
    if (count === 0) this.#atPort.delete(port);
    else this.#atPort.set(port, count);
  }
}
