/**
 * The network that is measured: a bridge of a thousand ports on one host, a router, another bridge
 * of a thousand ports; each port with a seeded address. And a router with 10,000 routes.
 */
import { ANY_PORTS } from '#virtual/nat/any-ports.ts';
import { NO_CONNECTIONS } from '#virtual/connection.ts';
import { AMPLE_BUDGET } from '#datapath/contract/bench.ts';
import { openMemory } from '#datapath/memory.ts';
import { Edge } from '#agent/edge.ts';
import type { DpPort } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { headersOf, parseKey } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import { parseMac, type Mac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { KindName, StoredObject } from '#virtual/kind.ts';
import { simulate, type SimulateRequest } from '#virtual/simulate.ts';
import { ErrorBudget } from '#virtual/state/error-budget.ts';
import { MacTable } from '#virtual/state/macs.ts';
import { Topology, type TopologyObject } from '#virtual/topology.ts';

export const PORTS = 1_000;
export const ROUTES = 10_000;

const id = (kind: number, n: number) =>
  `0000000${kind}-0000-4000-8000-${String(n).padStart(12, '0')}`;
export const HOST = id(3, 1) as HostId;
export const ROUTER_ID = id(5, 1);
const hex = (n: number) => n.toString(16).padStart(2, '0');
/** Of port `n` of bridge `net`. */
export const macText = (net: number, n: number) =>
  `02:00:00:0${net}:${hex(n >> 8)}:${hex(n & 255)}`;
export const ipText = (net: number, n: number) => `10.${net}.${n >> 8}.${n & 255}`;
export const routerMac = (net: number) => `02:00:00:00:ff:0${net}`;

const object = (kind: KindName, fields: object): TopologyObject => ({
  kind,
  object: { revision: 1, adminStateUp: true, ...fields } as unknown as StoredObject,
});
const portOf = (net: number, n: number) => net * 10_000 + n;
export const portId = (net: number, n: number) => id(2, portOf(net, n)) as PortId;
/** The interface of a port here, which is also its number in the datapath. */
export const interfaceOf = (net: number, n: number) => (net * PORTS + n + 1) as DpPort;

function bridge(net: number): TopologyObject[] {
  const link = { hairpin: false, addresses: [], type: 'bridge', bridge: id(1, net) };
  return [
    object('bridge', { id: id(1, net), name: `b${net}`, floodKey: 0x800001 + net }),
    object('port', { ...link, id: id(2, 90 + net), name: `l${net}`, peer: id(2, 80 + net) }),
    object('port', {
      id: id(2, 80 + net),
      name: `r${net}`,
      type: 'router',
      router: id(5, 1),
      peer: id(2, 90 + net),
      mac: routerMac(net),
      networks: [`10.${net}.255.1/16`, `fd00:${net}::ffff/64`],
    }),
    ...Array.from({ length: PORTS }, (_, n) =>
      object('port', {
        ...link,
        id: portId(net, n),
        name: `p${net}-${n}`,
        host: HOST,
        interface: `if${interfaceOf(net, n)}`,
        addresses: [
          { mac: macText(net, n), ip: ipText(net, n) },
          { mac: macText(net, n), ip: `fd00:${net}::${n.toString(16)}` },
        ],
      }),
    ),
  ];
}

/**
 * A chain at port 0 of bridge 1: a rule for each of other ports of UDP, which drops, and one that
 * lets the rest pass.
 */
/** A filter of one rule that drops who is in a group, and one that accepts: nobody is in it. */
function groupFilter(members: number): TopologyObject[] {
  const [chain, group] = [id(7, 1), id(9, 1)];
  const addresses = Array.from({ length: members }, (_, n) => `30.${n >> 8}.${n & 255}.1`);
  return [
    object('address-group', { id: group, name: 'g', addresses }),
    object('chain', { id: chain, name: 'c' }),
    object('rule', { id: id(8, 1), chain, position: 1, action: 'drop', sourceGroup: group }),
    object('rule', { id: id(8, 2), chain, position: 2, action: 'accept' }),
  ];
}

function filter({ rules, members }: Filtered): TopologyObject[] {
  if (members > 0) return groupFilter(members);
  if (rules === 0) return [];
  const chain = id(7, 1);
  const rule = (n: number, fields: object): TopologyObject =>
    object('rule', { id: id(8, n), chain, position: n + 1, ...fields });
  const drops = Array.from({ length: rules - 1 }, (_, n) =>
    rule(n, { action: 'drop', protocol: 'udp', destinationPorts: String(10_000 + n) }),
  );
  return [
    object('chain', { id: chain, name: 'c' }),
    ...drops,
    rule(rules - 1, { action: 'accept' }),
  ];
}

/** What the filter at the first port is made of; of one sort. */
export interface Filtered {
  readonly rules: number;
  /** Of a group that a rule asks. */
  readonly members: number;
}
const UNFILTERED: Filtered = { rules: 0, members: 0 };

/** `routes`: static routes beside the connected ones. */
export const objectsOf = (routes: number, filtered = UNFILTERED): TopologyObject[] => [
  ...filter(filtered),
  object('host', { id: HOST, name: 'h1' }),
  object('router', { id: id(5, 1), name: 'r', networkKey: 0x800009 }),
  ...bridge(1).map((each) =>
    filtered.rules + filtered.members > 0 && each.object.id === portId(1, 0)
      ? object('port', { ...each.object, inboundFilter: id(7, 1) })
      : each,
  ),
  ...bridge(2),
  ...Array.from({ length: routes }, (_, n) =>
    object('route', {
      id: id(6, n),
      router: id(5, 1),
      destination: `20.${n >> 8}.${n & 255}.0/${n % 3 === 0 ? 23 : 24}`.replace(
        /(\d+)\.0\/23$/,
        (_all, octet: string) => `${Number(octet) & 254}.0/23`,
      ),
      type: 'port',
      port: id(2, 82),
      gateway: ipText(2, n % PORTS),
      weight: 100,
    }),
  ),
];

export function topologyOf(routes: number, filtered: Partial<Filtered> = {}): Topology {
  const topology = new Topology();
  topology.reset(1, objectsOf(routes, { ...UNFILTERED, ...filtered }));
  return topology;
}

export function frameOf(text: string): Uint8Array {
  const bytes = parseFrameText(text, { src: parseMac(macText(1, 0)) as Mac });
  if (!(bytes instanceof Uint8Array)) throw new Error(`${text}: ${bytes.error}`);
  return bytes;
}

/** A frame from port 0 of bridge 1, ready to be walked. */
export function requestOf(topology: Topology, text: string): SimulateRequest {
  const bytes = frameOf(text);
  const key = new Uint8Array(KEY_SIZE);
  parseKey(bytes, key);
  return {
    topology,
    state: {
      macs: new MacTable({ perPortMax: 1024, ageMs: 300_000 }),
      neighbours: { neighbour: () => undefined, mayHear: () => true },
      errors: new ErrorBudget(),
      connections: NO_CONNECTIONS,
      publicPorts: ANY_PORTS,
      isHere: () => true,
    },
    headers: headersOf(key),
    bytes,
    size: packetSize(bytes, 0),
    ingress: { port: portId(1, 0) },
  };
}

/** Checks that a walk ends as it should: what is measured is what was meant. */
export function expectForward(request: SimulateRequest, to: PortId): SimulateRequest {
  const { verdict } = simulate(request);
  const ok =
    verdict.kind === 'forward' && verdict.to.some((each) => 'port' in each && each.port === to);
  if (!ok) throw new Error(`bench: ${JSON.stringify(verdict)} is not to ${to}`);
  return request;
}

/** Every interface there is here. */
export const interfaces = () =>
  [1, 2].flatMap((net) =>
    Array.from({ length: PORTS }, (_, n) => {
      const index = interfaceOf(net, n);
      return { name: `if${index}`, index };
    }),
  );

const post = () => {};
/** An agent's edge over the reference datapath, with all interfaces there. */
export function openEdge(routes: number) {
  const datapath = openMemory({ slots: 65_536, clock: () => 0, upcallBudget: AMPLE_BUDGET });
  const edge = new Edge({ host: HOST, datapath, now: () => 0, seed: 1 });
  edge.handle({ type: 'interfaces', interfaces: interfaces() }, post);
  edge.handle({ type: 'event', event: { type: 'learned', all: true, put: [], forget: [] } }, post);
  const objects = objectsOf(routes);
  edge.handle({ type: 'event', event: { type: 'snapshot', revision: 1, objects } }, post);
  return { datapath, edge, pump: () => edge.pump(post) };
}
