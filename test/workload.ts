/**
 * A workload of the world: a small IP host. It has addresses, routes by prefix and gateway,
 * resolves neighbours, answers ARP, neighbour solicitations and echo requests, refuses what nobody
 * listens for, cuts what it sends and puts together what it gets, and remembers every frame and
 * every ICMP error.
 */
import { EMPTY_BYTES } from '#net/bytes.ts';
import { mismatch } from '#net/fault.ts';
import { decodeFrame, encodeFrame, networkLength, type Frame, type Layers } from '#net/frame.ts';
import { errorAbout } from '#net/icmp-error.ts';
import {
  ALL_NODES6,
  formatIp,
  isIp6,
  isLinkLocalIp,
  linkLocalOf,
  multicastMac,
  parseIp,
  type Ip,
  type Ip4,
} from '#net/ip.ts';
import { isGroup, writeMac, ZERO_MAC, type Mac } from '#net/mac.ts';
import {
  arpReply,
  arpRequest,
  neighbourAdvertisement,
  neighbourSolicitation,
} from '#net/neighbours.ts';
import { ARP_REQUEST } from '#net/packet/arp.ts';
import { ETHER_TYPE, ETHERNET_SIZE } from '#net/packet/ethernet.ts';
import { ICMP_ECHO_REPLY, ICMP_ECHO_REQUEST } from '#net/packet/icmp.ts';
import {
  ICMP6_ECHO_REPLY,
  ICMP6_ECHO_REQUEST,
  linkAddress,
  NEIGHBOUR_ADVERTISEMENT,
} from '#net/packet/icmp6.ts';
import { bitsOf, contains, parseNetwork, type Prefix } from '#net/prefix.ts';
import { echoReply, tcpReset } from '#net/reply.ts';
import { errorWord, REPLY, type PingOutcome } from '#lab/outcomes.ts';
import { cutToFit, Reassembly } from './datagrams.ts';

/** Bytes of the largest packet of its interface, unless told. */
export const WORKLOAD_MTU = 1500;
const LINK_LOCAL_LENGTH = 64;
const PING_SIZE = 56;
/** Packets that wait for the MAC of one neighbour; a later one is lost. */
const WAITING_MAX = 64;

export interface WorkloadOptions {
  readonly name: string;
  readonly mac: Mac;
  /** Texts with prefix lengths. */
  readonly addresses: readonly string[];
  /** Of its interface. */
  readonly mtu?: number | undefined;
  /** Default routers, one of each family. */
  readonly via?: readonly string[] | undefined;
  send(frame: Uint8Array): void;
}

export interface EchoRequest {
  /** Names the request, and its outcome. */
  readonly id: number;
  /** Data bytes. */
  readonly size?: number | undefined;
  readonly df?: boolean;
  readonly ttl?: number;
}

export class Workload {
  readonly name: string;
  readonly mac: Mac;
  /** All frames it got. */
  readonly received: Uint8Array[] = [];
  readonly #mtu: number;
  readonly #send: (frame: Uint8Array) => void;
  #own: Prefix[];
  readonly #gateways: readonly Ip[];
  readonly #neighbours = new Map<Ip, Mac>();
  readonly #waiting = new Map<Ip, Uint8Array[]>();
  readonly #outcomes = new Map<number, PingOutcome>();
  /** What ICMP errors told of the way to a destination. */
  readonly #pathMtu = new Map<Ip, number>();
  readonly #reassembly = new Reassembly();
  /** Identifies datagrams, for their parts. */
  #packets = 0;

  constructor({ name, mac, addresses, mtu = WORKLOAD_MTU, via = [], send }: WorkloadOptions) {
    this.#mtu = mtu;
    this.name = name;
    this.mac = mac;
    this.#send = send;
    this.#own = addresses.map(parseNetwork).filter((own) => own !== undefined);
    this.#gateways = via.map(parseIp).filter((ip) => ip !== undefined);
  }

