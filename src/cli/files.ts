/**
 * Files as a run of the command line sees them: it has no other way to them, so that tests and
 * guide pages give it theirs.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

/** What stands for standard input where a file is named. */
export const STANDARD_INPUT = '-';

export interface Files {
  /** The whole text; of `-` what comes by standard input. Throws what node:fs throws. */
  read(path: string): Promise<string>;
  /** Paths of the files in a directory, by name; undefined when `path` is none. */
  list(path: string): Promise<readonly string[] | undefined>;
}

async function readAll(stream: NodeJS.ReadableStream): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream)
    chunks.push(typeof chunk === 'string' ? Buffer.from(chunk) : (chunk as Uint8Array));
  return Buffer.concat(chunks).toString('utf8');
}

/** The files of this process. */
export const processFiles: Files = {
  read: (path) => (path === STANDARD_INPUT ? readAll(process.stdin) : readFile(path, 'utf8')),
  list: async (path) => {
    if (path === STANDARD_INPUT || !(await stat(path)).isDirectory()) return undefined;
    const entries = await readdir(path, { withFileTypes: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(path, entry.name))
      .sort();
  },
};

/** Files that exist only here, by their path; a path that others begin with is a directory. */
export const filesOf = (texts: Readonly<Record<string, string>>): Files => ({
  read: async (path) => {
    const text = Object.hasOwn(texts, path) ? texts[path] : undefined;
    if (text === undefined) throw new Error(`ENOENT: no such file or directory, open '${path}'`);
    return text;
  },
  list: async (path) => {
    const inside = Object.keys(texts).filter((each) => each.startsWith(`${path}/`));
    return inside.length === 0 ? undefined : inside.sort();
  },
});
