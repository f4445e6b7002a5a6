/**
 * Random histories of a small network: edits, interfaces that come and go, frames, and time. Two
 * bridges are joined by a router with a port to the outside; a third bridge is joined to nothing.
 */
import fc from 'fast-check';
import { formatIp, type Ip4 } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { parseFrameText } from '#net/text.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId } from '#virtual/ids.ts';
import { IPS, MACS, packets, ROUTER_MACS } from '#virtual/packet.arbitrary.ts';
import {
  ADDRESS_GROUP_IDS,
  CHAIN_IDS,
  filtersOf,
  FIREWALL_ROWS,
  PORT_GROUP_IDS,
  RULE_IDS,
} from '#virtual/rule/rule.arbitrary.ts';
import { row } from './cluster.ts';

export const id = (kind: number, n: number) =>
  `0000000${kind}-0000-4000-8000-${String(n).padStart(12, '0')}`;
export const HOSTS = [0, 1].map((n) => ({
  id: id(3, n) as HostId,
  address: (0xac100001 + n) as Ip4,
}));
export const BRIDGES = [1, 2, 3].map((n) => id(1, n));
export const ROUTER = id(5, 1);
/** Those that may be bound: of bridges, and last the router's own to the outside. */
export const PORTS = [0, 1, 2, 3, 4, 5].map((n) => id(2, n));
const UPLINK = 5;
/** The links: the bridge's end and the router's. */
const LINKS = [
  { bridge: BRIDGES[0], near: id(2, 6), far: id(2, 7), mac: ROUTER_MACS[0] },
  { bridge: BRIDGES[1], near: id(2, 8), far: id(2, 9), mac: ROUTER_MACS[1] },
] as const;
const NETWORKS = [
  ['10.0.0.9/24', 'fd00::9/64'],
  ['10.0.1.9/24', 'fd00:1::9/64'],
];
/** The interface a port is bound to, whatever its host, and the interface's index there. */
export const interfaceOf = (port: number) => ({ name: `if${port}`, index: 100 + port });

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

export type Op =
  | { readonly op: 'rows'; readonly rows: readonly RowChange[] }
  | { readonly op: 'interfaces'; readonly host: number; readonly ports: readonly number[] }
  | {
      readonly op: 'send';
      readonly host: number;
      readonly port: number;
      readonly frame: Uint8Array;
    }
  | { readonly op: 'advance'; readonly ms: number };

const bound = (n: number, host: HostId | undefined) =>
  host === undefined ? {} : { host, interface: interfaceOf(n).name };
const someHost = fc.option(fc.constantFrom(...HOSTS.map((h) => h.id)), { freq: 6, nil: undefined });
const portRow = fc
  .record({
    n: fc.integer({ min: 0, max: UPLINK - 1 }),
    bridge: fc.constantFrom(...BRIDGES),
    host: someHost,
    adminStateUp: mostly,
    hairpin: fc.boolean(),
    addresses: fc.oneof(
      { weight: 3, arbitrary: fc.constant([]) },
      fc.array(seedRow, { maxLength: 2 }),
    ),
  })
  .map(({ n, host, ...rest }) =>
    row('port', { id: PORTS[n], name: `p${n}`, type: 'bridge', ...rest, ...bound(n, host) }),
  );
const uplink = (host: HostId | undefined, more: object = {}): RowChange =>
  row('port', {
    id: PORTS[UPLINK],
    name: 'up',
    type: 'router',
    router: ROUTER,
    mac: formatMac(MACS[3] ?? (0 as never)),
    networks: ['10.0.2.9/24'],
    adminStateUp: true,
    ...bound(UPLINK, host),
    ...more,
  });
const uplinkRow = fc
  .record({ host: someHost, adminStateUp: mostly, mtu: fc.constantFrom(1280, 9000) })
  .map(({ host, ...more }) => uplink(host, more));

/** Both ends of a link; `joined`: whether they name each other. */
function linkRows(n: number, joined: boolean, more: object = {}): RowChange[] {
  const link = LINKS[n];
  if (link === undefined) return [];
  const { bridge, near, far, mac } = link;
  const peer = (of: string) => (joined ? { peer: of } : {});
  return [
    row('port', {
      id: near,
      name: `near${n}`,
      type: 'bridge',
      bridge,
      adminStateUp: true,
      hairpin: false,
      addresses: [],
      ...peer(far),
    }),
    row('port', {
      id: far,
      name: `far${n}`,
      type: 'router',
      router: ROUTER,
      mac: formatMac(mac ?? (0 as never)),
      networks: NETWORKS[n],
      adminStateUp: true,
      ...peer(near),
      ...more,
    }),
  ];
}
const linkEdit = fc
  .record({
    n: fc.constantFrom(0, 1),
    joined: mostly,
    adminStateUp: mostly,
    mtu: fc.option(fc.constantFrom(68, 1280), { freq: 2, nil: undefined }),
    networks: fc.constantFrom(...NETWORKS, []),
  })
  .map(({ n, joined, mtu, ...rest }) =>
    linkRows(n, joined, { ...rest, ...(mtu === undefined ? {} : { mtu }) }),
  );
