/**
 * The edge of the virtual network on one host: everything that must happen in one synchronous turn.
 * Wires the packet path, the bindings, what is learned and adoption; no thread, no clock and no I/O
 * of its own, so the world runs exactly this.
 *
 * Invariant: a change is applied, its flows are stale in the datapath and its bindings are in force
 * before
 * `handle` returns; only then does `state().revision` say so.
 */
import type { Limit, WatchEvent } from '#client/types.ts';
import type { Datapath } from '#datapath/datapath.ts';
import type { Actions } from '#flow/flow.ts';
import { Connections } from '#flow/connections.ts';
import { FlowTable } from '#flow/table.ts';
import type { Translation } from '#virtual/connection.ts';
import type { HostId, RuleId } from '#virtual/ids.ts';
import type { KindName } from '#virtual/kind.ts';
import type { FieldSet } from '#virtual/match.ts';
import type { Outcome } from '#virtual/outcome.ts';
import type { Tag } from '#virtual/tags.ts';
import { ErrorBudget } from '#virtual/state/error-budget.ts';
import { MacTable } from '#virtual/state/macs.ts';
import { Topology, type TopologyObject } from '#virtual/topology.ts';
import { Adoption } from './adopt.ts';
import { Asking } from './asking.ts';
import { BalanceCounts } from './balance-counts.ts';
import { Balancing } from './balancing.ts';
import { Bindings } from './bindings.ts';
import { EdgeAsks } from './edge-asks.ts';
import { DUTY_KINDS, dutiesOf, NO_DUTIES } from './health/duties.ts';
import { Learning } from './learning.ts';
import { LIMITS } from './limits.ts';
import type { EdgeState, FromEdge, RecordCounts, ToEdge } from './messages.ts';
import { Looks } from './looks.ts';
import { Neighbours } from './neighbours.ts';
import { PacketCounts } from './packet-counts.ts';
import { PacketPath, type PacketPathOptions } from './packets.ts';
import { PublicPorts } from './public-ports.ts';
import type { PathMtu } from './peers.ts';
import { Recipients } from './replication/recipients.ts';
import { bootOf, keysOf, Replicas, type RecordTransport } from './replication/replicas.ts';
import { RuleLog } from './rule-log.ts';
import { isZone, Tracking } from './tracking.ts';
import { notesOf, usageOf } from './usage.ts';

export interface EdgeOptions {
  readonly host: HostId;
  readonly datapath: Datapath;
  /** Monotonic milliseconds. */
  readonly now: () => number;
  /** A number nobody outside can know, for the flow table's hash. */
  readonly seed: number;
  /** How agents tell each other of connections; without it this host is alone. */
  readonly records?: RecordTransport;
  /** How large a packet reaches an underlay address whole; without it no way has a limit. */
  readonly pathMtu?: PathMtu | undefined;
}
type Post = (message: FromEdge) => void;

/** Nothing goes to other hosts, and nothing comes. */
const NO_RECORDS: RecordTransport = { fd: undefined, send: () => {}, receive: () => 0 };

/** Whether objects of such kinds may be gone after it. */
const removes = (event: WatchEvent, kinds: readonly KindName[]): boolean =>
  event.type === 'snapshot' ||
  (event.type === 'change' &&
    event.change.rows.some(({ kind, put }) => put === undefined && kinds.includes(kind)));

const balanceOf = (topology: Topology, table: FlowTable, datapath: Datapath): BalanceCounts =>
  new BalanceCounts({
    ...{ table, datapath },
    isPair: (vip, member) =>
      topology.get('vip', vip) !== undefined && topology.get('pool-member', member) !== undefined,
    hasVips: () => !topology.list('vip')[Symbol.iterator]().next().done,
  });

