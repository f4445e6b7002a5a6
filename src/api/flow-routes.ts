/**
 * `/v1/flows`, `/v1/why`: live flows of all hosts and their causes, asked of the agents that have
 * them.
 *
 * Invariants: a host that does not answer is named (`host-pages.ts`); a tenant is told of flows
 * that enter at its own ports, and of what is on their way only what a trace would tell it; nothing
 * is answered from what agents answered before.
 */
import type { AskOf } from '#client/asks.ts';
import {
  FLOWS_PER_ASK_MAX,
  type FlowPage,
  type FlowRow,
  type MissingHost,
  type WhyPacket,
  type WhyPair,
} from '#client/flows.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { parseKey } from '#flow/parse.ts';
import type { PortId } from '#virtual/ids.ts';
import { AskFailed } from './asks.ts';
import { WhyBody } from './flow-bodies.ts';
import { dropsBeside } from './flow-drops.ts';
import { leadsTo, targetOf } from './flow-pairs.ts';
import { causeLines, flowRow, type Reader, readerOf, titleOf } from './flow-rows.ts';
import { askHosts, hostWord, pageOf } from './host-pages.ts';
import { find } from './lists.ts';
import type { Node } from './node.ts';
import { Refusal, refuseField } from './problems.ts';
import { type Call, json, NOT_HOSTS, onlyQuery, readBody, type Route } from './route.ts';

/** Flows of one port looked at for a pair; further ones are not, and that is told. */
export const PAIR_FLOWS_MAX = 10_000;

async function listFlows(node: Node, call: Call): Promise<FlowPage> {
  onlyQuery(call.query, ['host', 'port', 'limit', 'after']);
  const reader = readerOf(call.caller.token, node.replica.topology);
  return pageOf(node, call, reader, {
    most: FLOWS_PER_ASK_MAX,
    ask: (of) => ({ kind: 'flows', ...of }),
    rowOf: (host, part) => flowRow(host, part, reader),
  });
}

/** One question to the host that carries a port, or has a flow; its refusal names that. */
async function askOne<A extends AskOf<'flows'> | AskOf<'why'>>(
  { node, call, reader }: { node: Node; call: Call; reader: Reader },
  host: string,
  ask: A,
) {
  try {
    return await node.asks.one(host, ask, { signal: call.request.signal, caller: call.caller.id });
  } catch (error) {
    if (!(error instanceof AskFailed)) throw error;
    const who = reader.operator ? `host ${hostWord(reader, host)}` : 'the host of the port';
    throw new Refusal(503, { detail: `${who}: ${error.message}` });
  }
}

/** `PLACE:SLOT.GENERATION`; the place is a host, for operators, or a port. */
function flowNamed(id: string, { topology, sees, operator }: Reader) {
  const [, place = '', slot, generation] = /^(.+):(\d{1,9})\.(\d{1,10})$/.exec(id) ?? [];
  if (slot === undefined)
    throw refuseField('id', 'must be the id of a flow as a list shows it: PLACE:SLOT.GENERATION');
  const ref = { slot: Number(slot), generation: Number(generation) };
  if (operator)
    try {
      return { ...ref, host: find(topology, 'host', place, sees).id };
    } catch {
      // A tenant's name for it, perhaps.
    }
  const { id: port } = find(topology, 'port', place, sees);
  const host = topology.location(port as PortId)?.host;
  if (host === undefined) throw new Refusal(404, { detail: `port ${place} is not up on any host` });
  return { ...ref, host };
}

async function oneFlow(node: Node, call: Call): Promise<FlowRow> {
  const reader = readerOf(call.caller.token, node.replica.topology);
  const id = call.params['id'] ?? '';
  const { host, slot, generation } = flowNamed(id, reader);
  const ask: AskOf<'flows'> = { kind: 'flows', slot, generation, limit: 1 };
  const [part] = await askOne({ node, call, reader }, host, ask);
  const row =
    part?.slot === slot && part.generation === generation ? flowRow(host, part, reader) : undefined;
  if (row !== undefined) return row;
  throw new Refusal(404, { detail: `flow ${id} is not there any more: mn flows shows what is` });
}

const BEYOND = {
  ttl: 'the flow hands it up: its TTL does not last for the routers on the way',
  'too-big': 'the flow hands it up: it is larger than the way on carries',
  connection: 'the flow hands it up: no stack sends TCP with such flags',
} as const;

/** Where a port is up; refused where it is not. */
function hostOf({ topology }: Reader, port: string): string {
  const host = topology.location(port as PortId)?.host;
  if (host !== undefined) return host;
  const detail = `port ${titleOf(topology, 'port', port)} is not up on any host, so no flow is`;
  throw new Refusal(409, { detail: `${detail}: mn trace says what would happen` });
}

