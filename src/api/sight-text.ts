/**
 * Frames and drops as hosts tell them, in words for one reader.
 *
 * Invariants: nothing is told of a place that the reader may not see, nor of hosts to tenants; a
 * host is believed about its own ports only; every drop has its reason and, where a flow dropped
 * it, the step that decided.
 */
import type { PartOf } from '#client/asks.ts';
import type { CapturedFrame, DropRow, SeenFrame, StepRow } from '#client/sight.ts';
import { DROPS, type DropReason } from '#virtual/drop.ts';
import type { AnyId, PortId } from '#virtual/ids.ts';
import type { Step } from '#virtual/outcome.ts';
import { describeOutcome } from '#virtual/trace.ts';
import { type Reader, titleOf } from './flow-rows.ts';

type ObjectRef = { readonly kind: 'port' | 'bridge' | 'router' | 'chain'; readonly id: string };

/** Whether the reader may know an object. */
export function mayKnow({ topology, sees }: Reader, { kind, id }: ObjectRef): boolean {
  const object = topology.get(kind, id);
  return object !== undefined && sees(kind, object);
}

/** Whom a key reaches on a host. */
function reachedBy({ topology, portOf }: Reader, host: string, key: number): ObjectRef | undefined {
  const bridge = topology.bridgeOfFloodKey(key);
  if (bridge !== undefined) return { kind: 'bridge', id: bridge };
  const router = topology.routerOfNetworkKey(key);
  if (router !== undefined) return { kind: 'router', id: router };
  const port = portOf(host, key);
  return port === undefined ? undefined : { kind: 'port', id: port };
}

/** The object at whose place a host saw a frame; undefined: at none that it may speak for. */
export function placeSeen(host: string, seen: SeenFrame, reader: Reader): ObjectRef | undefined {
  const { at, to, where } = seen;
  const carried = (id: string): boolean => reader.topology.location(id as PortId)?.host === host;
  if (at.port !== undefined) return carried(at.port) ? { kind: 'port', id: at.port } : undefined;
  if (at.key !== undefined) return reachedBy(reader, host, at.key);
  if (where !== 'inject' || to === undefined) return undefined;
  // A frame of the network itself: of whoever gets it.
  if (to.port !== undefined) return carried(to.port) ? { kind: 'port', id: to.port } : undefined;
  const remote = to.remote === undefined ? undefined : reader.hostAt(to.remote);
  return to.key === undefined || remote === undefined
    ? undefined
    : reachedBy(reader, remote, to.key);
}

const nameOf = (reader: Reader, ref: ObjectRef): string =>
  mayKnow(reader, ref)
    ? `${ref.kind} ${titleOf(reader.topology, ref.kind, ref.id)}`
    : `a ${ref.kind} of another tenant`;

/** A step as a trace prints it. */
export function stepText({ kind, id, did, detail }: StepRow, reader: Reader): string {
  const step = {
    at: { kind, id: id as AnyId },
    did: did as Step['did'],
    ...(detail !== undefined && { detail }),
  };
  const knows = (what: ObjectRef['kind'], which: string): boolean =>
    mayKnow(reader, { kind: what, id: which });
  const walk = { rewrites: {}, guards: { decTtl: 0, mtu: undefined }, sends: [] };
  const told = { ...walk, steps: [step], verdict: { kind: 'answer' } as const };
  return describeOutcome(told, reader.topology, knows)[0] ?? '';
}

const UP: Readonly<Record<string, string>> = {
  miss: 'no flow matches yet',
  stale: 'its flow is to be decided anew',
  ttl: 'its TTL is used up on the way',
  'too-big': 'it is larger than the MTU of the way',
};

/** How a host is called. */
export const hostTitle = ({ topology, operator }: Reader, host: string): string =>
  operator ? titleOf(topology, 'host', host) : 'a host';

class FrameText {
  readonly #host: string;
  readonly #seen: SeenFrame;
  readonly #reader: Reader;

  constructor(host: string, seen: SeenFrame, reader: Reader) {
    this.#host = host;
    this.#seen = seen;
    this.#reader = reader;
  }

