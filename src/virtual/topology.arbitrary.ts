/**
 * Small random topologies, changes of them and learned places, for laws. The alphabets are small on
 * purpose: collisions (a MAC seeded at two ports, a location of a deleted port) are where bugs
 * live.
 *
 * Rows are well-formed by their schemas, but a random set of them need not be consistent: the
 * topology must cope with every order and every half of a change.
 */
import fc from 'fast-check';
import { FLOOD_KEY_BIT } from './bridge/bridge.ts';
import type { RowChange } from './change.ts';
import type { BridgeId, HostId, PortId, RouteId, RouterId, TunnelZoneId } from './ids.ts';
import {
  ADDRESS_GROUP_IDS,
  CHAIN_IDS,
  filtersOf,
  PORT_GROUP_IDS,
  RULE_IDS,
  FIREWALL_ROWS,
} from './rule/rule.arbitrary.ts';
import { BALANCER_IDS, BALANCER_ROWS } from './load-balancer/balancer.arbitrary.ts';
import { BRIDGE_IDS, ids, PORT_IDS, ROUTER_IDS } from './ids.arbitrary.ts';
import type { KindName, StoredObject } from './kind.ts';
import { MACS, IPS, ROUTER_MACS } from './packet.arbitrary.ts';
import { formatIp } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { MacTable, type LearnedPlace } from './state/macs.ts';
import { Topology, type TopologyObject } from './topology.ts';
import type { NeighbourView } from './view.ts';

export { BRIDGE_IDS, PORT_IDS, ROUTER_IDS };
export const ROUTE_IDS = ids<RouteId>(6, 4);
export const HOST_IDS = ids<HostId>(3, 3);
export const ZONE_IDS = ids<TunnelZoneId>(4, 2);

