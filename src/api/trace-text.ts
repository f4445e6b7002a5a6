/**
 * What one reader may know of a decided frame, with names: for a trace, whoever decided it.
 *
 * Invariant: of objects that the reader may not see it tells that they are on the way and what they
 * did, never their names, addresses, routes or hosts.
 */
import type { TraceAction, TraceFlow, TraceLook, TraceObject, TraceStep } from '#client/trace.ts';
import type { Copy, Placed } from '#flow/placed.ts';
import { fieldText } from '#virtual/field-text.ts';
import type { HostId } from '#virtual/ids.ts';
import { fieldsOf, type Headers } from '#virtual/match.ts';
import { ROUTE_CHOICES, type Note, type RouteNote } from '#virtual/observe.ts';
import type { Outcome, Step } from '#virtual/outcome.ts';
import type { Topology } from '#virtual/topology.ts';
import { describeStep, type Known, knowsWhole, Names } from '#virtual/trace.ts';
import type { Sight } from './lists.ts';

/** Of an outcome what is told: an agent sends no more. */
export type DecidedOutcome = Pick<
  Outcome,
  'verdict' | 'rewrites' | 'guards' | 'seen' | 'cacheable' | 'steps'
>;

export interface Reader {
  readonly topology: Topology;
  readonly knows: Known;
  readonly sees: Sight;
  readonly names: Names;
}
export function readerOf(topology: Topology, sees: Sight): Reader {
  const knows: Known = (kind, id) => {
    const object = topology.get(kind, id);
    return object !== undefined && sees(kind, object);
  };
  return { topology, sees, knows, names: new Names(topology, knows) };
}

/** A host's name; undefined for readers that may not know where things run. */
export function hostName({ topology, sees }: Reader, id: HostId): string | undefined {
  const host = topology.get('host', id);
  return host !== undefined && sees('host', host) ? (host.name ?? id) : undefined;
}

function objectOf({ names, knows }: Reader, { kind, id }: Step['at']): TraceObject {
  return { kind, ...(knows(kind, id) && { id }), name: names.of(kind, id) };
}

const routeText = ({ destination, kind, gateway, source, weight, name, choice }: RouteNote) =>
  [
    `route ${destination} ${kind}`,
    ...(gateway === undefined ? [] : [`via ${gateway}`]),
    ...(source === undefined ? [] : [`from ${source}`]),
    ...(name === undefined ? [] : [name]),
    `weight ${weight}: ${ROUTE_CHOICES[choice]}`,
  ].join(' ');

/** The kinds that a condition names. */
const IN_CONDITIONS = ['port', 'port-group', 'address-group', 'bridge', 'router'] as const;
const ID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** A condition with names in place of ids, where the reader may know them. */
const namedIn = ({ topology, sees }: Reader, text: string): string =>
  text.replace(ID, (id) => {
    for (const kind of IN_CONDITIONS) {
      const object = topology.get(kind, id);
      if (object !== undefined && sees(kind, object)) return object.name ?? id;
    }
    return id;
  });

/** Undefined: it is not the reader's to know. */
function lookOf(reader: Reader, note: Note): TraceLook | undefined {
  const { names, knows } = reader;
  switch (note.kind) {
    case 'read': {
      const { kind, field, value } = note;
      return { kind, field, value, text: `reads ${field} ${value}` };
    }
    case 'payload':
      return { kind: 'payload', text: 'reads the frame behind its headers, which no flow matches' };
    case 'write': {
      const { kind, field, before, after } = note;
      return { kind, field, before, after, text: `sets ${field}: ${before} -> ${after}` };
    }
    case 'size': {
      const text = `${note.fits ? 'fits' : 'is larger than'} the MTU of ${note.mtu} bytes`;
      return { kind: 'size', text };
    }
    case 'routes': {
      if (!knows(note.at.kind, note.at.id)) return undefined;
      const routes = note.routes.map((route) => ({ ...route, text: routeText(route) }));
      const text = routes.length === 0 ? 'no route to it' : 'routes to it';
      return { kind: 'routes', text, routes };
    }
    case 'rule': {
      const { at, rule, because } = note;
      if (!knows(at.kind, at.id)) return undefined;
      const answer =
        because === undefined ? 'matches' : `is not for it: ${namedIn(reader, because)}`;
      return {
        kind: 'rule',
        text: `rule ${rule} of chain ${names.of(at.kind, at.id)} ${answer}`,
      };
    }
    case 'ask': {
      const { at, about, found, place } = note;
      if (!knows(at.kind, at.id)) return undefined;
      const where = place === undefined ? [] : [`at port ${names.of('port', place)}`];
      const answer = [...(found === undefined ? [] : [found]), ...where].join(' ') || 'none';
      return {
        kind: 'ask',
        text: `asks ${at.kind} ${names.of(at.kind, at.id)}: ${about}: ${answer}`,
      };
    }
  }
}

