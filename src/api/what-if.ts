/**
 * What a proposed change would do to the flows that are installed now: each is decided twice, on
 * the topology as it is and as it would be, with what was learned (less what the change itself
 * makes everybody forget), and the two fates are compared.
 *
 * Invariants: it is the agents' own walk by the flow's own key, as when an agent adopts a flow; a
 * host that did not answer, flows that were not looked at, and flows about which their agent has
 * decided otherwise are told, never passed over; a caller is told of the flows that `mn flows`
 * shows it; the node goes on serving, and a caller that goes ends it.
 */
import { assumed, type ConnectionState } from '#virtual/connection.ts';
import { setImmediate } from 'node:timers/promises';
import type { AskOf, PartOf } from '#client/asks.ts';
import { FLOWS_PER_ASK_MAX, type MissingHost, PORTS_PER_ASK_MAX } from '#client/flows.ts';
import type { FlowClass } from '#client/what-if.ts';
import { compare, fateOf, GONE, type Comparison, type Fate } from '#flow/fate.ts';
import { KEY_SIZE } from '#flow/layout.ts';
import { entryOf, headersOf } from '#flow/parse.ts';
import { place, type Placed } from '#flow/placed.ts';
import type { HostId, PortId } from '#virtual/ids.ts';
import type { StoredObject } from '#virtual/kind.ts';
import type { ObjectOf } from '#virtual/kinds.ts';
import { fieldSet, hasField, type FieldSet } from '#virtual/match.ts';
import type { Ingress, Outcome } from '#virtual/outcome.ts';
import { ANY_PORTS } from '#virtual/nat/any-ports.ts';
import { simulate } from '#virtual/simulate.ts';
import type { Topology } from '#virtual/topology.ts';
import type { StateView } from '#virtual/view.ts';
import { AskFailed, type AskOptions } from './asks.ts';
import { learnedWithout } from './learned-without.ts';
import type { Node } from './node.ts';
import type { Carried, Proposal } from './what-if-plan.ts';

/** Hosts asked at a time; a caller may have more asks open than that. */
const HOSTS_AT_ONCE = 8;
/** Flows decided between two turns of others: some milliseconds. */
const FLOWS_PER_SLICE = 64;
/** A TTL that no walk uses up, as where an agent decides by a key. */
const TTL_AMPLE = 255;
const NO_BYTES = new Uint8Array(0);

type FlowPart = PartOf<'flows'>;
type PortRow = ObjectOf<'port'>;

/** How a flow's packets fare in one of the two topologies. */
export interface Decided {
  readonly fate: Fate;
  /** Absent: nothing enters there. */
  readonly outcome?: Outcome;
  readonly placed?: Placed;
}
export interface ComparedFlow {
  readonly host: string;
  readonly part: FlowPart;
  readonly class: FlowClass;
  readonly changed: Comparison['changed'];
  /** Read by one of the walks, and not matched by the flow. */
  readonly depends: FieldSet;
  readonly before: Decided;
  readonly after: Decided;
}
export interface Compared {
  /** Those that would not be as they are. */
  readonly flows: readonly ComparedFlow[];
  readonly counts: Readonly<Record<FlowClass | 'unchanged', number>>;
  readonly looked: number;
  readonly hosts: number;
  readonly missing: readonly MissingHost[];
  readonly partly: readonly string[];
  readonly otherwise: number;
}

/** One side of the comparison. */
interface Side {
  readonly topology: Topology;
  readonly carried: Carried;
  /** What is known on every host. */
  readonly state: Omit<StateView, 'isHere' | 'connections'>;
}

/** A flow as its agent tells it, and where its packets enter. */
interface AskedFlow {
  readonly key: Uint8Array;
  readonly fields: FieldSet;
  readonly ingress: Ingress | undefined;
  readonly connection: ConnectionState | undefined;
}

