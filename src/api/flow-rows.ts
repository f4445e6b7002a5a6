/**
 * Flows as agents tell them, for a reader: names, and only what it may know.
 *
 * Invariants: the lines of a cause are made by the same words as a trace's, from what the agent
 * recorded; nothing of an object that the reader may not see, of a host none but operators see, is
 * in a row; a port that an agent names counts only where the topology has it on that host.
 */
import type { ActionsPart, CausePart, FlowPart, FlowRow, OutputPart } from '#client/flows.ts';
import type { RewritePart } from '#client/flows.ts';
import type { Token } from '#client/types.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { matchText } from '#flow/match-text.ts';
import { parseIp, type Ip } from '#net/ip.ts';
import { parseMac } from '#net/mac.ts';
import { DROPS } from '#virtual/drop.ts';
import type { AnyId, PortId, RouterId } from '#virtual/ids.ts';
import type { KindName } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { fieldSet } from '#virtual/match.ts';
import type { Recipient, Step, Verdict } from '#virtual/outcome.ts';
import type { Topology } from '#virtual/topology.ts';
import { describeOutcome, type Known, knowsWhole, type Told } from '#virtual/trace.ts';
import { type Sight, sightOf } from './lists.ts';

/** Who reads, and where things are for whoever may know. */
export interface Reader {
  readonly topology: Topology;
  readonly sees: Sight;
  /** May know hosts. */
  readonly operator: boolean;
  /** The host whose end of the tunnel has this address. */
  hostAt(address: string): string | undefined;
  /** The port that a key reaches on a host. */
  portOf(host: string, key: number): string | undefined;
}

interface Zone {
  readonly members: readonly { readonly host: string; readonly address: string }[];
}
/** For one answer: what it looks up is collected once, and only if it is asked for. */
export function readerOf(token: Token, topology: Topology): Reader {
  let hosts: Map<string, string> | undefined;
  let ports: Map<string, string> | undefined;
  const members = (): (readonly [string, string])[] =>
    [...topology.list('tunnel-zone')].flatMap((zone) =>
      (zone as unknown as Zone).members.map(({ host, address }) => [address, host] as const),
    );
  const located = (): (readonly [string, string])[] =>
    [...topology.list('location')].map((row) => {
      const { port, host, tunnelKey } = row as ObjectOf<'location'>;
      return [`${host} ${tunnelKey}`, port] as const;
    });
  return {
    topology,
    sees: sightOf(token, topology),
    operator: token.role === 'operator',
    hostAt: (address) => (hosts ??= new Map(members())).get(address),
    portOf: (host, key) => (ports ??= new Map(located())).get(`${host} ${key}`),
  };
}
const knownTo =
  ({ topology, sees }: Reader): Known =>
  (kind, id) => {
    const object = topology.get(kind, id);
    return object !== undefined && sees(kind, object);
  };

/** The name of an object where it is the only one of that name, else its id. */
export function titleOf(topology: Topology, kind: KindName, id: string): string {
  const name = topology.get(kind, id)?.name ?? '';
  return name !== '' && topology.named(kind, name).length === 1 ? name : id;
}

function verdictOf(verdict: CausePart['verdict']): Verdict {
  if (verdict.kind === 'wait')
    return { kind: 'wait', port: verdict.port as PortId, ip: parseIp(verdict.ip) ?? (0 as Ip) };
  if (verdict.kind === 'want-ports') {
    const { router, address, first, last } = verdict;
    const ip = parseIp(address) ?? (0 as Ip);
    return { kind: 'want-ports', router: router as RouterId, address: ip, first, last };
  }
  if (verdict.kind !== 'forward') return verdict;
  const { cut, to } = verdict;
  return { kind: 'forward', to: to as Recipient[], ...(cut !== undefined && { cut }) };
}

/** A recorded walk, as the tracer reads one. */
function toldOf({ steps, verdict, decTtl, ethSrc, ethDst, sends }: CausePart): Told {
  const src = parseMac(ethSrc ?? '');
  const dst = parseMac(ethDst ?? '');
  return {
    steps: steps.map(({ kind, id, did, detail }) => ({
      at: { kind, id: id as AnyId },
      did: did as Step['did'],
      ...(detail !== undefined && { detail }),
    })),
    verdict: verdictOf(verdict),
    rewrites: {
      ...(src !== undefined && { ethSrc: src }),
      ...(dst !== undefined && { ethDst: dst }),
    },
    guards: { decTtl },
    sends: sends.map(({ port }) => ({ port: port as PortId })),
  };
}

/** The lines of a trace of what was recorded; then what the host does instead, if it does. */
export function causeLines(cause: CausePart, reader: Reader): string[] {
  const lines = describeOutcome(toldOf(cause), reader.topology, knownTo(reader));
  return cause.drop === undefined ? lines : [...lines, `drop: ${DROPS[cause.drop].about}`];
}

const WORDS = {
  ethSrc: 'source MAC',
  ethDst: 'destination MAC',
  ipSrc: 'source',
  ipDst: 'destination',
  dscp: 'dscp',
  tpSrc: 'source port',
  tpDst: 'destination port',
} as const satisfies Record<keyof RewritePart, string>;