  at(): string {
    const { where, at } = this.#seen;
    if (where === 'inject') return 'agent';
    if (where !== 'tunnel')
      return at.port === undefined
        ? 'an interface'
        : nameOf(this.#reader, { kind: 'port', id: at.port });
    const from = at.remote === undefined ? undefined : this.#reader.hostAt(at.remote);
    if (!this.#reader.operator || at.remote === undefined) return 'tunnel';
    return `tunnel from ${from === undefined ? at.remote : hostTitle(this.#reader, from)}`;
  }

  /** The id of a flow here, as lists show it to this reader. */
  flowId(flow: string | undefined): string | undefined {
    const { port } = this.#seen.at;
    if (flow === undefined) return undefined;
    if (this.#reader.operator) return `${hostTitle(this.#reader, this.#host)}:${flow}`;
    if (port === undefined || !mayKnow(this.#reader, { kind: 'port', id: port })) return undefined;
    return `${titleOf(this.#reader.topology, 'port', port)}:${flow}`;
  }

  #target(): string {
    const { to, outputs } = this.#seen;
    if (to?.port !== undefined) return nameOf(this.#reader, { kind: 'port', id: to.port });
    if (to?.key !== undefined) {
      const host = to.remote === undefined ? undefined : this.#reader.hostAt(to.remote);
      if (!this.#reader.operator) return 'tunnel to another host';
      return `tunnel to ${host === undefined ? to.remote : hostTitle(this.#reader, host)}`;
    }
    return `${outputs} output${outputs === 1 ? '' : 's'}`;
  }

  verdict(): string {
    const { where, fate, reason = '', by, at, decided } = this.#seen;
    const way = where === 'out' ? 'out' : where === 'inject' ? 'sent on' : 'in';
    const flow = this.flowId(this.#seen.flow);
    const via = flow === undefined ? '' : `, flow ${flow}`;
    if (fate === 'dropped') {
      const rule = by === undefined ? '' : ` by ${stepText(by, this.#reader)}`;
      return `${way}${via}, dropped: ${reason}${rule}`;
    }
    if (fate === 'up') {
      const id = this.flowId(decided?.flow);
      const after =
        decided === undefined
          ? ''
          : `; decided${id === undefined ? '' : `: flow ${id}`}` +
            `${decided.reason === undefined ? '' : `, dropped: ${decided.reason}`}`;
      return `${way}, to the agent: ${UP[reason] ?? reason}${after}`;
    }
    if (where === 'out') return 'out';
    if (where === 'tunnel' && at.port !== undefined)
      return `in, key of ${nameOf(this.#reader, { kind: 'port', id: at.port })} → out`;
    const key = at.key === undefined ? undefined : reachedBy(this.#reader, this.#host, at.key);
    const flood = where !== 'tunnel' || key === undefined ? '' : `, ${nameOf(this.#reader, key)}`;
    return `${way}${flood}${via} → ${this.#target()}`;
  }
}

/** A frame for the reader, who may know its place. */
export function capturedFrame(host: string, seen: SeenFrame, reader: Reader): CapturedFrame {
  const text = new FrameText(host, seen, reader);
  const { atMs, where, fate, reason, length, frame } = seen;
  const flow = text.flowId(seen.flow ?? seen.decided?.flow);
  return {
    type: 'frame',
    atMs,
    host: hostTitle(reader, host),
    where,
    at: text.at(),
    verdict: text.verdict(),
    fate,
    ...(reason !== undefined && { reason }),
    ...(flow !== undefined && { flow }),
    length,
    frame,
  };
}

/** Where drops happened; undefined: where the reader may know of none. */
function dropPlace(host: string, part: PartOf<'drops'>, reader: Reader) {
  const { port, bridge, router, remote } = part;
  if (port !== undefined) {
    const here = reader.topology.location(port as PortId)?.host === host;
    const ref = { kind: 'port', id: port } as const;
    return here && mayKnow(reader, ref) ? { at: nameOf(reader, ref), port } : undefined;
  }
  if (!reader.operator) return undefined;
  if (bridge !== undefined)
    return { at: `${nameOf(reader, { kind: 'bridge', id: bridge })}, from the tunnel`, bridge };
  if (router !== undefined)
    return { at: `${nameOf(reader, { kind: 'router', id: router })}, from the tunnel`, router };
  if (remote === undefined) return { at: 'no port' };
  const from = reader.hostAt(remote);
  return { at: `tunnel from ${from === undefined ? remote : hostTitle(reader, from)}` };
}

/**
 * Drops of one place for one reason: a row for each rule whose flows live, and one for the rest,
 * so that the packets of all rows are all there were.
 */
export function dropRows(host: string, part: PartOf<'drops'>, reader: Reader): DropRow[] {
  const place = dropPlace(host, part, reader);
  const known = Object.hasOwn(DROPS, part.reason);
  // Of a version that has more reasons than this one: its word says what it is.
  const about = known ? DROPS[part.reason as DropReason].about : '';
  if (place === undefined) return [];
  const row = { host: hostTitle(reader, host), ...place, reason: part.reason, about };
  const ruled = part.rules.map(({ by, flows, packets }) => ({
    ...row,
    ...(by !== undefined && { by: stepText(by, reader) }),
    flows,
    packets,
  }));
  const rest = part.packets - ruled.reduce((sum, { packets }) => sum + packets, 0);
  if (rest > 0 || ruled.length === 0) ruled.push({ ...row, flows: 0, packets: Math.max(0, rest) });
  return ruled;
}
