/**
 * A person's editor, as a run of the command line sees it: a text goes in, a text comes out, and
 * the file stays until it is known that nobody needs it.
 */
import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { UsageError } from './io.ts';

export interface Edited {
  readonly file: string;
  readonly text: string;
}
export interface Editor {
  /** Resolves when the editor was left; UsageError when there is none, or it failed. */
  edit(name: string, text: string): Promise<Edited>;
  /** The file is not needed any more. */
  discard(file: string): Promise<void>;
}

const EDITOR_DEFAULT = 'vi';

/** The editor of this process's user: VISUAL, else EDITOR, else vi. */
export const processEditor: Editor = {
  edit: async (name, text) => {
    const { env } = process;
    const command = env['VISUAL'] || env['EDITOR'] || EDITOR_DEFAULT;
    const file = join(await mkdtemp(join(tmpdir(), 'mn-edit-')), name);
    await writeFile(file, text, { mode: 0o600 });
    // By the shell, as everybody does: EDITOR may hold words of its own (`code --wait`).
    const child = spawn('sh', ['-c', `exec ${command} "$1"`, 'sh', file], { stdio: 'inherit' });
    const failure = await new Promise<string | undefined>((resolve) => {
      child.on('error', (error) => resolve(error.message));
      child.on('close', (code) => resolve(code === 0 ? undefined : `it ended with code ${code}`));
    });
    if (failure === undefined) return { file, text: await readFile(file, 'utf8') };
    throw new UsageError(
      `editor ${command}: ${failure}; nothing was changed, and the text is in ${file}`,
      'Name another: EDITOR=nano mn edit …',
    );
  },
  discard: (file) => rm(dirname(file), { recursive: true, force: true }),
};
