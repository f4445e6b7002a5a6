/** What the figures were taken on: a figure without its machine says nothing. */
import { cpus, loadavg, release, totalmem } from 'node:os';
import { readFileSync } from 'node:fs';
import { run } from '#os/run.ts';

export interface Machine {
  readonly cpu: string;
  readonly cpus: number;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly system: string;
  readonly node: string;
  /** Of the minute before the bench: what else runs here. */
  readonly load: number;
  readonly tools: Readonly<Record<string, string>>;
}

const VERSIONS = {
  'Open vSwitch': 'ovs-vswitchd',
  OVN: 'ovn-controller',
  iperf3: 'iperf3',
} as const;

async function versionOf(command: string): Promise<string | undefined> {
  try {
    const { stdout, stderr } = await run(command, ['--version']);
    return /(\d+\.\d+(\.\d+)?)/.exec(stdout + stderr)?.[1];
  } catch {
    return undefined; // It is not there, and no row that needs it is run.
  }
}

function systemName(): string {
  try {
    const text = readFileSync('/etc/os-release', 'utf8');
    return /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1] ?? 'Linux';
  } catch {
    return 'Linux';
  }
}

export async function describeMachine(): Promise<Machine> {
  const tools: Record<string, string> = {};
  for (const [name, command] of Object.entries(VERSIONS)) {
    const version = await versionOf(command);
    if (version !== undefined) tools[name] = version;
  }
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cpus: cpus().length,
    memoryGib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    system: systemName(),
    node: process.version,
    load: loadavg()[0] ?? 0,
    tools,
  };
}

export const machineLine = (machine: Machine): string =>
  [
    `${machine.cpus} × ${machine.cpu}`,
    `${machine.memoryGib} GiB`,
    `${machine.system}, kernel ${machine.kernel}`,
    `Node ${machine.node}`,
    ...Object.entries(machine.tools).map(([name, version]) => `${name} ${version}`),
    `load ${machine.load.toFixed(2)}`,
  ].join('; ');
