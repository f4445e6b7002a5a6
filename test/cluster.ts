/**
 * Several edges in one synchronous process: no API, no promises, only the packet path over the
 * reference datapath. A few rows of a store are played by hand: locations appear when an agent
 * asks, and what one learned is told to all in one order. Laws run thousands of steps here.
 */
import { createHash } from 'node:crypto';
import { Edge } from '#agent/edge.ts';
import type { FromEdge, ToEdge } from '#agent/messages.ts';
import type { WatchEvent } from '#client/types.ts';
import { AMPLE_BUDGET } from '#datapath/contract/bench.ts';
import { openMemory } from '#datapath/memory.ts';
import type { DpPort } from '#flow/flow.ts';
import type { Ip4 } from '#net/ip.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { plan, type Operation } from '#virtual/plan.ts';
import { Topology } from '#virtual/topology.ts';
import { Datagrams, type Fate } from './world-records.ts';

const ROUNDS_MAX = 1_000;

/** A frame that left a cluster: by which interface of which host. */
export interface Transmission {
  readonly host: number;
  readonly port: number;
  readonly frame: Uint8Array;
}

interface Node {
  readonly id: HostId;
  readonly address: Ip4;
  readonly datapath: ReturnType<typeof openMemory>;
  edge: Edge;
  readonly posted: FromEdge[];
  /** What it is to hear of later; undefined: it hears of everything at once. */
  held: WatchEvent[] | undefined;
}

export interface ClusterOptions {
  readonly hosts: readonly { readonly id: HostId; readonly address: Ip4 }[];
  /** False: every flow is forgotten before every frame. */
  readonly caching: boolean;
  readonly slots?: number;
  /** What becomes of each datagram about connections; without it, agents tell nobody. */
  readonly records?: () => Fate;
}

/** One key for each pair of hosts. */
const keysFor = (host: HostId, hosts: ClusterOptions['hosts']): ToEdge => ({
  type: 'record-keys',
  told: {
    epochs: [
      {
        epoch: 1,
        keys: hosts
          .filter(({ id }) => id !== host)
          .map(({ id }) => ({
            host: id,
            key: createHash('sha256').update([host, id].toSorted().join()).digest('hex'),
          })),
      },
    ],
  },
});

export class Cluster {
  readonly topology = new Topology();
  readonly nodes: readonly Node[];
  readonly #caching: boolean;
  #sent: Transmission[] = [];
  readonly #hosts: ClusterOptions['hosts'];
  readonly #records: Datagrams | undefined;
  #nextKey = 1;
  #starts = 0;
  #timeMs = 0;

  constructor({ hosts, caching, slots = 512, records }: ClusterOptions) {
    this.#caching = caching;
    this.#hosts = hosts;
    this.#records = records && new Datagrams(records);
    this.nodes = hosts.map(({ id, address }, host) => {
      const clock = () => this.#timeMs;
      const datapath = openMemory({ slots, clock, address, upcallBudget: AMPLE_BUDGET });
      datapath.onTransmit((port, frame) => this.#sent.push({ host, port, frame: frame.slice() }));
      datapath.onTunnel((remote, key, frame) =>
        this.nodes.find((n) => n.address === remote)?.datapath.receiveTunnel(address, key, frame),
      );
      const edge = this.#edge({ id, address, datapath });
      return { id, address, datapath, edge, posted: [], held: undefined };
    });
    for (const node of this.nodes) this.#begin(node, []);
  }

  #edge({ id, address, datapath }: Pick<Node, 'id' | 'address' | 'datapath'>): Edge {
    this.#starts += 1;
    const records = this.#records?.of(address);
    const now = (): number => this.#timeMs;
    const seed = this.#starts;
    return new Edge({ host: id, datapath, now, seed, ...(records && { records }) });
  }
  #begin(node: Node, interfaces: readonly { name: string; index: number }[]): void {
    const { revision } = this.topology;
    const objects = [...this.topology.objects()];
    if (this.#records !== undefined) this.#tell(node, keysFor(node.id, this.#hosts));
    this.#tell(node, { type: 'event', event: { type: 'snapshot', revision, objects } });
    this.#tell(node, { type: 'event', event: { type: 'learned', all: true, put: [], forget: [] } });
    this.#tell(node, { type: 'interfaces', interfaces });
  }

