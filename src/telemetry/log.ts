/**
 * The log of a program: JSON lines on stderr, the last of them kept in memory for whoever asks, and
 * a level that changes while it runs.
 *
 * Invariants: no bearer token leaves by a line, whoever put it there; what is kept is bounded in
 * lines and in bytes, the oldest goes first and is counted; a level that was changed for a time
 * returns by itself to the one the program was started with.
 */
import { destination, type Logger, pino, stdTimeFunctions } from 'pino';
import { withoutSecrets } from './secrets.ts';

export const LOG_LEVELS = ['error', 'warn', 'info', 'debug', 'trace'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];
export const isLogLevel = (text: string): text is LogLevel =>
  (LOG_LEVELS as readonly string[]).includes(text);

/** What is kept of the last lines; older ones go, and are counted as forgotten. */
export const LINES_KEPT_MAX = 2_000;
export const LINES_KEPT_CHARACTERS_MAX = 1024 * 1024;
/** A longer line is kept as its beginning. */
export const LINE_CHARACTERS_MAX = 8 * 1024;

/** Answers how to cancel. */
export type Later = (ms: number, run: () => void) => () => void;
const later: Later = (ms, run) => {
  const timer = setTimeout(run, ms);
  timer.unref();
  return () => clearTimeout(timer);
};

export interface LogOptions {
  /** The program's name in each line; absent: lines have none. */
  readonly name?: string;
  readonly level?: LogLevel;
  /** Takes whole lines, with their newline; stderr unless told. */
  readonly write?: (line: string) => void;
  readonly later?: Later;
}

/** The level now, and the one it returns to. */
export interface LevelState {
  readonly level: LogLevel;
  readonly usual: LogLevel;
}

export interface LogQuery {
  readonly after?: number;
  readonly most: number;
  readonly text?: string;
}
/** `next`: pass it as `after` for what comes then. `missed`: lines in between no longer kept. */
export interface LogPage {
  readonly lines: readonly string[];
  readonly next: number;
  readonly missed: number;
}

/** A program's log. Lines are written by `log`; the rest is for whoever looks at it. */
export class Logs {
  readonly log: Logger;
  /** Lines written, and lines that are no longer kept. */
  readonly stats = { written: 0, forgotten: 0 };
  readonly #usual: LogLevel;
  readonly #later: Later;
  readonly #write: (line: string) => void;
  #kept: string[] = [];
  #characters = 0;
  #cancel: () => void = () => {};

  constructor({ name, level = 'info', write, later: timer = later }: LogOptions = {}) {
    const stderr = write === undefined ? destination(2) : undefined;
    this.#usual = level;
    this.#later = timer;
    this.#write = write ?? ((line) => void stderr?.write(line));
    const formatters = { level: (label: string) => ({ level: label }) };
    const base = name === undefined ? null : { name };
    const timestamp = stdTimeFunctions.isoTime;
    this.log = pino({ level, base, timestamp, formatters }, { write: (line) => this.#take(line) });
  }

  get level(): LevelState {
    return { level: this.log.level as LogLevel, usual: this.#usual };
  }

  /** The level from now on; after `forMs` it is the usual one again. */
  setLevel(level: LogLevel, forMs: number): LevelState {
    this.#cancel();
    const before = this.log.level;
    this.log.level = level;
    this.log.info({ before, level, forMs }, 'the level of this log was changed');
    if (level === this.#usual) return this.level;
    this.#cancel = this.#later(forMs, () => {
      this.log.level = this.#usual;
      this.log.info({ level: this.#usual }, 'the level of this log is the usual one again');
    });
    return this.level;
  }

  /**
   * Lines kept after the `after`-th ever written (0: all that are kept) that hold `text`: the last
   * `most` of them, oldest first. A place beyond the end is that of a program that ran before:
   * everything is told.
   */
  read({ after = 0, most, text = '' }: LogQuery): LogPage {
    const { written, forgotten } = this.stats;
    const from = after > written ? 0 : Math.max(0, after - forgotten);
    const found = this.#kept.slice(from).filter((line) => line.includes(text));
    const missed = after > written ? 0 : Math.max(0, forgotten - after);
    return { lines: most === 0 ? [] : found.slice(-most), next: written, missed };
  }

  #take(text: string): void {
    const line = withoutSecrets(text);
    this.#write(line);
    this.stats.written += 1;
    const kept = line.trimEnd().slice(0, LINE_CHARACTERS_MAX);
    this.#kept.push(kept);
    this.#characters += kept.length;
    this.#forget();
  }

  #forget(): void {
    let surplus = 0;
    while (
      this.#kept.length - surplus > LINES_KEPT_MAX ||
      this.#characters > LINES_KEPT_CHARACTERS_MAX
    )
      this.#characters -= this.#kept[surplus++]?.length ?? 0;
    if (surplus === 0) return;
    this.#kept = this.#kept.slice(surplus);
    this.stats.forgotten += surplus;
  }
}
