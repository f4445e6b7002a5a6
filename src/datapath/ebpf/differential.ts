/**
 * Law 4, whole: flows, groups and frames at random, in the kernel and in the reference body of the
 * datapath. Real packets over real interfaces and a real underlay; what leaves, what is handed up,
 * the counters, the statistics, and (with `Decisions`) what the programs say they did with each
 * frame must be equal.
 *
 * Real packets and no test runs of the programs (BPF_PROG_TEST_RUN): those do not redirect, so they
 * show no output, no clone and no tunnel header; and a system call for each frame they take, too.
 *
 * Invariant: a batch begins and ends with nothing on the way and no flow installed.
 */
import assert from 'node:assert/strict';
import type { DpPeer, DpPort, FlowRef, Output, TunnelKey } from '#flow/flow.ts';
import { OUTPUTS_PER_FLOW_MAX } from '#flow/flow.ts';
import { TCP_FLAG } from '#flow/connection-layout.ts';
import { ConnectionRecords, type Side } from '#flow/connection-records.ts';
import { KEY_SIZE, LIMITS, UPCALL_REASON } from '#flow/layout.ts';
import { maskKey } from '#flow/mask.ts';
import { parseKey, writeEntry } from '#flow/parse.ts';
import { decodeFrame } from '#net/frame.ts';
import type { Ip, Ip4 } from '#net/ip.ts';
import { completed, isPartial } from '#net/partial.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import type { PacketSocket } from '#os/packet-socket.ts';
import { DROPS } from '#virtual/drop.ts';
import type { DropReason } from '#virtual/drop.ts';
import type { FieldSet } from '#virtual/match.ts';
import type { UpcallBudget } from '../budget.ts';
import type { DatapathCounters, Upcall } from '../datapath.ts';
import { openMemory } from '../memory.ts';
import { AMPLE_BUDGET } from '../contract/bench.ts';
import { REMOTE6 } from '../contract/frames.ts';
import { drawBatch, numbered } from './cases.arbitrary.ts';
import type { Case } from './cases.arbitrary.ts';
import { Decisions, outText } from './decisions.ts';
import type { Decision } from './decisions.ts';
import { INJECT_DEVICE } from './devices.ts';
import { Histogram } from './histogram.ts';
import { Injector } from './inject.ts';
import { carried, decapsulate, encapsulate, sweep, Testbed } from './testbed.ts';

/** Small enough to be used up, and slow enough that a machine under load does not refill it. */
const SMALL = { perSecond: 10, burst: 100 };
const SMALL_BUDGET: UpcallBudget = {
  frames: SMALL,
  groups: SMALL,
  control: SMALL,
  guards: SMALL,
  stale: SMALL,
};

const BATCH = 400;
const RING_BYTES = 1 << 23;
const { UPCALL_LARGE_BYTES, UPCALL_MIDDLE_BYTES } = LIMITS;
const DEADLINE_MS = 15_000;
const SETTLE_MS = 5;
/** The number of frames that are no case. */
const PROBE = 0;
const UNDERLAY_MTU = 20_000;
const PORT_MTU = 20_000;
const FRAME_BYTES_MIN = 20;
const ALLOWED = 0xac1f0002 as Ip4;
/** Of the other family. */
const STRANGER = REMOTE6;
const PEER = { allowed: 1 as DpPeer, stranger: 2 as DpPeer };
const peerAt = (address: Ip): DpPeer => (address === ALLOWED ? PEER.allowed : PEER.stranger);
const FLOOD_KEY = 0x800055 as TunnelKey;
const KEYS = {
  port: 0x101 as TunnelKey,
  unknown: 0x102 as TunnelKey,
  'no-port': 0x103 as TunnelKey,
} as const;
const NOBODYS_PORT = 0x7ffffff0 as DpPort;

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

/** Checksums that are still to be computed are. */
function finished(frame: Uint8Array): Uint8Array {
  const decoded = decodeFrame(frame);
  return decoded === undefined ? frame : completed(frame, decoded);
}

