/**
 * Law 7 for whole clusters: when changes stop and links heal, every agent's topology is what its
 * host is entitled to, and every installed flow is what would be installed anew. Operators edit
 * through the API meanwhile, hosts are cut off and joined again, agents end and start.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Ip4 } from '#net/ip.ts';
import { ApiError } from '#client/errors.ts';
import type { StoredObject } from '#virtual/kind.ts';
import type { HostId } from '#virtual/ids.ts';
import { entitled, objectKey } from '#virtual/entitlement.ts';
import { Topology, type TopologyObject } from '#virtual/topology.ts';
import { kinds } from '#virtual/kinds.ts';
import type { KindName } from '#virtual/kind.ts';
import { World } from './world.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 60);
const HOSTS = ['h1', 'h2', 'h3'];
const NAMES = ['a', 'b', 'c', 'd', 'e'];
const WORKLOADS = HOSTS.flatMap((host, h) =>
  NAMES.map((name, n) => ({
    name: `${name}${h}`,
    host,
    mac: `02:00:00:00:0${h}:0${n}`,
    addresses: [`10.0.${h}.${n + 1}/16`],
  })),
);

const name = fc.constantFrom(...NAMES);
const host = fc.constantFrom(...HOSTS);
const step = fc.oneof(
  { weight: 2, arbitrary: fc.record({ do: fc.constant('bridge' as const), name }) },
  {
    weight: 6,
    arbitrary: fc.record({ do: fc.constant('port' as const), name, bridge: name, host }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('move' as const), name, host }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('admin' as const), name, up: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      do: fc.constant('delete' as const),
      kind: fc.constantFrom('bridge' as const, 'port' as const),
      name,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut' as const), host, off: fc.boolean() }) },
  {
    weight: 1,
    arbitrary: fc.record({ do: fc.constant('agent' as const), host, up: fc.boolean() }),
  },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('ping' as const), host, from: name }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

async function perform(world: World, it: Step): Promise<void> {
  const { client } = world;
  const at = (h: string, n: string) => ({ host: h, interface: `${n}${HOSTS.indexOf(h)}` });
  if (it.do === 'bridge') await client.create('bridge', { name: it.name });
  if (it.do === 'port')
    await client.create('port', { name: it.name, bridge: it.bridge, ...at(it.host, it.name) });
  if (it.do === 'move') await client.update('port', it.name, at(it.host, it.name));
  if (it.do === 'admin') await client.update('port', it.name, { adminStateUp: it.up });
  if (it.do === 'delete') await client.remove(it.kind, it.name);
  if (it.do === 'cut') world.cut(it.host, it.off);
  if (it.do === 'agent') await world.agent(it.host, it.up ? 'start' : 'stop');
  if (it.do === 'ping') {
    world.workload(`${it.from}${HOSTS.indexOf(it.host)}`).resolve(0x0a000001 as Ip4);
    world.pump();
  }
}

/** A refusal of a random edit is part of the game; anything else is a bug. */
async function attempt(world: World, it: Step): Promise<boolean> {
  try {
    await perform(world, it);
    return true;
  } catch (error) {
    if (error instanceof ApiError) return false;
    throw error;
  }
}

/** What the store has, read anew. */
async function stored(world: World): Promise<Topology> {
  const objects: TopologyObject[] = [];
  for (const kind of Object.keys(kinds) as KindName[])
    for (const object of await world.client.listAll(kind)) objects.push({ kind, object });
  const topology = new Topology();
  topology.reset((await world.client.status()).revision, objects);
  return topology;
}

const plain = (object: StoredObject): unknown => JSON.parse(JSON.stringify(object));

test('law 7: agents converge on what their hosts are entitled to', async () => {
  const count = { done: 0, compared: 0, flows: 0 };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 8, maxLength: 25 }), async (steps) => {
      await using world = await World.open({ hosts: HOSTS, workloads: WORKLOADS });
      for (const it of steps) if (await attempt(world, it)) count.done += 1;
      for (const h of HOSTS) {
        world.cut(h, false);
        if (world.host(h).edge === undefined) await world.agent(h, 'start');
      }
      await world.settle();
      for (const { name: workload } of WORKLOADS) {
        world.workload(workload).resolve(0x0a000001 as Ip4);
        world.pump();
      }
      await world.settle();
      const truth = await stored(world);
      for (const { id, edge, datapath } of world.hosts.values()) {
        const mine = entitled(truth, id as HostId);
        const should = [...truth.objects()].filter((o) => mine.has(objectKey(o.kind, o.object.id)));
        const has = new Map(
          [...(edge?.objects() ?? [])].map((o) => [objectKey(o.kind, o.object.id), o.object]),
        );
        assert.equal(has.size, should.length);
        for (const { kind, object } of should)
          assert.deepEqual(
            plain(has.get(objectKey(kind, object.id)) as StoredObject),
            plain(object),
          );
        assert.deepEqual(edge?.wrongFlows(), []);
        count.compared += should.length;
        count.flows += datapath.dump().length;
      }
    }),
    { seed, numRuns },
  );
  assert.ok(
    count.done > numRuns * 4 && count.compared > 0 && count.flows > 0,
    JSON.stringify(count),
  );
});
