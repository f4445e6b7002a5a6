/**
 * Across hosts over the same kind of underlay: one TCP stream, and questions and answers one at a
 * time, beside kernel bridge + kernel VXLAN and beside OVN with two chassis.
 */
import type { Line } from '../line.ts';
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { IP } from '../sides/recipes.ts';
import type { SideName } from '../stage.ts';
import { roundTrips, tcpStream, type Way } from '../tools/traffic.ts';

const PEERS = {
  kernel: 'kernel bridge + VXLAN',
  ovn: 'OVN, packet sockets',
  ovnxdp: 'OVN, AF_XDP',
} as const satisfies Partial<Record<SideName, string>>;
type PeerName = keyof typeof PEERS;
const NAMES = Object.keys(PEERS) as PeerName[];

/** Nothing is asked for against OVN but to be shown beside it. */
const reachAgainst = (peer: PeerName, value: number) =>
  peer === 'kernel' ? { reach: { of: 'ratio' as const, value } } : {};

/** Ours and every peer, in turn; the first time with the first packets out of the way. */
async function eachWay<T>(
  { stage, runs }: Bench,
  ask: (way: Way) => Promise<T>,
): Promise<Record<'ours' | PeerName, T[]>> {
  const sides: Record<string, () => Promise<T>> = {};
  for (const name of ['ours', ...NAMES] as const) {
    const way = { lab: await stage.side(name), from: 'a', to: 'd', address: IP.d };
    await roundTrips(way, 1);
    sides[name] = () => ask(way);
  }
  return inTurn(runs, sides) as Promise<Record<'ours' | PeerName, T[]>>;
}

async function measureStream(bench: Bench): Promise<Measured> {
  const of = await eachWay(bench, (way) => tcpStream(way, bench.seconds));
  const values = (name: 'ours' | PeerName): number[] =>
    of[name].map(({ gbitPerSecond }) => gbitPerSecond);
  const lines = NAMES.map((peer): Line => ({
    what: 'one TCP stream across hosts',
    unit: 'Gbit/s',
    better: 'more',
    ours: values('ours'),
    peer: { name: PEERS[peer], values: values(peer) },
    ...reachAgainst(peer, 1),
  }));
  return { lines, notes: OVN_NOTES };
}

const OVN_NOTES = [
  'OVN forwards in user space here (this kernel has no openvswitch module), so its segments are cut',
  'by software: offloads are off on all of its cables, the MTU of its stations is 1400',
];

async function measureQuestions(bench: Bench): Promise<Measured> {
  const of = await eachWay(bench, (way) => roundTrips(way, bench.seconds));
  const line = (peer: PeerName, which: 'medianUs' | 'p99Us', what: string): Line => ({
    what: `request and response across hosts, ${what}`,
    unit: 'µs',
    better: 'less',
    ours: of.ours.map((each) => each[which]),
    peer: { name: PEERS[peer], values: of[peer].map((each) => each[which]) },
    ...reachAgainst(peer, 1.05),
  });
  const lines = NAMES.flatMap((peer) => [
    line(peer, 'medianUs', 'median'),
    line(peer, 'p99Us', 'p99'),
  ]);
  return { lines, notes: OVN_NOTES };
}

const needs = {
  root: true,
  sides: ['ours', ...NAMES],
} as const;
const OVN_TOOLS = ['ethtool', 'ovs-vswitchd', 'ovn-northd', 'ovn-nbctl', 'ovn-controller'];

export const tcpAcross: Row = {
  ...needs,
  name: 'tcp-across',
  what: 'one TCP stream across hosts, beside kernel VXLAN and OVN',
  tools: ['ip', 'nsenter', 'iperf3', 'sockperf', ...OVN_TOOLS],
  measure: measureStream,
};

export const latency: Row = {
  ...needs,
  name: 'latency',
  what: 'request and response across hosts, beside kernel VXLAN and OVN',
  tools: ['ip', 'nsenter', 'sockperf', ...OVN_TOOLS],
  measure: measureQuestions,
};
