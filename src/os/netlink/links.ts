/**
 * Network interfaces by rtnetlink (linux/if_link.h): list, make, change, delete. Every call opens
 * and closes its own socket, so it acts in the namespace in which the calling thread is at that
 * moment.
 */
import { ERRNO, SystemError } from '../libc.ts';
import {
  attribute,
  concat,
  decodeAttributes,
  find,
  nested,
  NLM,
  readText,
  readU16be,
  readU32,
  text,
  u16be,
  u32,
  u8,
} from './codec.ts';
import type { Message } from './codec.ts';
import { Netlink } from './socket.ts';

export const RTM = { newLink: 16, delLink: 17, getLink: 18 } as const;
const IFINFO_BYTES = 16;
const FLAG = { up: 1, running: 0x40, noArp: 0x80, promiscuous: 0x100, lowerUp: 0x10000 } as const;
const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  alias: 20,
  linkInfo: 18,
  netnsFd: 28,
  linkNetnsId: 37,
  targetNetnsId: 46,
  infoKind: 1,
  infoData: 2,
} as const;
const VXLAN = { learning: 7, port: 15, zeroChecksum6Rx: 20, collectMetadata: 25 } as const;
const VETH_INFO_PEER = 1;

/** Names the kernel takes: 1 to 15 bytes without / and blanks (dev_valid_name). */
export const INTERFACE_NAME_MAX = 15;

export interface Link {
  readonly index: number;
  readonly name: string;
  readonly up: boolean;
  /** Has a carrier. */
  readonly lowerUp: boolean;
  /** The kernel has taken note of the carrier: before, frames sent are lost without an error. */
  readonly running: boolean;
  readonly arp: boolean;
  /** Somebody set it to take frames for other stations too. */
  readonly promiscuous: boolean;
  readonly mtu: number;
  readonly mac: Uint8Array;
  /** `veth`, `vxlan`, …; undefined for hardware. */
  readonly kind: string | undefined;
  /** The bridge or bond it belongs to. */
  readonly master: number | undefined;
  /** The index of what it stands on, or of its other end (veth); there, if not here. */
  readonly link: number | undefined;
  /** What this namespace calls the one that `link` is in; undefined: it is this one. */
  readonly linkNetns: number | undefined;
  /** The UDP port of a VXLAN device. */
  readonly vxlanPort: number | undefined;
  /** Whether a VXLAN device takes packets without a UDP checksum over IPv6. */
  readonly zeroChecksum6: boolean;
  /** A text that somebody put there (ip link set alias). */
  readonly alias: string | undefined;
}

/** What a link message says; undefined when it is not a whole one. */
export function decodeLink({ body }: Message): Link | undefined {
  if (body.length < IFINFO_BYTES) return undefined;
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const attributes = decodeAttributes(body, IFINFO_BYTES);
  const name = readText(find(attributes, IFLA.name));
  if (name === undefined) return undefined;
  const flags = view.getUint32(8, true);
  const info = decodeAttributes(find(attributes, IFLA.linkInfo) ?? new Uint8Array());
  const kind = readText(find(info, IFLA.infoKind));
  const data =
    kind === 'vxlan' ? decodeAttributes(find(info, IFLA.infoData) ?? new Uint8Array()) : [];
  return {
    index: view.getInt32(4, true),
    name,
    up: (flags & FLAG.up) !== 0,
    lowerUp: (flags & FLAG.lowerUp) !== 0,
    running: (flags & FLAG.running) !== 0,
    arp: (flags & FLAG.noArp) === 0,
    promiscuous: (flags & FLAG.promiscuous) !== 0,
    mtu: readU32(find(attributes, IFLA.mtu)) ?? 0,
    mac: find(attributes, IFLA.address) ?? new Uint8Array(),
    kind,
    master: readU32(find(attributes, IFLA.master)),
    link: readU32(find(attributes, IFLA.link)),
    linkNetns: readU32(find(attributes, IFLA.linkNetnsId)),
    vxlanPort: readU16be(find(data, VXLAN.port)),
    zeroChecksum6: find(data, VXLAN.zeroChecksum6Rx)?.[0] === 1,
    alias: readText(find(attributes, IFLA.alias)),
  };
}

/** struct ifinfomsg */
function ifinfo(index: number, flags = 0, change = 0): Uint8Array {
  const out = new Uint8Array(IFINFO_BYTES);
  const view = new DataView(out.buffer);
  view.setInt32(4, index, true);
  view.setUint32(8, flags, true);
  view.setUint32(12, change, true);
  return out;
}

function ask(what: string, flags: number, body: Uint8Array): Link[] {
  using netlink = new Netlink();
  const links: Link[] = [];
  for (const message of netlink.request(what, RTM.getLink, flags, body)) {
    const link = message.type === RTM.newLink ? decodeLink(message) : undefined;
    if (link !== undefined) links.push(link);
  }
  return links;
}

/** Undefined for ENODEV (and the EINVAL of a name too long): there is no such interface. */
function oneOf(what: string, body: Uint8Array): Link | undefined {
  try {
    return ask(what, 0, body)[0];
  } catch (error) {
    if (error instanceof SystemError && error.code === ERRNO.ENODEV) return undefined;
    throw error;
  }
}

