/**
 * What walks say again and again, made once for each object: its tags, and the steps it takes.
 *
 * A text made anew for a packet is joined and hashed anew wherever flows are indexed by it; one
 * that is kept is hashed once, and a step that is kept is known by what it is, without a look at
 * its words. Invariants: what is answered here equals what `tags.ts` makes, and says nothing but
 * what its object's id and the arguments say, so it never goes out of date; what depends on a
 * packet (a MAC, an address) is kept for at most READY_MAX at a time in one topology.
 */
import { formatIp, type Ip } from '#net/ip.ts';
import { formatMac, type Mac } from '#net/mac.ts';
import { formatPrefix } from '#net/prefix.ts';
import type { BridgeId, ChainId, PortId, RouterId } from './ids.ts';
import type { Step, Verdict } from './outcome.ts';
import {
  bindingTag,
  bridgeLinksTag,
  bridgeTag,
  chainTag,
  destinationTag,
  floodTag,
  locationTag,
  macTag,
  neighbourTag,
  portTag,
  routerPortsTag,
  routerTag,
  seededIpTag,
  seededMacTag,
  seedsTag,
  type Tag,
} from './tags.ts';
import type { RouteView } from './view.ts';

/** MACs, addresses and routes of all objects of a topology; at half a kilobyte at most. */
export const READY_MAX = 16_384;

/** The room for what depends on packets. When it is full, all of it is forgotten. */
export class ReadyRoom {
  #used = 0;
  readonly #maps = new Set<Map<unknown, unknown>>();

  /** How much is kept. */
  get used(): number {
    return this.#used;
  }

  /** Puts into a map what it does not have, and answers it. */
  keep<Key, Value>(map: Map<Key, Value>, key: Key, value: Value): Value {
    if (this.#used >= READY_MAX) {
      for (const each of this.#maps) each.clear();
      this.#maps.clear();
      this.#used = 0;
    }
    this.#used++;
    this.#maps.add(map as Map<unknown, unknown>);
    map.set(key, value);
    return value;
  }
}

/** A neighbour of a router port. */
export class ReadyNeighbour {
  readonly tag: Tag;
  readonly #at: Step['at'];
  readonly #ip: Ip;
  #mac: Mac | undefined;
  #send: Step | undefined;

  constructor(port: PortId, at: Step['at'], ip: Ip) {
    this.tag = neighbourTag(port, ip);
    this.#at = at;
    this.#ip = ip;
  }
  /** The port sends to it, at this MAC. */
  send(mac: Mac): Step {
    if (this.#send === undefined || this.#mac !== mac) {
      const detail = `${formatIp(this.#ip)} at ${formatMac(mac)}`;
      this.#send = { at: this.#at, did: 'send', detail };
      this.#mac = mac;
    }
    return this.#send;
  }
}

export class ReadyPort {
  readonly #id: PortId;
  readonly #room: ReadyRoom;
  #neighbours: Map<Ip, ReadyNeighbour> | undefined;
  #at: Step['at'] | undefined;
  #tag: Tag | undefined;
  #binding: Tag | undefined;
  #location: Tag | undefined;
  #enter: Step | undefined;
  #leave: Step | undefined;
  #delivered: Verdict | undefined;

