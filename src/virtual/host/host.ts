/** A machine that runs an agent. Data only; the web may import it. */
import { z } from 'zod';
import { id, labels, objectName } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';

export const Host = z
  .strictObject({
    id: id('host'),
    name: objectName.describe('Its name, unique among hosts.'),
    labels,
  })
  .meta({ id: 'Host', description: 'A machine that runs an agent.' });
export type Host = z.output<typeof Host>;

function check(next: StoredObject, view: View): Fault[] {
  for (const other of view.list('host'))
    if (other.id !== next.id && other.name === next.name)
      return [{ path: 'name', message: `is the name of host ${other.id} already` }];
  return [];
}

export const hostKind = {
  name: 'host',
  path: 'hosts',
  about: 'A machine that runs an agent.',
  schema: Host,
  references: {},
  columns: ['name', 'labels', 'id'],
  assigned: [],
  immutable: [],
  writer: 'operator',
  operatorFields: [],
  check,
} as const satisfies Kind;
