/**
 * A walk together with what it looked at on the way: fields read and written, seeds, learned places
 * and neighbours asked for, and every route that was considered.
 *
 * It is the walk itself, through views that note what they are asked, so it cannot tell another
 * story. Invariants: the outcome is the one `simulate` gives without it, in everything; each note
 * names the step that it led to; notes are plain data, so that an agent can send them; there are
 * at most NOTES_MAX.
 */
import { formatTuple, type ConnectionsView } from './connection.ts';
import { formatIp, type Ip, type Ip6 } from '#net/ip.ts';
import { formatMac, type Mac } from '#net/mac.ts';
import { contains, formatPrefix } from '#net/prefix.ts';
import { fieldText } from './field-text.ts';
import type { BridgeId, ChainId, PortId, RouterId } from './ids.ts';
import { Match, type Field, type Headers, type Rewrites } from './match.ts';
import type { Ingress, Outcome, Step } from './outcome.ts';
import type { Tried } from './walk.ts';
import type { ReadyBridge, ReadyRouter } from './ready.ts';
import { shareOf } from './router/share.ts';
import { fieldTextOf, type ConditionField, type ConditionView } from './rule/condition.ts';
import { simulate, type SimulateRequest } from './simulate.ts';
import type {
  BridgeView,
  LearnedView,
  NeighbourView,
  PortView,
  RouterView,
  RouteView,
  StateView,
  TopologyView,
} from './view.ts';

/** Notes of one walk; what comes after is counted. A flood over many bridges makes most. */
export const NOTES_MAX = 2_000;

/** Why a route to the destination was taken, or was not. */
export const ROUTE_CHOICES = {
  taken: 'taken',
  shared: 'of equal weight; this connection goes by another',
  weight: 'higher weight',
  source: 'is for another source',
  'shorter-source': 'shorter source prefix',
  shorter: 'shorter prefix',
  'not-alive': 'its port cannot carry traffic',
} as const;
export type RouteChoice = keyof typeof ROUTE_CHOICES;

export interface RouteNote {
  readonly id: string;
  readonly name?: string;
  readonly kind: RouteView['kind'];
  readonly destination: string;
  readonly source?: string;
  readonly gateway?: string;
  readonly weight: number;
  readonly choice: RouteChoice;
}

type At = Step['at'];
export type Note = {
  /** The number of the step that it led to; behind the last one: the verdict. */
  readonly step: number;
} & (
  | { readonly kind: 'read'; readonly field: Field; readonly value: string }
  | { readonly kind: 'payload' }
  | {
      readonly kind: 'write';
      readonly field: Field;
      readonly before: string;
      readonly after: string;
    }
  /** `found`: absent for none; `place`: the port that it names. */
  | {
      readonly kind: 'ask';
      readonly at: At;
      readonly about: string;
      readonly found?: string;
      readonly place?: PortId;
    }
  | { readonly kind: 'size'; readonly mtu: number; readonly fits: boolean }
  /** A rule was asked; `because`: what it asks and the packet has not; absent: it matched. */
  | { readonly kind: 'rule'; readonly at: At; readonly rule: string; readonly because?: string }
  | { readonly kind: 'routes'; readonly at: At; readonly routes: readonly RouteNote[] }
);
/** A note without the step that it led to. */
type Remark = Note extends infer N ? (N extends Note ? Omit<N, 'step'> : never) : never;

export interface Observed {
  readonly outcome: Outcome;
  readonly notes: readonly Note[];
  /** How many more there would be. */
  readonly notesLeftOut: number;
}

class Notes {
  readonly steps: Step[] = [];
  readonly list: Note[] = [];
  leftOut = 0;
  readonly #known = new Set<string>();

  /** Once for each step: a step that asks for the same again learns nothing. */
  add(remark: Remark): void {
    const note = { step: this.steps.length, ...remark } as Note;
    const text = JSON.stringify(note);
    if (this.#known.has(text)) return;
    if (this.list.length >= NOTES_MAX) {
      this.leftOut++;
      return;
    }
    this.#known.add(text);
    this.list.push(note);
  }
}

/** The packet, as it is at each moment, and who looks at it. */
class ObservedMatch extends Match {
  readonly #notes: Notes;
  readonly #now: { -readonly [F in Field]: Headers[F] };
  readonly #written = new Set<Field>();
  readonly #size: number;
  /** As it came. */
  readonly #vlan: number;

