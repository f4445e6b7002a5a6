/**
 * What the checks of a host look with: its files, commands, interfaces and addresses, and what is
 * to be looked at. Tests pass their own.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import type { LocalFinding, Severity } from '#client/health-asks.ts';
import { TUNNEL_DEVICE } from '#datapath/ebpf/devices.ts';
import { bpffsDir } from '#datapath/ebpf/pins.ts';
import { formatIp, isIp6, parseIp, readIp4, readIp6, writeIp4, writeIp6 } from '#net/ip.ts';
import { isBpffs } from '#os/mount.ts';
import { listAddresses } from '#os/netlink/addresses.ts';
import { type Link, listLinks } from '#os/netlink/links.ts';
import { Routes } from '#os/netlink/routes.ts';
import { have, run } from '#os/run.ts';

const COMMAND_MS_MAX = 3_000;

export interface Eye {
  readonly kernel: string;
  /** Undefined when it cannot be read. */
  read(path: string): string | undefined;
  exists(path: string): boolean;
  /** How many entries a folder has; undefined when it cannot be read. */
  entries(path: string): number | undefined;
  isBpffs(path: string): boolean;
  /** What a command of the host prints; undefined: there is none, or it failed. */
  output(command: string, ...args: readonly string[]): Promise<string | undefined>;
  links(): readonly Link[];
  /** In canonical text. */
  addresses(): readonly { readonly index: number; readonly address: string }[];
  /** The interface by which packets for an address leave; undefined: there is no route. */
  wayOut(address: string): number | undefined;
}

/** What is to be looked at. */
export interface Subject {
  /** By which other hosts reach this one, and those by which it reaches them. */
  readonly addresses: readonly string[];
  readonly peers: readonly string[];
  /** Interfaces that ports are bound to. */
  readonly interfaces: readonly string[];
  readonly runDir: string;
  readonly tunnelUdpPort: number;
  readonly recordUdpPort: number;
  readonly tunnelDevice: string;
  readonly bpffs: string;
}

export type Check = (
  eye: Eye,
  subject: Subject,
) => readonly LocalFinding[] | Promise<readonly LocalFinding[]>;

export const finding = (
  severity: Severity,
  check: string,
  words: { readonly what: string; readonly evidence: string; readonly remedy: string },
): LocalFinding => ({ severity, check, ...words });

export const subjectOf = (
  asked: Pick<Subject, 'addresses' | 'peers' | 'interfaces'>,
  machine: Pick<Subject, 'runDir' | 'tunnelUdpPort' | 'recordUdpPort'>,
): Subject => ({
  ...asked,
  ...machine,
  tunnelDevice: TUNNEL_DEVICE,
  bpffs: bpffsDir(machine.runDir),
});

const textOf = (bytes: Uint8Array): string =>
  formatIp(bytes.length === 4 ? readIp4(bytes, 0) : readIp6(bytes, 0));

function bytesOf(text: string): Uint8Array | undefined {
  const ip = parseIp(text);
  if (ip === undefined) return undefined;
  const bytes = new Uint8Array(isIp6(ip) ? 16 : 4);
  if (isIp6(ip)) writeIp6(bytes, 0, ip);
  else writeIp4(bytes, 0, ip);
  return bytes;
}

/** What cannot be looked at is told as if it were not there: a check says so if that matters. */
function attempt<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

/** This host, in the network namespace of the calling thread. */
export const hostEye = (): Eye => ({
  kernel: release(),
  read: (path) => attempt(() => readFileSync(path, 'utf8')),
  exists: existsSync,
  entries: (path) => attempt(() => readdirSync(path).length),
  isBpffs,
  output: async (command, ...args) => {
    if (!have(command)) return undefined;
    const ran = await run(command, args, { deadlineMs: COMMAND_MS_MAX }).catch(() => undefined);
    return ran?.code === 0 ? ran.stdout : undefined;
  },
  links: listLinks,
  addresses: () =>
    listAddresses().map(({ index, address }) => ({ index, address: textOf(address) })),
  wayOut: (address) => {
    const bytes = bytesOf(address);
    if (bytes === undefined) return undefined;
    using routes = new Routes();
    return routes.wayOut(bytes);
  },
});
