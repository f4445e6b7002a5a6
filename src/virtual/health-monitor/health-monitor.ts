/**
 * How members of pools are checked: its schema, its words. Data only; the web may import it.
 *
 * Checks go from a namespace of a host through the router of the load balancer to the member, as
 * packets of clients do.
 */
import { z } from 'zod';
import { id, labels, name, objectName } from '../fields.ts';
import type { Fault, Kind, StoredObject } from '../kind.ts';

/** Characters of a path, of a host name, of a text to be found. */
const TEXT_MAX = 255;
/** Seconds between checks at most. */
const INTERVAL_MAX = 3_600;
const COUNT_MAX = 10;
const CODES = /^[1-5]\d\d(?:-[1-5]\d\d)?(?:,[1-5]\d\d(?:-[1-5]\d\d)?)*$/;

export const MONITOR_TYPES = ['tcp', 'http', 'https', 'udp', 'ping'] as const;
const ofHttp = {
  path: z
    .string()
    .max(TEXT_MAX, `must have at most ${TEXT_MAX} characters`)
    .regex(/^\/[!-~]*$/, 'must begin with / and hold visible ASCII characters only')
    .optional()
    .describe('Of http and https: what is asked for; / when not given.'),
  method: z.enum(['GET', 'HEAD']).optional().describe('Of http and https: GET when not given.'),
  codes: z
    .string()
    .regex(CODES, 'must be codes, or ranges of them: 200, 200,204, 200-299')
    .optional()
    .describe('Of http and https: what a healthy member answers; 200 when not given.'),
  body: z
    .string()
    .min(1, 'must not be empty')
    .max(TEXT_MAX, `must have at most ${TEXT_MAX} characters`)
    .optional()
    .describe('Of http and https: a text that is in the first 16 KiB of the answer.'),
  hostName: z
    .string()
    .regex(/^[A-Za-z0-9.-]{1,253}$/, 'must be a name such as www.example.org')
    .optional()
    .describe('Of http and https: the host that is asked for; the address when not given.'),
};

export const HealthMonitor = z
  .strictObject({
    id: id('health-monitor'),
    name: objectName.describe('Its name; unique names can stand for the id.'),
    tenant: name.optional().describe('The tenant that owns it.'),
    labels,
    type: z
      .enum(MONITOR_TYPES)
      .default('tcp')
      .describe(
        'tcp: a connection opens; http, https: an answer is as expected (certificates are not verified); udp: nobody says that the port is closed; ping: an echo comes back.',
      ),
    interval: z.int().min(1).max(INTERVAL_MAX).default(5).describe('Seconds between checks.'),
    timeout: z
      .int()
      .min(1)
      .max(INTERVAL_MAX)
      .default(2)
      .describe('Seconds after which a check has failed; not more than the interval.'),
    rise: z
      .int()
      .min(1)
      .max(COUNT_MAX)
      .default(2)
      .describe('Checks in a row that succeed until a member that was down is up.'),
    fall: z
      .int()
      .min(1)
      .max(COUNT_MAX)
      .default(3)
      .describe('Checks in a row that fail until a member that was up is down.'),
    ...ofHttp,
    adminStateUp: z
      .boolean()
      .default(true)
      .describe('Down: nobody checks, and members count as up.'),
  })
  .meta({ id: 'HealthMonitor', description: 'How members of pools are checked.' });
export type HealthMonitor = z.output<typeof HealthMonitor>;

function check(next: StoredObject): Fault[] {
  const monitor = next as unknown as HealthMonitor;
  const faults: Fault[] = [];
  if (monitor.timeout > monitor.interval)
    faults.push({ path: 'timeout', message: 'must not be more than the interval' });
  if (monitor.type === 'http' || monitor.type === 'https') return faults;
  for (const path of Object.keys(ofHttp) as (keyof typeof ofHttp)[])
    if (monitor[path] !== undefined)
      faults.push({ path, message: `has no meaning in a monitor of type ${monitor.type}` });
  return faults;
}

export const healthMonitorKind = {
  name: 'health-monitor',
  path: 'health-monitors',
  about: 'How members of pools are checked.',
  schema: HealthMonitor,
  references: {},
  columns: [
    'name',
    'tenant',
    'type',
    'interval',
    'timeout',
    'rise',
    'fall',
    'adminStateUp',
    'labels',
    'id',
  ],
  assigned: [],
  immutable: ['tenant'],
  writer: 'tenant',
  operatorFields: [],
  check,
} as const satisfies Kind;
