/**
 * A static route of a virtual router: its schema, its words, its references. Data only; the web may
 * import it.
 *
 * The networks of a router's ports need no route: they are connected, and their addresses local,
 * for as long as the port can carry traffic.
 */
import { z } from 'zod';
import { isIp6, isLinkLocalIp, parseIp } from '#net/ip.ts';
import { contains, parseNetwork, parsePrefix } from '#net/prefix.ts';
import { id, labels, name, objectName, prefix, unicastIp } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';
import type { Port } from '../port/port.ts';

/** Routes of one router; a further one is refused. */
export const ROUTES_PER_ROUTER_MAX = 65_536;
export const WEIGHT_DEFAULT = 100;
/** The largest weight of a route: the least preferred. */
export const WEIGHT_MAX = 65_535;

export const Route = z
  .strictObject({
    id: id('route'),
    name: objectName.optional().describe('A name, if it is to have one.'),
    tenant: name.optional().describe('The tenant that owns it: that of its router when not given.'),
    labels,
    router: id('router').describe('The router whose table it is in.'),
    destination: prefix.describe('Packets to addresses in here; the longest prefix wins.'),
    source: prefix
      .optional()
      .describe('Only packets from addresses in here; among equal destinations the longest wins.'),
    type: z
      .enum(['port', 'blackhole', 'reject', 'local'])
      .default('port')
      .describe(
        'port: out of `port`; blackhole: drop in silence; reject: drop and answer "prohibited"; local: the router itself.',
      ),
    port: id('port').optional().describe('The port of the router that packets leave by.'),
    gateway: unicastIp
      .optional()
      .describe(
        'The next router, in a network of the port; without, the destination is a neighbour.',
      ),
    weight: z
      .int()
      .min(0)
      .max(WEIGHT_MAX)
      .default(WEIGHT_DEFAULT)
      .describe('The lowest wins; equal ones share the connections among them.'),
  })
  .meta({ id: 'Route', description: 'A route of a virtual router.' });
export type Route = z.output<typeof Route>;

/** What the route says by itself. */
function ownFaults(route: Route): Fault[] {
  const faults: Fault[] = [];
  const destination = parsePrefix(route.destination);
  const source = route.source === undefined ? undefined : parsePrefix(route.source);
  const gateway = route.gateway === undefined ? undefined : parseIp(route.gateway);
  if (destination === undefined) return faults;
  const six = isIp6(destination.address);
  if (source !== undefined && isIp6(source.address) !== six)
    faults.push({ path: 'source', message: 'must be of the same family as the destination' });
  if (gateway !== undefined && isIp6(gateway) !== six)
    faults.push({ path: 'gateway', message: 'must be of the same family as the destination' });
  if (route.type === 'port') {
    if (route.port === undefined)
      faults.push({ path: 'port', message: 'is required for a route of type port' });
    return faults;
  }
  for (const path of ['port', 'gateway'] as const)
    if (route[path] !== undefined)
      faults.push({ path, message: `has no meaning in a route of type ${route.type}` });
  return faults;
}

function portFaults(route: Route, view: View): Fault[] {
  const port = view.get('port', route.port ?? '') as unknown as Port | undefined;
  if (port === undefined) return [];
  if (port.type !== 'router' || port.router !== route.router)
    return [{ path: 'port', message: 'must be a port of the router of the route' }];
  const gateway = route.gateway === undefined ? undefined : parseIp(route.gateway);
  if (gateway === undefined || (isIp6(gateway) && isLinkLocalIp(gateway))) return [];
  const networks = port.networks.map(parseNetwork).filter((network) => network !== undefined);
  if (networks.some(({ address }) => address === gateway))
    return [{ path: 'gateway', message: `is the address of port ${port.name} itself` }];
  if (networks.some((network) => contains(network, gateway))) return [];
  return [{ path: 'gateway', message: `is in no network of port ${port.name}` }];
}

function check(next: StoredObject, view: View): Fault[] {
  const route = next as unknown as Route;
  const faults = [...ownFaults(route), ...portFaults(route, view)];
  const router = view.get('router', route.router);
  if (router === undefined) return faults;
  if (route.tenant !== router.tenant)
    faults.push({ path: 'tenant', message: 'must be the tenant of the router' });
  if (view.referrers('route', 'router', route.router).length > ROUTES_PER_ROUTER_MAX) {
    const message = `has ${ROUTES_PER_ROUTER_MAX} routes, and cannot have more`;
    faults.push({ path: 'router', message });
  }
  return faults;
}

export const routeKind = {
  name: 'route',
  path: 'routes',
  about: 'A route of a virtual router.',
  schema: Route,
  references: {
    router: { kind: 'router', onDelete: 'cascade' },
    port: { kind: 'port', onDelete: 'cascade' },
  },
  columns: [
    'name',
    'router',
    'destination',
    'source',
    'type',
    'port',
    'gateway',
    'weight',
    'labels',
    'id',
  ],
  assigned: [],
  immutable: ['router', 'tenant'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
