/**
 * What a sending and a receiving host do with datagrams longer than a packet may be: cut, and put
 * together (RFC 791 §3.2, RFC 8200 §4.5). Slow and obvious, for the world's workloads.
 */
import { write16, write32 } from '#net/bytes.ts';
import { decodeFrame, encodeFrame, fragmentKind, networkLength, type Frame } from '#net/frame.ts';
import { fragments } from '#net/fragment.ts';
import { ethernetSize } from '#net/packet/ethernet.ts';
import { ipv4Size } from '#net/packet/ipv4.ts';
import { EXTENSION, IPV6_SIZE, ipv6Size } from '#net/packet/ipv6.ts';

const FRAGMENT_HEADER_SIZE = 8;
/** Datagrams that a host puts together at once; the one begun longest ago goes. */
const DATAGRAMS_MAX = 64;

/** Everything behind the IP header and its extensions. */
function dataOf(bytes: Uint8Array, frame: Frame): Uint8Array {
  const { ethernet, network, trailer } = frame;
  if (network === undefined || network.kind === 'arp') throw new TypeError('no IP packet');
  const size = network.kind === 'ipv4' ? ipv4Size(network) : ipv6Size(network);
  return bytes.subarray(ethernetSize(ethernet) + size, bytes.length - trailer.length);
}

function cut6(bytes: Uint8Array, frame: Frame, mtu: number, id: number): Uint8Array[] {
  const { ethernet, network } = frame;
  if (network?.kind !== 'ipv6') throw new TypeError('no IPv6 packet');
  const data = dataOf(bytes, frame);
  const room = (mtu - IPV6_SIZE - FRAGMENT_HEADER_SIZE) & ~7;
  const cut: Uint8Array[] = [];
  for (let at = 0; at < data.length; at += room) {
    const more = at + room < data.length;
    const extensions = new Uint8Array(FRAGMENT_HEADER_SIZE);
    extensions[0] = network.protocol;
    write16(extensions, 2, at | Number(more));
    write32(extensions, 4, id);
    const header = { ...network, nextHeader: EXTENSION.FRAGMENT, extensions };
    const payload = data.subarray(at, at + room);
    cut.push(encodeFrame({ ethernet, network: header, payload }));
  }
  return cut;
}

/** The frame of a host's own packet as frames of at most `mtu` bytes of IP each. */
export function cutToFit(bytes: Uint8Array, mtu: number, id: number): Uint8Array[] {
  const frame = decodeFrame(bytes);
  if (frame === undefined || networkLength(frame) <= mtu) return [bytes];
  if (frame.network?.kind === 'ipv6') return cut6(bytes, frame, mtu, id);
  const cut = fragments(bytes, mtu);
  if (cut === undefined) throw new TypeError('the packet must not be cut');
  return cut;
}

interface Part {
  readonly offset: number;
  readonly data: Uint8Array;
}
interface Partial {
  readonly first: Frame | undefined;
  readonly parts: readonly Part[];
  /** Known from the last part on. */
  readonly length: number | undefined;
}

export class Reassembly {
  readonly #datagrams = new Map<string, Partial>();

  /** The whole frame: this one, or the one that it completes; undefined while parts are missing. */
  take(bytes: Uint8Array): Uint8Array | undefined {
    const frame = decodeFrame(bytes);
    const ip = frame?.network;
    if (frame === undefined || ip === undefined || ip.kind === 'arp') return bytes;
    if (fragmentKind(ip) === 0) return bytes;
    const id = ip.kind === 'ipv4' ? ip.id : ip.fragment?.id;
    const offset = ip.kind === 'ipv4' ? ip.fragmentOffset : (ip.fragment?.offset ?? 0);
    const more = ip.kind === 'ipv4' ? ip.moreFragments : (ip.fragment?.more ?? false);
    const key = `${ip.src} ${ip.dst} ${ip.protocol} ${id}`;
    const known = this.#datagrams.get(key) ?? { first: undefined, parts: [], length: undefined };
    const data = Uint8Array.from(dataOf(bytes, frame));
    const next = {
      first: offset === 0 ? frame : known.first,
      parts: [...known.parts.filter((part) => part.offset !== offset), { offset, data }],
      length: more ? known.length : offset + data.length,
    };
    this.#datagrams.delete(key);
    const whole = assemble(next);
    if (whole === undefined) this.#keep(key, next);
    return whole;
  }

  #keep(key: string, datagram: Partial): void {
    this.#datagrams.set(key, datagram);
    const [oldest] = this.#datagrams.keys();
    if (this.#datagrams.size > DATAGRAMS_MAX && oldest !== undefined)
      this.#datagrams.delete(oldest);
  }
}

function assemble({ first, parts, length }: Partial): Uint8Array | undefined {
  if (first?.network === undefined || first.network.kind === 'arp' || length === undefined)
    return undefined;
  const payload = new Uint8Array(length);
  let at = 0;
  for (const { offset, data } of parts.toSorted((a, b) => a.offset - b.offset)) {
    if (offset > at) return undefined;
    payload.set(data.subarray(0, length - offset), offset);
    at = Math.max(at, offset + data.length);
  }
  if (at < length) return undefined;
  const { ethernet, network } = first;
  const whole =
    network.kind === 'ipv4'
      ? { ...network, moreFragments: false, fragmentOffset: 0 }
      : { ...network, nextHeader: network.protocol, extensions: undefined };
  return encodeFrame({ ethernet, network: whole, payload });
}
