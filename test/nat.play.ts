/**
 * One run of the laws of address translation: three workloads on three hosts behind one router, one
 * public address with few ports, and peers behind two doors on two other hosts; against a model
 * that knows which connection was last seen to have which public port.
 *
 * What is promised. A connection keeps its public port while anything of it was seen lately. No two
 * connections have one public port with one peer at a time, whatever hosts have heard, forgotten or
 * missed. What is sent to a public port goes to the workload whose connection has it, by either
 * door, or nowhere; to nobody else, ever. When the wire has been quiet, it does arrive by the door
 * that its connection left by; by the other one where no word is lost, since that has to ask.
 */
import assert from 'node:assert/strict';
import fc from 'fast-check';
import { decodeFrame } from '#net/frame.ts';
import { formatIp, type Ip4 } from '#net/ip.ts';
import { parseFrameText } from '#net/text.ts';
import type { RowChange } from '#virtual/change.ts';
import type { HostId } from '#virtual/ids.ts';
import { Cluster, row, type Transmission } from './cluster.ts';
import { id } from './laws.script.ts';
import type { Fate } from './world-records.ts';

const HOSTS = [0, 1, 2, 3, 4].map((n) => ({
  id: id(3, n) as HostId,
  address: (0xac100001 + n) as Ip4,
}));
const [INSIDE, OUTSIDE, ROUTER] = [id(1, 1), id(1, 2), id(5, 1)];
const [PRE, POST] = [id(7, 1), id(7, 2)];
const VMS = [0, 1, 2] as const;
export type Vm = (typeof VMS)[number];
/** Doors: of hosts 3 and 4. */
const DOORS = [3, 4] as const;
type Door = (typeof DOORS)[number];
const PUBLIC = '192.0.2.1';
/** Two ports of each of three blocks: so few that connections meet. */
const TARGETS = ['2048-2049', '2112-2113', '2176-2177'].map((ports) => `${PUBLIC}:${ports}`);
const PEERS = ['198.51.100.1', '198.51.100.2'];
const MACS = { router: '02:00:00:00:00:11', up: '02:00:00:00:00:22', peer: '02:00:00:00:00:02' };
const vmMac = (vm: number): string => `02:00:00:00:01:0${vm}`;
const vmIp = (vm: number): string => `10.0.1.${vm + 2}`;
const INDEX = { vm: 100, door: 200 } as const;
const TICK_MS = 500;
const CALM_TICKS = 16;
const LATE_TICKS = 2;
const WAIT_TICKS = 6;
/** Shorter than any record lives (30 s, UDP without an answer). */
const ALIVE_MS = 25_000;
/** Longer than a record of UDP lives. */
const OVER_MS = 200_000;

export type Op =
  | { readonly op: 'open'; readonly vm: Vm; readonly port: number; readonly peer: number }
  | { readonly op: 'answer'; readonly n: number; readonly door: Door }
  | { readonly op: 'stray'; readonly port: number; readonly peer: number; readonly door: Door }
  | { readonly op: 'move'; readonly vm: Vm; readonly host: number }
  | { readonly op: 'restart' | 'hold' | 'forget'; readonly host: number }
  | { readonly op: 'quiet' | 'catch-up' | 'reorder' }
  | { readonly op: 'pass'; readonly ms: number };

const op = <T extends Op['op']>(...names: readonly T[]) => fc.constantFrom(...names);
const vm = fc.constantFrom<Vm>(...VMS);
const door = fc.constantFrom<Door>(...DOORS);
const peer = fc.nat(PEERS.length - 1);
const host = fc.nat(HOSTS.length - 1);
const anOp: fc.Arbitrary<Op> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ op: op('open'), vm, port: fc.nat(4), peer }) },
  { weight: 8, arbitrary: fc.record({ op: op('answer'), n: fc.nat(30), door }) },
  {
    weight: 3,
    arbitrary: fc.record({
      ...{ op: op('stray'), peer, door },
      port: fc.constantFrom(2048, 2049, 2112, 2113, 2176, 2177, 3000),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: op('move'), vm, host: fc.nat(2) }) },
  { weight: 3, arbitrary: fc.record({ op: op('restart', 'hold', 'hold', 'forget'), host }) },
  { weight: 3, arbitrary: fc.record({ op: op('quiet', 'catch-up', 'reorder') }) },
  {
    weight: 2,
    arbitrary: fc.record({ op: op('pass'), ms: fc.constantFrom(500, 5_000, 40_000, 400_000) }),
  },
);
export const scripts = fc.array(anOp, { minLength: 10, maxLength: 50, size: 'max' });

