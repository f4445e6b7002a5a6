/**
 * A port of a virtual device: its schema, its words, its references. Data only; the web may import
 * it.
 *
 * A port is an explicit union by `type`: of a bridge, or of a router. It is exterior when it is
 * bound to an interface of a host, interior when it is linked to a `peer`, unplugged when neither;
 * never both. A link is one fact with two ends: each of the two names the other (`plan/links.ts`).
 */
import { z } from 'zod';
import { FILTER, filter } from '../chain/chain.ts';
import type { BridgeId, RouterId } from '../ids.ts';
import {
  addressOrPrefix,
  id,
  interfaceAddress,
  labels,
  name,
  objectName,
  unicastIp,
  unicastMac,
} from '../fields.ts';
import type { Kind } from '../kind.ts';
import { check } from './rules.ts';

/** Seeded addresses of one port of a bridge; more are refused. */
export const SEEDS_PER_PORT_MAX = 64;
/** Addresses allowed at one port beside its own; more are refused. */
export const ALLOWED_PER_PORT_MAX = 64;
/** Own addresses of a router port. */
export const NETWORKS_PER_PORT_MAX = 64;
/** IFNAMSIZ of linux/if.h, less the closing zero. */
export const INTERFACE_NAME_LENGTH_MAX = 15;
/** RFC 791 §3.2: every network carries 68 bytes; and what IP's length field can tell. */
const MTU_MIN = 68;
const MTU_MAX = 65_535;

export const Seed = z.strictObject({
  mac: unicastMac.describe('A MAC address behind the port.'),
  ip: unicastIp
    .optional()
    .describe('An address of that MAC: the bridge answers ARP or neighbour solicitations for it.'),
});
export type Seed = z.output<typeof Seed>;

export const Allowed = z.strictObject({
  ip: addressOrPrefix.describe('An address, or a prefix of addresses: 10.0.0.5, 10.0.1.0/24.'),
  mac: unicastMac
    .optional()
    .describe('The MAC address that it goes with: each of `addresses` when not given.'),
});
export type Allowed = z.output<typeof Allowed>;

const common = {
  id: id('port'),
  name: objectName.describe('Its name; unique names can stand for the id.'),
  tenant: name.optional().describe('The tenant that owns it: that of its device when not given.'),
  labels,
  type: z
    .enum(['bridge', 'router'])
    .default('bridge')
    .describe('What the port belongs to; `router` follows from a router being given.'),
};
const ofBridge = {
  bridge: id('bridge').optional().describe('The bridge it belongs to.'),
};
const ofRouter = {
  router: id('router').optional().describe('The router it belongs to.'),
};
const state = {
  adminStateUp: z.boolean().default(true).describe('Down: nothing enters or leaves here.'),
};
const filters = {
  inboundFilter: filter('The chain that decides about what enters the network here.'),
  outboundFilter: filter('The chain that decides about what is to leave it here.'),
};
const place = {
  peer: id('port')
    .optional()
    .describe('The port of another device that it is linked to; the link shows at both ends.'),
  host: id('host')
    .optional()
    .describe('The host that carries the port; together with `interface`.'),
  interface: z
    .string()
    .regex(
      /^[!-.0-9;-~]{1,15}$/,
      `must be an interface name of 1 to ${INTERFACE_NAME_LENGTH_MAX} ASCII characters without space, / or :`,
    )
    .refine((text) => text !== '.' && text !== '..', 'must not be . or ..')
    .optional()
    .describe('The network interface on that host.'),
};
const bridgeOnly = {
  hairpin: z
    .boolean()
    .default(false)
    .describe(
      'On: a frame for an address behind this same port is sent back out of it. Off: such frames are filtered, as IEEE 802.1Q §8.6.1 wants.',
    ),
  vlan: z
    .int()
    .min(1)
    .max(4094)
    .optional()
    .describe(
      'Of a port linked to another bridge: the VLAN of this bridge that the other is. Frames leave here without their tag, and get it when they enter.',
    ),
  addresses: z
    .array(Seed)
    .max(SEEDS_PER_PORT_MAX, `must hold at most ${SEEDS_PER_PORT_MAX} addresses`)
    .default([])
    .describe(
      'What is known to live behind the port. Seeded addresses are never overridden by learned ones.',
    ),
  security: z
    .enum(['off', 'on'])
    .default('off')
    .describe(
      'On: what is behind the port may send from `addresses` and `allowedAddresses` only, and offers no DHCP and no routes; nobody else of the bridge may claim these. Off: from any.',
    ),
  allowedAddresses: z
    .array(Allowed)
    .max(ALLOWED_PER_PORT_MAX, `must hold at most ${ALLOWED_PER_PORT_MAX} addresses`)
    .default([])
    .describe(
      'Further addresses to send from while `security` is on. What is known to be at another port of the bridge stays there.',
    ),
};
const routerOnly = {
  mac: unicastMac.optional().describe('Its MAC address; made from the id when not given.'),
  networks: z
    .array(interfaceAddress)
    .max(NETWORKS_PER_PORT_MAX, `must hold at most ${NETWORKS_PER_PORT_MAX} addresses`)
    .default([])
    .describe('Its addresses, each with the length of its network: 10.0.0.1/24, fd00::1/64.'),
  mtu: z
    .int()
    .min(MTU_MIN)
    .max(MTU_MAX)
    .optional()
    .describe(
      'The largest IP packet in bytes that is routed out of it. Larger ones are cut, or answered "too big" where they must not be.',
    ),
  service: z
    .literal(true)
    .optional()
    .describe('Given by the server: the port by which a host checks members of load balancers.'),
};

