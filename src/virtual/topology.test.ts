/**
 * The topology as a value: order does not matter, copies are independent, indexes answer what is
 * stored.
 */
import assert from 'node:assert/strict';
import { ADDRESS_GROUP_IDS, CHAIN_IDS, PORT_GROUP_IDS } from './rule/rule.arbitrary.ts';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseIp, parseIp4, solicitedNode, type Ip6 } from '#net/ip.ts';
import { parseMac } from '#net/mac.ts';
import { entitled, objectKey } from './entitlement.ts';
import type { HostId } from './ids.ts';
import { KIND_NAMES, type KindName, type StoredObject } from './kind.ts';
import type { ObjectOf } from './kinds.ts';
import { IPS, MACS } from './packet.arbitrary.ts';
import { referencesFrom, targetsOf } from './references.ts';
import * as tags from './tags.ts';
import {
  BRIDGE_IDS,
  HOST_IDS,
  PORT_IDS,
  ROUTER_IDS,
  rowChanges,
  topologies,
  topologyObjects,
  topologyOf,
  ZONE_IDS,
} from './topology.arbitrary.ts';
import { RESET_TAGS_MAX, Topology, type TopologyObject } from './topology.ts';

const seed = Number(process.env['SEED'] ?? 1);
const check = <Ts>(property: fc.IProperty<Ts>, numRuns = 3_000): void =>
  fc.assert(property, { seed, numRuns });

function balancerAnswers(topology: Topology, router: (typeof ROUTER_IDS)[number]): unknown {
  const balancer = topology.balancer(router);
  if (balancer === undefined) return undefined;
  const vips = IPS.flatMap((ip) =>
    [53, 80].flatMap((port) => [6, 17].map((protocol) => balancer.vip(protocol, ip, port))),
  );
  const pools = vips.map((vip) => {
    const pool = vip && balancer.pool(vip.pool);
    return pool && [pool.members, pool.available, pool.backupPool, pool.keeps];
  });
  const of = IPS.map((ip) => [
    balancer.hasAddress(ip),
    balancer.serves(ip),
    balancer.serves(ip, 80),
  ]);
  return { vips, pools, of };
}

/** Everything a topology answers, in an order of its own. */
function answers(topology: Topology): unknown {
  const bridges = BRIDGE_IDS.map((id) => {
    const bridge = topology.bridge(id);
    if (bridge === undefined) return undefined;
    const { name, adminStateUp, floodKey, ports, portsUp, bridgeLinks, routerLinks } = bridge;
    const macs = MACS.map((mac) => bridge.seededPort(mac));
    const ips = IPS.map((ip) => bridge.seededAddress(ip));
    const groups = IPS.filter((ip) => typeof ip === 'string').map((ip) =>
      bridge.hasSolicited(solicitedNode(ip as Ip6)),
    );
    const families = [bridge.hasSeeds(4), bridge.hasSeeds(6)];
    const carriers = new Map(topology.carriers(id));
    return {
      carriers,
      name,
      adminStateUp,
      floodKey,
      ports: [...ports].sort(),
      portsUp,
      links: [[...bridgeLinks].sort(), [...routerLinks].sort()],
      of: topology.bridgeOfFloodKey(floodKey),
      macs,
      ips,
      groups,
      families,
    };
  });
  const routers = ROUTER_IDS.map((id) => {
    const router = topology.router(id);
    if (router === undefined) return undefined;
    const { name, adminStateUp, networkKey, ports } = router;
    const sources = [IPS[0], IPS[3]].filter((src) => src !== undefined);
    const routes = IPS.map((dst) => sources.map((src) => router.routes(dst, () => src)));
    const of = topology.routerOfNetworkKey(networkKey);
    const { localFilter, inboundFilter, forwardFilter, outboundFilter } = router;
    const filters = [localFilter, inboundFilter, forwardFilter, outboundFilter];
    return { name, adminStateUp, networkKey, ports: [...ports].sort(), routes, of, filters };
  });
  const domains = [...BRIDGE_IDS, ...ROUTER_IDS].map((id) => {
    const { devices, hosts } = topology.domain(id);
    return [new Set(devices), new Map(hosts), new Map(topology.carriers(id))];
  });
  const at = (port: (typeof PORT_IDS)[number]): unknown => {
    const location = topology.location(port);
    return location && [location.host, location.tunnelKey, location.mtu];
  };
  return {
    bridges,
    routers,
    domains,
    balancers: ROUTER_IDS.map((id) => balancerAnswers(topology, id)),
    chains: CHAIN_IDS.map((id) => {
      const chain = topology.chain(id);
      return chain && [chain.name, chain.rules];
    }),
    members: PORT_GROUP_IDS.map((id) => PORT_IDS.map((member) => topology.inPortGroup(id, member))),
    addresses: ADDRESS_GROUP_IDS.map((id) => IPS.map((ip) => topology.inAddressGroup(id, ip))),
    ports: PORT_IDS.map((id) => [topology.port(id), at(id)]),
    hosts: HOST_IDS.map((id) => [...topology.portsOnHost(id)].sort()),
    tunnels: HOST_IDS.map((a) => HOST_IDS.map((b) => topology.tunnelAddress(a, b))),
    entitled: HOST_IDS.map((id) => [...entitled(topology, id)].sort()),
    objects: sorted(topology.objects()),
  };
}
/** Without the tags of routes: those that came and went within a change may be named, or not. */
const lasting = (of: readonly tags.Tag[]): tags.Tag[] =>
  of.filter((tag) => tags.routesOf(tag) === undefined).sort();
