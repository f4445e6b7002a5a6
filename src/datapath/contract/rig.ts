/**
 * One test's hands on a bench. Nothing here waits for a fixed time: what must happen is waited for
 * with a deadline, and what must not happen is looked for after something later was seen to happen.
 */
import assert from 'node:assert/strict';
import type { Actions, DpPeer, DpPort, Entry, FlowRef, TunnelKey } from '#flow/flow.ts';
import { EXACT } from '#flow/mask.ts';
import type { Ip } from '#net/ip.ts';
import { patient } from '#os/patience.ts';
import type { Datapath, Upcall } from '../datapath.ts';
import type { Bench, Tunnelled } from './bench.ts';
import { flowOf, hex, marker, ours, REMOTE, STRANGER } from './frames.ts';

const DEADLINE_MS = 10_000;
const POLL_MS = 2;
/** Calls `done` until it answers something, or fails at the deadline. */
export async function until<T>(what: string, done: () => T | undefined | Promise<T | undefined>) {
  const deadline = performance.now() + patient(DEADLINE_MS);
  for (;;) {
    const answer = await done();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) assert.fail(`not in time: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** One test's hands on a bench: every port added. */
export class Rig {
  readonly bench: Bench;
  readonly dp: Datapath;
  readonly a: DpPort;
  readonly b: DpPort;
  readonly c: DpPort;
  /** The peers at REMOTE and STRANGER. */
  readonly remote: DpPeer;
  readonly stranger: DpPeer;
  #slot = 0;
  #marker = 0;
  #upcalls: Upcall[] = [];

  constructor(bench: Bench) {
    const [a, b, c] = bench.ports;
    assert.ok(a !== undefined && b !== undefined && c !== undefined, 'a bench has 3 ports');
    this.bench = bench;
    this.dp = bench.datapath;
    this.a = a;
    this.b = b;
    this.c = c;
    for (const port of [a, b, c]) this.dp.addPort(port);
    this.remote = this.dp.addPeer(REMOTE);
    this.stranger = this.dp.addPeer(STRANGER);
  }

  async send(port: DpPort, ...frames: Uint8Array[]): Promise<void> {
    for (const frame of frames) await this.bench.send(port, frame);
  }
  async arrive(source: Ip, key: TunnelKey, frame: Uint8Array): Promise<void> {
    await this.bench.sendTunnel(source, key, frame);
  }

  addressOf(of: DpPeer): Ip | undefined {
    return this.dp.peers().find(({ peer }) => peer === of)?.address;
  }

  #drain(): void {
    this.dp.upcalls((upcall) => {
      const { key, frame } = upcall;
      if (ours(frame)) this.#upcalls.push({ ...upcall, key: key.slice(), frame: frame.slice() });
    }, 64);
  }
  /** The next `count` upcalls; there must be no more than that waiting. */
  async upcalls(count: number): Promise<Upcall[]> {
    await until(`${count} upcalls`, () => {
      this.#drain();
      return this.#upcalls.length >= count ? true : undefined;
    });
    const taken = this.#upcalls;
    this.#upcalls = [];
    assert.equal(taken.length, count, 'upcalls');
    return taken;
  }
  async upcall(): Promise<Upcall> {
    const [first] = await this.upcalls(1);
    assert.ok(first !== undefined);
    return first;
  }
  /** Passes when everything sent to `port` before was dealt with, and none of it was handed up. */
  async settled(port: DpPort): Promise<void> {
    const frame = marker(++this.#marker);
    await this.send(port, frame);
    assert.equal(hex((await this.upcall()).frame), hex(frame), 'nothing else is handed up');
  }
  /** The next `count` frames out of a port, as hex; no more than that may have left. */
  async left(port: DpPort, count: number): Promise<string[]> {
    const frames: string[] = [];
    await until(`${count} frames out of a port`, async () => {
      frames.push(...(await this.bench.received(port)).filter(ours).map(hex));
      return frames.length >= count ? true : undefined;
    });
    assert.equal(frames.length, count, 'frames out of a port');
    return frames;
  }
  async tunnelled(count: number): Promise<(Omit<Tunnelled, 'frame'> & { frame: string })[]> {
    const out: (Omit<Tunnelled, 'frame'> & { frame: string })[] = [];
    await until(`${count} frames into the tunnel`, async () => {
      for (const sent of await this.bench.tunnelled())
        if (ours(sent.frame)) out.push({ ...sent, frame: hex(sent.frame) });
      return out.length >= count ? true : undefined;
    });
    assert.equal(out.length, count, 'frames into the tunnel');
    return out;
  }

  ref(generation = 1): FlowRef {
    return { slot: this.#slot++, generation };
  }
  /** Installs a flow for frames like this one; in force when it returns. */
  install(entry: Entry, frame: Uint8Array, actions: Actions, fields = EXACT): FlowRef {
    const ref = this.ref();
    this.dp.install(ref, flowOf(entry, frame, actions, fields));
    this.dp.commit();
    return ref;
  }
  drops(reason: string): number {
    return (this.dp.counters().drops as Readonly<Record<string, number>>)[reason] ?? 0;
  }
  async dropped(reason: string, count: number): Promise<void> {
    await until(`${count} drops: ${reason}`, () =>
      this.drops(reason) >= count ? true : undefined,
    );
    assert.equal(this.drops(reason), count, reason);
  }
  /** All frames that entered, by the way they went. */
  entered(): number {
    const { hits, misses, tunnelHits, drops } = this.dp.counters();
    return hits + misses + tunnelHits + Object.values(drops).reduce((sum, n) => sum + n, 0);
  }
}

/** What a body must do, told on a fresh bench. */
export type Case = (rig: Rig) => Promise<void>;