function rewriteWords(what: RewritePart): string[] {
  return (Object.keys(WORDS) as (keyof RewritePart)[])
    .filter((field) => what[field] !== undefined)
    .map((field) => `set ${WORDS[field]} ${what[field]}`);
}
const vlanWords = (vlan: number | undefined): string[] =>
  vlan === undefined ? [] : [vlan === 0 ? 'untag' : `set vlan ${vlan & 0xfff}`];

/** Whom a key reaches on a host. */
function targetOf({ topology, portOf }: Reader, host: string | undefined, key: number) {
  const bridge = topology.bridgeOfFloodKey(key);
  if (bridge !== undefined) return { kind: 'bridge', id: bridge } as const;
  const router = topology.routerOfNetworkKey(key);
  if (router !== undefined) return { kind: 'router', id: router } as const;
  const port = host === undefined ? undefined : portOf(host, key);
  return port === undefined ? undefined : ({ kind: 'port', id: port } as const);
}

function outputWords(output: OutputPart, reader: Reader): string {
  const { topology, operator } = reader;
  const knows = knownTo(reader);
  const own = [...rewriteWords(output), ...vlanWords(output.vlan)];
  const how = own.length === 0 ? '' : ` (${own.join(', ')})`;
  if (output.port !== undefined)
    return knows('port', output.port)
      ? `out of ${titleOf(topology, 'port', output.port)}${how}`
      : 'out of a port of another tenant';
  if (output.key === undefined) return `out of interface ${output.interface ?? '?'}${how}`;
  const host = output.remote === undefined ? undefined : reader.hostAt(output.remote);
  const target = targetOf(reader, host, output.key);
  const there = operator ? ` on ${host ? titleOf(topology, 'host', host) : output.remote}` : '';
  if (target === undefined) return operator ? `to key ${output.key}${there}${how}` : 'to a port';
  if (!knows(target.kind, target.id)) return `to a ${target.kind} of another tenant`;
  return `to ${target.kind} ${titleOf(topology, target.kind, target.id)}${there}${how}`;
}

/** What the datapath does, in its order. */
function actionsText(actions: ActionsPart, whole: boolean, reader: Reader): string {
  if (actions.drop !== undefined) return 'drop';
  const words = [
    // How others have their frames rewritten is theirs.
    ...(whole ? rewriteWords(actions) : []),
    ...(actions.decTtl === undefined || !whole ? [] : [`ttl less ${actions.decTtl}`]),
    ...(whole ? vlanWords(actions.vlan) : []),
    ...actions.outputs.map((output) => outputWords(output, reader)),
  ];
  return [...new Set(words)].join(', ');
}

function keyOf(hex: string): Uint8Array {
  const key = new Uint8Array(KEY_SIZE);
  key.set(Uint8Array.fromHex(hex).subarray(0, KEY_SIZE));
  return key;
}

/** Whether the topology has this port on this host: an agent speaks for its own ports only. */
const carries = (topology: Topology, host: string, port: string): boolean =>
  topology.location(port as PortId)?.host === host;

function fromOf({ tunnel }: FlowPart, { topology }: Reader): string | undefined {
  if (tunnel === undefined) return undefined;
  if (tunnel.bridge !== undefined) return `bridge ${titleOf(topology, 'bridge', tunnel.bridge)}`;
  if (tunnel.router !== undefined) return `router ${titleOf(topology, 'router', tunnel.router)}`;
  return `key ${tunnel.key}`;
}

/** A row for the reader; undefined when the flow is none of its business. */
export function flowRow(host: string, part: FlowPart, reader: Reader): FlowRow | undefined {
  const { topology, operator } = reader;
  const knows = knownTo(reader);
  const own = part.port !== undefined && carries(topology, host, part.port);
  const port = own && part.port !== undefined && knows('port', part.port) ? part.port : undefined;
  if (!operator && port === undefined) return undefined;
  const { cause, actions } = part;
  const told = cause && toldOf(cause);
  const whole = operator || (told !== undefined && knowsWhole(told.verdict, knows));
  const reason = actions.drop;
  const title = operator ? titleOf(topology, 'host', host) : titleOf(topology, 'port', port ?? '');
  const from = operator ? fromOf(part, reader) : undefined;
  return {
    id: `${title}:${part.slot}.${part.generation}`,
    ...(operator && { host, hostName: topology.get('host', host)?.name ?? '' }),
    ...(port !== undefined && { port, portName: topology.get('port', port)?.name ?? '' }),
    ...(from !== undefined && { from }),
    match: matchText(keyOf(part.key), fieldSet(part.fields)),
    fields: part.fields,
    actions: actionsText(actions, whole, reader),
    verdict: reason === undefined ? 'forward' : 'drop',
    ...(reason !== undefined && { reason }),
    lines: cause === undefined ? [] : causeLines(cause, reader),
    packets: part.packets,
    bytes: part.bytes,
    ageMs: part.ageMs,
    ...(part.idleMs !== undefined && { idleMs: part.idleMs }),
    key: part.key,
  };
}
