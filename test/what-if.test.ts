/**
 * What-if keeps its word: for random edits, the flows that it says would break, open or move are
 * those of which each agent, once it has enforced the edit, decides so for the same key; and what
 * it refuses, the write refuses.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ApiError } from '#client/errors.ts';
import type { Operation } from '#client/types.ts';
import { fieldsOf, type FieldSet } from '#virtual/match.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Output } from '#flow/flow.ts';
import { parseFrameText } from '#net/text.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { World, type WorldHost } from './world.ts';

const seed = Number(process.env['SEED'] ?? 1);
/** Each run is a world and EDITS edits, one upon the other. */
const numRuns = Number(process.env['RUNS'] ?? 3);
const EDITS = 8;

const SPECS = [
  {
    name: 'a1',
    host: 'h1',
    mac: '02:00:00:00:01:02',
    addresses: ['10.0.1.2/24'],
    via: ['10.0.1.1'],
  },
  {
    name: 'a2',
    host: 'h2',
    mac: '02:00:00:00:01:03',
    addresses: ['10.0.1.3/24'],
    via: ['10.0.1.1'],
  },
  {
    name: 'c1',
    host: 'h1',
    mac: '02:00:00:00:02:02',
    addresses: ['10.0.2.2/24'],
    via: ['10.0.2.1'],
  },
  {
    name: 'c2',
    host: 'h2',
    mac: '02:00:00:00:02:03',
    addresses: ['10.0.2.3/24'],
    via: ['10.0.2.1'],
  },
  {
    name: 'd2',
    host: 'h2',
    mac: '02:00:00:00:03:02',
    addresses: ['10.0.3.2/24'],
    via: ['10.0.3.1'],
  },
  {
    name: 'up',
    host: 'h1',
    mac: '02:00:00:00:09:fe',
    addresses: ['192.0.2.254/24'],
    via: ['192.0.2.1'],
  },
  { name: 'x1', host: 'h1', mac: '02:00:00:00:08:01', addresses: ['10.0.1.9/24'] },
  { name: 'x2', host: 'h2', mac: '02:00:00:00:08:02', addresses: ['10.0.1.9/24'] },
] as const;
/** Who sends what nobody has resolved: by the MAC of its gateway. */
const GATEWAYS: Readonly<Record<string, string>> = {
  a1: '02:00:00:00:01:01',
  a2: '02:00:00:00:01:01',
  c1: '02:00:00:00:02:01',
  c2: '02:00:00:00:02:01',
  d2: '02:00:00:00:03:01',
};
const TARGETS = [
  '10.0.1.2',
  '10.0.1.3',
  '10.0.2.2',
  '10.0.2.3',
  '10.0.3.2',
  '198.51.100.1',
  '203.0.113.7',
];

const make = (kind: Operation['kind'], body: Record<string, unknown>): Operation => ({
  op: 'create',
  kind,
  body,
});
const NETWORK: readonly Operation[] = [
  ...['b1', 'b2', 'b3'].map((name) => make('bridge', { name })),
  ...['r0', 'r1'].map((name) => make('router', { name })),
  make('port', {
    name: 'a1',
    bridge: 'b1',
    host: 'h1',
    interface: 'a1',
    addresses: [{ mac: '02:00:00:00:01:02', ip: '10.0.1.2' }],
  }),
  make('port', { name: 'a2', bridge: 'b1', host: 'h2', interface: 'a2' }),
  make('port', { name: 'c1', bridge: 'b2', host: 'h1', interface: 'c1' }),
  make('port', { name: 'c2', bridge: 'b2', host: 'h2', interface: 'c2' }),
  make('port', { name: 'd2', bridge: 'b3', host: 'h2', interface: 'd2' }),
  make('port', {
    name: 'r0-b1',
    router: 'r0',
    mac: '02:00:00:00:01:01',
    networks: ['10.0.1.1/24'],
  }),
  make('port', {
    name: 'r0-b2',
    router: 'r0',
    mac: '02:00:00:00:02:01',
    networks: ['10.0.2.1/24'],
  }),
  make('port', {
    name: 'r1-b3',
    router: 'r1',
    mac: '02:00:00:00:03:01',
    networks: ['10.0.3.1/24'],
  }),
  make('port', { name: 'r0-r1', router: 'r0', networks: ['10.0.9.1/30'] }),
  make('port', { name: 'r1-r0', router: 'r1', networks: ['10.0.9.2/30'], peer: 'r0-r1' }),
  make('port', { name: 'b1-r0', bridge: 'b1', peer: 'r0-b1' }),
  make('port', { name: 'b2-r0', bridge: 'b2', peer: 'r0-b2' }),
  make('port', { name: 'b3-r1', bridge: 'b3', peer: 'r1-b3' }),
  make('port', {
    name: 'up',
    router: 'r0',
    networks: ['192.0.2.1/24'],
    host: 'h1',
    interface: 'up',
  }),
];
const ROUTES: readonly Operation[] = [
  make('route', {
    name: 'to-d',
    router: 'r0',
    destination: '10.0.3.0/24',
    port: 'r0-r1',
    gateway: '10.0.9.2',
  }),
  make('route', {
    name: 'back',
    router: 'r1',
    destination: '0.0.0.0/0',
    port: 'r1-r0',
    gateway: '10.0.9.1',
  }),
  make('route', {
    name: 'out',
    router: 'r0',
    destination: '0.0.0.0/0',
    port: 'up',
    gateway: '192.0.2.254',
  }),
  make('route', { name: 'hole', router: 'r0', destination: '198.51.100.0/24', type: 'blackhole' }),
];

