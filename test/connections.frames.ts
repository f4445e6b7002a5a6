/**
 * The network of the laws of connections, and what is sent in it: a workload, and its peer behind
 * two doors, on one bridge or with a router between them. Plain text, so that what has to arrive is
 * written down here and not asked of what is tested.
 */
import assert from 'node:assert/strict';
import { parseFrameText } from '#net/text.ts';
import type { RowChange } from '#virtual/change.ts';
import { row } from './cluster.ts';
import type { Protocol } from './connections.oracle.ts';
import { id } from './laws.script.ts';

/** `routed`: answers enter another device than what they answer. */
export type Shape = 'bridged' | 'routed';
export const [VM, NEAR, OTHER] = [id(2, 0), id(2, 1), id(2, 2)];
const [HERE, THERE, ROUTER] = [id(1, 1), id(1, 2), id(5, 1)];

const MACS = { vm: '02:00:00:00:00:01', peer: '02:00:00:00:00:02' } as const;
/** Of the router: on the workload's side, and on the peer's. */
const ROUTER_MACS = { here: '02:00:00:00:00:11', there: '02:00:00:00:00:22' } as const;
const IPS = {
  vm: { four: '10.0.1.2', six: 'fd00:1::2' },
  peer: { four: '10.0.2.2', six: 'fd00:2::2' },
} as const;
const SERVICE = 7;

export const bridgeOf = (own: string, shape: Shape): string =>
  own === VM || shape === 'bridged' ? HERE : THERE;
/** What is known to be behind a port. */
export const seedsOf = (who: keyof typeof MACS): readonly object[] =>
  Object.values(IPS[who]).map((ip) => ({ mac: MACS[who], ip }));

const bridgeRow = (own: string, name: string, floodKey: number): RowChange =>
  row('bridge', { id: own, name, adminStateUp: true, floodKey });

/** A bridge, and the router's port on it. */
function sideRows(side: keyof typeof ROUTER_MACS, networks: readonly string[]): RowChange[] {
  const [n, bridge] = side === 'here' ? [3, HERE] : [5, THERE];
  const [near, far] = [id(2, n), id(2, n + 1)];
  const ends = { type: 'bridge', bridge, hairpin: false, addresses: [] };
  const own = { type: 'router', router: ROUTER, mac: ROUTER_MACS[side], networks };
  const common = { adminStateUp: true };
  return [
    row('port', { id: near, name: `${side}-b`, ...ends, ...common, peer: far }),
    row('port', { id: far, name: `${side}-r`, ...own, ...common, peer: near }),
  ];
}
/** Devices, and links between them. */
export function deviceRows(shape: Shape): RowChange[] {
  const here = bridgeRow(HERE, 'here', 0x800001);
  if (shape === 'bridged') return [here];
  return [
    here,
    bridgeRow(THERE, 'there', 0x800002),
    row('router', { id: ROUTER, name: 'r', adminStateUp: true, networkKey: 0x800009 }),
    ...sideRows('here', ['10.0.1.1/24', 'fd00:1::1/64']),
    ...sideRows('there', ['10.0.2.1/24', 'fd00:2::1/64']),
  ];
}

/** One packet: as it is sent, and as it has to arrive, if it does. */
export interface Message {
  readonly sent: Uint8Array;
  readonly arrives: Uint8Array;
}
function parsed(text: string): Uint8Array {
  const frame = parseFrameText(text);
  assert.ok(frame instanceof Uint8Array, `${text}: ${JSON.stringify(frame)}`);
  return frame;
}
/** `isBack`: of the peer. */
function message(shape: Shape, isBack: boolean, body: string, tail = ''): Message {
  const [from, to] = isBack ? [MACS.peer, MACS.vm] : [MACS.vm, MACS.peer];
  if (shape === 'bridged') {
    const sent = parsed(`${from} > ${to} ${body}${tail}`);
    return { sent, arrives: sent };
  }
  const { here, there } = ROUTER_MACS;
  const [first, last] = isBack ? [there, here] : [here, there];
  return {
    sent: parsed(`${from} > ${first} ${body}${tail}`),
    arrives: parsed(`${last} > ${to} ${body} ttl 63${tail}`),
  };
}

const end = (ip: string, port: number): string =>
  ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`;
const ipsOf = (protocol: Protocol): readonly [vm: string, peer: string] => {
  const family = protocol.endsWith('6') ? 'six' : 'four';
  return [IPS.vm[family], IPS.peer[family]];
};
const inOrder = (isBack: boolean, vm: string, peer: string): string =>
  isBack ? `${peer} > ${vm}` : `${vm} > ${peer}`;

/** Of a connection that the workload opens; `port` tells it apart. */
export function outward(shape: Shape, protocol: Protocol, port: number, isBack: boolean): Message {
  const [vm, peer] = ipsOf(protocol);
  if (protocol.startsWith('icmp')) {
    const what = isBack ? 'reply' : 'echo';
    return message(shape, isBack, `${protocol} ${inOrder(isBack, vm, peer)} ${what} id ${port}`);
  }
  const ends = inOrder(isBack, end(vm, port), end(peer, 53));
  const flags = protocol.startsWith('tcp') ? (isBack ? ' syn ack' : ' syn') : '';
  return message(shape, isBack, `${protocol.slice(0, 3)} ${ends}${flags}`);
}
/** An ICMP error of the peer about the packet that opens such a connection. */
export function errorAbout(shape: Shape, protocol: Protocol, port: number): Message {
  const [vm, peer] = ipsOf(protocol);
  const about = outward(shape, protocol, port, false).arrives.subarray(14);
  const icmp = protocol.endsWith('6') ? 'icmp6' : 'icmp';
  const body = `${icmp} ${peer} > ${vm} port-unreachable`;
  return message(shape, true, body, ` data ${Buffer.from(about).toString('hex')}`);
}
/** Of a connection that the peer opens, to the workload's service; `isBack`: as it is opened. */
export function inward(shape: Shape, protocol: Protocol, port: number, isBack: boolean): Message {
  const [vm, peer] = ipsOf(protocol);
  return message(shape, isBack, `udp ${inOrder(isBack, end(vm, SERVICE), end(peer, port))}`);
}
