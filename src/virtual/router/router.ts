/** A virtual router: its schema, its words, its references. Data only; the web may import it. */
import { z } from 'zod';
import { FLOOD_KEY_BIT } from '../bridge/bridge.ts';
import { FILTER, filter, filterFaults } from '../chain/chain.ts';
import { id, labels, name, objectName } from '../fields.ts';
import type { Kind } from '../kind.ts';

export const Router = z
  .strictObject({
    id: id('router'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it.'),
    labels,
    adminStateUp: z
      .boolean()
      .default(true)
      .describe('Down: it forwards nothing and answers "administratively prohibited".'),
    localFilter: filter('The chain that every packet meets first, before `inboundFilter`.'),
    inboundFilter: filter('The chain that decides about every packet that enters the router.'),
    forwardFilter: filter('The chain that routed packets meet before `outboundFilter`.'),
    outboundFilter: filter('The chain that decides about every packet that is to leave it.'),
    networkKey: z
      .int()
      .min(FLOOD_KEY_BIT + 1)
      .max(0xffffff)
      .describe('Given by the server: its number as a network, by which hosts know who may send.'),
  })
  .meta({ id: 'Router', description: 'A virtual router, IPv4 and IPv6.' });
export type Router = z.output<typeof Router>;

const FILTERS = ['localFilter', 'inboundFilter', 'forwardFilter', 'outboundFilter'];

export const routerKind = {
  name: 'router',
  path: 'routers',
  about: 'A virtual router, IPv4 and IPv6.',
  schema: Router,
  references: {
    localFilter: FILTER,
    inboundFilter: FILTER,
    forwardFilter: FILTER,
    outboundFilter: FILTER,
  },
  columns: [
    'name',
    'tenant',
    'adminStateUp',
    'inboundFilter',
    'outboundFilter',
    'networkKey',
    'labels',
    'id',
  ],
  assigned: ['networkKey'],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
  check: (next, view) => filterFaults(next, FILTERS, view),
} as const satisfies Kind;
