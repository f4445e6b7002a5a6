/** The datagrams that agents of a world, or a cluster, exchange about connections. */
import type { RecordTransport } from '#agent/replication/replicas.ts';
import type { Ip } from '#net/ip.ts';

/** What becomes of a datagram. `late`: it comes when `release` is called, behind later ones. */
export type Fate = 'now' | 'late' | 'twice' | 'lost';
interface Datagram {
  readonly from: Ip;
  readonly to: Ip;
  readonly bytes: Uint8Array;
}

export class Datagrams {
  readonly #boxes = new Map<Ip, Datagram[]>();
  readonly #late: Datagram[] = [];
  readonly #fate: () => Fate;

  /** `fate`: of the next one. */
  constructor(fate: () => Fate) {
    this.#fate = fate;
  }
  /** How the agent at this address sends and receives, from now on. */
  of(address: Ip): RecordTransport {
    this.#boxes.set(address, []);
    return {
      fd: undefined,
      send: (to, bytes) => {
        const datagram = { from: address, to, bytes: bytes.slice() };
        const fate = this.#fate();
        if (fate === 'late') this.#late.push(datagram);
        else if (fate !== 'lost') this.#arrive(datagram);
        if (fate === 'twice') this.#arrive(datagram);
      },
      receive: (take, max) => {
        const come = this.#boxes.get(address)?.splice(0, max) ?? [];
        for (const { from, bytes } of come) take(from, bytes);
        return come.length;
      },
    };
  }
  #arrive(datagram: Datagram): void {
    this.#boxes.get(datagram.to)?.push(datagram);
  }

  /** What is late arrives, the last first. */
  release(): void {
    for (const datagram of this.#late.splice(0).toReversed()) this.#arrive(datagram);
  }
  /** Some have arrived, and were not taken yet. */
  get waiting(): boolean {
    return [...this.#boxes.values()].some((box) => box.length > 0);
  }
}
