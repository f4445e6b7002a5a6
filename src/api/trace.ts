/**
 * `POST /v1/trace`: what the virtual network would do with a frame, by the same walk as the
 * agents'.
 */
import { assumed, type ConnectionState } from '#virtual/connection.ts';
import { z } from 'zod';
import type { TraceResult } from '#client/trace.ts';
import type { DpPort } from '#flow/flow.ts';
import { interpret } from '#flow/interpret.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { headersOf, parseKey } from '#flow/parse.ts';
import { place, type Placed } from '#flow/placed.ts';
import { packetSize } from '#flow/size.ts';
import { describeFrame } from '#net/text.ts';
import { entitled, objectKey } from '#virtual/entitlement.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import { fieldSet, fieldsOf, type Headers } from '#virtual/match.ts';
import { ANY_PORTS } from '#virtual/nat/any-ports.ts';
import { observe, type Note } from '#virtual/observe.ts';
import type { Outcome } from '#virtual/outcome.ts';
import type { Topology } from '#virtual/topology.ts';
import { describeOutcome, knowsWhole } from '#virtual/trace.ts';
import { find, sightOf } from './lists.ts';
import type { Node } from './node.ts';
import { Refusal, refuseField } from './problems.ts';
import { type Call, json, NOT_HOSTS, readBody, type Route } from './route.ts';
import {
  flowOf,
  hostName,
  lastLooks,
  readerOf,
  stepsOf,
  wayOf,
  type DecidedOutcome,
  type Reader,
} from './trace-text.ts';

/** Bytes of a frame to trace; a longer one is refused. */
export const TRACE_FRAME_BYTES_MAX = 65_535;

/** A frame that enters at a port. */
export const FrameBody = z.strictObject({
  port: z.string().min(1, 'must be the id or the unique name of a port'),
  frame: z
    .string()
    .regex(/^([0-9a-fA-F]{2})+$/, 'must be the bytes of a frame in hex')
    .max(2 * TRACE_FRAME_BYTES_MAX, `must have at most ${TRACE_FRAME_BYTES_MAX} bytes`),
});
export const TraceBody = FrameBody.extend({
  host: z
    .string()
    .min(1, 'must be the id or the unique name of a host')
    .optional()
    .describe('Its agent decides, on what it knows now; without, the API does.'),
  at: z
    .int()
    .min(1, 'must be a revision')
    .optional()
    .describe('On the topology as it was then; what was learned is as it is now.'),
  connection: z
    .enum(['new', 'established'])
    .optional()
    .describe('Which state its connection has; new without. A host knows that itself.'),
}).meta({ id: 'Trace', description: 'A frame that enters at a port.' });

