/**
 * One run of the laws of connections: what is done to hosts, and what each packet has to come to by
 * the oracle and by the rules that its host knows, evaluated by hand.
 *
 * What is promised. Of rules: a packet is held against those of the host where it enters, at the
 * revision that host is at. Of answers: a host tells of a connection before its packet leaves, so
 * where no datagram is lost, doubled or late an answer is let in at once, wherever it enters.
 * Otherwise it is let in when the wire has been quiet for a while: a record is told until it is
 * acknowledged. Before that an answer may be dropped (the host it would leave by is asked, and
 * question or answer may be lost as well), but nothing is ever let in that is none.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import type { Ip4 } from '#net/ip.ts';
import type { HostId } from '#virtual/ids.ts';
import { Cluster, row, type Transmission } from './cluster.ts';
import * as frames from './connections.frames.ts';
import { NEAR, OTHER, VM, type Message, type Shape } from './connections.frames.ts';
import { Oracle, PROTOCOLS, type Door, type Protocol } from './connections.oracle.ts';
import { id } from './laws.script.ts';
import type { Fate } from './world-records.ts';

/** The workload is on any of them, the doors of its peer on the second and the third. */
const HOSTS = [0, 1, 2, 3].map((n) => ({
  id: id(3, n) as HostId,
  address: (0xac100001 + n) as Ip4,
}));
const [CHAIN, OUT_CHAIN, GROUP] = [id(7, 1), id(7, 2), id(9, 1)];
const INTERFACES = [
  { name: 'vm', index: 100 },
  { name: 'near', index: 101 },
  { name: 'other', index: 102 },
] as const;
/** Of a connection's own port. */
const FIRST_PORT = 1_000;
const FIRST_CLIENT = 5_000;
const CONNECTIONS = 6;
/** Ticks after which everything that is told has been heard, several times over. */
const CALM_TICKS = 16;
const TICK_MS = 500;
/** The longest that a datagram is on its way. */
const LATE_TICKS = 2;

const SERVED = { protocol: 'udp', sourcePorts: '7' } as const;
/** What may get in; what the workload may send. */
const RULES = {
  answers: { chain: CHAIN, position: 100, action: 'accept', connection: ['established'] },
  errors: { chain: CHAIN, position: 200, action: 'accept', connection: ['related'] },
  service: {
    ...{ chain: CHAIN, position: 300, action: 'accept' },
    ...{ protocol: 'udp', destinationPorts: '7' },
  },
  rest: { chain: CHAIN, position: 900, action: 'drop' },
  served: {
    ...{ chain: OUT_CHAIN, position: 50, action: 'accept' },
    ...{ connection: ['established'], ...SERVED },
  },
  unserved: { chain: OUT_CHAIN, position: 60, action: 'drop', ...SERVED },
  keep: { chain: OUT_CHAIN, position: 100, action: 'drop', protocol: 'tcp' },
} as const;
type RuleName = keyof typeof RULES;
const ruleRow = (name: RuleName, position: number = RULES[name].position) => {
  const n = Object.keys(RULES).indexOf(name) + 1;
  return row('rule', { id: id(8, n), name, invert: false, ...RULES[name], position });
};

/**
 * `open`, `answer`, `error`: of the workload's connections; `call`, `serve`: of its peer's.
 * `exchange`: opened and answered, with nothing between.
 */
export type Op =
  | { readonly op: 'open' | 'serve'; readonly n: number }
  | { readonly op: 'answer' | 'exchange' | 'error' | 'call'; readonly n: number; readonly at: Door }
  | { readonly op: 'rule'; readonly rule: RuleName; readonly there: boolean }
  | { readonly op: 'group' | 'quiet' | 'reorder' | 'catch-up' }
  | { readonly op: 'restart' | 'move' | 'hold'; readonly host: number }
  | { readonly op: 'pass'; readonly ms: number };

const host = fc.nat(HOSTS.length - 1);
const n = fc.nat(CONNECTIONS - 1);
/** Calls are of UDP, of either IP. */
const call = fc.constantFrom(0, 3);
const at = fc.constantFrom<Door>(1, 2);
const op = <T extends Op['op']>(...names: readonly T[]) => fc.constantFrom(...names);
const rule = fc.constantFrom<RuleName>('answers', 'errors', 'service', 'keep');
const there = fc.constantFrom(true, true, false);
const anOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ op: op('open'), n }) },
  { weight: 5, arbitrary: fc.record({ op: op('exchange'), n, at }) },
  { weight: 6, arbitrary: fc.record({ op: op('answer'), n, at }) },
  { weight: 2, arbitrary: fc.record({ op: op('error'), n, at }) },
  { weight: 3, arbitrary: fc.record({ op: op('call'), n: call, at }) },
  { weight: 3, arbitrary: fc.record({ op: op('serve'), n: call }) },
  { weight: 3, arbitrary: fc.record({ op: op('rule'), rule, there }) },
  { weight: 3, arbitrary: fc.record({ op: op('group', 'quiet', 'reorder', 'catch-up') }) },
  { weight: 3, arbitrary: fc.record({ op: op('restart', 'move', 'hold', 'hold'), host }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: op('pass'), ms: fc.constantFrom(100, 5_000, 40_000, 400_000) }),
  },
);
export const scripts = fc.array(anOp, { minLength: 10, maxLength: 40, size: 'max' });
export const shapes = fc.constantFrom<Shape>('bridged', 'routed');

