/**
 * What an agent is asked about its flows: a list of them in slices, and the one that a packet
 * would match. It answers what the datapath has and the table recorded, with ids for names.
 *
 * Invariants: looking changes nothing (no claim, no counter, no flow); a flow that goes while it is
 * listed is left out or told whole, never told as another one.
 */
import type { PartOf } from '#client/asks.ts';
import type {
  ActionsPart,
  CausePart,
  FlowPart,
  OutputPart,
  RewritePart,
  WhyPart,
} from '#client/flows.ts';
import type { Actions, DpPeer, FlowRef, Output, Rewrites } from '#flow/flow.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { entryOf, headersOf, parseKey, writeEntry } from '#flow/parse.ts';
import { place } from '#flow/placed.ts';
import { packetSize } from '#flow/size.ts';
import { formatIp, type Ip } from '#net/ip.ts';
import { formatMac } from '#net/mac.ts';
import { ETHER_TYPE } from '#net/packet/ethernet.ts';
import { IP_PROTOCOL } from '#net/packet/ipv4.ts';
import { isSoundTcp, tcpFlagsOf } from '#net/packet/tcp-flags.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { PortId } from '#virtual/ids.ts';
import { fieldsOf, type Rewrites as Written } from '#virtual/match.ts';
import type { Send, Step, Verdict } from '#virtual/outcome.ts';
import type { EdgeAnswer, EdgeContext } from './edge-asks.ts';

/** Slots looked at in one slice, and flows told. Both take some tens of microseconds. */
const SLOTS_PER_SLICE = 1_024;
const FLOWS_PER_SLICE = 64;

type Peers = ReadonlyMap<DpPeer, Ip>;
const peersOf = ({ datapath }: EdgeContext): Peers =>
  new Map(datapath.peers().map(({ peer, address }) => [peer, address]));

const text = <T>(value: T | undefined, format: (value: T) => string): string | undefined =>
  value === undefined ? undefined : format(value);
/** Without what is not there. */
const known = <T extends object>(parts: T): T =>
  Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined)) as T;

const rewritePart = (what: Rewrites): RewritePart =>
  known({
    ethSrc: text(what.ethSrc, formatMac),
    ethDst: text(what.ethDst, formatMac),
    ipSrc: text(what.ipSrc, formatIp),
    ipDst: text(what.ipDst, formatIp),
    dscp: what.dscp,
    tpSrc: what.tpSrc,
    tpDst: what.tpDst,
  });

function outputPart(output: Output, { bindings }: EdgeContext, peers: Peers): OutputPart {
  const own = { ...rewritePart(output.rewrite ?? {}), vlan: output.vlan };
  if ('remote' in output)
    return known({ ...own, key: output.key, remote: text(peers.get(output.remote), formatIp) });
  const port = bindings.portAt(output.port);
  return known({ ...own, port, interface: port === undefined ? output.port : undefined });
}

const actionsPart = (actions: Actions, context: EdgeContext, peers: Peers): ActionsPart =>
  known({
    ...rewritePart(actions),
    drop: actions.drop,
    decTtl: actions.decTtl,
    mtu: actions.mtu,
    vlan: actions.vlan,
    outputs: actions.outputs.map((output) => outputPart(output, context, peers)),
  });

function verdictPart(verdict: Verdict): CausePart['verdict'] {
  if (verdict.kind === 'wait') return { ...verdict, ip: formatIp(verdict.ip) };
  if (verdict.kind === 'want-ports') return { ...verdict, address: formatIp(verdict.address) };
  return verdict.kind === 'forward'
    ? { ...verdict, to: verdict.to.map((to) => ({ ...to })) }
    : verdict;
}

/** What was recorded of a walk, and what its host made of it. */
interface Recorded {
  readonly steps: readonly Step[];
  readonly verdict: Verdict;
  readonly rewrites: Written;
  readonly decTtl: number;
  /** What this host does of what the network forwards. */
  readonly drop: DropReason | undefined;
  readonly sends: readonly Send[];
}
function causePart({ steps, verdict, rewrites, decTtl, drop, sends }: Recorded): CausePart {
  const { ethSrc, ethDst } = rewrites;
  return known({
    steps: steps.map(({ at: { kind, id }, did, detail }) => known({ kind, id, did, detail })),
    verdict: verdictPart(verdict),
    decTtl,
    ethSrc: text(ethSrc, formatMac),
    ethDst: text(ethDst, formatMac),
    drop: verdict.kind === 'forward' ? drop : undefined,
    sends: sends.map(({ port, frame }) => ({ port, frame: frame.toHex() })),
  });
}

/** Whom the frames of a flow from the tunnel are for. */
function tunnelPart(key: number, source: Ip | undefined, { topology }: EdgeContext) {
  const bridge = topology.bridgeOfFloodKey(key);
  const router = bridge === undefined ? topology.routerOfNetworkKey(key) : undefined;
  return known({ key, source: text(source, formatIp), bridge, router });
}

