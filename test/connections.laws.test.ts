/**
 * Laws of connections over several hosts, whose agents tell each other over a network that loses,
 * doubles, delays and re-orders; against an oracle that knows nothing of records.
 *
 * 9 *answers*: an answer to a connection that was let out is delivered, wherever it enters, while
 * rules let answers in. 10 *nothing else*: nothing is delivered that the rules of now forbid,
 * whatever agents have heard or missed. And law 3: flows change nothing of what leaves; law 7: all
 * installed flows are what would be installed anew.
 *
 * A workload has nothing let in but answers, errors about what it sent, and one service. Its peer
 * is behind two ports, on two hosts, that a stateful group may join. What was told has arrived once
 * the wire has been quiet for a while: until then law 9 promises nothing, law 10 everything.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LIMITS } from '#agent/limits.ts';
import { CONNECTION_TIMEOUTS as LIVES } from '#flow/connection-timeouts.ts';
import type { Ip4 } from '#net/ip.ts';
import { parseFrameText } from '#net/text.ts';
import type { HostId } from '#virtual/ids.ts';
import { Cluster, row, type Transmission } from './cluster.ts';
import { id } from './laws.script.ts';
import type { Fate } from './world-records.ts';

const seed = Number(process.env['SEED'] ?? 1);
const numRuns = Number(process.env['RUNS'] ?? 400);

/** The workload is on the first or the last host, its peer behind the two between. */
const HOSTS = [0, 1, 2, 3].map((n) => ({
  id: id(3, n) as HostId,
  address: (0xac100001 + n) as Ip4,
}));
const [BRIDGE, CHAIN, OUT_CHAIN, GROUP] = [id(1, 1), id(7, 1), id(7, 2), id(9, 1)];
const [VM, NEAR, OTHER] = [id(2, 0), id(2, 1), id(2, 2)];
const MACS = { vm: '02:00:00:00:00:01', peer: '02:00:00:00:00:02' } as const;
const INTERFACES = [
  { name: 'vm', index: 100 },
  { name: 'near', index: 101 },
  { name: 'other', index: 102 },
] as const;
const SERVICE = 7;
/** Of a connection's own port. */
const FIRST_PORT = 1_000;
const PROTOCOLS = ['udp', 'tcp', 'icmp', 'udp6', 'tcp6', 'icmp6'] as const;
const CONNECTIONS = 6;

/** Which rules there are. */
const RULES = {
  answers: { position: 100, action: 'accept', connection: ['established'] },
  errors: { position: 200, action: 'accept', connection: ['related'] },
  service: { position: 300, action: 'accept', protocol: 'udp', destinationPorts: '7' },
  rest: { position: 900, action: 'drop' },
  /** Of what the workload sends. */
  keep: { position: 100, action: 'drop', protocol: 'tcp' },
} as const;
type RuleName = keyof typeof RULES;
const ruleRow = (name: RuleName, position: number = RULES[name].position) => {
  const chain = name === 'keep' ? OUT_CHAIN : CHAIN;
  const n = Object.keys(RULES).indexOf(name) + 1;
  return row('rule', { id: id(8, n), chain, name, invert: false, ...RULES[name], position });
};

type Op =
  | { readonly op: 'open' | 'answer' | 'again' | 'error'; readonly n: number; readonly at: 1 | 2 }
  | { readonly op: 'serve'; readonly n: number; readonly at: 1 | 2 }
  | { readonly op: 'rule'; readonly rule: RuleName; readonly there: boolean }
  | { readonly op: 'group' | 'move' | 'quiet' | 'reorder' }
  | { readonly op: 'restart'; readonly host: number }
  | { readonly op: 'pass'; readonly ms: number };

const n = fc.nat(CONNECTIONS - 1);
const at = fc.constantFrom(1 as const, 2 as const);
const ops: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: fc.constant('open' as const), n, at }) },
  { weight: 8, arbitrary: fc.record({ op: fc.constant('answer' as const), n, at }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constantFrom('again', 'error'), n, at }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant('serve' as const), n, at }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('rule' as const),
      rule: fc.constantFrom('answers', 'errors', 'service', 'keep'),
      there: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ op: fc.constantFrom('group', 'move', 'quiet', 'quiet', 'reorder') }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant('restart' as const), host: fc.nat(3) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      op: fc.constant('pass' as const),
      ms: fc.constantFrom(100, 5_000, 40_000, 400_000),
    }),
  },
);
const fates: fc.Arbitrary<Fate[]> = fc.array(
  fc.constantFrom<Fate>('now', 'now', 'now', 'now', 'now', 'now', 'late', 'twice', 'lost', 'lost'),
  { minLength: 8, maxLength: 40 },
);