/** Never two lost in a row: what is told again is heard. */
export function fateAt(wire: readonly Fate[], n: number): Fate {
  const [fate, before] = [wire[n % wire.length]!, wire[(n - 1 + wire.length) % wire.length]];
  return fate === 'lost' && before === 'lost' ? 'now' : fate;
}
/** Of ten, up to two are lost, one comes twice, and one late, behind others. */
export const wires: fc.Arbitrary<Fate[]> = fc.array(
  fc.constantFrom<Fate>('now', 'now', 'now', 'now', 'now', 'now', 'late', 'twice', 'lost', 'lost'),
  { minLength: 8, maxLength: 40 },
);

export const nothing = () => ({
  ...{ opened: 0, answered: 0, asked: 0, served: 0, errors: 0, kept: 0, behind: 0 },
});
export interface PlayOptions {
  readonly shape: Shape;
  /** Of the next datagram; `step` counts what is done and the ticks. */
  readonly fate: (step: number) => Fate;
  /** Nothing is lost, nor late: answers are let in at once. */
  readonly isSound: boolean;
  readonly tally: ReturnType<typeof nothing>;
  /** False: every flow is forgotten before every frame. */
  readonly caching?: boolean;
}

/** What a host knows of the topology. */
interface Heard {
  readonly rules: ReadonlySet<RuleName>;
  /** Where the workload is; and how often it has moved, for each place has a key of its own. */
  readonly at: number;
  readonly moves: number;
}

