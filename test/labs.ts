/**
 * Labs of tests: each test file has its own, named after its process, so that runs side by side do
 * not meet. A file that starts takes away those whose process is gone, however it ended.
 */
import { existsSync } from 'node:fs';
import { readStats } from '#datapath/ebpf/read.ts';
import { cleanLab } from '#lab/clean.ts';
import { labNames } from '#lab/journal.ts';
import { logTails, openLab } from '#lab/lab.ts';
import { lockLab } from '#lab/lock.ts';
import { labDir } from '#lab/names.ts';

/** `what`: lower-case letters, at most ten: a lab's name has room for so many. */
export const testLabName = (what: string): string => `t-${what}-${process.pid}`;

/** What killed runs left is gone afterwards, unless another one is about to remove it. */
export async function sweepLabs(): Promise<void> {
  for (const name of labNames()) {
    const [, pid] = /^t-[a-z]+-(\d+)$/.exec(name) ?? [];
    if (pid === undefined || existsSync(`/proc/${pid}`)) continue;
    let lock: Disposable;
    try {
      lock = lockLab(name);
    } catch {
      continue;
    }
    try {
      await cleanLab(name);
    } finally {
      lock[Symbol.dispose]();
    }
  }
}

/** What fails tells what the kernel of each host counted, and the ends of all logs. */
export async function withEvidence(name: string, work: Promise<void>): Promise<void> {
  try {
    await work;
  } catch (error) {
    const { message } = error as Error;
    throw new Error(`${message}${evidence(name)}`, { cause: error });
  }
}

function evidence(name: string): string {
  const lab = openLab(name);
  const hosts = lab.recipe.hosts.map((host) => {
    const { counters, flows, entries } = readStats(`${labDir(name)}/hosts/${host}`);
    const each = entries.map(({ interface: at, source, flows: own, up, drops }) => ({
      ...{ entry: at ?? source, flows: own, up },
      drops: Object.fromEntries(Object.entries(drops).filter(([, count]) => count > 0)),
    }));
    return `\n  ${host}: ${JSON.stringify({ flows, counters, entries: each })}`;
  });
  return `${hosts.join('')}${logTails(lab)}`;
}
