/**
 * A group of ports, for conditions of rules: its schema, its words, its references. Data only; the
 * web may import it.
 */
import { z } from 'zod';
import { id, labels, name, objectName } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';

/** Ports of one group. */
export const PORTS_PER_GROUP_MAX = 10_000;
/** Members of a stateful one: each record goes to the hosts of all of them. */
export const STATEFUL_PORTS_MAX = 64;

export const PortGroup = z
  .strictObject({
    id: id('port-group'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it.'),
    labels,
    ports: z
      .array(id('port'))
      .max(PORTS_PER_GROUP_MAX, `must hold at most ${PORTS_PER_GROUP_MAX} ports`)
      .refine((ports) => new Set(ports).size === ports.length, 'names a port twice')
      .default([])
      .describe('Its members. A group without any matches nothing.'),
    stateful: z
      .boolean()
      .default(false)
      .describe(
        'On: answers to a connection of one member may enter by any other, as with two uplinks: hosts of its ports know all their connections. Members are ports of devices that links join.',
      ),
  })
  .meta({ id: 'PortGroup', description: 'A group of ports that rules match.' });
export type PortGroup = z.output<typeof PortGroup>;

/** Members are ports of the owner; a group of no tenant may have any. */
function check(next: StoredObject, view: View): Fault[] {
  const group = next as unknown as PortGroup;
  if (group.stateful && group.ports.length > STATEFUL_PORTS_MAX) {
    const message = `must hold at most ${STATEFUL_PORTS_MAX} ports in a stateful group`;
    return [{ path: 'ports', message }];
  }
  if (group.tenant === undefined) return [];
  const foreign = group.ports.findIndex((port) => {
    const member = view.get('port', port);
    return member !== undefined && member.tenant !== group.tenant;
  });
  if (foreign < 0) return [];
  return [{ path: `ports.${foreign}`, message: 'must be a port of the tenant of the group' }];
}

export const portGroupKind = {
  name: 'port-group',
  path: 'port-groups',
  about: 'A group of ports that rules match.',
  schema: PortGroup,
  references: { ports: { kind: 'port', onDelete: 'clear' } },
  columns: ['name', 'tenant', 'ports', 'labels', 'id'],
  assigned: [],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