/** One case of a batch, ready to be sent. */
interface Ready extends Case {
  readonly id: number;
  readonly ref: FlowRef;
  readonly fields: FieldSet;
}
/** What one side did in a batch. */
interface Seen {
  /** Place and frame. */
  readonly left: string[];
  readonly up: string[];
  readonly decisions: Map<number, Decision>;
}
const nothing = (): Seen => ({ left: [], up: [], decisions: new Map() });

const placeOf = (output: { port: DpPort } | { key: TunnelKey; remote: DpPeer }): string =>
  'port' in output ? `port ${output.port}` : `tunnel ${output.key} ${output.remote}`;

export class Differential implements Disposable {
  readonly histogram = new Histogram();
  readonly #bed = new Testbed();
  readonly #decisions = Decisions.open();
  readonly #kernel;
  readonly #memory;
  readonly #kernelRecords: ConnectionRecords;
  readonly #memoryRecords: ConnectionRecords;
  readonly #ports: readonly DpPort[];
  readonly #ends: readonly PacketSocket[];
  readonly #far: PacketSocket;
  readonly #virtio: Injector;
  readonly #inject: number;
  readonly #places: readonly Output[];
  #nextId = 1;
  #generation = 0;

  constructor() {
    sweep();
    const bed = this.#bed;
    bed.widen(PORT_MTU);
    bed.widenUnderlay(UNDERLAY_MTU);
    const variant = this.#decisions?.variant;
    this.#kernel = bed.open({ ringBytes: RING_BYTES, ...(variant && { variant }) });
    this.#ports = [1, 2, 3].map((i) => bed.port(`v${i}`));
    this.#ends = [1, 2, 3].map((i) => bed.socket(`g${i}`));
    this.#far = bed.socket('u1');
    this.#virtio = inNetns(netnsPath(bed.guest), () => new Injector(linkByName('g1')!.index));
    this.#inject = linkByName(INJECT_DEVICE)!.index;
    const { slots, tunnelPort } = this.#kernel;
    this.#memory = openMemory({ slots, tunnelPort, clock: () => 1, upcallBudget: AMPLE_BUDGET });
    this.#kernelRecords = new ConnectionRecords(this.#kernel.connections);
    this.#memoryRecords = new ConnectionRecords(this.#memory.connections);
    for (const dp of [this.#kernel, this.#memory]) {
      for (const port of this.#ports) dp.addPort(port);
      // The same numbers in both, as each is told the same.
      for (const address of [ALLOWED, STRANGER]) dp.addPeer(address);
      dp.allowSender(PEER.allowed, FLOOD_KEY);
      dp.setKey({ key: KEYS.port, port: this.#ports[1]!, network: FLOOD_KEY });
      dp.setKey({ key: KEYS['no-port'], port: NOBODYS_PORT, network: FLOOD_KEY });
    }
    const tunnels = [PEER.allowed, PEER.stranger].map((remote) => ({
      key: 0x77 as TunnelKey,
      remote,
    }));
    this.#places = [...this.#ports.map((port) => ({ port })), ...tunnels];
  }

  /** Whether each frame's decision is compared, not only what is seen of it. */
  get logged(): boolean {
    return this.#decisions !== undefined;
  }

  /** So many cases; throws at the first batch in which the two differ. */
  async run(count: number, seed: number): Promise<void> {
    if (this.#nextId === 1) await this.#settle();
    for (let done = 0; done < count; done += BATCH) {
      const size = { seed: seed + done, count: Math.min(BATCH, count - done) };
      const { cases, fields } = drawBatch(this.#places, FRAME_BYTES_MIN, size);
      await this.#batch(cases.map((each, i) => this.#ready(each, i, fields)));
    }
  }

  #ready(each: Case, slot: number, fields: readonly FieldSet[]): Ready {
    const id = this.#nextId++;
    const frame = numbered(each.frame, id);
    const decoded = decodeFrame(frame);
    // By chance: the agent would ask the kernel to complete it.
    const partial = decoded !== undefined && isPartial(frame, decoded);
    const ownWay = each.way === 'inject' || each.way === 'execute';
    // The tunnel device takes only what it sends.
    const tunnel = each.way === 'flood' || each.way === 'key';
    const lost = tunnel && !carried({ remote: PEER.allowed }, frame, FRAME_BYTES_MIN);
    const way = (partial && ownWay) || lost ? 'port' : each.way;
    const ref = { slot, generation: this.#generation + 1 };
    const { connection } = each.actions;
    // A record for each case, so that what is stamped is its own.
    const own = connection && { connection: { ...connection, slot: slot + 1 } };
    const actions = { ...each.actions, ...own };
    return { ...each, actions, frame, way, id, ref, fields: fields[id % fields.length]! };
  }

  /** Until frames pass every cable both ways, and nothing is on the way any more. */
  async #settle(): Promise<void> {
    const probe = numbered(new Uint8Array(60), PROBE);
    const deadline = performance.now() + DEADLINE_MS;
    const passed = new Set<string>();
    const wanted = 2 * (this.#ends.length + 1);
    let last = '';
    for (let now = this.#state(); passed.size < wanted || now !== last; now = this.#state()) {
      assert.ok(performance.now() < deadline, `cables come up: ${[...passed].join()}`);
      last = now;
      if (passed.size < wanted) {
        for (const end of this.#ends) end.send(probe);
        this.#far.send(encapsulate({ source: STRANGER, key: FLOOD_KEY }, probe));
        this.#kernel.execute(probe, { outputs: this.#places }, 0);
        this.#kernel.commit();
      }
      await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
      this.#kernel.upcalls(({ entry }) => passed.add(`in ${entry.port}`), Infinity);
      if (this.#kernel.counters().drops['unknown-sender']) passed.add('in tunnel');
      for (const [i, end] of [...this.#ends, this.#far].entries())
        while (end.receive() !== undefined) passed.add(`out ${i}`);
    }
    this.#decisions?.drain(new Map(), 0, this.#inject);
    this.#base = this.#kernel.counters();
  }
  #state(): string {
    return JSON.stringify(this.#kernel.counters());
  }
  /** What the kernel counted before the first batch. */
  #base: DatapathCounters = { hits: 0, misses: 0, tunnelHits: 0, drops: {} };

  async #batch(batch: readonly Ready[]): Promise<void> {
    this.#generation++;
    const flows = batch.filter(({ wish, way }) => wish !== 'none' && way !== 'execute');
    const stale = flows.filter(({ wish }) => wish === 'stale').map(({ ref }) => ref);
    for (const dp of [this.#kernel, this.#memory]) {
      for (const each of flows) dp.install(each.ref, this.#flowOf(each));
      dp.commit();
      dp.invalidate(stale);
    }
    for (const each of batch) this.#begin(each);
    const want = nothing();
    for (const each of batch) this.#expect(each, want);
    for (const each of batch) this.#send(each);
    this.#kernel.commit();
    const got = await this.#collect(batch, want);
    this.#compare(batch, want, got);
    for (const each of batch) this.#record(each, want.decisions.get(each.id) ?? []);
    for (const dp of [this.#kernel, this.#memory]) dp.remove(flows.map(({ ref }) => ref));
  }

  /** What was seen of the connection before: of some, that a direction has ended. */
  #begin({ ref, id }: Ready): void {
    const tcp = id % 3 === 0 ? TCP_FLAG.FIN : id % 5 === 0 ? TCP_FLAG.RST : 0;
    for (const records of [this.#kernelRecords, this.#memoryRecords]) {
      records.clear(ref.slot + 1);
      records.stamp(ref.slot + 1, (id % 2) as Side, { seenMs: 0, tcp });
    }
  }
  #compareRecords(each: Ready): void {
    const [a, b] = [this.#kernelRecords, this.#memoryRecords].map((records) =>
      ([0, 1] as const).map((side) => {
        const { seenMs, tcp } = records.half(each.ref.slot + 1, side);
        return { seen: seenMs > 0, tcp };
      }),
    );
    // Frames that are segmented later have the flags of their first segment here.
    if (each.way !== 'offload') assert.deepEqual(a, b, describe(each));
  }

  #entryOf({ way, whence }: Ready): Parameters<typeof writeEntry>[1] {
    if (way !== 'flood') return { port: this.#ports[0]! };
    const source = whence === 'allowed' ? PEER.allowed : PEER.stranger;
    return { port: this.#kernel.tunnelPort, tunnel: { key: FLOOD_KEY, source } };
  }

  #flowOf(each: Ready) {
    const key = new Uint8Array(KEY_SIZE);
    assert.ok(parseKey(each.frame, key));
    writeEntry(key, this.#entryOf(each));
    maskKey(key, each.fields, key);
    return { key, fields: each.fields, actions: each.actions };
  }

  #send({ way, whence, frame, gsoSize, ref, actions }: Ready): void {
    const source = whence === 'stranger' ? STRANGER : ALLOWED;
    if (way === 'port') assert.ok(this.#ends[0]!.send(frame), 'the cable takes it');
    else if (way === 'offload') {
      this.#virtio.push(0, 0, frame, gsoSize);
      this.#virtio.flush();
    } else if (way === 'flood')
      this.#far.send(
        encapsulate({ source: whence === 'allowed' ? ALLOWED : STRANGER, key: FLOOD_KEY }, frame),
      );
    else if (way === 'key') this.#far.send(encapsulate({ source, key: keyFor(whence) }, frame));
    else if (way === 'inject') this.#kernel.inject(ref, frame, 0);
    else this.#kernel.execute(frame, actions, 0);
  }

  /** Has the reference do it, and notes what became of the frame. */
  #expect(each: Ready, want: Seen): void {
    const memory = this.#memory;
    const words: Decision = [];
    memory.onTransmit((port, frame) => {
      words.push(outText(port, 0, 0));
      note(want, { port }, frame);
    });
    memory.onTunnel((address, key, frame) => {
      const remote = peerAt(address);
      words.push(outText(0, key, remote));
      note(want, { key, remote }, frame);
    });
    const before = memory.counters();
    const { packets } = memory.stats(each.ref);
    this.#sendMemory(each);
    const after = memory.counters();
    if (memory.stats(each.ref).packets > packets) words.push(`hit ${each.ref.slot}`);
    for (const reason of Object.keys(after.drops) as DropReason[])
      for (let n = before.drops[reason] ?? 0; n < (after.drops[reason] ?? 0); n++)
        words.push(`drop ${DROPS[reason].code}`);
    memory.upcalls((upcall) => {
      words.push(`up ${reasonCode(upcall)}`);
      want.up.push(upcallText(upcall));
    }, 2);
    want.decisions.set(each.id, words);
  }
  #sendMemory({ way, whence, frame, ref, actions }: Ready): void {
    const memory = this.#memory;
    const source = whence === 'stranger' ? STRANGER : ALLOWED;
    if (way === 'port') memory.receive(this.#ports[0]!, frame);
    else if (way === 'offload') memory.receive(this.#ports[0]!, finished(frame));
    else if (way === 'flood')
      memory.receiveTunnel(whence === 'allowed' ? ALLOWED : STRANGER, FLOOD_KEY, frame);
    else if (way === 'key') memory.receiveTunnel(source, keyFor(whence), frame);
    else {
      if (way === 'inject') memory.inject(ref, frame, 0);
      else memory.execute(frame, actions, 0);
      memory.commit();
    }
  }

  /** What the kernel did, until it is as much as it should be. */
  async #collect(batch: readonly Ready[], want: Seen): Promise<Seen> {
    const got = nothing();
    const deadline = performance.now() + DEADLINE_MS;
    for (;;) {
      for (const [i, end] of this.#ends.entries())
        for (let frame = end.receive(); frame !== undefined; frame = end.receive())
          note(got, { port: this.#ports[i]! }, frame);
      for (let outer = this.#far.receive(); outer !== undefined; outer = this.#far.receive()) {
        const inner = decapsulate(outer);
        if (inner !== undefined)
          note(got, { key: inner.key, remote: peerAt(inner.remote) }, inner.frame);
      }
      this.#kernel.upcalls((upcall) => got.up.push(upcallText(upcall)), 10_000);
      this.#decisions?.drain(got.decisions, this.#kernel.slots, this.#inject);
      const whole = this.#decisions === undefined || got.decisions.size >= batch.length;
      if (whole && got.left.length >= want.left.length && got.up.length >= want.up.length) break;
      if (performance.now() > deadline) break;
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return got;
  }

  #compare(batch: readonly Ready[], want: Seen, got: Seen): void {
    if (this.#decisions !== undefined)
      for (const each of batch) {
        const [a, b] = [got, want].map(({ decisions }) => decisions.get(each.id)?.toSorted());
        assert.deepEqual(a, b, describe(each));
      }
    const culprit = (text: string | undefined): string => {
      const id = Number.parseInt(/ [0-9a-f]{16}([0-9a-f]{8})/.exec(text ?? '')?.[1] ?? '', 16);
      const found = batch.find((each) => each.id === id);
      return found === undefined ? '' : describe(found);
    };
    for (const what of ['left', 'up'] as const) {
      const [a, b] = [got[what].toSorted(), want[what].toSorted()];
      const at = b.findIndex((text, i) => text !== a[i]);
      const message = `${what}: ${culprit(b[at])}\n${hint(a[at])}\n${hint(b[at])}`;
      if (at >= 0 || a.length !== b.length) assert.deepEqual(a[at], b[at], message);
      assert.equal(a.length, b.length, what);
    }
    for (const each of batch) this.#compareRecords(each);
    for (const each of batch) {
      if (each.way === 'offload') continue;
      const [a, b] = [this.#kernel.stats(each.ref), this.#memory.stats(each.ref)];
      assert.deepEqual([a.packets, a.bytes], [b.packets, b.bytes], describe(each));
    }
    assert.deepEqual(since(this.#base, this.#kernel.counters()), this.#memory.counters());
    assert.equal(this.#virtio.lost, 0);
  }

  #record(each: Ready, words: Decision): void {
    this.histogram.add({ ...each, words });
  }

  /**
   * Drops that no flow makes, so many of each: the host's own frames, floods beyond what a group
   * can have, first packets beyond their port's part of the ring. To be called last: the reference
   * knows none of them.
   */
  async rareDrops(count: number): Promise<void> {
    const { drops: before } = this.#kernel.counters();
    using host = this.#bed.socket('v1', this.#bed.host);
    for (let i = 0; i < count; i++) host.send(numbered(new Uint8Array(60), this.#nextId++));
    const outputs = Array.from({ length: OUTPUTS_PER_FLOW_MAX + 1 }, (_, i) => ({
      port: (i + 1) as DpPort,
    }));
    for (let i = 0; i < count; i++)
      this.#kernel.execute(numbered(new Uint8Array(60), this.#nextId++), { outputs }, 0);
    this.#kernel.commit();
    for (let i = 0; i < RING_BYTES / UPCALL_LARGE_BYTES + count; i++)
      this.#ends[0]!.send(numbered(new Uint8Array(UPCALL_MIDDLE_BYTES + 1), this.#nextId++));
    const dropped = (reason: DropReason): number =>
      (this.#kernel.counters().drops[reason] ?? 0) - (before[reason] ?? 0);
    const deadline = performance.now() + DEADLINE_MS;
    for (const reason of ['not-ours', 'flood-limit', 'upcall-share'] as const) {
      while (dropped(reason) < count && performance.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 1));
      assert.ok(dropped(reason) >= count, `${reason}: ${dropped(reason)} of ${count}`);
      this.histogram.drop(DROPS[reason].code, dropped(reason));
    }
    assert.equal(dropped('not-ours'), count);
    assert.equal(dropped('flood-limit'), count);
    this.#kernel.upcalls(() => {}, Infinity);
    this.#logged(count);
  }
  /** Each of them was logged, too. */
  #logged(count: number): void {
    if (this.#decisions === undefined) return;
    const words = new Map<number, Decision>();
    this.#decisions.drain(words, this.#kernel.slots, this.#inject);
    for (const reason of ['not-ours', 'flood-limit', 'upcall-share'] as const) {
      const word = `drop ${DROPS[reason].code}`;
      const logged = [...words.values()].filter((each) => each.includes(word));
      assert.ok(logged.length >= count, `${reason} is logged`);
    }
  }

  [Symbol.dispose](): void {
    for (const socket of [...this.#ends, this.#far]) socket[Symbol.dispose]();
    this.#virtio[Symbol.dispose]();
    this.#kernel[Symbol.dispose]();
    this.#bed.close();
    this.#decisions?.[Symbol.dispose]();
  }
}

/** First packets beyond what a port may hand up: so many that at least `count` are refused. */
export async function budgetDrops(count: number): Promise<number> {
  const bed = new Testbed();
  try {
    using kernel = bed.open({ upcallBudget: SMALL_BUDGET });
    using end = bed.socket('g1');
    const refused = (): number => kernel.counters().drops['upcall-budget'] ?? 0;
    kernel.addPort(bed.port('v1'));
    const deadline = performance.now() + DEADLINE_MS;
    for (let id = 1; refused() < count; id++) {
      assert.ok(performance.now() < deadline, `${refused()} of ${count} are refused`);
      end.send(numbered(new Uint8Array(60), id));
      if (id % BATCH === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return refused();
  } finally {
    bed.close();
  }
}

const keyFor = (whence: Case['whence']): TunnelKey => {
  if (whence === 'unknown-key') return KEYS.unknown;
  return whence === 'no-port' ? KEYS['no-port'] : KEYS.port;
};

function note(seen: Seen, output: Parameters<typeof placeOf>[0], frame: Uint8Array): void {
  if (carried(output, frame, FRAME_BYTES_MIN))
    seen.left.push(`${placeOf(output)}: ${hex(finished(frame))}`);
}

const REASONS = {
  miss: UPCALL_REASON.MISS,
  stale: UPCALL_REASON.STALE,
  ttl: UPCALL_REASON.TTL,
  'too-big': UPCALL_REASON.TOO_BIG,
  connection: UPCALL_REASON.CONNECTION,
} as const;
const reasonCode = ({ reason }: Upcall): number => REASONS[reason];
const upcallText = ({ reason, key, frame }: Upcall): string =>
  `${reason}: ${hex(finished(frame.slice()))} ${hex(key)}`;

function since(base: DatapathCounters, now: DatapathCounters): DatapathCounters {
  const drops: { [R in DropReason]?: number } = {};
  for (const reason of Object.keys(now.drops) as DropReason[]) {
    const n = (now.drops[reason] ?? 0) - (base.drops[reason] ?? 0);
    if (n > 0) drops[reason] = n;
  }
  const { hits, misses, tunnelHits } = base;
  return {
    hits: now.hits - hits,
    misses: now.misses - misses,
    tunnelHits: now.tunnelHits - tunnelHits,
    drops,
  };
}

const HINT_CHARS = 300;
const hint = (text: string | undefined): string => String(text).slice(0, HINT_CHARS);
const describe = ({ way, wish, whence, gsoSize, frame, actions }: Ready): string =>
  hint(JSON.stringify({ way, wish, whence, gsoSize, frame: hex(frame) })) + JSON.stringify(actions);
