/**
 * CPU time, as the kernel counts it. Of the whole machine: everything that is not idle, interrupts
 * included (proc(5), /proc/stat), because packets are carried in whoever's time it happens to be.
 */
import { readdirSync, readFileSync } from 'node:fs';

/** The kernel's USER_HZ, the same on every machine that Linux runs this program on. */
const TICKS_PER_S = 100;
/** Columns of /proc/stat: user, nice, system; irq, softirq. */
const BUSY = [1, 2, 3, 6, 7] as const;

/** Seconds of CPU time of all CPUs together, since the start of the machine. */
export function machineCpuSeconds(): number {
  const [all = ''] = readFileSync('/proc/stat', 'utf8').split('\n');
  const columns = all.split(/\s+/);
  return BUSY.reduce((sum, i) => sum + Number(columns[i] ?? 0), 0) / TICKS_PER_S;
}

export interface ThreadTime {
  readonly name: string;
  readonly cpuMs: number;
}

/** Milliseconds on a CPU of each thread of a process, by its id (/proc/PID/task/TID/schedstat). */
export function threadTimes(pid: number): Map<number, ThreadTime> {
  const times = new Map<number, ThreadTime>();
  for (const tid of readdirSync(`/proc/${pid}/task`)) {
    const read = (file: string): string =>
      readFileSync(`/proc/${pid}/task/${tid}/${file}`, 'utf8').trim();
    try {
      const [ns = '0'] = read('schedstat').split(' ');
      times.set(Number(tid), { name: read('comm'), cpuMs: Number(ns) / 1e6 });
    } catch {
      continue; // It ended meanwhile.
    }
  }
  return times;
}

/** What each thread took since `before`, the busiest first. */
export const threadsSince = (pid: number, before: Map<number, ThreadTime>): ThreadTime[] =>
  [...threadTimes(pid)]
    .map(([tid, { name, cpuMs }]) => ({ name, cpuMs: cpuMs - (before.get(tid)?.cpuMs ?? 0) }))
    .filter(({ cpuMs }) => cpuMs > 0)
    .toSorted((a, b) => b.cpuMs - a.cpuMs);

/** Of user and system time together (proc(5), fields 14 and 15), in milliseconds. */
export function processTimes(pid: number): { readonly userMs: number; readonly systemMs: number } {
  const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ms = (at: number): number => (Number(fields[at]) / TICKS_PER_S) * 1000;
  return { userMs: ms(11), systemMs: ms(12) };
}

/** Resident memory of a process in MB (10^6 bytes): all of it, and what no file backs. */
export function residentMb(pid: number): { readonly all: number; readonly own: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  const kib = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0);
  return { all: kib('VmRSS') / 976.5625, own: kib('RssAnon') / 976.5625 };
}
