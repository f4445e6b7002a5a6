/**
 * All workloads of a lab with a packet socket in each: whoever holds one can send as anybody and
 * sees what everybody gets. Captures are kept in memory until they are asked for.
 */
import { networkOfWorkload } from './expected.ts';
import { PacketSocket } from './packet-socket.ts';
import { namespaceOf, type Lab } from './lab.ts';
import { HELLO, type Mark, markOf, probeFrame, stationOf, type Station } from './probes.ts';
import { until } from './processes.ts';
import { tenantOf, workloadsOf } from './recipe.ts';
import { WORKLOAD_INTERFACE } from './wires.ts';

/** A workload got a frame from outside. */
export interface Arrival {
  readonly at: number;
  readonly frame: Uint8Array;
  readonly mark: Mark | undefined;
}

/** Kinds above the probes': the hello, and the frames of acts. */
export const HELLO_KIND = 250;
const HELLO_MS = 10_000;

export interface HelloOptions {
  /** A workload that is not expected to hear or be heard. */
  readonly cut?: number;
  readonly timeoutMs?: number;
}

/** Who is in a lab: the workloads with a namespace, by their place in the recipe. */
export class Cast {
  readonly stations: readonly Station[];

  constructor({ recipe }: Lab) {
    this.stations = workloadsOf(recipe, 'namespace').map(([name, workload]) =>
      stationOf(name, workload, {
        tenant: tenantOf(recipe, name),
        network: networkOfWorkload(recipe, name),
      }),
    );
  }
  station(i: number): Station {
    const found = this.stations[i];
    if (found === undefined) throw new Error(`there is no workload number ${i}`);
    return found;
  }
  numberOf(name: string): number {
    const found = this.stations.findIndex((station) => station.name === name);
    if (found < 0) throw new Error(`there is no workload ${name}`);
    return found;
  }
  /** Whether `a` and `b` are on one bridge, and not one and the same: broadcasts are heard. */
  areFriends(a: number, b: number): boolean {
    return a !== b && this.station(a).network === this.station(b).network;
  }
  /** Ordered pairs of different workloads that are friends, or that are not. */
  pairs(friends: boolean): (readonly [number, number])[] {
    const all = this.stations.keys().toArray();
    return all.flatMap((from) =>
      all
        .filter((to) => from !== to && this.areFriends(from, to) === friends)
        .map((to) => [from, to] as const),
    );
  }
}

/** The cast with a socket each. Open only while it is needed: what is captured is copied. */
export class Stage extends Cast implements Disposable {
  readonly #sockets: readonly PacketSocket[];
  readonly #arrivals: Arrival[] = [];
  readonly #all: boolean;

  /** `all`: frames without a mark are kept too; else only counted on not being lost. */
  constructor(lab: Lab, all = false) {
    super(lab);
    this.#all = all;
    this.#sockets = this.stations.map(
      ({ name }) =>
        new PacketSocket({ namespace: namespaceOf(lab, name), interface: WORKLOAD_INTERFACE }),
    );
  }

  send(from: number, frame: Uint8Array): void {
    this.#sockets[from]?.send(frame);
  }
  /** Everything that has arrived anywhere since the last `forget`. */
  arrivals(): readonly Arrival[] {
    for (const [at, socket] of this.#sockets.entries())
      for (const { frame, outgoing } of socket.drain()) {
        const mark = outgoing ? undefined : markOf(frame);
        if (!outgoing && (this.#all || mark !== undefined)) {
          this.#arrivals.push({ at, frame, mark });
        }
      }
    return this.#arrivals;
  }
  forget(): void {
    this.arrivals();
    this.#arrivals.length = 0;
  }

  /**
   * Every workload broadcasts once. Answers whom each reached (`FROM>AT`), when its friends have
   * all heard it or the deadline has passed.
   */
  async hello({ cut, timeoutMs = HELLO_MS }: HelloOptions = {}): Promise<ReadonlySet<string>> {
    const heard = (): Set<string> =>
      new Set(
        this.arrivals()
          .filter(({ mark }) => mark?.kind === HELLO_KIND)
          .map(({ mark, at }) => `${mark?.from}>${at}`),
      );
    for (const [from, station] of this.stations.entries()) {
      const mark = { kind: HELLO_KIND, from, to: from };
      this.send(from, probeFrame(HELLO, [station, station], mark));
    }
    const friends = this.pairs(true).filter(([a, b]) => a !== cut && b !== cut);
    const all = (): boolean => {
      const now = heard();
      return friends.every(([a, b]) => now.has(`${a}>${b}`));
    };
    await until('every workload hears its own', timeoutMs, all).catch(() => {});
    return heard();
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets) socket[Symbol.dispose]();
  }
}
