/** One TCP stream on one host, and what it costs: switch, router, switch beside a Linux bridge. */
import { inTurn, type Bench, type Measured, type Row } from '../row.ts';
import { IP } from '../sides/recipes.ts';
import { tcpStream } from '../tools/traffic.ts';

async function measure({ stage, runs, seconds }: Bench): Promise<Measured> {
  const [ours, kernel] = [await stage.side('ours'), await stage.side('kernel')];
  const routed = { lab: ours, from: 'a', to: 'b', address: IP.b };
  const bridged = { lab: kernel, from: 'a', to: 'c', address: IP.c };
  for (const way of [routed, bridged]) await tcpStream(way, 1);
  const of = await inTurn(runs, {
    ours: () => tcpStream(routed, seconds),
    peer: () => tcpStream(bridged, seconds),
  });
  const name = 'Linux bridge';
  return {
    lines: [
      {
        what: 'one TCP stream, same host: switch, router, switch',
        unit: 'Gbit/s',
        better: 'more',
        ours: of.ours.map(({ gbitPerSecond }) => gbitPerSecond),
        peer: { name, values: of.peer.map(({ gbitPerSecond }) => gbitPerSecond) },
        reach: { of: 'ratio', value: 1.1 },
      },
      {
        what: 'CPU of the whole machine for a Gbit of it',
        unit: 'ms',
        better: 'less',
        ours: of.ours.map(({ cpuMsPerGbit }) => cpuMsPerGbit),
        peer: { name, values: of.peer.map(({ cpuMsPerGbit }) => cpuMsPerGbit) },
        reach: { of: 'ratio', value: 0.85 },
      },
    ],
    notes: [
      'no firewall here, see the row for that; CPU is everything in /proc/stat that is not idle, of whoever runs here,',
      'so on a machine that is busy with other things only the stream itself says anything',
    ],
  };
}

export const tcpHost: Row = {
  name: 'tcp-host',
  what: 'one TCP stream on one host, beside a Linux bridge; CPU for it',
  tools: ['ip', 'nsenter', 'iperf3'],
  root: true,
  sides: ['ours', 'kernel'],
  measure,
};
