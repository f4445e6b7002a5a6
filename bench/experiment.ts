/**
 * `./midonet experiment NAME`: what the datapath does under attack, when it is full, and while its
 * agents are killed and replaced.
 * Experiments print what they measure and judge nothing; they take minutes and are no part of the
 * tests. Root.
 */
import { parseArgs } from 'node:util';
import { balance } from '#lab/experiment/balance/balance.ts';
import { restarts } from '#lab/experiment/restarts.ts';
import { connections } from './experiments/connections.ts';
import { flows } from './experiments/flows.ts';
import { ports } from './experiments/ports.ts';
import { storm } from './experiments/storm.ts';

const USAGE = `Usage: ./midonet experiment NAME [options]

  storm   one port sends nothing but first packets of new flows, as fast as it can
  masks   one port sends frames of every sort: as many masks and flows as it can bring about
  flows   250,000 flows resident: set-up, memory, one edit of 100,000, expiry
  connections  500,000 of them through a stateful filter: set-up, memory, traffic, expiry, and a
            flood of SYNs beside another port  [--count 500000]
  ports     a million short connections from three hosts through one public address
            [--count 1000000]
  restarts  agents are killed, upgraded and downgraded under load; packets counted at both ends
            [--kills 100] [--upgrades 10] [--rate 10000] [--pairs 8] [--seed 1]; needs clang-14
  balance   wrk and iperf3 through VIPs while members die, hang, rest, come and go, and agents
            die; every request that fails is accounted for  [--minutes 10] [--seed 1]
            [--phases quiet,kill,hang,drain,down,add,agent]

Of storm and masks:
  --seconds N   of each measurement of a stream; default 5
  --tcp-mbit N  what the TCP stream is paced to; default 0: as fast as it goes
  --rounds N    how often the runs are made in turn; default 3
`;

async function attack(name: 'storm' | 'masks', args: readonly string[]): Promise<void> {
  const { values } = parseArgs({
    args: [...args],
    options: {
      seconds: { type: 'string', default: '5' },
      rounds: { type: 'string', default: '3' },
      'tcp-mbit': { type: 'string', default: '0' },
    },
  });
  const number = (what: keyof typeof values, most: number, least = 1): number => {
    const value = Number(values[what]);
    if (Number.isInteger(value) && value >= least && value <= most) return value;
    throw new RangeError(
      `--${what} must be a whole number from ${least} to ${most}, not ${values[what]}`,
    );
  };
  const [seconds, rounds] = [number('seconds', 600), number('rounds', 100)];
  await storm(name, {
    name: `x-${name}`,
    seconds,
    rounds,
    tcpMbit: number('tcp-mbit', 100_000, 0),
  });
}

const [name = '', ...args] = process.argv.slice(2);
if (['help', '-h', '--help'].includes(name)) console.log(USAGE);
else if (name === 'storm' || name === 'masks') await attack(name, args);
else if (name === 'flows') flows();
else if (name === 'connections') connections(args);
else if (name === 'ports') await ports(args);
else if (name === 'balance') process.exitCode = (await balance(args)) ? 0 : 1;
else if (name === 'restarts') process.exitCode = (await restarts(args)) ? 0 : 1;
else {
  console.error(USAGE);
  process.exitCode = 2;
}
