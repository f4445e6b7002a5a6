/**
 * A router as the topology keeps it: its row, its ports, and of its routes those that are alive;
 * read by the walk as a `RouterView`.
 *
 * A route of a port is alive while the port can carry traffic. Connected and local routes follow
 * from the ports' networks; they have no row.
 */
import { isIp6, parseIp, type Ip } from '#net/ip.ts';
import { bitsOf, contains, networkOf, parsePrefix } from '#net/prefix.ts';
import type { ChainId, PortId, RouteId, RouterId } from '../ids.ts';
import type { ObjectOf } from '../kinds.ts';
import { ReadyRouter, type ReadyRoom } from '../ready.ts';
import type { ConsideredRoute, RouterPortView, RouterView, RouteView } from '../view.ts';
import { RouteTable } from './table.ts';

type RouteRow = ObjectOf<'route'>;

/** The row as the walk sees it. */
export function routeOf(row: RouteRow): RouteView {
  const destination = parsePrefix(row.destination);
  if (destination === undefined) throw new Error(`route ${row.id}: ${row.destination}`);
  return {
    id: row.id,
    name: row.name,
    kind: row.type,
    destination,
    source: row.source === undefined ? undefined : parsePrefix(row.source),
    weight: row.weight,
    port: row.port as PortId | undefined,
    gateway: row.gateway === undefined ? undefined : parseIp(row.gateway),
  };
}

/** The routes that a port brings along: its networks, and its own addresses. */
function routesOfPort(port: RouterPortView): RouteView[] {
  const found: RouteView[] = [];
  const common = {
    name: undefined,
    source: undefined,
    weight: 0,
    port: port.id,
    gateway: undefined,
  };
  const local = (address: Ip): void => {
    const destination = { address, length: bitsOf(address) };
    const id = `${port.id}/${address}`;
    found.push({ ...common, id, kind: 'local', destination });
  };
  const seen = new Set<string>();
  for (const { address, length } of port.networks) {
    local(address);
    const destination = { address: networkOf(address, length), length };
    const id = `${port.id}/${destination.address}/${length}`;
    if (length < bitsOf(address) && !seen.has(id))
      found.push({ ...common, id, kind: 'connected', destination });
    seen.add(id);
  }
  local(port.linkLocal);
  return found;
}

const isTo = ({ destination: prefix }: RouteView, ip: Ip): boolean =>
  isIp6(prefix.address) === isIp6(ip) && contains(prefix, ip);
const sameList = (a: readonly RouteView[], b: readonly RouteView[]): boolean =>
  a.length === b.length && a.every(({ id }, i) => id === b[i]?.id);

export class RouterState implements RouterView {
  readonly id: RouterId;
  readonly ready: ReadyRouter;
  row: ObjectOf<'router'> | undefined;
  readonly ports = new Set<PortId>();
  readonly #table = new RouteTable();
  /** Static routes by the port they need, alive or not; undefined: none. */
  readonly #byPort = new Map<PortId | undefined, Map<RouteId, RouteView>>();
  /** What each live port has brought along. */
  readonly #brought = new Map<PortId, readonly RouteView[]>();

  constructor(id: RouterId, room: ReadyRoom) {
    this.id = id;
    this.ready = new ReadyRouter(id, room);
  }
  get name(): string {
    return this.row?.name ?? '';
  }
  get adminStateUp(): boolean {
    return this.row?.adminStateUp ?? false;
  }
  get localFilter(): ChainId | undefined {
    return this.row?.localFilter;
  }
  get inboundFilter(): ChainId | undefined {
    return this.row?.inboundFilter;
  }
  get forwardFilter(): ChainId | undefined {
    return this.row?.forwardFilter;
  }
  get outboundFilter(): ChainId | undefined {
    return this.row?.outboundFilter;
  }
  get networkKey(): number {
    return this.row?.networkKey ?? 0;
  }
  /** Whether nothing is left of it. */
  get empty(): boolean {
    return this.row === undefined && this.ports.size === 0 && this.#byPort.size === 0;
  }
  routes(destination: Ip, source: () => Ip): readonly RouteView[] {
    return this.#table.find(destination, source);
  }
  considered(destination: Ip): readonly ConsideredRoute[] {
    const alive = this.#table.matching(destination).map((route) => ({ route, alive: true }));
    const dead: ConsideredRoute[] = [];
    for (const routes of this.#byPort.values())
      for (const route of routes.values())
        if (!this.#isAlive(route) && isTo(route, destination)) dead.push({ route, alive: false });
    return [...alive, ...dead];
  }

  /** Answers what became alive. */
  addRoute(row: RouteRow): readonly RouteView[] {
    const route = routeOf(row);
    const routes = this.#byPort.get(route.port) ?? new Map<RouteId, RouteView>();
    this.#byPort.set(route.port, routes.set(row.id, route));
    if (!this.#isAlive(route)) return [];
    this.#table.add(route);
    return [route];
  }
  /** Answers what is alive no more. */
  removeRoute(row: RouteRow): readonly RouteView[] {
    const port = row.port as PortId | undefined;
    const routes = this.#byPort.get(port);
    const route = routes?.get(row.id);
    routes?.delete(row.id);
    if (routes?.size === 0) this.#byPort.delete(port);
    if (route === undefined || !this.#isAlive(route)) return [];
    this.#table.remove(route);
    return [route];
  }

  /** The port as it is now; undefined when it can carry no traffic. Answers what changed. */
  setPort(id: PortId, live: RouterPortView | undefined): readonly RouteView[] {
    const before = this.#brought.get(id);
    const after = live === undefined ? undefined : routesOfPort(live);
    if (before !== undefined && after !== undefined && sameList(before, after)) return [];
    const own = (before === undefined) === (after === undefined) ? [] : this.#routesBy(id);
    for (const route of before ?? []) this.#table.remove(route);
    for (const route of after ?? []) this.#table.add(route);
    for (const route of own)
      if (after === undefined) this.#table.remove(route);
      else this.#table.add(route);
    if (after === undefined) this.#brought.delete(id);
    else this.#brought.set(id, after);
    return [...(before ?? []), ...(after ?? []), ...own];
  }

  #routesBy(port: PortId): RouteView[] {
    return [...(this.#byPort.get(port)?.values() ?? [])];
  }
  #isAlive({ port }: RouteView): boolean {
    return port === undefined || this.#brought.has(port);
  }
}