/** An installed flow; undefined when it is not there any more, or not in use. */
function flowPart(ref: FlowRef, context: EdgeContext, peers: Peers): FlowPart | undefined {
  const { table, datapath, bindings } = context;
  const match = table.match(ref);
  const actions = datapath.actions(ref);
  const createdMs = table.createdMs(ref);
  if (match === undefined || actions === undefined || createdMs === undefined) return undefined;
  const entry = entryOf(match.key);
  const { packets, bytes, lastUsedMs } = datapath.stats(ref);
  const now = datapath.now();
  const since = (ms: number): number => Math.max(0, Math.round(now - ms));
  const cause = table.cause(ref);
  const tunnel = entry.tunnel;
  return known({
    slot: ref.slot,
    generation: ref.generation,
    port: tunnel === undefined ? bindings.portAt(entry.port) : undefined,
    tunnel: tunnel && tunnelPart(tunnel.key, peers.get(tunnel.source), context),
    key: match.key.toHex(),
    fields: fieldsOf(match.fields),
    connection: context.packets.decider.outcomeOf(match.key, match.fields)?.outcome.connection
      ?.state,
    cause:
      cause &&
      causePart({
        ...cause,
        rewrites: cause.rewrites ?? actions,
        decTtl: actions.decTtl ?? 0,
        drop: actions.drop,
        sends: [],
      }),
    actions: actionsPart(actions, context, peers),
    packets,
    bytes,
    ageMs: since(createdMs),
    idleMs: lastUsedMs === 0 ? undefined : since(lastUsedMs),
  });
}

export const flows: EdgeAnswer<'flows'> = function* (ask, context) {
  const { table, bindings } = context;
  const peers = peersOf(context);
  if (ask.slot !== undefined) {
    const part = flowPart({ slot: ask.slot, generation: ask.generation ?? 0 }, context, peers);
    return yield part === undefined ? [] : [part];
  }
  const ports = ask.ports && new Set<string>(ask.ports);
  const wanted = (ref: FlowRef): boolean => {
    if (ports === undefined) return true;
    const key = table.match(ref)?.key;
    const entry = key && entryOf(key);
    if (entry === undefined || entry.tunnel !== undefined) return false;
    return ports.has(bindings.portAt(entry.port) ?? '');
  };
  let left = ask.limit;
  let slot = (ask.after ?? -1) + 1;
  while (slot < table.slots && left > 0) {
    const parts: PartOf<'flows'>[] = [];
    let next = slot + SLOTS_PER_SLICE;
    // No reference outlives its slice: in between, flows come and go.
    for (const ref of table.refsIn(slot, SLOTS_PER_SLICE)) {
      const part = wanted(ref) ? flowPart(ref, context, peers) : undefined;
      if (part === undefined) continue;
      parts.push(part);
      left -= 1;
      if (parts.length < FLOWS_PER_SLICE && left > 0) continue;
      next = ref.slot + 1;
      break;
    }
    slot = next;
    yield parts;
  }
};

/** Why a flow would hand this packet up; RFC 791 and RFC 8200 packets have a TTL, others none. */
function beyond(key: Uint8Array, frame: Uint8Array, actions: Actions): WhyPart['beyond'] {
  const { ethType, ipProto, ipTtl } = headersOf(key);
  const isIp = ethType === ETHER_TYPE.IPV4 || ethType === ETHER_TYPE.IPV6;
  if (isIp && actions.decTtl !== undefined && ipTtl <= actions.decTtl) return 'ttl';
  if (packetSize(frame, 0) > (actions.mtu ?? Infinity)) return 'too-big';
  if (actions.soundTcp !== true || ipProto !== IP_PROTOCOL.TCP) return undefined;
  return isSoundTcp(tcpFlagsOf(frame) ?? 0) ? undefined : 'connection';
}

export const why: EdgeAnswer<'why'> = function* ({ port: id, frame: hex }, context) {
  const { host, table, datapath, bindings, packets, topology } = context;
  const port = id as PortId;
  const at = bindings.dpPort(port);
  if (at === undefined) throw new Error('the port is not up on this host');
  const frame = Uint8Array.fromHex(hex);
  const key = new Uint8Array(KEY_SIZE);
  if (!parseKey(frame, key)) throw new Error('the frame is too short to be an Ethernet frame');
  writeEntry(key, { port: at });
  const { revision } = topology;
  const ref = table.lookup(key);
  const actions = ref && datapath.actions(ref);
  const flow = ref && flowPart(ref, context, peersOf(context));
  const not = actions && beyond(key, frame, actions);
  if (flow !== undefined && not === undefined) return yield [{ revision, flow }];
  const ingress = { port };
  const outcome = packets.decider.observe(frame, ingress)?.outcome;
  if (outcome === undefined) throw new Error('the frame is too short to be an Ethernet frame');
  const carries = (each: PortId): boolean => bindings.dpPort(each) !== undefined;
  const drop = place(outcome, ingress, { host, topology, carries }).drop;
  const walk = causePart({ ...outcome, decTtl: outcome.guards.decTtl, drop });
  yield [known({ revision, flow, beyond: not, walk })];
};