const routeRow = fc
  .record({
    n: fc.constantFrom(1, 2, 3),
    destination: fc.constantFrom('0.0.0.0/0', '10.0.1.2/32', '10.0.0.0/8', 'fd00:1::/64', '::/0'),
    port: fc.constantFrom(PORTS[UPLINK], LINKS[0].far, LINKS[1].far),
    type: fc.constantFrom('port', 'port', 'port', 'blackhole', 'reject'),
    weight: fc.constantFrom(1, 1, 2),
  })
  .map(({ n, port, type, ...rest }) =>
    row('route', {
      id: id(6, n),
      router: ROUTER,
      type,
      ...rest,
      ...(type === 'port' && { port }),
      ...(type === 'port' && !rest.destination.includes(':') && { gateway: '10.0.0.3' }),
    }),
  );
const routerRow = mostly.map((adminStateUp) =>
  row('router', { id: ROUTER, name: 'r', adminStateUp, networkKey: 0x800009 }),
);
const bridgeRow = fc
  .record({ n: fc.constantFrom(0, 1, 2), adminStateUp: mostly })
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
const goneRow = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.constantFrom(...PORTS).map((port): RowChange => ({ kind: 'port', id: port })),
  },
  {
    weight: 1,
    arbitrary: fc.constantFrom(1, 2, 3).map((n): RowChange => ({ kind: 'route', id: id(6, n) })),
  },
);

const host = fc.integer({ min: 0, max: HOSTS.length - 1 });
const port = fc.integer({ min: 0, max: PORTS.length - 1 });
/** What fills tables and uses them: who is where, everybody hears, and packets to route. */
const telling: fc.Arbitrary<Uint8Array> = fc
  .record({
    mac: fc.constantFrom(...MACS).map(formatMac),
    ip: fc.constantFrom(...IPS.filter((address) => typeof address === 'number')).map(formatIp),
    to: fc.constantFrom(...IPS.filter((address) => typeof address === 'number')).map(formatIp),
    router: fc.constantFrom(...ROUTER_MACS).map(formatMac),
    what: fc.constantFrom('announce', 'shout', 'route', 'route', 'ask'),
  })
  .map(({ mac, ip, to, router, what }) => {
    const all = 'ff:ff:ff:ff:ff:ff';
    if (what === 'announce') return `${mac} > ${all} arp who-has ${ip} tell ${ip}`;
    if (what === 'ask') return `${mac} > ${all} arp who-has ${to} tell ${ip}`;
    if (what === 'shout') return `${mac} > ${all} udp ${ip}:1 > 255.255.255.255:2`;
    return `${mac} > ${router} udp ${ip}:1 > ${to}:2`;
  })
  .map((text) => {
    const frame = parseFrameText(text);
    if (frame instanceof Uint8Array) return frame;
    throw new Error(`${text}: ${frame.error}`);
  });
const send = fc.record({
  op: fc.constant('send' as const),
  host,
  port,
  frame: fc.oneof(
    { weight: 2, arbitrary: packets.map((p) => p.bytes) },
    { weight: 1, arbitrary: telling },
  ),
});
const rows = (of: fc.Arbitrary<RowChange>) => of.map((r): Op => ({ op: 'rows', rows: [r] }));
/** The same rows, some of them with filters. */
const filtered = (of: fc.Arbitrary<RowChange>, fields: readonly string[]) =>
  fc
    .tuple(of, filtersOf(fields))
    .map(([change, filters]): RowChange =>
      change.put === undefined ? change : { ...change, put: { ...change.put, ...filters } },
    );
const ENDS = ['inboundFilter', 'outboundFilter'];
const WAYS = ['localFilter', 'inboundFilter', 'forwardFilter', 'outboundFilter'];

/** A row of a firewall, put or, one of eight, deleted. */
const firewallRow: fc.Arbitrary<RowChange> = fc
  .constantFrom(
    ...RULE_IDS.map((each) => ['rule', each] as const),
    ...CHAIN_IDS.map((each) => ['chain', each] as const),
    ...ADDRESS_GROUP_IDS.map((each) => ['address-group', each] as const),
    ...PORT_GROUP_IDS.map((each) => ['port-group', each] as const),
  )
  .chain(([kind, each]) =>
    fc
      .option(FIREWALL_ROWS[kind](each), { freq: 7 })
      .map((put): RowChange => (put === null ? { kind, id: each } : { kind, id: each, put })),
  );

