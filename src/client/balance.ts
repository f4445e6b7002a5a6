/**
 * The words for looking at a load balancer at work: how its VIPs, pools and members fare, and what
 * went to each.
 */
import { z } from 'zod';
import type { Requests } from './request.ts';

const id = z.uuid();
const count = z.int().min(0);

export const BalanceStatsAsk = z.strictObject({
  kind: z.literal('balance-stats'),
  loadBalancer: id,
  /** Only this one of its VIPs. */
  vip: id.optional(),
});
const COUNTED = {
  current: count.describe('Connections that there are now, and that nobody has closed.'),
  opened: count.describe('Connections that began since each agent started.'),
  bytesIn: count.describe('Bytes from clients to members.'),
  bytesOut: count.describe('Bytes from members to clients.'),
  packetsIn: count,
  packetsOut: count,
};
/** Of one member by way of one VIP, on one host. */
export const BalanceStatsPart = z.object({ vip: id, member: id, ...COUNTED });

/** A member's status where nobody checks it, too. */
export const MEMBER_STATUSES = ['up', 'down', 'unknown', 'none'] as const;
export type MemberStatus = (typeof MEMBER_STATUSES)[number];
/**
 * `degraded`: new connections are served, but not by all that should, or not of every VIP. `down`:
 * no VIP has a member for them.
 */
export const OPERATING = ['up', 'degraded', 'down', 'disabled'] as const;

const MemberBody = z.object({
  id: z.string(),
  name: z.string().optional(),
  address: z.string(),
  port: z.int(),
  weight: z.int(),
  adminStateUp: z.boolean(),
  status: z.enum(MEMBER_STATUSES).describe('What checks have found; none: nobody checks it.'),
  reason: z.string().optional().describe('What the last check that changed it has found.'),
  since: z.int().optional().describe('Since when, in milliseconds of Unix time.'),
  host: z.string().optional().describe('The name of the host that checks it; operators only.'),
  draining: z.boolean().describe('It gets no new connections, whatever checks find.'),
  ...COUNTED,
});
const PoolBody = z.object({
  id: z.string(),
  name: z.string(),
  adminStateUp: z.boolean(),
  backupPool: z.string().optional(),
  ...COUNTED,
  members: z.array(MemberBody),
});
const VipBody = z.object({
  id: z.string(),
  name: z.string(),
  address: z.string(),
  port: z.int(),
  protocol: z.string(),
  adminStateUp: z.boolean(),
  pool: z.string().describe('The name of its pool.'),
  served: z.boolean().describe('Some member takes new connections, of the backup pool maybe.'),
  ...COUNTED,
});
export const BalancerStatusBody = z
  .object({
    loadBalancer: z.object({ id: z.string(), name: z.string(), adminStateUp: z.boolean() }),
    operating: z.enum(OPERATING),
    timeMs: z.number().describe('When this was looked at: milliseconds since 1970.'),
    vips: z.array(VipBody),
    pools: z.array(PoolBody),
    missing: z.array(
      z.object({ host: z.string(), why: z.string().describe('Why it does not answer.') }),
    ),
  })
  .meta({ id: 'BalancerStatus', description: 'How a load balancer fares, on all hosts.' });
export type BalancerStatus = z.output<typeof BalancerStatusBody>;
export type VipStatus = BalancerStatus['vips'][number];
export type PoolStatus = BalancerStatus['pools'][number];
export type MemberRow = PoolStatus['members'][number];
export type Counted = Pick<VipStatus, keyof typeof COUNTED>;

/** Part of `Client`. */
export interface BalanceQuestions {
  /** By id or unique name. */
  balancerStatus(loadBalancer: string): Promise<BalancerStatus>;
}

/** Agents are given some seconds to answer. */
const QUESTION_MS = 30_000;

export const balanceQuestions = ({ ask }: Requests): BalanceQuestions => ({
  balancerStatus: (loadBalancer) =>
    ask(
      'GET',
      `/v1/load-balancers/${encodeURIComponent(loadBalancer)}/status`,
      undefined,
      QUESTION_MS,
    ),
});