export class Edge {
  readonly #topology = new Topology();
  readonly #bindings: Bindings;
  readonly #learning: Learning;
  readonly #neighbours: Neighbours;
  readonly #errors = new ErrorBudget();
  readonly #tracking: Tracking;
  readonly #replicas: Replicas;
  readonly #asking: Asking;
  readonly #publicPorts: PublicPorts;
  readonly #balancing: Balancing;
  readonly #packets: PacketPath;
  readonly #adoption: Adoption;
  readonly #asks: EdgeAsks;
  readonly #looks: Looks;
  readonly #rules: PacketPathOptions['rules'] & { isRule(id: RuleId): boolean };
  readonly #now: () => number;
  readonly #host: HostId;
  /** As they were told last. */
  #duties = JSON.stringify(NO_DUTIES);
  readonly #usage: () => Limit[];
  readonly #records: () => RecordCounts;
  #limits: readonly Limit[] = [];
  #triedAtMs = 0;
  #hasTopology = false;
  #hasLearned = false;

  constructor({ host, datapath, now, seed, pathMtu, records = NO_RECORDS }: EdgeOptions) {
    const topology = this.#topology;
    this.#now = now;
    this.#host = host;
    const { flowIdleMs: idleMs, flowAgeMs: ageMaxMs } = LIMITS;
    const macs = new MacTable({ perPortMax: LIMITS.learnedPerPortMax, ageMs: LIMITS.learnedAgeMs });
    const { slots } = datapath;
    const quota = Math.floor(slots * LIMITS.flowQuota);
    const table = new FlowTable({ slots, quota, idleMs, ageMaxMs, seed });
    const bindings = new Bindings({ host, topology, datapath, pathMtu });
    const learning = new Learning({ host, topology, macs, now });
    const neighbours = new Neighbours({ host, topology, now });
    const connections = new Connections(datapath.connections, { seed });
    const clock = (): number => datapath.now();
    const replicas = new Replicas({
      connections,
      recipients: new Recipients({ host, topology, now: clock }),
      transport: records,
      isZone: (zone) => isZone(topology, zone),
      now: clock,
      boot: bootOf(seed),
      told: (ref) => this.#balancing.told(ref),
    });
    datapath.beforeFrames(() => replicas.flush());
    this.#replicas = replicas;
    const balanced = balanceOf(topology, table, datapath);
    const tracking = new Tracking({
      ...{ connections, topology, telling: replicas, now: clock },
      began: ({ steps }) => balanced.began(steps),
    });
    this.#tracking = tracking;
    const publicPorts = new PublicPorts({ host, topology, connections, now: clock, seed });
    this.#publicPorts = publicPorts;
    const balancing = new Balancing({ topology, connections, now: clock });
    this.#balancing = balancing;
    const asking = new Asking({ oracle: replicas, now: clock });
    this.#asking = asking;
    const state = { macs, neighbours, errors: this.#errors, connections };
    this.#bindings = bindings;
    this.#learning = learning;
    this.#neighbours = neighbours;
    const notes = () => notesOf(connections.counters(), replicas.counters(), asking);
    const isRule = (id: RuleId): boolean => topology.get('rule', id) !== undefined;
    const rules = {
      counts: new PacketCounts({ table, datapath, isRule, balanced }),
      log: new RuleLog(clock, seed),
      isRule,
    };
    this.#rules = rules;
    this.#records = notes;
    const known = { host, datapath, topology, table, bindings };
    const packets = new PacketPath({
      ...known,
      ...{ publicPorts, balancing, state, learning, tracking, asking, rules, notes },
    });
    this.#packets = packets;
    this.#usage = () =>
      usageOf({ datapath, table, bindings, macs, neighbours, connections, publicPorts });
    this.#adoption = new Adoption({ datapath, table, packets });
    const looks = new Looks(datapath);
    this.#looks = looks;
    this.#asks = new EdgeAsks({ ...known, packets, connections, publicPorts, looks });
  }

  /** Nothing is decided, and nothing adopted is touched, before all three are known. */
  get #ready(): boolean {
    return this.#hasTopology && this.#hasLearned && this.#bindings.listed;
  }