const devices = (
  of: (arbitrary: fc.Arbitrary<RowChange>, fields: readonly string[]) => fc.Arbitrary<RowChange>,
) => [
  { weight: 3, arbitrary: rows(of(portRow, ENDS)) },
  { weight: 1, arbitrary: rows(of(uplinkRow, ENDS)) },
  {
    weight: 1,
    arbitrary: linkEdit
      .chain((ends) => fc.tuple(...ends.map((end) => of(fc.constant(end), ENDS))))
      .map((ends): Op => ({ op: 'rows', rows: ends })),
  },
  { weight: 1, arbitrary: rows(of(routerRow, WAYS)) },
  { weight: 1, arbitrary: rows(of(bridgeRow, ENDS)) },
];
const others: fc.MaybeWeightedArbitrary<Op>[] = [
  { weight: 20, arbitrary: send },
  { weight: 1, arbitrary: rows(routeRow) },
  { weight: 1, arbitrary: rows(zoneRow) },
  { weight: 1, arbitrary: rows(goneRow) },
  {
    weight: 1,
    arbitrary: fc.record({
      op: fc.constant('interfaces' as const),
      host,
      ports: fc.subarray([0, 1, 2, 3, 4, 5]),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('advance' as const),
      ms: fc.constantFrom(500, 1_000, 1_500, 70_000, 400_000),
    }),
  },
];
/** Everything there, every interface on every host: then the random part begins. */
export const start: Op[] = [
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
      row('router', { id: ROUTER, name: 'r', adminStateUp: true, networkKey: 0x800009 }),
    ],
  },
  {
    op: 'rows',
    rows: [
      ...PORTS.slice(0, UPLINK).map((p, n) =>
        row('port', {
          id: p,
          name: `p${n}`,
          type: 'bridge',
          bridge: BRIDGES[n > 2 ? 2 : n > 1 ? 1 : 0],
          host: HOSTS[n % 2]?.id,
          interface: interfaceOf(n).name,
          adminStateUp: true,
          hairpin: false,
          addresses: [],
        }),
      ),
      uplink(HOSTS[1]?.id),
      ...linkRows(0, true),
      ...linkRows(1, true),
    ],
  },
  { op: 'interfaces', host: 0, ports: [0, 1, 2, 3, 4, 5] },
  { op: 'interfaces', host: 1, ports: [0, 1, 2, 3, 4, 5] },
];
export const script = fc.array(fc.oneof(...others, ...devices((of) => of)), {
  minLength: 5,
  maxLength: 40,
});
/** At first the last chain drops everything. */
const DROP_ALL = row('rule', {
  id: RULE_IDS.at(-1),
  chain: CHAIN_IDS.at(-1),
  position: 1,
  action: 'drop',
  invert: false,
});
/** A bridge of three ports, on two hosts; nothing may leave by one of them. */
const KEPT = [
  { n: 1, outboundFilter: CHAIN_IDS.at(-1) },
  { n: 4, outboundFilter: undefined },
].map(({ n, outboundFilter }) =>
  row('port', {
    id: PORTS[n],
    name: `p${n}`,
    type: 'bridge',
    bridge: BRIDGES[0],
    adminStateUp: true,
    hairpin: false,
    addresses: [],
    ...bound(n, HOSTS[n % 2]?.id),
    ...(outboundFilter !== undefined && { outboundFilter }),
  }),
);
/** A firewall in front of everything, and edits of it. */
export const filteredScript = fc
  .tuple(
    fc.tuple(
      ...(['chain', 'rule', 'address-group', 'port-group'] as const).flatMap((kind) =>
        ({
          chain: CHAIN_IDS,
          rule: RULE_IDS,
          'address-group': ADDRESS_GROUP_IDS,
          'port-group': PORT_GROUP_IDS,
        })[kind].map((each) =>
          FIREWALL_ROWS[kind](each).map((put): RowChange => ({ kind, id: each, put })),
        ),
      ),
    ),
    fc.array(
      fc.oneof(...others, ...devices(filtered), { weight: 4, arbitrary: rows(firewallRow) }),
      { minLength: 10, maxLength: 40 },
    ),
  )
  .map(([firewall, steps]): Op[] => [
    { op: 'rows', rows: [...firewall, DROP_ALL, ...KEPT] },
    ...steps,
  ]);
