/**
 * A service of a load balancer under an address of its own (a virtual IP): its schema, its words,
 * its references. Data only; the web may import it.
 */
import { z } from 'zod';
import { isLinkLocalIp, isLoopbackIp, parseIp } from '#net/ip.ts';
import { id, labels, name, objectName, unicastIp } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';
import { tenantFaults, type LoadBalancer } from '../load-balancer/load-balancer.ts';

/** VIPs of one load balancer. */
export const VIPS_PER_BALANCER_MAX = 10_000;
/** Seconds that a client is remembered: a day. */
const PERSISTENCE_MAX = 86_400;
const SESSIONS_MAX = 1_000_000;

export const VIP_PROTOCOLS = ['tcp', 'udp'] as const;

export const Vip = z
  .strictObject({
    id: id('vip'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it: that of its load balancer.'),
    labels,
    loadBalancer: id('load-balancer').describe('The load balancer it is of.'),
    pool: id('pool').describe('The pool whose members serve it.'),
    address: unicastIp.describe(
      "The address that clients ask: any that is routed to the router, or one of its own networks'.",
    ),
    port: z.int().min(1).max(65_535).describe('The port that clients ask.'),
    protocol: z.enum(VIP_PROTOCOLS).default('tcp').describe('tcp or udp.'),
    adminStateUp: z
      .boolean()
      .default(true)
      .describe('Down: no new connections; those that there are go on.'),
    persistence: z
      .enum(['none', 'source-ip'])
      .default('none')
      .describe('source-ip: a client keeps its member, whatever port it comes from.'),
    persistenceTimeout: z
      .int()
      .min(1)
      .max(PERSISTENCE_MAX)
      .default(300)
      .describe('Seconds after its last new connection that a client keeps its member.'),
    sessionLimit: z
      .int()
      .min(1)
      .max(SESSIONS_MAX)
      .optional()
      .describe('The most connections at a time that enter by one host; more are dropped.'),
  })
  .meta({ id: 'Vip', description: 'An address and port that members of a pool serve.' });
export type Vip = z.output<typeof Vip>;

function* vipsOfRouter(router: string, view: View): Generator<Vip> {
  for (const balancer of view.referrers('load-balancer', 'router', router))
    for (const vip of view.referrers('vip', 'loadBalancer', balancer))
      yield view.get('vip', vip) as unknown as Vip;
}

function addressFaults({ address, port, protocol, id: own }: Vip, router: string, view: View) {
  const ip = parseIp(address);
  if (ip !== undefined && (isLinkLocalIp(ip) || isLoopbackIp(ip)))
    return [{ path: 'address', message: 'must be an address that routers forward to' }];
  for (const other of vipsOfRouter(router, view))
    if (other.id !== own && other.address === address && other.port === port)
      if (other.protocol === protocol) {
        const message = `is that of VIP ${other.name}, with this port and protocol`;
        return [{ path: 'address', message }];
      }
  return [];
}

function poolFaults(vip: Vip, view: View): Fault[] {
  const pool = view.get('pool', vip.pool) as (StoredObject & { loadBalancer: string }) | undefined;
  if (pool === undefined) return [];
  if (pool.loadBalancer !== vip.loadBalancer)
    return [{ path: 'pool', message: 'must be a pool of the load balancer' }];
  const six = vip.address.includes(':');
  for (const member of view.referrers('pool-member', 'pool', pool.id)) {
    const { address } = view.get('pool-member', member) as StoredObject & { address: string };
    if (address.includes(':') !== six)
      return [{ path: 'pool', message: `has a member of the other family: ${address}` }];
  }
  return [];
}

function check(next: StoredObject, view: View): Fault[] {
  const vip = next as unknown as Vip;
  const faults = [...tenantFaults(next, view), ...poolFaults(vip, view)];
  const of = view.get('load-balancer', vip.loadBalancer) as unknown as LoadBalancer | undefined;
  if (of === undefined) return faults;
  faults.push(...addressFaults(vip, of.router, view));
  if (view.referrers('vip', 'loadBalancer', of.id).length > VIPS_PER_BALANCER_MAX) {
    const message = `has ${VIPS_PER_BALANCER_MAX} VIPs, and cannot have more`;
    faults.push({ path: 'loadBalancer', message });
  }
  return faults;
}

export const vipKind = {
  name: 'vip',
  path: 'vips',
  about: 'An address and port that members of a pool serve.',
  schema: Vip,
  references: {
    loadBalancer: { kind: 'load-balancer', onDelete: 'cascade' },
    pool: { kind: 'pool', onDelete: 'cascade' },
  },
  columns: [
    'name',
    'tenant',
    'loadBalancer',
    'address',
    'port',
    'protocol',
    'pool',
    'persistence',
    'adminStateUp',
    'labels',
    'id',
  ],
  assigned: [],
  immutable: ['loadBalancer', 'tenant', 'address', 'port', 'protocol'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
