/** What hosts have found of the members that they check. */
import { z } from 'zod';
import { MEMBERS_REPORTED_MAX, type HealthReported } from '#client/types.ts';
import { id } from '#virtual/fields.ts';
import { MemberHealth } from '#virtual/member-health/member-health.ts';
import { CHECK_ROWS_MAX, mayReport, planReports } from '#virtual/plan/member-health.ts';
import { contextOf, signedBy } from './commit.ts';
import type { Node } from './node.ts';
import { json, readBody, type Route } from './route.ts';

export const HealthReportsBody = z
  .strictObject({
    reports: z
      .array(
        z.strictObject({
          member: id('pool-member').describe('The member.'),
          status: z.enum(['up', 'down']).describe('up or down.'),
          reason: MemberHealth.shape.reason.describe('What the check has found.'),
        }),
      )
      .max(MEMBERS_REPORTED_MAX, `must hold at most ${MEMBERS_REPORTED_MAX} reports`),
  })
  .meta({ id: 'HealthReports', description: 'What the calling host found of members.' });

export const HealthReportedBody = z
  .strictObject({
    refused: z
      .array(id('pool-member'))
      .describe('Members that the host does not check, or that are not there.'),
    revision: z.int().min(0).describe('The revision at which the others are written.'),
  })
  .meta({ id: 'HealthReported', description: 'What became of reports.' });

export const memberRoutes = (node: Node): Route[] => [
  {
    method: 'POST',
    path: '/v1/member-health/reports',
    operationId: 'report-health',
    about: 'What the calling host has found of members of pools that it checks.',
    who: ['host'],
    input: 'HealthReports',
    output: 'HealthReported',
    handle: async (call) => {
      const { token } = call.caller;
      if (token.role !== 'host') throw new Error('the route is for hosts only');
      const { host } = token;
      const { reports } = await readBody(call.request, HealthReportsBody);
      const refused = new Set<string>();
      let { revision } = node.replica;
      // Each stands by itself: what is more than a transaction takes goes into another.
      for (let from = 0; from < reports.length; from += CHECK_ROWS_MAX) {
        const part = reports.slice(from, from + CHECK_ROWS_MAX);
        const written = await node.writes.write((topology, keys) => {
          for (const { member } of part)
            if (mayReport(topology, host, member)) refused.delete(member);
            else refused.add(member);
          return planReports(topology, part, { ...contextOf(call, keys), host, now: node.wall() });
        }, signedBy(call));
        revision = written.revision;
      }
      const answer: HealthReported = { refused: [...refused], revision };
      return json(answer, { 'x-revision': String(revision) });
    },
  },
];