/** What the oracle knows of one connection: what passed, and when. */
interface Open {
  lastMs: number;
  /** The same, if a host that has left the group was heard: nobody has to believe it. */
  lastMayMs: number;
  /** `maybe`: it may have begun anew since, or not. */
  answered: 'yes' | 'no' | 'maybe';
  /** Whether the other port was in the group all the time since, or never. */
  joined: 'always' | 'never' | 'partly';
}

const protocolOf = (c: number): (typeof PROTOCOLS)[number] => PROTOCOLS[c % PROTOCOLS.length]!;

function framed(c: number, back: boolean, port: number): Uint8Array {
  const protocol = protocolOf(c);
  const six = protocol.endsWith('6');
  const [vm, peer] = six ? ['fd00::1', 'fd00::2'] : ['10.0.0.1', '10.0.0.2'];
  const ends = (a: string, b: string): string => (back ? `${b} > ${a}` : `${a} > ${b}`);
  const macs = back ? `${MACS.peer} > ${MACS.vm}` : `${MACS.vm} > ${MACS.peer}`;
  if (protocol.startsWith('icmp'))
    return parsed(`${macs} ${protocol} ${ends(vm, peer)} ${back ? 'reply' : 'echo'} id ${port}`);
  const end = (ip: string, own: number): string => (six ? `[${ip}]:${own}` : `${ip}:${own}`);
  const flags = protocol.startsWith('tcp') ? (back ? ' syn ack' : ' syn') : '';
  return parsed(`${macs} ${protocol.slice(0, 3)} ${ends(end(vm, port), end(peer, 53))}${flags}`);
}
function parsed(text: string): Uint8Array {
  const frame = parseFrameText(text);
  assert.ok(frame instanceof Uint8Array, `${text}: ${JSON.stringify(frame)}`);
  return frame;
}
/** An ICMP error of the peer about the packet that opens a connection. */
function errorAbout(c: number): Uint8Array {
  const quoted = Buffer.from(framed(c, false, FIRST_PORT + c).subarray(14)).toString('hex');
  const six = protocolOf(c).endsWith('6');
  const ends = six ? 'icmp6 fd00::2 > fd00::1' : 'icmp 10.0.0.2 > 10.0.0.1';
  return parsed(`${MACS.peer} > ${MACS.vm} ${ends} port-unreachable data ${quoted}`);
}
/** A packet that the peer begins with, for the service. */
function service(c: number): Uint8Array {
  const six = protocolOf(c).endsWith('6');
  const ends = six
    ? `[fd00::2]:${5_000 + c} > [fd00::1]:${SERVICE}`
    : `10.0.0.2:${5_000 + c} > 10.0.0.1:${SERVICE}`;
  return parsed(`${MACS.peer} > ${MACS.vm} udp ${ends}`);
}

function lifeOf(c: number, answered: boolean): number {
  const protocol = protocolOf(c);
  if (protocol.startsWith('icmp')) return LIVES.echo;
  if (protocol.startsWith('udp')) return answered ? LIVES.udpAnswered : LIVES.udpUnanswered;
  return answered ? LIVES.tcpEstablished : LIVES.tcpOpening;
}

/** Never two lost in a row: what is told again is heard. */
function fatesOf(wire: readonly Fate[]): () => Fate {
  let sent = 0;
  return () => {
    const fate = wire[sent++ % wire.length]!;
    const before = wire[(sent - 2 + wire.length) % wire.length];
    return fate === 'lost' && before === 'lost' ? 'now' : fate;
  };
}
const nothing = (): Play['tally'] => ({ answered: 0, kept: 0, opened: 0, errors: 0 });

class Play {
  readonly cluster: Cluster;
  /** Everything that left. */
  readonly trail: string[] = [];
  readonly tally: Record<'answered' | 'kept' | 'opened' | 'errors', number>;
  readonly #open = new Map<number, Open>();
  readonly #rules = new Set<RuleName>(['answers', 'errors', 'rest']);
  #at = 0;
  #grouped = true;
  #nowMs = 0;
  /** Everything that was to be told has arrived. */
  #quiet = true;

