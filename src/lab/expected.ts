/**
 * Who should reach whom, by the recipe alone: the slow and obvious reading of its networks and
 * routes that `lab check` holds the lab against.
 */
import { isIp6, parseIp, type Ip } from '#net/ip.ts';
import { bitsOf, contains, parseNetwork, parsePrefix, type Prefix } from '#net/prefix.ts';
import { peerOf, type Recipe, type RouterPort } from './recipe.ts';

/**
 * `linked`: on one bridge, broadcasts and all. `routed`: by packets through routers, both ways.
 */
export type Relation = 'linked' | 'routed' | 'apart';

/** More routers than any recipe has in a row: routes lead in circles. */
const HOPS_MAX = 32;
const CONNECTED_WEIGHT = 0;
const STATIC_WEIGHT = 100;

/** What a workload is plugged into, as a name; a port of a router is a network of its own. */
export const networkOfWorkload = (recipe: Recipe, name: string): string =>
  recipe.workloads[name]?.bridge ?? `port of ${name}`;

const networks = (texts: readonly string[]): Prefix[] =>
  texts.map(parseNetwork).filter((network) => network !== undefined);
const has = (texts: readonly string[], ip: Ip): boolean =>
  networks(texts).some(({ address }) => address === ip);

/** Where a packet is: with a workload, or at a router. */
type Place = { readonly workload: string } | { readonly router: string };

/** What a port of a router is plugged into, in the words of `networkOfWorkload`. */
const networkOfPort = ({ bridge, workload }: RouterPort): string | undefined =>
  bridge ?? (workload === undefined ? undefined : `port of ${workload}`);

/** Whoever has the address on a network: a router is told from a workload by having it too. */
function ownerOn(recipe: Recipe, network: string, ip: Ip): Place | undefined {
  for (const [workload, { addresses }] of Object.entries(recipe.workloads))
    if (networkOfWorkload(recipe, workload) === network && has(addresses, ip)) return { workload };
  for (const [router, { ports }] of Object.entries(recipe.routers))
    for (const port of Object.values(ports))
      if (networkOfPort(port) === network && has(port.networks, ip)) return { router };
  return undefined;
}

/** The other router of a link, whichever end says so. */
function linkedTo(recipe: Recipe, router: string, name: string): string | undefined {
  const said = recipe.routers[router]?.ports[name]?.peer;
  if (said !== undefined) return peerOf(recipe, said)?.router;
  for (const [other, { ports }] of Object.entries(recipe.routers))
    if (Object.values(ports).some(({ peer }) => peer === `${router}:${name}`)) return other;
  return undefined;
}

interface Way {
  readonly destination: Prefix;
  readonly weight: number;
  readonly port?: string | undefined;
  readonly gateway?: Ip | undefined;
}

/** The way a router sends packets to `to`; undefined: it does not. Sources are not looked at. */
function wayTo(recipe: Recipe, router: string, to: Ip): Way | undefined {
  const { ports = {}, routes = [] } = recipe.routers[router] ?? {};
  const connected = Object.entries(ports).flatMap(([port, { networks: texts }]): Way[] =>
    networks(texts).map((destination) => ({ destination, weight: CONNECTED_WEIGHT, port })),
  );
  const told = routes.flatMap((route): Way[] => {
    const destination = parsePrefix(route.destination);
    if (destination === undefined) return [];
    const gateway = route.gateway === undefined ? undefined : parseIp(route.gateway);
    return [{ destination, weight: route.weight ?? STATIC_WEIGHT, port: route.port, gateway }];
  });
  const [best] = [...connected, ...told]
    .filter(({ destination }) => contains(destination, to))
    .sort((a, b) => b.destination.length - a.destination.length || a.weight - b.weight);
  return best?.port === undefined ? undefined : best;
}

/** Where a router's packet to `to` is next. */
function nextPlace(recipe: Recipe, router: string, to: Ip): Place | undefined {
  const way = wayTo(recipe, router, to);
  const port = recipe.routers[router]?.ports[way?.port ?? ''];
  if (way === undefined || port === undefined) return undefined;
  const network = networkOfPort(port);
  if (network !== undefined) return ownerOn(recipe, network, way.gateway ?? to);
  const other = linkedTo(recipe, router, way.port ?? '');
  return other === undefined ? undefined : { router: other };
}

/** The workload that gets what `from` sends to `to`. */
function receiver(recipe: Recipe, from: string, to: Ip): string | undefined {
  const workload = recipe.workloads[from];
  if (workload === undefined) return undefined;
  const near = networks(workload.addresses).some((network) => contains(network, to));
  const via = workload.via.map(parseIp).find((ip) => ip !== undefined && isIp6(ip) === isIp6(to));
  const hop = near ? to : via;
  if (hop === undefined) return undefined;
  let place = ownerOn(recipe, networkOfWorkload(recipe, from), hop);
  for (let hops = 0; place !== undefined && 'router' in place; hops++) {
    if (hops === HOPS_MAX) return undefined;
    place = nextPlace(recipe, place.router, to);
  }
  if (place === undefined) return undefined;
  return has(recipe.workloads[place.workload]?.addresses ?? [], to) ? place.workload : undefined;
}

/** Of every family that both have an address of; false without one. */
function reaches(recipe: Recipe, from: string, to: string): boolean {
  const [own, theirs] = [from, to].map((name) =>
    networks(recipe.workloads[name]?.addresses ?? []).map(({ address }) => address),
  );
  const common = (theirs ?? []).filter((ip) => own?.some((each) => bitsOf(each) === bitsOf(ip)));
  return common.length > 0 && common.every((ip) => receiver(recipe, from, ip) === to);
}

export function relation(recipe: Recipe, a: string, b: string): Relation {
  if (networkOfWorkload(recipe, a) === networkOfWorkload(recipe, b)) return 'linked';
  return reaches(recipe, a, b) && reaches(recipe, b, a) ? 'routed' : 'apart';
}
