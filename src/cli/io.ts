/**
 * What one run of the command line is given, and what it answers. A run has no other way to the
 * outside: no process, no environment, no clock, so that tests and whole clusters run commands in
 * their own process.
 */
import type { Client } from '#client/types.ts';

/** Where lines go. */
export interface Screen {
  /** Takes whole lines, each with its closing newline. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Columns of the terminal: wider tables are cut to fit. Absent: nothing is cut. */
  readonly width?: number | undefined;
  readonly colour?: boolean | undefined;
}

export interface CliIo extends Screen {
  readonly client: Client;
  /** Ends `mn watch`. Absent: only `--count` does. */
  readonly signal?: AbortSignal | undefined;
  /** Where the client goes, for `mn status`. */
  readonly api?: string | undefined;
  readonly version?: string | undefined;
}

/** Exit codes: scripts rely on them, so a code is never given another meaning. */
export const EXIT = {
  ok: 0,
  /** The API refused the request: it says which field breaks which rule. Nothing was changed. */
  refused: 1,
  /** The command line itself is not understood. Nothing was asked. */
  usage: 2,
  /** No API node answered. */
  unreachable: 3,
  /** Written, but with `--wait` some live host had not enforced it in time. */
  behind: 4,
  /** The API failed, or answered what cannot be understood. */
  failed: 5,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** The command line is not understood: `message` says what, `hint` what to type instead. */
export class UsageError extends Error {
  override name = 'UsageError';
  readonly hint: string | undefined;
  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** Refused before or instead of the API, with the API's meaning: exit code `refused`. */
export class RefusedError extends Error {
  override name = 'RefusedError';
  readonly hint: string | undefined;
  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}
