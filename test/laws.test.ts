/**
 * Laws of whole hosts, on random topologies, frames and edits in any order.
 *
 * 3 *cache*: the flow table never changes what leaves. 7 *convergence*: when edits stop, every
 * installed flow is what would be installed anew. 8 *isolation*: a frame leaves only by ports of
 * devices that links join with the one it entered by; and a broadcast reaches all of its bridge.
 * (1, 2: `src/virtual`; 4, 5, 6: beside the datapath, `net` and the store.)
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Edge } from '#agent/edge.ts';
import type { ToEdge } from '#agent/messages.ts';
import { formatMac, isGroup, readMac } from '#net/mac.ts';
import { describeFrame, parseFrameText } from '#net/text.ts';
import type { ChainId } from '#virtual/ids.ts';
import type { StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { MACS } from '#virtual/packet.arbitrary.ts';
import { Cluster, row, type Transmission } from './cluster.ts';
import {
  filteredScript,
  HOSTS,
  id,
  interfaceOf,
  PORTS,
  script,
  start,
  type Op,
} from './laws.script.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 400);

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

for (const [what, steps] of [
  ['', script],
  [', behind filters too', filteredScript],
] as const)
  test(`law 3: with and without flows the same frames leave${what}`, () => cacheLaw(steps));

function cacheLaw(scripts: fc.Arbitrary<Op[]>): void {
  let frames = 0;
  fc.assert(
    fc.property(scripts, (steps) => {
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
}

for (const [what, steps] of [
  ['', script],
  [', behind filters too', filteredScript],
] as const)
  test(`law 7: installed flows are those that would be installed now${what}`, () =>
    convergenceLaw(steps));

function convergenceLaw(scripts: fc.Arbitrary<Op[]>): void {
  let flows = 0;
  fc.assert(
    fc.property(scripts, (steps) => {
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
}

/** Whether a chain drops whatever there is, by its first rule. */
function dropsAll({ topology }: Cluster, id: PortRow['outboundFilter']): boolean {
  const [first] = (id && topology.chain(id as ChainId)?.rules) ?? [];
  if (first === undefined || first.action !== 'drop') return false;
  const { invert, not, fragments, ...fields } = first.condition;
  return !invert && not.size === 0 && fragments === 'any' && Object.keys(fields).length === 0;
}

