/**
 * Laws of whole hosts, on random topologies, frames and edits in any order.
 *
 * 3 *cache*: the flow table never changes what leaves. 7 *convergence*: when edits stop, every
 * installed flow is what would be installed anew. 8 *isolation*: a frame leaves only by ports of
 * the bridge it entered by; and a broadcast reaches all of them. (1, 2: `src/virtual`; 4, 5, 6:
 * beside the datapath, `net` and the store.)
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Edge } from '#agent/edge.ts';
import type { ToEdge } from '#agent/messages.ts';
import type { Ip4 } from '#net/ip.ts';
import { isGroup, readMac } from '#net/mac.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId } from '#virtual/ids.ts';
import type { StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { IPS, MACS, packets } from '#virtual/packet.arbitrary.ts';
import { formatIp } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { Cluster, row, type Transmission } from './cluster.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 400);
const id = (kind: number, n: number) => `0000000${kind}-0000-4000-8000-00000000000${n}`;
const HOSTS = [0, 1].map((n) => ({ id: id(3, n) as HostId, address: (0xac100001 + n) as Ip4 }));
const BRIDGES = [1, 2].map((n) => id(1, n));
const PORTS = [0, 1, 2, 3, 4].map((n) => id(2, n));
/** The interface a port is bound to, whatever its host, and the interface's index there. */
const interfaceOf = (port: number) => ({ name: `if${port}`, index: 100 + port });

const mostly = fc.integer({ min: 0, max: 5 }).map((n) => n > 0);
const seedRow = fc
  .record({
    mac: fc.constantFrom(...MACS),
    ip: fc.option(fc.constantFrom(...IPS), { nil: undefined }),
  })
  .map(({ mac, ip }) => ({
    mac: formatMac(mac),
    ...(ip === undefined ? {} : { ip: formatIp(ip) }),
  }));

type Op =
  | { readonly op: 'rows'; readonly rows: readonly RowChange[] }
  | { readonly op: 'interfaces'; readonly host: number; readonly ports: readonly number[] }
  | {
      readonly op: 'send';
      readonly host: number;
      readonly port: number;
      readonly frame: Uint8Array;
    }
  | { readonly op: 'advance'; readonly ms: number };

const portRow = fc
  .record({
    n: fc.integer({ min: 0, max: PORTS.length - 1 }),
    bridge: fc.constantFrom(...BRIDGES),
    host: fc.option(fc.constantFrom(...HOSTS.map((h) => h.id)), { freq: 6, nil: undefined }),
    adminStateUp: mostly,
    hairpin: fc.boolean(),
    addresses: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      fc.array(seedRow, { maxLength: 2 }),
    ),
  })
  .map(({ n, host, ...rest }) =>
    row('port', {
      id: PORTS[n],
      name: `p${n}`,
      type: 'bridge',
      ...rest,
      ...(host === undefined ? {} : { host, interface: interfaceOf(n).name }),
    }),
  );
const bridgeRow = fc
  .record({ n: fc.constantFrom(0, 1), adminStateUp: mostly })
  .map(({ n, adminStateUp }) =>
    row('bridge', { id: BRIDGES[n], name: `b${n}`, adminStateUp, floodKey: 0x800001 + n }),
  );
const zoneRow = mostly.map((whole) =>
  row('tunnel-zone', {
    id: id(4, 1),
    name: 'z',
    members: HOSTS.slice(0, whole ? 2 : 1).map((h, n) => ({
      host: h.id,
      address: `172.16.0.${n + 1}`,
    })),
  }),
);
const goneRow = fc.constantFrom(...PORTS).map((port): RowChange => ({ kind: 'port', id: port }));

