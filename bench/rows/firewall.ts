/**
 * A firewall with connection state between two workloads of one host: what it lets through, beside
 * a Linux bridge whose packets nftables tracks by rules of the same meaning.
 */
import type { Line } from '../line.ts';
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { IP, MAC } from '../sides/recipes.ts';
import { connectionsPerSecond } from '../tools/connections.ts';
import { packetsPerSecond, roundTrips, tcpStream } from '../tools/traffic.ts';

const SIDES = ['firewall', 'tracked'] as const;
const PEER = 'Linux bridge + nftables ct';

async function measure({ stage, runs, seconds }: Bench): Promise<Measured> {
  const [ours, peer] = [await stage.side('firewall'), await stage.side('tracked')];
  const wayIn = (lab: typeof ours) => ({ lab, from: 'a', to: 'c', address: IP.c });
  const both = <T>(ask: (lab: typeof ours) => Promise<T>) =>
    inTurn(runs, { ours: () => ask(ours), peer: () => ask(peer) });
  for (const lab of [ours, peer]) await tcpStream(wayIn(lab), 1);
  const streams = await both((lab) => tcpStream(wayIn(lab), seconds));
  const sender = { from: 'a', fromMac: MAC.a, fromIp: IP.a, to: 'c', toMac: MAC.c };
  const packets = await both((lab) => packetsPerSecond({ lab, ...sender }, seconds));
  const opened = await both((lab) => connectionsPerSecond(wayIn(lab), seconds));
  const asked = await both((lab) => roundTrips(wayIn(lab), seconds));
  const line = <T>(
    what: string,
    unit: string,
    better: Line['better'],
    of: { readonly ours: readonly T[]; readonly peer: readonly T[] },
    value: (each: T) => number,
  ): Line => ({
    what: `firewall, same host: ${what}`,
    ...{ unit, better, ours: of.ours.map(value) },
    peer: { name: PEER, values: of.peer.map(value) },
  });
  const failed = (of: readonly { readonly failed: number }[]): number =>
    of.reduce((sum, each) => sum + each.failed, 0);
  return {
    lines: [
      line('one TCP stream', 'Gbit/s', 'more', streams, (each) => each.gbitPerSecond),
      line('CPU for a Gbit of it', 'ms', 'less', streams, (each) => each.cpuMsPerGbit),
      line('64-byte packets', 'k/s', 'more', packets, (each) => each / 1_000),
      line('new TCP connections', '/s', 'more', opened, (each) => each.perSecond),
      line('requests on one connection', 'k/s', 'more', asked, (each) => 1_000 / each.medianUs),
    ],
    notes: [
      'answers and two services are let in, the rest is dropped, on both sides; the bridge hands its',
      'packets to the rules of the IP layer (br_netfilter), for this kernel may not track on bridges',
      'a new connection costs ours two first packets, and a port may have 5,000 of these a second',
      `connections that failed: ours ${failed(opened.ours)}, ${PEER} ${failed(opened.peer)}`,
    ],
  };
}

export const firewall: Row = {
  name: 'firewall',
  what: 'a firewall with connection state, beside nftables on a Linux bridge',
  tools: ['ip', 'nsenter', 'iperf3', 'trafgen', 'sockperf', 'nft', 'sysctl'],
  root: true,
  sides: SIDES,
  measure,
};
