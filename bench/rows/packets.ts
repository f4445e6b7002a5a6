/** Small packets of one sender, on one host, through one switch. */
import type { Line } from '../line.ts';
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { IP, MAC } from '../sides/recipes.ts';
import type { SideName } from '../stage.ts';
import { packetsPerSecond } from '../tools/traffic.ts';

const SIDES = ['ours', 'kernel', 'ovs', 'ovsxdp'] as const satisfies SideName[];
const PEERS = [
  ['kernel', 'Linux bridge', 1.4],
  ['ovs', 'Open vSwitch, packet sockets', 3],
  ['ovsxdp', 'Open vSwitch, AF_XDP', 3],
] as const;

async function measure({ stage, runs, seconds }: Bench): Promise<Measured> {
  const sender = { from: 'a', fromMac: MAC.a, fromIp: IP.a, to: 'c', toMac: MAC.c };
  const sides: Record<string, () => Promise<number>> = {};
  for (const name of SIDES) {
    const lab = await stage.side(name);
    sides[name] = () => packetsPerSecond({ lab, ...sender }, seconds);
  }
  const of = (await inTurn(runs, sides)) as Record<(typeof SIDES)[number], number[]>;
  const thousands = (values: readonly number[]): number[] => values.map((each) => each / 1000);
  const lines = PEERS.map(([side, name, value]): Line => ({
    what: '64-byte packets of one sender, same host',
    unit: 'k/s',
    better: 'more',
    ours: thousands(of.ours),
    peer: { name, values: thousands(of[side]) },
    reach: { of: 'ratio', value },
  }));
  const notes = [
    'what arrives of what trafgen sends on one CPU; Open vSwitch forwards on another CPU, in user',
    'space, with offloads off on both ends of its cables',
  ];
  return { lines, notes };
}

export const packets: Row = {
  name: 'packets',
  what: '64-byte packets a second, beside a Linux bridge and Open vSwitch (plain, AF_XDP)',
  tools: ['ip', 'nsenter', 'ethtool', 'trafgen', 'ovs-vswitchd', 'ovs-ofctl'],
  root: true,
  sides: SIDES,
  measure,
};