export const PortSchema = z
  .strictObject({
    ...common,
    ...ofBridge,
    ...ofRouter,
    ...state,
    ...filters,
    ...place,
    ...bridgeOnly,
    ...routerOnly,
  })
  .meta({ id: 'Port', description: 'A port of a virtual device.' });

type Flat = z.output<typeof PortSchema>;
type Common = Pick<
  Flat,
  keyof typeof common | keyof typeof state | keyof typeof filters | keyof typeof place
>;
export type BridgePort = Common &
  Pick<Flat, keyof typeof bridgeOnly> & {
    type: 'bridge';
    bridge: BridgeId;
    router?: undefined;
    mac?: undefined;
    networks?: undefined;
    mtu?: undefined;
    service?: undefined;
  };
export type RouterPort = Common &
  Pick<Flat, 'networks' | 'mtu' | 'service'> & {
    type: 'router';
    router: RouterId;
    mac: string;
    bridge?: undefined;
    hairpin?: undefined;
    vlan?: undefined;
    addresses?: undefined;
    security?: undefined;
    allowedAddresses?: undefined;
  };
/** As stored: one of the two, with no field of the other. */
export type Port = BridgePort | RouterPort;

export const portKind = {
  name: 'port',
  path: 'ports',
  about: 'A port of a virtual device.',
  schema: PortSchema,
  references: {
    bridge: { kind: 'bridge', onDelete: 'cascade' },
    router: { kind: 'router', onDelete: 'cascade' },
    peer: { kind: 'port', onDelete: 'clear' },
    host: { kind: 'host', onDelete: 'refuse' },
    inboundFilter: FILTER,
    outboundFilter: FILTER,
  },
  columns: [
    'name',
    'bridge',
    'router',
    'peer',
    'host',
    'interface',
    'adminStateUp',
    'addresses',
    'networks',
    'inboundFilter',
    'outboundFilter',
    'labels',
    'id',
  ],
  assigned: ['service'],
  immutable: ['bridge', 'router', 'type', 'tenant'],
  writer: 'tenant',
  operatorFields: ['host', 'interface'],
  variants: {
    field: 'type',
    of: {
      bridge: ['bridge', ...Object.keys(bridgeOnly)],
      router: ['router', ...Object.keys(routerOnly)],
    },
  },
  check,
} as const satisfies Kind;
