/**
 * A copy of the embedded store's file while it is in use.
 *
 * Invariants: the file is there under its name only when it is whole and on the disk; it is of one
 * revision; only its owner may read it, because it holds the hashes of tokens; nothing that exists
 * is written over.
 */
import { closeSync, existsSync, fsyncSync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';
import { backup, type DatabaseSync } from 'node:sqlite';

/** Pages copied at once; between two steps the store serves others. */
const STEP_PAGES = 256;

function sync(path: string): void {
  const file = openSync(path, 'r');
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}

/** Throws when `path` exists or cannot be written, and leaves nothing behind then. */
export async function backupTo(db: DatabaseSync, path: string): Promise<void> {
  if (existsSync(path)) throw new Error(`${path} exists already`);
  const part = `${path}.part`;
  closeSync(openSync(part, 'wx', 0o600));
  try {
    await backup(db, part, { rate: STEP_PAGES });
    sync(part);
    renameSync(part, path);
    sync(dirname(path));
  } catch (error) {
    rmSync(part, { force: true });
    throw error;
  }
}