/** A connection, as it was seen last. */
interface Connection {
  readonly vm: Vm;
  readonly port: number;
  readonly peer: number;
  public: number;
  seenMs: number;
  /** The host that owned the port is gone: the connection may have another one by now. */
  orphan: boolean;
}

export const nothing = () => ({ opened: 0, refused: 0, kept: 0, answered: 0, lost: 0, strays: 0 });

export interface PlayOptions {
  readonly fate: () => Fate;
  /** No word is lost. */
  readonly isSound: boolean;
  readonly tally: ReturnType<typeof nothing>;
}

export class Play {
  readonly cluster: Cluster;
  readonly #tally: PlayOptions['tally'];
  readonly #isSound: boolean;
  readonly #connections = new Map<string, Connection>();
  /** As they were before they got another port: some host may know that still. */
  readonly #former: Connection[] = [];
  readonly #at: number[] = [0, 1, 2];
  readonly #held = new Set<number>();
  readonly #forgotten = new Set<number>();
  #nowMs = 0;
  #step = 0;
  #isQuiet = true;

  constructor({ fate, isSound, tally }: PlayOptions) {
    this.#isSound = isSound;
    this.#tally = tally;
    this.cluster = new Cluster({ hosts: HOSTS, caching: true, records: fate });
    this.cluster.change([
      ...HOSTS.map(({ id: own }, i) => row('host', { id: own, name: `h${i}` })),
      this.#zoneRow(),
      ...deviceRows(),
      ...VMS.map((n) => this.#vmRow(n)),
      ...DOORS.map((n) => doorRow(n)),
    ]);
    for (const i of HOSTS.keys()) this.cluster.interfaces(i, this.#interfacesOf(i));
    this.#calm();
  }
  #zoneRow(): RowChange {
    const there = HOSTS.filter((_, i) => !this.#forgotten.has(i));
    return row('tunnel-zone', {
      ...{ id: id(4, 1), name: 'z', protocol: 'geneve' },
      members: there.map(({ id: own }) => ({
        host: own,
        address: `172.16.0.${HOSTS.findIndex((each) => each.id === own) + 1}`,
      })),
    });
  }
  #vmRow(n: Vm): RowChange {
    const fields = { type: 'bridge', bridge: INSIDE, hairpin: false, adminStateUp: true };
    const bound = { host: HOSTS[this.#at[n]!]?.id, interface: `vm${n}` };
    const addresses = [{ mac: vmMac(n), ip: vmIp(n) }];
    return row('port', { id: id(2, n), name: `vm${n}`, ...fields, ...bound, addresses });
  }
  #interfacesOf(on: number) {
    const own = VMS.filter((n) => this.#at[n] === on).map((n) => ({
      name: `vm${n}`,
      index: INDEX.vm + n,
    }));
    return on >= 3 ? [...own, { name: 'door', index: INDEX.door + on }] : own;
  }

  perform(step: Op): void {
    this.#step += 1;
    switch (step.op) {
      case 'open':
        return this.#open(step);
      case 'answer':
        return this.#answer(step.n, step.door);
      case 'stray':
        return this.#stray(step);
      case 'move':
        return this.#move(step.vm, step.host);
      case 'restart':
        return this.#restart(step.host);
      case 'hold':
        if (!this.#forgotten.has(step.host)) {
          this.cluster.hold(step.host);
          this.#held.add(step.host);
        }
        return undefined;
      case 'forget':
        return this.#forget(step.host);
      case 'catch-up':
        return this.#catchUp(...this.#held);
      case 'reorder':
        return this.cluster.release();
      case 'quiet':
        return this.#calm();
      case 'pass':
        this.#calm();
        return this.#pass(step.ms);
    }
  }

