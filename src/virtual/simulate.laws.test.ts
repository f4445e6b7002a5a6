/** The laws of the walk, on random topologies, learned tables, packets and changes. */
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { BridgeId, HostId, PortId } from './ids.ts';
import { fieldsOf } from './match.ts';
import type { Ingress, Outcome } from './outcome.ts';
import { packets, scramble, type Packet } from './packet.arbitrary.ts';
import { simulate } from './simulate.ts';
import type { MacTable } from './state/macs.ts';
import { floodTag, hostTag, locationTag, type Tag } from './tags.ts';
import {
  BRIDGE_IDS,
  HOST_IDS,
  learnedPlaces,
  macTables,
  PORT_IDS,
  changesOf,
  topologies,
} from './topology.arbitrary.ts';
import type { Topology } from './topology.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 20_000);

function law<Ts extends [unknown, ...unknown[]]>(
  t: TestContext,
  arbitraries: { [K in keyof Ts]: fc.Arbitrary<Ts[K]> },
  holds: (...values: Ts) => void,
): void {
  const start = performance.now();
  fc.assert(fc.property(...arbitraries, holds), { seed, numRuns });
  t.diagnostic(`${numRuns} cases in ${Math.round(performance.now() - start)} ms`);
}

const ingresses: fc.Arbitrary<Ingress> = fc.oneof(
  { weight: 9, arbitrary: fc.constantFrom(...PORT_IDS).map((port) => ({ port })) },
  { weight: 1, arbitrary: fc.constantFrom(...BRIDGE_IDS).map((flood) => ({ flood })) },
);

const walk = (
  topology: Topology,
  learned: MacTable,
  { headers, bytes }: Packet,
  ingress: Ingress,
): Outcome => simulate({ topology, learned, headers, bytes, ingress });

/**
 * An alteration must be named: `tags` are the change's, `before` and `after` the outcomes around
 * it.
 */
function assertNamed(tags: readonly Tag[], before: Outcome, after: Outcome): boolean {
  if (isDeepStrictEqual(after, before)) return false;
  if (tags.some((tag) => before.tags.includes(tag))) return true;
  assert.deepEqual(after, before, `none of ${before.tags.join(' ')} is among ${tags.join(' ')}`);
  return true;
}

test('mask: packets that agree on the fields seen have one outcome', (t) => {
  let cacheable = 0;
  law(
    t,
    [topologies, macTables, packets, packets, ingresses],
    (topology, learned, a, b, ingress) => {
      const outcome = walk(topology, learned, a, ingress);
      if (outcome.cacheable) cacheable++;
      const headers = scramble(a.headers, b.headers, fieldsOf(outcome.seen));
      const bytes = outcome.cacheable ? b.bytes : a.bytes;
      assert.deepEqual(walk(topology, learned, { headers, bytes }, ingress), outcome);
    },
  );
  t.diagnostic(`cacheable ${cacheable}`);
  assert(cacheable > numRuns / 2 && cacheable < numRuns, `${cacheable} cacheable`);
});

/** What compilation asks of a topology beside the walk, by the tag that stands for it. */
function compiledView(topology: Topology): Map<Tag, unknown> {
  const view = new Map<Tag, unknown>();
  const where = (port: PortId): unknown => {
    const at = topology.location(port);
    return at && [at.host, at.tunnelKey];
  };
  for (const port of PORT_IDS) view.set(locationTag(port), where(port));
  for (const to of HOST_IDS)
    view.set(
      hostTag(to),
      HOST_IDS.map((from) => topology.tunnelAddress(from, to)),
    );
  for (const id of BRIDGE_IDS) {
    const bridge = topology.bridge(id);
    const up = [...(bridge?.ports ?? [])].filter((port) => topology.port(port)?.adminStateUp);
    const boundTo = (host: HostId): PortId[] =>
      up.filter((p) => topology.portsOnHost(host).includes(p));
    const members = [
      up.toSorted(),
      HOST_IDS.map((h) => boundTo(h).toSorted()),
      up.toSorted().map(where),
    ];
    view.set(floodTag(id as BridgeId), bridge && [bridge.floodKey, ...members]);
  }
  return view;
}