const one = <T>(...values: readonly T[]): fc.Arbitrary<T> => fc.constantFrom(...values);
const WORKLOAD_PORTS = ['a1', 'a2', 'c1', 'c2', 'd2'] as const;
const LINKS = ['b1-r0', 'b2-r0', 'b3-r1', 'r0-b1', 'r0-b2', 'r0-r1', 'r1-r0', 'r1-b3'] as const;
const update = (kind: Operation['kind'], id: string, body: Record<string, unknown>): Operation => ({
  op: 'update',
  kind,
  id,
  body,
});

const operation: fc.Arbitrary<Operation> = fc.oneof(
  fc
    .tuple(one(...WORKLOAD_PORTS, ...LINKS, 'up'), fc.boolean())
    .map(([port, adminStateUp]) => update('port', port, { adminStateUp })),
  fc
    .tuple(one('b1', 'b2', 'b3'), fc.boolean())
    .map(([bridge, adminStateUp]) => update('bridge', bridge, { adminStateUp })),
  fc
    .tuple(one('r0', 'r1'), fc.boolean())
    .map(([router, adminStateUp]) => update('router', router, { adminStateUp })),
  fc
    .tuple(
      one(...WORKLOAD_PORTS, 'up', 'new'),
      one(
        { host: 'h1', interface: 'x1' },
        { host: 'h2', interface: 'x2' },
        { host: 'h2', interface: 'none' },
        { host: 'h1', interface: 'a1' },
        { host: 'h2', interface: 'a2' },
        { host: 'h1', interface: 'up' },
        { host: null, interface: null },
      ),
    )
    .map(([port, place]) => update('port', port, place)),
  fc
    .tuple(
      one(...WORKLOAD_PORTS),
      one(
        [],
        [{ mac: '02:00:00:00:01:03', ip: '10.0.1.3' }],
        [{ mac: '02:00:00:00:02:02', ip: '10.0.2.2' }],
        [{ mac: '02:00:00:00:03:02' }],
      ),
    )
    .map(([port, addresses]) => update('port', port, { addresses })),
  fc
    .tuple(
      one('r0-b1', 'r0-b2', 'r1-b3', 'r0-r1', 'up'),
      one<Record<string, unknown>>(
        { mtu: 1400 },
        { mtu: null },
        { mac: '02:00:00:00:07:07' },
        { networks: [] },
        { networks: ['10.0.2.1/24'] },
        { networks: ['10.0.1.1/24', '10.0.5.1/24'] },
      ),
    )
    .map(([port, body]) => update('port', port, body)),
  fc
    .tuple(one('b1-r0', 'b2-r0', 'b3-r1', 'r0-r1'), one(null, 'r0-b1', 'r0-b2', 'r1-b3', 'r1-r0'))
    .map(([port, peer]) => update('port', port, { peer })),
  fc
    .tuple(
      one('to-d', 'out', 'hole', 'back'),
      one<Record<string, unknown>>(
        { weight: 7 },
        { destination: '10.0.0.0/8' },
        { destination: '203.0.113.0/24' },
        { gateway: '192.0.2.77' },
        { gateway: '10.0.9.2', port: 'r0-r1' },
        { name: 'renamed' },
      ),
    )
    .map(([route, body]) => update('route', route, body)),
  one(
    { destination: '10.0.2.3/32', type: 'reject' },
    { destination: '10.0.2.0/24', type: 'blackhole', source: '10.0.1.2/32' },
    { destination: '203.0.113.0/24', port: 'r0-r1', gateway: '10.0.9.2' },
    { destination: '0.0.0.0/0', port: 'up', gateway: '192.0.2.253' },
  ).map((route) => make('route', { router: 'r0', ...route })),
  one(
    { name: 'new', bridge: 'b1', host: 'h1', interface: 'x1' },
    { name: 'new', bridge: 'b2', host: 'h2', interface: 'x2' },
    { name: 'new', bridge: 'b3', host: 'h1', interface: 'none' },
  ).map((port) => make('port', port)),
  one(...WORKLOAD_PORTS, ...LINKS, 'new').map((id): Operation => ({
    op: 'delete',
    kind: 'port',
    id,
  })),
  one('to-d', 'out', 'hole').map((id): Operation => ({ op: 'delete', kind: 'route', id })),
  one('b2', 'b3').map((id): Operation => ({ op: 'delete', kind: 'bridge', id })),
  one<'h1' | 'h2'>('h1', 'h2').map((host) =>
    update('tunnel-zone', 'underlay', {
      members: [{ host, address: host === 'h1' ? '172.16.0.1' : '172.16.0.2' }],
    }),
  ),
);
/** Most edits change one thing; some two at once. Before them, things happen. */
const edit = fc.record({
  operations: fc.array(operation, { minLength: 1, maxLength: 2 }),
  link: fc.option(fc.record({ name: one('a2', 'c1', 'up', 'x1'), up: fc.boolean() }), { freq: 2 }),
  waitMs: one(0, 0, 1_000, 6_000),
});
type Edit = typeof edit extends fc.Arbitrary<infer T> ? T : never;

