/** Streams, packets and questions between the parts of a lab: the same tool for every side. */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { stream } from '#lab/demo/iperf.ts';
import { namespaceOf, type Lab } from '#lab/lab.ts';
import { labDir } from '#lab/names.ts';
import { end, insideOf, isAlive, start, until } from '#lab/processes.ts';
import { WORKLOAD_INTERFACE } from '#lab/wires.ts';
import { mustRunIn, runIn } from '../tools.ts';
import { machineCpuSeconds } from './cpu.ts';

/** Who sends to whom, and the address it has. */
export interface Way {
  readonly lab: Lab;
  readonly from: string;
  readonly to: string;
  readonly address: string;
}

export interface StreamResult {
  readonly gbitPerSecond: number;
  /** CPU time of the whole machine for each Gbit that arrived, in milliseconds. */
  readonly cpuMsPerGbit: number;
}

/** One TCP stream, by iperf3. Throws when nothing arrived. */
export async function tcpStream({ lab, ...way }: Way, seconds: number): Promise<StreamResult> {
  const before = machineCpuSeconds();
  const { gbitPerSecond, error } = await stream(lab, { ...way, seconds });
  const cpu = machineCpuSeconds() - before;
  if (!(gbitPerSecond > 0))
    throw new Error(`no stream from ${way.from} to ${way.to} of ${lab.name}: ${error ?? ''}`);
  return { gbitPerSecond, cpuMsPerGbit: (cpu * 1000) / (gbitPerSecond * seconds) };
}

/** Packets that an interface has received so far. */
export async function received(lab: Lab, part: string): Promise<number> {
  const text = await mustRunIn(lab, part, ['cat', '/proc/net/dev']);
  const line = text.split('\n').find((each) => each.trim().startsWith(`${WORKLOAD_INTERFACE}:`));
  return Number(line?.split(':')[1]?.trim().split(/\s+/)[1] ?? Number.NaN);
}

/** Where packets of `packetsPerSecond` go: to nobody. */
export const PACKETS_PORT = 2_000;

/** As trafgen(8) writes it: Ethernet, IPv4, UDP, padded to 64 bytes with the frame's check sum. */
const frameOf = (src: string, dst: string, from: string): string => `{
  eth(sa=${src}, da=${dst})
  ipv4(sa=${from}, da=198.18.0.1, ttl=64)
  udp(sp=1000, dp=${PACKETS_PORT})
  fill(0x00, 18)
}
`;

export interface Packets {
  readonly lab: Lab;
  readonly from: string;
  readonly fromMac: string;
  readonly fromIp: string;
  readonly to: string;
  readonly toMac: string;
}

const DRAIN_MS = 300;

/**
 * 64-byte packets of one flow from one sender (trafgen on one CPU, as fast as it goes) that arrive
 * in a second. They are for an address that the receiver does not have: its kernel drops them
 * without an answer.
 */
export async function packetsPerSecond(packets: Packets, seconds: number): Promise<number> {
  const { lab, from, fromMac, fromIp, to, toMac } = packets;
  const file = `${labDir(lab.name)}/trafgen.cfg`;
  writeFileSync(file, frameOf(fromMac, toMac, fromIp));
  const before = await received(lab, to);
  const sender = start({
    lab: lab.name,
    part: from,
    name: 'trafgen',
    command: ['trafgen', '--in', file, '--out', WORKLOAD_INTERFACE, '--cpus', '1', '--no-sock-mem'],
  });
  // Until the first packets are through, the sender is not at its speed.
  const flowing = async (): Promise<boolean> => (await received(lab, to)) > before + 1000;
  try {
    await until('packets arrive', 5_000, flowing);
    await sleep(DRAIN_MS);
    const [n, at] = [await received(lab, to), performance.now()];
    await sleep(seconds * 1000);
    if (!isAlive(sender)) throw new Error('trafgen ended by itself');
    const [m, then] = [await received(lab, to), performance.now()];
    return ((m - n) / (then - at)) * 1000;
  } finally {
    await end(insideOf([namespaceOf(lab, from)]), false);
    await sleep(DRAIN_MS);
  }
}

export interface Latency {
  readonly medianUs: number;
  readonly p99Us: number;
}

/** Another port for each server: the last one's may not be free yet (TIME_WAIT). */
const ports = { first: 11_111, most: 20_000, next: 0 };
/** All of them, as rules have ranges. */
export const ROUND_TRIP_PORTS = `${ports.first}-${ports.first + ports.most - 1}`;

/** Round trips of 14-byte messages over one TCP connection, one at a time, by sockperf(1). */
export async function roundTrips(
  { lab, from, to, address }: Way,
  seconds: number,
): Promise<Latency> {
  const port = ports.first + (ports.next++ % ports.most);
  const at = ['--tcp', '-i', address, '-p', `${port}`];
  const server = start({
    lab: lab.name,
    part: to,
    name: 'sockperf',
    command: ['sockperf', 'server', ...at],
  });
  try {
    const words = ['sockperf', 'ping-pong', ...at, '--time', `${seconds}`, '--full-rtt'];
    let text = '';
    await until(`sockperf answers in ${to}`, 10_000, async () => {
      const ran = await runIn(lab, from, words, seconds * 1000 + 15_000);
      text = ran.stdout + ran.stderr;
      return ran.code === 0 && text.includes('percentile 50');
    }).catch((error: Error) => {
      throw new Error(`${error.message}: ${text.slice(-400)}`, { cause: error });
    });
    const percentile = (which: string): number =>
      Number(new RegExp(`percentile ${which}\\s*=\\s*([\\d.]+)`).exec(text)?.[1] ?? Number.NaN);
    return { medianUs: percentile('50\\.000'), p99Us: percentile('99\\.000') };
  } finally {
    await end([server], false);
  }
}