  /** Takes a message; when this returns, it is in force. */
  handle(message: ToEdge, post: Post): void {
    if (message.type === 'ask') return this.#asks.start(message.id, message.ask, post);
    if (message.type === 'ask-over') return this.#asks.over(message.id);
    if (message.type === 'ports-refused') return this.#publicPorts.refused(message.wanted);
    if (message.type === 'record-keys') return this.#replicas.setKeys(keysOf(message.told));
    if (message.type === 'event') {
      this.#onEvent(message.event);
      this.#tellDuties(message.event, post);
    } else if (message.type === 'interfaces') {
      this.#bindings.interfaces(message.interfaces);
      // Ways lead by interfaces.
      this.#refreshPaths();
      this.#settle([]);
    }
    this.#publish(post);
    post({ type: 'state', state: this.state() });
  }

  /** Decides waiting upcalls, at most one batch; how many there were. */
  pump(post: Post): number {
    this.#packets.invalidate(this.#replicas.receive());
    const handled = this.#packets.pump();
    // Questions leave at once: packets wait for the answers.
    if (this.#asking.open > 0) this.#replicas.flush();
    if (handled > 0) this.#publish(post);
    // Packets wait for that, too.
    if (this.#publicPorts.takeNews()) post({ type: 'state', state: this.state() });
    this.#asks.step(post);
    if (handled > 0) this.#asks.wake();
    return handled;
  }

  /** The datapath shows frames: whoever looks, or nobody any more, is handed them. */
  seen(): void {
    this.#looks.poll();
    this.#asks.wake();
  }

  /** Whether `pump` has to be called again though the datapath has nothing to tell. */
  get busy(): boolean {
    return this.#packets.waiting > 0 || this.#publicPorts.ready > 0 || this.#asks.busy;
  }

  /** Expiry, renewal and a fresh state; every `LIMITS.tickMs`. */
  tick(post: Post): void {
    if (this.#ready) {
      this.#packets.expire();
      this.#packets.invalidate(this.#learning.tick());
      this.#packets.invalidate(this.#errors.tick());
      this.#packets.invalidate(this.#neighbours.tick());
      this.#packets.invalidate(this.#tracking.tick());
      this.#publicPorts.tick();
      this.#rules.counts.balanced.tick();
      this.#replicas.tick();
      this.#refreshPaths();
      this.#packets.settle();
      this.#retry();
      this.#packets.flows.deleteSome();
    }
    this.#asks.wake();
    this.#limits = this.#usage();
    this.#publish(post);
    post({ type: 'state', state: this.state() });
  }

  state(): EdgeState {
    return {
      revision: this.#ready ? this.#topology.revision : -1,
      portsUp: this.#bindings.portsUp(),
      portsDown: this.#bindings.portsDown(),
      locate: this.#ready ? this.#bindings.locate() : [],
      counters: this.#packets.counters(),
      records: this.#records(),
      publicPorts: { wants: this.#publicPorts.wants(), returns: this.#publicPorts.returns() },
      limits: this.#limits,
      balanced: this.#rules.counts.balanced.totals(),
      firstPackets: this.#packets.firstPackets.counted(),
    };
  }

  /** Every object this edge knows. */
  objects(): Iterable<TopologyObject> {
    return this.#topology.objects();
  }
  /** Forgets every flow: each frame is decided anew. */
  forgetFlows(): void {
    this.#packets.invalidate('all');
    while (this.#packets.flows.stale > 0) this.#packets.flows.deleteSome();
  }
  /**
   * What becomes now of the packets of a flow, by its masked key; undefined: they enter nowhere.
   * `actions`: what the flow would do, if there were one.
   */
  decide(key: Uint8Array, fields: FieldSet): { outcome: Outcome; actions?: Actions } | undefined {
    const found = this.#packets.decider.outcomeOf(key, fields);
    const actions = this.#packets.decider.decide(key, fields)?.actions;
    return found && { outcome: found.outcome, ...(actions && { actions }) };
  }
  /** Installed flows that would not be installed so now, as text: none, or there is a bug. */
  wrongFlows(): string[] {
    return this.#adoption.wrongFlows();
  }

  #tellDuties(event: WatchEvent, post: Post): void {
    const rows = event.type === 'change' ? event.change.rows : [];
    if (event.type !== 'snapshot' && !rows.some(({ kind }) => DUTY_KINDS.includes(kind))) return;
    const duties = dutiesOf(this.#topology, this.#host);
    const text = JSON.stringify(duties);
    if (text === this.#duties) return;
    this.#duties = text;
    post({ type: 'duties', duties });
  }

  #onEvent(event: WatchEvent): void {
    let changed: readonly Tag[] | 'all' = [];
    const owned = this.#publicPorts.ids();
    switch (event.type) {
      case 'snapshot':
        changed = this.#topology.reset(event.revision, event.objects);
        this.#hasTopology = true;
        this.#balancing.restore();
        break;
      case 'change':
        this.#replicas.before(event.change.rows);
        changed = this.#topology.apply(event.change);
        break;
      case 'progress':
        this.#topology.advance(event.revision);
        return;
      case 'learned':
        this.#packets.invalidate(this.#learning.fromStore(event));
        this.#packets.invalidate(this.#neighbours.fromStore(event));
        this.#packets.settle();
        if (this.#hasLearned) return;
        this.#hasLearned = true;
        break;
      case 'ask':
      case 'ask-over':
        throw new Error('an ask is a message of its own');
    }
    this.#packets.invalidate(changed);
    this.#packets.invalidate(this.#neighbours.follow());
    this.#replicas.follow(event.type === 'change' ? event.change.rows : 'all');
    this.#publicPorts.follow(event.type === 'change' ? event.change.rows : 'all', owned);
    if (removes(event, ['nat-block'])) this.#release();
    if (removes(event, ['rule', 'chain'])) {
      this.#rules.counts.rules.forget();
      this.#rules.log.forget(this.#rules.isRule);
    }
    if (removes(event, ['vip', 'pool-member'])) {
      this.#rules.counts.balanced.forget();
      this.#balancing.follow();
    }
    if (removes(event, ['bridge', 'router'])) this.#packets.invalidate(this.#tracking.follow());
    this.#settle(changed);
  }

  /** Connections whose public ports are nobody's any more: the next owner may choose them. */
  #release(): void {
    const topology = this.#topology;
    const isOwned = ({ changes, zone, to }: Translation): boolean => {
      const router = topology.routerOfNetworkKey(zone);
      if (changes === 'destination' || router === undefined) return true;
      return topology.natBlocks.owner(router, to.ip, to.port) !== undefined;
    };
    this.#packets.invalidate(this.#tracking.release(isOwned));
  }

  /** Brings bindings, and on the first time adopted flows, in line with what is known now. */
  #settle(changed: readonly Tag[] | 'all'): void {
    if (!this.#ready) return;
    this.#bindings.sync(changed, (tags) => this.#packets.invalidate(tags));
    this.#packets.flows.deleteSome();
    this.#adoption.settle();
    this.#packets.open();
    this.#retirePeers();
  }

  /** Flows that know another MTU of the way to a host go; their next frames are decided anew. */
  #refreshPaths(): void {
    this.#packets.invalidate(this.#bindings.refreshPaths(LIMITS.pathsPerTickMax));
  }

  /** Numbers of hosts that cannot be reached any more are free once no flow names them. */
  #retirePeers(): void {
    const gone = this.#bindings.abandoned();
    if (gone.length === 0) return;
    this.#packets.flows.forgetSources(new Set(gone));
    const { incomplete } = this.#bindings;
    this.#bindings.retirePeers(gone);
    // Whatever found no number may find one now.
    if (incomplete) this.#packets.invalidate('all');
  }
  /** What the datapath refused may be possible by now. */
  #retry(): void {
    const now = this.#now();
    if (!this.#bindings.incomplete || now - this.#triedAtMs < LIMITS.bindRetryMs) return;
    this.#triedAtMs = now;
    this.#settle('all');
  }

  #publish(post: Post): void {
    const macs = this.#learning.take();
    const neighbours = this.#neighbours.take();
    const put = [...macs.put, ...neighbours.put];
    const forget = [...macs.forget, ...neighbours.forget];
    if (put.length > 0 || forget.length > 0) post({ type: 'learned', put, forget });
  }
}