/** What was looked at for a step, or (behind the last) for the verdict. */
const looksOf = (reader: Reader, notes: readonly Note[], step: number): TraceLook[] =>
  notes
    .filter((note) => note.step === step)
    .map((note) => lookOf(reader, note))
    .filter((look) => look !== undefined);

export function stepsOf(
  reader: Reader,
  { steps }: DecidedOutcome,
  notes: readonly Note[],
): TraceStep[] {
  const { knows, names } = reader;
  return steps.map((step, i) => {
    const known = knows(step.at.kind, step.at.id);
    return {
      at: objectOf(reader, step.at),
      did: step.did,
      ...(known && step.detail !== undefined && { detail: step.detail }),
      text: describeStep(step, names),
      looked: known ? looksOf(reader, notes, i) : [],
    };
  });
}

/** What was looked at last, unless that was in a place that the reader may not see. */
export function lastLooks(
  reader: Reader,
  { steps }: DecidedOutcome,
  notes: readonly Note[],
): TraceLook[] {
  const last = steps.at(-1)?.at;
  return last !== undefined && reader.knows(last.kind, last.id)
    ? looksOf(reader, notes, steps.length)
    : [];
}

/** Where it enters, the devices that it passes, each once in a row, and where it leaves. */
export function wayOf(reader: Reader, { steps, verdict }: DecidedOutcome): TraceObject[] {
  const way: Step['at'][] = [];
  const first = steps.find(({ at }) => at.kind === 'port');
  if (first?.did === 'enter') way.push(first.at);
  for (const { at } of steps) if (at.kind !== 'port' && way.at(-1)?.id !== at.id) way.push(at);
  const last = steps.at(-1);
  if (verdict.kind === 'forward' && last?.did === 'leave') way.push(last.at);
  return way.map((at) => objectOf(reader, at));
}

function outputText(reader: Reader, copy: Copy): string {
  const { names, knows } = reader;
  const tag = copy.vlan === undefined ? '' : copy.vlan === 0 ? ', untagged' : `, vlan ${copy.vlan}`;
  const host = hostName(reader, copy.host);
  const on = host === undefined ? '' : ` on ${host}`;
  if ('flood' in copy) return `to the ports of bridge ${names.of('bridge', copy.flood)}${on}${tag}`;
  const at = host === undefined || copy.interface === undefined ? '' : ` (${copy.interface})`;
  return `to port ${names.of('port', copy.port)}${knows('port', copy.port) ? `${on}${at}${tag}` : ''}`;
}

const REWRITTEN = ['ethSrc', 'ethDst', 'ipSrc', 'ipDst', 'tpSrc', 'tpDst'] as const;

export function actionsOf(
  reader: Reader,
  { verdict, rewrites, guards }: DecidedOutcome,
  placed: Placed,
): TraceAction[] {
  if (placed.drop !== undefined) return [{ do: 'drop', text: `drop: ${placed.drop}` }];
  const actions: TraceAction[] = [];
  if (knowsWhole(verdict, reader.knows))
    for (const field of REWRITTEN) {
      const value = rewrites[field];
      if (value !== undefined)
        actions.push({ do: 'set', text: `set ${field} ${fieldText(field, value)}` });
    }
  if (guards.decTtl > 0)
    actions.push({
      do: 'less-ttl',
      text: `ttl less ${guards.decTtl}; hand up when it is not more`,
    });
  if (guards.mtu !== undefined)
    actions.push({ do: 'hand-up-larger', text: `hand up packets larger than ${guards.mtu} bytes` });
  for (const copy of placed.copies) actions.push({ do: 'output', text: outputText(reader, copy) });
  return actions;
}

const NO_FLOW = {
  answer: 'the network itself answers',
  collect: 'it is kept until its datagram is whole',
  wait: 'it waits until the next hop is known',
  'want-ports': 'it waits until its host owns a public port that is free',
} as const;

interface FlowOf {
  readonly headers: Headers;
  readonly outcome: DecidedOutcome;
  /** Undefined: the port where it enters is up on no host. */
  readonly placed: Placed | undefined;
}

export function flowOf(reader: Reader, { headers, outcome, placed }: FlowOf): TraceFlow {
  const match = fieldsOf(outcome.seen).map((field) => ({
    field,
    value: fieldText(field, headers[field]),
  }));
  const { kind } = outcome.verdict;
  const actions = placed === undefined ? [] : actionsOf(reader, outcome, placed);
  if (kind === 'answer' || kind === 'collect' || kind === 'wait' || kind === 'want-ports')
    return { match, actions: [], none: NO_FLOW[kind] };
  if (!outcome.cacheable)
    return { match, actions, none: 'the decision depends on what no flow matches' };
  if (placed === undefined)
    return { match, actions, none: 'the port where it enters is up on no host' };
  return { match, actions };
}
