/**
 * What one run of the command line is given, and what it answers. A run has no other way to the
 * outside: no process, no environment, no clock, so that tests and whole clusters run commands in
 * their own process.
 */
import type { Readable, Writable } from 'node:stream';
import type { Client } from '#client/types.ts';
import type { Wires } from '#client/wires.ts';
import type { Editor } from './editor.ts';
import type { Files } from './files.ts';

/** Where lines go. */
export interface Screen {
  /** Takes whole lines, each with its closing newline. */
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  /** Columns of the terminal: wider tables are cut to fit. Absent: nothing is cut. */
  readonly width?: number | undefined;
  /** Its rows, if `out` is a terminal: `--watch` draws in place there. */
  readonly height?: number | undefined;
  readonly colour?: boolean | undefined;
}

/** What a shell is typed at, or reads its script from. */
export interface Console {
  readonly input: Readable & { setRawMode?(on: boolean): unknown };
  readonly output: Writable;
  /** Somebody types: lines are edited, completed and remembered. */
  readonly interactive: boolean;
  /** Where lines are remembered; undefined: nowhere. */
  readonly historyFile?: string | undefined;
  /** From now until the answer is called, Ctrl-C calls `handler` and ends nothing. */
  onInterrupt(handler: () => void): () => void;
}

export interface CliIo extends Screen {
  readonly client: Client;
  /** Ends `mn watch` and `--watch`. Absent: only `--count` ends the first, nothing the other. */
  readonly signal?: AbortSignal | undefined;
  /** Between two looks of `--watch`; returns early when the signal aborts. Absent: real time. */
  readonly sleep?: ((ms: number, signal?: AbortSignal) => Promise<void>) | undefined;
  /** Where the client goes, for `mn status`. */
  readonly api?: string | undefined;
  readonly version?: string | undefined;
  /** Milliseconds since 1970 UTC; absent: this machine's clock. */
  readonly wall?: (() => number) | undefined;
  /** What this run knows and must never show, wherever it stands. */
  readonly secrets?: readonly string[] | undefined;
  /** Names this run in the logs of API and agents (`x-request-id`). */
  readonly request?: string | undefined;
  /** Every request is told, and the run's id with every error. */
  readonly verbose?: boolean | undefined;
  /** For `mn shell`; absent: there is none. */
  readonly console?: Console | undefined;
  /** What `-f FILE` reads. Absent: there are none. */
  readonly files?: Files | undefined;
  /** The machine, for `mn attach`. Absent: it cannot be reached from here. */
  readonly wires?: (() => Promise<Wires>) | undefined;
  /** What `mn edit` opens. Absent: there is none. */
  readonly editor?: Editor | undefined;
}

/** The same outside but for some of it. A terminal's size stays what it is when asked for. */
export const changed = (io: CliIo, changes: Partial<CliIo>): CliIo => ({
  ...io,
  ...changes,
  get width() {
    return io.width;
  },
  get height() {
    return io.height;
  },
});

/**
 * Exit codes: scripts rely on them, so a code is never given another meaning. Help and docs print
 * this table.
 */
export const EXIT_CODES = [
  { name: 'ok', code: 0, about: 'Done.' },
  {
    name: 'refused',
    code: 1,
    about: 'The API refused: it says which field breaks which rule. Nothing was changed.',
  },
  { name: 'usage', code: 2, about: 'The command line is not understood. Nothing was asked.' },
  { name: 'unreachable', code: 3, about: 'No API node answered.' },
  {
    name: 'behind',
    code: 4,
    about: 'Written, but with --wait some live host had not enforced it in time.',
  },
  { name: 'failed', code: 5, about: 'The API failed, or its answer cannot be understood.' },
  { name: 'different', code: 6, about: 'mn diff: documents and network differ.' },
  { name: 'unwell', code: 7, about: 'mn doctor found an error.' },
  {
    name: 'interrupted',
    code: 130,
    about: 'Interrupted between two transactions: those before are written, later ones are not.',
  },
] as const;
type ExitRow = (typeof EXIT_CODES)[number];
export const EXIT = Object.fromEntries(EXIT_CODES.map(({ name, code }) => [name, code])) as {
  readonly [Row in ExitRow as Row['name']]: Row['code'];
};
export type ExitCode = ExitRow['code'];

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
