/**
 * Ethernet II headers with at most one 802.1Q tag (IEEE 802.3 §3, IEEE 802.1Q §9.6).
 *
 * Invariant: a second tag is payload of type 0x8100, never looked into.
 */
import { read16, write16 } from '../bytes.ts';
import { formatMac, readMac, writeMac, type Mac } from '../mac.ts';

export const ETHERNET_SIZE = 14;
export const TAG_SIZE = 4;

/** EtherTypes (IEEE registry). Values below 0x0600 are the length of an 802.3 frame. */
export const ETHER_TYPE = { IPV4: 0x0800, ARP: 0x0806, VLAN: 0x8100, IPV6: 0x86dd } as const;

/**
 * `type`: behind the tag. `tci`: priority, drop-eligible bit and VID; `undefined` without a tag.
 */
export interface Ethernet {
  readonly dst: Mac;
  readonly src: Mac;
  readonly tci: number | undefined;
  readonly type: number;
}

/** Bytes of the header, the tag included. */
export const ethernetSize = (header: Ethernet): number =>
  header.tci === undefined ? ETHERNET_SIZE : ETHERNET_SIZE + TAG_SIZE;

/** The 12-bit VLAN identifier of a TCI. */
export const vlanId = (tci: number): number => tci & 0xfff;

/** `undefined` when `bytes` from `at` to `end` do not hold the header and its tag. */
export function decodeEthernet(bytes: Uint8Array, at: number, end: number): Ethernet | undefined {
  if (end - at < ETHERNET_SIZE || end > bytes.length) return undefined;
  const dst = readMac(bytes, at);
  const src = readMac(bytes, at + 6);
  const type = read16(bytes, at + 12);
  if (type !== ETHER_TYPE.VLAN) return { dst, src, tci: undefined, type };
  if (end - at < ETHERNET_SIZE + TAG_SIZE) return undefined;
  return {
    dst,
    src,
    tci: read16(bytes, at + 14),
    type: read16(bytes, at + 16),
  };
}

/**
 * Writes the header at `at`, where there is room for `ethernetSize`; answers the offset behind it.
 */
export function encodeEthernet(bytes: Uint8Array, at: number, header: Ethernet): number {
  writeMac(bytes, at, header.dst);
  writeMac(bytes, at + 6, header.src);
  let next = at + 12;
  if (header.tci !== undefined) {
    write16(bytes, next, ETHER_TYPE.VLAN);
    write16(bytes, next + 2, header.tci);
    next += TAG_SIZE;
  }
  write16(bytes, next, header.type);
  return next + 2;
}

/**
 * `02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff`, then `vlan 5` when tagged. The type is left to the
 * layers above.
 */
export const describeEthernet = (header: Ethernet): string =>
  `${formatMac(header.src)} > ${formatMac(header.dst)}` +
  (header.tci === undefined ? '' : ` vlan ${vlanId(header.tci)}`);
