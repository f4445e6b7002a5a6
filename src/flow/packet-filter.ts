/**
 * A filter of packets as bytes of a key and a mask: what a datapath compares.
 *
 * Invariant: no entry, MAC or tag is compared, so a packet is the same at every place it passes, as
 * long as nobody rewrites its addresses.
 */
import { isIp6, writeIp4, writeIp6, type Ip6 } from '#net/ip.ts';
import type { FilterEnd, PacketFilter } from '#net/packet-filter.ts';
import { bitsOf } from '#net/prefix.ts';
import { KEY, KEY_SIZE } from './layout.ts';

export interface KeyMatch {
  readonly key: Uint8Array;
  readonly mask: Uint8Array;
}

const ADDRESS_BYTES = 16;
const put16 = ({ key, mask }: KeyMatch, at: number, value: number): void => {
  key.set([value >> 8, value & 0xff], at);
  mask.set([0xff, 0xff], at);
};

function putEnd(match: KeyMatch, { prefix, port }: FilterEnd, at: number, portAt: number): void {
  const { key, mask } = match;
  if (port !== undefined) put16(match, portAt, port);
  if (prefix === undefined) return;
  const { address, length } = prefix;
  // An IPv4 address is in the last four bytes; those before are zero in every key.
  if (isIp6(address)) writeIp6(key, at, address as Ip6);
  else writeIp4(key, at + 12, address);
  const bits = length + (8 * ADDRESS_BYTES - bitsOf(address));
  for (let i = 0; i < ADDRESS_BYTES; i++) {
    const left = Math.max(0, Math.min(8, bits - 8 * i));
    mask[at + i] = (0xff << (8 - left)) & 0xff;
    key[at + i] = key[at + i]! & mask[at + i]!;
  }
}

function matchOf({ ethType, protocol }: PacketFilter, from: FilterEnd, to: FilterEnd): KeyMatch {
  const match = { key: new Uint8Array(KEY_SIZE), mask: new Uint8Array(KEY_SIZE) };
  if (ethType !== undefined) put16(match, KEY.eth_type, ethType);
  if (protocol !== undefined) {
    match.key[KEY.ip_proto] = protocol;
    match.mask[KEY.ip_proto] = 0xff;
  }
  putEnd(match, from, KEY.ip_src, KEY.tp_src);
  putEnd(match, to, KEY.ip_dst, KEY.tp_dst);
  return match;
}

/** One match, or two: that way and the other. */
export function matchesOf(filter: PacketFilter): KeyMatch[] {
  const { from, to, both } = filter;
  const forth = matchOf(filter, from, to);
  return both ? [forth, matchOf(filter, to, from)] : [forth];
}
