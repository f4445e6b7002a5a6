/**
 * `/v1/flows`, `/v1/why`: live flows of all hosts and their causes, asked of the agents that have
 * them.
 *
 * Invariants: a host that does not answer is named with why (to tenants: that there is one), and
 * never left out in silence; a tenant is told of flows that enter at its own ports, and of what is
 * on their way only what a trace would tell it; nothing is answered from what agents answered
 * before.
 */
import type { AskOf } from '#client/asks.ts';
import {
  FLOWS_PER_ASK_MAX,
  type FlowPage,
  type FlowPart,
  type FlowRow,
  type MissingHost,
  PORTS_PER_ASK_MAX,
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
import { find, PAGE_LIMIT } from './lists.ts';
import type { Node } from './node.ts';
import { Refusal, refuseField } from './problems.ts';
import { type Call, integerOf, json, NOT_HOSTS, onlyQuery, readBody, type Route } from './route.ts';

/** Hosts asked at a time for one page: what is beyond its limit is asked for in vain. */
const HOSTS_AT_ONCE = 8;
/** Flows of one port looked at for a pair; further ones are not, and that is told. */
export const PAIR_FLOWS_MAX = 10_000;

/** A host to be asked, and the ports that the caller wants to know of; undefined: of all. */
interface Asked {
  readonly host: string;
  readonly ports?: readonly string[];
}
interface Place {
  readonly host: string;
  readonly slot: number;
}

const encode = ({ host, slot }: Place): string =>
  Buffer.from(JSON.stringify([host, slot])).toString('base64url');
function placeOf(text: string | null): Place | undefined {
  if (text === null) return undefined;
  try {
    const place: unknown = JSON.parse(Buffer.from(text, 'base64url').toString());
    if (Array.isArray(place) && typeof place[0] === 'string' && Number.isInteger(place[1]))
      return { host: place[0], slot: place[1] as number };
  } catch {
    // Not ours: refused below.
  }
  throw refuseField('after', 'must be the `next` of an earlier page');
}

function limitOf(query: URLSearchParams): number {
  const limit = integerOf(query, 'limit', PAGE_LIMIT);
  if (limit >= 1 && limit <= FLOWS_PER_ASK_MAX) return limit;
  throw refuseField('limit', `must be a number from 1 to ${FLOWS_PER_ASK_MAX}`);
}

/** How a host is called in what the caller is told. */
export const hostWord = ({ topology, operator }: Reader, host: string): string =>
  operator ? titleOf(topology, 'host', host) : 'a host';

/** Ports that the caller sees, by the host that carries them. */
export function portsByHost({ topology, sees }: Reader): Asked[] {
  const ports = new Map<string, string[]>();
  for (const port of topology.list('port')) {
    const host = topology.location(port.id as PortId)?.host;
    if (host === undefined || !sees('port', port)) continue;
    ports.getOrInsertComputed(host, () => []).push(port.id);
  }
  for (const own of ports.values())
    if (own.length > PORTS_PER_ASK_MAX)
      throw refuseField(
        'port',
        `must be given: more than ${PORTS_PER_ASK_MAX} ports are on a host`,
      );
  return [...ports].map(([host, own]) => ({ host, ports: own }));
}

/** Whom to ask for a list. */
function askedBy(query: URLSearchParams, reader: Reader): Asked[] {
  const { topology, operator, sees } = reader;
  const named = query.get('port');
  const wanted = query.get('host');
  if (wanted !== null && !operator)
    throw refuseField('host', 'is for operators: tenants ask by port');
  const host = wanted === null ? undefined : find(topology, 'host', wanted, sees).id;
  let asked: Asked[];
  if (named !== null) {
    const { id } = find(topology, 'port', named, sees);
    const at = topology.location(id as PortId)?.host;
    asked = at === undefined ? [] : [{ host: at, ports: [id] }];
  } else if (operator) asked = [...topology.list('host')].map(({ id }) => ({ host: id }));
  else asked = portsByHost(reader);
  return asked
    .filter((one) => host === undefined || one.host === host)
    .toSorted((a, b) => (a.host < b.host ? -1 : 1));
}

interface FlowsAnswer {
  readonly host: string;
  readonly parts: readonly FlowPart[];
  /** Of a host that did not answer. */
  readonly why?: string;
}

/** Asks hosts; of one that is dead says so at once. */
async function askFlows(
  node: Node,
  { request, caller }: Call,
  asked: readonly (Asked & { readonly after: number })[],
  limit: number,
): Promise<FlowsAnswer[]> {
  const questions = asked
    .filter(({ host }) => !node.hosts.isDead(host))
    .map(({ host, ports, after }) => {
      const of = ports === undefined ? {} : { ports: [...ports] };
      return { host, ask: { kind: 'flows', limit, after, ...of } as const };
    });
  const options = { signal: request.signal, caller: caller.id };
  const answers = new Map(
    (await node.asks.each(questions, options)).map((answer) => [answer.host, answer]),
  );
  return asked.map(({ host }) => {
    const answer = answers.get(host);
    if (answer === undefined) return { host, parts: [], why: 'it is dead: nothing is heard of it' };
    if (answer.failed === undefined) return answer;
    return { host, parts: [], why: answer.failed.message };
  });
}

async function listFlows(node: Node, call: Call): Promise<FlowPage> {
  const { query, caller } = call;
  onlyQuery(query, ['host', 'port', 'limit', 'after']);
  const reader = readerOf(caller.token, node.replica.topology);
  const limit = limitOf(query);
  const from = placeOf(query.get('after'));
  const asked = askedBy(query, reader)
    .filter(({ host }) => from === undefined || host >= from.host)
    .map((one) => ({ ...one, after: one.host === from?.host ? from.slot : -1 }));
  const items: FlowRow[] = [];
  const missing: MissingHost[] = [];
  let next: Place | undefined;
  for (let i = 0; i < asked.length && next === undefined; i += HOSTS_AT_ONCE) {
    const some = asked.slice(i, i + HOSTS_AT_ONCE);
    const room = limit - items.length;
    for (const { host, parts, why } of await askFlows(node, call, some, room)) {
      if (next !== undefined) break;
      if (why !== undefined) missing.push({ host: hostWord(reader, host), why });
      for (const [n, part] of parts.entries()) {
        const row = flowRow(host, part, reader);
        if (row !== undefined) items.push(row);
        const last = n + 1 === parts.length && parts.length < room && host === asked.at(-1)?.host;
        const whole = items.length === limit || n + 1 === room;
        if (!whole || last) continue;
        next = { host, slot: part.slot };
        break;
      }
    }
  }
  const { revision } = reader.topology;
  return { revision, items, missing, ...(next !== undefined && { next: encode(next) }) };
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
  const asked = { host, ports: [from] };
  let looked = 0;
  for (let after = -1; ;) {
    const [answer] = await askFlows(node, call, [{ ...asked, after }], FLOWS_PER_ASK_MAX);
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
