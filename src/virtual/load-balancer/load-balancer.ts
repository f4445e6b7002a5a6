/**
 * A load balancer of a virtual router: its schema, its words, its references. Data only; the web
 * may import it.
 *
 * It gathers the services that a router offers under addresses of its own (VIPs) and the pools of
 * members that serve them.
 */
import { z } from 'zod';
import { id, labels, name, objectName } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';

/** Load balancers of one router. */
export const BALANCERS_PER_ROUTER_MAX = 1_024;

export const LoadBalancer = z
  .strictObject({
    id: id('load-balancer'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it: that of its router when not given.'),
    labels,
    router: id('router').describe('The router that has its VIPs and passes packets on to members.'),
    adminStateUp: z
      .boolean()
      .default(true)
      .describe('Down: no new connections; those that there are go on.'),
  })
  .meta({ id: 'LoadBalancer', description: 'Services of a router, shared among members.' });
export type LoadBalancer = z.output<typeof LoadBalancer>;

function check(next: StoredObject, view: View): Fault[] {
  const { router, tenant } = next as unknown as LoadBalancer;
  const of = view.get('router', router);
  if (of === undefined) return [];
  if (of.tenant !== tenant)
    return [{ path: 'tenant', message: 'must be the tenant of the router' }];
  if (view.referrers('load-balancer', 'router', router).length <= BALANCERS_PER_ROUTER_MAX)
    return [];
  const message = `has ${BALANCERS_PER_ROUTER_MAX} load balancers, and cannot have more`;
  return [{ path: 'router', message }];
}

/** The tenant of what belongs to a load balancer. */
export function tenantFaults(next: StoredObject, view: View): Fault[] {
  const { loadBalancer } = next as unknown as { loadBalancer: string };
  const of = view.get('load-balancer', loadBalancer);
  return of === undefined || of.tenant === next.tenant
    ? []
    : [{ path: 'tenant', message: 'must be the tenant of the load balancer' }];
}

export const loadBalancerKind = {
  name: 'load-balancer',
  path: 'load-balancers',
  about: 'Services of a router, shared among members.',
  schema: LoadBalancer,
  references: { router: { kind: 'router', onDelete: 'refuse' } },
  columns: ['name', 'tenant', 'router', 'adminStateUp', 'labels', 'id'],
  assigned: [],
  immutable: ['router', 'tenant'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
