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
import type { BridgeId, HostId, PortId, TunnelZoneId } from './ids.ts';
import type { KindName, StoredObject } from './kind.ts';
import { MACS, IPS } from './packet.arbitrary.ts';
import { formatIp } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { MacTable, type LearnedPlace } from './state/macs.ts';
import { Topology, type TopologyObject } from './topology.ts';

const ids = <Id extends string>(kind: number, count: number): readonly Id[] =>
  Array.from(
    { length: count },
    (_, i) => `0000000${kind}-0000-4000-8000-00000000000${i + 1}` as Id,
  );

export const BRIDGE_IDS = ids<BridgeId>(1, 2);
export const PORT_IDS = ids<PortId>(2, 5);
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

/** A row of each kind with this id. */
const ROWS: { readonly [K in KindName]: (id: string) => fc.Arbitrary<StoredObject> } = {
  host: (id) => row({ id: fc.constant(id), name: fc.constant(`h${id.at(-1)}`), revision }),
  bridge: (id) =>
    row({
      id: fc.constant(id),
      name: one(['b0', 'b1']),
      adminStateUp: mostly,
      floodKey: fc.constant(FLOOD_KEY_BIT + Number(id.at(-1))),
      revision,
    }),
  port: (id) =>
    fc
      .tuple(
        row({
          id: fc.constant(id),
          name: one(['p0', 'p1', 'p2']),
          type: fc.constant('bridge'),
          bridge: one([...BRIDGE_IDS, ...BRIDGE_IDS.slice(0, 1), ...BRIDGE_IDS.slice(0, 1)]),
          adminStateUp: mostly,
          hairpin: fc.boolean(),
          addresses: seeds,
          revision,
        }),
        fc.option(row({ host: one(HOST_IDS), interface: one(['tap0', 'tap1']) })),
      )
      .map(([port, binding]) => ({ ...port, ...binding })),
  location: (id) =>
    row({
      id: fc.constant(id),
      port: fc.constant(id),
      host: one(HOST_IDS),
      interface: one(['tap0', 'tap1']),
      tunnelKey: fc.integer({ min: 1, max: 3 }),
      revision,
    }),
  'tunnel-zone': (id) =>
    row({
      id: fc.constant(id),
      name: fc.constant(`z${id.at(-1)}`),
      members: fc.uniqueArray(
        row({ host: one(HOST_IDS), address: one(['192.0.2.1', '192.0.2.2', '192.0.2.3']) }),
        { maxLength: 3, selector: ({ host }) => host },
      ),
      revision,
    }),
};

const IDS: { readonly [K in KindName]: readonly string[] } = {
  host: HOST_IDS,
  bridge: BRIDGE_IDS,
  port: PORT_IDS,
  location: PORT_IDS,
  'tunnel-zone': ZONE_IDS,
};
const KINDS = Object.keys(IDS) as KindName[];

/** Nearly all objects there are: one of ten is missing. */
export const topologyObjects: fc.Arbitrary<TopologyObject[]> = fc
  .tuple(
    ...KINDS.flatMap((kind) =>
      IDS[kind].map((id) =>
        fc.option(
          ROWS[kind](id).map((object) => ({ kind, object })),
          { freq: 9 },
        ),
      ),
    ),
  )
  .map((objects) => objects.filter((object) => object !== null));

export const topologyOf = (objects: Iterable<TopologyObject>): Topology => {
  const topology = new Topology();
  topology.reset(1, objects);
  return topology;
};
export const topologies: fc.Arbitrary<Topology> = topologyObjects.map(topologyOf);

const rowChangeOf = (kind: KindName): fc.Arbitrary<RowChange> =>
  one(IDS[kind]).chain((id) =>
    fc
      .option(ROWS[kind](id), { freq: 4 })
      .map((put): RowChange => (put === null ? { kind, id } : { kind, id, put })),
  );

/** One row put or deleted; ports, which have most to go wrong, most often. */
export const rowChanges: fc.Arbitrary<RowChange> = fc.oneof(
  { weight: 4, arbitrary: rowChangeOf('port') },
  { weight: 2, arbitrary: rowChangeOf('bridge') },
  { weight: 1, arbitrary: rowChangeOf('location') },
  { weight: 1, arbitrary: rowChangeOf('host') },
  { weight: 1, arbitrary: rowChangeOf('tunnel-zone') },
);

/** What changes one aspect of a port and nothing else, as most changes do. */
const portEdits: fc.Arbitrary<Readonly<Record<string, unknown>>> = fc.oneof(
  { weight: 3, arbitrary: seeds.map((addresses) => ({ addresses })) },
  { weight: 1, arbitrary: row({ adminStateUp: fc.boolean() }) },
  { weight: 1, arbitrary: row({ hairpin: fc.boolean() }) },
  { weight: 1, arbitrary: row({ host: one(HOST_IDS) }) },
);

/** A change of one to three rows, given the topology that it is of. */
export const changesOf: fc.Arbitrary<(topology: Topology) => RowChange[]> = fc.oneof(
  fc.array(rowChanges, { minLength: 1, maxLength: 3 }).map((rows) => () => rows),
  fc.tuple(one(PORT_IDS), portEdits).map(([id, edit]) => (topology: Topology): RowChange[] => {
    const before = topology.get('port', id);
    return before === undefined ? [] : [{ kind: 'port', id, put: { ...before, ...edit } }];
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