  #tick(ms = TICK_MS): readonly Transmission[] {
    this.#step += 1;
    this.#nowMs += ms;
    const sent = this.cluster.advance(ms);
    if (this.#step % LATE_TICKS === 0) this.cluster.release();
    return sent;
  }
  #pass(ms: number): void {
    for (let left = ms; left > 0; left -= TICK_MS) this.#tick(Math.min(TICK_MS, left));
  }
  #calm(): void {
    for (let i = 0; i < CALM_TICKS; i++) {
      this.cluster.release();
      this.#tick();
    }
    this.#isQuiet = true;
  }
  #catchUp(...hosts: readonly number[]): void {
    for (const on of hosts) {
      this.cluster.catchUp(on);
      this.#held.delete(on);
    }
  }
  #restart(on: number): void {
    if (this.#forgotten.has(on)) return;
    this.cluster.restart(on, this.#interfacesOf(on));
    this.#held.delete(on);
  }
  /** The machine is gone for good; its workloads run on another one. */
  #forget(on: number): void {
    if (on >= 3 || this.#forgotten.size > 0) return;
    this.#catchUp(...this.#held);
    this.#calm();
    const to = (on + 1) % 3;
    for (const n of VMS) if (this.#at[n] === on) this.#move(n, to);
    this.#forgotten.add(on);
    this.cluster.gone.add(HOSTS[on]!.id);
    for (const each of this.#connections.values()) {
      const owner = this.#ownerOf(each.public);
      if (owner === HOSTS[on]!.id) each.orphan = true;
    }
    const blocks = this.cluster.topology.referrers('nat-block', 'host', HOSTS[on]!.id);
    this.cluster.change([
      ...blocks.map((block): RowChange => ({ kind: 'nat-block', id: block })),
      { kind: 'host', id: HOSTS[on]!.id },
      this.#zoneRow(),
    ]);
    this.#calm();
  }
  #ownerOf(port: number): HostId | undefined {
    return this.cluster.topology.natBlocks.owner(
      ROUTER as never,
      (((192 << 24) | (2 << 8) | 1) >>> 0) as Ip4,
      port,
    );
  }
  #move(n: Vm, to: number): void {
    const from = this.#at[n]!;
    if (to === from || this.#forgotten.has(to)) return;
    this.#catchUp(...this.#held);
    this.#calm();
    this.#at[n] = to;
    this.cluster.interfaces(from, this.#interfacesOf(from));
    this.cluster.change([this.#vmRow(n)]);
    this.cluster.interfaces(to, this.#interfacesOf(to));
    this.#calm();
  }

  #send(on: number, by: number, text: string): readonly Transmission[] {
    const frame = parseFrameText(text);
    assert.ok(frame instanceof Uint8Array, text);
    const out = [...this.cluster.send(on, by, frame), ...this.#tick()];
    // It may wait for ports; nothing waits longer.
    for (let n = 0; out.length === 0 && n < WAIT_TICKS; n++) out.push(...this.#tick());
    this.#isQuiet = false;
    return out;
  }

  /** Whether anything of a connection was seen so lately that every record of it is there. */
  #isAlive({ seenMs, orphan }: Connection): boolean {
    return !orphan && this.#nowMs - seenMs < ALIVE_MS;
  }
  #isOver({ seenMs }: Connection): boolean {
    return this.#nowMs - seenMs > OVER_MS;
  }

  #open({ vm: n, port, peer: to }: Extract<Op, { op: 'open' }>): void {
    const key = `${n} ${port} ${to}`;
    const known = this.#connections.get(key);
    const wasAlive = known !== undefined && this.#isAlive(known);
    const text = `${vmMac(n)} > ${MACS.router} udp ${vmIp(n)}:${1_000 + port} > ${PEERS[to]}:53`;
    const out = this.#send(this.#at[n]!, INDEX.vm + n, text);
    assert.ok(out.length <= 1, 'it leaves once');
    const [left] = out;
    if (left === undefined) {
      assert.ok(!wasAlive, `${key}: a connection goes on, whatever there is left`);
      this.#tally.refused += 1;
      return;
    }
    const { src, srcPort, dst } = udpOf(left.frame);
    assert.deepEqual([src, dst, left.host], [PUBLIC, PEERS[to], 3], key);
    if (wasAlive) {
      assert.equal(srcPort, known.public, `${key}: it keeps its port`);
      this.#tally.kept += 1;
    } else this.#tally.opened += 1;
    for (const [other, each] of this.#connections)
      if (other !== key && each.peer === to && each.public === srcPort)
        assert.ok(!this.#isAlive(each), `${key} gets port ${srcPort}, which ${other} has`);
    if (known !== undefined && known.public !== srcPort) this.#former.push(known);
    this.#connections.set(key, {
      ...{ vm: n, port, peer: to, public: srcPort, seenMs: this.#nowMs, orphan: false },
    });
  }

  /** Who may get what is sent to a public port by a peer: those last seen to have it. */
  #havers(port: number, from: number): Connection[] {
    return [...this.#connections.values(), ...this.#former].filter(
      (each) => each.public === port && each.peer === from && !this.#isOver(each),
    );
  }
  #arrives(port: number, from: number, by: Door): Connection | undefined {
    const text = `${MACS.peer} > ${MACS.up} udp ${PEERS[from]}:53 > ${PUBLIC}:${port}`;
    const out = this.#send(by, INDEX.door + by, text);
    assert.ok(
      out.length <= 1,
      `it arrives once: ${out.map((o) => `${o.host} ${o.port} ${JSON.stringify(udpOf(o.frame))}`).join(' | ')}`,
    );
    const [got] = out;
    if (got === undefined) return undefined;
    const { src, dst, dstPort } = udpOf(got.frame);
    const found = this.#havers(port, from).find(
      (each) =>
        vmIp(each.vm) === dst &&
        dstPort === 1_000 + each.port &&
        got.port === INDEX.vm + each.vm &&
        got.host === this.#at[each.vm],
    );
    const where = `${dst}:${dstPort} by interface ${got.port} of host ${got.host}`;
    assert.ok(found !== undefined, `port ${port} from peer ${from}: delivered to ${where}`);
    assert.equal(src, PEERS[from]);
    return found;
  }
  /** The host of the first door was told; that of the second has to ask, and may do so in vain. */
  #isPromised(by: Door): boolean {
    return this.#held.size === 0 && (by === DOORS[0] || this.#isSound);
  }
  #answer(n: number, by: Door): void {
    const all = [...this.#connections.values()];
    const asked = all[n % Math.max(1, all.length)];
    if (asked === undefined) return;
    const alive = this.#isAlive(asked);
    const wasQuiet = this.#isQuiet;
    const newest = this.#havers(asked.public, asked.peer).every(
      (each) => each.seenMs <= asked.seenMs,
    );
    const got = this.#arrives(asked.public, asked.peer, by);
    if (got === asked) {
      asked.seenMs = this.#nowMs;
      this.#tally.answered += 1;
    } else if (alive && newest && this.#isPromised(by) && wasQuiet)
      assert.fail(`an answer to port ${asked.public} of workload ${asked.vm} is lost`);
    else this.#tally.lost += 1;
  }
  #stray({ port, peer: from, door: by }: Extract<Op, { op: 'stray' }>): void {
    const got = this.#arrives(port, from, by);
    if (got !== undefined) got.seenMs = this.#nowMs;
    this.#tally.strays += 1;
  }
}

