/**
 * How large a packet may be on the way to an address, by rtnetlink (linux/rtnetlink.h): what the
 * kernel itself would go by, learned path MTUs included.
 */
import { SystemError } from '../libc.ts';
import { attribute, concat, decodeAttributes, find, readU32 } from './codec.ts';
import type { Message } from './codec.ts';
import { decodeLink, RTM as LINK } from './links.ts';
import { Netlink } from './socket.ts';

const RTM = { newRoute: 24, getRoute: 26 } as const;
const RTMSG_BYTES = 12;
const RTA = { destination: 1, outInterface: 4, metrics: 8 } as const;
const RTAX_MTU = 2;
const FAMILY = { 4: 2, 16: 10 } as const;
const IFINFO_BYTES = 16;

export interface Route {
  /** The interface it leaves by; 0: none. */
  readonly index: number;
  /** What is known of the way besides its interface: a learned path MTU, or one set by hand. */
  readonly mtu: number | undefined;
}

/** What a route message says; undefined when it is not a whole one. */
export function decodeRoute({ body }: Message): Route | undefined {
  if (body.length < RTMSG_BYTES) return undefined;
  const attributes = decodeAttributes(body, RTMSG_BYTES);
  const metrics = decodeAttributes(find(attributes, RTA.metrics) ?? new Uint8Array());
  const mtu = readU32(find(metrics, RTAX_MTU));
  return {
    index: readU32(find(attributes, RTA.outInterface)) ?? 0,
    mtu: mtu === 0 ? undefined : mtu,
  };
}

/** struct ifinfomsg that names an interface */
function ifinfo(index: number): Uint8Array {
  const out = new Uint8Array(IFINFO_BYTES);
  new DataView(out.buffer).setInt32(4, index, true);
  return out;
}

/**
 * Answers for the network namespace in which its thread was when it was made. Keeps a socket: to
 * open one takes longer than to ask.
 */
export class Routes implements Disposable {
  readonly #netlink = new Netlink();

  /**
   * Bytes of the largest packet that leaves for an address (4 or 16 bytes) and, as far as is known,
   * arrives whole; undefined when nothing leads there.
   */
  pathMtu(address: Uint8Array): number | undefined {
    const family = FAMILY[address.length as 4 | 16];
    if (family === undefined) throw new Error('an address has 4 or 16 bytes');
    const head = new Uint8Array(RTMSG_BYTES);
    head.set([family, address.length * 8]);
    const body = concat(head, attribute(RTA.destination, address));
    const found = this.#ask('look up a route', [RTM.getRoute, RTM.newRoute], body);
    const route = found && decodeRoute(found);
    if (route === undefined) return undefined;
    const link = this.#ask(
      'look up an interface',
      [LINK.getLink, LINK.newLink],
      ifinfo(route.index),
    );
    const mtu = link && decodeLink(link)?.mtu;
    return mtu === undefined ? route.mtu : Math.min(mtu, route.mtu ?? mtu);
  }

  /** Undefined when the kernel refuses: there is no route, or no such interface any more. */
  #ask(what: string, [asks, answers]: readonly [number, number], body: Uint8Array) {
    try {
      return this.#netlink.request(what, asks, 0, body).find(({ type }) => type === answers);
    } catch (error) {
      if (error instanceof SystemError) return undefined;
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#netlink[Symbol.dispose]();
  }
}