  constructor(records: () => Fate, tally: Play['tally'], caching = true) {
    this.tally = tally;
    this.cluster = new Cluster({ hosts: HOSTS, caching, records });
    const port = (own: string, host: number, more: object) => {
      const { name } = INTERFACES[[VM, NEAR, OTHER].indexOf(own)]!;
      const fields = { type: 'bridge', bridge: BRIDGE, hairpin: false, adminStateUp: true };
      return row('port', {
        ...{ id: own, name, ...fields, addresses: [], host: HOSTS[host]?.id, interface: name },
        ...more,
      });
    };
    const seeds = (mac: string) => ({ addresses: [{ mac }] });
    const filters = { outboundFilter: CHAIN, inboundFilter: OUT_CHAIN };
    this.#vmRow = (host) => port(VM, host, { ...seeds(MACS.vm), ...filters });
    this.cluster.change([
      ...HOSTS.map(({ id: host }, i) => row('host', { id: host, name: `h${i}` })),
      row('tunnel-zone', {
        ...{ id: id(4, 1), name: 'z', protocol: 'geneve' },
        members: HOSTS.map(({ id: host }, i) => ({ host, address: `172.16.0.${i + 1}` })),
      }),
      row('bridge', { id: BRIDGE, name: 'b', adminStateUp: true, floodKey: 0x800001 }),
      row('chain', { id: CHAIN, name: 'in' }),
      row('chain', { id: OUT_CHAIN, name: 'out' }),
      ...[...this.#rules].map((name) => ruleRow(name)),
      this.#vmRow(0),
      port(NEAR, 1, seeds(MACS.peer)),
      port(OTHER, 2, {}),
      this.#groupRow(),
    ]);
    for (const [host, interfaces] of [[INTERFACES[0]], [INTERFACES[1]], [INTERFACES[2]]].entries())
      this.cluster.interfaces(host, interfaces);
    this.#calm();
  }
  readonly #vmRow: (host: number) => ReturnType<typeof row>;
  #groupRow() {
    const ports = this.#grouped ? [NEAR, OTHER] : [NEAR];
    return row('port-group', { id: GROUP, name: 'ways', stateful: true, ports });
  }