  #has(ip: Ip): boolean {
    return ip === linkLocalOf(this.mac) || this.#own.some(({ address }) => address === ip);
  }
  /** The network it shares with a neighbour; undefined: a gateway leads there. */
  #networkOf(ip: Ip): Prefix | undefined {
    if (isIp6(ip) && isLinkLocalIp(ip))
      return { address: linkLocalOf(this.mac), length: LINK_LOCAL_LENGTH };
    return this.#own.find((own) => contains(own, ip));
  }
  /** The address it speaks to `ip` from. */
  #source(ip: Ip): Ip | undefined {
    const near = this.#networkOf(ip)?.address;
    return near ?? this.#own.find(({ address }) => isIp6(address) === isIp6(ip))?.address;
  }
  #nextHop(ip: Ip): Ip | undefined {
    if (this.#networkOf(ip) !== undefined) return ip;
    return this.#gateways.find((gateway) => isIp6(gateway) === isIp6(ip));
  }

  /** Asks who has an address. */
  resolve(ip: Ip): void {
    if (!this.#waiting.has(ip)) this.#waiting.set(ip, []);
    const senderIp = this.#source(ip);
    if (senderIp === undefined) return;
    const { mac: senderMac } = this;
    const question =
      isIp6(ip) && isIp6(senderIp)
        ? neighbourSolicitation({ senderMac, senderIp, target: ip })
        : arpRequest({ senderMac, senderIp: senderIp as Ip4, targetIp: ip as Ip4 });
    this.#send(encodeFrame(question));
  }
  /** The MAC it knows for an address. */
  neighbour(ip: Ip): Mac | undefined {
    return this.#neighbours.get(ip);
  }
  /** Forgets neighbours, as a host does that was long silent, and what waited for them. */
  forget(): void {
    this.#neighbours.clear();
    this.#waiting.clear();
  }
  /** Whether it wants to know who has the address now. */
  #awaits(ip: Ip): boolean {
    return this.#neighbours.has(ip) || this.#waiting.has(ip);
  }
  #learn(ip: Ip, mac: Mac): void {
    this.#neighbours.set(ip, mac);
    const waiting = this.#waiting.get(ip) ?? [];
    this.#waiting.delete(ip);
    for (const bytes of waiting) this.#emit(bytes, mac);
  }
  #emit(bytes: Uint8Array, to: Mac): void {
    writeMac(bytes, 0, to);
    this.#send(bytes);
  }

  /** Sends a packet of its own by the way that leads to its destination. */
  #output(bytes: Uint8Array): PingOutcome | undefined {
    const frame = decodeFrame(bytes);
    if (frame?.network === undefined || frame.network.kind === 'arp') return undefined;
    const { dst } = frame.network;
    const hop = this.#nextHop(dst);
    if (hop === undefined) return undefined;
    const mtu = this.#pathMtu.get(dst) ?? this.#mtu;
    const whole = frame.network.kind === 'ipv4' && frame.network.dontFragment;
    if (whole && networkLength(frame) > mtu) return { kind: 'too-long', mtu };
    const to = this.#neighbours.get(hop);
    const parts = cutToFit(bytes, mtu, this.#packets);
    if (to !== undefined) {
      for (const part of parts) this.#emit(part, to);
      return undefined;
    }
    const waiting = this.#waiting.get(hop);
    this.#waiting.set(hop, [...(waiting ?? []), ...parts].slice(0, WAITING_MAX));
    // Last: where flows are installed, the answer is here before `resolve` returns.
    if (waiting === undefined) this.resolve(hop);
    return undefined;
  }

  /** Sends an echo request, once the next hop is resolved; its outcome is told by `outcome`. */
  ping(to: Ip, { id, size = PING_SIZE, df = false, ttl }: EchoRequest): void {
    const src = this.#source(to);
    if (src === undefined) return;
    this.#packets = (this.#packets + 1) & 0xffff;
    const echo = { code: 0, id, sequence: 1 };
    const lower =
      isIp6(to) && isIp6(src)
        ? ({
            network: {
              kind: 'ipv6',
              src,
              dst: to,
              ...(ttl === undefined ? {} : { hopLimit: ttl }),
            },
            transport: { kind: 'icmp6', type: ICMP6_ECHO_REQUEST, ...echo },
          } as const)
        : ({
            network: {
              kind: 'ipv4',
              src: src as Ip4,
              dst: to as Ip4,
              id: this.#packets,
              dontFragment: df,
              ...(ttl === undefined ? {} : { ttl }),
            },
            transport: { kind: 'icmp', type: ICMP_ECHO_REQUEST, ...echo },
          } as const);
    const layers: Layers = {
      ethernet: { src: this.mac, dst: ZERO_MAC },
      ...lower,
      payload: new Uint8Array(size),
    };
    const bytes = encodeFrame(layers);
    const mtu = this.#pathMtu.get(to) ?? this.#mtu;
    const tooLong = df && bytes.length - ETHERNET_SIZE > mtu;
    const refused = tooLong ? ({ kind: 'too-long', mtu } as const) : this.#output(bytes);
    if (refused !== undefined) this.#outcomes.set(id, refused);
  }
  /** What became of an echo request; undefined: nothing came back. */
  outcome(id: number): PingOutcome | undefined {
    return this.#outcomes.get(id);
  }

  /** Takes an address on, and tells everybody (RFC 5227 §3, RFC 4861 §7.2.6). */
  announce(ip: Ip): void {
    if (!this.#has(ip)) {
      const length = this.#networkOf(ip)?.length ?? bitsOf(ip);
      this.#own = [...this.#own, { address: ip, length }];
    }
    const { mac } = this;
    if (isIp6(ip)) {
      const to = { mac: multicastMac(ALL_NODES6), ip: ALL_NODES6 };
      this.#send(encodeFrame(neighbourAdvertisement({ mac, target: ip, to })));
    } else this.#send(encodeFrame(arpRequest({ senderMac: mac, senderIp: ip, targetIp: ip })));
  }
  /** Gives an address up without a word. */
  release(ip: Ip): void {
    this.#own = this.#own.filter(({ address }) => address !== ip);
  }

  /** A frame arrives at its interface. */
  receive(frame: Uint8Array): void {
    this.received.push(Uint8Array.from(frame));
    const bytes = this.#reassembly.take(Uint8Array.from(frame));
    const whole = bytes && decodeFrame(bytes);
    if (bytes === undefined || whole === undefined) return;
    const { ethernet, network } = whole;
    if (ethernet.dst !== this.mac && !isGroup(ethernet.dst)) return;
    if (ethernet.tci !== undefined || mismatch(bytes, whole) !== undefined) return;
    if (network?.kind === 'arp') this.#onArp(whole);
    else if (whole.transport?.kind === 'neighbour') this.#onNeighbour(whole);
    else if (network !== undefined && this.#has(network.dst) && !isGroup(ethernet.dst))
      this.#onPacket(bytes, whole);
  }

  /** RFC 826: who asks for it is worth remembering; who only speaks, if it is known already. */
  #onArp({ network }: Frame): void {
    if (network?.kind !== 'arp') return;
    const { operation, senderIp, senderMac, targetIp } = network;
    const asked = operation === ARP_REQUEST && this.#has(targetIp);
    if (asked || this.#awaits(senderIp)) this.#learn(senderIp, senderMac);
    if (!asked || senderIp === targetIp) return;
    const { mac } = this;
    const reply = { senderMac: mac, senderIp: targetIp, targetMac: senderMac, targetIp: senderIp };
    this.#send(encodeFrame(arpReply(reply)));
  }

  #onNeighbour({ ethernet, network, transport }: Frame): void {
    if (network?.kind !== 'ipv6' || transport?.kind !== 'neighbour') return;
    const mac = linkAddress(transport) ?? ethernet.src;
    const { target } = transport;
    if (transport.type === NEIGHBOUR_ADVERTISEMENT) {
      if (this.#awaits(target)) this.#learn(target, mac);
      return;
    }
    if (!this.#has(target)) return;
    this.#learn(network.src, mac);
    const to = { mac: ethernet.src, ip: network.src };
    this.#send(encodeFrame(neighbourAdvertisement({ mac: this.mac, target, to })));
  }

  /** A whole packet for an address of its own. */
  #onPacket(bytes: Uint8Array, frame: Frame): void {
    const { network, transport, ethernet } = frame;
    if (network === undefined || network.kind === 'arp') return;
    const macs = { src: this.mac, dst: ethernet.src };
    if (transport?.kind === 'udp') {
      const refusal = errorAbout(bytes, { cause: 'port-unreachable', from: network.dst, ...macs });
      if (refusal !== undefined) this.#output(refusal);
    } else if (transport?.kind === 'icmp' || transport?.kind === 'icmp6') {
      const answer = echoReply(bytes, macs);
      if (answer !== undefined) this.#output(answer);
      else this.#onAnswer(frame);
    } else {
      const reset = tcpReset(bytes, macs);
      if (reset !== undefined) this.#output(reset);
    }
  }

  /** An echo reply, or an ICMP error about something it sent. */
  #onAnswer(frame: Frame): void {
    const { network, transport, payload } = frame;
    if (transport?.kind !== 'icmp' && transport?.kind !== 'icmp6') return;
    const reply = transport.kind === 'icmp' ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY;
    if (transport.type === reply) this.#outcomes.set(transport.id, REPLY);
    const what = errorWord(frame);
    const about = quoted(payload, transport.kind === 'icmp6');
    const { network: lost, transport: echo } = about ?? {};
    if (what === undefined || lost === undefined || lost.kind === 'arp') return;
    if (network === undefined || network.kind === 'arp' || !this.#has(lost.src)) return;
    const mtu = /^frag-needed mtu (\d+)$/.exec(what)?.[1];
    if (mtu !== undefined) this.#pathMtu.set(lost.dst, Number(mtu));
    if (echo?.kind !== 'icmp' && echo?.kind !== 'icmp6') return;
    if (this.#outcomes.has(echo.id)) return;
    this.#outcomes.set(echo.id, { kind: 'error', from: formatIp(network.src), what });
  }
}

/** The packet that an ICMP error quotes. */
function quoted(packet: Uint8Array, six: boolean): Frame | undefined {
  const ethernet = { src: ZERO_MAC, dst: ZERO_MAC };
  const type = six ? ETHER_TYPE.IPV6 : ETHER_TYPE.IPV4;
  const head = encodeFrame({ ethernet: { ...ethernet, type }, payload: EMPTY_BYTES });
  return decodeFrame(Uint8Array.of(...head, ...packet));
}
