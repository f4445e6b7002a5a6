/** A virtual router: its schema, its words, its references. Data only; the web may import it. */
import { z } from 'zod';
import { FLOOD_KEY_BIT } from '../bridge/bridge.ts';
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
    networkKey: z
      .int()
      .min(FLOOD_KEY_BIT + 1)
      .max(0xffffff)
      .describe('Given by the server: its number as a network, by which hosts know who may send.'),
  })
  .meta({ id: 'Router', description: 'A virtual router, IPv4 and IPv6.' });
export type Router = z.output<typeof Router>;

export const routerKind = {
  name: 'router',
  path: 'routers',
  about: 'A virtual router, IPv4 and IPv6.',
  schema: Router,
  references: {},
  columns: ['name', 'tenant', 'adminStateUp', 'networkKey', 'labels', 'id'],
  assigned: ['networkKey'],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
} as const satisfies Kind;