test('law 8: nothing leaves by a port whose filter drops all, floods neither; nothing enters so', () => {
  const seen = { kept: 0, floods: 0, delivered: 0 };
  fc.assert(
    fc.property(filteredScript, (steps) => {
      const cluster = new Cluster({ hosts: HOSTS, caching: true });
      for (const step of [...start, ...steps]) {
        const sent = perform(cluster, step);
        if (step.op !== 'send') continue;
        const from = boundAt(cluster, step.host, interfaceOf(step.port).index);
        if (from === undefined) continue;
        const joined = domainOf(cluster, deviceOf(from));
        for (const { host: h, port: p } of sent) {
          const to = boundAt(cluster, h, p);
          assert.ok(to !== undefined && joined.has(deviceOf(to)), 'another network');
          assert.ok(
            !dropsAll(cluster, to.outboundFilter),
            `${JSON.stringify(step)} left by ${to.id}`,
          );
        }
        if (dropsAll(cluster, from.inboundFilter)) assert.deepEqual(textOf(sent), []);
        const kept = portsOf(cluster).some(
          (p) =>
            p.bridge === from.bridge && p.id !== from.id && dropsAll(cluster, p.outboundFilter),
        );
        if (kept) seen.kept += 1;
        if (kept && sent.length > 0 && isPlainBroadcast(step.frame)) seen.floods += 1;
        seen.delivered += sent.length;
      }
    }),
    { seed, numRuns },
  );
  assert.ok(seen.kept > numRuns / 20 && seen.floods > 0, JSON.stringify(seen));
  assert.ok(seen.delivered > numRuns / 2, JSON.stringify(seen));
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

test('law 8: a frame leaves only by ports of devices joined with its own; a broadcast by all of its bridge', () => {
  const seen = { delivered: 0, routed: 0, broadcasts: 0 };
  fc.assert(
    fc.property(script, (steps) => {
      const cluster = new Cluster({ hosts: HOSTS, caching: true });
      const present = HOSTS.map(() => new Set<number>());
      for (const step of [...start, ...steps]) {
        if (step.op === 'interfaces') present[step.host] = new Set(step.ports);
        const sent = perform(cluster, step);
        if (step.op !== 'send') continue;
        const from = boundAt(cluster, step.host, interfaceOf(step.port).index);
        const device = cluster.topology.get(from?.type ?? 'bridge', deviceOf(from)) as
          | (StoredObject & { readonly adminStateUp: boolean })
          | undefined;
        // A router that is down still says so.
        const open =
          from?.adminStateUp === true &&
          (device?.adminStateUp === true || from.type === 'router') &&
          present[step.host]?.has(step.port) === true;
        if (!open) {
          assert.deepEqual(textOf(sent), [], 'nothing enters by a port that is not there or down');
          continue;
        }
        const joined = domainOf(cluster, deviceOf(from));
        for (const { host: h, port: p } of sent) {
          const to = boundAt(cluster, h, p);
          assert.ok(
            to !== undefined && joined.has(deviceOf(to)),
            `${JSON.stringify(step)} reached another network`,
          );
          if (from.bridge !== to.bridge) seen.routed += 1;
        }
        seen.delivered += sent.length;
        // ARP and neighbour discovery may be answered instead; every other broadcast is flooded.
        if (from.bridge === undefined || !isPlainBroadcast(step.frame)) continue;
        seen.broadcasts += 1;
        const copies = sent.filter(({ frame }) => Buffer.compare(frame, step.frame) === 0);
        const got = copies.map(({ host: h, port: p }) => `${h}/${p}`).toSorted();
        assert.deepEqual(
          got,
          audience(cluster, from, (h, n) => present[h]?.has(n) === true),
          describeFrame(step.frame),
        );
      }
    }),
    { seed, numRuns },
  );
  assert.ok(seen.delivered > numRuns && seen.routed > numRuns / 10, JSON.stringify(seen));
  assert.ok(seen.broadcasts > numRuns / 100, JSON.stringify(seen));
});

/** From one sender to all, and neither ARP nor, perhaps, neighbour discovery. */
function isPlainBroadcast(frame: Uint8Array): boolean {
  if (frame.length < 18 || !frame.subarray(0, 6).every((byte) => byte === 0xff)) return false;
  const source = readMac(frame, 6);
  const at = frame[12] === 0x81 ? 16 : 12;
  const type = ((frame[at] ?? 0) << 8) | (frame[at + 1] ?? 0);
  return source !== 0 && !isGroup(source) && type !== 0x0806 && type !== 0x86dd;
}

const deviceOf = (port: PortRow | undefined): string => port?.bridge ?? port?.router ?? '';
const portsOf = ({ topology }: Cluster) => [...topology.list('port')] as unknown as PortRow[];

/** Devices that links join with one, by going through all links until there is nothing new. */
function domainOf(cluster: Cluster, device: string): Set<string> {
  const all = portsOf(cluster);
  const joined = new Set([device]);
  for (let size = 0; size < joined.size;) {
    size = joined.size;
    for (const p of all) {
      const other = all.find((each) => each.id === p.peer && each.peer === p.id);
      if (other !== undefined && joined.has(deviceOf(p))) joined.add(deviceOf(other));
    }
  }
  return joined;
}

type LocationRow = ObjectOf<'location'>;
/** Which keys lead to ports of a host, and who may send to its networks, by looking at all. */
function doors(cluster: Cluster, at: number, there: (port: number) => boolean) {
  const { topology } = cluster;
  const zone = [...topology.list('tunnel-zone')][0] as unknown as
    | ObjectOf<'tunnel-zone'>
    | undefined;
  const all = portsOf(cluster);
  const own = HOSTS[at]?.id;
  const keys: string[] = [];
  const here = new Set<string>();
  for (const p of all) {
    const n = PORTS.indexOf(p.id);
    const network = numberOf(cluster, deviceOf(p));
    if (p.host !== own || !there(n)) continue;
    const location = topology.get('location', p.id) as LocationRow | undefined;
    if (p.adminStateUp && network !== undefined)
      keys.push(`${location?.tunnelKey} to ${interfaceOf(n).index} in ${network}`);
    here.add(deviceOf(p));
    for (const near of all.filter(
      (each) => each.bridge !== undefined && each.bridge === p.bridge,
    )) {
      const far = all.find((each) => each.id === near.peer && each.peer === near.id);
      if (far?.type === 'router') here.add(far.router);
    }
  }
  const senders = new Set<string>();
  for (const device of here) {
    const network = numberOf(cluster, device);
    const joined = domainOf(cluster, device);
    for (const other of all) {
      const host = (topology.get('location', other.id) as LocationRow | undefined)?.host;
      const from = HOSTS.find(({ id: known }) => known === host);
      if (network === undefined || !joined.has(deviceOf(other)) || from === undefined) continue;
      if (host !== own && zone?.members.length === 2) senders.add(`${from.address} in ${network}`);
    }
  }
  return { keys: keys.toSorted(), senders: [...senders].toSorted() };
}
function numberOf({ topology }: Cluster, device: string): number | undefined {
  const bridge = topology.get('bridge', device) as ObjectOf<'bridge'> | undefined;
  const router = topology.get('router', device) as ObjectOf<'router'> | undefined;
  return bridge?.floodKey ?? router?.networkKey;
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
          const addresses = new Map(datapath.peers().map((p) => [p.peer, p.address]));
          const senders = datapath
            .senders()
            .map(({ source, network }) => `${addresses.get(source)} in ${network}`);
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
    tell({ type: 'interfaces', interfaces: [0, 1, 2, 3, 4, 5].map(interfaceOf) });
    tell({ type: 'event', event: { type: 'learned', all: true, put, forget: [] } });
    tell({
      type: 'event',
      event: { type: 'snapshot', revision, objects: [...topology.objects()] },
    });
    assert.equal(node.datapath.dump().length, address === '172.16.0.2' ? before : 0, address);
  }
});
