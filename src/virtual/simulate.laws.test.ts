/** The laws of the walk, on random topologies, learned tables, packets and changes. */
import { ANY_PORTS } from './nat/any-ports.ts';
import { connectionViews } from './connections.arbitrary.ts';
import { NO_CONNECTIONS } from './connection.ts';
import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import fc from 'fast-check';
import type { BridgeId, HostId, PortId } from './ids.ts';
import { fieldsOf } from './match.ts';
import type { Ingress, Outcome } from './outcome.ts';
import type { Ip } from '#net/ip.ts';
import type { Mac } from '#net/mac.ts';
import { IPS, MACS, packets, scramble, type Packet } from './packet.arbitrary.ts';
import { deviceOf } from './port/view.ts';
import { simulate } from './simulate.ts';
import { ErrorBudget, ERRORS_BURST } from './state/error-budget.ts';
import type { MacTable } from './state/macs.ts';
import { NeighbourTable } from './state/neighbours.ts';
import { covers, floodTag, hostTag, locationTag, type Tag } from './tags.ts';
import {
  BRIDGE_IDS,
  HOST_IDS,
  learnedPlaces,
  macTables,
  neighbourViews,
  PORT_IDS,
  changesOf,
  ROUTER_IDS,
  topologies,
} from './topology.arbitrary.ts';
import type { Topology } from './topology.ts';
import type { PortView, StateView } from './view.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 20_000);

const NO_BYTES = new Uint8Array(0);
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
  { weight: 16, arbitrary: fc.constantFrom(...PORT_IDS).map((port) => ({ port })) },
  { weight: 1, arbitrary: fc.constantFrom(...BRIDGE_IDS).map((flood) => ({ flood })) },
  { weight: 1, arbitrary: fc.constantFrom(...ROUTER_IDS).map((heard) => ({ heard })) },
  { weight: 1, arbitrary: fc.constantFrom(...PORT_IDS).map((out) => ({ out })) },
);

type Known = Omit<StateView, 'isHere'>;
type State = Known & { readonly macs: MacTable };
const states: fc.Arbitrary<State> = fc
  .tuple(macTables, neighbourViews, fc.boolean(), connectionViews)
  .map(([macs, neighbours, may, connections]) => ({
    macs,
    neighbours,
    errors: { mayTell: () => may },
    connections,
    publicPorts: ANY_PORTS,
  }));

const walk = (
  topology: Topology,
  state: Known,
  { headers, bytes, size }: Packet,
  ingress: Ingress,
): Outcome => {
  const isHere = (port: PortId): boolean => topology.isOnHost(port, HOST_IDS[0]);
  return simulate({ topology, state: { ...state, isHere }, headers, bytes, size, ingress });
};

/**
 * An alteration must be named: `tags` are the change's, `before` and `after` the outcomes around
 * it.
 */
function assertNamed(tags: readonly Tag[], before: Outcome, after: Outcome): boolean {
  if (isDeepStrictEqual(after, before)) return false;
  if (tags.some((tag) => before.tags.some((held) => covers(tag, held)))) return true;
  assert.deepEqual(after, before, `none of ${before.tags.join(' ')} is among ${tags.join(' ')}`);
  return true;
}

/** A packet that the flow of an outcome would carry: it agrees on what is seen, and the guards. */
function alike(outcome: Outcome, a: Packet, b: Packet): Packet {
  const headers = scramble(a.headers, b.headers, fieldsOf(outcome.seen));
  if (!outcome.cacheable)
    return { headers: { ...headers, ipTtl: a.headers.ipTtl }, bytes: a.bytes, size: a.size };
  const { decTtl, mtu } = outcome.guards;
  const ipTtl = decTtl > 0 ? Math.max(headers.ipTtl, decTtl + 1) : headers.ipTtl;
  // Whose flags are sound is what a walk without bytes is about.
  const bytes = outcome.guards.soundTcp === true ? NO_BYTES : b.bytes;
  return { headers: { ...headers, ipTtl }, bytes, size: Math.min(b.size, mtu ?? b.size) };
}

