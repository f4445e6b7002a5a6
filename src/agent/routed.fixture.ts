/**
 * One host with a router between two bridges, and what passes it as text. Interfaces: 1 and 3 on
 * the red bridge, 2 on the blue one, 9 the router's uplink.
 */
import type { RowChange } from '#virtual/change.ts';
import type { Learned } from '#client/types.ts';
import { isNeighbour } from '#client/types.ts';
import { describeFrame } from '#net/text.ts';
import { bridge, frame, HOST, location, OneHost, port, row, uuid } from './edge.fixture.ts';

export const [RED, BLUE, R0] = [1, 2, 1];
/** The router's ports, and those of the bridges at their other ends. */
export const [TO_RED, TO_BLUE, UP] = [11, 12, 13];
const [RED_END, BLUE_END] = [21, 22];
/** A MAC by its last byte; the router's ports have 11, 12 and 13. */
export const macOf = (n: number): string => `02:00:00:00:00:${n.toString(16).padStart(2, '0')}`;

export const router = (n: number): RowChange =>
  row('router', { id: uuid(5, n), name: `r${n}`, adminStateUp: true, networkKey: 0x800100 + n });
export const linkedPort = (n: number, of: number, peer: number): RowChange =>
  row('port', {
    id: uuid(2, n),
    name: `p${n}`,
    type: 'bridge',
    bridge: uuid(1, of),
    adminStateUp: true,
    hairpin: false,
    addresses: [],
    peer: uuid(2, peer),
  });
export const routerPort = (n: number, of: number, networks: string[], place: object): RowChange =>
  row('port', {
    id: uuid(2, n),
    name: `p${n}`,
    type: 'router',
    router: uuid(5, of),
    adminStateUp: true,
    mac: macOf(n),
    networks,
    ...place,
  });
export const linked = (peer: number): object => ({ peer: uuid(2, peer) });
export const route = (n: number, destination: string, gateway: string, weight = 100): RowChange =>
  row('route', {
    id: uuid(6, n),
    router: uuid(5, R0),
    destination,
    type: 'port',
    port: uuid(2, UP),
    gateway,
    weight,
  });
export const toBlue = (more: object = {}): RowChange =>
  routerPort(TO_BLUE, R0, ['10.0.2.1/24'], { ...linked(BLUE_END), ...more });

export const rows = (...more: readonly RowChange[]): RowChange[] => [
  bridge(RED),
  bridge(BLUE),
  router(R0),
  port(1, RED, 'a'),
  port(2, BLUE, 'b'),
  port(3, RED, 'c'),
  ...[1, 2, 3].map((n) => location(n, 100 + n)),
  linkedPort(RED_END, RED, TO_RED),
  linkedPort(BLUE_END, BLUE, TO_BLUE),
  routerPort(TO_RED, R0, ['10.0.1.1/24'], linked(RED_END)),
  toBlue(),
  routerPort(UP, R0, ['192.0.2.1/24'], { host: HOST, interface: 'u' }),
  location(UP, 113),
  route(1, '0.0.0.0/0', '192.0.2.254'),
  ...more,
];
export const INTERFACES = { a: 1, b: 2, c: 3, u: 9 };

export class RoutedHost extends OneHost {
  constructor(slots?: number) {
    super(undefined, slots);
  }
  start(...more: readonly RowChange[]): this {
    return this.begin(rows(...more), INTERFACES);
  }
  /** What leaves after a frame: `INTERFACE: TEXT`, without what it carries. */
  send(at: number, text: string | Uint8Array, src = macOf(at)): string[] {
    this.arrive(at, typeof text === 'string' ? frame(text, src) : text);
    return this.out();
  }
  out(): string[] {
    while (this.edge.pump((m) => this.posted.push(m)) > 0);
    return this.left
      .splice(0)
      .map(
        (each) => `${each.port}: ${describeFrame(each.frame).replace(/ (?:data|length) .*$/, '')}`,
      );
  }
  /** From the workload at interface 1 to an address: UDP, from a port that tells frames apart. */
  packet(dst: string, srcPort = 1, more = ''): string[] {
    return this.send(
      1,
      `${macOf(1)} > ${macOf(TO_RED)} udp 10.0.1.10:${srcPort} > ${dst}:2${more}`,
    );
  }
  /** The workload at 2, or the gateway at 9, says that it has an address. */
  reply(at: number, ip: string, to: number, tell: string, src = macOf(at)): string[] {
    return this.send(at, `${src} > ${macOf(to)} arp reply ${ip} is-at ${src} to ${tell}`);
  }
  get counters() {
    return this.edge.state().counters;
  }
  /** Of what was published since the last call, the neighbours: `IP is-at MAC`. */
  neighbours(): { put: string[]; forget: string[] } {
    const { put, forget } = this.published();
    const text = (list: readonly Learned[]): string[] =>
      list.flatMap((each) => (isNeighbour(each) ? [`${each.ip} is-at ${each.mac}`] : []));
    return { put: text(put), forget: text(forget) };
  }
}
