/**
 * For tests: small random networks, valid as a whole. Names repeat wherever they may: between
 * tenants and between devices.
 */
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { FLOOD_KEY_BIT } from '#virtual/bridge/bridge.ts';
import { madeMac } from '#virtual/plan/objects.ts';
import { Stand } from './stand.ts';

type Row = Record<string, unknown> & { readonly id: string };

/** Of every object here. */
export const LABEL = 'made-by=test';
const TENANTS = [undefined, 'acme', 'zeta'];

/** Numbers from 0 to below 1, by a seed (mulberry32). */
export function chances(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

class Maker {
  readonly rows = new Map<KindName, Row[]>();
  readonly #chance: () => number;
  #made = 0;

  constructor(seed: number) {
    this.#chance = chances(seed);
  }
  /** True so often. */
  maybe(often = 0.5): boolean {
    return this.#chance() < often;
  }
  pick<T>(values: readonly T[]): T {
    const value = values[Math.floor(this.#chance() * values.length)];
    if (value === undefined && values.length === 0) throw new Error('nothing to pick from');
    return value as T;
  }
  /** A number of its own. */
  get next(): number {
    return ++this.#made;
  }
  add(kind: KindName, fields: Record<string, unknown>): Row {
    const hex = Array.from({ length: 32 }, () => Math.floor(this.#chance() * 16).toString(16));
    const id = hex.join('').replace(/^(.{8})(.{4}).(.{3}).(.{3})(.*)$/, '$1-$2-4$3-8$4-$5');
    const given = Object.entries(fields).filter(([, value]) => value !== undefined);
    const row = { id: id.slice(0, 36), ...Object.fromEntries(given), labels: [LABEL], revision: 1 };
    this.rows.getOrInsertComputed(kind, () => []).push(row);
    return row;
  }
}

function addBridgePorts(maker: Maker, bridge: Row, b: number): Row[] {
  return ['p', 'q', 's'].flatMap((name, n) => {
    if (maker.maybe(0.3)) return [];
    const seed = { mac: `02:00:00:00:${b}0:0${n}`, ip: `10.${b}.9.${n + 1}` };
    const port = {
      name,
      tenant: bridge['tenant'],
      type: 'bridge',
      bridge: bridge.id,
      adminStateUp: maker.maybe(0.8),
      hairpin: maker.maybe(0.2),
      addresses: maker.maybe() ? [seed] : [],
    };
    return [maker.add('port', port)];
  });
}

function addRouterPorts(maker: Maker, router: Row, r: number): Row[] {
  return ['p', 'q'].flatMap((name, n) => {
    if (maker.maybe(0.2)) return [];
    const port = maker.add('port', {
      name,
      tenant: router['tenant'],
      type: 'router',
      router: router.id,
      adminStateUp: true,
      networks: [`10.${100 + r}.${n}.1/24`],
      mtu: maker.maybe(0.3) ? 1400 : undefined,
    });
    port['mac'] = maker.maybe(0.3) ? `02:00:00:00:f${r}:0${n}` : madeMac(port.id);
    return [port];
  });
}

function addRoutes(maker: Maker, router: Row, [r, ports]: readonly [number, readonly Row[]]): void {
  for (const [n, destination] of ['10.0.0.0/8', '192.0.2.0/24', '::/0'].entries()) {
    if (maker.maybe(0.4)) continue;
    const isPlain = n === 2 || ports.length === 0;
    const port = isPlain ? undefined : maker.pick(ports);
    const network = (port?.['networks'] as readonly string[] | undefined)?.[0];
    maker.add('route', {
      name: maker.maybe(0.2) ? `to-${n}` : undefined,
      tenant: router['tenant'],
      router: router.id,
      destination,
      type: isPlain ? maker.pick(['blackhole', 'reject']) : 'port',
      port: port?.id,
      gateway: network !== undefined && maker.maybe() ? network.replace('.1/24', '.7') : undefined,
      weight: maker.pick([100, 100, r + 1]),
    });
  }
}

/** Chains of a tenant that jump to later ones, groups, and filters of its ports. */
function addFirewall(maker: Maker, tenant: string | undefined, ports: readonly Row[]): void {
  const own = ports.filter((port) => port['tenant'] === tenant);
  const chains = ['in', 'out', 'shared'].map((name) => maker.add('chain', { name, tenant }));
  const addresses = maker.add('address-group', {
    name: 'office',
    tenant,
    addresses: maker.maybe(0.8) ? ['192.0.2.1', '2001:db8::/32'] : [],
  });
  const members = own.filter(() => maker.maybe(0.3)).map(({ id }) => id);
  const group = maker.add('port-group', { name: 'some', tenant, ports: members });
  for (const [c, { id: chain }] of chains.entries())
    for (const position of [100, 200, 250]) {
      if (maker.maybe(0.3)) continue;
      const later = chains[c + 1];
      const jumps = later !== undefined && maker.maybe(0.4);
      maker.add('rule', {
        name: maker.maybe(0.3) ? `rule-${position}` : undefined,
        tenant,
        chain,
        position,
        action: jumps ? 'jump' : maker.pick(['accept', 'drop', 'reject', 'return']),
        jump: jumps ? later.id : undefined,
        inPorts: own.length > 0 && maker.maybe(0.2) ? [maker.pick(own).id] : undefined,
        inPortGroup: maker.maybe(0.3) ? group.id : undefined,
        sourceGroup: maker.maybe(0.3) ? addresses.id : undefined,
        ...(maker.maybe() && { protocol: 'tcp', destinationPorts: maker.pick(['80', '1-9']) }),
        ...(maker.maybe(0.3) && { source: '10.0.0.0/8', not: ['source'] }),
        invert: maker.maybe(0.1),
      });
    }
  for (const port of own) if (maker.maybe(0.3)) port['inboundFilter'] = maker.pick(chains).id;
}

/** Binds some ports, and links pairs of others, of different devices of one tenant. */
function place(maker: Maker, ports: readonly Row[], hosts: readonly Row[]): void {
  const free = [...ports];
  while (free.length > 0) {
    const [port] = free.splice(Math.floor(free.length / 2), 1);
    if (port === undefined) break;
    const peer = free.find(
      (other) =>
        other['tenant'] === port['tenant'] &&
        (other['bridge'] ?? other['router']) !== (port['bridge'] ?? port['router']),
    );
    if (peer !== undefined && maker.maybe(0.6)) {
      free.splice(free.indexOf(peer), 1);
      port['peer'] = peer.id;
      peer['peer'] = port.id;
    } else if (hosts.length > 0 && maker.maybe()) {
      port['host'] = maker.pick(hosts).id;
      port['interface'] = `tap${maker.next}`;
    }
  }
}

/** A network, the same for the same seed. */
export function randomNetwork(seed: number): Stand {
  const maker = new Maker(seed);
  const hosts = ['h1', 'h2'].flatMap((name) =>
    maker.maybe(0.9) ? [maker.add('host', { name })] : [],
  );
  const members = hosts.map(({ id }, i) => ({ host: id, address: `192.0.2.${i + 1}` }));
  if (maker.maybe()) maker.add('tunnel-zone', { name: 'z', members });
  const ports: Row[] = [];
  for (const [t, tenant] of TENANTS.entries()) {
    for (const [n, name] of ['x', 'y'].entries()) {
      // There is always something of a tenant.
      if (t + n !== 1 && maker.maybe(0.2)) continue;
      const floodKey = FLOOD_KEY_BIT + 1 + t * 10 + n;
      const bridge = { name, tenant, adminStateUp: maker.maybe(0.8), floodKey };
      ports.push(...addBridgePorts(maker, maker.add('bridge', bridge), t * 2 + n));
    }
    if (maker.maybe(0.3)) continue;
    const networkKey = FLOOD_KEY_BIT + 101 + t;
    const router = maker.add('router', { name: 'x', tenant, adminStateUp: true, networkKey });
    const own = addRouterPorts(maker, router, t);
    addRoutes(maker, router, [t, own]);
    ports.push(...own);
  }
  place(maker, ports, hosts);
  for (const tenant of TENANTS) if (maker.maybe(0.6)) addFirewall(maker, tenant, ports);
  return new Stand(maker.rows as unknown as Map<KindName, StoredObject[]>);
}