  #pass(ms: number): void {
    for (let left = ms; left > 0; left -= 500) {
      const step = Math.min(500, left);
      this.#nowMs += step;
      this.cluster.advance(step);
    }
  }
  #tick(): readonly Transmission[] {
    this.#nowMs += 500;
    return this.cluster.advance(500);
  }
  /** Longer than agents wait before they tell again, several times over. */
  #calm(): void {
    for (let i = 0; i < 16; i++) {
      this.cluster.release();
      this.#pass(500);
    }
    this.#quiet = true;
  }
  #stir(): void {
    this.#quiet = false;
  }

  perform(op: Op): void {
    if (op.op === 'open' || op.op === 'again') this.#send(op.n);
    else if (op.op === 'answer') this.#answer(op.n, op.at);
    else if (op.op === 'error') this.#error(op.n, op.at);
    else if (op.op === 'serve') this.#serve(op.n, op.at);
    else if (op.op === 'pass') {
      this.#calm();
      this.#pass(op.ms);
    } else if (op.op === 'quiet') this.#calm();
    else if (op.op === 'reorder') this.cluster.release();
    else if (op.op === 'rule') this.#rule(op.rule, op.there);
    else if (op.op === 'group') this.#regroup();
    else if (op.op === 'move') this.#move();
    else if (op.op === 'restart') this.cluster.restart(op.host, this.#interfacesOf(op.host));
    assert.deepEqual(this.cluster.wrongFlows(), []);
  }
  #interfacesOf(host: number) {
    if (host === this.#at) return [INTERFACES[0]];
    return host === 1 || host === 2 ? [INTERFACES[host]] : [];
  }

  #rule(rule: RuleName, there: boolean): void {
    // Where it comes again, it comes elsewhere in the chain.
    const position = RULES[rule].position + (this.#rules.has(rule) ? 1 : 0);
    const { id: own, kind } = ruleRow(rule);
    this.cluster.change([there ? ruleRow(rule, position) : { kind, id: own }]);
    if (there) this.#rules.add(rule);
    else this.#rules.delete(rule);
  }
  #regroup(): void {
    // A host that leaves the group tells nobody anything any more.
    this.#calm();
    this.#grouped = !this.#grouped;
    this.cluster.change([this.#groupRow()]);
    for (const open of this.#open.values()) open.joined = 'partly';
    this.#stir();
  }
  #move(): void {
    // What was told to the host it leaves has arrived: what it has not, nobody else could tell.
    this.#calm();
    const from = this.#at;
    this.#at = 3 - from;
    this.cluster.interfaces(from, []);
    this.cluster.change([this.#vmRow(this.#at)]);
    this.cluster.interfaces(this.#at, [INTERFACES[0]]);
    this.#calm();
  }

  #got(sent: readonly Transmission[], index: number, wanted: Uint8Array): boolean {
    for (const { host, port, frame } of sent)
      this.trail.push(`${host} ${port} ${Buffer.from(frame).toString('hex')}`);
    return sent.some(({ port, frame }) => port === index && Buffer.compare(frame, wanted) === 0);
  }
  /** Whether the workload gets a frame of its peer: at once, or when hosts have been asked. */
  #enters(where: 1 | 2, frame: Uint8Array): boolean {
    const sent = this.cluster.send(where, 100 + where, frame);
    const late = this.#tick();
    return this.#got([...sent, ...late], 100, frame);
  }

  #send(c: number): void {
    const frame = framed(c, false, FIRST_PORT + c);
    const sent = this.cluster.send(this.#at, 100, frame);
    const isKept = this.#rules.has('keep') && protocolOf(c).startsWith('tcp');
    assert.equal(
      this.#got(sent, 101, frame),
      !isKept,
      `connection ${c}: ${isKept ? 'kept' : 'let out'}`,
    );
    this.#stir();
    if (isKept) return;
    this.tally.opened++;
    const alive = this.#alive(c);
    const before = alive === false ? undefined : this.#open.get(c);
    const joined = this.#grouped ? 'always' : 'never';
    const maybe = alive === undefined && before?.answered === 'yes';
    this.#open.set(c, {
      lastMs: this.#nowMs,
      lastMayMs: this.#nowMs,
      answered: maybe ? 'maybe' : (before?.answered ?? 'no'),
      joined: before === undefined || before.joined === joined ? joined : 'partly',
    });
  }
  /** Undefined: it may be over, or may not, by when hosts heard of each other. */
  #alive(c: number): boolean | undefined {
    const open = this.#open.get(c);
    if (open === undefined) return false;
    const [idle, idleMay] = [this.#nowMs - open.lastMs, this.#nowMs - open.lastMayMs];
    // Refreshes are told at a third of a life.
    if (idle < lifeOf(c, open.answered === 'yes') / 2) return true;
    return idleMay > 1_000 + lifeOf(c, open.answered !== 'no') ? false : undefined;
  }
  /** Whether an answer at a port is known to be one: undefined: it may be. */
  #isKnown(c: number, where: 1 | 2): boolean | undefined {
    const alive = this.#alive(c);
    if (alive !== true || where === 1) return alive;
    const { joined } = this.#open.get(c)!;
    if (joined === 'never') return false;
    return joined === 'always' ? true : undefined;
  }

  #judge(c: number, where: 1 | 2, frame: Uint8Array, by: RuleName, what: string): boolean {
    const known = this.#isKnown(c, where);
    const got = this.#enters(where, frame);
    const words = `${what} of connection ${c} (${protocolOf(c)}) at ${where}`;
    if (!this.#rules.has(by)) assert.equal(got, false, `${words}: no rule lets it in`);
    else if (known === false) assert.equal(got, false, `${words}: nothing is known of it`);
    else if (known === true && this.#quiet) assert.equal(got, true, `${words}: it is one`);
    if (!got) this.tally.kept++;
    this.#stir();
    return got;
  }
  #answer(c: number, where: 1 | 2): void {
    const frame = framed(c, true, FIRST_PORT + c);
    if (!this.#judge(c, where, frame, 'answers', 'an answer')) return;
    this.tally.answered++;
    const open = this.#open.get(c);
    if (open === undefined) return;
    open.lastMayMs = this.#nowMs;
    if (where === 2 && open.joined !== 'always') {
      if (open.answered === 'no') open.answered = 'maybe';
      return;
    }
    open.lastMs = this.#nowMs;
    open.answered = 'yes';
  }
  #error(c: number, where: 1 | 2): void {
    if (this.#judge(c, where, errorAbout(c), 'errors', 'an error')) this.tally.errors++;
  }
  #serve(c: number, where: 1 | 2): void {
    const got = this.#enters(where, service(c));
    assert.equal(got, this.#rules.has('service'), `the service, at ${where}`);
    this.#stir();
  }
}

