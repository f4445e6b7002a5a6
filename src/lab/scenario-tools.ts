/**
 * What a scenario asks of a workload in the lab, done by the machine's own tools inside it: ping,
 * traceroute, arping, ip.
 *
 * Invariant: how long a tool waits depends on what the scenario expects. Where an answer is
 * expected it is waited for with patience, for a machine may be busy; where none is, the silence is
 * QUIET_SECONDS long, several times.
 */
import { isIp6, parseIp } from '#net/ip.ts';
import { run, runOk } from '#os/run.ts';
import {
  HOPS_MAX,
  readPing,
  readTraceroute,
  SILENCE,
  SILENT_HOP,
  type PingOutcome,
} from './outcomes.ts';
import { inside } from './processes.ts';
import { NO_REPLY, type Expected, type PingRequest } from './scenario-commands.ts';
import { WORKLOAD_INTERFACE } from './wires.ts';

/** Longer than a router waits for the MAC of a neighbour before it says so. */
const ANSWER_SECONDS = 6;
const QUIET_SECONDS = 0.5;
/** An interface that came a moment ago may not be carried yet. */
const ATTEMPTS = 3;
const COMMAND_MS = 60_000;

/** Who asks: a workload of a lab, with the addresses it has. */
export interface Asker {
  readonly lab: string;
  readonly name: string;
  readonly addresses: readonly string[];
}

const ownOf = ({ addresses }: Asker): ReadonlySet<string> =>
  new Set(addresses.map((address) => address.split('/')[0] ?? ''));

/** Runs a program inside the workload; what it printed, both streams. It may fail. */
async function tool({ lab, name }: Asker, words: readonly string[]): Promise<string> {
  const [program = '', ...args] = inside(lab, name, words);
  const { stdout, stderr } = await run(program, args, { deadlineMs: COMMAND_MS });
  return stdout + stderr;
}

/** Runs a program inside the workload; throws when it fails. */
export async function toolOk({ lab, name }: Asker, words: readonly string[]): Promise<string> {
  const [program = '', ...args] = inside(lab, name, words);
  return runOk(program, args, { deadlineMs: COMMAND_MS });
}

const forgetNeighbours = (asker: Asker): Promise<string> =>
  toolOk(asker, ['ip', 'neigh', 'flush', 'dev', WORKLOAD_INTERFACE]);

const expectsSilence = (expected: Expected): boolean => expected[0] === NO_REPLY;

export async function pingFrom(
  asker: Asker,
  { address, size, df }: PingRequest,
  expected: Expected,
): Promise<PingOutcome> {
  await forgetNeighbours(asker);
  const seconds = expectsSilence(expected) ? QUIET_SECONDS : ANSWER_SECONDS;
  const how = ['-M', df ? 'do' : 'dont', ...(size === undefined ? [] : ['-s', `${size}`])];
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const output = await tool(asker, [
      'ping',
      '-n',
      '-c',
      '1',
      '-W',
      `${seconds}`,
      ...how,
      address,
    ]);
    const outcome = readPing(output, ownOf(asker));
    if (outcome.kind !== 'silence') return outcome;
  }
  return SILENCE;
}

export async function tracerouteFrom(
  asker: Asker,
  address: string,
  expected: Expected,
): Promise<readonly string[]> {
  // As echo requests, one after another: the target answers them, whatever it is.
  const how = ['-I', '-n', '-q', '1', '-N', '1'];
  const silent = expected.filter((line) => line.endsWith(SILENT_HOP)).length;
  const seconds = silent > 0 ? QUIET_SECONDS * ATTEMPTS : ANSWER_SECONDS;
  const most = expected.length > 0 ? expected.length : HOPS_MAX;
  const limits = ['-w', `${seconds}`, '-m', `${most}`];
  const output = await tool(asker, ['traceroute', ...how, ...limits, address]);
  return readTraceroute(output, ownOf(asker));
}

/** By the kernel itself for IPv6: arping(8) speaks ARP only. */
export async function arpingFrom(asker: Asker, address: string): Promise<string | undefined> {
  const ip = parseIp(address);
  if (ip === undefined) throw new Error(`${address} is no address`);
  if (isIp6(ip)) return solicit(asker, address);
  const how = ['-f', '-c', `${ATTEMPTS}`, '-I', WORKLOAD_INTERFACE];
  const output = await tool(asker, ['arping', ...how, address]);
  return /reply from \S+ \[([0-9A-F:]+)\]/.exec(output)?.[1]?.toLowerCase();
}

async function solicit(asker: Asker, address: string): Promise<string | undefined> {
  await forgetNeighbours(asker);
  await tool(asker, ['ping', '-n', '-c', '1', '-W', `${ANSWER_SECONDS}`, address]);
  const output = await tool(asker, ['ip', '-6', 'neigh', 'show', address]);
  return /lladdr (\S+)/.exec(output)?.[1];
}

/** Tells everybody on the link that the workload has the address. */
export const gratuitousArp = (asker: Asker, address: string): Promise<string> =>
  tool(asker, ['arping', '-U', '-c', '1', '-I', WORKLOAD_INTERFACE, address]);