test('tags: a change of rows that alters an answer is named by one of its tags', (t) => {
  let altered = 0;
  law(
    t,
    [topologies, macTables, packets, ingresses, changesOf],
    (topology, learned, packet, ingress, change) => {
      const before = walk(topology, learned, packet, ingress);
      const compiledBefore = compiledView(topology);
      const tags = topology.apply({ revision: 2, rows: change(topology) });
      if (assertNamed(tags, before, walk(topology, learned, packet, ingress))) altered++;
      const named = new Set(tags);
      for (const [tag, now] of compiledView(topology))
        if (!named.has(tag)) assert.deepEqual(now, compiledBefore.get(tag), tag);
    },
  );
  t.diagnostic(`altered ${altered}`);
  assert(altered > numRuns / 20, `only ${altered} altered`);
});

type LearnedChange = (table: MacTable) => Tag[];
const origins = fc.constantFrom('here' as const, 'elsewhere' as const);

/** Half of them are about an address of the packet, else hardly any would matter. */
const learnedChanges = (packet: Packet): fc.Arbitrary<LearnedChange> => {
  const { ethSrc, ethDst } = packet.headers;
  const macs = fc.constantFrom(ethSrc, ethDst);
  const near = fc.tuple(learnedPlaces, macs).map(([place, mac]) => ({ ...place, mac }));
  const places = fc.oneof(learnedPlaces, near);
  return fc.oneof(
    fc.tuple(places, origins).map(
      ([place, origin]): LearnedChange =>
        (table) =>
          table.learn(place, 10, origin),
    ),
    places.map(
      ({ bridge, vlan, mac }): LearnedChange =>
        (table) =>
          table.forget({ bridge, vlan, mac }),
    ),
    places.map(
      ({ port }): LearnedChange =>
        (table) =>
          table.forgetPort(port),
    ),
    fc.nat({ max: 12 }).map(
      (now): LearnedChange =>
        (table) =>
          table.expire(now),
    ),
  );
};
const aimed = packets.chain((packet) => fc.tuple(fc.constant(packet), learnedChanges(packet)));

test('tags: a change of what is learned that alters an outcome is named by one of its tags', (t) => {
  let altered = 0;
  law(
    t,
    [topologies, macTables, aimed, ingresses],
    (topology, learned, [packet, change], ingress) => {
      const before = walk(topology, learned, packet, ingress);
      const tags = change(learned);
      if (assertNamed(tags, before, walk(topology, learned, packet, ingress))) altered++;
    },
  );
  t.diagnostic(`altered ${altered}`);
  assert(altered > numRuns / 100, `only ${altered} altered`);
});

test('isolation: a frame reaches only ports of the bridge that it entered', (t) => {
  let unicasts = 0;
  law(t, [topologies, macTables, packets, ingresses], (topology, learned, packet, ingress) => {
    const outcome = walk(topology, learned, packet, ingress);
    assertIsolated(topology, ingress, outcome);
    if (outcome.verdict.kind === 'forward' && 'port' in outcome.verdict.to) unicasts++;
    // Once its claims are committed, the same packet is decided alike and claims nothing more.
    for (const { learn } of outcome.claims) assert.notDeepEqual(learned.learn(learn, 10), []);
    const { verdict, sends, claims } = walk(topology, learned, packet, ingress);
    assert.deepEqual([verdict, sends, claims], [outcome.verdict, outcome.sends, []]);
  });
  t.diagnostic(`unicasts ${unicasts}`);
  assert(unicasts > numRuns / 100, `only ${unicasts} unicasts`);
});

function assertIsolated(topology: Topology, ingress: Ingress, outcome: Outcome): void {
  const { verdict, sends, claims } = outcome;
  const id = 'port' in ingress ? topology.port(ingress.port)?.bridge : ingress.flood;
  const bridge = id === undefined ? undefined : topology.bridge(id);
  for (const { port } of sends) assert.deepEqual({ port }, ingress);
  for (const { learn } of claims) {
    assert.equal(learn.bridge, id);
    assert.deepEqual({ port: learn.port }, ingress);
  }
  if (verdict.kind !== 'forward') return;
  assert(bridge?.adminStateUp === true);
  if ('flood' in verdict.to) assert.equal(verdict.to.flood, id);
  else {
    assert(bridge.ports.has(verdict.to.port));
    assert(topology.port(verdict.to.port)?.adminStateUp === true);
  }
}
