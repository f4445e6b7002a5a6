/**
 * A pool of members that serve alike: its schema, its words, its references. Data only; the web may
 * import it.
 */
import { z } from 'zod';
import { id, labels, name, objectName } from '../fields.ts';
import type { Fault, Kind, StoredObject, View } from '../kind.ts';
import { tenantFaults } from '../load-balancer/load-balancer.ts';

/**
 * Places of a table, all prime: with n places each of the members has, by weight, one place more or
 * less than its share (Eisenbud et al., Maglev, NSDI 2016, §3.4).
 */
export const TABLE_SIZES = [1_021, 4_093, 16_381, 65_537] as const;
const DEFAULT_SIZE = 16_381;

export const Pool = z
  .strictObject({
    id: id('pool'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it: that of its load balancer.'),
    labels,
    loadBalancer: id('load-balancer').describe('The load balancer it is of.'),
    healthMonitor: id('health-monitor')
      .optional()
      .describe('How its members are checked; without, all of them count as up.'),
    adminStateUp: z
      .boolean()
      .default(true)
      .describe('Down: no new connections; those that there are go on.'),
    whenDown: z
      .enum(['reject', 'drop'])
      .default('reject')
      .describe(
        'What becomes of new connections when no member can take one, nor one of the backup pool. reject: the client is told; drop: it is not.',
      ),
    backupPool: id('pool')
      .optional()
      .describe('The pool that takes new connections while no member of this one can.'),
    onMemberDown: z
      .enum(['rebalance', 'keep'])
      .default('rebalance')
      .describe(
        'What becomes of the connections of a member that its monitor finds down. rebalance: with their next packet those of TCP are reset, and others go to another member; keep: they stay.',
      ),
    tableSize: z
      .literal(TABLE_SIZES, { error: `must be one of ${TABLE_SIZES.join(', ')}` })
      .default(DEFAULT_SIZE)
      .describe(
        'Places in the table that connections are shared by: shares are exact to one place. More of them cost memory on hosts.',
      ),
  })
  .meta({ id: 'Pool', description: 'Members that serve alike.' });
export type Pool = z.output<typeof Pool>;

/** A backup has none itself: two pools are asked at most. */
function backupFaults(pool: Pool, view: View): Fault[] {
  const fault = (message: string): Fault[] => [{ path: 'backupPool', message }];
  if (pool.backupPool === undefined) return [];
  if (pool.backupPool === (pool.id as string)) return fault('must be another pool');
  const backup = view.get('pool', pool.backupPool) as unknown as Pool | undefined;
  if (backup === undefined) return [];
  if (backup.loadBalancer !== pool.loadBalancer)
    return fault('must be a pool of the same load balancer');
  if (backup.backupPool !== undefined) return fault(`has a backup itself: ${backup.name}`);
  if (view.referrers('pool', 'backupPool', pool.id).length > 0)
    return fault('must not be given to a pool that is a backup itself');
  return [];
}

function check(next: StoredObject, view: View): Fault[] {
  const pool = next as unknown as Pool;
  const faults = [...tenantFaults(next, view), ...backupFaults(pool, view)];
  const monitor = view.get('health-monitor', pool.healthMonitor ?? '');
  if (monitor?.tenant !== undefined && monitor.tenant !== pool.tenant)
    faults.push({ path: 'healthMonitor', message: 'must be one of the same tenant, or of none' });
  return faults;
}

export const poolKind = {
  name: 'pool',
  path: 'pools',
  about: 'Members that serve alike.',
  schema: Pool,
  references: {
    loadBalancer: { kind: 'load-balancer', onDelete: 'cascade' },
    healthMonitor: { kind: 'health-monitor', onDelete: 'clear' },
    backupPool: { kind: 'pool', onDelete: 'clear' },
  },
  columns: [
    'name',
    'tenant',
    'loadBalancer',
    'healthMonitor',
    'backupPool',
    'whenDown',
    'adminStateUp',
    'labels',
    'id',
  ],
  assigned: [],
  immutable: ['loadBalancer', 'tenant'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