test('mask: packets that agree on the fields seen have one outcome', (t) => {
  const seen = { cacheable: 0, routed: 0, limited: 0 };
  const filtered = { decided: 0, kept: 0, told: 0, logged: 0 };
  law(t, [topologies, states, packets, packets, ingresses], (topology, state, a, b, ingress) => {
    const outcome = walk(topology, state, a, ingress);
    if (outcome.cacheable) seen.cacheable++;
    if (outcome.guards.decTtl > 0 && outcome.cacheable) seen.routed++;
    if (outcome.cacheable && outcome.steps.some(({ did }) => did === 'rule')) filtered.decided++;
    if (outcome.steps.some(({ did }) => did === 'keep')) filtered.kept++;
    if (outcome.verdict.kind === 'drop' && outcome.verdict.reason === 'filter-reject')
      if (outcome.sends.length > 0) filtered.told++;
    if (outcome.guards.mtu !== undefined && outcome.cacheable) seen.limited++;
    const other = walk(topology, state, alike(outcome, a, b), ingress);
    if (outcome.logged !== undefined) filtered.logged++;
    // A line says more of its packet than the flow matches; which rules write one is the flow's.
    const { logged, ...rest } = outcome;
    const { logged: otherLogged, ...otherRest } = other;
    assert.deepEqual(otherRest, rest);
    const rules = (lines: typeof logged) => lines?.map(({ rule }) => rule);
    assert.deepEqual(rules(otherLogged), rules(logged));
  });
  t.diagnostic(JSON.stringify({ ...seen, ...filtered }));
  for (const [what, n] of Object.entries(filtered))
    assert(n > numRuns / 5_000, `${what}: only ${n}`);
  assert(seen.cacheable > numRuns / 2 && seen.cacheable < numRuns, JSON.stringify(seen));
  assert(seen.routed > numRuns / 200 && seen.limited > 0, JSON.stringify(seen));
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
    const isMember = (port: PortId): boolean => {
      const view = topology.port(port);
      return view?.adminStateUp === true && view.peer === undefined;
    };
    const up = [...(bridge?.ports ?? [])].filter(isMember);
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
    [topologies, states, packets, ingresses, changesOf],
    (topology, state, packet, ingress, change) => {
      const before = walk(topology, state, packet, ingress);
      const compiledBefore = compiledView(topology);
      const tags = topology.apply({ revision: 2, rows: change(topology) });
      if (assertNamed(tags, before, walk(topology, state, packet, ingress))) altered++;
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
  law(t, [topologies, states, aimed, ingresses], (topology, state, [packet, change], ingress) => {
    const before = walk(topology, state, packet, ingress);
    const tags = change(state.macs);
    if (assertNamed(tags, before, walk(topology, state, packet, ingress))) altered++;
  });
  t.diagnostic(`altered ${altered}`);
  assert(altered > numRuns / 200, `only ${altered} altered`);
});

const heard = fc
  .record({
    port: fc.constantFrom(...PORT_IDS.slice(5)),
    ip: fc.constantFrom(...IPS),
    mac: fc.constantFrom(...MACS),
    source: fc.constantFrom('here' as const, 'passed' as const, 'elsewhere' as const),
  })
  .map((entry) => ({ ...entry, at: entry.source === 'here' ? entry.port : undefined }));
type HeardChange = 'hear' | 'forget' | 'spend' | 'tick';
const heardChanges = fc.record({
  what: fc.constantFrom<HeardChange>('hear', 'hear', 'forget', 'forget', 'spend', 'tick'),
  entry: heard,
  /** Which of the things that the walk asked for is the one changed; undefined: any other. */
  aim: fc.option(fc.nat(8), { freq: 6, nil: undefined }),
});

test('tags: what is heard, forgotten or spent and alters an outcome is named by a tag', (t) => {
  let altered = 0;
  law(
    t,
    [
      topologies,
      macTables,
      fc.array(heard, { maxLength: 12 }),
      fc.nat(2),
      packets,
      heardChanges,
      ingresses,
    ],
    (topology, macs, known, spent, packet, { what, entry, aim }, ingress) => {
      const table = new NeighbourTable({ perPortMax: 3, entriesMax: 10 });
      for (const entry of known) table.hear(entry, 1);
      const errors = new ErrorBudget();
      // One left, none left, or nearly all.
      for (const port of PORT_IDS)
        for (let n = spent === 2 ? 1 : ERRORS_BURST - spent; n > 0; n--) errors.charge(port);
      const asked: { readonly port: PortId; readonly ip: Ip }[] = [];
      const neighbours = {
        neighbour: (port: PortId, ip: Ip) => {
          asked.push({ port, ip });
          return table.mac(port, ip);
        },
        mayHear: (port: PortId, by?: PortId) => table.mayHear(port, by),
      };
      const state = {
        macs,
        neighbours,
        errors,
        connections: NO_CONNECTIONS,
        publicPorts: ANY_PORTS,
      };
      const before = walk(topology, state, packet, ingress);
      const at = { ...entry, ...(aim !== undefined && asked[aim % asked.length]) };
      const payer = 'port' in ingress && aim !== undefined ? ingress.port : entry.port;
      let tags: Tag[];
      if (what === 'tick') tags = errors.tick();
      else if (what === 'hear') tags = table.hear(at, 2);
      else if (what === 'forget') tags = table.forget(at.port, at.ip);
      else tags = errors.charge(payer);
      if (assertNamed(tags, before, walk(topology, state, packet, ingress))) altered++;
    },
  );
  t.diagnostic(`altered ${altered}`);
  assert(altered > numRuns / 100, `only ${altered} altered`);
});

test('isolation: a frame reaches only ports of devices that links join with the one it entered', (t) => {
  const seen = { unicasts: 0, routed: 0, waits: 0, answers: 0, errors: 0 };
  let collects = 0;
  law(t, [topologies, states, packets, ingresses], (topology, state, packet, ingress) => {
    const outcome = walk(topology, state, packet, ingress);
    assertIsolated(topology, ingress, outcome);
    const { verdict, sends, claims } = outcome;
    if (verdict.kind === 'forward' && verdict.to.some((to) => 'port' in to)) seen.unicasts++;
    if (verdict.kind === 'forward' && outcome.guards.decTtl > 0) seen.routed++;
    if (verdict.kind === 'wait') seen.waits++;
    if (verdict.kind === 'collect') collects++;
    if (verdict.kind === 'answer' && sends.length > 0) seen.answers++;
    if (outcome.charge !== undefined) seen.errors++;
    // Once its claims are committed, the same packet is decided alike and claims nothing more.
    const table = new Map<string, Mac>();
    for (const claim of claims)
      if ('learn' in claim) assert.notDeepEqual(state.macs.learn(claim.learn, 10), []);
      else table.set(`${claim.hear.port}/${claim.hear.ip}`, claim.hear.mac);
    const neighbours: StateView['neighbours'] = {
      neighbour: (port, ip) => table.get(`${port}/${ip}`) ?? state.neighbours.neighbour(port, ip),
      mayHear: () => true,
    };
    const again = walk(topology, { ...state, neighbours }, packet, ingress);
    assert.deepEqual([again.verdict, again.sends, again.claims], [verdict, sends, []]);
  });
  t.diagnostic(JSON.stringify({ ...seen, collects }));
  assert(collects > numRuns / 2000, `collects: only ${collects}`);
  for (const [what, n] of Object.entries(seen)) assert(n > numRuns / 500, `${what}: only ${n}`);
});

function assertIsolated(topology: Topology, ingress: Ingress, outcome: Outcome): void {
  const { verdict, sends, claims, tells } = outcome;
  const portOf = (id: PortId) => topology.port(id);
  const first =
    'flood' in ingress
      ? ingress.flood
      : 'heard' in ingress
        ? ingress.heard
        : deviceAt(portOf('port' in ingress ? ingress.port : ingress.out));
  const devices = first === undefined ? new Set<string>() : topology.domain(first).devices;
  const inside = (port: PortId): void => {
    const device = deviceAt(portOf(port));
    assert(device !== undefined && devices.has(device), `${port} is outside of ${first}`);
  };
  for (const { port } of sends) inside(port);
  for (const { router } of tells) assert(devices.has(router));
  for (const claim of claims)
    if ('learn' in claim) {
      assert.deepEqual({ port: claim.learn.port }, ingress);
      inside(claim.learn.port);
    } else inside(claim.hear.port);
  if (verdict.kind === 'wait') inside(verdict.port);
  if (verdict.kind !== 'forward') return;
  assert(verdict.to.length > 0);
  for (const to of verdict.to)
    if ('flood' in to) {
      assert(devices.has(to.flood) && topology.bridge(to.flood)?.adminStateUp === true);
    } else {
      inside(to.port);
      assert(portOf(to.port)?.adminStateUp === true && portOf(to.port)?.peer === undefined);
    }
}
const deviceAt = (port: PortView | undefined) => (port === undefined ? undefined : deviceOf(port));
