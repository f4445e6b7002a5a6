/**
 * A port of a virtual device: its schema, its words, its references. Data only; the web may import
 * it. A port is an explicit union by `type`; this version knows the ports of bridges.
 */
import { z } from 'zod';
import { id, name, objectName, unicastIp, unicastMac } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';

export const SEEDS_PER_PORT_MAX = 64;
/** IFNAMSIZ of linux/if.h, less the closing zero. */
export const INTERFACE_NAME_LENGTH_MAX = 15;

export const Seed = z.strictObject({
  mac: unicastMac.describe('A MAC address behind the port.'),
  ip: unicastIp
    .optional()
    .describe('An address of that MAC: the bridge answers ARP or neighbour solicitations for it.'),
});

export const Port = z
  .strictObject({
    id: id('port'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it: that of its bridge when not given.'),
    type: z.literal('bridge').default('bridge').describe('What the port belongs to.'),
    bridge: id('bridge').describe('The bridge it belongs to.'),
    adminStateUp: z.boolean().default(true).describe('Down: nothing enters or leaves here.'),
    hairpin: z
      .boolean()
      .default(false)
      .describe(
        'On: a frame for an address behind this same port is sent back out of it. Off: such frames are filtered, as IEEE 802.1Q §8.6.1 wants.',
      ),
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
    addresses: z
      .array(Seed)
      .max(SEEDS_PER_PORT_MAX, `must hold at most ${SEEDS_PER_PORT_MAX} addresses`)
      .default([])
      .describe(
        'What is known to live behind the port. Seeded addresses are never overridden by learned ones.',
      ),
  })
  .meta({ id: 'Port', description: 'A port of a virtual device.' });
export type Port = z.output<typeof Port>;

const portOf = (view: View, id: string): Port | undefined =>
  view.get('port', id) as unknown as Port | undefined;

function bindingFaults(port: Port, view: View): Fault[] {
  if ((port.host === undefined) !== (port.interface === undefined)) {
    const path = port.host === undefined ? 'host' : 'interface';
    const message =
      'must be given together with the other half of the binding (host and interface)';
    return [{ path, message }];
  }
  if (port.host === undefined) return [];
  for (const id of view.referrers('port', 'host', port.host)) {
    const other = portOf(view, id);
    if (id === port.id || other?.interface !== port.interface) continue;
    return [{ path: 'interface', message: `is bound to port ${other?.name} (${id}) already` }];
  }
  return [];
}

/**
 * A MAC has one port in a bridge and an address one owner. One port may hold a MAC with many
 * addresses.
 */
function seedFaults(port: Port, view: View): Fault[] {
  if (port.addresses.length === 0) return [];
  const faults: Fault[] = [];
  const byMac = new Map<string, number>();
  const byIp = new Map<string, number>();
  for (const [i, { mac, ip }] of port.addresses.entries()) {
    if (!byMac.has(mac)) byMac.set(mac, i);
    if (ip === undefined) continue;
    if (byIp.has(ip)) faults.push({ path: `addresses.${i}.ip`, message: 'is given twice' });
    else byIp.set(ip, i);
  }
  for (const id of view.referrers('port', 'bridge', port.bridge)) {
    const other = id === port.id ? undefined : portOf(view, id);
    for (const seed of other?.addresses ?? []) {
      const message = `is an address of port ${other?.name} (${id}) of this bridge already`;
      const mac = byMac.get(seed.mac);
      const ip = seed.ip === undefined ? undefined : byIp.get(seed.ip);
      if (mac !== undefined) faults.push({ path: `addresses.${mac}.mac`, message });
      if (ip !== undefined) faults.push({ path: `addresses.${ip}.ip`, message });
    }
  }
  return faults;
}

function check(next: StoredObject, view: View): Fault[] {
  const port = next as unknown as Port;
  const faults = bindingFaults(port, view);
  const bridge = view.get('bridge', port.bridge);
  if (bridge !== undefined && port.tenant !== bridge.tenant)
    faults.push({ path: 'tenant', message: 'must be the tenant of the bridge' });
  return [...faults, ...seedFaults(port, view)];
}

export const portKind = {
  name: 'port',
  path: 'ports',
  about: 'A port of a virtual device.',
  schema: Port,
  references: {
    bridge: { kind: 'bridge', onDelete: 'cascade' },
    host: { kind: 'host', onDelete: 'refuse' },
  },
  columns: ['name', 'bridge', 'host', 'interface', 'adminStateUp', 'addresses', 'id'],
  assigned: [],
  immutable: ['bridge', 'type', 'tenant'],
  writer: 'tenant',
  operatorFields: ['host', 'interface'],
  check,
} as const satisfies Kind;