  constructor(id: PortId, room: ReadyRoom) {
    this.#id = id;
    this.#room = room;
  }
  get at(): Step['at'] {
    return (this.#at ??= { kind: 'port', id: this.#id });
  }
  get tag(): Tag {
    return (this.#tag ??= portTag(this.#id));
  }
  get binding(): Tag {
    return (this.#binding ??= bindingTag(this.#id));
  }
  get location(): Tag {
    return (this.#location ??= locationTag(this.#id));
  }
  get enter(): Step {
    return (this.#enter ??= { at: this.at, did: 'enter' });
  }
  get leave(): Step {
    return (this.#leave ??= { at: this.at, did: 'leave' });
  }
  /** The frame goes out by the port, to nobody else, with the tag it came with. */
  get delivered(): Verdict {
    return (this.#delivered ??= { kind: 'forward', to: [{ port: this.#id }] });
  }
  neighbour(ip: Ip): ReadyNeighbour {
    const all = (this.#neighbours ??= new Map());
    return all.get(ip) ?? this.#room.keep(all, ip, new ReadyNeighbour(this.#id, this.at, ip));
  }
}

/** A MAC in a bridge. */
export class ReadyMac {
  readonly seeded: Tag;
  readonly #bridge: ReadyBridge;
  readonly #mac: Mac;
  #vlan = 0;
  #learned: Tag | undefined;
  #unicast: Step | undefined;
  #unknown: Step | undefined;

  constructor(bridge: ReadyBridge, mac: Mac) {
    this.seeded = seededMacTag(bridge.id, mac);
    this.#bridge = bridge;
    this.#mac = mac;
  }
  /** Where it was learned; kept for the VLAN asked for last. */
  learned(vlan: number): Tag {
    if (this.#learned === undefined || this.#vlan !== vlan) {
      this.#learned = macTag(this.#bridge.id, vlan, this.#mac);
      this.#vlan = vlan;
    }
    return this.#learned;
  }
  get unicast(): Step {
    return (this.#unicast ??= this.#step('unicast'));
  }
  get unknownUnicast(): Step {
    return (this.#unknown ??= this.#step('unknown-unicast'));
  }
  #step(did: Step['did']): Step {
    return { at: this.#bridge.at, did, detail: formatMac(this.#mac) };
  }
}

export class ReadyBridge {
  readonly id: BridgeId;
  readonly at: Step['at'];
  readonly #room: ReadyRoom;
  readonly #macs = new Map<Mac, ReadyMac>();
  readonly #addresses = new Map<Ip, Tag>();
  #tag: Tag | undefined;
  #links: Tag | undefined;
  #flood: Tag | undefined;
  #seeds: Tag | undefined;

  constructor(id: BridgeId, room: ReadyRoom) {
    this.id = id;
    this.#room = room;
    this.at = { kind: 'bridge', id };
  }
  get tag(): Tag {
    return (this.#tag ??= bridgeTag(this.id));
  }
  get links(): Tag {
    return (this.#links ??= bridgeLinksTag(this.id));
  }
  get flood(): Tag {
    return (this.#flood ??= floodTag(this.id));
  }
  get seeds(): Tag {
    return (this.#seeds ??= seedsTag(this.id));
  }
  mac(mac: Mac): ReadyMac {
    return this.#macs.get(mac) ?? this.#room.keep(this.#macs, mac, new ReadyMac(this, mac));
  }
  /** Who is seeded with an address. */
  seededIp(ip: Ip): Tag {
    return (
      this.#addresses.get(ip) ?? this.#room.keep(this.#addresses, ip, seededIpTag(this.id, ip))
    );
  }
}

/** How a router says which route it took, `of` how many. */
function routeText({ name, kind, destination, gateway }: RouteView, of: number): string {
  const via = gateway === undefined ? '' : ` via ${formatIp(gateway)}`;
  const called = name === undefined ? '' : ` ${name}`;
  const shared = of === 1 ? '' : `, one of ${of}`;
  return `${formatPrefix(destination)} ${kind}${via}${called}${shared}`;
}

export class ReadyRouter {
  readonly at: Step['at'];
  readonly #id: RouterId;
  readonly #room: ReadyRoom;
  readonly #destinations = new Map<Ip, Tag>();
  readonly #routes = new Map<RouteView, Step>();
  #tag: Tag | undefined;
  #ports: Tag | undefined;

  constructor(id: RouterId, room: ReadyRoom) {
    this.#id = id;
    this.#room = room;
    this.at = { kind: 'router', id };
  }
  get tag(): Tag {
    return (this.#tag ??= routerTag(this.#id));
  }
  get ports(): Tag {
    return (this.#ports ??= routerPortsTag(this.#id));
  }
  /** The route to an address was looked for. */
  destination(ip: Ip): Tag {
    return (
      this.#destinations.get(ip) ??
      this.#room.keep(this.#destinations, ip, destinationTag(this.#id, ip))
    );
  }
  /** A route was taken; kept where it is the only one of its kind. */
  route(route: RouteView, of: number): Step {
    if (of !== 1) return this.#step(route, of);
    return this.#routes.get(route) ?? this.#room.keep(this.#routes, route, this.#step(route, of));
  }
  #step(route: RouteView, of: number): Step {
    return { at: this.at, did: 'route', detail: routeText(route, of) };
  }
}

export class ReadyChain {
  readonly at: Step['at'];
  readonly tag: Tag;

  constructor(id: ChainId) {
    this.at = { kind: 'chain', id };
    this.tag = chainTag(id);
  }
}
