/**
 * Lines typed in earlier shells: one file of the user's own (mode 0600), bounded. A line that may
 * hold a secret is never kept, nor one that begins with a space.
 */
import { appendFileSync, chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { dirname, isAbsolute, join } from 'node:path';

/** Lines kept; the oldest go. */
export const HISTORY_LINES_MAX = 1_000;
/** Of one line; a longer one is not kept. */
const LINE_LENGTH_MAX = 4_096;

/** A bearer token, wherever it stands; and values of flags whose name says that they are secret. */
const SECRET =
  /\bmn_[0-9a-f]{8,}_|\bbearer\s+\S|(?:password|passphrase|secret|token|psk)(?!-file)\b\s*[= ]\s*\S/i;

/** Whether a line may be remembered. `mn token …` names no secret. */
export const isKept = (line: string): boolean =>
  line.trim() !== '' &&
  !/^\s/.test(line) &&
  line.length <= LINE_LENGTH_MAX &&
  !SECRET.test(line.replace(/^(mn\s+)?token\s+(issue|list|revoke)\b/, ''));

/** Where the XDG base directory specification wants state: `$XDG_STATE_HOME/midonet/NAME`. */
export function historyPath(
  environment: Readonly<Record<string, string | undefined>>,
  name: string,
): string {
  const given = environment['XDG_STATE_HOME'] ?? '';
  const state = isAbsolute(given) ? given : join(homedir(), '.local', 'state');
  return join(state, 'midonet', name);
}

/** The lines of one file. What cannot be read or written is told once and then done without. */
export class History {
  readonly #path: string | undefined;
  readonly #warn: (text: string) => void;
  #broken = false;

  constructor(path: string | undefined, warn: (text: string) => void) {
    this.#path = path;
    this.#warn = warn;
  }

  #try<T>(work: (path: string) => T): T | undefined {
    if (this.#path === undefined || this.#broken) return undefined;
    try {
      return work(this.#path);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      this.#broken = true;
      this.#warn(`lines are not remembered: ${(error as Error).message}`);
      return undefined;
    }
  }

  /** Newest first. Cuts a file that has grown too long. */
  load(): string[] {
    const lines = this.#try((path) => {
      const all = readFileSync(path, 'utf8').split('\n').filter(isKept);
      chmodSync(path, 0o600);
      if (all.length <= HISTORY_LINES_MAX) return all;
      const kept = all.slice(-HISTORY_LINES_MAX);
      writeFileSync(path, `${kept.join('\n')}\n`, { mode: 0o600 });
      return kept;
    });
    return (lines ?? []).toReversed();
  }

  add(line: string): void {
    if (!isKept(line)) return;
    this.#try((path) => {
      mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
      appendFileSync(path, `${line}\n`, { mode: 0o600 });
    });
  }
}
