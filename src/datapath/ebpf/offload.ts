/**
 * What the kernel must still do to a frame that it handed up: segment it, finish its checksum.
 *
 * Frames of local workloads carry only the sum of the pseudo header in their L4 checksum
 * (CHECKSUM_PARTIAL) and may be GSO super-packets; the ring has only bytes. This writes the struct
 * virtio_net_hdr (linux/virtio_net.h) that says it again. A checksum that merely equals the
 * pseudo-header sum by chance is recomputed from the frame, which gives the same value.
 */
import { EXTENSION_HEADERS_MAX } from '#flow/parse.ts';

export const VNET_BYTES = 10;
const NEEDS_CSUM = 1;
const GSO = { tcp4: 1, tcp6: 4, udp: 5, ecn: 0x80 } as const;
const TCP = 6;
const UDP = 17;
const TCP_CWR = 0x80;

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at]! << 8) | bytes[at + 1]!;

/**
 * Where the L4 header is; -1 when there is none that could be offloaded. Sets `proto` and `pseudo`.
 */
class L4 {
  proto = 0;
  /** Of addresses, protocol and length (RFC 9293 §3.1, RFC 8200 §8.1), folded. */
  pseudo = 0;
  v6 = false;

  find(frame: Uint8Array): number {
    const ip = u16(frame, 12) === 0x8100 ? 18 : 14;
    if (frame.length < ip + 20) return -1;
    const ethType = u16(frame, ip - 2);
    if (ethType === 0x0800) return this.#ip4(frame, ip);
    return ethType === 0x86dd ? this.#ip6(frame, ip) : -1;
  }

  #ip4(frame: Uint8Array, ip: number): number {
    const header = (frame[ip]! & 15) * 4;
    const fragment = (u16(frame, ip + 6) & 0x3fff) !== 0;
    if (header < 20 || fragment) return -1;
    this.v6 = false;
    this.proto = frame[ip + 9]!;
    return this.#sum(frame, [ip + 12, ip + 20], {
      at: ip + header,
      length: u16(frame, ip + 2) - header,
    });
  }

  #ip6(frame: Uint8Array, ip: number): number {
    if (frame.length < ip + 40) return -1;
    let proto = frame[ip + 6]!;
    let at = ip + 40;
    for (
      let i = 0;
      i < EXTENSION_HEADERS_MAX && (proto === 0 || proto === 43 || proto === 60);
      i++
    ) {
      if (at + 8 > frame.length) return -1;
      proto = frame[at]!;
      at += (frame[at + 1]! + 1) * 8;
    }
    this.v6 = true;
    this.proto = proto;
    // A super-packet longer than 64 KiB says 0 (RFC 2675): nothing here is that long.
    return this.#sum(frame, [ip + 8, ip + 40], { at, length: ip + 40 + u16(frame, ip + 4) - at });
  }

  #sum(
    frame: Uint8Array,
    [from, to]: [number, number],
    l4: { at: number; length: number },
  ): number {
    if (this.proto !== TCP && this.proto !== UDP) return -1;
    const { at, length } = l4;
    if (length < 8 || at + (this.proto === TCP ? 20 : 8) > frame.length) return -1;
    let sum = this.proto + length;
    for (let i = from; i < to; i += 2) sum += u16(frame, i);
    while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
    this.pseudo = sum;
    return at;
  }
}
const l4 = new L4();

/** Writes VNET_BYTES to `out` at `at`. `gsoSize`: payload bytes per segment, or 0. */
export function writeVnetHeader(
  frame: Uint8Array,
  gsoSize: number,
  out: Uint8Array,
  at: number,
): void {
  out.fill(0, at, at + VNET_BYTES);
  const start = l4.find(frame);
  if (start < 0) return;
  const tcp = l4.proto === TCP;
  const checksumAt = tcp ? 16 : 6;
  if (gsoSize === 0 && u16(frame, start + checksumAt) !== l4.pseudo) return;
  const put = (to: number, value: number): void => {
    out[at + to] = value;
    out[at + to + 1] = value >> 8;
  };
  out[at] = NEEDS_CSUM;
  put(6, start);
  put(8, checksumAt);
  if (gsoSize === 0) return;
  const ecn = tcp && (frame[start + 13]! & TCP_CWR) !== 0 ? GSO.ecn : 0;
  out[at + 1] = tcp ? (l4.v6 ? GSO.tcp6 : GSO.tcp4) | ecn : GSO.udp;
  put(2, start + (tcp ? (frame[start + 12]! >> 4) * 4 : 8));
  put(4, gsoSize);
}