export const listLinks = (): Link[] => ask('list interfaces', NLM.dump, ifinfo(0));

export const linkByIndex = (index: number): Link | undefined =>
  oneOf(`look up interface ${index}`, ifinfo(index));

/**
 * An interface of another namespace, by what this one calls that (`Link.linkNetns`). Undefined also
 * when there is no such namespace (any more).
 */
export function linkInNetns(netns: number, index: number): Link | undefined {
  const body = concat(ifinfo(index), attribute(IFLA.targetNetnsId, u32(netns)));
  try {
    return oneOf(`look up interface ${index} of namespace ${netns}`, body);
  } catch (error) {
    if (error instanceof SystemError && error.code === ERRNO.EINVAL) return undefined;
    throw error;
  }
}

export const linkByName = (name: string): Link | undefined =>
  oneOf(`look up interface ${name}`, concat(ifinfo(0), attribute(IFLA.name, text(name))));

export interface LinkChange {
  readonly up?: boolean;
  readonly arp?: boolean;
  readonly promiscuous?: boolean;
  readonly mtu?: number;
  readonly mac?: Uint8Array;
  /** An open network namespace to move the interface to. */
  readonly netnsFd?: number;
  readonly alias?: string;
}

const attributesOf = ({ mtu, mac, netnsFd, alias }: LinkChange): Uint8Array =>
  concat(
    ...(alias === undefined ? [] : [attribute(IFLA.alias, text(alias))]),
    ...(mtu === undefined ? [] : [attribute(IFLA.mtu, u32(mtu))]),
    ...(mac === undefined ? [] : [attribute(IFLA.address, mac)]),
    ...(netnsFd === undefined ? [] : [attribute(IFLA.netnsFd, u32(netnsFd))]),
  );

export function setLink(index: number, change: LinkChange): void {
  let flags = 0;
  let mask = 0;
  if (change.up !== undefined) {
    mask |= FLAG.up;
    if (change.up) flags |= FLAG.up;
  }
  if (change.arp !== undefined) {
    mask |= FLAG.noArp;
    if (!change.arp) flags |= FLAG.noArp;
  }
  if (change.promiscuous !== undefined) {
    mask |= FLAG.promiscuous;
    if (change.promiscuous) flags |= FLAG.promiscuous;
  }
  using netlink = new Netlink();
  const body = concat(ifinfo(index, flags, mask), attributesOf(change));
  netlink.request(`change interface ${index}`, RTM.newLink, 0, body);
}

interface NewLink {
  readonly name: string;
  readonly kind: string;
  readonly data: Uint8Array;
  readonly mtu: number | undefined;
}
function create({ name, kind, data, mtu }: NewLink): void {
  using netlink = new Netlink();
  const info = nested(
    IFLA.linkInfo,
    attribute(IFLA.infoKind, text(kind)),
    nested(IFLA.infoData, data),
  );
  const parts = [ifinfo(0), attribute(IFLA.name, text(name))];
  if (mtu !== undefined) parts.push(attribute(IFLA.mtu, u32(mtu)));
  const flags = NLM.create | NLM.exclusive;
  netlink.request(`make interface ${name}`, RTM.newLink, flags, concat(...parts, info));
}

export interface VethPair {
  readonly name: string;
  readonly peer: string;
  readonly mtu?: number;
  /** The namespace of the peer; this one unless told. */
  readonly peerNetnsFd?: number;
  readonly peerMac?: Uint8Array | undefined;
}

/** Both ends are down. EEXIST when a name is taken. */
export function createVeth({ name, peer, mtu, peerNetnsFd, peerMac }: VethPair): void {
  const peerAttributes = attributesOf({
    ...(mtu === undefined ? {} : { mtu }),
    ...(peerNetnsFd === undefined ? {} : { netnsFd: peerNetnsFd }),
    ...(peerMac === undefined ? {} : { mac: peerMac }),
  });
  const data = nested(VETH_INFO_PEER, ifinfo(0), attribute(IFLA.name, text(peer)), peerAttributes);
  create({ name, kind: 'veth', data, mtu });
}

/**
 * A VXLAN device without a key of its own: each frame brings key and remote address (collect
 * metadata). It takes packets over IPv4 and IPv6, with a UDP checksum of zero too (RFC 7348 §5).
 */
export function createVxlan(options: {
  name: string;
  udpPort: number;
  mtu: number;
  /** False: not without one over IPv6. */
  zeroChecksum6?: boolean;
}): void {
  const data = concat(
    attribute(VXLAN.collectMetadata, u8(1)),
    attribute(VXLAN.learning, u8(0)),
    attribute(VXLAN.port, u16be(options.udpPort)),
    attribute(VXLAN.zeroChecksum6Rx, u8(options.zeroChecksum6 === false ? 0 : 1)),
  );
  create({ name: options.name, kind: 'vxlan', data, mtu: options.mtu });
}

/** Nothing happens when it is gone already. */
export function deleteLink(index: number): void {
  using netlink = new Netlink();
  try {
    netlink.request(`delete interface ${index}`, RTM.delLink, 0, ifinfo(index));
  } catch (error) {
    if (!(error instanceof SystemError) || error.code !== ERRNO.ENODEV) throw error;
  }
}
