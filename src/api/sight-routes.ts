/**
 * `/v1/ports/:id/capture`, `/v1/ports/:id/live-trace`, `/v1/drops`: what the datapaths of hosts
 * see, asked of their agents.
 *
 * Invariants: a tenant is shown frames at its own ports and drops at them, nothing else, also when
 * a port becomes another's meanwhile; a host that shows nothing is named with why; what is shown
 * ends with its reader, with its time and with its count.
 */
import {
  CAPTURE,
  type CaptureLine,
  type DropRow,
  type Drops,
  FILTER_CHARACTERS_MAX,
  type SeenFrame,
} from '#client/sight.ts';
import { parsePacketFilter } from '#net/packet-filter.ts';
import { DROPS } from '#virtual/drop.ts';
import type { DeviceId, HostId, PortId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { readerOf, titleOf, type Reader } from './flow-rows.ts';
import { tokenKey } from './keys.ts';
import { find } from './lists.ts';
import type { Node } from './node.ts';
import { Refusal, refuseField } from './problems.ts';
import { type Call, integerOf, json, NOT_HOSTS, onlyQuery, type Route } from './route.ts';
import { Merge, type Watched } from './sight-merge.ts';
import { capturedFrame, dropRows, hostTitle, mayKnow, placeSeen } from './sight-text.ts';

/** Hosts that one live trace follows: those with most ports of the network. */
export const LIVE_HOSTS_MAX = 12;

const QUERY = ['filter', 'count', 'seconds', 'snaplen'];

function within(
  query: URLSearchParams,
  name: string,
  { least, most, unless }: { least: number; most: number; unless: number },
): number {
  const value = integerOf(query, name, unless);
  if (value >= least && value <= most) return value;
  throw refuseField(name, `must be a number from ${least} to ${most}`);
}

function wishes(query: URLSearchParams) {
  onlyQuery(query, QUERY);
  const filter = query.get('filter') ?? '';
  if (filter.length > FILTER_CHARACTERS_MAX)
    throw refuseField('filter', `must have at most ${FILTER_CHARACTERS_MAX} characters`);
  const parsed = parsePacketFilter(filter);
  if ('error' in parsed) throw refuseField('filter', parsed.error);
  return {
    filter,
    frames: within(query, 'count', CAPTURE.frames),
    seconds: within(query, 'seconds', CAPTURE.seconds),
    snapBytes: within(query, 'snaplen', CAPTURE.snapBytes),
  };
}

const encoder = new TextEncoder();
/** One JSON object a line, as they come; the reader who goes ends it. */
async function streamed(
  lines: AsyncGenerator<CaptureLine>,
  gone: AbortController,
): Promise<Response> {
  const encode = (line: CaptureLine): Uint8Array => encoder.encode(`${JSON.stringify(line)}\n`);
  // Whatever refuses it does so before the answer begins.
  let next = await lines.next();
  const body = new ReadableStream<Uint8Array>(
    {
      pull: async (controller) => {
        if (next.done === true) return controller.close();
        controller.enqueue(encode(next.value));
        next = await lines.next();
        if (next.done === true) controller.close();
      },
      cancel: () => gone.abort(),
    },
    { highWaterMark: 0 },
  );
  return new Response(body, { headers: { 'content-type': 'application/x-ndjson' } });
}

interface Looking {
  readonly watched: readonly Watched[];
  readonly left?: readonly { readonly host: string; readonly why: string }[];
  readonly wanted: ReturnType<typeof wishes>;
  /** Whether a frame is at a place that this is about. */
  readonly concerns: (host: string, seen: SeenFrame, reader: Reader) => boolean;
}

function look(node: Node, call: Call, { watched, left = [], wanted, concerns }: Looking) {
  const gone = new AbortController();
  const { topology } = node.replica;
  const merge = new Merge({
    asks: node.asks,
    watched,
    left,
    caller: call.caller.id,
    signal: AbortSignal.any([gone.signal, call.request.signal]),
    seconds: wanted.seconds,
    frames: wanted.frames,
    keep: (host, part) => {
      const { id, token } = call.caller;
      if (id !== undefined && !node.replica.tokens.has(tokenKey(id))) gone.abort();
      if (gone.signal.aborted) return undefined;
      // Anew for each: what belongs to whom may be otherwise by now.
      const reader = readerOf(token, topology);
      return concerns(host, part, reader) ? capturedFrame(host, part, reader) : undefined;
    },
  });
  return streamed(merge.lines(), gone);
}

function capture(node: Node, call: Call): Promise<Response> {
  const { topology } = node.replica;
  const reader = readerOf(call.caller.token, topology);
  const wanted = wishes(call.query);
  const port = find(topology, 'port', call.params['id'] ?? '', reader.sees);
  const host = topology.location(port.id as PortId)?.host;
  if (host === undefined) {
    const detail = `port ${titleOf(topology, 'port', port.id)} is not up on any host`;
    throw new Refusal(409, { detail });
  }
  const { filter, frames, snapBytes } = wanted;
  const ask = { kind: 'sight', port: port.id, filter, frames, snapBytes } as const;
  return look(node, call, {
    wanted,
    watched: [{ host, title: hostTitle(reader, host), ask }],
    concerns: (_host, { at, where }, now) =>
      at.port === port.id &&
      (where === 'port' || where === 'out') &&
      mayKnow(now, { kind: 'port', id: port.id }),
  });
}

const deviceOf = (port: ObjectOf<'port'>): DeviceId =>
  (port.type === 'bridge' ? port.bridge : port.router) as DeviceId;

/** Hosts of a network, that of the port first, then those with most ports. */
function hostsAround(port: ObjectOf<'port'>, { topology }: Reader): HostId[] {
  const { hosts } = topology.domain(deviceOf(port));
  const own = topology.location(port.id as PortId)?.host;
  const rank = (id: HostId): number => (id === own ? Infinity : (hosts.get(id) ?? 0));
  return [...hosts.keys()].toSorted((a, b) => rank(b) - rank(a));
}

function liveTrace(node: Node, call: Call): Promise<Response> {
  const { topology } = node.replica;
  const reader = readerOf(call.caller.token, topology);
  const wanted = wishes(call.query);
  if (wanted.filter === '') throw refuseField('filter', 'must say which packets');
  const port = find(topology, 'port', call.params['id'] ?? '', reader.sees) as ObjectOf<'port'>;
  const hosts = hostsAround(port, reader);
  const { filter, snapBytes } = wanted;
  // Packets of others with such addresses count there, and not here.
  const ask = { kind: 'sight', filter, frames: CAPTURE.frames.most, snapBytes } as const;
  const left = hosts.slice(LIVE_HOSTS_MAX).map((host) => ({
    host: hostTitle(reader, host),
    why: `at most ${LIVE_HOSTS_MAX} hosts are followed at a time`,
  }));
  const isNear = (device: string): boolean =>
    topology.domain(deviceOf(port)).devices.has(device as DeviceId);
  return look(node, call, {
    wanted,
    left,
    watched: hosts.slice(0, LIVE_HOSTS_MAX).map((host, i) => ({
      host,
      // Tenants tell hosts apart, and know no more of them.
      title: reader.operator ? hostTitle(reader, host) : `a host (${i + 1})`,
      ask,
    })),
    concerns: (host, seen, now) => {
      const place = placeSeen(host, seen, now);
      if (place === undefined || !mayKnow(now, place)) return false;
      if (place.kind !== 'port') return isNear(place.id);
      const at = topology.get('port', place.id) as ObjectOf<'port'> | undefined;
      return at !== undefined && isNear(deviceOf(at));
    },
  });
}

async function drops(node: Node, call: Call): Promise<Drops> {
  const { query, caller, request } = call;
  onlyQuery(query, ['host', 'port', 'reason']);
  const { topology } = node.replica;
  const reader = readerOf(caller.token, topology);
  const [named, at, reason] = ['host', 'port', 'reason'].map((name) => query.get(name));
  if (typeof named === 'string' && !reader.operator)
    throw refuseField('host', 'is for operators: tenants ask by port');
  if (typeof reason === 'string' && !Object.hasOwn(DROPS, reason))
    throw refuseField('reason', `must be one of ${Object.keys(DROPS).join(', ')}`);
  const port = typeof at === 'string' ? find(topology, 'port', at, reader.sees).id : undefined;
  const host =
    typeof named === 'string' ? find(topology, 'host', named, reader.sees).id : undefined;
  const hosts = new Set<string>();
  for (const one of topology.list('port')) {
    const up = topology.location(one.id as PortId)?.host;
    if (up === undefined || !reader.sees('port', one)) continue;
    if (port === undefined || one.id === port) hosts.add(up);
  }
  if (reader.operator && port === undefined)
    for (const { id } of topology.list('host')) hosts.add(id);
  const asked = [...hosts].filter((id) => host === undefined || id === host);
  const options = { signal: request.signal, caller: caller.id };
  const rows: DropRow[] = [];
  const missing: { host: string; why: string }[] = [];
  for (const answer of await node.asks.all(asked, { kind: 'drops' }, options))
    if (answer.failed !== undefined)
      missing.push({ host: hostTitle(reader, answer.host), why: answer.failed.message });
    else for (const part of answer.parts) rows.push(...dropRows(answer.host, part, reader));
  const text = (row: DropRow): string => `${row.host} ${row.at} ${row.reason} ${row.by ?? '~'}`;
  return {
    rows: rows
      .filter((row) => port === undefined || row.port === port)
      .filter((row) => typeof reason !== 'string' || row.reason === reason)
      .toSorted((a, b) => (text(a) < text(b) ? -1 : 1)),
    missing,
  };
}

const LOOK_QUERY = [
  {
    name: 'filter',
    about: 'Which packets: PROTOCOL FROM > TO, or <> for both ways.',
    type: 'string',
  },
  { name: 'count', about: 'End after so many frames.', type: 'integer' },
  { name: 'seconds', about: 'End after so long.', type: 'integer' },
  { name: 'snaplen', about: 'Bytes of each frame.', type: 'integer' },
] as const;

export const sightRoutes = (node: Node): Route[] => [
  {
    method: 'GET',
    path: '/v1/ports/:id/capture',
    operationId: 'capture-port',
    about: 'Frames that enter and leave by a port, as they pass: one JSON object a line.',
    who: NOT_HOSTS,
    query: LOOK_QUERY,
    handle: (call) => capture(node, call),
  },
  {
    method: 'GET',
    path: '/v1/ports/:id/live-trace',
    operationId: 'trace-live',
    about: 'Packets on all hosts of the network of a port, as they pass: one JSON object a line.',
    who: NOT_HOSTS,
    query: LOOK_QUERY,
    handle: (call) => liveTrace(node, call),
  },
  {
    method: 'GET',
    path: '/v1/drops',
    operationId: 'list-drops',
    about: 'What was dropped, by host, port, reason and rule.',
    who: NOT_HOSTS,
    output: 'Drops',
    query: [
      { name: 'host', about: 'Only on this host; operators only.', type: 'string' },
      { name: 'port', about: 'Only at this port.', type: 'string' },
      { name: 'reason', about: 'Only for this reason.', type: 'string' },
    ],
    handle: async (call) => json(await drops(node, call)),
  },
];
