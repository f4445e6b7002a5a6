/** Runs a command of the host to its end. No shell: arguments are passed as they are. */
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { patient } from './patience.ts';

export interface Ran {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  /** On a machine of usual speed: see `patience.ts`. */
  readonly deadlineMs?: number;
  readonly input?: string;
  readonly env?: Readonly<Record<string, string>>;
}

const DEADLINE_DEFAULT_MS = 30_000;
/** Output kept of each stream; what is beyond is cut off. */
export const OUTPUT_BYTES_MAX = 16 * 1024 * 1024;

/**
 * Resolves also when the command failed; rejects when it cannot be started or passes its deadline.
 */
export function run(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Ran> {
  const deadlineMs = patient(options.deadlineMs ?? DEADLINE_DEFAULT_MS);
  return new Promise((resolve, reject) => {
    const env = options.env === undefined ? process.env : { ...process.env, ...options.env };
    const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'], env });
    const collect = (stream: NodeJS.ReadableStream): (() => string) => {
      const chunks: Buffer[] = [];
      let size = 0;
      stream.on('data', (chunk: Buffer) => {
        if (size < OUTPUT_BYTES_MAX) chunks.push(chunk);
        size += chunk.length;
      });
      return () => Buffer.concat(chunks).toString('utf8');
    };
    const stdout = collect(child.stdout);
    const stderr = collect(child.stderr);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, deadlineMs);
    child.on('error', (cause) => {
      clearTimeout(timer);
      reject(new Error(`${command} cannot be started`, { cause }));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      if (late) reject(new Error(`${command} ${args.join(' ')}: no end within ${deadlineMs} ms`));
      else
        resolve({ code: code ?? (signal === null ? 1 : 128), stdout: stdout(), stderr: stderr() });
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
  });
}

/** Whether there is such a command on the PATH. */
export function have(command: string): boolean {
  return (process.env['PATH'] ?? '').split(':').some((dir) => {
    try {
      accessSync(join(dir, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** The standard output; rejects with the command's own words when it ended with an error. */
export async function runOk(
  command: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<string> {
  const ran = await run(command, args, options);
  if (ran.code !== 0) {
    throw new Error(
      `${command} ${args.join(' ')}: exit ${ran.code}: ${(ran.stderr || ran.stdout).trim()}`,
    );
  }
  return ran.stdout;
}
