/**
 * Address translation between two workloads of one host: what leaves under the router's address,
 * and what is led on to another one, beside nftables on a Linux router.
 */
import type { Line } from '../line.ts';
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { FORWARDED } from '../sides/nat.ts';
import { IP } from '../sides/recipes.ts';
import { connectionsPerSecond } from '../tools/connections.ts';
import { roundTrips, tcpStream } from '../tools/traffic.ts';

const SIDES = ['translated', 'masqueraded'] as const;
const PEER = 'Linux router + nftables NAT';

async function measure({ stage, runs, seconds }: Bench): Promise<Measured> {
  const [ours, peer] = [await stage.side('translated'), await stage.side('masqueraded')];
  const way = (lab: typeof ours, address: string) => ({ lab, from: 'a', to: 'b', address });
  const both = <T>(ask: (lab: typeof ours) => Promise<T>) =>
    inTurn(runs, { ours: () => ask(ours), peer: () => ask(peer) });
  for (const lab of [ours, peer]) await tcpStream(way(lab, IP.b), 1);
  const line = <T>(
    what: string,
    unit: string,
    better: Line['better'],
    of: { readonly ours: readonly T[]; readonly peer: readonly T[] },
    value: (each: T) => number,
  ): Line => ({
    what: `NAT, same host: ${what}`,
    ...{ unit, better, ours: of.ours.map(value) },
    peer: { name: PEER, values: of.peer.map(value) },
  });
  const lines: Line[] = [];
  const failed = { ours: 0, peer: 0 };
  for (const [name, address] of [
    ['SNAT', IP.b],
    ['SNAT and DNAT', FORWARDED],
  ] as const) {
    const streams = await both((lab) => tcpStream(way(lab, address), seconds));
    const opened = await both((lab) => connectionsPerSecond(way(lab, address), seconds));
    lines.push(
      line(`${name}, one TCP stream`, 'Gbit/s', 'more', streams, (each) => each.gbitPerSecond),
      line(`${name}, CPU for a Gbit of it`, 'ms', 'less', streams, (each) => each.cpuMsPerGbit),
      line(`${name}, new TCP connections`, '/s', 'more', opened, (each) => each.perSecond),
    );
    for (const side of ['ours', 'peer'] as const)
      failed[side] += opened[side].reduce((sum, each) => sum + each.failed, 0);
  }
  const asked = await both((lab) => roundTrips(way(lab, IP.b), seconds));
  const perMs = ({ medianUs }: (typeof asked.ours)[number]): number => 1_000 / medianUs;
  lines.push(line('SNAT, requests on one connection', 'k/s', 'more', asked, perMs));
  return {
    lines,
    notes: [
      'both route from one network to another under the address of the router; nothing is filtered',
      'a new connection costs ours two first packets, and a port may have 5,000 of these a second',
      `connections that failed: ours ${failed.ours}, ${PEER} ${failed.peer}`,
    ],
  };
}

export const nat: Row = {
  name: 'nat',
  what: 'source and destination NAT, beside nftables on a Linux router',
  tools: ['ip', 'nsenter', 'iperf3', 'sockperf', 'nft', 'sysctl'],
  root: true,
  sides: SIDES,
  measure,
};
