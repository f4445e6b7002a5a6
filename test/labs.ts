/**
 * Labs of tests: each test file has its own, named after its process, so that runs side by side do
 * not meet. A file that starts takes away those whose process is gone, however it ended.
 */
import { existsSync } from 'node:fs';
import { cleanLab } from '#lab/clean.ts';
import { labNames } from '#lab/journal.ts';
import { lockLab } from '#lab/lock.ts';

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