/** By the masked key of a flow, as the agent of the host would decide it. */
export function decideKey(
  host: HostId,
  { key, fields, ingress, connection }: AskedFlow,
  { topology, carried, state: known }: Side,
): Decided {
  if (ingress === undefined) return { fate: GONE };
  const headers = headersOf(key);
  const ample = hasField(fields, 'ipTtl') ? headers : { ...headers, ipTtl: TTL_AMPLE };
  const isHere = (port: PortId): boolean => topology.isOnHost(port, host);
  const state = { ...known, connections: assumed(connection), isHere };
  const outcome = simulate({ topology, state, headers: ample, bytes: NO_BYTES, size: 0, ingress });
  const here = carried.get(host);
  const carries = (port: PortId): boolean => here?.has(port) === true;
  const placed = place(outcome, ingress, { host, topology, carries });
  return { fate: fateOf(outcome, placed), outcome, placed };
}

/** Which port an interface of a host carries, on one side. */
class Entries {
  readonly #side: Side;
  readonly #hosts = new Map<HostId, ReadonlyMap<string, PortId>>();

  constructor(side: Side) {
    this.#side = side;
  }
  portAt(host: HostId, name: string): PortId | undefined {
    return this.#hosts.getOrInsertComputed(host, () => this.#ofHost(host)).get(name);
  }
  #ofHost(host: HostId): Map<string, PortId> {
    const ports = new Map<string, PortId>();
    for (const id of this.#side.carried.get(host) ?? []) {
      const name = (this.#side.topology.get('port', id) as PortRow | undefined)?.interface;
      if (name !== undefined) ports.set(name, id);
    }
    return ports;
  }
}

/** Where a flow's packets enter; undefined: nowhere. */
function ingressOf(topology: Topology, key: Uint8Array, port: PortId | undefined) {
  const { tunnel } = entryOf(key);
  if (tunnel === undefined) return port === undefined ? undefined : { port };
  const flood = topology.bridgeOfFloodKey(tunnel.key);
  if (flood !== undefined) return { flood };
  const heard = topology.routerOfNetworkKey(tunnel.key);
  return heard === undefined ? undefined : { heard };
}

export interface CompareRequest {
  readonly proposal: Proposal;
  /** Whom to ask, and for flows of which ports; undefined: of all. */
  readonly asked: readonly { readonly host: string; readonly ports?: readonly string[] }[];
  /** At most so many are looked at, shared equally. */
  readonly flowsMax: number;
  readonly options: AskOptions;
}

/** The flows of a host, up to its share. Throws AskFailed. */
async function flowsOf(
  { asks }: Node,
  { host, ports }: CompareRequest['asked'][number],
  share: number,
  options: AskOptions,
) {
  const flows: FlowPart[] = [];
  const groups: (readonly string[] | undefined)[] = [];
  for (let i = 0; i < (ports?.length ?? 0); i += PORTS_PER_ASK_MAX)
    groups.push(ports?.slice(i, i + PORTS_PER_ASK_MAX));
  for (const group of ports === undefined ? [undefined] : groups)
    for (let after = -1; ;) {
      // One more than there is room for: whether there are more.
      const limit = Math.min(FLOWS_PER_ASK_MAX, share + 1 - flows.length);
      const only = group === undefined ? {} : { ports: [...group] };
      const ask: AskOf<'flows'> = { kind: 'flows', limit, after, ...only };
      const parts = await asks.one(host, ask, options);
      flows.push(...parts);
      if (flows.length > share) return { flows: flows.slice(0, share), more: true };
      if (parts.length < limit) break;
      after = parts.at(-1)?.slot ?? after;
    }
  return { flows, more: false };
}

function stateOf({ learned }: Node): Side['state'] {
  return {
    macs: learned,
    neighbours: learned,
    errors: { mayTell: () => true },
    publicPorts: ANY_PORTS,
  };
}

