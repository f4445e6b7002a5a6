/**
 * A shell at a terminal: lines are edited, completed and remembered; `?` says what may stand where
 * the cursor is; Ctrl-C ends the line or the command, never the shell; Ctrl-D leaves.
 *
 * Invariant: while a command runs the terminal is as the command would find it outside a shell, and
 * what it was given up for prints nothing any more.
 */
import { createInterface, type Interface } from 'node:readline';
import { setTimeout as timeout } from 'node:timers/promises';
import type { Candidate } from '../complete.ts';
import { harmless, styled } from '../format.ts';
import { changed, type CliIo, type Console, EXIT } from '../io.ts';
import { History, HISTORY_LINES_MAX, isKept } from './history.ts';
import { report } from '../problems.ts';
import type { Interpreter } from './interpreter.ts';
import { isExit } from './script.ts';
import { escapeWord, splitLine } from './words.ts';

/** After Ctrl-C a command ends by itself within this time, or is given up. */
const GRACE_MS = 300;

export interface InteractiveOptions {
  readonly io: CliIo;
  readonly prompt: string;
}

/** What is behind the word as typed, so that the line reads as the candidate. */
function inserted(typed: string, word: string, { text, open, sole }: Hit): string {
  const rest = text.slice(word.length);
  const end = !sole || /[=,]$/.test(text) ? '' : ' ';
  if (open === '"') return `${typed}${rest.replaceAll(/["\\]/g, '\\$&')}${end === '' ? '' : '" '}`;
  if (open === "'") return `${typed}${rest.replaceAll("'", "'\\''")}${end === '' ? '' : "' "}`;
  return `${typed}${escapeWord(rest)}${end}`;
}
interface Hit {
  readonly text: string;
  readonly open: "'" | '"' | '\\' | undefined;
  readonly sole: boolean;
}

/** The words before the cursor; an empty one where a new word begins. */
function wordsBefore(line: string) {
  const { words, start, open, comment } = splitLine(line);
  const all = start === line.length && open === undefined ? [...words, ''] : words;
  return { words: comment ? [] : all, start, open };
}

/** As readline wants it: the lines' new ends, and the end that they stand for. */
async function completions(interpreter: Interpreter, line: string): Promise<[string[], string]> {
  const { words, start, open } = wordsBefore(line);
  if (words.length === 0) return [[], ''];
  const found = await interpreter.complete(words);
  const typed = line.slice(start);
  const word = words.at(-1) ?? '';
  const sole = found.length === 1;
  return [found.map(({ text }) => inserted(typed, word, { text, open, sole })), typed];
}

/** Completion never complains: an API that does not answer has no names. */
async function answer(
  interpreter: Interpreter,
  line: string,
  done: (error: null, found: [string[], string]) => void,
): Promise<void> {
  let found: [string[], string] = [[], line];
  try {
    found = await completions(interpreter, line);
  } catch {
    // The line is told about when it is run.
  }
  done(null, found);
}

/** Two columns: what may stand there, and what it is. */
function listText(io: CliIo, found: readonly Candidate[]): string {
  if (found.length === 0) return 'nothing more: Enter runs it\n';
  const widest = Math.min(32, Math.max(...found.map(({ text }) => text.length)));
  return found
    .map(({ text, about, form }) => {
      const title = harmless(text).padEnd(widest);
      const line = `  ${title}  ${harmless(about)}`.trimEnd();
      const cut = io.width === undefined ? line : line.slice(0, Math.max(20, io.width - 1));
      return form === true ? styled(io, 'dim', cut) : cut;
    })
    .map((line) => `${line}\n`)
    .join('');
}

/** Lines as they are typed, in order; undefined when there will be no more. */
class Lines {
  readonly #waiting: string[] = [];
  #closed = false;
  #wake = Promise.withResolvers<void>();
  constructor(rl: Interface) {
    rl.on('line', (line) => {
      this.#waiting.push(line);
      this.#wake.resolve();
    });
    rl.on('close', () => {
      this.#closed = true;
      this.#wake.resolve();
    });
  }
  /** No more are typed; those that wait are still to be run. */
  get closed(): boolean {
    return this.#closed;
  }
  get ready(): boolean {
    return this.#waiting.length > 0;
  }
  async next(): Promise<string | undefined> {
    while (this.#waiting.length === 0 && !this.#closed) {
      await this.#wake.promise;
      this.#wake = Promise.withResolvers();
    }
    return this.#waiting.shift();
  }
}