const host = fc.integer({ min: 0, max: HOSTS.length - 1 });
const port = fc.integer({ min: 0, max: PORTS.length - 1 });
const send = fc.record({
  op: fc.constant('send' as const),
  host,
  port,
  frame: packets.map((p) => p.bytes),
});
const rows = (of: fc.Arbitrary<RowChange>) => of.map((r): Op => ({ op: 'rows', rows: [r] }));
const op: fc.Arbitrary<Op> = fc.oneof(
  { weight: 14, arbitrary: send },
  { weight: 3, arbitrary: rows(portRow) },
  { weight: 1, arbitrary: rows(bridgeRow) },
  { weight: 1, arbitrary: rows(zoneRow) },
  { weight: 1, arbitrary: rows(goneRow) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('interfaces' as const),
      host,
      ports: fc.subarray([0, 1, 2, 3, 4]),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('advance' as const),
      ms: fc.constantFrom(1_000, 70_000, 400_000),
    }),
  },
);
/** Everything there, every interface on every host: then the random part begins. */
const start: Op[] = [
  ...BRIDGES.map((bridge, n): Op => ({
    op: 'rows',
    rows: [
      row('bridge', { id: bridge, name: `b${n}`, adminStateUp: true, floodKey: 0x800001 + n }),
    ],
  })),
  {
    op: 'rows',
    rows: [
      row('tunnel-zone', {
        id: id(4, 1),
        name: 'z',
        members: HOSTS.map((h, n) => ({ host: h.id, address: `172.16.0.${n + 1}` })),
      }),
    ],
  },
  {
    op: 'rows',
    rows: PORTS.map((p, n) =>
      row('port', {
        id: p,
        name: `p${n}`,
        type: 'bridge',
        bridge: BRIDGES[n > 2 ? 1 : 0],
        host: HOSTS[n % 2]?.id,
        interface: interfaceOf(n).name,
        adminStateUp: true,
        hairpin: false,
        addresses: [],
      }),
    ),
  },
  { op: 'interfaces', host: 0, ports: [0, 1, 2, 3, 4] },
  { op: 'interfaces', host: 1, ports: [0, 1, 2, 3, 4] },
];
const script = fc.array(op, { minLength: 5, maxLength: 40 });

function perform(cluster: Cluster, step: Op): readonly Transmission[] {
  if (step.op === 'rows') cluster.change(step.rows);
  else if (step.op === 'interfaces') cluster.interfaces(step.host, step.ports.map(interfaceOf));
  else if (step.op === 'advance') cluster.advance(step.ms);
  else return cluster.send(step.host, interfaceOf(step.port).index, step.frame);
  return [];
}

const textOf = (sent: readonly Transmission[]): string[] =>
  sent
    .map(({ host: h, port: p, frame }) => `host ${h} port ${p}: ${describeFrame(frame)}`)
    .toSorted();

type PortRow = ObjectOf<'port'>;
/** The port bound to an interface of a host, by going through all. */
function boundAt(cluster: Cluster, hostIndex: number, index: number): PortRow | undefined {
  const name = `if${index - 100}`;
  return ([...cluster.topology.list('port')] as unknown as PortRow[]).find(
    (p) => p.host === HOSTS[hostIndex]?.id && p.interface === name,
  );
}

test('law 3: with and without flows the same frames leave', () => {
  let frames = 0;
  fc.assert(
    fc.property(script, (steps) => {
      const cached = new Cluster({ hosts: HOSTS, caching: true });
      const plain = new Cluster({ hosts: HOSTS, caching: false });
      for (const step of [...start, ...steps]) {
        const a = textOf(perform(cached, step));
        assert.deepEqual(a, textOf(perform(plain, step)), JSON.stringify(step));
        frames += a.length;
      }
    }),
    { seed, numRuns },
  );
  assert.ok(frames > numRuns, `only ${frames} frames left anywhere`);
});

test('law 7: installed flows are those that would be installed now', () => {
  let flows = 0;
  fc.assert(
    fc.property(script, (steps) => {
      const cluster = new Cluster({ hosts: HOSTS, caching: true });
      for (const step of [...start, ...steps]) {
        perform(cluster, step);
        assert.deepEqual(cluster.wrongFlows(), [], JSON.stringify(step));
      }
      for (const { datapath } of cluster.nodes) flows += datapath.dump().length;
    }),
    { seed, numRuns },
  );
  assert.ok(flows > numRuns, `only ${flows} flows at the ends`);
});

