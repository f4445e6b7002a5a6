/** Commands that the bench runs, the Debian packages that bring them, and running them. */
import { existsSync } from 'node:fs';
import type { Lab } from '#lab/lab.ts';
import { inside } from '#lab/processes.ts';
import { run, runOk, type Ran } from '#os/run.ts';

/** The launcher (`./midonet bench`) knows the same. */
export const PACKAGES: Readonly<Record<string, string>> = {
  ip: 'iproute2',
  ethtool: 'ethtool',
  nsenter: 'util-linux',
  iperf3: 'iperf3',
  nft: 'nftables',
  haproxy: 'haproxy',
  sysctl: 'procps',
  trafgen: 'netsniff-ng',
  sockperf: 'sockperf',
  'qemu-system-x86_64': 'qemu-system-x86',
  'ovs-vswitchd': 'openvswitch-switch',
  'ovs-ofctl': 'openvswitch-common',
  'ovn-northd': 'ovn-central',
  'ovn-nbctl': 'ovn-common',
  'ovn-controller': 'ovn-host',
};

const SYSTEM_DIRS = ['/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/local/bin', '/usr/bin', '/bin'];

/** What is in these is found also when the shell of whoever runs this does not look there. */
export function lookInSystemDirs(): void {
  process.env['PATH'] = [process.env['PATH'] ?? '', ...SYSTEM_DIRS].join(':');
}

const isThere = (command: string): boolean =>
  (process.env['PATH'] ?? '').split(':').some((dir) => existsSync(`${dir}/${command}`));

/** The Debian packages of what is not there, each once. */
export const missingPackages = (commands: readonly string[]): string[] =>
  [
    ...new Set(commands.filter((name) => !isThere(name)).map((name) => PACKAGES[name] ?? name)),
  ].sort();

/** Runs a command in a part of a lab to its end, whatever that is. */
export function runIn(
  lab: Lab,
  part: string,
  words: readonly string[],
  deadlineMs = 30_000,
): Promise<Ran> {
  const [program = '', ...args] = inside(lab.name, part, words);
  return run(program, args, { deadlineMs });
}

/** The same; rejects with the command's own words when it ended with an error. */
export function mustRunIn(
  lab: Lab,
  part: string,
  words: readonly string[],
  deadlineMs = 30_000,
): Promise<string> {
  const [program = '', ...args] = inside(lab.name, part, words);
  return runOk(program, args, { deadlineMs });
}

/**
 * Segmentation and checksum offload off: datapaths in user space see frames as they are on the
 * wire, and cannot finish what a veth leaves to its other end.
 */
export async function offloadsOff(lab: Lab, part: string, name: string): Promise<void> {
  await mustRunIn(lab, part, ['ethtool', '-K', name, ...OFFLOADS.flatMap((each) => [each, 'off'])]);
}
const OFFLOADS = ['tx', 'tso', 'gso', 'gro'] as const;
