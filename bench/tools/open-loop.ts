/**
 * Offers frames that are each a new flow at a steady rate, whatever becomes of them, and looks when
 * the last one arrived. Open loop: a network that is slow does not slow its senders down.
 */
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { Injector } from '#datapath/ebpf/inject.ts';
import { namespaceOf, type Lab } from '#lab/lab.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { parseFrameText } from '#net/text.ts';
import { inNetns, netnsPath } from '#os/netns.ts';
import { linkByName } from '#os/netlink/links.ts';
import {
  FAR_FIRST,
  MAC,
  senderIp,
  senderMac,
  senderName,
  SENDERS,
  SINK,
} from '../sides/recipes.ts';

/** Frames sent by one sender before the next one's turn. */
const BURST = 8;
const PAUSE_MS = 1;
/** Nothing more arrives when nothing has for so long. */
const QUIET_MS = 400;
/** The addresses of FAR. */
const FAR_MASK = 0x3ffffff;
/** Where an IPv4 header has its destination, and UDP its ports. */
const AT = { dst: 30, ports: 34 } as const;

export interface Offer {
  readonly perSecond: number;
  readonly sent: number;
  readonly arrived: number;
  /** Of those that arrived in a second, until the last one had. */
  readonly pace: number;
}

/** Packets that the receiver's interface got so far. */
function arrivals(lab: Lab): number {
  const text = inNetns(netnsPath(namespaceOf(lab, SINK.name)), () =>
    readFileSync('/proc/thread-self/net/dev', 'latin1'),
  );
  const line = text.split('\n').find((each) => each.trim().startsWith(`${WORKLOAD_INTERFACE}:`));
  return Number(line?.split(':')[1]?.trim().split(/\s+/)[1]);
}

/** Sends on the interfaces of all senders of a lab; every frame differs in its destination. */
export class OpenLoop implements Disposable {
  readonly #lab: Lab;
  readonly #senders: readonly { readonly out: Injector; readonly frame: Uint8Array }[];
  #next = 1;

  constructor(lab: Lab) {
    this.#lab = lab;
    this.#senders = Array.from({ length: SENDERS }, (_, i) => ({
      out: inNetns(netnsPath(namespaceOf(lab, senderName(i))), () => {
        const link = linkByName(WORKLOAD_INTERFACE);
        if (link === undefined) throw new Error(`${senderName(i)} has no interface`);
        return new Injector(link.index);
      }),
      frame: frameOf(i),
    }));
  }

  /** Frames sent so far, each of a flow of its own. */
  get sent(): number {
    return this.#next - 1;
  }

  /** Sends `perSecond` for `seconds` and waits for what still arrives. */
  async offer(perSecond: number, seconds: number): Promise<Offer> {
    const total = Math.round(perSecond * seconds);
    const before = arrivals(this.#lab);
    const start = performance.now();
    let [arrived, lastMs] = [0, 0];
    const look = (): void => {
      const now = arrivals(this.#lab) - before;
      if (now > arrived) lastMs = performance.now() - start;
      arrived = now;
    };
    for (let sent = 0, turn = 0; sent < total;) {
      const due = Math.min(total, ((performance.now() - start) / 1000) * perSecond);
      for (; sent < due; turn++) {
        const count = Math.min(BURST, total - sent);
        this.#burst(turn % SENDERS, count);
        sent += count;
      }
      look();
      await sleep(PAUSE_MS);
    }
    while (arrived < total && performance.now() - start - lastMs < QUIET_MS + seconds * 1000) {
      await sleep(PAUSE_MS);
      look();
    }
    const lost = this.#senders.reduce((sum, { out }) => sum + out.lost, 0);
    if (lost > 0) throw new Error(`a sender's own interface did not take ${lost} frames`);
    return { perSecond, sent: total, arrived, pace: (arrived / lastMs) * 1000 };
  }

  #burst(sender: number, count: number): void {
    const { out, frame } = this.#senders[sender]!;
    const view = new DataView(frame.buffer, frame.byteOffset);
    for (let i = 0; i < count; i++) {
      const n = this.#next++;
      view.setUint32(AT.dst, FAR_FIRST + (n & FAR_MASK));
      view.setUint32(AT.ports, n);
      out.push(0, 0, frame, 0);
    }
    out.flush();
  }

  [Symbol.dispose](): void {
    for (const { out } of this.#senders) out[Symbol.dispose]();
  }
}

/** Without a UDP check sum, so that what is changed need not be summed up again (RFC 768). */
function frameOf(sender: number): Uint8Array {
  const text = `${senderMac(sender)} > ${MAC.routerA} udp ${senderIp(sender)}:1 > 20.0.0.0:2`;
  const frame = parseFrameText(text);
  if (!(frame instanceof Uint8Array)) throw new Error(frame.error);
  frame.fill(0, AT.ports + 6, AT.ports + 8);
  return frame;
}