/** Runs one command; Ctrl-C ends it, or gives it up. */
async function runCommand(
  console: Console,
  interpreter: Interpreter,
  { io, words }: { readonly io: CliIo; readonly words: readonly string[] },
): Promise<void> {
  const stop = new AbortController();
  let given = false;
  const gate =
    (print: (text: string) => void) =>
    (text: string): void => {
      if (!given) print(text);
    };
  const interrupted = Promise.withResolvers<void>();
  const release = console.onInterrupt(() => {
    stop.abort();
    interrupted.resolve();
  });
  const inner = changed(io, { out: gate(io.out), err: gate(io.err), signal: stop.signal });
  const running = interpreter.run(words, inner);
  try {
    await Promise.race([running, interrupted.promise.then(() => timeout(GRACE_MS))]);
    if (stop.signal.aborted) io.out('\n');
  } finally {
    given = true;
    release();
    running.catch(() => undefined);
  }
}

/** `?` outside quotes says what may stand there, instead of being typed. */
function explainOnQuestion(
  rl: Interface,
  console: Console,
  { interpreter, io }: { readonly interpreter: Interpreter; readonly io: CliIo },
): void {
  const tell = async (line: string): Promise<void> => {
    const { words, open } = wordsBefore(line);
    if (open !== undefined) return;
    console.output.write('\n');
    try {
      console.output.write(listText(io, await interpreter.explain(words)));
    } catch (error) {
      report(io, error, { command: words.join(' ').trim() });
    }
    (rl as unknown as { prevRows: number }).prevRows = 0;
    rl.prompt(true);
  };
  console.input.on('keypress', (typed: unknown) => {
    if (typed !== '?') return;
    const before = rl.line.slice(0, rl.cursor - 1);
    if (rl.line[rl.cursor - 1] !== '?' || splitLine(before).open !== undefined) return;
    rl.write(null, { name: 'backspace' });
    void tell(before);
  });
}

/** Reads and runs lines until Ctrl-D, `exit` or the run's signal. */
export async function interact(
  console: Console,
  interpreter: Interpreter,
  { io, prompt }: InteractiveOptions,
): Promise<number> {
  const history = new History(console.historyFile, (text) =>
    io.err(`${styled(io, 'yellow', 'note:')} ${text}\n`),
  );
  const rl = createInterface({
    input: console.input,
    output: console.output,
    terminal: true,
    history: history.load(),
    historySize: HISTORY_LINES_MAX,
    removeHistoryDuplicates: true,
    prompt,
    completer: (line: string, done: (error: null, found: [string[], string]) => void) => {
      void answer(interpreter, line, done);
    },
  });
  rl.on('history', (lines) => {
    for (let i = lines.length - 1; i >= 0; i--) if (!isKept(lines[i] ?? '')) lines.splice(i, 1);
  });
  rl.on('SIGINT', () => {
    rl.write(null, { ctrl: true, name: 'e' });
    console.output.write('^C\n');
    rl.write(null, { ctrl: true, name: 'u' });
    rl.prompt();
  });
  explainOnQuestion(rl, console, { interpreter, io });
  io.signal?.addEventListener('abort', () => rl.close(), { once: true });
  const lines = new Lines(rl);
  for (;;) {
    if (!lines.ready && !lines.closed) rl.prompt();
    const line = await lines.next();
    if (line === undefined) {
      console.output.write('\n');
      return EXIT.ok;
    }
    const { words, open } = splitLine(line);
    if (words.length === 0) continue;
    history.add(line);
    if (isExit(words)) break;
    if (open !== undefined) {
      io.err(`${styled(io, 'red', 'error:')} the quote ${open} is not closed\n`);
      continue;
    }
    const edits = (on: boolean): void => {
      if (lines.closed) return;
      console.input.setRawMode?.(on);
      if (on) rl.resume();
      else rl.pause();
    };
    edits(false);
    try {
      await runCommand(console, interpreter, { io, words });
    } finally {
      edits(true);
    }
  }
  rl.close();
  return EXIT.ok;
}
