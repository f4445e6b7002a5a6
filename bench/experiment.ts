/**
 * `./midonet experiment NAME`: what the datapath does under attack, and when it is full.
 * Experiments print what they measure and judge nothing; they take minutes and are no part of the
 * tests. Root.
 */
import { parseArgs } from 'node:util';
import { flows } from './experiments/flows.ts';
import { storm } from './experiments/storm.ts';

const USAGE = `Usage: ./midonet experiment NAME [--seconds N] [--rounds N] [--tcp-mbit N]

  storm   one port sends nothing but first packets of new flows, as fast as it can
  masks   one port sends frames of every sort: as many masks and flows as it can bring about
  flows   250,000 flows resident: set-up, memory, one edit of 100,000, expiry

  --seconds N   of each measurement of a stream; default 5
  --tcp-mbit N  what the TCP stream is paced to; default 0: as fast as it goes
  --rounds N    how often the runs are made in turn; default 3
`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '3' },
    'tcp-mbit': { type: 'string', default: '0' },
    help: { type: 'boolean', short: 'h' },
  },
});
const [name = ''] = positionals;
const number = (what: 'seconds' | 'rounds' | 'tcp-mbit', most: number, least = 1): number => {
  const value = Number(values[what]);
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  throw new RangeError(
    `--${what} must be a whole number from ${least} to ${most}, not ${values[what]}`,
  );
};
if (values.help === true) console.log(USAGE);
else if (name === 'storm' || name === 'masks') {
  const [seconds, rounds] = [number('seconds', 600), number('rounds', 100)];
  const tcpMbit = number('tcp-mbit', 100_000, 0);
  await storm(name, { name: `x-${name}`, seconds, rounds, tcpMbit });
} else if (name === 'flows') flows();
else {
  console.error(USAGE);
  process.exitCode = 2;
}
