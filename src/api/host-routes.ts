/**
 * What only the agent of a host may say, each for itself: where a port is up, how it fares, what it
 * learned.
 */
import { z } from 'zod';
import type { Token } from '#client/types.ts';
import { Location } from '#virtual/location/location.ts';
import { NatBlock } from '#virtual/nat-block/nat-block.ts';
import { NAT_BLOCK_ASK_MAX } from '#virtual/plan/nat-blocks.ts';
import { PortSchema } from '#virtual/port/port.ts';
import { ReportBody } from './hosts.ts';
import { LearnBody } from './learned-rows.ts';
import type { Node } from './node.ts';
import { Refusal } from './problems.ts';
import { commit, DRY_RUN, dryRun, isDryRun } from './commit.ts';
import { json, readBody, type Route } from './route.ts';

export const LocateBody = z
  .strictObject({
    interface: PortSchema.shape.interface.unwrap(),
    up: z.boolean().default(true).describe('False: the interface is gone, or has no carrier.'),
    mtu: Location.shape.mtu,
  })
  .meta({ id: 'Locate', description: 'The interface that carries the port on the calling host.' });

export const WantedPortsBody = z
  .strictObject({
    router: NatBlock.shape.router.describe('The router that translates.'),
    address: NatBlock.shape.address,
    ports: z.int().min(1).max(NAT_BLOCK_ASK_MAX).describe('How many.'),
    first: NatBlock.shape.first.describe('Of those from this port on.'),
    last: NatBlock.shape.last.describe('To this one; 0: the address, for protocols without ports.'),
  })
  .meta({ id: 'WantedPorts', description: 'Public ports that the calling host has need of.' });

function hostOf(token: Token): string {
  if (token.role !== 'host') throw new Error('the route is for hosts only');
  return token.host;
}

const portsRoutes = (node: Node): Route[] => [
  {
    method: 'POST',
    path: '/v1/nat-blocks',
    operationId: 'own-ports',
    about: 'Public ports of an address for the calling host: so many, or as many as are fair.',
    who: ['host'],
    input: 'WantedPorts',
    output: 'Written',
    query: [DRY_RUN],
    handle: async (call) => {
      const body = await readBody(call.request, WantedPortsBody);
      const operation = { op: 'create', kind: 'nat-block', body } as const;
      const written = isDryRun(call)
        ? dryRun(node, call, [operation])
        : await commit(node, call, [operation]);
      return json(written, { 'x-revision': String(written.revision) }, isDryRun(call) ? 200 : 201);
    },
  },
  {
    method: 'DELETE',
    path: '/v1/nat-blocks/:id',
    operationId: 'return-ports',
    about: 'The calling host owns these public ports no more.',
    who: ['host'],
    output: 'Written',
    query: [DRY_RUN],
    handle: async (call) => {
      const operation = { op: 'delete', kind: 'nat-block', id: call.params['id'] ?? '' } as const;
      const written = isDryRun(call)
        ? dryRun(node, call, [operation])
        : await commit(node, call, [operation]);
      return json(written, { 'x-revision': String(written.revision) });
    },
  },
];

export const hostRoutes = (node: Node): Route[] => [
  ...portsRoutes(node),
  {
    method: 'PUT',
    path: '/v1/locations/:port',
    operationId: 'locate-port',
    about: 'The port is up on the calling host, or is not any more.',
    who: ['host'],
    input: 'Locate',
    output: 'Written',
    query: [DRY_RUN],
    handle: async (call) => {
      const body = await readBody(call.request, LocateBody);
      const id = call.params['port'] ?? '';
      const operation = { op: 'update', kind: 'location', id, body } as const;
      const written = isDryRun(call)
        ? dryRun(node, call, [operation])
        : await commit(node, call, [operation]);
      return json(written, { 'x-revision': String(written.revision) });
    },
  },
  {
    method: 'PUT',
    path: '/v1/hosts/:id/report',
    operationId: 'report-host',
    about: 'How the calling host (its id, name, or self) fares; keeps it alive.',
    who: ['host'],
    input: 'AgentReport',
    handle: async ({ request, caller, params }) => {
      const host = hostOf(caller.token);
      const report = await readBody(request, ReportBody);
      const named = node.replica.topology.get('host', host);
      if (named === undefined) throw new Refusal(404, { detail: `no host ${host}` });
      if (![host, named.name, 'self'].includes(params['id'] ?? ''))
        throw new Refusal(403, { detail: 'a host may report for itself only' });
      await node.hosts.report(host, report);
      return new Response(null, { status: 204 });
    },
  },
  {
    method: 'POST',
    path: '/v1/learned',
    operationId: 'learn',
    about:
      'MACs and neighbours that the calling host has learned at its ports, renews, or has seen go.',
    who: ['host'],
    input: 'Learn',
    handle: async ({ request, caller }) => {
      await node.learned.learn(hostOf(caller.token), await readBody(request, LearnBody));
      return new Response(null, { status: 204 });
    },
  },
];