/** Who must get a broadcast, by looking at everything. */
function audience(
  cluster: Cluster,
  from: PortRow,
  there: (host: number, port: number) => boolean,
): string[] {
  const zone = [...cluster.topology.list('tunnel-zone')][0] as unknown as
    | ObjectOf<'tunnel-zone'>
    | undefined;
  const joined = zone?.members.length === 2;
  const out: string[] = [];
  for (const p of [...cluster.topology.list('port')] as unknown as PortRow[]) {
    const at = HOSTS.findIndex((h) => h.id === p.host);
    const n = PORTS.indexOf(p.id);
    if (p.id === from.id || p.bridge !== from.bridge || !p.adminStateUp || at < 0 || !there(at, n))
      continue;
    if (p.host === from.host || joined) out.push(`${at}/${interfaceOf(n).index}`);
  }
  return out.toSorted();
}

test('law 8: a frame leaves by ports of its own bridge only, a broadcast by all of them', () => {
  const seen = { delivered: 0, broadcasts: 0 };
  fc.assert(
    fc.property(script, (steps) => {
      const cluster = new Cluster({ hosts: HOSTS, caching: true });
      const present = HOSTS.map(() => new Set<number>());
      for (const step of [...start, ...steps]) {
        if (step.op === 'interfaces') present[step.host] = new Set(step.ports);
        const sent = perform(cluster, step);
        if (step.op !== 'send') continue;
        const from = boundAt(cluster, step.host, interfaceOf(step.port).index);
        const bridge = cluster.topology.get('bridge', from?.bridge ?? '') as
          | (StoredObject & ObjectOf<'bridge'>)
          | undefined;
        const open =
          from?.adminStateUp === true &&
          bridge?.adminStateUp === true &&
          present[step.host]?.has(step.port) === true;
        if (!open) {
          assert.deepEqual(textOf(sent), [], 'nothing enters by a port that is not there or down');
          continue;
        }
        for (const { host: h, port: p } of sent)
          assert.equal(
            boundAt(cluster, h, p)?.bridge,
            from.bridge,
            `${JSON.stringify(step)} reached another network`,
          );
        seen.delivered += sent.length;
        // An answer of the bridge goes back to the asker; every other broadcast is flooded.
        const source = step.frame.length < 14 ? 1 : readMac(step.frame, 6);
        const toAll =
          step.frame.length >= 14 &&
          isBroadcast(step.frame) &&
          !isGroup(source as never) &&
          source !== 0;
        if (
          !toAll ||
          sent.some(({ host: h, port: p }) => h === step.host && p === interfaceOf(step.port).index)
        )
          continue;
        seen.broadcasts += 1;
        const got = sent.map(({ host: h, port: p }) => `${h}/${p}`).toSorted();
        assert.deepEqual(
          got,
          audience(cluster, from, (h, n) => present[h]?.has(n) === true),
          describeFrame(step.frame),
        );
      }
    }),
    { seed, numRuns },
  );
  assert.ok(seen.delivered > numRuns && seen.broadcasts > numRuns / 10, JSON.stringify(seen));
});

const isBroadcast = (frame: Uint8Array): boolean =>
  frame.subarray(0, 6).every((byte) => byte === 0xff);

