/**
 * A workload of the world: the smallest IP host that can be pinged. Answers ARP requests, neighbour
 * solicitations and echo requests for its own addresses; remembers every frame it got.
 */
import { encodeFrame, decodeFrame, type Frame, type Layers } from '#net/frame.ts';
import {
  isIp6,
  multicastMac,
  parseIp,
  solicitedNode,
  type Ip,
  type Ip4,
  type Ip6,
} from '#net/ip.ts';
import { BROADCAST, ZERO_MAC, type Mac } from '#net/mac.ts';
import { ARP_REPLY, ARP_REQUEST } from '#net/packet/arp.ts';
import {
  linkAddressOption,
  NA_FLAG,
  NEIGHBOUR_ADVERTISEMENT,
  NEIGHBOUR_SOLICITATION,
  SOURCE_LINK_ADDRESS,
  TARGET_LINK_ADDRESS,
} from '#net/packet/icmp6.ts';

const ECHO = { 4: { request: 8, reply: 0 }, 6: { request: 128, reply: 129 } } as const;
const ND_HOP_LIMIT = 255;

export interface Workload {
  readonly name: string;
  /** A frame arrives at its interface. */
  receive(frame: Uint8Array): void;
  /** Asks for the MAC of an address. */
  resolve(address: Ip): void;
  /** Sends an echo request; false while the address is not resolved. */
  ping(address: Ip, id: number): boolean;
  /** Whether an echo reply with this id came. */
  answered(id: number): boolean;
  /** Forgets neighbours, as a host does that was long silent. */
  forget(): void;
  /** All frames it got. */
  readonly received: Uint8Array[];
}

export interface WorkloadOptions {
  readonly name: string;
  readonly mac: Mac;
  /** Texts with prefix lengths. */
  readonly addresses: readonly string[];
  send(frame: Uint8Array): void;
}

export function createWorkload({ name, mac, addresses, send }: WorkloadOptions): Workload {
  const own = addresses
    .map((text) => parseIp(text.split('/')[0] ?? ''))
    .filter((ip) => ip !== undefined);
  const neighbours = new Map<Ip, Mac>();
  const answers = new Set<number>();
  const received: Uint8Array[] = [];
  const source = (to: Ip): Ip | undefined => own.find((ip) => isIp6(ip) === isIp6(to));
  const emit = (layers: Layers) => send(encodeFrame(layers));

  function onArp(frame: Frame): void {
    if (frame.network?.kind !== 'arp') return;
    const { operation, senderIp, senderMac, targetIp } = frame.network;
    if (own.includes(targetIp)) neighbours.set(senderIp, senderMac);
    if (operation !== ARP_REQUEST || !own.includes(targetIp)) return;
    const reply = {
      kind: 'arp',
      operation: ARP_REPLY,
      senderMac: mac,
      senderIp: targetIp,
    } as const;
    emit({
      ethernet: { src: mac, dst: senderMac },
      network: { ...reply, targetMac: senderMac, targetIp: senderIp },
    });
  }

  function onNeighbour(frame: Frame): void {
    const { network, transport } = frame;
    if (network?.kind !== 'ipv6' || transport?.kind !== 'neighbour') return;
    if (transport.type === NEIGHBOUR_ADVERTISEMENT)
      neighbours.set(transport.target, frame.ethernet.src);
    if (transport.type !== NEIGHBOUR_SOLICITATION || !own.includes(transport.target)) return;
    neighbours.set(network.src, frame.ethernet.src);
    emit({
      ethernet: { src: mac, dst: frame.ethernet.src },
      network: { kind: 'ipv6', src: transport.target, dst: network.src, hopLimit: ND_HOP_LIMIT },
      transport: {
        kind: 'neighbour',
        type: NEIGHBOUR_ADVERTISEMENT,
        flags: NA_FLAG.SOLICITED | NA_FLAG.OVERRIDE,
        target: transport.target,
        options: [linkAddressOption(TARGET_LINK_ADDRESS, mac)],
      },
    });
  }

  function onEcho(frame: Frame): void {
    const { network, transport } = frame;
    if (network === undefined || network.kind === 'arp' || transport === undefined) return;
    if (transport.kind !== 'icmp' && transport.kind !== 'icmp6') return;
    if (!own.includes(network.dst)) return;
    const { request, reply } = ECHO[network.kind === 'ipv6' ? 6 : 4];
    if (transport.type === reply) answers.add(transport.id ?? 0);
    if (transport.type !== request) return;
    emit({
      ethernet: { src: mac, dst: frame.ethernet.src },
      network: { kind: network.kind, src: network.dst, dst: network.src } as Layers['network'],
      transport: {
        kind: transport.kind,
        type: reply,
        code: 0,
        id: transport.id,
        sequence: transport.sequence,
      },
      payload: frame.payload,
    } as Layers);
  }

  return {
    name,
    received,
    receive(bytes) {
      received.push(Uint8Array.from(bytes));
      const frame = decodeFrame(bytes);
      if (frame === undefined) return;
      const group = (Math.floor(frame.ethernet.dst / 2 ** 40) & 1) === 1;
      if (frame.ethernet.dst !== mac && !group) return;
      onArp(frame);
      onNeighbour(frame);
      onEcho(frame);
    },
    resolve(address) {
      const from = source(address);
      if (from === undefined) return;
      if (isIp6(address)) {
        const group = solicitedNode(address);
        emit({
          ethernet: { src: mac, dst: multicastMac(group) },
          network: { kind: 'ipv6', src: from as Ip6, dst: group, hopLimit: ND_HOP_LIMIT },
          transport: {
            kind: 'neighbour',
            type: NEIGHBOUR_SOLICITATION,
            flags: 0,
            target: address,
            options: [linkAddressOption(SOURCE_LINK_ADDRESS, mac)],
          },
        });
        return;
      }
      const request = {
        kind: 'arp',
        operation: ARP_REQUEST,
        senderMac: mac,
        senderIp: from as Ip4,
      } as const;
      emit({
        ethernet: { src: mac, dst: BROADCAST },
        network: { ...request, targetMac: ZERO_MAC, targetIp: address },
      });
    },
    ping(address, id) {
      const to = neighbours.get(address);
      const from = source(address);
      if (to === undefined || from === undefined) return false;
      const six = isIp6(address);
      emit({
        ethernet: { src: mac, dst: to },
        network: { kind: six ? 'ipv6' : 'ipv4', src: from, dst: address } as Layers['network'],
        transport: {
          kind: six ? 'icmp6' : 'icmp',
          type: ECHO[six ? 6 : 4].request,
          code: 0,
          id,
          sequence: 1,
        },
        payload: new Uint8Array(56),
      } as Layers);
      return true;
    },
    answered: (id) => answers.has(id),
    forget: () => neighbours.clear(),
  };
}
