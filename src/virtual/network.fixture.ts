/**
 * For tests of the walk: a network said in names, frames in text, and what came of them as text.
 * Tables of learned MACs and neighbours, and the budget of errors, are the real ones.
 */
import { ANY_PORTS } from './nat/any-ports.ts';
import { NO_CONNECTIONS, type ConnectionsView } from './connection.ts';
import assert from 'node:assert/strict';
import { parseIp, type Ip } from '#net/ip.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import type { RowChange } from './change.ts';
import type { BridgeId, PortId, RouterId } from './ids.ts';
import type { KindName, StoredObject } from './kind.ts';
import { fieldsOf } from './match.ts';
import type { Ingress, Outcome } from './outcome.ts';
import type { BalancingView } from './load-balancer/view.ts';
import { headersOf, sizeOf } from './packet.arbitrary.ts';
import { simulate } from './simulate.ts';
import { ErrorBudget } from './state/error-budget.ts';
import { MacTable } from './state/macs.ts';
import { NeighbourTable } from './state/neighbours.ts';
import type { Tag } from './tags.ts';
import { Topology } from './topology.ts';
import { describeOutcome } from './trace.ts';
import type { PublicPortsView, StateView } from './view.ts';

export const mac = (text: string): Mac => parseMac(text) ?? assert.fail(text);
export const ip = (text: string): Ip => parseIp(text) ?? assert.fail(text);
/** A MAC by its last byte. */
export const macOf = (n: number): string => `02:00:00:00:00:${n.toString(16).padStart(2, '0')}`;

export type Fields = Readonly<Record<string, unknown>>;

export class Network {
  readonly topology = new Topology();
  readonly macs = new MacTable({ perPortMax: 16, ageMs: 10 });
  readonly neighbours = new NeighbourTable({ perPortMax: 4 });
  readonly errors = new ErrorBudget();
  connections: ConnectionsView = NO_CONNECTIONS;
  publicPorts: PublicPortsView = ANY_PORTS;
  balancing: BalancingView | undefined;
  /** Which ports are of this host; all, unless told. */
  here: (port: PortId) => boolean = () => true;
  /** Asked in vain. */
  readonly unreachable = new Set<string>();
  /** Tags of the last change. */
  changed: readonly Tag[] = [];
  readonly #rows = new Map<string, StoredObject & Fields>();
  /** What a frame has whose text names no MACs. */
  defaults: { src: Mac; dst: Mac } = { src: mac(macOf(1)), dst: mac(macOf(1)) };