  /** The agent of a host ends and another one begins; the datapath stays, what it learned goes. */
  restart(host: number, interfaces: readonly { name: string; index: number }[]): void {
    const node = this.#node(host);
    node.posted.length = 0;
    node.held = undefined;
    node.edge = this.#edge(node);
    this.#begin(node, interfaces);
    for (let rounds = 0; rounds < ROUNDS_MAX && this.#locate(); rounds++);
    this.#settle();
  }
  /** A host hears of nothing that changes, until it catches up or starts anew. */
  hold(host: number): void {
    this.#node(host).held ??= [];
  }
  catchUp(host: number): void {
    const node = this.#node(host);
    const events = node.held ?? [];
    node.held = undefined;
    for (const event of events) this.#tell(node, { type: 'event', event });
    this.#settle();
  }
  /** Datagrams that were late arrive; what leaves because of them counts to what went before. */
  release(): void {
    this.#records?.release();
    this.#settle();
  }

  #tell(node: Node, message: ToEdge): void {
    node.edge.handle(message, (m) => node.posted.push(m));
  }
  #tellAll(event: WatchEvent): void {
    for (const node of this.nodes)
      if (node.held === undefined) this.#tell(node, { type: 'event', event });
      else node.held.push(event);
  }

  /** What hosts ask the API for, which are not cut off it: public ports, as it would give them. */
  #lease(): boolean {
    const rows: RowChange[] = [];
    for (const node of this.nodes) {
      if (node.held !== undefined || this.gone.has(node.id)) continue;
      const { wants, returns } = node.edge.state().publicPorts;
      for (const wanted of wants) {
        const { router, address, first, last, ports } = wanted;
        const body = { router, address, first, last, ports };
        const planned = this.#plan(node.id, { op: 'create', kind: 'nat-block', body });
        if (planned === undefined) this.#tell(node, { type: 'ports-refused', wanted });
        else this.#commit(planned);
        rows.push(...(planned ?? []));
      }
      for (const block of returns) {
        const planned = this.#plan(node.id, { op: 'delete', kind: 'nat-block', id: block });
        if (planned !== undefined) this.#commit(planned);
        rows.push(...(planned ?? []));
      }
    }
    return rows.length > 0;
  }
  #plan(host: HostId, operation: Operation): readonly RowChange[] | undefined {
    const planned = plan(this.topology, [operation], {
      caller: { role: 'host', host },
      newId: () => `0000000b-0000-4000-8000-${String(this.#nextKey++).padStart(12, '0')}`,
      nextFloodKey: () => this.#nextKey++,
      nextTunnelKey: () => this.#nextKey++,
    });
    return planned.ok ? planned.rows : undefined;
  }
  #commit(rows: readonly RowChange[]): void {
    const revision = this.topology.revision + 1;
    // The store gives rows its revision.
    const stored = rows.map((each) =>
      each.put === undefined ? each : { ...each, put: { ...each.put, revision } },
    );
    const change = { revision, rows: stored };
    this.topology.apply(change);
    this.#tellAll({ type: 'change', change });
  }
  /** Hosts whose agents do not run. */
  readonly gone = new Set<HostId>();

  /** One revision with these rows, everywhere; then whatever agents ask for because of it. */
  change(rows: readonly RowChange[]): void {
    const change = { revision: this.topology.revision + 1, rows };
    this.topology.apply(change);
    this.#tellAll({ type: 'change', change });
    for (let rounds = 0; rounds < ROUNDS_MAX && this.#locate(); rounds++);
    this.#settle();
  }

  interfaces(host: number, list: readonly { name: string; index: number }[]): void {
    this.#tell(this.#node(host), { type: 'interfaces', interfaces: list });
    for (let rounds = 0; rounds < ROUNDS_MAX && this.#locate(); rounds++);
    this.#settle();
  }

  #locate(): boolean {
    const rows: RowChange[] = [];
    for (const { id, edge } of this.nodes)
      for (const { port, interface: name, up } of edge.state().locate) {
        const known = this.topology.location(port as PortId);
        const tunnelKey = known?.host === id ? known.tunnelKey : this.#nextKey++;
        const location = { id: port, port, host: id, interface: name, up, tunnelKey, revision: 1 };
        rows.push({ kind: 'location', id: port, put: location as StoredObject });
      }
    if (rows.length === 0) return false;
    const change = { revision: this.topology.revision + 1, rows };
    this.topology.apply(change);
    this.#tellAll({ type: 'change', change });
    return true;
  }

  #node(host: number): Node {
    const node = this.nodes[host];
    if (node === undefined) throw new Error(`there is no host ${host}`);
    return node;
  }

  /** A frame arrives at an interface; every copy that left anywhere because of it. */
  send(host: number, port: number, frame: Uint8Array): readonly Transmission[] {
    this.#sent = [];
    if (!this.#caching) for (const { edge } of this.nodes) edge.forgetFlows();
    this.#node(host).datapath.receive(port as DpPort, frame);
    this.#settle();
    return this.#sent;
  }

  /** Lets time pass, with the agents' ticks; every copy that left meanwhile. */
  advance(ms: number): readonly Transmission[] {
    this.#sent = [];
    this.#timeMs += ms;
    for (const { edge, posted } of this.nodes) edge.tick((m) => posted.push(m));
    this.#settle();
    return this.#sent;
  }

  /** Until no upcall waits and everything learned was told to all. */
  #settle(): void {
    for (let rounds = 0; rounds < ROUNDS_MAX; rounds++) {
      let busy = this.#records?.waiting ?? false;
      for (const node of this.nodes) {
        if (!this.#caching) node.edge.forgetFlows();
        if (node.edge.pump((m) => node.posted.push(m)) > 0) busy = true;
        for (const message of node.posted.splice(0)) {
          if (message.type !== 'learned' || message.put.length + message.forget.length === 0)
            continue;
          busy = true;
          const put = message.put.map((m) => ({ ...m, host: node.id }));
          this.#tellAll({ type: 'learned', all: false, put, forget: message.forget });
        }
      }
      if (!busy && !this.#lease()) return;
    }
    throw new Error('the cluster does not come to rest: frames circle');
  }

  /** Installed flows that would not be installed so now: none, ever. */
  wrongFlows(): string[] {
    return this.nodes.flatMap(({ edge }, host) =>
      edge.wrongFlows().map((text) => `host ${host}: ${text}`),
    );
  }
}

/** A row to put, from plain fields. */
export const row = (kind: KindName, object: Record<string, unknown>): RowChange => ({
  kind,
  id: String(object['id']),
  put: { revision: 1, ...object } as unknown as StoredObject,
});
