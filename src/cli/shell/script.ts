/**
 * A shell without a terminal: lines of a file or pipe, one command each. It stops at the first that
 * fails, says which line that is, and ends with its code.
 */
import { createInterface } from 'node:readline';
import { styled } from '../format.ts';
import { type CliIo, type Console, EXIT } from '../io.ts';
import type { Interpreter } from './interpreter.ts';
import { splitLine } from './words.ts';

/** Bytes of one command, its continued lines together. */
const COMMAND_LENGTH_MAX = 1_000_000;

export const isExit = (words: readonly string[]): boolean =>
  words.length === 1 && (words[0] === 'exit' || words[0] === 'quit');

interface Numbered {
  readonly text: string;
  /** Of its first line, from 1. */
  readonly line: number;
}

/** Commands of a script; a line that ends in a backslash goes on in the next. */
async function* commandsOf(lines: AsyncIterable<string>): AsyncGenerator<Numbered> {
  let text = '';
  let first = 0;
  let line = 0;
  for await (const each of lines) {
    line += 1;
    if (text === '') first = line;
    const { open } = splitLine(text + each);
    if (open === '\\' && text.length < COMMAND_LENGTH_MAX) {
      text += `${each.slice(0, -1)} `;
      continue;
    }
    yield { text: text + each, line: first };
    text = '';
  }
  if (text !== '') yield { text, line: first };
}

/** Runs a script; answers the code of the first command that failed, or `ok`. */
export async function runScript(
  { input }: Pick<Console, 'input'>,
  interpreter: Interpreter,
  { io, keepGoing }: { readonly io: CliIo; readonly keepGoing: boolean },
): Promise<number> {
  const lines = createInterface({ input, crlfDelay: Infinity, terminal: false });
  let failed: number = EXIT.ok;
  const fail = (code: number, { line, text }: Numbered): boolean => {
    io.err(`${styled(io, 'red', 'error:')} line ${line}: ${text.trim()}\n`);
    if (failed === EXIT.ok) failed = code;
    return !keepGoing;
  };
  try {
    for await (const command of commandsOf(lines)) {
      if (io.signal?.aborted === true) break;
      const { words, open } = splitLine(command.text);
      if (words.length === 0) continue;
      if (isExit(words)) break;
      if (open !== undefined) {
        io.err(`${styled(io, 'red', 'error:')} the quote ${open} is not closed\n`);
        if (fail(EXIT.usage, command)) break;
        continue;
      }
      const code = await interpreter.run(words, io);
      if (code !== EXIT.ok && fail(code, command)) break;
    }
  } finally {
    lines.close();
  }
  return failed;
}
