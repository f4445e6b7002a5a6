/**
 * `--watch`: an answer looked at again and again. On a terminal it is drawn in place; else only
 * what changed is appended: lines with `+`, `~` and `-` in front for people, one JSON object
 * (`{"change","row"}`) a line or one YAML document each for programs.
 *
 * Invariant: what is shown last is how things were after the last change that was heard of, however
 * many were skipped between two looks; looks are never closer than their interval.
 */
import { setTimeout as timeout } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { stringify } from 'yaml';
import { Unavailable } from '#client/errors.ts';
import { type OutputFormat, styled } from './format.ts';
import type { CliIo } from './io.ts';
import type { Session } from './session.ts';

/** Between two looks at what gives no sign of its changes. */
export const POLL_MS = 2_000;
/** Between two looks at what does: changes in between are seen together. */
export const NEWS_MS = 200;

export interface Watched<Row> {
  load(): Promise<readonly Row[]>;
  /** A table: a head, then a line for each row; nothing for no rows. */
  text(rows: readonly Row[]): string;
  json(row: Row): unknown;
  key(row: Row): string;
  readonly empty?: string;
  news?(signal: AbortSignal): AsyncIterable<unknown>;
}
export interface How {
  /** Seconds, or as often as there is a reason to. */
  readonly every: number | true;
  readonly format: OutputFormat;
}

/** For `ms`, or until the signal. */
export const pause = async (io: CliIo, ms: number, signal?: AbortSignal): Promise<void> => {
  if (io.sleep !== undefined) return io.sleep(ms, signal);
  await timeout(ms, undefined, { signal }).catch(() => undefined);
};

/** Rung by news, heard by the one who looks; rings in between are one. */
class Bell {
  #next = Promise.withResolvers<void>();
  ring = (): void => this.#next.resolve();
  fail = (error: unknown): void => this.#next.reject(error);
  async heard(): Promise<void> {
    await this.#next.promise;
    this.#next = Promise.withResolvers();
  }
}

/** Yields each time it is right to look, at once first, until the run's signal. */
async function* looks(
  io: CliIo,
  every: number | true,
  news: Watched<unknown>['news'],
): AsyncGenerator<void> {
  const stop = new AbortController();
  const signal = io.signal === undefined ? stop.signal : AbortSignal.any([stop.signal, io.signal]);
  const bell = new Bell();
  signal.addEventListener('abort', bell.ring, { once: true });
  const listen = async (): Promise<void> => {
    for await (const _ of news?.(signal) ?? []) bell.ring();
  };
  try {
    if (news !== undefined) listen().catch(bell.fail);
    while (!signal.aborted) {
      yield;
      await pause(io, every === true ? (news ? NEWS_MS : POLL_MS) : every * 1000, signal);
      if (news !== undefined) await bell.heard();
    }
  } finally {
    stop.abort();
  }
}

/** Looks again and again. The API's silence is told and waited out, except at the first look. */
async function watch<T>(
  { io, names }: Session,
  how: Pick<How, 'every'> & { readonly news: Watched<unknown>['news'] },
  { load, show }: { load(): Promise<T>; show(answer: T): void },
): Promise<void> {
  let first = true;
  for await (const _ of looks(io, how.every, how.news)) {
    names.forget();
    try {
      show(await load());
    } catch (error) {
      if (first || !(error instanceof Unavailable)) throw error;
      if (io.signal?.aborted !== true)
        io.err(`${styled(io, 'yellow', 'note:')} ${error.message}; trying again\n`);
    }
    first = false;
  }
}

/** Control sequences of ECMA-48: lines up, erase from here on. */
const up = (lines: number): string => (lines === 0 ? '' : `\u001b[${lines}A`);
const ERASE_BELOW = '\u001b[J';

/** Draws over what it drew before, also when the terminal has another width meanwhile. */
class Canvas {
  readonly #io: CliIo;
  #drawn: readonly string[] = [];
  constructor(io: CliIo) {
    this.#io = io;
  }