type LocationRow = ObjectOf<'location'>;
/** Which keys lead to ports of a host, and who may send to its networks, by looking at all. */
function doors(cluster: Cluster, at: number, there: (port: number) => boolean) {
  const { topology } = cluster;
  const zone = [...topology.list('tunnel-zone')][0] as unknown as
    | ObjectOf<'tunnel-zone'>
    | undefined;
  const all = [...topology.list('port')] as unknown as PortRow[];
  const keys: string[] = [];
  const senders = new Set<string>();
  for (const p of all) {
    const n = PORTS.indexOf(p.id);
    const bridge = topology.get('bridge', p.bridge) as ObjectOf<'bridge'> | undefined;
    if (p.host !== HOSTS[at]?.id || !there(n) || bridge === undefined) continue;
    const location = topology.get('location', p.id) as LocationRow | undefined;
    if (p.adminStateUp)
      keys.push(`${location?.tunnelKey} to ${interfaceOf(n).index} in ${bridge.floodKey}`);
    for (const other of all.filter((each) => each.bridge === p.bridge)) {
      const host = (topology.get('location', other.id) as LocationRow | undefined)?.host;
      const from = HOSTS.find(({ id: known }) => known === host);
      if (from !== undefined && host !== p.host && zone?.members.length === 2)
        senders.add(`${from.address} in ${bridge.floodKey}`);
    }
  }
  return { keys: keys.toSorted(), senders: [...senders].toSorted() };
}

test('law 8: the tunnel leads to ports that are up, and is open to hosts of their networks', () => {
  const seen = { keys: 0, senders: 0 };
  fc.assert(
    fc.property(script, (steps) => {
      const cluster = new Cluster({ hosts: HOSTS, caching: true });
      const present = HOSTS.map(() => new Set<number>());
      for (const step of [...start, ...steps]) {
        if (step.op === 'interfaces') present[step.host] = new Set(step.ports);
        perform(cluster, step);
        for (const [at, { datapath }] of cluster.nodes.entries()) {
          const keys = datapath.keys().map((k) => `${k.key} to ${k.port} in ${k.network}`);
          const senders = datapath.senders().map((s) => `${s.source} in ${s.network}`);
          const open = { keys: keys.toSorted(), senders: senders.toSorted() };
          assert.deepEqual(
            open,
            doors(cluster, at, (n) => present[at]?.has(n) === true),
          );
          seen.keys += keys.length;
          seen.senders += senders.length;
        }
      }
    }),
    { seed, numRuns },
  );
  assert.ok(seen.keys > numRuns && seen.senders > numRuns, JSON.stringify(seen));
});

test('law 7: a new agent keeps no flow whose actions changed while none ran', () => {
  const cluster = new Cluster({ hosts: HOSTS, caching: true });
  for (const step of start) perform(cluster, step);
  const mac = formatMac(MACS[0] as (typeof MACS)[number]);
  const frame = parseFrameText(`${mac} > ff:ff:ff:ff:ff:ff arp who-has 10.0.0.2 tell 10.0.0.1`);
  assert.ok(frame instanceof Uint8Array);
  cluster.send(0, interfaceOf(0).index, frame);
  const [node] = cluster.nodes;
  assert.ok(node !== undefined);
  const before = node.datapath.dump().length;
  assert.ok(before > 0);
  const put = [{ bridge: id(1, 1), vlan: 0, mac, port: PORTS[0] ?? '', host: node.id }];
  for (const address of ['172.16.0.2', '172.16.0.3']) {
    const topology = cluster.topology.clone();
    const members = HOSTS.map((h, n) => ({
      host: h.id,
      address: n === 1 ? address : '172.16.0.1',
    }));
    const zone = row('tunnel-zone', { id: id(4, 1), name: 'z', members });
    topology.apply({ revision: topology.revision + 1, rows: [zone] });
    const edge = new Edge({ host: node.id, datapath: node.datapath, now: () => 0, seed: 9 });
    const tell = (message: ToEdge): void => edge.handle(message, () => {});
    const { revision } = topology;
    tell({ type: 'interfaces', interfaces: [0, 1, 2, 3, 4].map(interfaceOf) });
    tell({ type: 'event', event: { type: 'learned', all: true, put, forget: [] } });
    tell({
      type: 'event',
      event: { type: 'snapshot', revision, objects: [...topology.objects()] },
    });
    assert.equal(node.datapath.dump().length, address === '172.16.0.2' ? before : 0, address);
  }
});
