/**
 * A virtual Ethernet switch: its schema, its words, its references. Data only; the web may import
 * it.
 */
import { z } from 'zod';
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
  references: {},
  columns: ['name', 'tenant', 'adminStateUp', 'floodKey', 'labels', 'id'],
  assigned: ['floodKey'],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
} as const satisfies Kind;
