/**
 * The routes of one router that are alive, found by longest prefix.
 *
 * A hash of networks for each prefix length in use, longest first: real tables use few lengths, and
 * a lookup costs one probe for each until the first that has a route for the packet. Invariant:
 * what it answers depends on the set of routes only, never on the order in which they came, so that
 * every agent chooses alike.
 */
import { isIp6, type Ip } from '#net/ip.ts';
import { contains, networkOf, type Prefix } from '#net/prefix.ts';
import type { RouteView } from '../view.ts';

/** The routes from one source prefix (undefined: any source), lowest weight first, then by id. */
interface Group {
  readonly source: Prefix | undefined;
  readonly routes: readonly RouteView[];
  /** Those of the lowest weight. */
  readonly best: readonly RouteView[];
}
/** The groups of one destination, longest source first. */
type Groups = readonly Group[];

interface Length {
  readonly length: number;
  readonly networks: Map<Ip, Groups>;
}

const NO_ROUTES: readonly RouteView[] = [];

const compareRoutes = (a: RouteView, b: RouteView): number => {
  if (a.weight !== b.weight) return a.weight - b.weight;
  return a.id < b.id ? -1 : 1;
};
const sourceLength = (of: Prefix | undefined): number => of?.length ?? -1;
const sameSource = (a: Prefix | undefined, b: Prefix | undefined): boolean =>
  a?.length === b?.length && a?.address === b?.address;

function groupOf(source: Prefix | undefined, routes: readonly RouteView[]): Group {
  const sorted = routes.toSorted(compareRoutes);
  const best = sorted.filter(({ weight }) => weight === sorted[0]?.weight);
  return { source, routes: sorted, best };
}

function withRoute(groups: Groups, route: RouteView): Groups {
  const { source } = route;
  const others = groups.filter((group) => !sameSource(group.source, source));
  const routes = groups.find((group) => sameSource(group.source, source))?.routes ?? NO_ROUTES;
  return [...others, groupOf(source, [...routes, route])].toSorted(
    (a, b) => sourceLength(b.source) - sourceLength(a.source),
  );
}

function withoutRoute(groups: Groups, { id, source }: RouteView): Groups {
  return groups.flatMap((group) => {
    if (!sameSource(group.source, source)) return [group];
    const routes = group.routes.filter((route) => route.id !== id);
    return routes.length === 0 ? [] : [groupOf(source, routes)];
  });
}

/** Of one family. */
class Family {
  /** Longest first. */
  readonly #lengths: Length[] = [];

  add(route: RouteView): void {
    const { address, length } = route.destination;
    let at = this.#lengths.findIndex((each) => each.length <= length);
    if (at < 0) at = this.#lengths.length;
    if (this.#lengths[at]?.length !== length)
      this.#lengths.splice(at, 0, { length, networks: new Map() });
    const networks = this.#lengths[at]?.networks;
    networks?.set(address, withRoute(networks.get(address) ?? [], route));
  }

  remove(route: RouteView): void {
    const { address, length } = route.destination;
    const at = this.#lengths.findIndex((each) => each.length === length);
    const networks = this.#lengths[at]?.networks;
    const left = withoutRoute(networks?.get(address) ?? [], route);
    if (left.length > 0) networks?.set(address, left);
    else networks?.delete(address);
    if (networks?.size === 0) this.#lengths.splice(at, 1);
  }

  find(destination: Ip, source: () => Ip): readonly RouteView[] {
    for (const { length, networks } of this.#lengths) {
      const groups = networks.get(networkOf(destination, length));
      if (groups === undefined) continue;
      for (const group of groups)
        if (group.source === undefined || contains(group.source, source())) return group.best;
    }
    return NO_ROUTES;
  }

  /** Of each prefix that the destination is in, the longest first. */
  *groupsOf(destination: Ip): Generator<Groups> {
    for (const { length, networks } of this.#lengths) {
      const groups = networks.get(networkOf(destination, length));
      if (groups !== undefined) yield groups;
    }
  }
}

/** All routes of a family to a destination, in the order in which `find` looks at them. */
function* allTo(family: Family, destination: Ip): Generator<RouteView> {
  for (const groups of family.groupsOf(destination)) for (const { routes } of groups) yield* routes;
}

export class RouteTable {
  readonly #four = new Family();
  readonly #six = new Family();

  #of(ip: Ip): Family {
    return isIp6(ip) ? this.#six : this.#four;
  }
  /** A route with another id than all that are here. */
  add(route: RouteView): void {
    this.#of(route.destination.address).add(route);
  }
  /** Exactly what was added before. */
  remove(route: RouteView): void {
    this.#of(route.destination.address).remove(route);
  }
  /** See `RouterView.routes`. */
  find(destination: Ip, source: () => Ip): readonly RouteView[] {
    return this.#of(destination).find(destination, source);
  }
  /** Whatever has the destination in its prefix: the longest first, then the longest source. */
  matching(destination: Ip): readonly RouteView[] {
    return [...allTo(this.#of(destination), destination)];
  }
}
