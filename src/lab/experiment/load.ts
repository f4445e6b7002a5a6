/**
 * A load between pairs of workloads, counted at both ends: every frame carries the number of its
 * stream and its own, is sent through a packet socket of the sender and looked for at the receiver.
 *
 * A thread of its own sends and counts (`load-worker.ts`); the counters are memory that both have.
 */
import { Worker } from 'node:worker_threads';
import { parseFrameText } from '#net/text.ts';
import { namespaceOf, type Lab } from '../lab.ts';
import { until } from '../processes.ts';
import type { Cast } from '../stage.ts';
import { WORKLOAD_INTERFACE } from '../wires.ts';

/** Words of the shared memory. */
export const AT = { state: 0, bell: 1, rate: 2, uncaptured: 3, streams: 4 } as const;
export const STATE = { idle: 0, send: 1, end: 2 } as const;
export const AT_STREAM = 4;
export const STREAM = { sent: 0, received: 1, twice: 2, refused: 3 } as const;
/** Frames of one stream in one run. */
export const SEQUENCES_MAX = 1 << 23;

const SETTLE_MS = 5_000;
const FIRST_MS = 30_000;

interface End {
  readonly namespace: string;
  readonly interface: string;
}
export interface LoadData {
  readonly shared: SharedArrayBuffer;
  readonly streams: readonly {
    readonly frame: Uint8Array;
    readonly from: End;
    readonly to: End;
  }[];
}

export interface Totals {
  readonly sent: number;
  readonly received: number;
  readonly twice: number;
  /** Not taken by the sender's own interface: not sent. */
  readonly refused: number;
  /** Of frames that arrived, so many were not seen for want of room: then nothing is known. */
  readonly uncaptured: number;
}

export class Load implements Disposable {
  readonly #shared: Int32Array;
  readonly #worker: Worker;
  readonly #count: number;
  #failure: Error | undefined;

  /** `pairs`: numbers of stations; each is a stream from the first to the second. */
  constructor(lab: Lab, cast: Cast, pairs: readonly (readonly [number, number])[]) {
    const memory = new SharedArrayBuffer(4 * (AT.streams + AT_STREAM * pairs.length));
    this.#shared = new Int32Array(memory);
    this.#count = pairs.length;
    const end = (i: number): End => ({
      namespace: namespaceOf(lab, cast.station(i).name),
      interface: WORKLOAD_INTERFACE,
    });
    const streams = pairs.map(([from, to]) => {
      const [a, b] = [cast.station(from), cast.station(to)];
      const text = `${a.mac} > ${b.mac} udp ${a.ip4}:4000 > ${b.ip4}:4001 data ${'00'.repeat(64)}`;
      const frame = parseFrameText(text);
      if ('error' in frame) throw new Error(frame.error);
      return { frame, from: end(from), to: end(to) };
    });
    const workerData: LoadData = { shared: memory, streams };
    this.#worker = new Worker(new URL('load-worker.ts', import.meta.url), { workerData });
    this.#worker.on('error', (error: Error) => (this.#failure = error));
  }

  /** Sends so many frames a second, all streams together; 0: none. */
  send(perSecond: number): void {
    if (this.#failure !== undefined) throw this.#failure;
    Atomics.store(this.#shared, AT.rate, perSecond);
    Atomics.store(this.#shared, AT.state, perSecond > 0 ? STATE.send : STATE.idle);
  }

  totals(): Totals {
    if (this.#failure !== undefined) throw this.#failure;
    const of = (what: number): number => {
      let sum = 0;
      for (let i = 0; i < this.#count; i++)
        sum += Atomics.load(this.#shared, AT.streams + i * AT_STREAM + what);
      return sum;
    };
    const { sent, received, twice, refused } = STREAM;
    return {
      ...{ sent: of(sent), received: of(received), twice: of(twice), refused: of(refused) },
      uncaptured: Atomics.load(this.#shared, AT.uncaptured),
    };
  }

  /** Stops and waits until all has arrived, or nothing more comes. */
  async settle(): Promise<Totals> {
    this.send(0);
    const whole = (): boolean => this.totals().received >= this.totals().sent;
    await until('everything arrives', SETTLE_MS, whole).catch(() => {});
    return this.totals();
  }

  /** Sends slowly until every stream has arrived. */
  async first(perSecond: number): Promise<void> {
    this.send(perSecond);
    const arrived = (i: number): boolean =>
      Atomics.load(this.#shared, AT.streams + i * AT_STREAM + STREAM.received) > 0;
    const all = (): boolean => Array.from({ length: this.#count }, (_, i) => i).every(arrived);
    await until('every stream arrives', FIRST_MS, all);
  }

  [Symbol.dispose](): void {
    Atomics.store(this.#shared, AT.state, STATE.end);
    Atomics.notify(this.#shared, AT.bell);
  }
}
