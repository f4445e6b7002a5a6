/**
 * What checks have found of a member, and which host checks it. The id is the member's.
 *
 * In the order of the topology, so that all agents choose alike at one revision; it stays when
 * nobody checks: the last word stands until there is another one.
 */
import { z } from 'zod';
import { id } from '../fields.ts';
import type { Kind } from '../kind.ts';

/** Characters of a reason. */
export const HEALTH_REASON_MAX = 200;

export const MemberHealth = z
  .strictObject({
    id: id('pool-member'),
    member: id('pool-member').describe('The member.'),
    host: id('host').optional().describe('The host that checks it; none: nobody does.'),
    status: z
      .enum(['unknown', 'up', 'down'])
      .default('unknown')
      .describe('unknown: nothing was found yet, and it counts as up.'),
    reason: z
      .string()
      .max(HEALTH_REASON_MAX)
      .default('')
      .describe('What checks have found, that it is so.'),
    since: z.int().min(0).default(0).describe('Since when, in milliseconds of Unix time.'),
  })
  .meta({ id: 'MemberHealth', description: 'What checks have found of a member.' });
export type MemberHealth = z.output<typeof MemberHealth>;

export const memberHealthKind = {
  name: 'member-health',
  path: 'member-health',
  about: 'What checks have found of a member.',
  schema: MemberHealth,
  references: {
    member: { kind: 'pool-member', onDelete: 'cascade' },
    host: { kind: 'host', onDelete: 'clear' },
  },
  columns: ['member', 'status', 'reason', 'since', 'host'],
  assigned: ['member', 'host'],
  immutable: ['member'],
  writer: 'host',
  operatorFields: [],
} as const satisfies Kind;