async function whyPacket(node: Node, call: Call): Promise<WhyPacket> {
  const body = await readBody(call.request, WhyBody);
  const reader = readerOf(call.caller.token, node.replica.topology);
  const port = find(reader.topology, 'port', body.port, reader.sees).id;
  if (!parseKey(Uint8Array.fromHex(body.frame), new Uint8Array(KEY_SIZE)))
    throw refuseField('frame', 'is too short to be an Ethernet frame');
  const host = hostOf(reader, port);
  const frame = body.frame.toLowerCase();
  const [told] = await askOne({ node, call, reader }, host, { kind: 'why', port, frame });
  if (told === undefined) throw new Refusal(503, { detail: 'the agent of the port had no answer' });
  const { flow, beyond, walk, revision } = told;
  const row = flow && flowRow(host, flow, reader);
  const reason =
    walk && (walk.drop ?? (walk.verdict.kind === 'drop' ? walk.verdict.reason : undefined));
  return {
    revision,
    ...(row !== undefined && { flow: row }),
    ...(beyond !== undefined && { beyond: BEYOND[beyond] }),
    ...(walk !== undefined && {
      trace: {
        verdict: walk.drop === undefined ? walk.verdict.kind : 'drop',
        ...(reason !== undefined && { reason }),
        lines: causeLines(walk, reader),
      },
    }),
    drops: await dropsBeside(node, call, { host, port }),
  };
}

/** Flows from one port that lead to another, or that drop what may be for it. */
async function flowsBetween(
  { node, call, reader }: { node: Node; call: Call; reader: Reader },
  [from, to]: readonly [string, string],
  missing: MissingHost[],
): Promise<FlowRow[]> {
  const { topology } = reader;
  const host = topology.location(from as PortId)?.host;
  if (host === undefined) return [];
  const target = targetOf(node, topology, to);
  const rows: FlowRow[] = [];
  let looked = 0;
  for (let after = -1; ;) {
    const ask: AskOf<'flows'> = { kind: 'flows', limit: FLOWS_PER_ASK_MAX, after, ports: [from] };
    const [answer] = await askHosts(node, call, [{ host, ask }]);
    const parts = answer?.parts ?? [];
    if (answer?.why !== undefined) missing.push({ host: hostWord(reader, host), why: answer.why });
    looked += parts.length;
    for (const part of parts) {
      const row = leadsTo(part, target, topology) ? flowRow(host, part, reader) : undefined;
      if (row !== undefined) rows.push(row);
    }
    if (parts.length < FLOWS_PER_ASK_MAX) return rows;
    after = parts.at(-1)?.slot ?? after;
    if (looked < PAIR_FLOWS_MAX) continue;
    const why = `only the first ${PAIR_FLOWS_MAX} flows of the port were looked at`;
    missing.push({ host: hostWord(reader, host), why });
    return rows;
  }
}

async function whyPair(node: Node, call: Call): Promise<WhyPair> {
  const { query, caller } = call;
  onlyQuery(query, ['from', 'to']);
  const reader = readerOf(caller.token, node.replica.topology);
  const [from, to] = (['from', 'to'] as const).map((name) => {
    const named = query.get(name);
    if (named === null) throw refuseField(name, 'must be given: the id or unique name of a port');
    return find(reader.topology, 'port', named, reader.sees).id;
  }) as [string, string];
  const missing: MissingHost[] = [];
  const place = { node, call, reader };
  const forth = await flowsBetween(place, [from, to], missing);
  const back = from === to ? [] : await flowsBetween(place, [to, from], missing);
  const drops = await Promise.all(
    [...new Set([from, to])].map(async (port) => {
      const host = reader.topology.location(port as PortId)?.host;
      return host === undefined ? [] : dropsBeside(node, call, { host, port });
    }),
  );
  return { revision: reader.topology.revision, forth, back, drops: drops.flat(), missing };
}

export const flowRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/flows',
    operationId: 'list-flows',
    about: 'Live flows of all hosts; of tenants those that enter at their ports.',
    who: NOT_HOSTS,
    output: 'FlowPage',
    query: [
      { name: 'host', about: 'Only flows of this host; operators only.', type: 'string' },
      { name: 'port', about: 'Only flows that enter at this port.', type: 'string' },
      { name: 'limit', about: `Flows in one page, up to ${FLOWS_PER_ASK_MAX}.`, type: 'integer' },
      { name: 'after', about: 'The `next` of the page before.', type: 'string' },
    ],
    handle: async (call) => json(await listFlows(node, call)),
  },
  {
    method: 'GET',
    path: '/v1/flows/:id',
    operationId: 'get-flow',
    about: 'One live flow, by the id that a list shows.',
    who: NOT_HOSTS,
    output: 'FlowRow',
    handle: async (call) => json(await oneFlow(node, call)),
  },
  {
    method: 'POST',
    path: '/v1/why',
    operationId: 'why-packet',
    about: 'The installed flow that a frame would match, and why it is; else what would happen.',
    who: NOT_HOSTS,
    input: 'WhyPacketRequest',
    output: 'WhyPacket',
    handle: async (call) => json(await whyPacket(node, call)),
  },
  {
    method: 'GET',
    path: '/v1/why',
    operationId: 'why-pair',
    about: 'Flows from one port to another and back, drops included.',
    who: NOT_HOSTS,
    output: 'WhyPair',
    query: [
      { name: 'from', about: 'A port, by id or unique name.', type: 'string' },
      { name: 'to', about: 'Another port.', type: 'string' },
    ],
    handle: async (call) => json(await whyPair(node, call)),
  },
];
