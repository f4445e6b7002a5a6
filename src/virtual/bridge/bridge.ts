/**
 * A virtual Ethernet switch: its schema, its words, its references. Data only; the web may import
 * it.
 */
import { z } from 'zod';
import { FILTER, filter, filterFaults } from '../chain/chain.ts';
import { id, labels, name, objectName } from '../fields.ts';
import type { Kind } from '../kind.ts';

/**
 * Flood keys have the top bit of the 24-bit VXLAN network identifier set; port keys have it clear.
 */
export const FLOOD_KEY_BIT = 0x800000;

export const Bridge = z
  .strictObject({
    id: id('bridge'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it.'),
    labels,
    adminStateUp: z.boolean().default(true).describe('Down: the bridge drops every frame.'),
    inboundFilter: filter('The chain that decides about every frame that enters the bridge.'),
    outboundFilter: filter('The chain that decides about every frame that is to leave it.'),
    floodKey: z
      .int()
      .min(FLOOD_KEY_BIT + 1)
      .max(0xffffff)
      .describe(
        'Given by the server: the tunnel key of floods of this bridge, and its number as a network.',
      ),
  })
  .meta({ id: 'Bridge', description: 'A virtual Ethernet switch.' });
export type Bridge = z.output<typeof Bridge>;

export const bridgeKind = {
  name: 'bridge',
  path: 'bridges',
  about: 'A virtual Ethernet switch.',
  schema: Bridge,
  references: { inboundFilter: FILTER, outboundFilter: FILTER },
  columns: [
    'name',
    'tenant',
    'adminStateUp',
    'inboundFilter',
    'outboundFilter',
    'floodKey',
    'labels',
    'id',
  ],
  assigned: ['floodKey'],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
  check: (next, view) => filterFaults(next, ['inboundFilter', 'outboundFilter'], view, true),
} as const satisfies Kind;
