/**
 * One host's edge over the reference datapath, told things by hand: what tests of single turns
 * need. Bridges, ports and interfaces are numbers; the clock moves only when told.
 */
import assert from 'node:assert/strict';
import type { Learned, WatchEvent } from '#client/types.ts';
import type { Datapath } from '#datapath/datapath.ts';
import { AMPLE_BUDGET } from '#datapath/contract/bench.ts';
import { openMemory } from '#datapath/memory.ts';
import type { DpPort } from '#flow/flow.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { Edge } from './edge.ts';
import type { FromEdge } from './messages.ts';

export const uuid = (kind: number, n: number): string =>
  `0000000${kind}-0000-4000-8000-${String(n).padStart(12, '0')}`;
export const HOST = uuid(3, 1) as HostId;
export const OTHER = uuid(3, 2) as HostId;

export const row = (kind: KindName, object: Record<string, unknown>): RowChange => ({
  kind,
  id: String(object['id']),
  put: { revision: 1, ...object } as unknown as StoredObject,
});
export const host = (id: HostId): RowChange => row('host', { id, name: id });
export const bridge = (n: number): RowChange =>
  row('bridge', { id: uuid(1, n), name: `b${n}`, adminStateUp: true, floodKey: 0x800000 + n });
/** Bound to `at` on this host, or on another one. */
export const port = (n: number, of: number, at: string, on: HostId = HOST): RowChange =>
  row('port', {
    id: uuid(2, n),
    name: `p${n}`,
    type: 'bridge',
    bridge: uuid(1, of),
    adminStateUp: true,
    hairpin: false,
    host: on,
    interface: at,
    addresses: [],
  });
export const location = (n: number, tunnelKey: number, on: HostId = HOST): RowChange =>
  row('location', { id: uuid(2, n), port: uuid(2, n), host: on, interface: 'x', tunnelKey });
export const zone = (members: Readonly<Record<HostId, string>>): RowChange =>
  row('tunnel-zone', {
    id: uuid(4, 1),
    name: 'z',
    members: Object.entries(members).map(([id, address]) => ({ host: id, address })),
  });

export const frame = (text: string, src = '02:00:00:00:00:01'): Uint8Array => {
  const bytes = parseFrameText(text, { src: parseMac(src) as Mac });
  assert.ok(bytes instanceof Uint8Array, JSON.stringify(bytes));
  return bytes;
};

/** What left by an interface. */
export interface Left {
  readonly port: number;
  readonly frame: Uint8Array;
}

export class OneHost {
  readonly datapath: ReturnType<typeof openMemory>;
  readonly posted: FromEdge[] = [];
  readonly left: Left[] = [];
  edge: Edge;
  timeMs = 1_000;
  /** MTU of the way to every other host; undefined: not known. */
  pathMtu: number | undefined;
  /** MTU of interfaces, by name, at the next `interfaces`. */
  mtus: Readonly<Record<string, number>> = {};
  #revision = 0;
  readonly #wrap: (datapath: Datapath) => Datapath;

  /** `wrap`: what the edge is given in place of the datapath, to make it fail. */
  constructor(wrap: (datapath: Datapath) => Datapath = (datapath) => datapath, slots = 1024) {
    this.#wrap = wrap;
    this.datapath = openMemory({ slots, clock: () => this.timeMs, upcallBudget: AMPLE_BUDGET });
    this.datapath.onTransmit((at, bytes) => this.left.push({ port: at, frame: bytes.slice() }));
    this.edge = this.restart();
  }

  /** A new agent on the datapath as it is; it knows nothing yet. */
  restart(): Edge {
    const now = () => this.timeMs;
    const pathMtu = () => this.pathMtu;
    const datapath = this.#wrap(this.datapath);
    this.edge = new Edge({ host: HOST, datapath, now, seed: 1, pathMtu });
    return this.edge;
  }

  event(event: WatchEvent): void {
    this.edge.handle({ type: 'event', event }, (m) => this.posted.push(m));
  }
  snapshot(rows: readonly RowChange[]): void {
    const objects = rows.map(({ kind, put }) => ({ kind, object: put as StoredObject }));
    this.event({ type: 'snapshot', revision: ++this.#revision, objects });
  }
  change(...rows: readonly RowChange[]): void {
    this.event({ type: 'change', change: { revision: ++this.#revision, rows } });
  }
  learned(put: readonly Learned[] = []): void {
    const mine = put.map((mac) => ({ ...mac, host: HOST }));
    this.event({ type: 'learned', all: true, put: mine, forget: [] });
  }
  /** Interfaces by name; their indexes are the datapath's port numbers. `dark` have no carrier. */
  interfaces(list: Readonly<Record<string, number>>, dark: readonly string[] = []): void {
    const interfaces = Object.entries(list).map(([name, index]) => ({
      name,
      index,
      mtu: this.mtus[name],
      ...(dark.includes(name) && { carrier: false }),
    }));
    this.edge.handle({ type: 'interfaces', interfaces }, (m) => this.posted.push(m));
  }
  /** Everything an edge waits for. */
  begin(rows: readonly RowChange[], interfaces: Readonly<Record<string, number>>): this {
    this.snapshot(rows);
    this.learned();
    this.interfaces(interfaces);
    return this;
  }

  arrive(at: number, bytes: Uint8Array): void {
    this.datapath.receive(at as DpPort, bytes);
  }
  /** Decides what waits; what left since the last call. */
  carried(): Left[] {
    while (this.edge.pump((m) => this.posted.push(m)) > 0);
    return this.left.splice(0);
  }
  /** The same, by interface number. */
  pump(): number[] {
    return this.carried().map((each) => each.port);
  }
  /** Lets time pass, with the agent's ticks. */
  advance(ms: number): void {
    for (let left = ms; left > 0; left -= 500) {
      this.timeMs += Math.min(left, 500);
      this.edge.tick((m) => this.posted.push(m));
    }
  }
  /** What was published of learned MACs and neighbours since the last call. */
  published(): { put: Learned[]; forget: Learned[] } {
    const learned = this.posted.splice(0).filter((m) => m.type === 'learned');
    return {
      put: learned.flatMap((m) => m.put),
      forget: learned.flatMap((m) => m.forget),
    };
  }
}
