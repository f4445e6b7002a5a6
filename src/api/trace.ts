/**
 * `POST /v1/trace`: what the virtual network would do with a frame, by the same walk as the
 * agents'.
 */
import { z } from 'zod';
import type { TraceResult } from '#client/types.ts';
import type { DpPort } from '#flow/flow.ts';
import { interpret } from '#flow/interpret.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { headersOf, parseKey } from '#flow/parse.ts';
import { packetSize } from '#flow/size.ts';
import { describeFrame } from '#net/text.ts';
import type { PortId } from '#virtual/ids.ts';
import { fieldsOf } from '#virtual/match.ts';
import type { Outcome } from '#virtual/outcome.ts';
import { simulate } from '#virtual/simulate.ts';
import type { Topology } from '#virtual/topology.ts';
import { describeOutcome, type Known, knowsWhole } from '#virtual/trace.ts';
import { find, type Sight, sightOf } from './lists.ts';
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

/** The ports that get the frame; of a flood those that are up somewhere. */
function recipients(topology: Topology, { verdict }: Outcome): string[] {
  if (verdict.kind !== 'forward') return [];
  const ports = new Set<PortId>();
  for (const to of verdict.to)
    if ('port' in to) ports.add(to.port);
    else
      for (const id of topology.bridge(to.flood)?.ports ?? [])
        if (id !== to.except && isReached(topology, id)) ports.add(id);
  return [...ports].sort();
}

function isReached(topology: Topology, id: PortId): boolean {
  const port = topology.port(id);
  return (
    port?.adminStateUp === true && port.peer === undefined && topology.location(id) !== undefined
  );
}

/** Which port of the datapath it is does not matter for the bytes. */
const SOMEWHERE = 0 as DpPort;

/** The frame as the first recipient gets it, before it is cut; undefined when nobody does. */
function rewritten(
  frame: Uint8Array,
  { verdict, rewrites, guards }: Outcome,
): Uint8Array | undefined {
  const to = verdict.kind === 'forward' ? verdict.to[0] : undefined;
  if (to === undefined) return undefined;
  const [copy] = interpret(frame, {
    ...rewrites,
    ...(guards.decTtl > 0 && { decTtl: guards.decTtl }),
    ...(to.vlan !== undefined && { vlan: to.vlan & 0xfff }),
    outputs: [{ port: SOMEWHERE }],
  });
  return copy?.frame;
}

/**
 * What the caller may know of it: a way may lead through devices of others. That it does, and what
 * becomes of the frame there, is told; names, addresses and routes of others are not.
 */
function resultOf(
  topology: Topology,
  { frame, outcome, sees }: { frame: Uint8Array; outcome: Outcome; sees: Sight },
): TraceResult {
  const { verdict } = outcome;
  const knows: Known = (kind, id) => {
    const object = topology.get(kind, id);
    return object !== undefined && sees(kind, object);
  };
  const leaves = knowsWhole(verdict, knows) ? rewritten(frame, outcome) : undefined;
  const sends = outcome.sends.filter(({ port }) => knows('port', port));
  return {
    revision: topology.revision,
    lines: describeOutcome(outcome, topology, knows),
    verdict: verdict.kind,
    ...(verdict.kind === 'drop' && { reason: verdict.reason }),
    ports: recipients(topology, outcome).filter((id) => knows('port', id)),
    ...(leaves !== undefined && { rewritten: leaves.toHex() }),
    sends: sends.map((sent) => ({
      port: sent.port,
      frame: sent.frame.toHex(),
      text: describeFrame(sent.frame),
    })),
    fields: fieldsOf(outcome.seen),
  };
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
    const sees = sightOf(caller.token, topology);
    const port = find(topology, 'port', body.port, sees);
    const bytes = Uint8Array.fromHex(body.frame);
    const key = new Uint8Array(KEY_SIZE);
    if (!parseKey(bytes, key)) throw refuseField('frame', 'is too short to be an Ethernet frame');
    const outcome = simulate({
      topology,
      // Budgets are the agents'; here nothing is spent.
      state: {
        macs: node.learned,
        neighbours: node.learned,
        errors: { mayTell: () => true },
      },
      headers: headersOf(key),
      bytes,
      size: packetSize(bytes, 0),
      ingress: { port: port.id as PortId },
    });
    return json(resultOf(topology, { frame: bytes, outcome, sees }));
  },
});
