/**
 * Probes of the way to other hosts: VXLAN packets as the datapath's own, for no port and no network
 * (key 0), of given sizes and not to be cut. Whoever listens on the other side sees which sizes
 * arrive, before its datapath drops and counts them as it does all that has no key.
 *
 * What that proves: that packets of the overlay's UDP port and of this size go from here to there,
 * through firewalls of both hosts and whatever is between; nothing of the way back.
 */
import { isIp6, parseIp, writeIp4, writeIp6, type Ip } from '#net/ip.ts';
import { TUNNEL_DEVICE } from '#datapath/ebpf/devices.ts';
import { PROBE_SIZES_MAX } from '#client/health-asks.ts';
import { WholeDatagrams } from '#os/datagram.ts';
import { linkByName } from '#os/netlink/links.ts';
import { Routes } from '#os/netlink/routes.ts';
import { PacketSocket } from '#os/packet-socket.ts';
import { onReadable } from '#os/libc.ts';

/** IEEE 802 Local Experimental EtherType 1: of frames inside probes, and of nothing else here. */
export const PROBE_ETHERTYPE = 0x88b5;
const MAGIC = 0x6d6e7072;
const VXLAN_BYTES = 8;
const VXLAN_FLAGS_KEY = 0x08;
const ETHERNET_BYTES = 14;
/** Magic, run, number of the sender, size. */
const BODY_BYTES = 4 + 8 + 4 + 2;
const OUTER_BYTES = { 4: 28, 16: 48 } as const;
/** Each size is sent so often: one lost packet is no finding. */
const COPIES = 2;
/** Sizes of whole IP packets that are common limits of links, below what the way should carry. */
const LADDER = [576, 1280, 1400, 1450, 1472, 1492, 1500, 1550, 1570, 2000, 4000, 8000, 9000];
/** The smallest: fits every link there is. */
export const PROBE_SIZE_MIN = 128;

export interface Probe {
  /** 16 hex digits. */
  readonly run: string;
  /** The number of the host that sends it. */
  readonly from: number;
  /** Bytes of the IP packet outside. */
  readonly size: number;
}

/** The frame inside a probe whose UDP payload has so many bytes. */
export function probeFrame({ run, from, size }: Probe, bytes: number): Uint8Array {
  const frame = new Uint8Array(bytes);
  const view = new DataView(frame.buffer);
  // Locally administered, to and from nobody.
  frame.set([0x02, 0, 0, 0, 0, 0x01, 0x02, 0, 0, 0, 0, 0x02]);
  view.setUint16(12, PROBE_ETHERTYPE);
  view.setUint32(ETHERNET_BYTES, MAGIC);
  frame.set(Uint8Array.fromHex(run), ETHERNET_BYTES + 4);
  view.setUint32(ETHERNET_BYTES + 12, from);
  view.setUint16(ETHERNET_BYTES + 16, size);
  return frame;
}

/** Undefined when it is none. */
export function readProbe(frame: Uint8Array): Probe | undefined {
  if (frame.length < ETHERNET_BYTES + BODY_BYTES) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.length);
  if (view.getUint16(12) !== PROBE_ETHERTYPE) return undefined;
  if (view.getUint32(ETHERNET_BYTES) !== MAGIC) return undefined;
  return {
    run: frame.subarray(ETHERNET_BYTES + 4, ETHERNET_BYTES + 12).toHex(),
    from: view.getUint32(ETHERNET_BYTES + 12),
    size: view.getUint16(ETHERNET_BYTES + 16),
  };
}

/** The sizes to try on a way that is believed to carry `mtu` bytes. */
export function probeSizes(mtu: number): number[] {
  const sizes = [PROBE_SIZE_MIN, ...LADDER.filter((size) => size < mtu), mtu];
  return [...new Set(sizes)].slice(0, PROBE_SIZES_MAX);
}

const bytesOf = (address: Ip): Uint8Array => {
  const bytes = new Uint8Array(isIp6(address) ? 16 : 4);
  if (isIp6(address)) writeIp6(bytes, 0, address);
  else writeIp4(bytes, 0, address);
  return bytes;
};

/** What came of the probes to one peer. */
export interface Sent {
  readonly mtu?: number;
  readonly sent: number[];
  readonly error?: string;
}

/** Sends probes to one address, of every size that the kernel believes to fit. */
export function sendProbes(text: string, port: number, probe: Omit<Probe, 'size'>): Sent {
  const address = parseIp(text);
  if (address === undefined) return { sent: [], error: `${text} is no address` };
  const bytes = bytesOf(address);
  using routes = new Routes();
  const mtu = routes.pathMtu(bytes);
  if (mtu === undefined) return { sent: [], error: 'there is no route to it' };
  const family = bytes.length as 4 | 16;
  using socket = new WholeDatagrams(family);
  const sent: number[] = [];
  for (const size of probeSizes(Math.min(mtu, 65_535))) {
    const payload = new Uint8Array(size - OUTER_BYTES[family]);
    payload[0] = VXLAN_FLAGS_KEY;
    payload.set(probeFrame({ ...probe, size }, payload.length - VXLAN_BYTES), VXLAN_BYTES);
    for (let copy = 0; copy < COPIES; copy++) {
      const result = socket.send(bytes, port, payload);
      if (result === 'sent' && copy === 0) sent.push(size);
      // EPERM: a firewall of this host refuses it (netfilter's OUTPUT).
      if (result !== 'sent') return { mtu, sent, error: `${size} bytes: ${result}` };
    }
  }
  return { mtu, sent };
}

/** Hears probes of one run by the tunnel device, from when it is made until it is disposed of. */
export class ProbeEar implements Disposable {
  readonly #run: string;
  readonly #socket: PacketSocket;
  readonly #readable: Disposable;
  readonly #heard = new Map<number, Set<number>>();

  /** Throws when there is no tunnel device. */
  constructor(run: string) {
    this.#run = run;
    const device = linkByName(TUNNEL_DEVICE);
    if (device === undefined) throw new Error(`there is no ${TUNNEL_DEVICE}`);
    this.#socket = new PacketSocket(device.index, { etherType: PROBE_ETHERTYPE });
    this.#readable = onReadable(this.#socket.fd, () => this.#read());
  }

  /** Of each sender, by number: the sizes that arrived, smallest first. */
  heard(): { readonly from: number; readonly sizes: number[] }[] {
    this.#read();
    return [...this.#heard].map(([from, sizes]) => ({
      from,
      sizes: [...sizes].toSorted((a, b) => a - b).slice(0, PROBE_SIZES_MAX),
    }));
  }

  #read(): void {
    for (let frame = this.#socket.receive(); frame; frame = this.#socket.receive()) {
      const probe = readProbe(frame);
      if (probe?.run !== this.#run) continue;
      this.#heard.getOrInsertComputed(probe.from, () => new Set()).add(probe.size);
    }
  }

  [Symbol.dispose](): void {
    this.#readable[Symbol.dispose]();
    this.#socket[Symbol.dispose]();
  }
}
