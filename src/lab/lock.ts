/**
 * One command at a time builds or removes a lab. The kernel frees the lock when its holder dies,
 * however it dies; the file goes with the release, and a lock taken on a file that is gone
 * meanwhile is not a lock.
 */
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  statSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import { tryLock } from '#os/libc.ts';
import { removeEmptyDirs } from './journal.ts';
import { LABS_DIR } from './names.ts';

export function lockLab(lab: string): Disposable {
  const path = `${LABS_DIR}/.${lab}.lock`;
  for (;;) {
    const fd = openLockFile(path);
    if (fd === undefined) continue;
    if (!tryLock(fd)) {
      closeSync(fd);
      const holder = readFileSync(path, 'utf8').trim();
      throw new Error(`lab ${lab} is being worked on by process ${holder}: wait for it, or end it`);
    }
    if (!isSameFile(fd, path)) {
      closeSync(fd);
      continue;
    }
    ftruncateSync(fd);
    writeSync(fd, `${process.pid}\n`);
    return { [Symbol.dispose]: () => release(fd, path) };
  }
}

/** Undefined: another lab's release has just removed the directory. */
function openLockFile(path: string): number | undefined {
  mkdirSync(LABS_DIR, { recursive: true, mode: 0o700 });
  try {
    return openSync(path, 'a+', 0o600);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
}

function isSameFile(fd: number, path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  return there !== undefined && there.ino === fstatSync(fd).ino;
}

function release(fd: number, path: string): void {
  unlinkSync(path);
  closeSync(fd);
  removeEmptyDirs();
}