function udpOf(frame: Uint8Array) {
  const { network, transport } = decodeFrame(frame) ?? {};
  assert.ok(network?.kind === 'ipv4' && transport?.kind === 'udp');
  return {
    src: formatIp(network.src),
    dst: formatIp(network.dst),
    srcPort: transport.srcPort,
    dstPort: transport.dstPort,
  };
}

function doorRow(on: Door): RowChange {
  const fields = { type: 'bridge', bridge: OUTSIDE, hairpin: false, adminStateUp: true };
  const addresses = on === 3 ? [{ mac: MACS.peer, ip: '10.0.2.2' }] : [];
  const bound = { host: HOSTS[on]?.id, interface: 'door' };
  return row('port', { id: id(2, on), name: `door${on}`, ...fields, ...bound, addresses });
}

function deviceRows(): RowChange[] {
  const bridge = (own: string, name: string, floodKey: number) =>
    row('bridge', { id: own, name, adminStateUp: true, floodKey });
  const link = (n: number, of: string, mac: string, network: string): RowChange[] => {
    const [near, far] = [id(2, n), id(2, n + 1)];
    const common = { adminStateUp: true };
    const end = { type: 'bridge', bridge: of, hairpin: false, addresses: [], peer: far };
    const own = { type: 'router', router: ROUTER, mac, networks: [network], peer: near };
    return [
      row('port', { id: near, name: `b${n}`, ...end, ...common }),
      row('port', { id: far, name: `r${n}`, ...own, ...common }),
    ];
  };
  const rule = (n: number, fields: object): RowChange =>
    row('rule', { id: id(8, n), name: `rule${n}`, invert: false, position: n * 100, ...fields });
  const filters = { inboundFilter: PRE, outboundFilter: POST };
  return [
    bridge(INSIDE, 'inside', 0x800001),
    bridge(OUTSIDE, 'outside', 0x800002),
    row('chain', { id: PRE, name: 'pre' }),
    row('chain', { id: POST, name: 'post' }),
    row('router', { id: ROUTER, name: 'r', adminStateUp: true, networkKey: 0x800009, ...filters }),
    ...link(10, INSIDE, MACS.router, '10.0.1.1/24'),
    ...link(12, OUTSIDE, MACS.up, '10.0.2.1/24'),
    row('route', {
      ...{ id: id(6, 1), router: ROUTER, destination: '0.0.0.0/0', type: 'port', weight: 100 },
      ...{ port: id(2, 13), gateway: '10.0.2.2' },
    }),
    // What no connection has is for nobody.
    row('route', {
      ...{ id: id(6, 2), router: ROUTER, destination: `${PUBLIC}/32`, type: 'blackhole' },
      weight: 100,
    }),
    rule(1, { chain: PRE, action: 'reverse-snat', destination: `${PUBLIC}/32` }),
    rule(2, { chain: POST, action: 'snat', outPorts: [id(2, 13)], targets: TARGETS }),
  ];
}