export class Play {
  readonly cluster: Cluster;
  /** Everything that left. */
  readonly trail: string[] = [];
  readonly oracle = new Oracle();
  readonly #options: PlayOptions;
  #newest: Heard = {
    rules: new Set(Object.keys(RULES).filter((name) => name !== 'keep') as RuleName[]),
    at: 0,
    moves: 0,
  };
  readonly #heard: Heard[] = HOSTS.map(() => this.#newest);
  readonly #held = new Set<number>();
  #step = 0;
  /** Everything that was to be told has arrived. */
  #isQuiet = true;
  get isQuiet(): boolean {
    return this.#isQuiet;
  }

  constructor(options: PlayOptions) {
    this.#options = options;
    const { caching = true, fate, shape } = options;
    this.cluster = new Cluster({ hosts: HOSTS, caching, records: () => fate(this.#step) });
    this.cluster.change([
      ...HOSTS.map(({ id: own }, i) => row('host', { id: own, name: `h${i}` })),
      row('tunnel-zone', {
        ...{ id: id(4, 1), name: 'z', protocol: 'geneve' },
        members: HOSTS.map(({ id: own }, i) => ({ host: own, address: `172.16.0.${i + 1}` })),
      }),
      ...frames.deviceRows(shape),
      row('chain', { id: CHAIN, name: 'in' }),
      row('chain', { id: OUT_CHAIN, name: 'out' }),
      ...[...this.#newest.rules].map((name) => ruleRow(name)),
      this.#vmRow(0),
      this.#portRow(NEAR, 1, { addresses: frames.seedsOf('peer') }),
      this.#portRow(OTHER, 2, { addresses: [] }),
      this.#groupRow(),
    ]);
    for (const i of HOSTS.keys()) this.cluster.interfaces(i, this.#interfacesOf(i));
    this.#calm();
  }
  #portRow(own: string, on: number, more: object) {
    const { name } = INTERFACES[[VM, NEAR, OTHER].indexOf(own)]!;
    const bridge = frames.bridgeOf(own, this.#options.shape);
    const fields = { type: 'bridge', bridge, hairpin: false, adminStateUp: true };
    const bound = { host: HOSTS[on]?.id, interface: name };
    return row('port', { id: own, name, ...fields, ...bound, ...more });
  }
  #vmRow(on: number) {
    const filters = { outboundFilter: CHAIN, inboundFilter: OUT_CHAIN };
    return this.#portRow(VM, on, { addresses: frames.seedsOf('vm'), ...filters });
  }
  #groupRow() {
    const ports = this.oracle.isGrouped ? [NEAR, OTHER] : [NEAR];
    return row('port-group', { id: GROUP, name: 'ways', stateful: true, ports });
  }
  #interfacesOf(on: number) {
    const vm = on === this.#newest.at ? [INTERFACES[0]] : [];
    return on === 1 || on === 2 ? [...vm, INTERFACES[on]] : vm;
  }

  #pass(ms: number): void {
    for (let left = ms; left > 0; left -= TICK_MS) this.#tick(Math.min(TICK_MS, left));
  }
  #tick(ms = TICK_MS): readonly Transmission[] {
    this.#step += 1;
    this.oracle.nowMs += ms;
    const sent = this.cluster.advance(ms);
    // No datagram takes longer than that: what is told is an age, so delays make records younger.
    if (this.#step % LATE_TICKS === 0) this.cluster.release();
    return sent;
  }
  #calm(): void {
    for (let i = 0; i < CALM_TICKS; i++) {
      this.cluster.release();
      this.#tick();
    }
    this.#isQuiet = true;
  }
  #stir(): void {
    this.#isQuiet = this.#options.isSound;
  }

  perform(step: Op): void {
    this.#step += 1;
    if (step.op === 'open') this.#open(step.n);
    else if (step.op === 'answer') this.#answer(step.n, step.at);
    else if (step.op === 'exchange') {
      this.#open(step.n);
      this.#answer(step.n, step.at);
    } else if (step.op === 'error') this.#error(step.n, step.at);
    else if (step.op === 'call') this.#call(step.n, step.at);
    else if (step.op === 'serve') this.#serve(step.n);
    else if (step.op === 'pass') {
      this.#calm();
      this.#pass(step.ms);
    } else if (step.op === 'quiet') this.#calm();
    else if (step.op === 'reorder') this.cluster.release();
    else if (step.op === 'rule') this.#rule(step.rule, step.there);
    else if (step.op === 'group') this.#regroup();
    else if (step.op === 'move') this.#move(step.host);
    else if (step.op === 'restart') this.#restart(step.host);
    else if (step.op === 'hold') this.#hold(step.host);
    else this.#catchUp(...this.#held);
    assert.deepEqual(this.cluster.wrongFlows(), []);
  }

  #hold(on: number): void {
    this.cluster.hold(on);
    this.#held.add(on);
  }
  #catchUp(...hosts: readonly number[]): void {
    for (const on of hosts) {
      this.cluster.catchUp(on);
      this.#held.delete(on);
      this.#heard[on] = this.#newest;
    }
  }
  #hear(newest: Heard): void {
    this.#newest = newest;
    for (const on of HOSTS.keys()) if (!this.#held.has(on)) this.#heard[on] = newest;
  }
  #restart(on: number): void {
    this.cluster.restart(on, this.#interfacesOf(on));
    this.#catchUp(on);
  }
  #rule(name: RuleName, there: boolean): void {
    const rules = new Set(this.#newest.rules);
    // Where it comes again, it comes elsewhere in the chain.
    const position = RULES[name].position + (rules.has(name) ? 1 : 0);
    const { id: own, kind } = ruleRow(name);
    this.cluster.change([there ? ruleRow(name, position) : { kind, id: own }]);
    if (there) rules.add(name);
    else rules.delete(name);
    this.#hear({ ...this.#newest, rules });
  }
  #regroup(): void {
    // A host that leaves the group tells nobody anything any more.
    this.#catchUp(...this.#held);
    this.#calm();
    this.oracle.regroup();
    this.cluster.change([this.#groupRow()]);
    this.#stir();
  }
  #move(to: number): void {
    const from = this.#newest.at;
    if (to === from) return;
    this.#catchUp(...[from, to].filter((on) => this.#held.has(on)));
    // What was told to the host it leaves has arrived: what it has not, nobody else could tell.
    this.#calm();
    this.#hear({ ...this.#newest, at: to, moves: this.#newest.moves + 1 });
    this.oracle.moved(to === 2);
    this.cluster.interfaces(from, this.#interfacesOf(from));
    this.cluster.change([this.#vmRow(to)]);
    this.cluster.interfaces(to, this.#interfacesOf(to));
    this.#calm();
  }

  /** Sends, and lets a tick pass: a packet may wait until hosts have been asked. */
  #isDelivered(on: number, by: number, { sent, arrives }: Message, to: number): boolean {
    if (this.#heard[on] !== this.#newest) this.#options.tally.behind += 1;
    const out = [...this.cluster.send(on, by, sent), ...this.#tick()];
    for (const { host: from, port, frame } of out)
      this.trail.push(`${from} ${port} ${Buffer.from(frame).toString('hex')}`);
    const got = out.filter((each) => each.port === to);
    assert.ok(got.length <= 1, 'it arrives once');
    for (const { frame } of got) assert.deepEqual(Buffer.from(frame), Buffer.from(arrives));
    assert.equal(out.length, got.length, 'nothing arrives anywhere else');
    return got.length > 0;
  }
  /** At a door; for the workload. */
  #enters(door: Door, message: Message): boolean {
    return this.#isDelivered(door, INTERFACES[door].index, message, INTERFACES[0].index);
  }
  #leaves(message: Message): boolean {
    const { at: on } = this.#newest;
    return this.#isDelivered(on, INTERFACES[0].index, message, INTERFACES[1].index);
  }

  /** Whether the first door's host knows that the network is where the workload is. */
  #isAdmitted(): boolean {
    const { at: on } = this.#newest;
    return on === 1 || on === 2 || this.#heard[1]!.at === on;
  }

  #open(c: number): void {
    const protocol = protocolOf(c);
    const { rules } = this.#heard[this.#newest.at]!;
    const got = this.#leaves(this.#outward(c, false));
    const isKept = rules.has('keep') && protocol.startsWith('tcp');
    const words = isKept ? 'kept' : this.#isAdmitted() ? 'let out' : 'of a stranger';
    assert.equal(got, words === 'let out', `connection ${c}: ${words}`);
    this.#stir();
    if (isKept) return;
    this.#options.tally.opened += 1;
    const isNoted = rules.has('answers') || rules.has('errors');
    this.oracle.passed({ name: `out ${c}`, protocol, isNoted });
  }
  #outward(c: number, isBack: boolean): Message {
    return frames.outward(this.#options.shape, protocolOf(c), FIRST_PORT + c, isBack);
  }

  /** What the peer sends to the workload, which `rule` lets in if it belongs to a connection. */
  #judge(c: number, door: Door, rule: RuleName, message: Message): boolean {
    const { tally } = this.#options;
    const { rules, moves } = this.#heard[door]!;
    const known = this.oracle.isAnswer(`out ${c}`, door);
    const before = this.#asked();
    const got = this.#enters(door, message);
    const words = `${rule} of connection ${c} (${protocolOf(c)}) at door ${door}`;
    if (moves !== this.#newest.moves) assert.equal(got, false, `${words}: sent to where it was`);
    else if (!rules.has(rule)) assert.equal(got, false, `${words}: no rule lets it in`);
    else if (known === false) assert.equal(got, false, `${words}: nothing is known of it`);
    else if (known === true && this.#isQuiet) assert.equal(got, true, `${words}: it is one`);
    if (!got && rules.has(rule)) this.oracle.mayBeAnswered(`out ${c}`);
    if (!got) tally.kept += 1;
    else if (this.#asked() > before) tally.asked += 1;
    this.#stir();
    return got;
  }
  /** Questions so far, of all hosts. */
  #asked(): number {
    return this.cluster.nodes.reduce(
      (sum, { edge }) => sum + edge.state().records.questionsAsked,
      0,
    );
  }
  #answer(c: number, door: Door): void {
    if (!this.#judge(c, door, 'answers', this.#outward(c, true))) return;
    this.#options.tally.answered += 1;
    this.oracle.answered(`out ${c}`, door);
  }
  #error(c: number, door: Door): void {
    const message = frames.errorAbout(this.#options.shape, protocolOf(c), FIRST_PORT + c);
    if (this.#judge(c, door, 'errors', message)) this.#options.tally.errors += 1;
  }

  #inward(c: number, isBack: boolean): Message {
    return frames.inward(this.#options.shape, protocolOf(c), FIRST_CLIENT + c, isBack);
  }
  #call(c: number, door: Door): void {
    const { rules, moves } = this.#heard[door]!;
    const got = this.#enters(door, this.#inward(c, true));
    const isHere = moves === this.#newest.moves;
    const may = rules.has('service');
    assert.equal(got, may && isHere, `the service is called, at door ${door}`);
    this.#stir();
    // Its answers meet a filter that always asks.
    const protocol = protocolOf(c).endsWith('6') ? 'udp6' : 'udp';
    if (may) this.oracle.passed({ name: `in ${c}`, protocol, door, isNoted: isHere });
  }
  #serve(c: number): void {
    const known = this.oracle.isAnswer(`in ${c}`);
    const got = this.#leaves(this.#inward(c, false));
    const words = `the service answers call ${c}`;
    if (!this.#isAdmitted()) assert.equal(got, false, `${words}: of a stranger`);
    else if (known === false) assert.equal(got, false, `${words}: nobody has called`);
    else if (known === true && this.#isQuiet) assert.equal(got, true, `${words}: it was called`);
    this.#stir();
    if (!got) return this.oracle.mayBeAnswered(`in ${c}`);
    this.#options.tally.served += 1;
    this.oracle.answered(`in ${c}`);
  }
}

const protocolOf = (c: number): Protocol => PROTOCOLS[c % PROTOCOLS.length]!;
