/**
 * On which host a port is up, and the tunnel key that reaches it there: durable state that only the
 * host's agent asks for, kept until the port is up elsewhere, is deleted, or the host is forgotten.
 * A host that is silent changes nothing; one that says that the interface is gone, or has no
 * carrier, ends the routes of a router's port. The id is the port's.
 */
import { z } from 'zod';
import { FLOOD_KEY_BIT } from '../bridge/bridge.ts';
import { id } from '../fields.ts';
import type { Kind } from '../kind.ts';
import { INTERFACE_NAME_LENGTH_MAX } from '../port/port.ts';

/** What every link must carry (RFC 791 §3.2), and what the kernel lets an interface have. */
export const LOCATION_MTU_MIN = 68;
/** The same at the other end: what the length field of IP can tell. */
export const LOCATION_MTU_MAX = 65_535;

export const Location = z
  .strictObject({
    id: id('port'),
    port: id('port').describe('The port; the same as the id.'),
    host: id('host').describe('The host that carries it.'),
    interface: z
      .string()
      .max(INTERFACE_NAME_LENGTH_MAX)
      .describe('The interface that carries it there.'),
    up: z
      .boolean()
      .default(true)
      .describe(
        'False: the interface is gone, or has no carrier. Said of ports of routers: their routes end.',
      ),
    mtu: z
      .int()
      .min(LOCATION_MTU_MIN)
      .max(LOCATION_MTU_MAX)
      .optional()
      .describe(
        'Bytes of the largest packet that the interface takes; other hosts send no larger one.',
      ),
    tunnelKey: z
      .int()
      .min(1)
      .max(FLOOD_KEY_BIT - 1)
      .describe('Names the port on that host; not used twice by a host.'),
  })
  .meta({ id: 'Location', description: 'Where a port is up.' });
export type Location = z.output<typeof Location>;

export const locationKind = {
  name: 'location',
  path: 'locations',
  about: 'Where a port is up.',
  schema: Location,
  references: {
    port: { kind: 'port', onDelete: 'cascade' },
    host: { kind: 'host', onDelete: 'cascade' },
  },
  columns: ['port', 'host', 'interface', 'up', 'tunnelKey'],
  assigned: ['tunnelKey'],
  immutable: [],
  writer: 'host',
  operatorFields: [],
} as const satisfies Kind;