/** Whatever flows: everybody to everybody, and to where nobody is. */
async function traffic(world: World): Promise<void> {
  for (const { name, mac } of SPECS) {
    const workload = world.workload(name);
    for (const [i, target] of TARGETS.entries()) {
      workload.ping(parseIp(target) as Ip, { id: i + 1 });
      world.pump();
      const gateway = GATEWAYS[name];
      if (gateway === undefined) continue;
      const text = `${mac} > ${gateway} udp ${SPECS[i % 5]?.addresses[0].split('/')[0]}:9 > ${target}:9`;
      const frame = parseFrameText(text);
      assert.ok(frame instanceof Uint8Array);
      world.transmit(name, frame);
      world.pump();
    }
  }
  await world.settle();
}

/** What an agent decides for a key, as text that two decisions are compared by. */
interface Decided {
  readonly arrives: boolean;
  readonly how: string;
}
const routeWords = (detail = ''): string => {
  const words = detail.split(' ');
  return words.slice(0, words[2] === 'via' ? 4 : 2).join(' ');
};
/** Where an output leaves, as the agent knows it: an interface of a host, or a bridge there. */
function leaves({ host, places }: Seen, output: Output, vlan: number | undefined): string {
  const tag = output.vlan ?? vlan ?? 'as is';
  if ('port' in output) {
    const [name] = [...host.interfaces].find(([, { index }]) => index === output.port) ?? [];
    return `${host.name} ${name} ${tag}`;
  }
  const address = host.datapath.peers().find(({ peer }) => peer === output.remote)?.address;
  return `${places.get(`${address} ${output.key}`) ?? `${address} ${output.key}`} ${tag}`;
}

/** An agent, and what its own topology says of keys: `ADDRESS KEY` to `HOST INTERFACE`. */
interface Seen {
  readonly host: WorldHost;
  readonly places: ReadonlyMap<string, string>;
}
function seenBy(world: World, host: WorldHost): Seen {
  const places = new Map<string, string>();
  for (const { kind, object } of host.edge?.objects() ?? []) {
    if (kind !== 'location') continue;
    const at = object as ObjectOf<'location'>;
    const other = [...world.hosts.values()].find(({ id }) => id === at.host);
    places.set(`${other?.address} ${at.tunnelKey}`, `${other?.name} ${at.interface}`);
  }
  return { host, places };
}

function decidedOf(seen: Seen, { key, fields }: LiveFlow): Decided {
  const found = seen.host.edge?.decide(key, fields);
  if (found === undefined) return { arrives: false, how: 'gone' };
  const { outcome, actions } = found;
  const { kind } = outcome.verdict;
  if (kind === 'answer' || kind === 'collect') return { arrives: true, how: 'answered' };
  if (actions === undefined || actions.drop !== undefined) return { arrives: false, how: '' };
  const { outputs, vlan, ethSrc, ethDst } = actions;
  const copies = outputs.map((output) => leaves(seen, output, vlan));
  const cut = outcome.verdict.kind === 'forward' ? outcome.verdict.cut : undefined;
  const { decTtl, mtu } = outcome.guards;
  const way = outcome.steps
    .filter(({ did }) => ['enter', 'leave', 'route'].includes(did))
    .map(({ at, did, detail }) => (did === 'route' ? `${at.id} ${routeWords(detail)}` : at.id));
  const how = JSON.stringify([copies.sort(), ethSrc, ethDst, decTtl, mtu, cut, way]);
  return { arrives: true, how };
}
const classOf = (before: Decided, after: Decided): string => {
  if (before.arrives !== after.arrives) return before.arrives ? 'broken' : 'opened';
  return before.arrives && before.how !== after.how ? 'moved' : 'unchanged';
};

