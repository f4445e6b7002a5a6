/** The datagrams that agents of a world exchange about connections. */
import type { RecordTransport } from '#agent/replication/replicas.ts';
import type { Ip } from '#net/ip.ts';

export class Datagrams {
  readonly #boxes = new Map<Ip, { readonly from: Ip; readonly bytes: Uint8Array }[]>();
  readonly #isLost: () => boolean;

  /** `isLost`: of the next one. */
  constructor(isLost: () => boolean) {
    this.#isLost = isLost;
  }
  /** How the agent at this address sends and receives, from now on. */
  of(address: Ip): RecordTransport {
    this.#boxes.set(address, []);
    return {
      fd: undefined,
      send: (to, bytes) => {
        if (!this.#isLost()) this.#boxes.get(to)?.push({ from: address, bytes: bytes.slice() });
      },
      receive: (take, max) => {
        const come = this.#boxes.get(address)?.splice(0, max) ?? [];
        for (const { from, bytes } of come) take(from, bytes);
        return come.length;
      },
    };
  }
}