const sorted = (objects: Iterable<TopologyObject>): TopologyObject[] =>
  [...objects].sort((a, b) =>
    objectKey(a.kind, a.object.id) < objectKey(b.kind, b.object.id) ? -1 : 1,
  );

test('changes one by one, all at once in any order, and a reset end alike', () => {
  const changes = fc.array(rowChanges, { maxLength: 8 });
  check(
    fc.property(topologyObjects, changes, (objects, rows) => {
      const stepwise = topologyOf(objects);
      for (const [i, row] of rows.entries()) stepwise.apply({ revision: 2 + i, rows: [row] });
      const wanted = answers(topologyOf(stepwise.objects()));
      assert.deepEqual(answers(stepwise), wanted);
      const net = new Map(rows.map((row) => [objectKey(row.kind, row.id), row]));
      const backwards = topologyOf(objects);
      backwards.apply({ revision: 2, rows: [...net.values()].reverse() });
      assert.deepEqual(answers(backwards), wanted);
      const again = topologyOf(objects);
      const resetTags = again.reset(9, stepwise.objects());
      assert.deepEqual(answers(again), wanted);
      assert.equal(again.revision, 9);
      const applied = topologyOf(objects).apply({ revision: 2, rows: [...net.values()] });
      assert(resetTags !== 'all');
      // Halfway through, a port may be linked in one order only, and what follows from that.
      if (!rows.some(({ kind }) => kind === 'port'))
        assert.deepEqual(lasting(resetTags), lasting(applied));
    }),
  );
});

test('indexes answer what a scan of the objects would', () => {
  check(
    fc.property(topologies, (topology) => {
      for (const kind of KIND_NAMES)
        for (const path of referencesFrom(kind))
          for (const target of [...HOST_IDS, ...BRIDGE_IDS, ...PORT_IDS]) {
            const scan = [...topology.list(kind)].filter((o) =>
              targetsOf(o, path).includes(target),
            );
            const found = topology.referrers(kind, path.path, target);
            assert.deepEqual([...found].sort(), scan.map(({ id }) => id).sort());
          }
      for (const bridge of BRIDGE_IDS) {
        const scan = new Map<HostId, { ports: number; adminUp: number }>();
        for (const port of topology.list('port') as Iterable<ObjectOf<'port'>>) {
          const at = topology.location(port.id);
          if (port.bridge !== bridge || at === undefined) continue;
          const { ports, adminUp } = scan.get(at.host) ?? { ports: 0, adminUp: 0 };
          scan.set(at.host, {
            ports: ports + 1,
            adminUp: adminUp + (port.adminStateUp ? 1 : 0),
          });
        }
        assert.deepEqual(topology.carriers(bridge), scan);
      }
      for (const name of ['b0', 'p1', 'nobody'])
        for (const kind of KIND_NAMES) {
          const scan = [...topology.list(kind)].filter((o) => o.name === name).map(({ id }) => id);
          assert.deepEqual([...topology.named(kind, name)].sort(), scan.sort());
        }
    }),
    1_000,
  );
});

