/**
 * Routes by rtnetlink (linux/rtnetlink.h): how large a packet may be on the way to an address (what
 * the kernel itself would go by, learned path MTUs included), and default routes of a workload.
 */
import { ERRNO, SystemError } from '../libc.ts';
import { attribute, concat, decodeAttributes, find, NLM, readU32, u32 } from './codec.ts';
import type { Message } from './codec.ts';
import { decodeLink, RTM as LINK } from './links.ts';
import { Netlink } from './socket.ts';

const RTM = { newRoute: 24, getRoute: 26 } as const;
const RTMSG_BYTES = 12;
const RTA = { destination: 1, outInterface: 4, gateway: 5, metrics: 8 } as const;
/** linux/rtnetlink.h: RT_TABLE_MAIN, RTPROT_STATIC, RT_SCOPE_UNIVERSE, RTN_UNICAST. */
const PLAIN_ROUTE = [254, 4, 0, 1] as const;
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
    const route = this.#routeTo(address);
    if (route === undefined) return undefined;
    const link = this.#ask(
      'look up an interface',
      [LINK.getLink, LINK.newLink],
      ifinfo(route.index),
    );
    const mtu = link && decodeLink(link)?.mtu;
    return mtu === undefined ? route.mtu : Math.min(mtu, route.mtu ?? mtu);
  }

  /** The index of the interface by which packets for an address leave; undefined: no route. */
  wayOut(address: Uint8Array): number | undefined {
    return this.#routeTo(address)?.index;
  }

  #routeTo(address: Uint8Array): Route | undefined {
    const family = FAMILY[address.length as 4 | 16];
    if (family === undefined) throw new Error('an address has 4 or 16 bytes');
    const head = new Uint8Array(RTMSG_BYTES);
    head.set([family, address.length * 8]);
    const body = concat(head, attribute(RTA.destination, address));
    const found = this.#ask('look up a route', [RTM.getRoute, RTM.newRoute], body);
    return found && decodeRoute(found);
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

export interface DefaultRoute {
  /** The interface it leaves by. */
  readonly index: number;
  /** 4 or 16 bytes. */
  readonly gateway: Uint8Array;
}

/** Default routes by a gateway, of both families, in the main table of the thread's namespace. */
export function defaultRoutes(): DefaultRoute[] {
  using netlink = new Netlink();
  const found: DefaultRoute[] = [];
  const answers = netlink.request(
    'list routes',
    RTM.getRoute,
    NLM.dump,
    new Uint8Array(RTMSG_BYTES),
  );
  for (const { type, body } of answers) {
    const isDefault = body.length >= RTMSG_BYTES && body[1] === 0 && body[4] === PLAIN_ROUTE[0];
    if (type !== RTM.newRoute || !isDefault) continue;
    const attributes = decodeAttributes(body, RTMSG_BYTES);
    const gateway = find(attributes, RTA.gateway);
    const index = readU32(find(attributes, RTA.outInterface));
    if (gateway !== undefined && index !== undefined) found.push({ index, gateway });
  }
  return found;
}

/** False: there is a default route already, this one or another. */
export function addDefaultRoute({ index, gateway }: DefaultRoute): boolean {
  const family = FAMILY[gateway.length as 4 | 16];
  if (family === undefined) throw new Error('an address has 4 or 16 bytes');
  const head = new Uint8Array(RTMSG_BYTES);
  head.set([family, 0, 0, 0, ...PLAIN_ROUTE]);
  using netlink = new Netlink();
  const parts = [attribute(RTA.gateway, gateway), attribute(RTA.outInterface, u32(index))];
  const flags = NLM.create | NLM.exclusive;
  try {
    netlink.request('add a default route', RTM.newRoute, flags, concat(head, ...parts));
    return true;
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== ERRNO.EEXIST) throw error;
    return false;
  }
}