  constructor(notes: Notes, { headers, bytes, size }: SimulateRequest) {
    super(headers, bytes, size);
    this.#notes = notes;
    this.#now = { ...headers };
    this.#size = size;
    this.#vlan = headers.vlan;
  }
  /** The headers as they are now; looking at them is no reading. */
  get headersNow(): Headers {
    return this.#now;
  }

  override get<F extends Field>(field: F): Headers[F] {
    const value = super.get(field);
    if (!this.#written.has(field))
      this.#notes.add({ kind: 'read', field, value: fieldText(field, value) });
    return value;
  }
  override arrived<F extends Field>(field: F): Headers[F] {
    const value = super.arrived(field);
    this.#notes.add({ kind: 'read', field, value: fieldText(field, value) });
    return value;
  }
  override set<F extends keyof Rewrites | 'vlan'>(field: F, value: Headers[F]): void {
    const [before, after] = [fieldText(field, this.#now[field]), fieldText(field, value)];
    this.#notes.add({ kind: 'write', field, before, after });
    this.#written.add(field);
    this.#now[field] = value;
    super.set(field, value);
  }
  override decrementTtl(): boolean {
    const before = fieldText('ipTtl', this.#now.ipTtl);
    const left = super.decrementTtl();
    if (left) {
      this.#now.ipTtl -= 1;
      const after = fieldText('ipTtl', this.#now.ipTtl);
      this.#notes.add({ kind: 'write', field: 'ipTtl', before, after });
    } else this.#notes.add({ kind: 'read', field: 'ipTtl', value: before });
    return left;
  }
  override fits(mtu: number): boolean {
    const fits = super.fits(mtu);
    this.#notes.add({ kind: 'size', mtu, fits: this.#size <= mtu });
    return fits;
  }
  override resetVlan(before: number | undefined): void {
    super.resetVlan(before);
    if (before === undefined) this.#written.delete('vlan');
    this.#now.vlan = before ?? this.#vlan;
  }
  override payload(): Uint8Array {
    this.#notes.add({ kind: 'payload' });
    return super.payload();
  }
}

class ObservedBridge implements BridgeView {
  readonly #notes: Notes;
  readonly #bridge: BridgeView;
  constructor(notes: Notes, bridge: BridgeView) {
    this.#notes = notes;
    this.#bridge = bridge;
  }
  get id(): BridgeId {
    return this.#bridge.id;
  }
  get ready(): ReadyBridge {
    return this.#bridge.ready;
  }
  get name(): string {
    return this.#bridge.name;
  }
  get adminStateUp(): boolean {
    return this.#bridge.adminStateUp;
  }
  get inboundFilter(): ChainId | undefined {
    return this.#bridge.inboundFilter;
  }
  get outboundFilter(): ChainId | undefined {
    return this.#bridge.outboundFilter;
  }
  get filtered(): ReadonlySet<PortId> {
    return this.#bridge.filtered;
  }
  get floodKey(): number {
    return this.#bridge.floodKey;
  }
  get ports(): ReadonlySet<PortId> {
    return this.#bridge.ports;
  }
  get bridgeLinks(): ReadonlySet<PortId> {
    return this.#bridge.bridgeLinks;
  }
  get routerLinks(): ReadonlySet<PortId> {
    return this.#bridge.routerLinks;
  }
  get portsUp(): number {
    return this.#bridge.portsUp;
  }
  hasSolicited(group: Ip6): boolean {
    return this.#bridge.hasSolicited(group);
  }
  hasSeeds(family: 4 | 6): boolean {
    return this.#bridge.hasSeeds(family);
  }
  get secures(): boolean {
    return this.#bridge.secures;
  }
  hasSecured(family: 4 | 6): boolean {
    return this.#bridge.hasSecured(family);
  }
  securedMac(mac: Mac): ReadonlySet<PortId> | undefined {
    return this.#secured(`secured MAC ${formatMac(mac)}`, this.#bridge.securedMac(mac));
  }
  securedAddress(ip: Ip): ReadonlySet<PortId> | undefined {
    return this.#secured(`secured address ${formatIp(ip)}`, this.#bridge.securedAddress(ip));
  }
  /** An address may be secured at several ports: each is a note. */
  #secured(about: string, ports: ReadonlySet<PortId> | undefined) {
    if (ports === undefined) this.#ask(about, undefined);
    for (const place of ports ?? []) this.#ask(about, { place });
    return ports;
  }
  seededPort(mac: Mac): PortId | undefined {
    const place = this.#bridge.seededPort(mac);
    this.#ask(`seeded MAC ${formatMac(mac)}`, place && { place });
    return place;
  }
  seededAddress(ip: Ip): { readonly mac: Mac; readonly port: PortId } | undefined {
    const owner = this.#bridge.seededAddress(ip);
    const found = owner && { found: formatMac(owner.mac), place: owner.port };
    this.#ask(`seeded address ${formatIp(ip)}`, found);
    return owner;
  }
  #ask(about: string, answer: { found?: string; place: PortId } | undefined): void {
    this.#notes.add({ kind: 'ask', at: this.ready.at, about, ...answer });
  }
}

class ObservedRouter implements RouterView {
  readonly #notes: Notes;
  readonly #router: RouterView;
  readonly #match: ObservedMatch;
  constructor(notes: Notes, router: RouterView, match: ObservedMatch) {
    this.#notes = notes;
    this.#router = router;
    this.#match = match;
  }
  get id(): RouterId {
    return this.#router.id;
  }
  get ready(): ReadyRouter {
    return this.#router.ready;
  }
  get name(): string {
    return this.#router.name;
  }
  get adminStateUp(): boolean {
    return this.#router.adminStateUp;
  }
  get localFilter(): ChainId | undefined {
    return this.#router.localFilter;
  }
  get inboundFilter(): ChainId | undefined {
    return this.#router.inboundFilter;
  }
  get forwardFilter(): ChainId | undefined {
    return this.#router.forwardFilter;
  }
  get outboundFilter(): ChainId | undefined {
    return this.#router.outboundFilter;
  }
  get networkKey(): number {
    return this.#router.networkKey;
  }
  get ports(): ReadonlySet<PortId> {
    return this.#router.ports;
  }
  considered(destination: Ip): ReturnType<RouterView['considered']> {
    return this.#router.considered(destination);
  }
  routes(destination: Ip, source: () => Ip): readonly RouteView[] {
    const best = this.#router.routes(destination, source);
    const { headersNow } = this.#match;
    const taken =
      best.length === 0 ? undefined : shareOf(new Match(headersNow, new Uint8Array(0), 0), best);
    const routes = this.#router.considered(destination).map(({ route, alive }): RouteNote => {
      const choice = alive ? choiceOf(route, { best, taken, source: headersNow.ipSrc }) : undefined;
      return routeNote(route, choice ?? 'not-alive');
    });
    this.#notes.add({ kind: 'routes', at: this.ready.at, routes });
    return best;
  }
}

interface Chosen {
  readonly best: readonly RouteView[];
  readonly taken: RouteView | undefined;
  readonly source: Ip;
}
function choiceOf(route: RouteView, { best, taken, source }: Chosen): RouteChoice {
  if (route.id === taken?.id) return 'taken';
  if (best.some(({ id }) => id === route.id)) return 'shared';
  if (route.source !== undefined && !contains(route.source, source)) return 'source';
  if (taken === undefined || route.destination.length < taken.destination.length) return 'shorter';
  if ((route.source?.length ?? -1) < (taken.source?.length ?? -1)) return 'shorter-source';
  return 'weight';
}
const routeNote = (route: RouteView, choice: RouteChoice): RouteNote => ({
  id: route.id,
  ...(route.name !== undefined && { name: route.name }),
  kind: route.kind,
  destination: formatPrefix(route.destination),
  ...(route.source !== undefined && { source: formatPrefix(route.source) }),
  ...(route.gateway !== undefined && { gateway: formatIp(route.gateway) }),
  weight: route.weight,
  choice,
});

function observedTopology(
  notes: Notes,
  { topology }: SimulateRequest,
  match: ObservedMatch,
): TopologyView {
  const bridges = new Map<BridgeId, BridgeView>();
  return {
    revision: topology.revision,
    port: (id: PortId): PortView | undefined => topology.port(id),
    bridge: (id) => {
      const bridge = topology.bridge(id);
      if (bridge === undefined) return undefined;
      const known = bridges.get(id) ?? new ObservedBridge(notes, bridge);
      bridges.set(id, known);
      return known;
    },
    router: (id) => {
      const router = topology.router(id);
      return router && new ObservedRouter(notes, router, match);
    },
    chain: (id) => topology.chain(id),
    inPortGroup: (group, port) => topology.inPortGroup(group, port),
    inAddressGroup: (group, ip) => topology.inAddressGroup(group, ip),
    balancer: (router) => topology.balancer(router),
  };
}

/** Where packets enter: whose zone it is. */
function entryOf(ingress: Ingress): Step['at'] {
  if ('port' in ingress) return { kind: 'port', id: ingress.port };
  if ('out' in ingress) return { kind: 'port', id: ingress.out };
  return 'flood' in ingress
    ? { kind: 'bridge', id: ingress.flood }
    : { kind: 'router', id: ingress.heard };
}

function observedState(notes: Notes, { state, ingress }: SimulateRequest): StateView {
  const { macs, neighbours, connections } = state;
  const tracked: ConnectionsView = {
    find: (zone, tuple) => {
      const record = connections.find(zone, tuple);
      const found = record?.direction === 'return' ? 'its answers' : record && 'its opening';
      const about = `connection ${formatTuple(tuple)}`;
      const at = entryOf(ingress);
      notes.add({ kind: 'ask', at, about, ...(found !== undefined && { found }) });
      return record;
    },
  };
  const learned: LearnedView = {
    port: (bridge, vlan, mac) => {
      const place = macs.port(bridge, vlan, mac);
      const about = `learned MAC ${formatMac(mac)}${vlan === 0 ? '' : ` vlan ${vlan}`}`;
      const at = { kind: 'bridge', id: bridge } as const;
      notes.add({ kind: 'ask', at, about, ...(place && { place }) });
      return place;
    },
    mayLearn: (port) => macs.mayLearn(port),
  };
  const heard: NeighbourView = {
    neighbour: (port, ip) => {
      const mac = neighbours.neighbour(port, ip);
      const found = typeof mac === 'number' ? formatMac(mac) : mac;
      const at = { kind: 'port', id: port } as const;
      const about = `neighbour ${formatIp(ip)}`;
      notes.add({ kind: 'ask', at, about, ...(found !== undefined && { found }) });
      return mac;
    },
    mayHear: (port, by) => neighbours.mayHear(port, by),
  };
  return { ...state, macs: learned, neighbours: heard, connections: tracked };
}

const triedBy =
  (notes: Notes): Tried =>
  ({ ready }, rule, because) => {
    const name = rule.name === undefined ? '' : ` ${rule.name}`;
    const text = `${rule.position} ${rule.action}${name}`;
    notes.add({
      kind: 'rule',
      at: ready.at,
      rule: text,
      ...(because !== undefined && { because: becauseOf(rule.condition, because) }),
    });
  };

/** What a rule asks that the packet has not. */
function becauseOf(condition: ConditionView, failed: string): string {
  if (failed === 'invert') return 'all that it excepts is so';
  if (failed === 'fragments') return `fragments ${condition.fragments}`;
  return fieldTextOf(condition, failed as ConditionField);
}

/** Walks a packet and notes what the walk looks at. */
export function observe(request: Omit<SimulateRequest, 'observed'>): Observed {
  const notes = new Notes();
  const match = new ObservedMatch(notes, request);
  const outcome = simulate({
    ...request,
    topology: observedTopology(notes, request, match),
    state: observedState(notes, request),
    observed: { match, steps: notes.steps, tried: triedBy(notes) },
  });
  return { outcome, notes: notes.list, notesLeftOut: notes.leftOut };
}
