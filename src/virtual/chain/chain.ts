/**
 * A chain of rules: its schema, its words, its references. Data only; the web may import it.
 *
 * What is in a chain, and in which order, is said by its rules, so that a change of one rule is a
 * change of one object.
 */
import { z } from 'zod';
import { id, labels, name, objectName } from '../fields.ts';
import type { Fault, Kind, Reference, StoredObject, View } from '../kind.ts';
import { ROUTERS_ONLY, translates } from './jumps.ts';

export const Chain = z
  .strictObject({
    id: id('chain'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it.'),
    labels,
  })
  .meta({ id: 'Chain', description: 'A chain of firewall rules.' });
export type Chain = z.output<typeof Chain>;

export const chainKind = {
  name: 'chain',
  path: 'chains',
  about: 'A chain of firewall rules.',
  schema: Chain,
  references: {},
  columns: ['name', 'tenant', 'labels', 'id'],
  assigned: [],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
} as const satisfies Kind;

/** A field of a port or device that names the chain which decides there. */
export const filter = (about: string) => id('chain').optional().describe(about);

/**
 * A chain in use is not deleted: what it kept out would come in. Who wants it gone takes it away
 * from where it is used first.
 */
export const FILTER = { kind: 'chain', onDelete: 'refuse' } as const satisfies Reference;

/** Filters are chains of the owner, or of no tenant: those an operator puts in front of tenants. */
export function filterFaults(
  object: StoredObject,
  fields: readonly string[],
  view: View,
  atBridge = false,
): Fault[] {
  const faults: Fault[] = [];
  for (const path of fields) {
    const chain = (object as unknown as Readonly<Record<string, string | undefined>>)[path];
    const owner = chain === undefined ? undefined : view.get('chain', chain);
    if (owner?.tenant !== undefined && owner.tenant !== object.tenant)
      faults.push({ path, message: 'must be a chain of the same tenant, or of none' });
    if (atBridge && chain !== undefined && translates(view, chain))
      faults.push({ path, message: ROUTERS_ONLY });
  }
  return faults;
}
