/**
 * Raw frames on one interface of one namespace: what the lab's senders and captures are made of.
 *
 * A socket stays in the namespace it was made in, so one process holds sockets everywhere and
 * nothing has to be started. A capture that the kernel had to cut short is an error, never a
 * shorter list: "nothing arrived" is only worth something when nothing was lost.
 */
import { linkByName } from '#os/netlink/links.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { PacketSocket as Socket } from '#os/packet-socket.ts';

export interface Captured {
  /** From the Ethernet header on, an 802.1Q tag in place. */
  readonly frame: Uint8Array;
  /** Whether it left by the interface; else it came in. */
  readonly outgoing: boolean;
}

export class PacketSocket implements Disposable {
  readonly #socket: Socket;

  constructor(at: { readonly namespace: string; readonly interface: string }) {
    this.#socket = inNetns(netnsPath(at.namespace), () => {
      const link = linkByName(at.interface);
      if (link === undefined) throw new Error(`${at.namespace} has no interface ${at.interface}`);
      return new Socket(link.index, { everything: true });
    });
  }

  /** Sends a frame as it is; throws when the interface refuses it. */
  send(frame: Uint8Array): void {
    if (!this.#socket.send(frame)) throw new Error('the interface did not take a frame');
  }

  /** What came and went since the last time, in order. */
  drain(): Captured[] {
    const out: Captured[] = [];
    for (let frame = this.#socket.receive(); frame; frame = this.#socket.receive())
      out.push({ frame, outgoing: this.#socket.wasOutgoing });
    const lost = this.#socket.lost();
    if (lost > 0) throw new Error(`a capture lost ${lost} frames: it proves nothing`);
    return out;
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }
}