test('a clone and its origin go their own ways', () => {
  check(
    fc.property(topologies, fc.array(rowChanges, { maxLength: 5 }), (topology, rows) => {
      const before = answers(topology);
      const copy = topology.clone();
      assert.deepEqual([answers(copy), copy.revision], [before, topology.revision]);
      copy.apply({ revision: 2, rows });
      assert.deepEqual(answers(topology), before);
      const changed = answers(copy);
      topology.apply({
        revision: 2,
        rows: [...topology.objects()].map(({ kind, object }) => ({ kind, id: object.id })),
      });
      assert.deepEqual(answers(copy), changed);
    }),
    1_000,
  );
});

test('what is entitled to is enough to decide all that can enter or leave a host, and no more', () => {
  check(
    fc.property(topologies, (topology) => {
      for (const host of HOST_IDS) {
        const keys = entitled(topology, host);
        if (topology.get('host', host) === undefined) assert.equal(keys.size, 0);
        else assert.deepEqual(keys, entitledByRule(topology, host));
      }
    }),
    1_000,
  );
});

/** The rule as a filter over all objects. */
function entitledByRule(topology: Topology, host: HostId): Set<string> {
  const ports = [...topology.list('port')] as unknown as ObjectOf<'port'>[];
  const deviceOf = ({ bridge, router }: ObjectOf<'port'>): string => bridge ?? router ?? '';
  const near = new Set<string>(ports.filter((p) => p.host === host).map(deviceOf));
  const links = ports.flatMap((a) =>
    ports.filter((b) => a.peer === b.id && b.peer === a.id).map((b) => [deviceOf(a), deviceOf(b)]),
  );
  for (let before = -1; before < near.size;) {
    before = near.size;
    for (const [a = '', b = ''] of links) if (near.has(a)) near.add(b);
  }
  const exist = [...near].filter((id) => topology.get('bridge', id) ?? topology.get('router', id));
  const devices = new Set(exist);
  const portIds = new Set<string>(ports.filter((p) => devices.has(deviceOf(p))).map((p) => p.id));
  const decides = decidersByRule(topology, new Set([...devices, ...portIds]));
  const sees = (kind: KindName, { id, ...rest }: StoredObject): boolean => {
    if (kind === 'chain' || kind.endsWith('-group')) return decides.has(id);
    if (kind === 'rule') return decides.has((rest as unknown as ObjectOf<'rule'>).chain);
    if (kind === 'bridge' || kind === 'router') return devices.has(id);
    if (kind === 'route') return devices.has((rest as unknown as ObjectOf<'route'>).router);
    if (kind === 'port' || kind === 'location') return portIds.has(id);
    const balancer = balancerOf(topology, kind, id);
    return balancer === undefined || balancer.some((router) => devices.has(router));
  };
  const all = [...topology.objects()].filter(({ kind, object }) => sees(kind, object));
  return new Set(all.map(({ kind, object }) => objectKey(kind, object.id)));
}

/** The routers whose load balancers an object belongs to; undefined: it is no part of any. */
function balancerOf(topology: Topology, kind: KindName, id: string): string[] | undefined {
  const field = (of: KindName, from: string, name: string): string =>
    (topology.get(of, from) as unknown as Record<string, string> | undefined)?.[name] ?? '';
  const up = { vip: 'loadBalancer', pool: 'loadBalancer' } as const;
  if (kind === 'load-balancer') return [field(kind, id, 'router')];
  if (kind === 'vip' || kind === 'pool')
    return balancerOf(topology, 'load-balancer', field(kind, id, up[kind]));
  if (kind === 'pool-member' || kind === 'member-health')
    return topology.get('pool', field('pool-member', id, 'pool')) === undefined
      ? []
      : balancerOf(topology, 'pool', field('pool-member', id, 'pool'));
  if (kind !== 'health-monitor') return undefined;
  return [...topology.list('pool')]
    .filter((pool) => (pool as ObjectOf<'pool'>).healthMonitor === id)
    .flatMap((pool) => balancerOf(topology, 'pool', pool.id) ?? []);
}