const one = <T>(values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const mostly = fc.integer({ min: 0, max: 7 }).map((n) => n > 0);
const revision = fc.integer({ min: 1, max: 3 });

/** Plain objects, as JSON gives them. */
const row = <T>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record<T>(model, { noNullPrototype: true });

const seed = fc.oneof(
  row({ mac: one(MACS.map(formatMac)), ip: one(IPS.map(formatIp)) }),
  row({ mac: one(MACS.map(formatMac)) }),
);

const seeds = fc.oneof(
  fc.constant([]),
  fc.uniqueArray(seed, { maxLength: 2, selector: (it) => ('ip' in it ? it.ip : it.mac) }),
);

const allowed = row({
  ip: one([...IPS.map(formatIp), '10.0.0.0/30', '0.0.0.0/0', 'fd00::/64', '::/0']),
  mac: one([undefined, ...MACS.map(formatMac)]),
});
/** Mostly off, or hardly anything would get anywhere. */
const security = fc.oneof(
  { weight: 4, arbitrary: fc.constant({}) },
  {
    weight: 1,
    arbitrary: row({
      security: one(['on', 'on', 'on', 'off']),
      allowedAddresses: fc.array(allowed, { maxLength: 2 }),
    }),
  },
);

const bridgePort = fc
  .tuple(
    row({
      type: fc.constant('bridge'),
      bridge: one([...BRIDGE_IDS, ...BRIDGE_IDS.slice(0, 1), ...BRIDGE_IDS.slice(0, 1)]),
      hairpin: fc.boolean(),
      addresses: seeds,
    }),
    security,
  )
  .map(([port, secured]) => ({ ...port, ...secured }));
const routerPort = fc
  .tuple(
    row({
      type: fc.constant('router'),
      router: one([...ROUTER_IDS, ...ROUTER_IDS.slice(0, 1)]),
      mac: one(ROUTER_MACS.map(formatMac)),
      networks: one([
        ['10.0.0.9/24', 'fd00::9/64'],
        ['10.0.1.9/24'],
        ['10.0.1.9/24', 'fd00:1::9/64'],
        [],
      ]),
    }),
    fc.option(row({ mtu: one([68, 1280]) }), { freq: 3 }),
  )
  .map(([port, mtu]) => ({ ...port, ...mtu }));
const places: fc.Arbitrary<object> = fc.oneof(
  { weight: 2, arbitrary: row({ host: one(HOST_IDS), interface: one(['tap0', 'tap1']) }) },
  { weight: 1, arbitrary: fc.constant({}) },
  { weight: 1, arbitrary: row({ peer: one(PORT_IDS) }) },
);

/** A row of a device with some of these filters, mostly none. */
const withFilters = (
  device: fc.Arbitrary<StoredObject>,
  fields: readonly string[],
): fc.Arbitrary<StoredObject> =>
  fc.tuple(device, filtersOf(fields)).map(([object, filters]) => ({ ...object, ...filters }));

/** A row of each kind with this id. */
const ROWS: { readonly [K in KindName]: (id: string) => fc.Arbitrary<StoredObject> } = {
  host: (id) => row({ id: fc.constant(id), name: fc.constant(`h${id.at(-1)}`), revision }),
  bridge: (id) =>
    withFilters(
      row({
        id: fc.constant(id),
        name: one(['b0', 'b1']),
        adminStateUp: mostly,
        floodKey: fc.constant(FLOOD_KEY_BIT + Number(id.at(-1))),
        revision,
      }),
      ['inboundFilter', 'outboundFilter'],
    ),
  router: (id) =>
    withFilters(
      row({
        id: fc.constant(id),
        name: one(['r0', 'r1']),
        adminStateUp: mostly,
        networkKey: fc.constant(FLOOD_KEY_BIT + 8 + Number(id.at(-1))),
        revision,
      }),
      ['localFilter', 'inboundFilter', 'forwardFilter', 'outboundFilter'],
    ),
  port: (id) =>
    fc
      .tuple(
        fc.oneof({ weight: 3, arbitrary: bridgePort }, { weight: 2, arbitrary: routerPort }),
        row({ name: one(['p0', 'p1', 'p2']), adminStateUp: mostly, revision }),
        places,
        filtersOf(['inboundFilter', 'outboundFilter']),
      )
      .map(([port, common, place, filters]) => ({ id, ...common, ...port, ...place, ...filters })),
  route: (id) =>
    fc
      .tuple(
        row({
          id: fc.constant(id),
          router: one(ROUTER_IDS),
          destination: one([
            '0.0.0.0/0',
            '10.0.0.0/16',
            '10.0.1.0/24',
            '10.0.1.2/32',
            '::/0',
            'fd00:1::/64',
          ]),
          weight: one([1, 1, 2]),
          revision,
        }),
        fc.oneof(
          { weight: 4, arbitrary: row({ type: fc.constant('port'), port: one(PORT_IDS) }) },
          { weight: 1, arbitrary: row({ type: one(['blackhole', 'reject', 'local']) }) },
        ),
        fc.boolean(),
        fc.option(one(['10.0.0.0/24', '10.0.0.1/32']), { freq: 2 }),
      )
      .map(([route, way, gateway, source]) => {
        const six = route.destination.includes(':');
        const via = gateway && way.type === 'port';
        return {
          ...route,
          ...way,
          ...(via && { gateway: six ? 'fd00::3' : '10.0.0.3' }),
          ...(source !== null && !six && { source }),
        };
      }),
  location: (id) =>
    row({
      id: fc.constant(id),
      port: fc.constant(id),
      host: one(HOST_IDS),
      interface: one(['tap0', 'tap1']),
      up: mostly,
      mtu: one([undefined, 1400, 9000]),
      tunnelKey: fc.integer({ min: 1, max: 3 }),
      revision,
    }),
  'tunnel-zone': (id) =>
    row({
      id: fc.constant(id),
      name: fc.constant(`z${id.at(-1)}`),
      members: fc.uniqueArray(
        row({
          host: one(HOST_IDS),
          address: one(['192.0.2.1', '192.0.2.2', '192.0.2.3', '2001:db8::1', '2001:db8::2']),
        }),
        { maxLength: 3, selector: ({ host }) => host },
      ),
      revision,
    }),
  ...FIREWALL_ROWS,
  'nat-block': () => fc.constantFrom<StoredObject>(),
  ...BALANCER_ROWS,
};

const IDS: { readonly [K in KindName]: readonly string[] } = {
  host: HOST_IDS,
  bridge: BRIDGE_IDS,
  router: ROUTER_IDS,
  port: PORT_IDS,
  route: ROUTE_IDS,
  location: PORT_IDS,
  'tunnel-zone': ZONE_IDS,
  chain: CHAIN_IDS,
  'address-group': ADDRESS_GROUP_IDS,
  'port-group': PORT_GROUP_IDS,
  rule: RULE_IDS,
  'nat-block': [],
  ...BALANCER_IDS,
};
/** Walks do not ask who owns which ports: the state says what may be chosen. */
const KINDS = (Object.keys(IDS) as KindName[]).filter((kind) => kind !== 'nat-block');

const labels = fc.option(one([['app=db'], ['app=web', 'tier=front']]), { freq: 2, nil: undefined });
/** A row with labels, where its kind has them: no law may depend on them. */
const rowOf = (kind: KindName, id: string): fc.Arbitrary<StoredObject> =>
  kind === 'location' || kind === 'member-health'
    ? ROWS[kind](id)
    : fc.tuple(ROWS[kind](id), labels).map(([object, given]) => ({
        ...object,
        ...(given !== undefined && { labels: given }),
      }));

/** Links two ports at both ends, as plans do; with a VLAN at one of them, or none. */
function linkAll(objects: TopologyObject[], links: readonly Link[]): TopologyObject[] {
  const out = [...objects];
  const set = (id: string, changes: object): void => {
    const at = out.findIndex(({ kind, object }) => kind === 'port' && object.id === id);
    const found = out[at];
    if (found === undefined) return;
    const { host: _, interface: __, ...rest } = found.object as StoredObject & Bound;
    const object = { ...rest, ...changes } as StoredObject;
    out[at] = { kind: 'port', object };
  };
  for (const { a, b, vlan } of links) {
    if (a === b) continue;
    set(a, { peer: b, ...(vlan && { vlan: 5 }) });
    set(b, { peer: a });
  }
  return out;
}
interface Bound {
  readonly host?: unknown;
  readonly interface?: unknown;
}
interface Link {
  readonly a: PortId;
  readonly b: PortId;
  readonly vlan: boolean;
}
const link: fc.Arbitrary<Link> = row({
  a: one(PORT_IDS.slice(0, 4)),
  b: one(PORT_IDS.slice(4)),
  vlan: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
});

/** Nearly all objects there are: one of ten is missing. Up to four links join some of the ports. */
export const topologyObjects: fc.Arbitrary<TopologyObject[]> = fc
  .tuple(fc.uniqueArray(link, { maxLength: 4, selector: ({ a }) => a }), nearlyAll())
  .map(([links, objects]) => linkAll(objects, links));

function nearlyAll(): fc.Arbitrary<TopologyObject[]> {
  return fc
    .tuple(
      ...KINDS.flatMap((kind) =>
        IDS[kind].map((id) =>
          fc.option(
            rowOf(kind, id).map((object) => ({ kind, object })),
            { freq: 9 },
          ),
        ),
      ),
    )
    .map((objects) => objects.filter((object) => object !== null));
}

const [B1, B2] = BRIDGE_IDS;
const [R1, R2] = ROUTER_IDS;
const port = (n: number, of: object, place: object): TopologyObject => ({
  kind: 'port',
  object: {
    id: PORT_IDS[n - 1],
    name: `p${n}`,
    adminStateUp: true,
    revision: 1,
    ...of,
    ...place,
  } as unknown as StoredObject,
});
const onBridge = (bridge: BridgeId | undefined, peer?: number) => ({
  type: 'bridge',
  bridge,
  hairpin: false,
  addresses: [],
  ...(peer !== undefined && { peer: PORT_IDS[peer - 1] }),
});
const onRouter = (
  router: RouterId | undefined,
  mac: Mac | undefined,
  networks: readonly string[],
) => ({
  type: 'router',
  router,
  mac: formatMac(mac ?? (0 as Mac)),
  networks,
});
const to = (peer: number) => ({ peer: PORT_IDS[peer - 1] });
const bound = (host: number) => ({ host: HOST_IDS[host], interface: 'tap0' });
const [RM1, RM2] = ROUTER_MACS;

/** Two bridges joined by a router, which another router is linked to: what most networks are. */
const ROUTED: readonly TopologyObject[] = [
  ...BRIDGE_IDS.map((id, i): TopologyObject => ({
    kind: 'bridge',
    object: {
      id,
      name: `b${i}`,
      adminStateUp: true,
      floodKey: FLOOD_KEY_BIT + i + 1,
      revision: 1,
    } as StoredObject,
  })),
  ...ROUTER_IDS.map((id, i): TopologyObject => ({
    kind: 'router',
    object: {
      id,
      name: `r${i}`,
      adminStateUp: true,
      networkKey: FLOOD_KEY_BIT + i + 9,
      revision: 1,
    } as StoredObject,
  })),
  port(1, onBridge(B1), bound(0)),
  port(2, onBridge(B1), bound(1)),
  port(3, onBridge(B2), bound(2)),
  port(4, onRouter(R2, MACS[2], ['10.0.2.9/24']), bound(1)),
  port(5, onBridge(B1), to(6)),
  port(6, onRouter(R1, RM1, ['10.0.0.9/24', 'fd00::9/64']), to(5)),
  port(7, onBridge(B2), to(8)),
  port(8, onRouter(R1, RM2, ['10.0.1.9/24', 'fd00:1::9/64']), to(7)),
  port(9, onRouter(R1, MACS[0], ['10.0.3.1/30']), to(10)),
  port(10, onRouter(R2, MACS[1], ['10.0.3.2/30']), to(9)),
];

/** The routed network with routes, and up to three rows of it changed or gone. */
const routedObjects: fc.Arbitrary<TopologyObject[]> = fc
  .tuple(
    fc.array(rowChangeAny(), { maxLength: 3 }),
    fc.tuple(...ROUTE_IDS.map((id) => fc.option(ROWS.route(id), { freq: 2 }))),
    fc.tuple(
      ...[1, 2, 3, 4].map((n) => fc.option(ROWS.location(PORT_IDS[n - 1] ?? ''), { freq: 6 })),
    ),
  )
  .map(([changes, routes, locations]) => {
    const all = new Map(ROUTED.map((each) => [`${each.kind}/${each.object.id}`, each]));
    for (const object of routes)
      if (object) all.set(`route/${object.id}`, { kind: 'route', object });
    for (const object of locations)
      if (object) all.set(`location/${object.id}`, { kind: 'location', object });
    for (const { kind, id, put } of changes)
      if (put === undefined) all.delete(`${kind}/${id}`);
      else all.set(`${kind}/${id}`, { kind, object: put });
    return [...all.values()];
  });
function rowChangeAny(): fc.Arbitrary<RowChange> {
  return fc.oneof(...KINDS.map(rowChangeOf));
}

export const topologyOf = (objects: Iterable<TopologyObject>): Topology => {
  const topology = new Topology();
  topology.reset(1, objects);
  return topology;
};
export const topologies: fc.Arbitrary<Topology> = fc
  .oneof(topologyObjects, routedObjects)
  .map(topologyOf);

function rowChangeOf(kind: KindName): fc.Arbitrary<RowChange> {
  return one(IDS[kind]).chain((id) =>
    fc
      .option(rowOf(kind, id), { freq: 4 })
      .map((put): RowChange => (put === null ? { kind, id } : { kind, id, put })),
  );
}

/** One row put or deleted; ports, which have most to go wrong, most often. */
export const rowChanges: fc.Arbitrary<RowChange> = fc.oneof(
  { weight: 4, arbitrary: rowChangeOf('port') },
  { weight: 2, arbitrary: rowChangeOf('bridge') },
  { weight: 2, arbitrary: rowChangeOf('route') },
  { weight: 1, arbitrary: rowChangeOf('router') },
  { weight: 1, arbitrary: rowChangeOf('location') },
  { weight: 1, arbitrary: rowChangeOf('host') },
  { weight: 1, arbitrary: rowChangeOf('tunnel-zone') },
  { weight: 3, arbitrary: rowChangeOf('rule') },
  { weight: 1, arbitrary: rowChangeOf('chain') },
  { weight: 1, arbitrary: rowChangeOf('address-group') },
  { weight: 1, arbitrary: rowChangeOf('port-group') },
);

/** What changes one aspect of a port and nothing else, as most changes do. */
const portEdits: fc.Arbitrary<Readonly<Record<string, unknown>>> = fc.oneof(
  { weight: 3, arbitrary: seeds.map((addresses) => ({ addresses })) },
  { weight: 1, arbitrary: row({ adminStateUp: fc.boolean() }) },
  { weight: 1, arbitrary: row({ hairpin: fc.boolean() }) },
  { weight: 2, arbitrary: security },
  { weight: 1, arbitrary: row({ host: one(HOST_IDS) }) },
  { weight: 1, arbitrary: row({ peer: one(PORT_IDS) }) },
  { weight: 1, arbitrary: fc.constant({ peer: undefined }) },
  { weight: 1, arbitrary: row({ vlan: one([5, 6]) }) },
  { weight: 1, arbitrary: row({ mtu: one([68, 1280]) }) },
  {
    weight: 1,
    arbitrary: row({ networks: one([['10.0.0.9/24'], ['10.0.1.9/24', 'fd00::9/64']]) }),
  },
);

/** A change of one to three rows, given the topology that it is of. */
export const changesOf: fc.Arbitrary<(topology: Topology) => RowChange[]> = fc.oneof(
  fc.array(rowChanges, { minLength: 1, maxLength: 3 }).map((rows) => () => rows),
  fc.tuple(one(PORT_IDS), portEdits).map(([id, edit]) => (topology: Topology): RowChange[] => {
    const before = topology.get('port', id);
    if (before === undefined) return [];
    const { type } = before as StoredObject & { readonly type?: string };
    const own =
      type === 'bridge'
        ? ['networks', 'mtu']
        : ['addresses', 'hairpin', 'vlan', 'security', 'allowedAddresses'];
    const fits = Object.entries(edit).filter(([field]) => !own.includes(field));
    return [{ kind: 'port', id, put: { ...before, ...Object.fromEntries(fits) } }];
  }),
  link.map(({ a, b }) => (topology: Topology): RowChange[] => {
    const ends = [topology.get('port', a), topology.get('port', b)];
    return ends.flatMap((end, i): RowChange[] =>
      end === undefined
        ? []
        : [{ kind: 'port', id: end.id, put: { ...end, peer: i === 0 ? b : a } as StoredObject }],
    );
  }),
);

export const learnedPlaces: fc.Arbitrary<LearnedPlace> = row({
  bridge: one(BRIDGE_IDS),
  vlan: one([0, 5]),
  mac: one(MACS),
  port: one(PORT_IDS),
});

export const LEARNED_PER_PORT_MAX = 2;
export const LEARNED_AGE_MS = 3;

/** What was learned, at the times 0, 1, 2 …; also at ports that are gone or of another bridge. */
export const macTables: fc.Arbitrary<MacTable> = fc
  .array(fc.tuple(learnedPlaces, one(['here', 'elsewhere'] as const)), { maxLength: 8 })
  .map((places) => {
    const table = new MacTable({ perPortMax: LEARNED_PER_PORT_MAX, ageMs: LEARNED_AGE_MS });
    for (const [now, [place, origin]] of places.entries()) table.learn(place, now, origin);
    return table;
  });

/** Neighbours of router ports, as a table answers for them: few, so that some are unknown. */
export const neighbourViews: fc.Arbitrary<NeighbourView> = fc
  .array(
    fc.tuple(
      one([PORT_IDS[5], PORT_IDS[7], PORT_IDS[5], PORT_IDS[7], ...PORT_IDS]),
      one(IPS),
      one<Mac | 'unreachable'>([...MACS, ...MACS, 'unreachable']),
    ),
    { minLength: 4, maxLength: 40, size: 'max' },
  )
  .map((entries) =>
    neighboursOf(new Map(entries.map(([port, ip, mac]) => [`${port}/${ip}`, mac]))),
  );

export const neighboursOf = (known: ReadonlyMap<string, Mac | 'unreachable'>): NeighbourView => ({
  neighbour: (port: PortId, ip: Ip) => known.get(`${port}/${ip}`),
  mayHear: () => true,
});