  /** Rows of the terminal that a line takes. */
  #rows(line: string): number {
    const { length } = stripVTControlCharacters(line);
    return Math.max(1, Math.ceil(length / (this.#io.width ?? Infinity)));
  }

  draw(text: string): void {
    const lines = text.trimEnd().split('\n');
    const room = (this.#io.height ?? Infinity) - 2;
    const drawn = this.#drawn.reduce((rows, line) => rows + this.#rows(line), 0);
    const kept: string[] = [];
    let rows = 0;
    for (const line of lines) {
      rows += this.#rows(line);
      if (rows > room) break;
      kept.push(line);
    }
    const cut = lines.length - kept.length;
    if (cut > 0) kept.push(styled(this.#io, 'dim', `… ${cut} more`));
    this.#io.out(`${up(drawn)}\r${ERASE_BELOW}${kept.join('\n')}\n`);
    this.#drawn = kept;
  }
}

interface Difference<Row> {
  readonly mark: '+' | '~' | '-' | ' ';
  readonly row: Row;
}
const WORDS = { ' ': 'there', '+': 'new', '~': 'changed', '-': 'gone' } as const;

/** Tells what is different from the look before. */
class Memory<Row> {
  #last: ReadonlyMap<string, { readonly row: Row; readonly seen: string }> | undefined;

  /** `seen` is what is compared of a row. */
  differences(
    rows: readonly Row[],
    { key, seen }: { key(row: Row): string; seen(row: Row): string },
  ): Difference<Row>[] {
    const last = this.#last;
    const now = new Map(rows.map((row) => [key(row), { row, seen: seen(row) }]));
    this.#last = now;
    if (last === undefined) return rows.map((row) => ({ mark: ' ', row }));
    const found: Difference<Row>[] = [];
    for (const [key, { row, seen }] of now) {
      const before = last.get(key);
      if (before?.seen !== seen) found.push({ mark: before === undefined ? '+' : '~', row });
    }
    for (const [key, { row }] of last) if (!now.has(key)) found.push({ mark: '-', row });
    return found;
  }
}

/** Lines for people, appended: a head when the columns are others, then what is different. */
class Lines<Row> {
  readonly #watched: Watched<Row>;
  readonly #memory = new Memory<Row>();
  #titles = '';
  constructor(watched: Watched<Row>) {
    this.#watched = watched;
  }

  of(rows: readonly Row[]): string {
    const { key, text } = this.#watched;
    const seen = (row: Row): string => text([row]).split('\n').slice(1).join('\n');
    const found = this.#memory.differences(rows, { key, seen });
    if (found.length === 0) return '';
    const gone = found.filter(({ mark }) => mark === '-').map(({ row }) => row);
    const all = [...rows, ...gone];
    const [head = '', ...lines] = text(all).split('\n');
    const lineOf = new Map(all.map((row, i) => [row, lines[i] ?? '']));
    const titles = stripVTControlCharacters(head).replaceAll(/ {2,}/g, '  ');
    const told = titles === this.#titles ? [] : [`  ${head}`];
    this.#titles = titles;
    told.push(...found.map(({ mark, row }) => `${mark} ${lineOf.get(row) ?? ''}`));
    return `${told.join('\n')}\n`;
  }
}

/** What is appended for programs. A template sees the rows that are there and differ. */
function records<Row>(
  format: Exclude<OutputFormat, 'table'>,
  found: readonly Difference<Row>[],
  json: (row: Row) => unknown,
): string {
  if (typeof format === 'object')
    return format.render(found.filter(({ mark }) => mark !== '-').map(({ row }) => json(row)));
  return found
    .map(({ mark, row }) => ({ change: WORDS[mark], row: json(row) }))
    .map((record) =>
      format === 'json' ? `${JSON.stringify(record)}\n` : `---\n${stringify(record)}`,
    )
    .join('');
}

/** Shows rows again and again, until the run's signal. */
export async function watchRows<Row>(
  session: Session,
  { every, format }: How,
  watched: Watched<Row>,
): Promise<void> {
  const { io } = session;
  const { news, json, key, load } = watched;
  const canvas = format === 'table' && io.height !== undefined ? new Canvas(io) : undefined;
  const memory = new Memory<Row>();
  const lines = new Lines(watched);
  const show = (rows: readonly Row[]): void => {
    if (canvas !== undefined)
      canvas.draw(rows.length === 0 ? (watched.empty ?? '') : watched.text(rows));
    else if (format === 'table') io.out(lines.of(rows));
    else {
      const seen = (row: Row): string => JSON.stringify(json(row));
      io.out(records(format, memory.differences(rows, { key, seen }), json));
    }
  };
  await watch(session, { every, news }, { load, show });
}

/**
 * Shows an answer that is no list again and again: the whole of it, when it is another than before.
 */
export async function watchAnswer(
  session: Session,
  { every, format }: How,
  load: () => Promise<{ readonly value: unknown; readonly text: () => string }>,
): Promise<void> {
  const { io } = session;
  const canvas = format === 'table' && io.height !== undefined ? new Canvas(io) : undefined;
  let last: string | undefined;
  const show = ({ value, text }: Awaited<ReturnType<typeof load>>): void => {
    let now: string;
    if (format === 'table') now = text();
    else if (format === 'json') now = `${JSON.stringify(value)}\n`;
    else now = format === 'yaml' ? `---\n${stringify(value)}` : format.render(value);
    if (canvas !== undefined) canvas.draw(now);
    else if (now !== last) io.out(last !== undefined && format === 'table' ? `\n${now}` : now);
    last = now;
  };
  await watch(session, { every, news: undefined }, { load, show });
}