/** What is learned once the change is made. */
function stateAfter({ learned }: Node, { after, changed }: Proposal): Side['state'] {
  const rows = changed.map(({ kind, id, after: put }) => (put ? { kind, id, put } : { kind, id }));
  const before: (StoredObject | undefined)[] = changed.map((one) => one.before);
  const known = learnedWithout(learned, learned.forgottenBy(after, { rows, before }));
  return {
    macs: known,
    neighbours: known,
    errors: { mayTell: () => true },
    publicPorts: ANY_PORTS,
  };
}

class Comparing {
  readonly flows: ComparedFlow[] = [];
  readonly counts = { broken: 0, opened: 0, moved: 0, unchanged: 0 };
  readonly #before: Side;
  readonly #after: Side;
  readonly #entries: Entries;
  looked = 0;
  otherwise = 0;

  constructor(node: Node, proposal: Proposal) {
    const { before, after, carriedBefore, carriedAfter } = proposal;
    this.#before = { topology: before, carried: carriedBefore, state: stateOf(node) };
    this.#after = { topology: after, carried: carriedAfter, state: stateAfter(node, proposal) };
    this.#entries = new Entries(this.#after);
  }

  add(host: HostId, part: FlowPart): void {
    this.looked++;
    const key = new Uint8Array(KEY_SIZE);
    key.set(Uint8Array.fromHex(part.key).subarray(0, KEY_SIZE));
    const fields = fieldSet(part.fields);
    const row = this.#before.topology.get('port', part.port ?? '') as PortRow | undefined;
    // An agent speaks for its own ports only.
    const port = row?.host === host ? row : undefined;
    const now = ingressOf(this.#before.topology, key, port?.id);
    const heir = port?.interface && this.#entries.portAt(host, port.interface);
    const then = ingressOf(this.#after.topology, key, heir || undefined);
    const flow = { key, fields, connection: part.connection };
    const before = decideKey(host, { ...flow, ingress: now }, this.#before);
    const after = decideKey(host, { ...flow, ingress: then }, this.#after);
    const arrives = before.fate.effect === 'delivered' || before.fate.effect === 'answered';
    if (arrives !== (part.actions.drop === undefined)) this.otherwise++;
    const { class: kind, changed } = compare(before.fate, after.fate);
    this.counts[kind]++;
    if (kind === 'unchanged') return;
    const seen = (before.outcome?.seen ?? 0) | (after.outcome?.seen ?? 0);
    const depends = seen & ~fields;
    this.flows.push({ host, part, class: kind, changed, depends, before, after });
  }
}

/** Asks the hosts for their flows and compares each. */
export async function compareFlows(
  node: Node,
  { proposal, asked, flowsMax, options }: CompareRequest,
): Promise<Compared> {
  const comparing = new Comparing(node, proposal);
  const missing = new Map<string, string>(proposal.silent);
  const partly: string[] = [];
  let hosts = 0;
  const share = Math.max(1, Math.floor(flowsMax / Math.max(asked.length, 1)));
  for (let i = 0; i < asked.length; i += HOSTS_AT_ONCE) {
    const answers = await Promise.all(
      asked.slice(i, i + HOSTS_AT_ONCE).map(async (one) => {
        try {
          return { ...one, ...(await flowsOf(node, one, share, options)) };
        } catch (error) {
          if (error instanceof AskFailed) return { ...one, why: error.message };
          throw error;
        }
      }),
    );
    for (const answer of answers) {
      if ('why' in answer) {
        missing.set(answer.host, answer.why);
        continue;
      }
      hosts++;
      if (answer.more) partly.push(answer.host);
      for (const [n, part] of answer.flows.entries()) {
        if (n % FLOWS_PER_SLICE === 0) await setImmediate();
        options.signal.throwIfAborted();
        comparing.add(answer.host as HostId, part);
      }
    }
  }
  const { flows, counts, looked, otherwise } = comparing;
  const gone = [...missing].map(([host, why]) => ({ host, why }));
  return { flows, counts, looked, hosts, missing: gone, partly, otherwise };
}
