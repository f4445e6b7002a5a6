/**
 * What an agent is asked about its firewall: what rules counted and wrote down, and the connections
 * it knows.
 *
 * Invariants: looking changes nothing; a record that two hosts have is told by one of them: the one
 * where packets of who opened it enter, or, to whoever knows the other end only, the one where they
 * leave.
 */
import type { PartOf } from '#client/asks.ts';
import { phaseOf, timeoutOf } from '#flow/connection-timeouts.ts';
import { formatTuple, reversed, type ConnectionRef } from '#virtual/connection.ts';
import type { ChainId, PortId, RuleId } from '#virtual/ids.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import type { Topology } from '#virtual/topology.ts';
import type { EdgeAnswer, EdgeContext } from './edge-asks.ts';
import { addLive, type KeysOf, type LiveHits, NO_HITS, ruleKeys } from './packet-counts.ts';

/** Slots looked at, and rows told, in one slice. */
const FLOWS_PER_SLICE = 512;
const ROWS_PER_SLICE = 128;
const RECORDS_PER_SLICE = 512;

/** Whether a rule is in one of these chains; in any, where none are given. */
function inChains(topology: Topology, chains: readonly string[] | undefined) {
  const wanted = chains && new Set(chains);
  return (rule: RuleId): boolean => {
    const row = topology.get('rule', rule) as ObjectOf<'rule'> | undefined;
    return row !== undefined && (wanted === undefined || wanted.has(row.chain));
  };
}

/** What live flows have carried, by what the steps of their walks name. */
export function* countLive<Key>(
  keysOf: KeysOf<Key>,
  { table, datapath }: EdgeContext,
): Generator<[], Map<Key, LiveHits>> {
  const counts = new Map<Key, LiveHits>();
  for (let slot = 0; slot < table.slots; slot += FLOWS_PER_SLICE) {
    for (const ref of table.refsIn(slot, FLOWS_PER_SLICE)) {
      const keys = [...keysOf(table.cause(ref)?.steps ?? [])];
      if (keys.length > 0) addLive(counts, keys, datapath.stats(ref));
    }
    yield [];
  }
  return counts;
}

export const ruleCounts: EdgeAnswer<'rule-counts'> = function* ({ chains }, context) {
  const { topology, packets } = context;
  const counts = yield* countLive(ruleKeys, context);
  const { rules: gone } = packets.rules.counts;
  const parts: PartOf<'rule-counts'>[] = [];
  for (const id of chains ?? [...topology.list('chain')].map((chain) => chain.id))
    for (const { id: rule } of topology.chain(id as ChainId)?.rules ?? []) {
      const live = counts.get(rule) ?? NO_HITS;
      const beside = gone.beside(rule);
      const all = live.packets + beside.packets;
      if (all === 0 && live.flows === 0) continue;
      const bytes = live.bytes + beside.bytes;
      parts.push({ rule, packets: all, bytes, flows: live.flows });
    }
  for (let at = 0; at < parts.length; at += ROWS_PER_SLICE)
    yield parts.slice(at, at + ROWS_PER_SLICE);
};

export const ruleLog: EdgeAnswer<'rule-log'> = function* (
  { chains },
  { topology, datapath, packets },
) {
  const now = datapath.now();
  const lines = packets.rules.log.lines(inChains(topology, chains));
  for (let at = 0; at < lines.length; at += ROWS_PER_SLICE)
    yield lines.slice(at, at + ROWS_PER_SLICE).map(({ atMs, port, ...line }) => ({
      ...line,
      agoMs: Math.max(0, now - atMs),
      ...(port !== undefined && { port }),
    }));
};

/** Whether this host is the one that tells of a record. */
export function isTold(
  { inPort, outPort }: { inPort: PortId | undefined; outPort: PortId | undefined },
  ports: ReadonlySet<string> | undefined,
  { bindings }: EdgeContext,
): boolean {
  const here = (port: PortId | undefined): boolean => port !== undefined && bindings.isHere(port);
  if (ports === undefined) return inPort === undefined ? here(outPort) : here(inPort);
  if (inPort !== undefined && ports.has(inPort)) return here(inPort);
  return outPort !== undefined && ports.has(outPort) && here(outPort);
}

function connectionPart(
  ref: ConnectionRef,
  ports: ReadonlySet<string> | undefined,
  context: EdgeContext,
): PartOf<'connections'> | undefined {
  const record = context.connections.record(ref);
  if (record === undefined || !isTold(record, ports, context)) return undefined;
  const { forward, returns, inPort, outPort, createdMs, halves } = record;
  const now = context.datapath.now();
  const { protocol } = forward.tuple;
  const phase = phaseOf(protocol, ...halves);
  const seenMs = Math.max(createdMs, halves[0].seenMs, halves[1].seenMs);
  const idleMs = Math.max(0, Math.round(now - seenMs));
  return {
    ...ref,
    forward: formatTuple(forward.tuple),
    returned: formatTuple(reversed(returns.tuple)),
    ...(inPort !== undefined && { inPort }),
    ...(outPort !== undefined && { outPort }),
    phase,
    ageMs: Math.max(0, Math.round(now - createdMs)),
    idleMs,
    leftMs: Math.max(0, timeoutOf(protocol, phase) - idleMs),
  };
}

export const connections: EdgeAnswer<'connections'> = function* (ask, context) {
  const { connections: records } = context;
  const ports = ask.ports && new Set<string>(ask.ports);
  let left = ask.limit;
  let slot = (ask.after ?? -1) + 1;
  while (slot < records.slots && left > 0) {
    const end = Math.min(records.slots, slot + RECORDS_PER_SLICE);
    const parts: PartOf<'connections'>[] = [];
    for (; slot < end && left > 0; slot++) {
      const ref = records.at(slot);
      const part = ref && connectionPart(ref, ports, context);
      if (part === undefined) continue;
      parts.push(part);
      left -= 1;
    }
    yield parts;
  }
};

export const publicPorts: EdgeAnswer<'public-ports'> = function* (_ask, context) {
  yield context.publicPorts.uses();
};