/** Ids that filters of ports and devices name, that rules of these chains name, and so on. */
function decidersByRule(topology: Topology, of: ReadonlySet<string>): Set<string> {
  const filters = ['localFilter', 'inboundFilter', 'forwardFilter', 'outboundFilter'];
  const groups = ['inPortGroup', 'outPortGroup', 'portGroup', 'sourceGroup', 'destinationGroup'];
  const read = (object: StoredObject, fields: readonly string[]): string[] =>
    fields.map((field) => (object as unknown as Record<string, string>)[field] ?? '');
  const all = [...topology.objects()];
  const there = new Set(all.map(({ object }) => object.id));
  const found = new Set<string>();
  for (const { kind, object } of all)
    if (kind !== 'location' && of.has(object.id))
      for (const id of read(object, filters)) if (there.has(id)) found.add(id);
  for (const id of found)
    for (const { kind, object } of all)
      if (kind === 'rule' && (object as ObjectOf<'rule'>).chain === id)
        for (const named of read(object, ['jump', ...groups]))
          if (there.has(named)) found.add(named);
  return found;
}

const [B] = BRIDGE_IDS;
const [P, Q] = PORT_IDS;
const [H1, H2, H3] = HOST_IDS;
assert(B !== undefined && P !== undefined && Q !== undefined);
assert(H1 !== undefined && H2 !== undefined && H3 !== undefined);

type Fields = Readonly<Record<string, unknown>>;
const bridge = { id: B, name: 'b', adminStateUp: true, floodKey: 0x800001, revision: 1 };
const port = (id: string, changes: Fields = {}): Fields & { id: string } => ({
  id,
  name: 'p',
  type: 'bridge',
  bridge: B,
  adminStateUp: true,
  hairpin: false,
  addresses: [],
  revision: 1,
  ...changes,
});
const put = (kind: KindName, object: Fields & { id: string }) => ({
  kind,
  id: object.id,
  put: object as never,
});
const built = (): Topology => {
  const topology = new Topology();
  topology.apply({
    revision: 1,
    rows: [put('bridge', bridge), put('port', port(P)), put('port', port(Q))],
  });
  return topology;
};
const tagsOf = (topology: Topology, ...rows: ReturnType<typeof put>[]): string[] =>
  topology.apply({ revision: topology.revision + 1, rows }).sort();

test('tags name what changed, and nothing else', () => {
  const mac = parseMac('02:00:00:00:00:01') ?? assert.fail();
  const v4 = parseIp('10.0.0.1') ?? assert.fail();
  const v6 = (parseIp('fd00::1') ?? assert.fail()) as Ip6;
  const seeded = { addresses: [{ mac: '02:00:00:00:00:01', ip: '10.0.0.1' }] };
  const t = built();
  assert.deepEqual(tagsOf(t, put('port', port(P, { name: 'q', revision: 2 }))), []);
  assert.deepEqual(tagsOf(t, put('port', port(P, { hairpin: true }))), [tags.portTag(P)]);
  assert.deepEqual(tagsOf(t, put('port', port(P, { adminStateUp: false }))), [
    tags.floodTag(B),
    tags.portTag(P),
  ]);
  assert.deepEqual(tagsOf(t, put('port', port(P))), [tags.floodTag(B), tags.portTag(P)]);
  const bound = { host: H1, interface: 'tap0' };
  assert.deepEqual(tagsOf(t, put('port', port(P, bound))), [tags.floodTag(B), tags.portTag(P)]);
  assert.deepEqual(tagsOf(t, put('port', port(P, { ...bound, interface: 'tap1' }))), [
    tags.portTag(P),
  ]);
  tagsOf(t, put('port', port(P)));
  const one = [tags.seededIpTag(B, v4), tags.seededMacTag(B, mac)];
  assert.deepEqual(tagsOf(t, put('port', port(P, seeded))), [...one, tags.seedsTag(B)].sort());
  const two = { addresses: [...seeded.addresses, { mac: '02:00:00:00:00:01', ip: 'fd00::1' }] };
  const added = [tags.seededIpTag(B, v6), tags.seededIpTag(B, solicitedNode(v6)), tags.seedsTag(B)];
  assert.deepEqual(tagsOf(t, put('port', port(P, two))), added.sort());
  // The MAC moves to another port: each row names it.
  const moved = tagsOf(t, put('port', port(Q, seeded)), put('port', port(P)));
  assert(one.every((tag) => moved.includes(tag)));
  assert.equal(t.bridge(B)?.seededPort(mac), Q);
  assert.deepEqual(tagsOf(t, put('bridge', { ...bridge, name: 'x', revision: 5 })), []);
  assert.deepEqual(tagsOf(t, put('bridge', { ...bridge, adminStateUp: false })), [
    tags.bridgeTag(B),
  ]);
});