/** The ports that get the frame; of a flood those that are up somewhere. */
function recipients(topology: Topology, { verdict }: DecidedOutcome): string[] {
  if (verdict.kind !== 'forward') return [];
  const ports = new Set<PortId>();
  for (const to of verdict.to)
    if ('port' in to) ports.add(to.port);
    else
      for (const id of topology.bridge(to.flood)?.ports ?? [])
        if (id !== to.except && to.not?.includes(id) !== true && isReached(topology, id))
          ports.add(id);
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
  { verdict, rewrites, guards }: DecidedOutcome,
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

/** What somebody decided about a frame: this node, or the agent of a host. */
export interface Decided {
  readonly revision: number;
  /** Whose agent decided. */
  readonly host: HostId | undefined;
  readonly outcome: DecidedOutcome & Pick<Outcome, 'sends'>;
  readonly notes: readonly Note[];
  readonly notesLeftOut: number;
  /** Where its copies leave, if the port where it enters is up on a host. */
  readonly placed: Placed | undefined;
}
export interface TracedFrame {
  readonly port: PortId;
  readonly bytes: Uint8Array;
  readonly headers: Headers;
}

/** On what a node decides. */
interface Here {
  readonly node: Node;
  readonly topology: Topology;
  readonly at: number | undefined;
  readonly connection: ConnectionState | undefined;
}

/** On this node's copy, with what all hosts have learned. */
function decideHere(
  { node, topology, at, connection }: Here,
  { port, bytes, headers }: TracedFrame,
): Decided {
  const ingress = { port };
  const { outcome, notes, notesLeftOut } = observe({
    topology,
    // Budgets are the agents'; here nothing is spent.
    // Of a flood all ports are looked at, wherever they are.
    state: {
      macs: node.learned,
      neighbours: node.learned,
      errors: { mayTell: () => true },
      connections: assumed(connection),
      publicPorts: ANY_PORTS,
      isHere: () => true,
    },
    headers,
    bytes,
    size: packetSize(bytes, 0),
    ingress,
  });
  const host = topology.location(port)?.host;
  const carries = (id: PortId): boolean =>
    host !== undefined && topology.location(id)?.host === host && node.hosts.carries(host, id);
  const placed = host && place(outcome, ingress, { host, topology, carries });
  const revision = at ?? topology.revision;
  return { revision, host: undefined, outcome, notes, notesLeftOut, placed };
}

/** The topology as it was. Throws a Refusal where it is not kept, or not there yet. */
async function topologyAt({ history, replica }: Node, revision: number): Promise<Topology> {
  if (revision > replica.revision)
    throw refuseField('at', `is not reached yet: the newest revision is ${replica.revision}`);
  const old = await history.at(revision);
  if (old.topology !== undefined) return old.topology;
  throw refuseField('at', `is not kept any more: the oldest revision that is, is ${old.oldest}`);
}

/** By the agent of a host, on what that knows now. Throws a Refusal. */
async function decideThere(
  node: Node,
  host: HostId,
  { port, bytes }: TracedFrame,
  { request, caller }: Call,
): Promise<Decided> {
  const { topology } = node.replica;
  if (!entitled(topology, host).has(objectKey('port', port)))
    throw new Refusal(409, {
      errors: [{ path: 'host', message: 'has no part in the network of that port' }],
    });
  const ask = { kind: 'decide', port, frame: bytes.toHex() } as const;
  const [part] = await node.asks.one(host, ask, { signal: request.signal, caller: caller.id });
  if (part === undefined) throw new Refusal(503, { detail: 'the agent answered nothing' });
  const { fields, sends, notes, notesLeftOut, placed, revision, ...rest } = part;
  const outcome = {
    ...rest,
    seen: fieldSet(fields),
    sends: sends.map((sent) => ({ ...sent, frame: Uint8Array.fromHex(sent.frame) })),
  } as unknown as Decided['outcome'];
  return {
    revision,
    host,
    outcome,
    notes: notes as readonly Note[],
    notesLeftOut,
    placed: placed as Placed | undefined,
  };
}

/**
 * What the caller may know of it: a way may lead through devices of others. That it does, and what
 * becomes of the frame there, is told; names, addresses and routes of others are not.
 */
function resultOf(reader: Reader, { bytes, headers }: TracedFrame, decided: Decided): TraceResult {
  const { topology, knows } = reader;
  const { outcome, notes, placed } = decided;
  const { verdict } = outcome;
  const leaves = knowsWhole(verdict, knows) ? rewritten(bytes, outcome) : undefined;
  const sends = outcome.sends.filter(({ port }) => knows('port', port));
  const host = decided.host && hostName(reader, decided.host) && decided.host;
  return {
    revision: decided.revision,
    ...(host !== undefined && { host }),
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
    way: wayOf(reader, outcome),
    steps: stepsOf(reader, outcome, notes),
    looked: lastLooks(reader, outcome, notes),
    looksLeftOut: decided.notesLeftOut,
    flow: flowOf(reader, { headers, outcome, placed }),
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
  handle: async (call) => {
    const { request, caller } = call;
    const body = await readBody(request, TraceBody);
    if (body.at !== undefined && body.host !== undefined)
      throw refuseField('at', 'must be left out with host: an agent has only the newest topology');
    if (body.connection !== undefined && body.host !== undefined)
      throw refuseField('connection', 'must be left out with host: its agent has the records');
    const topology =
      body.at === undefined ? node.replica.topology : await topologyAt(node, body.at);
    const sees = sightOf(caller.token, topology);
    const port = find(topology, 'port', body.port, sees).id as PortId;
    const bytes = Uint8Array.fromHex(body.frame);
    const key = new Uint8Array(KEY_SIZE);
    if (!parseKey(bytes, key)) throw refuseField('frame', 'is too short to be an Ethernet frame');
    const frame = { port, bytes, headers: headersOf(key) };
    const host = body.host === undefined ? undefined : find(topology, 'host', body.host, sees);
    const decided =
      host === undefined
        ? decideHere({ node, topology, at: body.at, connection: body.connection }, frame)
        : await decideThere(node, host.id as HostId, frame, call);
    return json(resultOf(readerOf(topology, sees), frame, decided));
  },
});