  /** The id of what has this name; the first time, a new one. */
  id<Id extends string>(kind: KindName, name: string): Id {
    const known = this.#rows.get(`${kind} ${name}`)?.id;
    if (known !== undefined) return known as Id;
    const number = { bridge: 1, port: 2, router: 5, route: 6 }[kind as string] ?? 9;
    const n = String(this.#rows.size + 1).padStart(12, '0');
    return `0000000${number}-0000-4000-8000-${n}` as Id;
  }
  port(name: string): PortId {
    return this.id('port', name);
  }

  /** Creates or changes an object; `undefined` takes a field away. */
  put(kind: KindName, name: string, fields: Fields): this {
    this.changed = this.topology.apply({
      revision: this.topology.revision + 1,
      rows: [this.row(kind, name, fields)],
    });
    return this;
  }
  /** The row that `put` applies. */
  row(kind: KindName, name: string, fields: Fields): RowChange {
    const id = this.id(kind, name);
    const before = this.#rows.get(`${kind} ${name}`);
    const all = Object.entries({ name, revision: 1, ...before, id, ...fields });
    const object = Object.fromEntries(all.filter(([, value]) => value !== undefined));
    this.#rows.set(`${kind} ${name}`, object as never);
    return { kind, id, put: object as never };
  }
  remove(kind: KindName, name: string): this {
    const id = this.id(kind, name);
    this.changed = this.topology.apply({
      revision: this.topology.revision + 1,
      rows: [{ kind, id }],
    });
    return this;
  }

  bridge(name: string): this {
    const floodKey = 0x800001 + this.#rows.size;
    return this.put('bridge', name, { adminStateUp: true, floodKey });
  }
  router(name: string): this {
    const networkKey = 0x800001 + this.#rows.size;
    return this.put('router', name, { adminStateUp: true, networkKey });
  }
  bridgePort(name: string, bridge: string, fields: Fields = {}): this {
    const common = { type: 'bridge', adminStateUp: true, hairpin: false, addresses: [] };
    return this.put('port', name, { ...common, bridge: this.id('bridge', bridge), ...fields });
  }
  /** `n`: the last byte of its MAC. */
  routerPort(name: string, router: string, n: number, ...networks: readonly string[]): this {
    const common = { type: 'router', adminStateUp: true, mac: macOf(n), networks };
    return this.put('port', name, { ...common, router: this.id('router', router) });
  }
  link(a: string, b: string): this {
    this.put('port', a, { peer: this.port(b) });
    return this.put('port', b, { peer: this.port(a) });
  }
  /** The port is up on a host. */
  locate(name: string): this {
    const id = this.port(name);
    const host = '00000003-0000-4000-8000-000000000001';
    const object = { id, port: id, host, interface: 'x', tunnelKey: 1, revision: 1 };
    const row = { kind: 'location' as const, id, put: object as never };
    this.changed = this.topology.apply({ revision: this.topology.revision + 1, rows: [row] });
    return this;
  }
  route(name: string, router: string, destination: string, fields: Fields): this {
    const common = { router: this.id('router', router), destination, type: 'port', weight: 100 };
    return this.put('route', name, { ...common, ...fields });
  }

  /** A chain with these rules, in order; `jump` names a chain that is there. */
  chain(name: string, ...rules: readonly Fields[]): this {
    this.put('chain', name, {});
    for (const [i, { jump, ...fields }] of rules.entries()) {
      const to = jump === undefined ? {} : { jump: this.id('chain', jump as string) };
      const place = { chain: this.id('chain', name), position: (i + 1) * 100, invert: false };
      this.put('rule', `${name}-${i + 1}`, { name: undefined, ...place, ...fields, ...to });
    }
    return this;
  }
  /** Gives an object a filter, or takes it away. */
  filter(kind: KindName, name: string, field: string, chain: string | undefined): this {
    return this.put(kind, name, { [field]: chain && this.id('chain', chain) });
  }

  /** A router port knows a neighbour. */
  knows(port: string, address: string, n: number): this {
    const heard = { port: this.port(port), ip: ip(address), mac: mac(macOf(n)) };
    this.changed = this.neighbours.hear({ ...heard, at: heard.port, source: 'here' }, 1);
    return this;
  }
  get state(): StateView {
    return {
      macs: this.macs,
      errors: this.errors,
      connections: this.connections,
      publicPorts: this.publicPorts,
      balancing: this.balancing,
      isHere: (port) => this.here(port),
      neighbours: {
        neighbour: (port, address) =>
          this.unreachable.has(`${port}/${address}`)
            ? 'unreachable'
            : this.neighbours.mac(port, address),
        mayHear: (port, by) => this.neighbours.mayHear(port, by),
      },
    };
  }

  bytes(frame: string | Uint8Array): Uint8Array {
    if (typeof frame !== 'string') return frame;
    const bytes = parseFrameText(frame, this.defaults);
    assert(bytes instanceof Uint8Array, `${frame}: ${JSON.stringify(bytes)}`);
    return bytes;
  }
  /** A frame enters by a port. */
  send(port: string, frame: string | Uint8Array): Outcome {
    return this.walk({ port: this.port(port) }, frame);
  }
  /** `size`: of its IP packet, as the simulation is to believe it. */
  walk(ingress: Ingress, frame: string | Uint8Array, size?: number): Outcome {
    const bytes = this.bytes(frame);
    const { topology, state } = this;
    const headers = headersOf(bytes);
    return simulate({ topology, state, headers, bytes, size: size ?? sizeOf(bytes), ingress });
  }

  /** What a walk did, without entering and leaving ports, and the verdict. */
  text(outcome: Outcome): string[] {
    const plain = /: (enter|leave|learn [0-9a-f:]+)$/;
    return describeOutcome(outcome, this.topology).filter((line) => !plain.test(line));
  }
  /** Frames that the network itself sends: `PORT: TEXT`, without what they carry. */
  sent({ sends }: Outcome): string[] {
    return sends.map(({ port, frame }) => {
      const name = this.topology.port(port)?.name ?? port;
      return `${name}: ${describeFrame(frame).replace(/ (?:data|length) .*$/, '')}`;
    });
  }
  bridgeId(name: string): BridgeId {
    return this.id('bridge', name);
  }
  routerId(name: string): RouterId {
    return this.id('router', name);
  }
}

export const seen = (outcome: Outcome): string => fieldsOf(outcome.seen).join(' ');

/** That a walk named all of these among what it depends on. */
export function has({ tags }: Outcome, ...wanted: readonly Tag[]): void {
  for (const tag of wanted) assert(tags.includes(tag), `${tag} among ${tags.join(' ')}`);
}
export function hasNot({ tags }: Outcome, ...unwanted: readonly Tag[]): void {
  for (const tag of unwanted) assert(!tags.includes(tag), `${tag} among ${tags.join(' ')}`);
}

/**
 * Two bridges at a router with an uplink. vm1 (MAC 1) has 10.0.1.10 and fd00:1::10, not seeded; vm2
 * (MAC 2) has 10.0.2.10 and fd00:2::10, seeded. The router's ports have the MACs 0x11, 0x12, 0x13.
 * What has no MACs in its text goes from vm1 to the router.
 */
export function routed(): Network {
  const net = new Network()
    .bridge('red')
    .bridge('blue')
    .router('r0')
    .bridgePort('vm1', 'red')
    .bridgePort('vm3', 'red')
    .bridgePort('vm2', 'blue', {
      addresses: [
        { mac: macOf(2), ip: '10.0.2.10' },
        { mac: macOf(2), ip: 'fd00:2::10' },
      ],
    })
    .bridgePort('red0', 'red')
    .bridgePort('blue0', 'blue')
    .routerPort('r0red', 'r0', 0x11, '10.0.1.1/24', 'fd00:1::1/64')
    .routerPort('r0blue', 'r0', 0x12, '10.0.2.1/24', 'fd00:2::1/64')
    .link('red0', 'r0red')
    .link('blue0', 'r0blue')
    .routerPort('up', 'r0', 0x13, '192.0.2.1/24', '2001:db8::1/64')
    .locate('up');
  net.route('default', 'r0', '0.0.0.0/0', { port: net.port('up'), gateway: '192.0.2.254' });
  net.defaults = { src: mac(macOf(1)), dst: mac(macOf(0x11)) };
  return net;
}
