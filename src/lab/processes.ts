/**
 * The lab's processes: started inside a namespace, found again by another command, and never mixed
 * up.
 *
 * A process is named by its pid and its start time (proc(5), /proc/PID/stat field 22): a pid that
 * the kernel gave to somebody else meanwhile has another start time and is left alone.
 */
import { spawn } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { monotonicMs } from '#os/clock.ts';
import { netnsPath } from '#os/netns.ts';
import { patient } from '#os/patience.ts';
import { labDir, netnsOf } from './names.ts';

export interface Process {
  readonly pid: number;
  /** In clock ticks since the machine's start. */
  readonly startTime: string;
}

const STOP_MS = 3_000;
const KILL_MS = 5_000;
const POLL_MS = 5;
/** Where everything is slow, whoever is waited for needs the processor more than who waits. */
const POLL_MAX_MS = patient(100);

const pidDir = (lab: string): string => `${labDir(lab)}/pids`;
export const logPath = (lab: string, name: string): string => `${labDir(lab)}/logs/${name}.log`;

/** The start time of a process that runs; undefined when there is none, or only its remains. */
function startTimeOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
  } catch {
    return undefined;
  }
}

export const isAlive = (process: Process): boolean =>
  startTimeOf(process.pid) === process.startTime;

/** The arguments that run a command in a part's namespace; mounts stay the caller's. */
export const inside = (lab: string, part: string, command: readonly string[]): string[] => [
  'nsenter',
  `--net=${netnsPath(netnsOf(lab, part))}`,
  '--',
  ...command,
];

let stopping = false;
/**
 * From now on nothing is started or made: the lab is being taken down under whoever still works on
 * it.
 */
export const startNothingMore = (): void => {
  stopping = true;
};

export function refuseWhenStopping(): void {
  if (stopping) throw new Error('the lab is being taken down');
}

export interface Start {
  readonly lab: string;
  readonly part: string;
  /** Names the pid file and the log. */
  readonly name: string;
  readonly command: readonly string[];
}

/** Starts a process that outlives this one. */
export function start({ lab, part, name, command }: Start): Process {
  refuseWhenStopping();
  mkdirSync(pidDir(lab), { recursive: true });
  mkdirSync(`${labDir(lab)}/logs`, { recursive: true });
  const log = openSync(logPath(lab, name), 'a');
  try {
    const [program = '', ...args] = inside(lab, part, command);
    const child = spawn(program, args, { detached: true, stdio: ['ignore', log, log] });
    child.on('error', () => {}); // Without a pid; refused below.
    child.unref();
    const { pid } = child;
    const startTime = pid === undefined ? undefined : startTimeOf(pid);
    if (pid === undefined || startTime === undefined) throw new Error(`${name} cannot be started`);
    writeFileSync(`${pidDir(lab)}/${name}`, `${pid} ${startTime}\n`);
    return { pid, startTime };
  } finally {
    closeSync(log);
  }
}

/** The process that was last started under this name, alive or not. */
export function find(lab: string, name: string): Process | undefined {
  try {
    const [pid = '', startTime = ''] = readFileSync(`${pidDir(lab)}/${name}`, 'utf8')
      .trim()
      .split(' ');
    return /^\d+$/.test(pid) ? { pid: Number(pid), startTime } : undefined;
  } catch {
    return undefined;
  }
}

/** All that were ever started by this lab and are alive. */
export function started(lab: string): Process[] {
  let names: string[] = [];
  try {
    names = readdirSync(pidDir(lab));
  } catch {
    return [];
  }
  return names
    .map((name) => find(lab, name))
    .filter((p) => p !== undefined && isAlive(p)) as Process[];
}

/** Every process inside one of these namespaces, whoever started it. */
export function insideOf(namespaces: readonly string[]): Process[] {
  const inodes = new Set<string>();
  for (const name of namespaces) {
    const found = statSync(netnsPath(name), { throwIfNoEntry: false });
    if (found !== undefined) inodes.add(`${found.dev}:${found.ino}`);
  }
  const processes: Process[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry) || Number(entry) === process.pid) continue;
    let net;
    try {
      net = statSync(`/proc/${entry}/ns/net`);
    } catch {
      continue; // Ended meanwhile.
    }
    const startTime = startTimeOf(Number(entry));
    if (inodes.has(`${net.dev}:${net.ino}`) && startTime !== undefined) {
      processes.push({ pid: Number(entry), startTime });
    }
  }
  return processes;
}

/** Sends a signal unless the process is gone. */
export function signal(target: Process, name: NodeJS.Signals): void {
  if (!isAlive(target)) return;
  try {
    process.kill(target.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Polls `condition` until it holds; throws at the deadline, naming `what` was waited for. */
export async function until(
  what: string,
  timeoutMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = monotonicMs() + patient(timeoutMs);
  for (
    let pauseMs = POLL_MS;
    !(await condition());
    pauseMs = Math.min(pauseMs * 1.5, POLL_MAX_MS)
  ) {
    if (monotonicMs() > deadline)
      throw new Error(`${what}: not within ${patient(timeoutMs) / 1000} s`);
    await sleep(pauseMs);
  }
}

const gone = (targets: readonly Process[]): boolean => !targets.some((target) => isAlive(target));

/** Ends processes for certain; `politely`: they are asked first. */
export async function end(targets: readonly Process[], politely: boolean): Promise<void> {
  if (politely) {
    for (const target of targets) signal(target, 'SIGTERM');
    await until('processes end', STOP_MS, () => gone(targets)).catch(() => {});
  }
  for (const target of targets) signal(target, 'SIGKILL');
  await until('killed processes end', KILL_MS, () => gone(targets));
}