interface LiveFlow {
  readonly host: string;
  readonly key: Uint8Array;
  readonly fields: FieldSet;
}
const liveFlows = (world: World): LiveFlow[] =>
  [...world.hosts.values()].flatMap(({ name, datapath }) =>
    datapath.dump().map(({ flow: { key, fields } }) => ({ host: name, key: key.slice(), fields })),
  );
function decisions(world: World, flows: readonly LiveFlow[]): Decided[] {
  const seen = new Map([...world.hosts.values()].map((host) => [host.name, seenBy(world, host)]));
  return flows.map((flow) => decidedOf(seen.get(flow.host)!, flow));
}

const nameOf = (host: string, key: string): string => `${host} ${key}`;

async function refusalOf(attempt: Promise<unknown>): Promise<ApiError | undefined> {
  try {
    await attempt;
    return undefined;
  } catch (error) {
    if (error instanceof ApiError) return error;
    throw error;
  }
}

/** What is made is given another id each time. */
const withoutIds = (refused: ApiError | undefined): string =>
  (JSON.stringify(refused?.problem) ?? '').replace(
    /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g,
    'ID',
  );

const met: Record<string, number> = { edits: 0, refused: 0, flows: 0 };

/** Asks, writes, and compares what was said with what came. */
async function tryEdit(world: World, { operations, link, waitMs }: Edit): Promise<void> {
  const { client } = world;
  if (link !== null) await world.link(link.name, link.up);
  await traffic(world);
  if (waitMs > 0) await world.advance(waitMs);
  const flows = liveFlows(world);
  const before = decisions(world, flows);
  const asked = client.whatIf({ operations });
  const refused = await refusalOf(asked);
  const written = await refusalOf(client.transact(operations));
  assert.equal(withoutIds(refused), withoutIds(written));
  if (refused !== undefined) {
    met['refused']! += 1;
    return;
  }
  const answer = await asked;
  assert.deepEqual(answer.coverage.missing, []);
  assert.equal(answer.coverage.flows, flows.length);
  await world.settle();
  const after = decisions(world, flows);
  const said = answer.flows.map((flow) => `${flow.class} ${nameOf(flow.hostName ?? '', flow.key)}`);
  const seen = flows
    .map(({ host, key }, i) => [classOf(before[i]!, after[i]!), nameOf(host, key.toHex())] as const)
    .filter(([kind]) => kind !== 'unchanged');
  for (const [kind] of seen) met[kind] = (met[kind] ?? 0) + 1;
  met['edits']! += 1;
  met['flows']! += flows.length;
  const observed = seen.map(([kind, name]) => `${kind} ${name}`);
  const wrong = [
    ...said.filter((each) => !observed.includes(each)).map((each) => `said ${each}`),
    ...observed.filter((each) => !said.includes(each)).map((each) => `seen ${each}`),
  ];
  if (wrong.length === 0) return;
  const details = wrong.map((each) => {
    const [, , host, hex] = each.split(' ');
    const i = flows.findIndex((flow) => flow.host === host && flow.key.toHex() === hex);
    const told = answer.flows.find((flow) => flow.hostName === host && flow.key === hex);
    return `${each} ${fieldsOf(flows[i]?.fields ?? 0).join()}
      agent ${before[i]?.how} -> ${after[i]?.how}
      said ${told?.before.lines.join(' | ')} -> ${told?.after.lines.join(' | ')}`;
  });
  assert.fail(`${JSON.stringify(operations)}\n${details.slice(0, 4).join('\n')}`);
}

test('what-if: what it says of a random edit is what agents decide after it', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(edit, { minLength: EDITS, maxLength: EDITS }), async (edits) => {
      await using world = await World.open({ hosts: ['h1', 'h2'], workloads: SPECS });
      await world.client.transact(NETWORK);
      await world.client.transact(ROUTES);
      await world.settle();
      for (const each of edits) await tryEdit(world, each);
    }),
    { seed, numRuns, endOnFailure: process.env['SHRINK'] !== '1' },
  );
  t.diagnostic(JSON.stringify(met));
  // Few edits need not meet everything.
  for (const kind of numRuns < 3 ? ['edits'] : ['edits', 'refused', 'broken', 'opened', 'moved'])
    assert.ok((met[kind] ?? 0) > 0, `${kind}: ${JSON.stringify(met)}`);
});
