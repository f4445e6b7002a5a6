/**
 * `POST /v1/trace`: what the virtual network would do with a frame, by the same walk as the
 * agents'.
 */
import { z } from 'zod';
import type { TraceResult } from '#client/types.ts';
import { headersOf, parseKey } from '#flow/parse.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import type { PortId } from '#virtual/ids.ts';
import { fieldsOf } from '#virtual/match.ts';
import type { Outcome } from '#virtual/outcome.ts';
import { simulate } from '#virtual/simulate.ts';
import type { Topology } from '#virtual/topology.ts';
import { describeOutcome } from '#virtual/trace.ts';
import { find, sightOf } from './lists.ts';
import type { Node } from './node.ts';
import { refuseField } from './problems.ts';
import { json, NOT_HOSTS, readBody, type Route } from './route.ts';

export const TRACE_FRAME_BYTES_MAX = 65_535;

export const TraceBody = z
  .strictObject({
    port: z.string().min(1, 'must be the id or the unique name of a port'),
    frame: z
      .string()
      .regex(/^([0-9a-fA-F]{2})+$/, 'must be the bytes of a frame in hex')
      .max(2 * TRACE_FRAME_BYTES_MAX, `must have at most ${TRACE_FRAME_BYTES_MAX} bytes`),
  })
  .meta({ id: 'Trace', description: 'A frame that enters at a port.' });

/** The ports that get the frame: those that are up somewhere. */
function recipients(topology: Topology, { verdict }: Outcome): string[] {
  if (verdict.kind !== 'forward') return [];
  if ('port' in verdict.to) return [verdict.to.port];
  const { flood, except } = verdict.to;
  const reached = (id: PortId): boolean =>
    id !== except &&
    topology.port(id)?.adminStateUp === true &&
    topology.location(id) !== undefined;
  return [...(topology.bridge(flood)?.ports ?? [])].filter(reached).sort();
}

export const traceRoute = (node: Node): Route => ({
  method: 'POST',
  path: '/v1/trace',
  operationId: 'trace',
  about: 'What happens to a frame that enters at a port, and why.',
  who: NOT_HOSTS,
  input: 'Trace',
  output: 'TraceResult',
  handle: async ({ request, caller }) => {
    const body = await readBody(request, TraceBody);
    const { topology } = node.replica;
    const port = find(topology, 'port', body.port, sightOf(caller.token, topology));
    const bytes = Uint8Array.fromHex(body.frame);
    const key = new Uint8Array(KEY_SIZE);
    if (!parseKey(bytes, key)) throw refuseField('frame', 'is too short to be an Ethernet frame');
    const ingress = { port: port.id as PortId };
    const outcome = simulate({
      topology,
      learned: node.learned,
      headers: headersOf(key),
      bytes,
      ingress,
    });
    const { verdict } = outcome;
    const result: TraceResult = {
      revision: topology.revision,
      lines: describeOutcome(outcome, topology),
      verdict: verdict.kind,
      ...(verdict.kind === 'drop' && { reason: verdict.reason }),
      ports: recipients(topology, outcome),
      fields: fieldsOf(outcome.seen),
    };
    return json(result);
  },
});
