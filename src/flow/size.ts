/**
 * How large the packet of a frame is, as an MTU counts. The kernel program counts the same way
 * (`packet_size` in `parse.h`); a test compares the two.
 */
import { KEY, KEY_SIZE } from './layout.ts';
import { ETH_HEADER_BYTES, FRAG_LATER, parseHeaders, VLAN_TAG_BYTES } from './parse.ts';

/** A GSO size that is none: the segments are as their sender made them (linux/skbuff.h, SCTP). */
export const GSO_BY_FRAGS = 0xffff;

const key = new Uint8Array(KEY_SIZE);

/** What GSO repeats at the head of every segment besides the IP headers. */
function transportBytes(frame: Uint8Array, at: number): number {
  if (key[KEY.ip_frag] === FRAG_LATER) return 0;
  if (key[KEY.ip_proto] === 17) return 8;
  if (key[KEY.ip_proto] !== 6 || at + 12 >= frame.length) return 0;
  return (frame[at + 12]! >> 4) * 4;
}

/**
 * The bytes of the IP packet in a frame: all that is behind the Ethernet header and one 802.1Q tag.
 * Of a GSO super-packet (`gsoSize`: payload bytes per segment, else 0) those of its largest
 * segment: IP header and extensions, TCP or UDP header, payload. 0 for a frame of another
 * EtherType.
 */
export function packetSize(frame: Uint8Array, gsoSize: number): number {
  let ip = ETH_HEADER_BYTES;
  if (frame[12] === 0x81 && frame[13] === 0x00) ip += VLAN_TAG_BYTES;
  if (frame.length < ip) return 0;
  const ethType = (frame[ip - 2]! << 8) | frame[ip - 1]!;
  if (ethType !== 0x0800 && ethType !== 0x86dd) return 0;
  if (gsoSize === 0) return frame.length - ip;
  const transport = parseHeaders(frame, key);
  // Without a header to read there is nothing that could be segmented.
  if (transport === 0) return frame.length - ip;
  const payload = gsoSize === GSO_BY_FRAGS ? 0 : gsoSize;
  const segment = transport - ip + transportBytes(frame, transport) + payload;
  return Math.min(segment, frame.length - ip);
}
