/**
 * A member of a pool: its schema, its words, its references. Data only; the web may import it.
 */
import { z } from 'zod';
import { id, labels, name, objectName, unicastIp } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';

/** Members of one pool. */
export const MEMBERS_PER_POOL_MAX = 1_000;
/** The largest weight of a member. */
export const MEMBER_WEIGHT_MAX = 256;

export const PoolMember = z
  .strictObject({
    id: id('pool-member'),
    name: objectName.optional().describe('A name, if it is to have one.'),
    tenant: name.optional().describe('The tenant that owns it: that of its pool.'),
    labels,
    pool: id('pool').describe('The pool it is in.'),
    address: unicastIp.describe('Its address, as the router of the load balancer reaches it.'),
    port: z.int().min(1).max(65_535).describe('The port where it serves.'),
    weight: z
      .int()
      .min(0)
      .max(MEMBER_WEIGHT_MAX)
      .default(1)
      .describe('Its part of new connections among the members; 0: none, and those it has go on.'),
    adminStateUp: z
      .boolean()
      .default(true)
      .describe('Down: no new connections; those that it has go on.'),
  })
  .meta({ id: 'PoolMember', description: 'One server of a pool.' });
export type PoolMember = z.output<typeof PoolMember>;

const isOfSix = (text: string): boolean => text.includes(':');

function check(next: StoredObject, view: View): Fault[] {
  const member = next as unknown as PoolMember;
  const pool = view.get('pool', member.pool);
  if (pool === undefined) return [];
  const faults: Fault[] = [];
  if (pool.tenant !== member.tenant)
    faults.push({ path: 'tenant', message: 'must be the tenant of the pool' });
  const all = view.referrers('pool-member', 'pool', member.pool);
  if (all.length > MEMBERS_PER_POOL_MAX) {
    const message = `has ${MEMBERS_PER_POOL_MAX} members, and cannot have more`;
    faults.push({ path: 'pool', message });
  }
  for (const other of all) {
    const { id: of, address, port } = view.get('pool-member', other) as unknown as PoolMember;
    if (of !== member.id && address === member.address && port === member.port)
      faults.push({ path: 'address', message: 'is in the pool already, with this port' });
  }
  for (const vip of view.referrers('vip', 'pool', member.pool)) {
    const { address, name: called } = view.get('vip', vip) as StoredObject & { address: string };
    if (isOfSix(address) !== isOfSix(member.address))
      faults.push({ path: 'address', message: `is not of the family of VIP ${called ?? vip}` });
  }
  return faults;
}

export const poolMemberKind = {
  name: 'pool-member',
  path: 'pool-members',
  about: 'One server of a pool.',
  schema: PoolMember,
  references: { pool: { kind: 'pool', onDelete: 'cascade' } },
  columns: ['name', 'pool', 'address', 'port', 'weight', 'adminStateUp', 'labels', 'id'],
  assigned: [],
  immutable: ['pool', 'tenant', 'address', 'port'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