test('laws 9 and 10: answers come back, and nothing else does, whatever hosts have heard', () => {
  const tally = nothing();
  fc.assert(
    fc.property(
      fates,
      fc.array(ops, { minLength: 10, maxLength: 40, size: 'max' }),
      (wire, script) => {
        const play = new Play(fatesOf(wire), tally);
        for (const op of script) play.perform(op);
      },
    ),
    { seed, numRuns },
  );
  assert.ok(tally.answered > numRuns / 4, JSON.stringify(tally));
  assert.ok(tally.errors > numRuns / 40, JSON.stringify(tally));
  assert.ok(tally.kept > numRuns, JSON.stringify(tally));
});

test('law 3: with and without flows the same packets leave, whatever connections come and go', () => {
  const tally = nothing();
  fc.assert(
    fc.property(fc.array(ops, { minLength: 10, maxLength: 40, size: 'max' }), (script) => {
      const cached = new Play(() => 'now', tally);
      const plain = new Play(() => 'now', nothing(), false);
      for (const op of script) {
        cached.perform(op);
        plain.perform(op);
        assert.deepEqual(cached.trail.splice(0), plain.trail.splice(0), JSON.stringify(op));
      }
    }),
    { seed, numRuns: Math.ceil(numRuns / 4) },
  );
  assert.ok(tally.answered > numRuns / 16, JSON.stringify(tally));
});

/** How many records host `n` was told, and how many questions it sent. */
const toldAndAsked = (play: Play, n: number): readonly [number, number] => {
  const { recordsTaken, questionsAsked } = play.cluster.nodes[n]!.edge.state().records;
  return [recordsTaken, questionsAsked];
};

test('the word of a connection comes before its packet', () => {
  const play = new Play(() => 'now', nothing());
  const sent = play.cluster.send(0, 100, framed(0, false, FIRST_PORT));
  assert.equal(sent.length, 1);
  for (const where of [1, 2] as const) {
    assert.deepEqual(toldAndAsked(play, where), [1, 0]);
    play.cluster.send(where, 100 + where, framed(0, true, FIRST_PORT));
    assert.deepEqual(toldAndAsked(play, where), [1, 0], 'there is nothing to ask');
  }
});

test('an answer that is faster than the word of its connection is asked about, and let in', () => {
  let fate: Fate = 'now';
  const play = new Play(() => fate, nothing());
  fate = 'lost';
  play.cluster.send(0, 100, framed(0, false, FIRST_PORT));
  fate = 'now';
  for (const where of [1, 2] as const) {
    const answer = framed(0, true, FIRST_PORT);
    const sent = play.cluster.send(where, 100 + where, answer);
    assert.equal(sent.filter(({ port }) => port === 100).length, 1, `at ${where}, with no delay`);
    assert.deepEqual(toldAndAsked(play, where), [1, 1]);
    // Known by now, so nobody is asked again.
    assert.equal(play.cluster.send(where, 100 + where, answer).length, 1);
    assert.deepEqual(toldAndAsked(play, where), [1, 1]);
  }
});

test('whoever is not concerned asks in vain, and what nobody knows is dropped', () => {
  const play = new Play(() => 'now', nothing());
  play.perform({ op: 'group' });
  play.cluster.send(0, 100, framed(0, false, FIRST_PORT));
  assert.deepEqual(play.cluster.send(2, 102, framed(0, true, FIRST_PORT)), []);
  assert.deepEqual(toldAndAsked(play, 2), [0, 1]);
  assert.deepEqual(play.cluster.send(1, 101, framed(1, true, FIRST_PORT + 1)), []);
  assert.equal(play.cluster.nodes[1]!.edge.state().counters.drops['filter-drop'], 1);
});

test('a source that scans asks no more than its budget, and all it sends is dropped', () => {
  let fate: Fate = 'now';
  const play = new Play(() => fate, nothing());
  fate = 'lost';
  const scan = 400;
  for (let port = 0; port < scan; port++)
    assert.deepEqual(play.cluster.send(1, 101, framed(0, true, 20_000 + port)), []);
  assert.deepEqual(toldAndAsked(play, 1)[0], 0);
  assert.equal(toldAndAsked(play, 1)[1], LIMITS.questionBudget.burst);
  for (let i = 0; i < 4; i++) assert.deepEqual(play.cluster.advance(500), []);
  assert.equal(play.cluster.nodes[1]!.edge.state().counters.drops['filter-drop'], scan);
});
