/**
 * Which host owns which public ports of an address, at a router that translates sources to it: who
 * owns them alone may choose them for new connections, so that no two hosts ever choose one.
 *
 * Durable: kept until the host gives it back, or is removed; a host that is silent keeps what it
 * owns. The server gives the range.
 */
import { z } from 'zod';
import { id, unicastIp } from '../fields.ts';
import type { Kind } from '../kind.ts';

/** A block is so many ports, or a multiple, and begins at a multiple of it. */
export const NAT_BLOCK_PORTS = 64;
const PORT_MAX = 65_535;

export const NatBlock = z
  .strictObject({
    id: id('nat-block'),
    router: id('router').describe('The router that translates.'),
    address: unicastIp.describe('The public address.'),
    first: z.int().min(0).max(PORT_MAX).describe('The first port.'),
    last: z.int().min(0).max(PORT_MAX).describe('The last port.'),
    host: id('host').describe('The host that owns them.'),
  })
  .meta({ id: 'NatBlock', description: 'Public ports that one host owns.' });
export type NatBlock = z.output<typeof NatBlock>;

export const natBlockKind = {
  name: 'nat-block',
  path: 'nat-blocks',
  about: 'Public ports that one host owns.',
  schema: NatBlock,
  references: {
    router: { kind: 'router', onDelete: 'cascade' },
    host: { kind: 'host', onDelete: 'cascade' },
  },
  columns: ['router', 'address', 'first', 'last', 'host', 'id'],
  assigned: ['first', 'last', 'host'],
  immutable: ['router', 'address', 'first', 'last', 'host'],
  writer: 'host',
  operatorFields: [],
} as const satisfies Kind;