test('tags of locations, hosts and zones', () => {
  const t = built();
  const location = (changes: Fields = {}) =>
    put('location', {
      id: P,
      port: P,
      host: H1,
      interface: 'tap0',
      tunnelKey: 1,
      revision: 1,
      ...changes,
    });
  const both = [tags.floodTag(B), tags.locationTag(P)].sort();
  assert.deepEqual(tagsOf(t, location()), both);
  assert.deepEqual(tagsOf(t, location({ interface: 'tap1' })), []);
  assert.deepEqual(tagsOf(t, location({ tunnelKey: 2 })), both);
  const zone = (id: string, members: readonly (readonly [string, string])[]) =>
    put('tunnel-zone', {
      id,
      name: id,
      members: members.map(([host, address]) => ({ host, address })),
      revision: 1,
    });
  const [Z1, Z2] = ZONE_IDS;
  assert(Z1 !== undefined && Z2 !== undefined);
  assert.deepEqual(
    tagsOf(
      t,
      zone(Z2, [
        [H1, '192.0.2.1'],
        [H2, '192.0.2.2'],
      ]),
    ),
    [tags.hostTag(H1), tags.hostTag(H2)],
  );
  assert.equal(t.tunnelAddress(H1, H2), parseIp4('192.0.2.2'));
  assert.equal(t.tunnelAddress(H1, H3), undefined);
  assert.deepEqual(
    tagsOf(
      t,
      zone(Z2, [
        [H1, '192.0.2.9'],
        [H2, '192.0.2.2'],
      ]),
    ),
    [tags.hostTag(H1)],
  );
  const joined = tagsOf(
    t,
    zone(Z2, [
      [H1, '192.0.2.9'],
      [H2, '192.0.2.2'],
      [H3, '192.0.2.3'],
    ]),
  );
  assert.deepEqual(joined, [H1, H2, H3].map(tags.hostTag), 'from the one that joined, all are new');
  tagsOf(
    t,
    zone(Z1, [
      [H1, '198.51.100.1'],
      [H2, '198.51.100.2'],
    ]),
  );
  assert.equal(t.tunnelAddress(H1, H2), parseIp4('198.51.100.2'), 'the lowest zone id wins');
  assert.equal(t.tunnelAddress(H1, H3), parseIp4('192.0.2.3'));
});

test('order: an older change is our bug; progress only goes forward', () => {
  const t = built();
  t.apply({ revision: 5, rows: [] });
  assert.throws(() => t.apply({ revision: 4, rows: [] }), /change 4 comes after 5/);
  t.advance(9);
  t.advance(7);
  assert.equal(t.revision, 9);
  assert.deepEqual(t.apply({ revision: 9, rows: [{ kind: 'port', id: HOST_IDS[0] ?? '' }] }), []);
});

test('a reset that changes too much says so', () => {
  const t = new Topology();
  const ports = Array.from({ length: RESET_TAGS_MAX }, (_, i) => {
    const id = `00000002-0000-4000-8000-${String(i).padStart(12, '0')}`;
    return { kind: 'port' as const, object: port(id) as never };
  });
  assert.equal(t.reset(3, ports), 'all');
  assert.deepEqual(t.reset(4, ports), []);
  assert.equal(t.bridge(B), undefined, 'no bridge without its row');
});

test('stored text that no schema let in is our bug', () => {
  const t = built();
  const bad = put('port', port(P, { addresses: [{ mac: 'nonsense' }] }));
  assert.throws(() => t.apply({ revision: 2, rows: [bad] }), /stored but not valid/);
});
